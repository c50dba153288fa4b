"""Summary-data Mendelian randomization: one file a method, all loci at once."""

from collections.abc import Callable, Iterable, Sequence

from deepmr import checks
from deepmr.mr.egger import egger, egger_robust
from deepmr.mr.ivw import ivw, ivw_fixed, ivw_random
from deepmr.mr.wald import wald, wald_weighted
from deepmr.types import Estimates, Instruments, concat_estimates

# Every method takes (instruments, *, min_instruments, level) and, each with a default, options of its own.
METHODS: dict[str, Callable[..., Estimates]] = {
    "wald": wald,
    "wald_weighted": wald_weighted,
    "ivw": ivw,
    "ivw_fixed": ivw_fixed,
    "ivw_random": ivw_random,
    "egger": egger,
    "egger_robust": egger_robust,
}


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
    return concat_estimates(
        METHODS[name](pair, min_instruments=min_instruments, level=level) for pair in pairs for name in methods
    )
