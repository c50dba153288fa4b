"""Pooling on arrays: many groups of studies at once, each to a mean, its interval, a prediction and heterogeneity."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from deepmr import checks
from deepmr.errors import InputError
from deepmr.inference import interval, moderate_variances, quantile, total_error, two_sided
from deepmr.linalg import segment_repeat, segment_sum
from deepmr.meta.heterogeneity import heterogeneity
from deepmr.meta.studies import Groups, Studies, centred
from deepmr.meta.tau2 import Tau2, between_variance, between_variance_se, solve_q

Interval = Literal["normal", "t", "HK", "HK_adhoc", "HK_ci", "HK_IQWiG6", "KR"]
Weighting = Literal["inverse_variance", "equal"]
Prediction = Literal["HTS", "V", "S", "HK", "HK_PR", "KR", "KR_PR"]

_NONE = 1e-20  # share of the classic variance of the mean below which that of its scatter is 0
_FLOOR = 1e-12  # smallest within-locus variance, as a share of the largest or of the scatter


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Effects of loci in groups of at least two.

    Attributes
    ----------
    beta, se : an effect and its whole standard error.
    factors : what members share of it; no rows without shared errors.
    offsets : group i owns the loci offsets[i] to offsets[i + 1].
    """

    beta: Float[np.ndarray, "studies"]
    se: Float[np.ndarray, "studies"]
    factors: Float[np.ndarray, "factors studies"]
    offsets: Int[np.ndarray, "groups_plus_one"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """Variances within loci.

    Attributes
    ----------
    sampling : what shared errors leave of se^2.
    total : that and what members do at a locus but not at all of them; above zero.
    """

    sampling: Float[np.ndarray, "studies"]
    total: Float[np.ndarray, "studies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """One number a group in every column; NaN where a group has none.

    Attributes
    ----------
    columns : by the names of the tables.
    factors : how the errors of members move the means.
    """

    columns: dict[str, Groups]
    factors: Float[np.ndarray, "factors groups"]


def check_options(*, tau2: str, ci: str, weights: str, prediction: str) -> None:
    """Raise `InputError` on an unknown option, or options that do not go together."""
    for name, value, allowed in (
        ("tau2", tau2, Tau2),
        ("ci", ci, Interval),
        ("weights", weights, Weighting),
        ("prediction", prediction, Prediction),
    ):
        checks.one_of(name, value, get_args(allowed))
    kenward_roger = [name for name, value in (("ci", ci), ("prediction", prediction)) if value.startswith("KR")]
    if kenward_roger and (tau2 != "REML" or weights != "inverse_variance"):
        raise InputError(f"{kenward_roger[0]} KR goes with tau2 REML and weights inverse_variance")


def pool_groups(
    loci: Packed,
    *,
    tau2: Tau2,
    ci: Interval,
    weights: Weighting,
    prediction: Prediction,
    level: float,
) -> Pooled:
    """Pool every group; the method is explained in `pool_estimates`."""
    within = within_variances(loci)
    beta, origin = centred(loci.beta, loci.offsets)
    studies = Studies(beta=beta, variance=within.total, design=np.ones((1, len(beta))), offsets=loci.offsets)
    between = between_variance(studies, tau2)
    k = studies.counts
    raw = 1 / (within.total + studies.repeat(between)) if weights == "inverse_variance" else np.ones_like(beta)
    share = raw / studies.repeat(studies.sum(raw))
    centre = studies.sum(share * beta)
    moved = studies.sum(loci.factors * share)
    classic = studies.sum(share**2 * (within.sampling + studies.repeat(between)))
    knapp = studies.sum(share * (beta - studies.repeat(centre)) ** 2) / (k - 1)
    # Effects that are equal by rounding leave nothing for Hartung and Knapp's variance, and no error is not the answer.
    knapp = np.where(knapp > _NONE * classic, knapp, classic)
    variance, df = _mean_variance(ci, classic, knapp, studies, within, between, level)
    error = total_error(variance, df, moved)
    mean = origin + centre
    low, high = interval(mean, error.se, df=error.df, level=level)
    columns = {"beta": mean, "se": error.se, "ci_low": low, "ci_high": high}
    columns |= {"pvalue": two_sided(mean, error.se, df=error.df), "df": error.df}
    if len(loci.factors):
        columns |= {"se_sampling": error.sampling, "se_member": error.member}
    columns |= heterogeneity(studies, within.sampling, loci.factors, between, level=level)
    columns["beta_fixed"] = columns["beta_fixed"] + origin
    columns["tau2"] = between
    if tau2 != "EE":
        columns["tau2_se"] = between_variance_se(studies, tau2, between)
        upper, lower = stats.chi2.ppf((1 + level) / 2, k - 1), stats.chi2.ppf((1 - level) / 2, k - 1)
        columns |= {"tau2_low": solve_q(studies, upper), "tau2_high": solve_q(studies, lower)}
        around, new_df = _prediction_variance(prediction, ci, classic, knapp, studies, between)
        known = new_df > 0
        new = total_error(between + around, np.where(known, new_df, 1.0), moved)
        low, high = interval(mean, new.se, df=new.df, level=level)
        if len(moved):  # more variance can mean more degrees of freedom, hence a shorter interval
            low, high = np.minimum(low, columns["ci_low"]), np.maximum(high, columns["ci_high"])
        columns |= {"pi_low": np.where(known, low, np.nan), "pi_high": np.where(known, high, np.nan)}
    return Pooled(columns=columns, factors=moved)


def within_variances(loci: Packed) -> Within:
    """Return the variances that weights and heterogeneity go by."""
    sampling = np.maximum(loci.se**2 - np.sum(loci.factors**2, axis=0), 0.0)
    total = sampling + locus_specific(loci.factors, loci.offsets)
    beta, _ = centred(loci.beta, loci.offsets)
    spread = segment_sum(beta**2, loci.offsets) / np.diff(loci.offsets)
    largest = np.maximum(np.maximum.reduceat(total, loci.offsets[:-1]) if len(spread) else spread, spread)
    # Off zero, where weights are infinite; all 1 where nothing varies at all.
    largest = segment_repeat(largest, loci.offsets)
    return Within(sampling=sampling, total=np.where(largest > 0, np.maximum(total, _FLOOR * largest), 1.0))


def locus_specific(
    factors: Float[np.ndarray, "factors studies"], offsets: Int[np.ndarray, "groups_plus_one"]
) -> Float[np.ndarray, "studies"]:
    """Return the variance of every locus from what members do there but not at all loci of the group alike."""
    mean = segment_sum(factors, offsets) / np.diff(offsets)
    variance = np.sum((factors - segment_repeat(mean, offsets)) ** 2, axis=0)
    if len(factors) < 2:
        return variance
    parts = [moderate_variances(variance[a:b], len(factors) - 1.0) for a, b in pairwise(offsets)]
    return np.concatenate(parts) if parts else variance


def _mean_variance(
    ci: Interval, classic: Groups, knapp: Groups, studies: Studies, within: Within, between: Groups, level: float
) -> tuple[Groups, Groups]:
    """Return the sampling variance of the mean and its degrees of freedom."""
    df, infinite = studies.counts - 1, np.full_like(classic, np.inf)
    if ci == "normal":
        return classic, infinite
    if ci == "t":
        return classic, df
    if ci == "KR":
        return _kenward_roger(studies, between, classic)
    half = np.sqrt(knapp) * quantile(level, df)
    if ci == "HK_adhoc":
        return np.maximum(classic, knapp), df
    if ci == "HK_ci":
        narrower = half < np.sqrt(classic) * quantile(level)
        return np.where(narrower, classic, knapp), np.where(narrower, infinite, df)
    if ci == "HK_IQWiG6":
        other = 1 / (within.total + studies.repeat(between_variance(studies, "DL")))
        narrower = half < quantile(level) / np.sqrt(studies.sum(other))
        return np.where(narrower, np.maximum(classic, knapp), knapp), df
    return knapp, df


def _kenward_roger(studies: Studies, between: Groups, classic: Groups) -> tuple[Groups, Groups]:
    """Return Kenward and Roger's variance of the mean and its degrees of freedom, by the expected information."""
    w = 1 / (studies.variance + studies.repeat(between))
    first, second, third = studies.sum(w), studies.sum(w**2), studies.sum(w**3)
    information = 0.5 * (second - 2 * third / first + (second / first) ** 2)
    variance = classic + 2 * (third - second**2 / first) / first**2 / information
    return variance, 2 * information / (second * variance) ** 2


def _prediction_variance(
    prediction: Prediction, ci: Interval, classic: Groups, knapp: Groups, studies: Studies, between: Groups
) -> tuple[Groups, Groups]:
    """Return the variance of the mean that goes into the prediction interval, and the degrees of freedom of that."""
    df = studies.counts - 1
    if prediction == "S":
        return classic, np.full_like(classic, np.inf)
    if prediction.startswith("KR"):
        variance, df = _kenward_roger(studies, between, classic)
        return variance, df - (prediction == "KR_PR")
    if prediction.startswith("HK"):
        variance = np.maximum(classic, knapp) if ci == "HK_adhoc" else knapp
        return variance, df - (prediction == "HK_PR")
    return classic, df - (prediction == "HTS")
