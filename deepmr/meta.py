"""Random-effects meta-analysis: from one effect a locus to a mean over loci and its spread."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import optimize, stats

from deepmr import checks, schema
from deepmr.errors import InputError
from deepmr.inference import TotalError, chi2_tail, i_squared, interval, moderate_variances, total_error, two_sided
from deepmr.types import Estimates

Tau2 = Literal["DL", "PM", "REML", "ML", "HE", "HS", "SJ"]
Interval = Literal["normal", "HK", "HK_adhoc"]
Weighting = Literal["inverse_variance", "equal"]
Prediction = Literal["HTS", "V", "HK"]

_GROUP = ["method", "exposure", "outcome", "estimand"]
_FLOOR = 1e-12  # smallest within-locus variance, as a share of the largest or of the scatter

Values = Float[np.ndarray, "loci"]


def pool_estimates(
    estimates: Estimates,
    *,
    tau2: Tau2 = "REML",
    ci: Interval = "HK",
    weights: Weighting = "inverse_variance",
    prediction: Prediction = "HTS",
    level: float = 0.95,
) -> Estimates:
    """Pool the effects of loci by random-effects meta-analysis, for each method, pair of traits and estimand.

    Parameters
    ----------
    estimates : one row a locus; rows that are themselves pooled may be pooled again.
    tau2 : estimator of the variance between loci: DerSimonian-Laird, Paule-Mandel (the same as empirical Bayes),
        restricted maximum likelihood, maximum likelihood, Hedges, Hunter-Schmidt or Sidik-Jonkman.
    ci : interval of the mean: `normal`; `HK`, Hartung and Knapp's with t(k - 1); `HK_adhoc`, the same but never with a
        standard error below the normal one's.
    weights : `inverse_variance`, 1 / (tau2 + variance of the locus); `equal`, the plain mean over loci, for when that
        is the quantity wanted: larger effects are often less certain, and inverse variances then favour the small ones.
    prediction : of the effect at a new locus: `HTS`, t(k - 2) (Higgins, Thompson and Spiegelhalter); `V`, t(k - 1);
        `HK`, t(k - 1) with Hartung and Knapp's standard error of the mean (the larger one under `HK_adhoc`).
    level : of every interval, between 0 and 1.

    Returns
    -------
    Estimates
        Locus `*`, the number of loci in `n`. `ci_low`, `ci_high` say where the **mean** effect over loci lies; they
        shrink as loci are added. `pi_low`, `pi_high` say where the effect at a **new locus** lies; they do not shrink
        to nothing. `tau2` is the variance of effects between loci, with its Q-profile interval `tau2_low`, `tau2_high`:
        the mean -+ 2 sqrt(tau2) spans most **loci** and is neither of the two intervals.

        Extras besides: `q`, `q_df`, `q_pvalue`, `i2`, `beta_fixed`, `se_fixed`, `df`, `n_skipped`, and with shared
        errors `se_sampling` and `se_member`. One locus alone is returned as it is; two have no `HTS` prediction.

    Raises
    ------
    InputError : on an unknown option, or a locus that is there twice.

    Notes
    -----
    Without shared errors: the model b_i ~ N(mu, tau2 + se_i^2), independent. A se_i of 0 counts as very small.

    With `error_factors` F (one row a member), all loci carry errors of the same members, which no number of loci
    averages out: b_i = mu + u_i + m_i + e_i, with var(u) = tau2, cov(m) = F'F, and var(e_i) = s_i^2 what this leaves of
    se_i^2. Then:

    - Weights, tau2 and Q take the within-locus variance v_i = s_i^2 + d_i^2, where d_i^2 adds (F_ki - mean F_k)^2 over
      members. A move that a member makes at all loci alike shows in no difference between loci, so the whole of
      se_i^2 would explain away real heterogeneity; s_i^2 alone would count locus-specific member error as
      heterogeneity. With v_i, Q has the right expectation although member errors are correlated. Since a few members
      estimate d_i^2 poorly, and weights that follow the noise inflate Q and tau2, the d_i^2 are moderated over loci
      (`deepmr.inference.moderate_variances`).
    - The variance of the mean, with weights w adding up to 1, is sum w_i^2 (s_i^2 + tau2) + sum_k (sum_i w_i F_ki)^2.
      The first part is Hartung and Knapp's under `HK`; that one sees the locus-specific member error too, which then
      counts twice, in the order of 1/k of it: a little too wide, never too narrow.
    - df are Welch-Satterthwaite's, of k - 1 (infinite for `normal`) and members - 1. The prediction interval is at
      least the confidence interval, than which its own df could make it shorter.
    - The pooled rows carry sum_i w_i F_ki on, so that pooling nests.

    References
    ----------
    DerSimonian R, Laird N. Control Clin Trials 1986. https://doi.org/10.1016/0197-2456(86)90046-2
    Paule RC, Mandel J. J Res Natl Bur Stand 1982. https://doi.org/10.6028/jres.087.022
    Hartung J, Knapp G. Stat Med 2001. https://doi.org/10.1002/sim.791
    Higgins JPT, Thompson SG, Spiegelhalter DJ. J R Stat Soc A 2009. https://doi.org/10.1111/j.1467-985X.2008.00552.x
    Viechtbauer W. Confidence intervals for the amount of heterogeneity in meta-analysis. Stat Med 2007.
    https://doi.org/10.1002/sim.2514
    """
    for name, value, allowed in (
        ("tau2", tau2, Tau2),
        ("ci", ci, Interval),
        ("weights", weights, Weighting),
        ("prediction", prediction, Prediction),
    ):
        checks.one_of(name, value, get_args(allowed))
    named = estimates.table.loc[estimates.table["locus"] != "*", [*_GROUP, "locus"]]
    if named.duplicated().any():
        twice = named[named.duplicated()].iloc[0]
        raise InputError(
            f"locus {twice['locus']!r} has more than one {twice['method']} estimate of one pair; needed one"
        )
    shared = estimates.error_factors
    factors = np.zeros((0, len(estimates))) if shared is None else shared
    lost = estimates.skipped.groupby(_GROUP[:3]).size().to_dict()
    rows, pooled_factors = [], []
    for group, index in estimates.table.groupby(_GROUP, sort=False).indices.items():
        key = tuple(np.atleast_1d(np.asarray(group, dtype=object)))
        table = estimates.table.iloc[index]
        beta, se = table["beta"].to_numpy(float), table["se"].to_numpy(float)
        if len(index) == 1:
            pooled = _lone(table, factors[:, index], level=level)
        else:
            pooled = _pool(
                beta, se, factors[:, index], tau2=tau2, ci=ci, weights=weights, prediction=prediction, level=level
            )
        row = dict(zip(_GROUP, key, strict=True)) | pooled.row
        rows.append(row | {"locus": "*", "n": len(index), "level": level, "n_skipped": lost.get(key[:3], 0)})
        pooled_factors.append(pooled.factors)
    names = [name for name in schema.EXTRA if any(name in row for row in rows)]
    return Estimates(
        table=pd.DataFrame(rows, columns=[*schema.ESTIMATES, *names]),
        skipped=_nothing_to_pool(estimates),
        error_factors=np.stack(pooled_factors, axis=1) if shared is not None and rows else None,
    )


def estimate_tau2(beta: Values, variance: Values, *, method: Tau2 = "REML") -> float:
    """Estimate the variance of effects between loci.

    Parameters
    ----------
    beta, variance : effect of each locus and the variance of its error; at least two loci, variances above zero.
    method : as `tau2` in `pool_estimates`.

    Notes
    -----
    Truncated at 0. REML and ML search a grid of 200 values for the global maximum of the likelihood before they polish
    it, since Fisher scoring can fail when variances are wildly unequal.
    """
    return _TAU2[method](beta, variance)


def tau2_interval(beta: Values, variance: Values, *, level: float = 0.95) -> tuple[float, float]:
    """Return the Q-profile interval of tau2: the values at which the generalised Q meets its chi-square quantiles.

    References
    ----------
    Viechtbauer W. Stat Med 2007. https://doi.org/10.1002/sim.2514
    """
    large, small = (float(stats.chi2.ppf(p, len(beta) - 1)) for p in ((1 + level) / 2, (1 - level) / 2))
    return _solve_q(beta, variance, large), _solve_q(beta, variance, small)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pooled:
    row: dict[str, float]
    factors: Float[np.ndarray, "factors"]


def _lone(table: pd.DataFrame, factors: Float[np.ndarray, "factors 1"], *, level: float) -> _Pooled:
    """One locus is its own mean; it says nothing about the variance between loci, so tau2 stays empty."""
    beta, se = table["beta"].to_numpy(float), table["se"].to_numpy(float)
    given = table["df"].to_numpy(float) if "df" in table else np.array([np.inf])
    df = np.where(np.isnan(given), np.inf, given)
    row = _columns(beta, se, df, level)
    if len(factors):
        member = float(np.sum(factors**2))
        row |= {"se_sampling": float(np.sqrt(max(se[0] ** 2 - member, 0.0))), "se_member": float(np.sqrt(member))}
    return _Pooled(row=row, factors=factors[:, 0])


def _pool(
    beta: Values,
    se: Values,
    factors: Float[np.ndarray, "factors loci"],
    *,
    tau2: Tau2,
    ci: Interval,
    weights: Weighting,
    prediction: Prediction,
    level: float,
) -> _Pooled:
    k = len(beta)
    sampling = np.maximum(se**2 - np.sum(factors**2, axis=0), 0.0)
    within = _floored(sampling + _locus_specific(factors), beta)
    between = estimate_tau2(beta, within, method=tau2)
    share = np.full(k, 1 / k) if weights == "equal" else _shares(1 / (within + between))
    mean, moved = float(share @ beta), factors @ share
    classic = float(share**2 @ (sampling + between))
    hartung_knapp = float(share @ (beta - mean) ** 2) / (k - 1)
    by_name = {"normal": classic, "HK": hartung_knapp, "HK_adhoc": max(classic, hartung_knapp)}
    error = _error(by_name[ci], np.inf if ci == "normal" else k - 1.0, moved)
    row = _columns(np.array([mean]), error.se, error.df, level)
    if len(factors):
        row |= {"se_sampling": float(error.sampling[0]), "se_member": float(error.member[0])}
    row |= _heterogeneity(beta, sampling, within, factors)
    row["tau2"] = between
    row["tau2_low"], row["tau2_high"] = tau2_interval(beta, within, level=level)
    around = classic
    if prediction == "HK":
        around = by_name["HK_adhoc" if ci == "HK_adhoc" else "HK"]
    df = k - 2.0 if prediction == "HTS" else k - 1.0
    if df > 0:
        new = _error(between + around, df, moved)
        low, high = interval(np.array([mean]), new.se, df=new.df, level=level)
        row |= {"pi_low": float(low[0]), "pi_high": float(high[0])}
        if len(factors):  # more variance can mean more degrees of freedom, hence a shorter interval
            row |= {"pi_low": min(row["pi_low"], row["ci_low"]), "pi_high": max(row["pi_high"], row["ci_high"])}
    return _Pooled(row=row, factors=moved)


def _locus_specific(factors: Float[np.ndarray, "factors loci"]) -> Values:
    """Return the variance of every locus from what members do there but not at all loci alike."""
    variance = np.sum((factors - factors.mean(axis=1, keepdims=True)) ** 2, axis=0)
    return moderate_variances(variance, len(factors) - 1.0) if len(factors) > 1 else variance


def _columns(beta: Float[np.ndarray, "1"], se: Float[np.ndarray, "1"], df: Values, level: float) -> dict[str, float]:
    low, high = interval(beta, se, df=df, level=level)
    values = {"beta": beta, "se": se, "ci_low": low, "ci_high": high, "pvalue": two_sided(beta, se, df=df), "df": df}
    return {name: float(value[0]) for name, value in values.items()}


def _error(variance: float, df: float, moved: Float[np.ndarray, "factors"]) -> TotalError:
    return total_error(np.array([variance]), df, moved[:, None])


def _heterogeneity(
    beta: Values, sampling: Values, within: Values, factors: Float[np.ndarray, "factors loci"]
) -> dict[str, float]:
    """Return the fixed-effect mean and Cochran's Q about it."""
    share = _shares(1 / within)
    mean, df = share @ beta, len(beta) - 1.0
    q = np.sum((beta - mean) ** 2 / within)
    fixed_se = np.sqrt(share**2 @ sampling + np.sum((factors @ share) ** 2))
    return {
        "q": float(q),
        "q_df": df,
        "q_pvalue": float(chi2_tail(np.array(q), df)),
        "i2": float(i_squared(np.array(q), df)),
        "beta_fixed": float(mean),
        "se_fixed": float(fixed_se),
    }


