"""Pooling on arrays: many groups of studies at once, each to a mean, its interval, a prediction and heterogeneity."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy import stats

from deepmr import checks
from deepmr.errors import InputError
from deepmr.inference import interval, quantile, total_error, two_sided
from deepmr.meta.evidence import Evidence, Weighted, Weighting
from deepmr.meta.heterogeneity import heterogeneity
from deepmr.meta.studies import Groups
from deepmr.meta.tau2 import Tau2
from deepmr.types import Estimates

Interval = Literal["normal", "t", "HK", "HK_adhoc", "HK_ci", "HK_IQWiG6", "KR"]
Prediction = Literal["auto", "ensemble", "HTS", "V", "S", "HK", "HK_PR", "KR", "KR_PR"]

_NONE = 1e-20  # share of the classic variance of the mean below which that of its scatter is 0


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
    if kenward_roger and (tau2 != "REML" or weights == "equal"):
        raise InputError(f"{kenward_roger[0]} KR goes with tau2 REML and weights inverse_variance")


def chosen_weights(
    weights: Weighting, estimates: Estimates, *, ci: Interval = "HK", prediction: Prediction = "HTS"
) -> Weighting:
    """Return the weights that `auto` stands for; others as they are.

    Equal for effects of an ensemble (estimand model or calibrated), where larger effects are less certain, so that
    inverse variances favour the small ones; inverse variances where any effect is of something else, as a population,
    or an interval of Kenward and Roger needs them.
    """
    if weights != "auto":
        return weights
    needed = ci.startswith("KR") or prediction.startswith("KR")
    of_ensemble = bool(estimates.table["estimand"].isin(["model", "calibrated"]).all())
    return "equal" if of_ensemble and not needed else "inverse_variance"


def chosen_prediction(prediction: Prediction, estimates: Estimates) -> Prediction:
    """Return the prediction interval that `auto` stands for; others as they are.

    That of an ensemble for effects in a model and calibrated effects with errors that members or labels share, HTS for
    all others.
    """
    if prediction != "auto":
        return prediction
    of_ensemble = bool(estimates.table["estimand"].isin(["model", "calibrated"]).all())
    return "ensemble" if of_ensemble and estimates.error_factors is not None else "HTS"


def pool_groups(
    evidence: Evidence,
    *,
    tau2: Tau2,
    ci: Interval,
    weights: Weighting,
    prediction: Prediction,
    level: float,
) -> Pooled:
    """Pool every group; the method is explained in `pool_estimates`."""
    between = evidence.between(tau2)
    k = evidence.counts
    at = evidence.weighted(between, weights)
    classic = at.sampled + between * at.square
    knapp = at.scatter / (k - 1)
    # Effects that are equal by rounding leave nothing for Hartung and Knapp's variance, and no error is not the answer.
    knapp = np.where(knapp > _NONE * classic, knapp, classic)
    variance, df = _mean_variance(ci, classic, knapp, evidence, at, level)
    error = total_error(variance, df, at.moved, padded=True)
    mean = evidence.origin + at.centre
    low, high = interval(mean, error.se, df=error.df, level=level)
    columns = {"beta": mean, "se": error.se, "ci_low": low, "ci_high": high}
    columns |= {"pvalue": two_sided(mean, error.se, df=error.df), "df": error.df}
    if len(at.moved):
        columns |= {"se_sampling": error.sampling, "se_member": error.member}
    columns |= heterogeneity(evidence, between, level=level)
    columns["tau2"] = between
    if tau2 != "EE":
        columns["tau2_se"] = evidence.between_se(tau2, between)
        upper, lower = stats.chi2.ppf((1 + level) / 2, k - 1), stats.chi2.ppf((1 - level) / 2, k - 1)
        columns |= {"tau2_low": evidence.solve(upper), "tau2_high": evidence.solve(lower)}
        around, new_df = _prediction_variance(prediction, ci, classic, knapp, k, at)
        known = new_df > 0
        if prediction == "ensemble":  # what was estimated at a locus is off from what is there: errors add, see above
            apart = np.where(k > 1, at.scatter * (k + 1) / np.maximum(k - 1, 1), 0.0) + at.within
        else:
            apart = between + around
        new = total_error(apart, np.where(known, new_df, 1.0), at.moved, padded=True)
        low, high = interval(mean, new.se, df=new.df, level=level)
        if len(at.moved):  # more variance can mean more degrees of freedom, hence a shorter interval
            low, high = np.minimum(low, columns["ci_low"]), np.maximum(high, columns["ci_high"])
        columns |= {"pi_low": np.where(known, low, np.nan), "pi_high": np.where(known, high, np.nan)}
    return Pooled(columns=columns, factors=at.moved)


def _mean_variance(
    ci: Interval, classic: Groups, knapp: Groups, evidence: Evidence, at: Weighted, level: float
) -> tuple[Groups, Groups]:
    """Return the sampling variance of the mean and its degrees of freedom."""
    df, infinite = evidence.counts - 1, np.full_like(classic, np.inf)
    if ci == "normal":
        return classic, infinite
    if ci == "t":
        return classic, df
    if ci == "KR":
        return _kenward_roger(at, classic)
    half = np.sqrt(knapp) * quantile(level, df)
    if ci == "HK_adhoc":
        return np.maximum(classic, knapp), df
    if ci == "HK_ci":
        narrower = half < np.sqrt(classic) * quantile(level)
        return np.where(narrower, classic, knapp), np.where(narrower, infinite, df)
    if ci == "HK_IQWiG6":
        other = evidence.weighted(evidence.between("DL"), "inverse_variance")
        narrower = half < quantile(level) / np.sqrt(other.total)
        return np.where(narrower, np.maximum(classic, knapp), knapp), df
    return knapp, df


def _kenward_roger(at: Weighted, classic: Groups) -> tuple[Groups, Groups]:
    """Return Kenward and Roger's variance of the mean and its degrees of freedom, by the expected information."""
    # With w the weights, square = sum w^2 / (sum w)^2 and cube = sum w^3 / (sum w)^3.
    information = 0.5 * at.total**2 * (at.square - 2 * at.cube + at.square**2)
    variance = classic + 2 * at.total * (at.cube - at.square**2) / information
    return variance, 2 * information / (at.square * at.total**2 * variance) ** 2


def _prediction_variance(
    prediction: Prediction, ci: Interval, classic: Groups, knapp: Groups, k: Groups, at: Weighted
) -> tuple[Groups, Groups]:
    """Return the variance of the mean that goes into the prediction interval, and the degrees of freedom of that."""
    df = k - 1
    if prediction == "ensemble":
        return classic, df
    if prediction == "S":
        return classic, np.full_like(classic, np.inf)
    if prediction.startswith("KR"):
        variance, df = _kenward_roger(at, classic)
        return variance, df - (prediction == "KR_PR")
    if prediction.startswith("HK"):
        variance = np.maximum(classic, knapp) if ci == "HK_adhoc" else knapp
        return variance, df - (prediction == "HK_PR")
    return classic, df - (prediction == "HTS")
