"""Multivariable Mendelian randomization: direct effects of several exposures, all loci at once."""

import logging
from collections.abc import Callable, Sequence

from deepmr import checks
from deepmr.errors import InputError
from deepmr.mr.multivariable.debiased import mv_debiased
from deepmr.mr.multivariable.equal import mv_equal
from deepmr.mr.multivariable.gmm import mv_gmm
from deepmr.mr.multivariable.ivw import mv_egger, mv_ivw
from deepmr.mr.multivariable.lasso import mv_lasso
from deepmr.mr.multivariable.median import mv_median
from deepmr.mr.multivariable.raps import mv_raps
from deepmr.mr.multivariable.robust import mv_ivw_robust
from deepmr.types import Estimates, Instruments, concat_estimates

_log = logging.getLogger(__name__)

METHODS: dict[str, Callable[..., Estimates]] = {
    "mv_ivw": mv_ivw,
    "mv_equal": mv_equal,
    "mv_ivw_robust": mv_ivw_robust,
    "mv_egger": mv_egger,
    "mv_median": mv_median,
    "mv_lasso": mv_lasso,
    "mv_debiased": mv_debiased,
    "mv_raps": mv_raps,
    "mv_gmm": mv_gmm,
}

# Methods that heed `Instruments.correlation` (linkage disequilibrium), and `Instruments.error_corr` (shared samples).
USES_CORRELATION = frozenset({"mv_gmm"})
USES_ERROR_CORR = frozenset({"mv_median", "mv_debiased", "mv_raps", "mv_gmm"})

# Plain, robust, and freed of the bias by weak instruments in two ways.
# For effects that an ensemble predicts; mv_median takes a minute for a thousand loci and four tasks.
PREFERRED_IN_MODEL = ("mv_equal",)
PREFERRED = ("mv_ivw", "mv_median", "mv_debiased", "mv_raps")


def estimate_direct_effects(
    instruments: Instruments,
    *,
    methods: Sequence[str] = PREFERRED,
    min_instruments: int = 3,
    level: float = 0.95,
) -> Estimates:
    """Estimate the effect of every exposure with the others held fixed, at every locus with every method.

    Parameters
    ----------
    instruments : of all exposures; a row is needed for each variant that serves any of them.
    methods : names, keys of `METHODS`.
    min_instruments : loci with fewer are listed in `skipped`, as are loci with fewer than exposures + 1.
    level : of the confidence intervals.

    Returns
    -------
    Estimates, one row a method, exposure and locus, in this order; `n_exposures` says how many exposures shared the
    regression.

    Raises
    ------
    InputError : on a method that is unknown or named twice.
    """
    if isinstance(methods, str):
        raise InputError("methods are a list of names; got a text")
    checks.level(level)
    checks.unique("methods", methods)
    for name in methods:
        checks.one_of("method", name, METHODS)
    _tell(instruments, methods)
    return concat_estimates(
        METHODS[name](instruments, min_instruments=min_instruments, level=level) for name in methods
    )


def _tell(instruments: Instruments, methods: Sequence[str]) -> None:
    """Say which methods take no notice of a correlation that the instruments carry."""
    for given, users, words in (
        (instruments.correlation, USES_CORRELATION, "take instruments as independent, although they are correlated"),
        (
            instruments.error_corr,
            USES_ERROR_CORR,
            "take samples as separate, although their errors are correlated",
        ),
    ):
        deaf = [name for name in methods if name not in users]
        if given is not None and deaf:
            _log.warning("%s %s", ", ".join(deaf), words)
