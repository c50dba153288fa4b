"""Contamination mixture: the effect that most instruments, weighted by how well they say it, have in common."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr.inference import chi2_tail, quantile
from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.mr.lines import (
    Weights,
    error_extras,
    exposure_of,
    inverse_variances,
    mean_f,
    standard_error,
    too_few_ratios,
    with_ratio,
)
from deepmr.mr.members import member_factors
from deepmr.packed import blocks
from deepmr.types import Estimates, Instruments, make_estimates

_SPREAD = 1.5  # psi in standard deviations of the ratios
_SE_LEVEL = 0.95  # of the region behind the standard error
_CONTENDERS = 4  # maxima whose height is computed again without the rounding of running sums


def contamination_mixture(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: Weights | None = None,
    psi: float | None = None,
) -> Estimates:
    """Estimate the causal effect as the one that most instruments agree on, by the contamination mixture.

    Parameters
    ----------
    instruments : one exposure. Instruments with an exposure effect of exactly zero have no ratio and are left out.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    weights : variance of a ratio, `simple`: se_y^2 / x^2, as MendelianRandomization; `delta`: the exposure's error and
        `error_corr` counted too. Default: `delta` where `error_corr` is given, else `simple`.
    psi : standard deviation of what invalid instruments estimate, in the unit of the effect; default 1.5 standard
        deviations of the ratios.

    Returns
    -------
    Estimates, with extras `n_valid` (instruments that fit the effect better than the spread `psi`), `psi`,
    `n_intervals` (parts of the confidence region; `ci_low` and `ci_high` are its outer ends), `sigma` (residual scale
    of the valid ones) and `f_statistic`.

    Notes
    -----
    Ratio r_j with variance v_j is valid, N(theta, v_j), or not, N(0, psi^2 + v_j); the profile likelihood gives every
    instrument the better of the two. As a function of theta each instrument is a parabola cut off where it turns
    invalid, so between sorted cut-offs the log-likelihood is one parabola and its maximum is found exactly, without a
    grid: no unit matters, and a locus costs O(J log J).

    The region is where 2 (l_max - l) <= phi^2 q, q the chi-square quantile with one degree of freedom and phi the
    residual scale of the valid instruments, at least 1; the P value is that of 2 (l_max - l(0)) / phi^2, so that it is
    below 1 - level just where the region leaves out 0. (MendelianRandomization 0.10.0 multiplies by phi^2 there.) Where
    even an effect that no instrument supports lies in the region, the region ends with the outermost of the
    instruments' own intervals. `se` is the width of the 95 % region over that of a normal interval.

    With shared errors phi has no floor in the sampling part, and interval and P value are those of the total `se`.

    References
    ----------
    Burgess S, Foley CN, Allara E, Staley JR, Howson JMM. A robust and efficient method for Mendelian randomization with
    hundreds of genetic variants. Nat Commun 2020. https://doi.org/10.1038/s41467-019-14156-4
    """
    used = with_ratio(instruments)
    reason = too_few_ratios(instruments, used, max(min_instruments, 3))
    shared = used.error_factors is not None
    fit = _fit(used, weights, psi, level=level, floor=not shared)
    factors = member_factors(used, lambda given: _fit(given, weights, psi, level=level, floor=False).beta)
    error = standard_error(fit.se**2, np.full(len(fit.se), np.inf), factors, distribution="normal")
    estimates = make_estimates(
        "contamination_mixture",
        used,
        beta=fit.beta,
        se=error.se,
        df=error.df,
        reason=reason,
        level=level,
        extra={
            "n_valid": fit.n_valid,
            "psi": fit.psi,
            "n_intervals": fit.n_intervals,
            "sigma": fit.phi,
            "f_statistic": mean_f(used),
            **error_extras(error, factors),
        },
        error_factors=factors,
    )
    if shared:
        return estimates
    rows = pd.Index(used.loci).get_indexer(pd.Index(estimates.table["locus"]))
    own = {"ci_low": fit.ci_low[rows], "ci_high": fit.ci_high[rows], "pvalue": fit.pvalue[rows]}
    return replace(estimates, table=estimates.table.assign(**own))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """One contamination mixture a locus; NaN where there are no instruments."""

    beta: Float[np.ndarray, "loci"]
    se: Float[np.ndarray, "loci"]
    ci_low: Float[np.ndarray, "loci"]
    ci_high: Float[np.ndarray, "loci"]
    pvalue: Float[np.ndarray, "loci"]
    phi: Float[np.ndarray, "loci"]
    psi: Float[np.ndarray, "loci"]
    n_valid: Float[np.ndarray, "loci"]
    n_intervals: Float[np.ndarray, "loci"]


def _fit(instruments: Instruments, weights: Weights | None, psi: float | None, *, level: float, floor: bool) -> _Fit:
    x, _ = exposure_of(instruments)
    offsets, counts = instruments.offsets, instruments.counts.astype(float)
    if weights is None:
        weights = "simple" if instruments.error_corr is None else "delta"
    ratio = instruments.beta_outcome / x
    precision = inverse_variances(instruments, weights=weights) * x**2
    if psi is None:
        mean = divide(segment_sum(ratio, offsets), counts, otherwise=0.0)
        squares = segment_sum((ratio - segment_repeat(mean, offsets)) ** 2, offsets)
        spread = _SPREAD * np.sqrt(divide(squares, counts - 1, otherwise=0.0))
    else:
        spread = np.full(len(counts), psi)
    # Twice the gain in log-likelihood from being valid, at theta = r: it is lost at distance sqrt(gain / precision).
    excess = segment_repeat(spread**2, offsets) * precision
    gain = precision * ratio**2 / (1 + excess) + np.log1p(excess)
    names = ("beta", "se", "ci_low", "ci_high", "pvalue", "phi", "n_valid", "n_intervals")
    out = {name: np.full(len(counts), np.nan) for name in names}
    for block in blocks(offsets, depth=6):
        mixture = _Mixture.of(block.of(ratio), block.of(precision, padding=0.0), block.of(gain, padding=0.0))
        for name, values in _estimate(mixture, block.known, level=level, floor=floor).items():
            out[name][block.loci] = values
    return _Fit(psi=spread, **out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mixture:
    """Twice the log-likelihood of some loci, less what it is where no instrument is valid.

    Piece k lies between `ends[k - 1]` and `ends[k]` and equals c + 2 b t - a t^2 with t = theta - centre; the first and
    the last piece, outside all ends, are 0.
    """

    ratio: Float[np.ndarray, "block width"]
    precision: Float[np.ndarray, "block width"]
    gain: Float[np.ndarray, "block width"]
    centre: Float[np.ndarray, "block"]
    ends: Float[np.ndarray, "block cuts"]
    a: Float[np.ndarray, "block cuts"]
    b: Float[np.ndarray, "block cuts"]
    c: Float[np.ndarray, "block cuts"]

    @classmethod
    def of(
        cls,
        ratio: Float[np.ndarray, "block width"],
        precision: Float[np.ndarray, "block width"],
        gain: Float[np.ndarray, "block width"],
    ) -> "_Mixture":
        """Sort the ends of the parabolas and sum them up piece by piece; padding has precision 0 and gain 0."""
        # About their mean, so that the running sums stay small.
        centre = np.sum(precision * ratio, axis=1) / np.sum(precision, axis=1)
        t = ratio - centre[:, None]
        reach = np.sqrt(divide(gain, precision, otherwise=0.0))
        ends = np.concatenate([t - reach, t + reach], axis=1)
        order = np.argsort(ends, axis=1)
        sums = []
        for values in (precision, precision * t, gain - precision * t**2):
            steps = np.concatenate([values, -values], axis=1)
            sums.append(np.cumsum(np.take_along_axis(steps, order, axis=1), axis=1))
        ends = np.take_along_axis(ends, order, axis=1)
        return cls(
            ratio=ratio, precision=precision, gain=gain, centre=centre, ends=ends, a=sums[0], b=sums[1], c=sums[2]
        )

    def valid(self, theta: Float[np.ndarray, "block"]) -> Bool[np.ndarray, "block width"]:
        """Tell which instruments are valid at an effect."""
        return self.precision * (self.ratio - theta[:, None]) ** 2 < self.gain

    def height(self, theta: Float[np.ndarray, "block"]) -> Float[np.ndarray, "block"]:
        """Return the function at an effect, from the instruments themselves."""
        return np.sum(np.maximum(self.gain - self.precision * (self.ratio - theta[:, None]) ** 2, 0.0), axis=1)


def _estimate(
    mixture: _Mixture, known: Bool[np.ndarray, "block width"], *, level: float, floor: bool
) -> dict[str, Float[np.ndarray, "block"]]:
    """Return the fields of `_Fit` for a block."""
    theta, top = _maximum(mixture)
    valid = mixture.valid(theta) & known
    n_valid = valid.sum(axis=1).astype(float)
    squares = np.sum(np.where(valid, mixture.precision * (mixture.ratio - theta[:, None]) ** 2, 0.0), axis=1)
    phi = np.sqrt(divide(squares, n_valid - 1, otherwise=1.0))
    phi = np.maximum(phi, 1.0) if floor else phi
    low, high, parts = _region(mixture, known, theta, top, phi, level=level)
    se_low, se_high = (
        (low, high) if level == _SE_LEVEL else _region(mixture, known, theta, top, phi, level=_SE_LEVEL)[:2]
    )
    statistic = np.maximum(top - mixture.height(np.zeros_like(theta)), 0.0)
    return {
        "beta": theta,
        "se": (se_high - se_low) / (2 * quantile(_SE_LEVEL)),
        "ci_low": low,
        "ci_high": high,
        "pvalue": chi2_tail(divide(statistic, phi**2, otherwise=0.0), 1.0),
        "phi": phi,
        "n_valid": n_valid,
        "n_intervals": parts,
    }


def _maximum(mixture: _Mixture) -> tuple[Float[np.ndarray, "block"], Float[np.ndarray, "block"]]:
    """Return the effect of the largest likelihood, and twice its log there.

    Where a parabola is cut off the function has a kink upwards, so every maximum is the vertex of a piece.
    """
    a, b, ends = mixture.a[:, :-1], mixture.b[:, :-1], mixture.ends
    peak = np.clip(divide(b, a, otherwise=0.0), ends[:, :-1], ends[:, 1:])
    value = mixture.c[:, :-1] + peak * (2 * b - a * peak)
    most = min(_CONTENDERS, value.shape[1])
    best = np.argpartition(-value, most - 1, axis=1)[:, :most]
    theta = np.full(len(value), np.nan)
    top = np.full(len(value), -np.inf)
    for k in range(most):
        start = np.take_along_axis(peak, best[:, k : k + 1], axis=1)[:, 0] + mixture.centre
        weight = np.where(mixture.valid(start), mixture.precision, 0.0)
        total = weight.sum(axis=1)
        # The mean of those valid at the vertex, which is the vertex without the rounding of the running sums.
        candidate = np.where(total > 0, divide((weight * mixture.ratio).sum(axis=1), total, otherwise=0.0), start)
        height = mixture.height(candidate)
        higher = height > top
        theta, top = np.where(higher, candidate, theta), np.where(higher, height, top)
    return theta, top


def _region(
    mixture: _Mixture,
    known: Bool[np.ndarray, "block width"],
    theta: Float[np.ndarray, "block"],
    top: Float[np.ndarray, "block"],
    phi: Float[np.ndarray, "block"],
    *,
    level: float,
) -> tuple[Float[np.ndarray, "block"], Float[np.ndarray, "block"], Float[np.ndarray, "block"]]:
    """Return lower and upper end of the confidence region, and of how many intervals it is made."""
    q = quantile(level)
    cut = top - (q * phi) ** 2
    ends = mixture.ends
    left, right = ends[:, :-1], ends[:, 1:]
    a, b, c = mixture.a[:, :-1], mixture.b[:, :-1], mixture.c[:, :-1] - cut[:, None]
    centre = divide(b, a, otherwise=0.0)
    room = divide(c + b * centre, a, otherwise=-1.0)
    half = np.sqrt(np.maximum(room, 0.0))
    low, high = np.maximum(left, centre - half), np.minimum(right, centre + half)
    inside = (room >= 0) & (high > low)
    lowest = np.where(inside, low, np.inf).min(axis=1) + mixture.centre
    highest = np.where(inside, high, -np.inf).max(axis=1) + mixture.centre
    joined = (inside[:, :-1] & inside[:, 1:] & (high[:, :-1] == right[:, :-1]) & (low[:, 1:] == left[:, 1:])).sum(
        axis=1
    )
    parts = np.maximum(inside.sum(axis=1) - joined, 1.0)
    open_ended = cut < 0
    own = np.where(known, q / np.sqrt(np.where(known, mixture.precision, 1.0)), 0.0)
    lowest = np.where(open_ended, (mixture.ratio - own).min(axis=1), lowest)
    highest = np.where(open_ended, (mixture.ratio + own).max(axis=1), highest)
    parts = np.where(open_ended, 1.0, parts)
    return np.minimum(lowest, theta), np.maximum(highest, theta), parts
