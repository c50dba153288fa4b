"""Coverage of an ensemble's intervals: measured, and corrected by one factor or an isotonic map."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from deepmr import checks, inference
from deepmr.anscombe import anscombe_mean, anscombe_variance
from deepmr.errors import InputError

Noise = Literal["none", "poisson"] | float

LEVELS = np.concatenate([np.arange(1, 100) / 100, [0.995, 0.999]])
LARGEST_SCORE = 37.0  # normal quantile whose tail, 1e-300, is near the last that a float64 holds


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalCalibration:
    """Calibration of the intervals of one task with counts or continuous values.

    Attributes
    ----------
    targets : "counts" compared on the Anscombe scale, or "value" in the unit of the prediction.
    noise : what was taken as the targets' own noise: "none", "poisson", or a variance.
    n : sequences with a known target.
    raw_scale : variance factor lambda that the residuals ask for; below 1 when they are smaller than the spread.
    raw_scale_se : its standard error over sequences.
    levels : nominal levels of the intervals.
    before : coverage of the ensemble's own intervals at those levels.
    variance, isotonic : coverage after either recalibration, on folds that it was not fitted to.
    scores : standardised residual, as a normal quantile, that covers each level: the isotonic map.
    """

    task: str
    targets: Literal["counts", "value"]
    noise: Noise
    n: int
    raw_scale: float
    raw_scale_se: float
    levels: Float[np.ndarray, "levels"]
    before: Float[np.ndarray, "levels"]
    variance: Float[np.ndarray, "levels"]
    isotonic: Float[np.ndarray, "levels"]
    scores: Float[np.ndarray, "levels"]

    def __post_init__(self) -> None:
        for name in ("levels", "before", "variance", "isotonic", "scores"):
            checks.shape(name, getattr(self, name), self.levels.shape)
            checks.non_negative(name, getattr(self, name))
        for name in ("raw_scale", "raw_scale_se"):
            checks.non_negative(f"{name} of task {self.task!r}", np.array([getattr(self, name)]))

    @property
    def scale(self) -> float:
        """Variance factor applied to effects: `raw_scale`, at least 1.

        Held-out reference sequences show how far levels are off. That differences between nearly equal sequences are
        more precise than the members' own disagreement on them, they cannot show: a factor below 1 is not used.
        """
        return max(1.0, self.raw_scale)

    def isotonic_factor(self, level: float, df: float) -> float:
        """Return the factor of the standard error that gives intervals of `level`; at least 1, as `scale` is.

        Parameters
        ----------
        level : level of the intervals, between 0 and n / (n + 1), the largest that n residuals can speak of.
        df : degrees of freedom of the t distribution behind those intervals.
        """
        largest = min(float(self.levels[-1]), self.n / (self.n + 1))
        if not 0 < level <= largest:
            raise InputError(
                f"isotonic calibration of task {self.task!r} with {self.n} sequences serves levels above 0 up to "
                f"{largest:.4g}; got {level:g}"
            )
        score = np.interp(level, np.r_[0.0, self.levels], np.r_[0.0, self.scores])
        return max(1.0, float(stats.t.isf(stats.norm.sf(score), df) / stats.t.isf((1 - level) / 2, df)))


@dataclass(frozen=True, slots=True)
class _Residuals:
    """Residuals with the variance that members (s2) and noise (v) lead one to expect."""

    r: Float[np.ndarray, "loci"]
    s2: Float[np.ndarray, "loci"]
    v: Float[np.ndarray, "loci"]
    member_df: int

    def take(self, rows: Bool[np.ndarray, "loci"]) -> "_Residuals":
        return _Residuals(self.r[rows], self.s2[rows], self.v[rows], self.member_df)

    def scale(self) -> float:
        return max(0.0, float(np.mean(self.r**2 - self.v))) / float(np.mean(self.s2))

    def scores(self, scale: float = 1.0) -> Float[np.ndarray, "loci"]:
        """Return the two-sided residuals as normal quantiles, which levels of any reference can be compared with."""
        s2 = scale * self.s2
        total = s2 + self.v
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            df = np.where(s2 > 0, self.member_df * (total / s2) ** 2, np.inf)
        tail = inference.two_sided(self.r, np.sqrt(total), df=df)
        return np.clip(stats.norm.isf(tail / 2), 0.0, LARGEST_SCORE)


def fit_intervals(
    task: str,
    members: Float[np.ndarray, "members loci"],
    targets: Float[np.ndarray, "loci"],
    fold: Int[np.ndarray, "loci"],
    *,
    kind: Literal["counts", "value"],
    noise: Noise,
) -> IntervalCalibration:
    """Fit both corrections of one task, and measure each on folds that it was not fitted to.

    Parameters
    ----------
    task : name of the task.
    members : what every member predicts.
    targets : what was measured, on the scale of the predictions.
    fold : number of the fold that each locus is in.
    kind : what the targets were before they were put on that scale.
    noise : the targets' own noise.

    Notes
    -----
    See `calibration.fit_calibration`.
    """
    n_members, n = members.shape
    mean = members.mean(axis=0)
    data = _Residuals(
        targets - mean,
        (1 + 1 / n_members) * members.var(axis=0, ddof=1),
        _noise_variance(task, noise, mean),
        n_members - 1,
    )
    nominal = stats.norm.isf((1 - LEVELS) / 2)
    before = data.scores()
    variance, isotonic = np.zeros((2, len(LEVELS)))
    for k in np.unique(fold):
        train, test = data.take(fold != k), data.take(fold == k)
        variance += np.sum(test.scores(train.scale())[:, None] <= nominal, axis=0)
        isotonic += np.sum(before[fold == k, None] <= _isotonic_scores(before[fold != k]), axis=0)
    scale, mean_s2 = data.scale(), float(np.mean(data.s2))
    influence = data.r**2 - data.v - scale * data.s2
    return IntervalCalibration(
        task=task,
        targets=kind,
        noise=noise,
        n=n,
        raw_scale=scale,
        raw_scale_se=float(np.std(influence, ddof=1) / np.sqrt(n) / mean_s2),
        levels=LEVELS,
        before=np.mean(before[:, None] <= nominal, axis=0),
        variance=variance / n,
        isotonic=isotonic / n,
        scores=_isotonic_scores(before),
    )


def _isotonic_scores(scores: Float[np.ndarray, "loci"]) -> Float[np.ndarray, "levels"]:
    """Return the score that covers each level: the inverse of the isotonic map from score to coverage.

    The i-th smallest of n scores covers i / (n + 1), which makes the coverage of a new sequence right for every n.
    """
    coverage = np.arange(1, len(scores) + 1) / (len(scores) + 1)
    fit = IsotonicRegression(y_min=0, y_max=1).fit(np.sort(scores), coverage)
    covering: np.ndarray = np.interp(LEVELS, np.r_[0.0, fit.y_thresholds_], np.r_[0.0, fit.X_thresholds_])
    return covering


def poisson_noise(mean: Float[np.ndarray, "loci"]) -> Float[np.ndarray, "loci"]:
    """Return the variance of A(y) = 2 sqrt(y + 3/8) for the Poisson count y whose A(y) has the given expectation.

    Parameters
    ----------
    mean : expectation of A(y); at or below A(0) = 1.22 the count is always 0, and the variance too.

    Notes
    -----
    Below 1 for small counts: 0.72 at a rate of 1. From a table of rates up to 100, right to 1e-5; 1 above.
    """
    rates = np.linspace(0, 10, 1001) ** 2
    variance: np.ndarray = np.interp(mean, anscombe_mean(rates), anscombe_variance(rates), right=1.0)
    return variance


def _noise_variance(task: str, noise: Noise, mean: Float[np.ndarray, "loci"]) -> Float[np.ndarray, "loci"]:
    if noise == "poisson":
        return poisson_noise(mean)
    if noise == "none":
        return np.zeros_like(mean)
    if isinstance(noise, str) or not 0 <= noise < np.inf:
        raise InputError(f"noise of task {task!r} must be none, poisson or a variance of at least 0; got {noise!r}")
    return np.full_like(mean, noise)
