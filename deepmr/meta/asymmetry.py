"""Funnel asymmetry: whether effects go with their standard errors, as where small contrary results are missing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from deepmr import checks, schema
from deepmr.inference import two_sided
from deepmr.meta.evidence import Packed, Weighting, Whole, Within, whole, within_variances
from deepmr.meta.grouping import GROUP, grouped
from deepmr.meta.kernel import Interval, Prediction, check_options, chosen_prediction, chosen_weights
from deepmr.meta.pooling import pool_estimates
from deepmr.meta.studies import Studies, fit_at
from deepmr.meta.tau2 import Tau2, between_variance
from deepmr.types import Estimates

Missing = Literal["L0", "R0", "Q0"]
Side = Literal["auto", "left", "right"]
RANKS = [*GROUP, "n", "kendall_tau", "pvalue"]
SLOPES = [*GROUP, "n", "slope", "slope_se", "df", "pvalue", "limit", "limit_se"]
_EXACT = 50  # loci from which Kendall's tau is tested by its normal approximation
_ROUNDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Asymmetry:
    """Tests of asymmetry, one a method, pair of traits and estimand.

    Attributes
    ----------
    tests : a row a test.
    skipped : what cannot be tested and why; columns of `schema.SKIPPED`.
    """

    tests: pd.DataFrame
    skipped: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """Pooled effects with mirrored loci.

    Attributes
    ----------
    pooled : as of `pool_estimates`, with `n_filled`, the number of loci that were added.
    loci : the loci with those added, named `filled 1`, `filled 2`, ...
    """

    pooled: Estimates
    loci: Estimates


def rank_test(estimates: Estimates) -> Asymmetry:
    """Test whether effects go with their variances by ranks.

    Returns
    -------
    Asymmetry
        Kendall's tau of standardised effects and variances, and its P value: exact below 50 loci without ties, else
        normal.

    Notes
    -----
    Standardised by the fixed-effect mean m: (b_i - m) / sqrt(v_i - 1 / sum(1 / v)), with v_i the variance within the
    locus as in `pool_estimates`: an error that members make at all loci alike moves no funnel.

    References
    ----------
    Begg CB, Mazumdar M. Biometrics 1994. https://doi.org/10.2307/2533446
    """
    return _tested(estimates, _ranks, RANKS)


def _ranks(evidence: Whole) -> list[float]:
    y, v = evidence.studies.beta, evidence.studies.variance
    mean, least = float(np.sum(y / v) / np.sum(1 / v)), 1 / float(np.sum(1 / v))
    scaled = (y - mean) / np.sqrt(np.maximum(v - least, 1e-300))
    ties = len(np.unique(scaled)) < len(y) or len(np.unique(v)) < len(y)
    found = stats.kendalltau(scaled, v, method="asymptotic" if ties or len(y) >= _EXACT else "exact")
    return [float(found.statistic), float(found.pvalue)]


def regression_test(estimates: Estimates) -> Asymmetry:
    """Test whether effects go with their standard errors by regression (Egger's test of a funnel).

    Returns
    -------
    Asymmetry
        `slope` of effects on standard errors, its t test with k - 2 degrees of freedom, and `limit`, the effect where
        the standard error is 0.

    Notes
    -----
    Weighted least squares with weights 1 / v_i and a free residual variance; v_i as in `rank_test`. Where effects
    differ between loci for reasons that go with precision, as they do for instruments in a model, a slope says that and
    nothing about what is missing.

    References
    ----------
    Egger M, Davey Smith G, Schneider M, Minder C. BMJ 1997. https://doi.org/10.1136/bmj.315.7109.629
    """
    return _tested(estimates, _slope, SLOPES)


def _slope(evidence: Whole) -> list[float]:
    studies = evidence.studies
    fit = fit_at(_beside(studies, np.sqrt(studies.variance)), np.zeros(1))
    df = float(studies.counts[0] - 2)
    se = np.sqrt(np.diagonal(fit.inverse[0]) * fit.q[0] / df)
    limit, slope = fit.coefficients[0]
    p = two_sided(fit.coefficients[0], se, df=df)[1]
    return [float(v) for v in (slope, se[1], df, p, limit + evidence.origin[0], se[0])]


def _beside(studies: Studies, column: Float[np.ndarray, "studies"]) -> Studies:
    design = np.vstack([studies.design, column])
    return Studies(beta=studies.beta, variance=studies.variance, design=design, offsets=studies.offsets)


def _tested(estimates: Estimates, test: Callable[[Whole], list[float]], names: list[str]) -> Asymmetry:
    """Run a test for every group that has three loci of different standard errors."""
    groups = grouped(estimates)
    rows, skipped = [], []
    for i in range(len(groups.keys)):
        key, k = tuple(groups.keys.iloc[i]), int(groups.counts[i])
        loci = groups.one(i)
        reason = _reason(loci)
        if reason:
            skipped.append((*key[:3], "*", reason))
            continue
        rows.append((*key, k, *test(whole(loci))))
    return Asymmetry(
        tests=pd.DataFrame(rows, columns=names), skipped=pd.DataFrame(skipped, columns=list(schema.SKIPPED))
    )


def _reason(loci: Packed) -> str:
    if len(loci.beta) < 3:
        return f"needs at least 3 loci; has {len(loci.beta)}"
    v = within_variances(loci).total
    return "every locus has the same standard error" if np.ptp(v) <= 1e-12 * v.max() else ""


def trim_and_fill(
    estimates: Estimates,
    *,
    missing: Missing = "L0",
    side: Side = "auto",
    tau2: Tau2 = "REML",
    ci: Interval = "HK",
    weights: Weighting = "auto",
    prediction: Prediction = "auto",
    level: float = 0.95,
) -> Filled:
    """Pool the effects of loci after mirroring those that seem to lack a counterpart.

    Parameters
    ----------
    estimates, tau2, ci, weights, prediction, level : as for `pool_estimates`.
    missing : estimator of the number of loci that are missing.
    side : where they are missing; `auto`: the left one where effects rise with standard errors, else the right one.

    Returns
    -------
    Filled
        Groups of fewer than three loci get no locus added.

    Notes
    -----
    Trim the k0 effects farthest out on the other side, take the mean of the rest, count by the ranks of the distances
    from it how many are missing, and repeat; then add the mirror images of the k0 farthest. How much the mean moves is
    a measure of sensitivity rather than a better estimate.

    References
    ----------
    Duval S, Tweedie R. Biometrics 2000. https://doi.org/10.1111/j.0006-341X.2000.00455.x
    """
    checks.one_of("missing", missing, get_args(Missing))
    checks.one_of("side", side, get_args(Side))
    check_options(tau2=tau2, ci=ci, weights=weights, prediction=prediction)
    weights = chosen_weights(weights, estimates, ci=ci, prediction=prediction)
    prediction = chosen_prediction(prediction, estimates)
    groups = grouped(estimates)
    rows, beta, counts = [], [], []
    moves: list[Float[np.ndarray, "factors added"]] = []
    for i, (a, b) in enumerate(zip(groups.offsets[:-1], groups.offsets[1:], strict=True)):
        loci = groups.one(i)
        which, centre, moved = _mirrored(loci, missing=missing, side=side, tau2=tau2, weights=weights)
        rows.append(groups.order[a:b][which])
        beta.append(2 * centre - loci.beta[which])
        moves.append(2 * moved[:, None] - loci.factors[:, which])
        counts.append(len(which))
    added = estimates.table.iloc[np.concatenate(rows) if rows else []].reset_index(drop=True)
    effects = np.concatenate(beta) if beta else np.zeros(0)
    shift = effects - added["beta"].to_numpy(float)
    added = added.assign(beta=effects, ci_low=added["ci_low"] + shift, ci_high=added["ci_high"] + shift)
    added["locus"] = [f"filled {j + 1}" for n in counts for j in range(n)]
    factors = estimates.error_factors
    if factors is not None and len(groups.keys):
        factors = np.concatenate([factors, *moves], axis=1)
    table = pd.concat([estimates.table, added], ignore_index=True) if len(added) else estimates.table
    loci_after = Estimates(table=table, skipped=estimates.skipped, error_factors=factors)
    pooled = pool_estimates(loci_after, tau2=tau2, ci=ci, weights=weights, prediction=prediction, level=level)
    columns = [*schema.ESTIMATES, *(c for c in schema.EXTRA if c == "n_filled" or c in pooled.table)]
    counted = pooled.table.assign(n_filled=np.array(counts, dtype=int))[columns]
    return Filled(
        pooled=Estimates(table=counted, skipped=pooled.skipped, error_factors=pooled.error_factors), loci=loci_after
    )


def _mirrored(
    loci: Packed, *, missing: Missing, side: Side, tau2: Tau2, weights: Weighting
) -> tuple[np.ndarray, float, Float[np.ndarray, "factors"]]:
    """Return which loci to mirror, about which mean, and how members' errors move it."""
    k, within = len(loci.beta), within_variances(loci)
    none = np.zeros(0, dtype=int), 0.0, np.zeros(len(loci.factors))
    if k < 3:
        return none
    if side == "auto":
        studies = _beside(whole(loci, within).studies, np.sqrt(within.total))
        rising = np.ptp(within.total) > 1e-12 * within.total.max() and (
            fit_at(studies, between_variance(studies, tau2)).coefficients[0, 1] >= 0
        )
        side = "left" if rising else "right"
    sign = 1.0 if side == "left" else -1.0
    order = np.argsort(sign * loci.beta, kind="stable")
    count, before = 0, -1
    for _ in range(_ROUNDS):
        kept = order[: k - count]
        centre, moved = _mean(loci, within, kept, tau2=tau2, weights=weights)
        if count == before:
            break
        before, count = count, _count_missing(sign * (loci.beta[order] - centre), missing)
        count = min(count, k - 2)
    return order[k - count :], centre, moved


def _mean(
    loci: Packed, within: Within, kept: np.ndarray, *, tau2: Tau2, weights: Weighting
) -> tuple[float, Float[np.ndarray, "factors"]]:
    part = Packed(
        beta=loci.beta[kept], se=loci.se[kept], factors=loci.factors[:, kept], offsets=np.array([0, len(kept)])
    )
    evidence = whole(part, Within(sampling=within.sampling[kept], total=within.total[kept]))
    at = evidence.weighted(evidence.between(tau2), weights)
    return float(evidence.origin[0] + at.centre[0]), at.moved[:, 0]


def _count_missing(distance: Float[np.ndarray, "studies"], missing: Missing) -> int:
    """Return how many effects are missing on the left, by the ranks of the distances from the mean, in rising order."""
    k = len(distance)
    rank = np.empty(k)
    rank[np.argsort(np.abs(distance), kind="stable")] = np.arange(1, k + 1)
    if missing == "R0":
        found = k - float(np.max(rank[distance < 0], initial=0.0)) - 1
    else:
        total = float(rank[distance > 0].sum())
        if missing == "L0":
            found = (4 * total - k * (k + 1)) / (2 * k - 1)
        else:
            found = k - 0.5 - np.sqrt(max(2 * k**2 - 4 * total + 0.25, 0.0))
    return max(0, round(found))
