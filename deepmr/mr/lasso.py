"""MR-Lasso: instruments with a direct effect on the outcome are found by a penalty, and left out."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import stats

from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.mr.lines import Distribution, exposure_of, inverse_variances, oriented, origin_estimates, too_few
from deepmr.packed import Block, blocks
from deepmr.types import Estimates, Instruments

_N_PENALTIES, _SMALLEST = 100, 1e-4  # of the path, and its last penalty over its first
_STILL, _EXPLAINED, _EARLIEST = 1e-5, 0.999, 5  # where the path ends early: gain and share explained, not before step


def lasso(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    penalty: float | None = None,
    floor: bool = True,
    distribution: Distribution = "normal",
) -> Estimates:
    """Estimate the causal effect by MR-Lasso: inverse-variance weights on the instruments without a direct effect.

    Parameters
    ----------
    instruments : one exposure.
    min_instruments : loci with fewer are skipped; never below 3. Two have to be left as valid.
    level : of the confidence interval.
    penalty : on the direct effects, the same at every locus (no unit); default: by the heterogeneity rule.
    floor, distribution : of the final fit, as for `ivw_random`.

    Returns
    -------
    Estimates, with extras `n_valid`, `penalty`, `beta_penalised` (slope of the penalised fit), `sigma`, `q` and
    `f_statistic` of the valid instruments.

    Notes
    -----
    Minimises sum_j (y_j - a_j - b x_j)^2 / se_j^2 / (2 J) + penalty * sum_j s_j |a_j| over b and direct effects a_j;
    s_j is the standard deviation of a_j's column once x is projected out (glmnet's standardisation). Given b, a_j is a
    residual less its threshold, so b is the root of a falling piecewise line, found exactly from sorted kinks.
    Instruments with a_j = 0 are valid, and ordinary inverse-variance weighting on them gives effect and error, which do
    not know that the instruments were chosen.

    The heterogeneity rule walks from small penalties (few valid instruments) to large ones and stops before the
    residual scale exceeds 1 and jumps by more than the 95 % point of chi-square over the number of valid instruments.
    The path is glmnet's: 100 penalties down to 1e-4 of the largest, ending early where little is left to explain.
    Alleles are coded to raise the exposure, on which s_j depends.

    References
    ----------
    Rees JMB, Wood AM, Dudbridge F, Burgess S. Robust methods in Mendelian randomization via penalization of
    heterogeneous causal estimates. PLoS One 2019. https://doi.org/10.1371/journal.pone.0222362
    """
    given = oriented(instruments)
    x, _ = exposure_of(given)
    root = np.sqrt(inverse_variances(given))
    path = _choose(root * x, root * given.beta_outcome, given.offsets, penalty)
    used = instruments.take(path.valid)
    few = too_few(instruments, max(min_instruments, 3))
    left = too_few(used, 2, what="instruments without a direct effect")
    zero = "not identified: every exposure effect is zero"
    blank = segment_sum(x**2, given.offsets) == 0
    reason = [why or (zero if none else then) for why, none, then in zip(few, blank, left, strict=True)]
    estimates = origin_estimates(
        "lasso",
        used,
        inverse_variances(used),
        scatter="floored" if floor else "random",
        distribution=distribution,
        reason=reason,
        level=level,
        extra={"n_valid": used.counts.astype(float), "penalty": path.penalty, "beta_penalised": path.slope},
    )
    rows = pd.Index(instruments.loci).get_indexer(pd.Index(estimates.table["locus"]))
    return replace(estimates, table=estimates.table.assign(n=instruments.counts[rows]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """What the penalty leaves: valid rows, the penalty of each locus, and the slope under it."""

    valid: Bool[np.ndarray, "rows"]
    penalty: Float[np.ndarray, "loci"]
    slope: Float[np.ndarray, "loci"]


def _choose(
    u: Float[np.ndarray, "rows"],
    z: Float[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "loci_plus_one"],
    penalty: float | None,
) -> _Chosen:
    """Split the instruments of every locus; u and z are x and y in units of the standard error of y, u >= 0."""
    counts = np.diff(offsets).astype(float)
    squares = segment_sum(u**2, offsets)
    plain = divide(segment_sum(u * z, offsets), squares, otherwise=0.0)
    residual = z - segment_repeat(plain, offsets) * u
    # Standard deviation over the rows of the column of each direct effect, once u is projected out.
    lever = u * segment_repeat(divide(np.ones_like(squares), squares, otherwise=0.0), offsets)
    n = segment_repeat(counts, offsets)
    mean = (1 - lever * segment_repeat(segment_sum(u, offsets), offsets)) / n
    deviation = np.sqrt(np.maximum((1 - lever * u) / n - mean**2, 0.0))
    chosen = np.full(len(counts), np.nan if penalty is None else penalty)
    valid, slope = np.ones(len(u), dtype=bool), plain.copy()
    for block in blocks(offsets, loci=squares > 0, depth=4):
        laid = Laid.of(block, u, residual, deviation * n)
        if penalty is None:
            chosen[block.loci] = by_heterogeneity(laid)
        shift = laid.solve(chosen[block.loci])
        kept = valid_rows(laid, shift, chosen[block.loci])
        valid[block.rows[block.known]] = kept[block.known]
        slope[block.loci] += shift
    return _Chosen(valid=valid, penalty=chosen, slope=slope)


@runtime_checkable
class Penalised(Protocol):
    """Some loci side by side; padding is 0 everywhere."""

    @property
    def z(self) -> Float[np.ndarray, "block width"]:
        """What least squares leaves of the outcome effects, so that slopes are shifts of its own."""

    @property
    def unit(self) -> Float[np.ndarray, "block width"]:
        """A residual becomes a direct effect where it exceeds penalty times this."""

    @property
    def known(self) -> Bool[np.ndarray, "block width"]:
        """False for padding."""

    def solve(self, penalty: Float[np.ndarray, "block"]) -> Float[np.ndarray, "block *slopes"]:
        """Return the slopes under a penalty."""

    def residual(self, slope: Float[np.ndarray, "block *slopes"]) -> Float[np.ndarray, "block width"]:
        """Return what the slopes leave of z."""

    def scale(self, kept: Bool[np.ndarray, "block width"]) -> Float[np.ndarray, "block"]:
        """Return the residual scale of least squares on some instruments; NaN where no degree of freedom is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """Loci with one exposure; see `Penalised`.

    `u` is the exposure effect in units of the outcome's error, zero or positive.
    """

    u: Float[np.ndarray, "block width"]
    z: Float[np.ndarray, "block width"]
    unit: Float[np.ndarray, "block width"]
    known: Bool[np.ndarray, "block width"]

    @classmethod
    def of(
        cls, block: Block, u: Float[np.ndarray, "rows"], z: Float[np.ndarray, "rows"], unit: Float[np.ndarray, "rows"]
    ) -> "Laid":
        """Lay out packed rows."""
        return cls(
            u=block.of(u, padding=0.0), z=block.of(z, padding=0.0), unit=block.of(unit, padding=0.0), known=block.known
        )

    def solve(self, penalty: Float[np.ndarray, "block"]) -> Float[np.ndarray, "block"]:
        """Return the root of sum u clip(z - b u, -threshold, threshold), which falls in b, exactly."""
        threshold = penalty[:, None] * self.unit
        pull = self.u > 0
        low = divide(self.z - threshold, self.u, otherwise=np.inf)
        high = divide(self.z + threshold, self.u, otherwise=np.inf)
        kinks = np.concatenate([low, high], axis=1)
        order = np.argsort(kinks, axis=1)
        steps = np.concatenate([self.u**2, -(self.u**2)], axis=1)
        steepness = np.cumsum(np.take_along_axis(steps, order, axis=1), axis=1)[:, :-1]
        kinks = np.take_along_axis(kinks, order, axis=1)
        widths = np.diff(np.where(np.isfinite(kinks), kinks, 0.0), axis=1)
        widths = np.where(np.isfinite(kinks[:, 1:]), widths, 0.0)
        start = np.sum(np.where(pull, self.u * threshold, 0.0), axis=1)
        heights = start[:, None] - np.cumsum(steepness * widths, axis=1)  # at the right end of every piece
        piece = np.argmax(heights <= 0, axis=1)
        before = np.where(
            piece > 0, np.take_along_axis(heights, np.maximum(piece - 1, 0)[:, None], axis=1)[:, 0], start
        )
        left = np.take_along_axis(kinks, piece[:, None], axis=1)[:, 0]
        slope = left + divide(before, np.take_along_axis(steepness, piece[:, None], axis=1)[:, 0], otherwise=0.0)
        # Once more from the instruments themselves, without the rounding of running sums.
        return self._polished(slope, threshold)

    def _polished(
        self, slope: Float[np.ndarray, "block"], threshold: Float[np.ndarray, "block width"]
    ) -> Float[np.ndarray, "block"]:
        residual = self.z - slope[:, None] * self.u
        free = np.abs(residual) <= threshold
        total = np.sum(np.where(free, self.u**2, 0.0), axis=1)
        pull = np.sum(self.u * np.where(free, self.z, np.copysign(threshold, residual)), axis=1)
        return np.where(total > 0, divide(pull, total, otherwise=0.0), slope)

    def residual(self, slope: Float[np.ndarray, "block"]) -> Float[np.ndarray, "block width"]:
        """Return z - slope u."""
        return self.z - slope[:, None] * self.u

    def scale(self, kept: Bool[np.ndarray, "block width"]) -> Float[np.ndarray, "block"]:
        """Return the residual scale of least squares on some instruments."""
        u, z = np.where(kept, self.u, 0.0), np.where(kept, self.z, 0.0)
        slope = divide(np.sum(u * z, axis=1), np.sum(u**2, axis=1), otherwise=0.0)
        squares = np.sum((z - slope[:, None] * u) ** 2, axis=1)
        return np.sqrt(divide(squares, kept.sum(axis=1) - 1.0))


