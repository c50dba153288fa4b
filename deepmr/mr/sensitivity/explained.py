"""How much of a trait's variance an instrument explains: the correlation r of genotype and trait."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from deepmr.errors import InputError

_LIABILITY = np.pi**2 / 3  # variance of the logistic distribution


def r_from_beta(
    beta: Float[np.ndarray, "rows"], se: Float[np.ndarray, "rows"], n: Float[np.ndarray, "rows"]
) -> Float[np.ndarray, "rows"]:
    """Return the correlation of genotype and a continuous trait from effect, standard error and sample size.

    Parameters
    ----------
    beta, se : in any unit.
    n : above 2.

    Notes
    -----
    r = sign(b) sqrt(F / (n - 2 + F)), F = (b / se)^2: exact for a simple regression.
    """
    _check_n(n)
    f = (beta / se) ** 2
    return np.sign(beta) * np.sqrt(f / (n - 2 + f))


def r_from_pvalue(
    pvalue: Float[np.ndarray, "rows"], n: Float[np.ndarray, "rows"], *, df: Literal["n-1", "n-2"] = "n-2"
) -> Float[np.ndarray, "rows"]:
    """Return the size of the correlation of genotype and a continuous trait from P value and sample size.

    Parameters
    ----------
    pvalue : two-sided, above 0: give effects and standard errors where it has underflowed.
    n : above 2.
    df : degrees of freedom of the F test behind the P value: n - 2 are those of a simple regression; TwoSampleMR takes
        n - 1.
    """
    _check_n(n)
    if np.any(~(pvalue > 0) | (pvalue > 1)):
        raise InputError("pvalue must be above 0 and at most 1; from an underflown one, 0, no r can be had")
    f = stats.f.isf(pvalue, 1, n - (1 if df == "n-1" else 2))
    return np.sqrt(f / (n - 2 + f))


def r_from_log_odds(
    beta: Float[np.ndarray, "rows"],
    eaf: Float[np.ndarray, "rows"],
    *,
    n_cases: Float[np.ndarray, "rows"],
    n_controls: Float[np.ndarray, "rows"],
    prevalence: float,
    copies: Literal[1, 2] = 2,
) -> Float[np.ndarray, "rows"]:
    """Return the correlation of genotype and the liability to a binary trait from log odds ratios.

    Parameters
    ----------
    beta : log odds ratios per copy of the effect allele.
    eaf : frequency of the effect allele in the sample of cases and controls together.
    n_cases, n_controls : of that sample.
    prevalence : of the trait in the population, between 0 and 1.
    copies : of the allele in a genotype: its variance is 2 p (1 - p). TwoSampleMR's `get_r_from_lor` takes 1, which
        gives about half the share of variance.

    Notes
    -----
    r^2 = v / (v + pi^2 / 3), v = copies * p (1 - p) b^2: liability with logistic errors. The frequency p in the
    population is (1 - K) p_controls + K p_cases; both are the ones that have this odds ratio, this frequency in the
    sample, and this share of cases: the smaller root of a quadratic.

    References
    ----------
    Lee SH, Goddard ME, Wray NR, Visscher PM. A better coefficient of determination for genetic profile analysis. Genet
    Epidemiol 2012. https://doi.org/10.1002/gepi.21614
    """
    if not 0 < prevalence < 1:
        raise InputError(f"prevalence must be between 0 and 1; got {prevalence:g}")
    if np.any(~((eaf > 0) & (eaf < 1))):
        raise InputError("eaf must be between 0 and 1 for every instrument")
    if np.any(~(n_cases > 0) | ~(n_controls > 0)):
        raise InputError("numbers of cases and controls must be positive")
    cases = n_cases / (n_cases + n_controls)
    both = _in_cases(np.exp(beta), eaf, cases)  # share of the sample that is a case and has the allele
    frequency = (1 - prevalence) * (eaf - both) / (1 - cases) + prevalence * both / cases
    variance = copies * frequency * (1 - frequency) * beta**2
    return np.sign(beta) * np.sqrt(variance / (variance + _LIABILITY))


def _in_cases(
    odds: Float[np.ndarray, "rows"], eaf: Float[np.ndarray, "rows"], cases: Float[np.ndarray, "rows"]
) -> Float[np.ndarray, "rows"]:
    """Solve a (1 - eaf - cases + a) = odds (cases - a) (eaf - a) for the cell a of the two-by-two table."""
    square, linear, constant = odds - 1, (eaf + cases) * (1 - odds) - 1, odds * eaf * cases
    root = np.sqrt(np.maximum(linear**2 - 4 * square * constant, 0.0))
    return 2 * constant / (-linear + root)  # the form of the root that survives odds = 1


def _check_n(n: Float[np.ndarray, "rows"]) -> None:
    if np.any(~(n > 2)):
        raise InputError(f"sample sizes must be above 2; the smallest is {np.min(n):g}")
