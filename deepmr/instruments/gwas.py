"""Instruments from GWAS results: significance, strength, and the correlation that shared samples give errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import optimize, special

from deepmr import checks
from deepmr.errors import InputError
from deepmr.schema import GENOME
from deepmr.types import Instruments, SummaryStats

NODES = 48  # of the quadrature over null z-scores
CONTRADICTION = 0.1  # median F of significant variants that not even noise has, whose median is 0.45
LEAST_NULL = 100  # variants without effect from which a correlation is estimated


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCorrelation:
    """Correlation of the errors of several traits' effects.

    Attributes
    ----------
    matrix : in the order of the traits.
    n_variants : variants without effect that it comes from, the fewest of any pair.
    """

    matrix: Float[np.ndarray, "traits traits"]
    n_variants: int


def pvalues(stats: SummaryStats, trait: str) -> Float[np.ndarray, "variants"]:
    """Return a trait's P values: as reported where they were, otherwise of beta / se.

    Parameters
    ----------
    stats : effects; `variants` may have `<trait>_pvalue`.
    trait : one of its traits.
    """
    checks.one_of("trait", trait, stats.traits)
    k = stats.traits.index(trait)
    own = 2 * special.ndtr(-np.abs(stats.beta[:, k] / stats.se[:, k]))
    name = f"{trait}_pvalue"
    if name not in stats.variants:
        return own
    reported = stats.variants[name].to_numpy(float)
    return np.where(np.isnan(reported), own, reported)


def evidence(stats: SummaryStats, trait: str) -> Float[np.ndarray, "variants"]:
    """Return -log10 P, to rank variants by; of beta / se where the P value is too small to be written.

    Parameters
    ----------
    stats : effects.
    trait : one of its traits.
    """
    p = pvalues(stats, trait)
    k = stats.traits.index(trait)
    own = -(special.log_ndtr(-np.abs(stats.beta[:, k] / stats.se[:, k])) + np.log(2)) / np.log(10)
    small = p < 1e-300
    return np.where(small, np.maximum(own, 300.0), -np.log10(np.where(small, 1.0, p)))


def is_significant(
    stats: SummaryStats, *, exposures: Sequence[str], p_threshold: float = 5e-8, min_f: float = 0.0
) -> Bool[np.ndarray, "variants"]:
    """Return which variants are instruments: below the threshold for at least one of the exposures.

    Parameters
    ----------
    stats : effects.
    exposures : those of its traits that choose; the outcome has no part in it.
    p_threshold : P values must be below it, above 0 and at most 1.
    min_f : least F statistic (beta / se)^2 for that exposure.

    Raises
    ------
    InputError
        When a threshold is out of range.
    """
    if not 0 < p_threshold <= 1:
        raise InputError(f"p_threshold must be above 0 and at most 1; got {p_threshold:g}")
    checks.at_least("min_f", min_f, 0)
    chosen = np.zeros(len(stats.variants), dtype=bool)
    for trait in exposures:
        k = stats.traits.index(trait)
        strong = stats.beta[:, k] ** 2 >= min_f * stats.se[:, k] ** 2
        chosen |= (pvalues(stats, trait) < p_threshold) & strong & (stats.beta[:, k] != 0)
    return chosen


def check_evidence(stats: SummaryStats, trait: str, *, p_threshold: float) -> None:
    """Raise `InputError` when reported P values are below the threshold and beta / se is nearer 0 than noise is.

    Parameters
    ----------
    stats : effects of variants that were chosen by P values.
    trait : one of its traits.
    p_threshold : below which P values count.

    Notes
    -----
    P values may come from another sample than the effects, as in designs of three samples, which then may be weak; but
    only columns that were mistaken for one another make effects this small.
    """
    k = stats.traits.index(trait)
    chosen = pvalues(stats, trait) < p_threshold
    if f"{trait}_pvalue" not in stats.variants or not chosen.any():
        return
    needed = float(special.chdtri(1, p_threshold))
    found = float(np.median((stats.beta[chosen, k] / stats.se[chosen, k]) ** 2))
    if found < CONTRADICTION < needed:
        raise InputError(
            f"{trait}: P values contradict effects and standard errors: variants with P below {p_threshold:g} have a "
            f"median F = (beta / se)^2 of {found:.2g}, where P alone says at least {needed:.3g}; see whether beta, se "
            "and pvalue are read from the right columns"
        )


def gwas_instruments(
    stats: SummaryStats,
    *,
    exposures: Sequence[str],
    outcome: str,
    error_corr: Float[np.ndarray, "traits traits"] | None = None,
) -> Instruments:
    """Return aligned effects as the instruments of one genome-wide locus.

    Parameters
    ----------
    stats : effects of the chosen variants on all traits, for the same alleles.
    exposures : one, or several for a multivariable method.
    outcome : another trait.
    error_corr : correlation of errors, exposures first; None for separate samples.
    """
    for trait in (*exposures, outcome):
        checks.one_of("trait", trait, stats.traits)
    x, y = [stats.traits.index(trait) for trait in exposures], stats.traits.index(outcome)
    plain = ["variant_id", "locus", "chrom", "effect_allele", "other_allele"]
    return Instruments(
        loci=(GENOME,),
        offsets=np.array([0, len(stats.variants)]),
        exposures=tuple(exposures),
        outcome=outcome,
        variants=stats.variants.astype(dict.fromkeys(plain, str)).reset_index(drop=True),
        beta_exposure=stats.beta[:, x],
        se_exposure=stats.se[:, x],
        beta_outcome=stats.beta[:, y],
        se_outcome=stats.se[:, y],
        error_corr=error_corr,
        n=None if stats.n is None or np.any(stats.n <= 0) else stats.n[:, [*x, y]],
        estimand=stats.estimand,
    )


def estimate_error_corr(stats: SummaryStats, *, max_z: float = 1.96) -> ErrorCorrelation:
    """Estimate the correlation of the errors of traits, as overlapping samples make it, from variants without effect.

    Parameters
    ----------
    stats : effects of variants all over the genome on two or more traits, for the same alleles.
    max_z : variants count as without effect on two traits when both |beta / se| are below it.

    Raises
    ------
    InputError
        When there are too few such variants.

    Notes
    -----
    The product of two z-scores cut off at `max_z` is smaller than their correlation (by a quarter at 1.96): the
    correlation returned is the one whose bivariate normal, cut off alike, has the mean product observed. It assumes
    that z-scores of variants without effect have variance 1; linkage disequilibrium costs precision, not more.

    References
    ----------
    Zhu et al. (2015), doi:10.1016/j.ajhg.2014.11.011; Wang et al. (2021), doi:10.1371/journal.pgen.1009575.
    """
    z = stats.beta / stats.se
    size = len(stats.traits)
    matrix, fewest = np.eye(size), len(z)
    null = np.abs(z) < max_z
    for a in range(size):
        for b in range(a):
            rows = null[:, a] & null[:, b]
            count = int(rows.sum())
            if count < LEAST_NULL:
                raise InputError(
                    f"{count} variants have no effect on {stats.traits[b]} and {stats.traits[a]}; the correlation of "
                    f"their errors needs at least {LEAST_NULL}, so tables of all variants"
                )
            product = float(np.mean(z[rows, a] * z[rows, b]))
            matrix[a, b] = matrix[b, a] = _untruncated(product, max_z)
            fewest = min(fewest, count)
    return ErrorCorrelation(matrix=matrix, n_variants=fewest)


def _untruncated(product: float, limit: float) -> float:
    """Return the correlation of a bivariate normal whose mean product within a square is `product`."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    x, w = nodes * limit, weights * limit
    xx, yy, ww = x[:, None], x[None, :], w[:, None] * w

    def excess(rho: float) -> float:
        density = np.exp(-(xx**2 - 2 * rho * xx * yy + yy**2) / (2 * (1 - rho**2))) * ww
        return float((density * xx * yy).sum() / density.sum()) - product

    ends = -0.99, 0.99
    if excess(ends[0]) >= 0 or excess(ends[1]) <= 0:
        return ends[0] if product < 0 else ends[1]
    return float(optimize.brentq(excess, *ends, xtol=1e-10))
