"""Many meta-analyses at once: packed studies, a weighted regression in every group, and root-finding."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr.linalg import segment_repeat, segment_sum

Groups = Float[np.ndarray, "groups"]
_ITERATIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Studies:
    """Effects with the variances of their errors, in groups of at least two.

    Attributes
    ----------
    beta, variance : an effect and the variance of its error, above zero.
    design : one row a coefficient; a single row of ones for a mean.
    offsets : group i owns the studies offsets[i] to offsets[i + 1].
    """

    beta: Float[np.ndarray, "studies"]
    variance: Float[np.ndarray, "studies"]
    design: Float[np.ndarray, "terms studies"]
    offsets: Int[np.ndarray, "groups_plus_one"]

    @property
    def counts(self) -> Groups:
        """Number of studies of each group."""
        return np.diff(self.offsets).astype(float)

    @property
    def df(self) -> Groups:
        """Studies less coefficients of each group."""
        return self.counts - len(self.design)

    def sum(self, values: Float[np.ndarray, "*lead studies"]) -> Float[np.ndarray, "*lead groups"]:
        """Sum over the studies of each group."""
        return segment_sum(values, self.offsets)

    def repeat(self, values: Groups) -> Float[np.ndarray, "studies"]:
        """Give every study the number of its group."""
        return segment_repeat(values, self.offsets)

    def largest(self, values: Float[np.ndarray, "studies"]) -> Int[np.ndarray, "groups"]:
        """Return the first row of each group with its largest value."""
        starts = self.offsets[:-1]
        top = np.flatnonzero(values == self.repeat(np.maximum.reduceat(values, starts))) if len(starts) else starts
        return top[np.searchsorted(top, starts)]

    def gram(self, weights: Float[np.ndarray, "studies"]) -> Float[np.ndarray, "groups terms terms"]:
        """Return X'WX of each group."""
        products = self.design[:, None] * (weights * self.design)
        return np.moveaxis(self.sum(products), -1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedFit:
    """Weighted least squares in every group.

    Attributes
    ----------
    weights : of each study.
    inverse : (X'WX)^-1.
    coefficients : one column a group.
    residual : effect less fitted effect.
    q : weighted residual sum of squares.
    """

    weights: Float[np.ndarray, "studies"]
    inverse: Float[np.ndarray, "groups terms terms"]
    coefficients: Float[np.ndarray, "groups terms"]
    residual: Float[np.ndarray, "studies"]
    q: Groups


def one_group(beta: Float[np.ndarray, "studies"], variance: Float[np.ndarray, "studies"]) -> Studies:
    """Return one group that has a common mean."""
    offsets = np.array([0, len(beta)])
    return Studies(beta=centred(beta, offsets)[0], variance=variance, design=np.ones((1, len(beta))), offsets=offsets)


def centred(
    beta: Float[np.ndarray, "studies"], offsets: Int[np.ndarray, "groups_plus_one"]
) -> tuple[Float[np.ndarray, "studies"], Groups]:
    """Return effects less the mean of their group, and these means: equal effects become exactly zero."""
    starts = offsets[:-1]
    mean = segment_sum(beta, offsets) / np.diff(offsets)
    mean = np.clip(mean, np.minimum.reduceat(beta, starts), np.maximum.reduceat(beta, starts))
    return beta - segment_repeat(mean, offsets), mean


def fit_weighted(studies: Studies, weights: Float[np.ndarray, "studies"]) -> WeightedFit:
    """Regress the effects of every group on its design."""
    inverse = np.linalg.inv(studies.gram(weights))
    right = studies.sum(weights * studies.beta * studies.design)
    coefficients = np.einsum("gab,bg->ga", inverse, right)
    fitted = sum(
        studies.repeat(coefficients[:, a]) * column if len(studies.design) > 1 else studies.repeat(coefficients[:, a])
        for a, column in enumerate(studies.design)
    )
    residual = studies.beta - fitted
    return WeightedFit(
        weights=weights,
        inverse=inverse,
        coefficients=coefficients,
        residual=residual,
        q=studies.sum(weights * residual**2),
    )


def fit_at(studies: Studies, tau2: Groups) -> WeightedFit:
    """Fit with the weights 1 / (variance + tau2)."""
    return fit_weighted(studies, 1 / (studies.variance + studies.repeat(tau2)))


def traced(inverse: Float[np.ndarray, "groups terms terms"], other: Float[np.ndarray, "groups terms terms"]) -> Groups:
    """Return the trace of the product of two matrices of each group."""
    return np.einsum("gab,gba->g", inverse, other)


def projection_traces(
    studies: Studies, fit: WeightedFit, spread: Float[np.ndarray, "studies"]
) -> tuple[Groups, Groups, Groups]:
    """Return tr P, tr PS and tr PSPS, with S the diagonal of variances `spread`, P = W - WX (X'WX)^-1 X'W."""
    if len(studies.design) == 1:
        return _traces_of_mean(studies, fit.weights, spread)
    w = fit.weights
    once = traced(fit.inverse, studies.gram(w**2))
    plain = studies.sum(w) - once
    single = studies.sum(w * spread) - traced(fit.inverse, studies.gram(w**2 * spread))
    middle = fit.inverse @ studies.gram(w**2 * spread)
    cubic = traced(fit.inverse, studies.gram(w**3 * spread**2))
    double = studies.sum((w * spread) ** 2) - 2 * cubic + traced(middle, middle)
    return plain, single, double


def _traces_of_mean(
    studies: Studies, w: Float[np.ndarray, "studies"], spread: Float[np.ndarray, "studies"]
) -> tuple[Groups, Groups, Groups]:
    """Return the traces for a mean, as sums of positive terms: one study may have all the weight but 1e-12 of it."""
    total = studies.sum(w)
    left = w * (1 - w / studies.repeat(total))  # the diagonal of P
    heaviest = studies.largest(w)
    left[heaviest] = w[heaviest] * studies.sum(np.where(_is_at(heaviest, len(w)), 0.0, w)) / total
    # Off the diagonal PS has -w_i w_j s_j / sum w: the products of different studies, the largest set apart.
    b = w**2 * spread
    first = studies.largest(b)
    rest = np.where(_is_at(first, len(b)), 0.0, b)
    others = studies.sum(rest)
    products = 2 * b[first] * others + np.maximum(others**2 - studies.sum(rest**2), 0.0)
    return studies.sum(left), studies.sum(left * spread), studies.sum((left * spread) ** 2) + products / total**2


def _is_at(rows: Int[np.ndarray, "groups"], n: int) -> Bool[np.ndarray, "studies"]:
    found = np.zeros(n, dtype=bool)
    found[rows] = True
    return found


def find_root(function: Callable[[Groups], tuple[Groups, Groups]], low: Groups, high: Groups, start: Groups) -> Groups:
    """Return where functions that fall from above zero at `low` to below it at `high` are zero, in every group.

    Parameters
    ----------
    function : gives value and slope of every group at one point a group.
    start : first point; where Newton's step leaves the bracket, the bracket is halved.
    """
    low, high, at = low.copy(), high.copy(), start.copy()
    done = high <= low
    for _ in range(_ITERATIONS):
        value, slope = function(at)
        low, high = np.where(value >= 0, at, low), np.where(value <= 0, at, high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = at - value / slope
        inside = np.isfinite(newton) & (newton >= low) & (newton <= high) & (slope < 0)
        # Newton's last step may touch an end of the bracket; an end it keeps to is a root within rounding.
        new = np.where(value == 0, at, np.where(inside, newton, (low + high) / 2))
        done |= np.abs(new - at) <= 4e-15 * np.abs(new)
        done |= high - low <= 4e-15 * high
        at = new
        if done.all():
            break
    return at