def _floored(variance: Values, beta: Values) -> Values:
    """Keep variances off zero, where weights are infinite; all 1 where nothing varies at all."""
    largest = max(float(variance.max()), float(np.var(beta)))
    return np.maximum(variance, _FLOOR * largest) if largest > 0 else np.ones_like(variance)


def _nothing_to_pool(estimates: Estimates) -> pd.DataFrame:
    """List the pairs of which every locus was skipped."""
    pooled = set(estimates.table[_GROUP[:3]].itertuples(index=False, name=None))
    pairs = estimates.skipped[_GROUP[:3]].drop_duplicates().itertuples(index=False, name=None)
    rows = [(*pair, "*", "no locus has an estimate") for pair in pairs if pair not in pooled]
    return pd.DataFrame(rows, columns=list(schema.SKIPPED), dtype=str)


def _shares(weights: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return weights / weights.sum(axis=-1, keepdims=True)


def _q(beta: Values, variance: Values, tau2: float) -> float:
    """Return the generalised Q: weighted squares about the mean, with weights 1 / (variance + tau2)."""
    weights = 1 / (variance + tau2)
    return float(np.sum(weights * (beta - _shares(weights) @ beta) ** 2))


def _solve_q(beta: Values, variance: Values, target: float) -> float:
    """Return the tau2 at which the generalised Q, which falls in tau2, meets a target; 0 where it starts below."""
    if _q(beta, variance, 0.0) <= target:
        return 0.0
    above = float(np.sum((beta - beta.mean()) ** 2)) / target  # there Q is below the target
    return float(optimize.brentq(lambda t: _q(beta, variance, t) - target, 0.0, above, xtol=1e-300, rtol=1e-14))


def _dersimonian_laird(beta: Values, variance: Values) -> float:
    weights = 1 / variance
    excess = _q(beta, variance, 0.0) - (len(beta) - 1)
    return max(0.0, excess / float(np.sum(weights * (1 - _shares(weights)))))


def _paule_mandel(beta: Values, variance: Values) -> float:
    return _solve_q(beta, variance, len(beta) - 1.0)


def _hedges(beta: Values, variance: Values) -> float:
    return max(0.0, float(np.var(beta, ddof=1) - variance.mean()))


def _hunter_schmidt(beta: Values, variance: Values) -> float:
    return max(0.0, (_q(beta, variance, 0.0) - len(beta)) / float(np.sum(1 / variance)))


def _sidik_jonkman(beta: Values, variance: Values) -> float:
    start = float(np.var(beta))
    return _q(beta, variance / start, 1.0) / (len(beta) - 1) if start > 0 else 0.0


def _maximum_likelihood(beta: Values, variance: Values) -> float:
    return _peak(beta, variance, restricted=False)


def _restricted_likelihood(beta: Values, variance: Values) -> float:
    return _peak(beta, variance, restricted=True)


def _peak(beta: Values, variance: Values, *, restricted: bool) -> float:
    """Return the tau2 of the highest likelihood: the best point of a grid, then the root of the score beside it."""

    def score(tau2: float) -> float:
        weights = 1 / (variance + tau2)
        lost = np.sum(weights**2) / np.sum(weights) if restricted else 0.0
        return float(np.sum(weights**2 * (beta - _shares(weights) @ beta) ** 2) - np.sum(weights) + lost)

    top = 4 * float(np.ptp(beta)) ** 2  # beyond it the score is negative
    if top == 0:
        return 0.0
    grid = np.concatenate([[0.0], np.geomspace(1e-10 * top, top, 200)])
    weights = 1 / (variance + grid[:, None])
    mean = np.sum(_shares(weights) * beta, axis=1, keepdims=True)
    loglik = 0.5 * np.sum(np.log(weights) - weights * (beta - mean) ** 2, axis=1)
    if restricted:
        loglik -= 0.5 * np.log(np.sum(weights, axis=1))
    best = int(np.argmax(loglik))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    if score(low) <= 0 or score(high) >= 0:
        return float(grid[best])
    return float(optimize.brentq(score, low, high, xtol=1e-300, rtol=1e-14))


_TAU2: dict[str, Callable[[Values, Values], float]] = {
    "DL": _dersimonian_laird,
    "PM": _paule_mandel,
    "REML": _restricted_likelihood,
    "ML": _maximum_likelihood,
    "HE": _hedges,
    "HS": _hunter_schmidt,
    "SJ": _sidik_jonkman,
}