def valid_rows(
    laid: Penalised, slope: Float[np.ndarray, "block *slopes"], penalty: Float[np.ndarray, "block"]
) -> Bool[np.ndarray, "block width"]:
    """Tell which instruments have no direct effect; at the largest penalty, all of them."""
    return (np.abs(laid.residual(slope)) <= penalty[:, None] * laid.unit * (1 + 1e-12)) & laid.known


def by_heterogeneity(laid: Penalised, *, parameters: int = 1) -> Float[np.ndarray, "block"]:
    """Return the penalty that the heterogeneity rule chooses at every locus; see `lasso`.

    Parameters
    ----------
    parameters : slopes; more instruments than these have to stay valid.
    """
    ratios = _SMALLEST ** (np.arange(_N_PENALTIES) / (_N_PENALTIES - 1))
    # The smallest penalty that leaves no direct effect.
    largest = divide(np.abs(laid.z), laid.unit, otherwise=0.0).max(axis=1)
    scales, counts, ended = [], [], []
    total = np.sum(laid.z**2, axis=1)
    n = laid.known.sum(axis=1)
    variance = total - np.sum(laid.z, axis=1) ** 2 / n
    over, explained = np.zeros(len(n), dtype=bool), np.zeros(len(n))
    for step, ratio in enumerate(ratios):
        penalty = largest * ratio
        slope = laid.solve(penalty)
        kept = valid_rows(laid, slope, penalty)
        scales.append(laid.scale(kept))
        counts.append(kept.sum(axis=1))
        ended.append(over)
        threshold = penalty[:, None] * laid.unit
        left = np.clip(laid.residual(slope), -threshold, threshold)
        before, explained = explained, divide(total - np.sum(left**2, axis=1), variance, otherwise=1.0)
        if step + 1 >= _EARLIEST:
            over = over | (explained - before < _STILL * explained) | (explained > _EXPLAINED)
    # From small penalties to large ones, as the rule walks.
    scale, count, gone = (np.array(values[::-1]) for values in (scales, counts, ended))
    jump = scale[1:] - scale[:-1] > stats.chi2.ppf(0.95, 1) / np.maximum(count[1:], 1)
    stop = (scale[1:] > 1) & jump & ~gone[:-1]
    found = np.where(stop.any(axis=0), np.argmax(stop, axis=0), _N_PENALTIES - 1)
    enough = np.argmax((count > parameters) & ~gone, axis=0)
    return largest * ratios[::-1][np.maximum(found, enough)]
