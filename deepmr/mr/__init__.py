"""Summary-data Mendelian randomization: one file a method, all loci at once."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from deepmr import checks
from deepmr.errors import InputError
from deepmr.mr.cml import cml
from deepmr.mr.contamination_mixture import contamination_mixture
from deepmr.mr.debiased import debiased_ivw, penalised_debiased_ivw
from deepmr.mr.debiased_gls import debiased_gls
from deepmr.mr.egger import egger, egger_penalised, egger_robust
from deepmr.mr.egger_bootstrap import egger_bootstrap
from deepmr.mr.egger_simex import egger_simex
from deepmr.mr.gls import egger_gls, ivw_gls
from deepmr.mr.grapple import grapple
from deepmr.mr.grip import grip
from deepmr.mr.heterogeneity_penalised import heterogeneity_penalised
from deepmr.mr.ivw import ivw, ivw_fixed, ivw_random
from deepmr.mr.ivw_additive import ivw_additive
from deepmr.mr.ivw_robust import ivw_penalised, ivw_robust
from deepmr.mr.lasso import lasso
from deepmr.mr.max_likelihood import max_likelihood
from deepmr.mr.median import median_penalised, median_simple, median_weighted
from deepmr.mr.mode import mode_penalised, mode_simple, mode_weighted
from deepmr.mr.mode_bayesian import mode_bayesian
from deepmr.mr.mrbee import mrbee
from deepmr.mr.mrmix import mrmix
from deepmr.mr.pca import ivw_pca, pc_gmm
from deepmr.mr.presso import presso
from deepmr.mr.profile_score import profile_score
from deepmr.mr.radial import egger_radial, ivw_radial
from deepmr.mr.raps import raps
from deepmr.mr.wald import wald, wald_weighted
from deepmr.mr.weak_sets import anderson_rubin, clr
from deepmr.types import Estimates, Instruments, concat_estimates

_log = logging.getLogger(__name__)

# Every method takes (instruments, *, min_instruments, level) and, each with a default, options of its own.
METHODS: dict[str, Callable[..., Estimates]] = {
    # ratios
    "wald": wald,
    "wald_weighted": wald_weighted,
    # lines through the origin
    "ivw": ivw,
    "ivw_fixed": ivw_fixed,
    "ivw_random": ivw_random,
    "ivw_additive": ivw_additive,
    "ivw_robust": ivw_robust,
    "ivw_penalised": ivw_penalised,
    "ivw_radial": ivw_radial,
    "ivw_gls": ivw_gls,
    "ivw_pca": ivw_pca,
    # lines with an intercept
    "egger": egger,
    "egger_robust": egger_robust,
    "egger_penalised": egger_penalised,
    "egger_radial": egger_radial,
    "egger_gls": egger_gls,
    "egger_bootstrap": egger_bootstrap,
    "egger_simex": egger_simex,
    "grip": grip,
    # errors of the exposure effects count: weak instruments, shared samples and members
    "debiased_ivw": debiased_ivw,
    "penalised_debiased_ivw": penalised_debiased_ivw,
    "debiased_gls": debiased_gls,
    "mrbee": mrbee,
    "max_likelihood": max_likelihood,
    "raps": raps,
    "grapple": grapple,
    "profile_score": profile_score,
    "pc_gmm": pc_gmm,
    "anderson_rubin": anderson_rubin,
    "clr": clr,
    # medians of ratios
    "median_simple": median_simple,
    "median_weighted": median_weighted,
    "median_penalised": median_penalised,
    # modes of ratios
    "mode_simple": mode_simple,
    "mode_weighted": mode_weighted,
    "mode_penalised": mode_penalised,
    "mode_bayesian": mode_bayesian,
    "heterogeneity_penalised": heterogeneity_penalised,
    # valid and invalid instruments told apart
    "contamination_mixture": contamination_mixture,
    "lasso": lasso,
    "cml": cml,
    "presso": presso,
    "mrmix": mrmix,
}


# Methods that heed `Instruments.correlation` (linkage disequilibrium), and `Instruments.error_corr` (shared samples).
USES_CORRELATION = frozenset(
    {"max_likelihood", "debiased_gls", "profile_score", "ivw_gls", "egger_gls", "ivw_pca", "pc_gmm"}
    | {"anderson_rubin", "clr"}
)
USES_ERROR_CORR = frozenset(
    {"ivw_additive", "debiased_ivw", "penalised_debiased_ivw", "max_likelihood", "raps", "grapple", "debiased_gls"}
    | {"mrbee", "profile_score", "median_simple", "median_weighted", "median_penalised", "mode_simple"}
    | {"mode_weighted", "mode_penalised", "mode_bayesian", "heterogeneity_penalised", "contamination_mixture"}
    | {"mrmix", "presso", "anderson_rubin", "clr", "egger_simex", "egger_bootstrap"}
)


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
    if isinstance(instruments, str) or isinstance(methods, str):
        raise InputError("instruments are read by read_instruments, and methods are a list of names; got a text")
    checks.level(level)
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
                "instruments as independent, although their correlation is given",
            ),
            (pair.error_corr, USES_ERROR_CORR, "samples as separate, although the correlation of errors is given"),
        ):
            deaf = [name for name in methods if name not in users]
            if given is not None and deaf and words not in said:
                said.add(words)
                heed = [name for name in methods if name in users]
                instead = f"read {heed[0]}" if heed else "debiased_gls would heed it"
                verb = "takes" if len(deaf) == 1 else "take"
                _log.warning("%s %s %s; %s", ", ".join(deaf), verb, words, instead)
        yield pair
