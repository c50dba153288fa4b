"""Meta-regression: what about a locus goes with its effect."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from deepmr import schema
from deepmr.errors import InputError
from deepmr.inference import chi2_tail, interval, total_error, two_sided
from deepmr.meta.evidence import Packed, within_variances
from deepmr.meta.grouping import GROUP, grouped
from deepmr.meta.studies import Studies, fit_at
from deepmr.meta.tau2 import Tau2, between_variance
from deepmr.types import Estimates

RegressionInterval = Literal["normal", "HK"]
TERMS = [*GROUP, "term", "beta", "se", "ci_low", "ci_high", "pvalue", "df", "n"]
MODELS = [*GROUP, "n", "tau2", "tau2_without", "r2", "qe", "qe_df", "qe_pvalue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """Meta-regressions, one a method, pair of traits and estimand.

    Attributes
    ----------
    terms : a row a coefficient (`intercept` first).
    models : a row a regression: tau2 that is left, tau2 without moderators, the share explained (r2), and the test of
        the heterogeneity that is left (qe).
    skipped : regressions that cannot be done and why; columns of `schema.SKIPPED`.
    """

    terms: pd.DataFrame
    models: pd.DataFrame
    skipped: pd.DataFrame


def regress_estimates(
    estimates: Estimates,
    moderators: pd.DataFrame,
    *,
    tau2: Tau2 = "REML",
    ci: RegressionInterval = "HK",
    level: float = 0.95,
) -> Regression:
    """Regress the effects of loci on moderators, by random effects.

    Parameters
    ----------
    estimates : one row a locus.
    moderators : numbers, a column each, indexed by locus; every locus needs all of them.
    tau2 : as for `pool_estimates`, here of what the moderators leave.
    ci : `HK`, Knapp and Hartung's with t(k - p); `normal`.
    level : of every interval, between 0 and 1.

    Notes
    -----
    Coefficients are weighted least squares with weights 1 / (v_i + tau2); members' shared errors F move them by
    (X'WX)^-1 X'W F', and this adds to their variance as in `pool_estimates`.

    References
    ----------
    Knapp G, Hartung J. Stat Med 2003. https://doi.org/10.1002/sim.1482
    """
    if not moderators.index.is_unique:
        raise InputError("moderators need one row a locus; a locus is there twice")
    missing = set(estimates.table["locus"]) - set(moderators.index)
    if missing:
        raise InputError(f"locus {min(missing)!r} has no moderators; every locus needs them")
    groups = grouped(estimates)
    names = ["intercept", *map(str, moderators.columns)]
    terms, models, skipped = [], [], []
    for i, (a, b) in enumerate(zip(groups.offsets[:-1], groups.offsets[1:], strict=True)):
        key = tuple(groups.keys.iloc[i])
        loci = estimates.table["locus"].to_numpy(object)[groups.order[a:b]]
        values = moderators.loc[loci].to_numpy(float).T
        reason = _reason(values, names)
        if reason:
            skipped.append((*key[:3], "*", reason))
            continue
        one = groups.one(i)
        rows, model = _regress(one, values, tau2=tau2, ci=ci, level=level)
        terms += [(*key, name, *row, int(b - a)) for name, row in zip(names, rows, strict=True)]
        models.append((*key, int(b - a), *model))
    return Regression(
        terms=pd.DataFrame(terms, columns=TERMS),
        models=pd.DataFrame(models, columns=MODELS),
        skipped=pd.DataFrame(skipped, columns=list(schema.SKIPPED)),
    )


def _reason(values: np.ndarray, names: list[str]) -> str:
    terms, k = len(values) + 1, values.shape[1]
    if not np.isfinite(values).all():
        return "a moderator is not a finite number"
    if k <= terms:
        return f"needs at least {terms + 1} loci for {terms} coefficients; has {k}"
    mean = values.mean(axis=1, keepdims=True)
    spread = values.std(axis=1, keepdims=True)
    for name, m, s in zip(names[1:], mean[:, 0], spread[:, 0], strict=True):
        if s <= 1e-12 * abs(m):
            return f"moderator {name!r} is the same at every locus"
    scaled = (values - mean) / spread
    for j in range(1, len(values)):
        if np.linalg.matrix_rank(scaled[: j + 1], tol=1e-8 * np.sqrt(k)) <= j:
            return f"moderator {names[j + 1]!r} follows from those before it: leave one out"
    return ""


def _regress(loci: Packed, values: np.ndarray, *, tau2: Tau2, ci: RegressionInterval, level: float) -> tuple:
    k = len(loci.beta)
    mean, spread = values.mean(axis=1), values.std(axis=1)
    design = np.vstack([np.ones(k), (values - mean[:, None]) / spread[:, None]])
    within = within_variances(loci)
    origin = loci.beta.mean()
    studies = Studies(beta=loci.beta - origin, variance=within.total, design=design, offsets=loci.offsets)
    left = between_variance(studies, tau2)
    alone = between_variance(
        Studies(beta=studies.beta, variance=within.total, design=np.ones((1, k)), offsets=loci.offsets), tau2
    )
    fit = fit_at(studies, left)
    back = np.diag([1.0, *(1 / spread)])
    back[0, 1:] = -mean / spread
    influence = back @ fit.inverse[0] @ (design * fit.weights)
    df = float(k - len(design))
    if ci == "HK":
        variance = np.diagonal(back @ fit.inverse[0] @ back.T) * fit.q[0] / df
    else:
        variance = influence**2 @ (within.sampling + left[0])
    error = total_error(variance, df if ci == "HK" else np.inf, loci.factors @ influence.T, padded=True)
    beta = back @ fit.coefficients[0]
    beta[0] += origin
    low, high = interval(beta, error.se, df=error.df, level=level)
    p = two_sided(beta, error.se, df=error.df)
    qe = float(fit_at(studies, np.zeros(1)).q[0])
    r2 = max(0.0, 1 - float(left[0] / alone[0])) if alone[0] > 0 else 0.0
    model = (float(left[0]), float(alone[0]), r2, qe, df, float(chi2_tail(np.array(qe), df)))
    return list(zip(beta, error.se, low, high, p, error.df, strict=True)), model
