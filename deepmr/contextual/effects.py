"""Effects as curves: the level along a context, the average effect of a predictor, and how an effect varies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.contexts import ContextData, ContextualFit
from deepmr.contextual.columns import coefficients_of, estimates, means
from deepmr.errors import InputError
from deepmr.inference import quantile, two_sided

EffectKind = Literal["context", "predictor", "heterogeneous"]
Others = Literal["reference", "average"]
_ENDS = (0.02, 0.98)  # quantiles of a context or predictor between which curves go
_STRAIGHT = 1e-9  # deviation of draws from their mean, against their spread, that is rounding alone


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectCurve:
    """One curve with its bands.

    Attributes
    ----------
    along : context or predictor of the grid.
    coefficient : mu, or the predictor whose effect it is.
    outcome : of the model.
    kind : `context`: mu(c) along one context; `predictor`: what the average slope adds from the mean of a predictor on;
        `heterogeneous`: beta(c) along one context.
    grid : values of `along`.
    estimate : at these.
    low, high : limits of each point; None where the method has no errors, as all that follow.
    uniform_low, uniform_high : limits of the whole curve.
    difference, se_difference, pvalue_ends : the last point less the first, its error, and the P value of it being 0:
        blind to curves that come back, as a U does.
    pvalue_flat : share of joint draws whose largest deviation from their mean curve, less its average, exceeds that of
        the estimate from its average, in standard errors: the curve not being flat, however it bends. Both P values
        take the fit's errors as they are; the test of a stated size is `heterogeneity_test`.
    outside : points that extrapolate.
    observed : values of `along` in the data.
    level : of the limits.
    """

    along: str
    coefficient: str
    outcome: str
    kind: EffectKind
    grid: Float[np.ndarray, "points"]
    estimate: Float[np.ndarray, "points"]
    low: Float[np.ndarray, "points"] | None = None
    high: Float[np.ndarray, "points"] | None = None
    uniform_low: Float[np.ndarray, "points"] | None = None
    uniform_high: Float[np.ndarray, "points"] | None = None
    difference: float
    se_difference: float | None = None
    pvalue_ends: float | None = None
    pvalue_flat: float | None = None
    outside: Bool[np.ndarray, "points"]
    observed: Float[np.ndarray, "samples"]
    level: float

    def to_frame(self) -> pd.DataFrame:
        """Return one row a point."""
        table = pd.DataFrame(
            {"outcome": self.outcome, "coefficient": self.coefficient, "along": self.along}, index=range(len(self.grid))
        )
        for name in ("grid", "estimate", "low", "high", "uniform_low", "uniform_high", "outside"):
            values = getattr(self, name)
            table[name] = np.nan if values is None else values
        return table


def homogeneous_effects(
    fit: ContextualFit,
    data: ContextData,
    *,
    others: Others = "reference",
    n_points: int = 25,
    level: float = 0.95,
    n_draws: int = 1000,
    seed: int = 0,
) -> list[EffectCurve]:
    """Return mu along each context, then what each predictor adds on average over the samples.

    Parameters
    ----------
    fit : any; curves have no limits where it has no draws.
    data : samples to average over, and whose ranges the curves have.
    others : as in `heterogeneous_effects`.
    n_points, level, n_draws, seed : as in `heterogeneous_effects`.
    """
    made = _along_contexts(fit, data, data.context_names, (0,), "context", others, n_points, level, n_draws, seed)
    beta, drawn = _averages(fit, data, n_draws, seed)
    for o, outcome in enumerate(fit.record.outcome_names):
        for j, name in enumerate(fit.record.predictor_names):
            values = data.predictors[:, j]
            grid = _grid(values, n_points)
            off = grid - np.average(values, weights=data.counts)
            made.append(
                _curve(
                    off * beta[o, j + 1],
                    None if drawn is None else drawn[:, o, j + 1, None] * off,
                    (name, name, outcome, "predictor"),
                    grid,
                    np.zeros(len(grid), dtype=bool),
                    values,
                    level,
                )
            )
    return made


def heterogeneous_effects(
    fit: ContextualFit,
    data: ContextData,
    *,
    contexts: Sequence[str] | None = None,
    others: Others = "reference",
    n_points: int = 25,
    level: float = 0.95,
    n_draws: int = 1000,
    seed: int = 0,
) -> list[EffectCurve]:
    """Return beta of each predictor along each context.

    Parameters
    ----------
    fit : any; curves have no limits where it has no draws.
    data : samples, whose ranges the curves have.
    contexts : names; all where not given.
    others : where the other contexts are: at the sample with the most central contexts (`reference`), or averaged over
        ten samples (`average`, a partial dependence).
    n_points : of a curve, between the 2nd and the 98th percentile of the context.
    level : of the limits.
    n_draws : of the limits, which are from joint draws.
    seed : of draws, and of the samples that are averaged over.
    """
    columns = tuple(range(1, 1 + len(fit.record.predictor_names)))
    names = data.context_names if contexts is None else contexts
    for name in names:
        checks.one_of("context", name, data.context_names)
    return _along_contexts(fit, data, names, columns, "heterogeneous", others, n_points, level, n_draws, seed)


def reference_context(data: ContextData) -> Float[np.ndarray, "contexts"]:
    """Return contexts of the sample that is nearest to the median of each, in their standard deviations.

    Parameters
    ----------
    data : samples. One of them, so that the reference is a place where there are data.
    """
    spread = data.contexts.std(axis=0)
    off = (data.contexts - np.median(data.contexts, axis=0)) / np.where(spread > 0, spread, 1.0)
    return data.contexts[int((off**2).sum(axis=1).argmin())]


def _along_contexts(
    fit: ContextualFit,
    data: ContextData,
    names: Sequence[str],
    columns: tuple[int, ...],
    kind: EffectKind,
    others: Others,
    n_points: int,
    level: float,
    n_draws: int,
    seed: int,
) -> list[EffectCurve]:
    checks.level(level)
    checks.at_least("n_points", n_points, 2)
    checks.one_of("others", others, get_args(Others))
    held = reference_context(data)[None] if others == "reference" else _spread_out(data, seed)
    coefficient = ("mu", *fit.record.predictor_names)
    made = []
    for name in names:
        if name in fit.record.constant:
            continue
        k = data.context_names.index(name)
        grid = _grid(data.contexts[:, k], n_points)
        points = np.tile(held, (n_points, 1))
        points[:, k] = np.repeat(grid, len(held))
        at = coefficients_of(fit, points)
        values = estimates(at)
        shape = (n_points, len(held), *values.shape[1:])
        estimate = values.reshape(shape).mean(axis=1)
        drawn = _draws(fit, points, n_draws, seed)
        if drawn is not None:
            drawn = drawn.reshape(len(drawn), *shape).mean(axis=2)
        outside = at.outside.reshape(n_points, len(held)).mean(axis=1) > 0.5
        for o, outcome in enumerate(fit.record.outcome_names):
            for j in columns:
                own = None if drawn is None else drawn[:, :, o, j]
                labels = (name, coefficient[j], outcome, kind)
                made.append(_curve(estimate[:, o, j], own, labels, grid, outside, data.contexts[:, k], level))
    return made


def _curve(
    estimate: np.ndarray,
    drawn: np.ndarray | None,
    labels: tuple[str, str, str, EffectKind],
    grid: np.ndarray,
    outside: np.ndarray,
    observed: np.ndarray,
    level: float,
) -> EffectCurve:
    along, coefficient, outcome, kind = labels
    made = EffectCurve(
        along=along,
        coefficient=coefficient,
        outcome=outcome,
        kind=kind,
        grid=grid,
        estimate=estimate,
        difference=float(estimate[-1] - estimate[0]),
        outside=outside,
        observed=observed,
        level=level,
    )
    if drawn is None:
        return made
    se = drawn.std(axis=0, ddof=1)
    wide = max(float(np.quantile(_largest(drawn - drawn.mean(axis=0), se), level)), float(quantile(level)))
    ends = drawn[:, -1] - drawn[:, 0]
    gap = float(ends.std(ddof=1))
    centred = drawn - drawn.mean(axis=1, keepdims=True)
    bend = centred.std(axis=0, ddof=1)
    far = _largest(centred - centred.mean(axis=0), bend)
    observed_far = _largest((estimate - estimate.mean())[None], bend)[0]
    flat = (
        float((1 + (far >= observed_far).sum()) / (1 + len(far))) if bend.max() > 1e-9 * max(se.max(), 1e-300) else 1.0
    )
    half = float(quantile(level)) * se
    return EffectCurve(
        along=along,
        coefficient=coefficient,
        outcome=outcome,
        kind=kind,
        grid=grid,
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        uniform_low=estimate - wide * se,
        uniform_high=estimate + wide * se,
        difference=made.difference,
        se_difference=gap,
        pvalue_ends=float(two_sided(np.array(made.difference), np.array(gap))) if gap > 0 else 1.0,
        pvalue_flat=flat,
        outside=outside,
        observed=observed,
        level=level,
    )


def _largest(off: np.ndarray, spread: np.ndarray) -> np.ndarray:
    floor = _STRAIGHT * max(float(spread.max()), 1e-300)
    ratio = np.divide(np.abs(off), spread, out=np.zeros_like(off), where=np.broadcast_to(spread > floor, off.shape))
    return ratio.max(axis=1)


def _draws(fit: ContextualFit, points: np.ndarray, n_draws: int, seed: int) -> np.ndarray | None:
    """Return joint draws, or None where the method has no errors."""
    if coefficients_of(fit, points[:1]).se_mu is None:
        return None
    return np.array(fit.draws(points, n_draws=n_draws, seed=seed))


def _averages(
    fit: ContextualFit, data: ContextData, n_draws: int, seed: int
) -> tuple[Float[np.ndarray, "outcomes columns"], Float[np.ndarray, "draws outcomes columns"] | None]:
    """Return the mean coefficients of at most 100 samples, and draws of these means."""
    points = _spread_out(data, seed, most=100)
    mean = means(fit, points).mean(axis=0)
    drawn = _draws(fit, points, n_draws, seed)
    return mean, None if drawn is None else drawn.mean(axis=1)


def _spread_out(data: ContextData, seed: int, *, most: int = 10) -> np.ndarray:
    """Return contexts of some samples, drawn as often as their weights say."""
    if len(data) <= most and data.weights is None:
        return data.contexts
    rng = np.random.default_rng(seed)
    return data.contexts[
        rng.choice(len(data), most, replace=data.weights is not None, p=data.counts / data.counts.sum())
    ]


def _grid(values: np.ndarray, n_points: int) -> np.ndarray:
    low, high = np.quantile(values, _ENDS)
    if not high > low:
        low, high = float(values.min()), float(values.max())
    if not high > low:
        raise InputError("a curve needs values that differ; these do not")
    return np.linspace(low, high, n_points)
