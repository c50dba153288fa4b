"""Summary-data Mendelian randomization: one file a method, all loci at once."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from deepmr import checks
from deepmr.mr.egger import egger, egger_robust
from deepmr.mr.gls import egger_gls, ivw_gls
from deepmr.mr.ivw import ivw, ivw_fixed, ivw_random
from deepmr.mr.pca import ivw_pca, pc_gmm
from deepmr.mr.wald import wald, wald_weighted
from deepmr.types import Estimates, Instruments, concat_estimates

_log = logging.getLogger(__name__)

# Every method takes (instruments, *, min_instruments, level) and, each with a default, options of its own.
METHODS: dict[str, Callable[..., Estimates]] = {
    "wald": wald,
    "wald_weighted": wald_weighted,
    "ivw": ivw,
    "ivw_fixed": ivw_fixed,
    "ivw_random": ivw_random,
    "egger": egger,
    "egger_robust": egger_robust,
    "ivw_gls": ivw_gls,
    "egger_gls": egger_gls,
    "ivw_pca": ivw_pca,
    "pc_gmm": pc_gmm,
}


# Methods that heed `Instruments.correlation` (linkage disequilibrium), and `Instruments.error_corr` (shared samples).
USES_CORRELATION: frozenset[str] = frozenset({"ivw_gls", "egger_gls", "ivw_pca", "pc_gmm"})
USES_ERROR_CORR: frozenset[str] = frozenset()


def estimate_effects(
    instruments: Instruments | Iterable[Instruments],
    *,
    methods: Sequence[str] = ("ivw", "egger", "wald"),
    min_instruments: int = 3,
    level: float = 0.95,
) -> Estimates:
    """Estimate the causal effect at every locus with every method.

    Parameters
    ----------
    instruments : those of one pair of traits, or of several pairs one after the other (a generator will do).
    methods : names, keys of `METHODS`; each is run with the defaults of its own options.
    min_instruments : loci with fewer are listed in `skipped`.
    level : of the confidence intervals, between 0 and 1.

    Returns
    -------
    Estimates, one row a locus, pair and method, in the order pair, method, locus.

    Raises
    ------
    InputError : on a method that is unknown or named twice, or when there is nothing to estimate from.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> names = ["variant_id", "locus", "chrom", "pos", "effect_allele", "other_allele"]
    >>> three = Instruments(
    ...     loci=("peak",), offsets=np.array([0, 3]), exposures=("CTCF",), outcome="PU1",
    ...     variants=pd.DataFrame(dict.fromkeys(names, ["v1", "v2", "v3"])),
    ...     beta_exposure=np.array([[1.0], [2.0], [3.0]]), se_exposure=np.full((3, 1), 0.1),
    ...     beta_outcome=np.array([2.0, 4.0, 6.0]), se_outcome=np.ones(3),
    ... )
    >>> float(estimate_effects(three, methods=["ivw"]).table["beta"][0])
    2.0
    """
    checks.unique("methods", methods)  # a row that is there twice counts twice when loci are pooled
    for name in methods:
        checks.one_of("method", name, METHODS)
    pairs = [instruments] if isinstance(instruments, Instruments) else instruments
    pairs = _told(pairs, methods)
    return concat_estimates(
        METHODS[name](pair, min_instruments=min_instruments, level=level) for pair in pairs for name in methods
    )


def _told(pairs: Iterable[Instruments], methods: Sequence[str]) -> Iterator[Instruments]:
    """Pass the pairs on; say once which methods take no notice of a correlation that the instruments carry."""
    said = set()
    for pair in pairs:
        for given, users, words in (
            (
                pair.correlation,
                USES_CORRELATION,
                "take instruments as independent, although their correlation is given",
            ),
            (pair.error_corr, USES_ERROR_CORR, "take samples as separate, although the correlation of errors is given"),
        ):
            deaf = [name for name in methods if name not in users]
            if given is not None and deaf and words not in said:
                said.add(words)
                _log.warning("%s %s", ", ".join(deaf), words)
        yield pair
