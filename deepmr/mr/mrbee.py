"""MRBEE: bias-corrected estimating equations with iterative removal of outliers."""

import numpy as np
from jaxtyping import Bool, Float

from deepmr.inference import chi2_tail
from deepmr.mr.lines import error_extras, mean_f, standard_error, too_few
from deepmr.mr.losses import loss_of
from deepmr.mr.profiles import Profile, profile_blocks
from deepmr.types import Estimates, Instruments, make_estimates

_ROUNDS, _ROBUST_ROUNDS = 30, 20
_WEAK = "not identified: the exposure effects are no larger than their errors make them"
_MAD = 1.4826  # of a normal's median absolute deviation


def mrbee(
    instruments: Instruments, *, min_instruments: int = 3, level: float = 0.95, threshold: float = 0.01
) -> Estimates:
    """Estimate the causal effect by debiased inverse-variance weighting without outlying instruments.

    Parameters
    ----------
    instruments : one exposure. `error_corr` is heeded.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    threshold : P value of a residual below which an instrument is an outlier. At least half of the instruments stay.

    Returns
    -------
    Estimates, with extras `n_outliers`, `f_statistic`, and with shared errors `se_sampling` and `se_member`.

    Notes
    -----
    In units of se_y, b = sum (x y - s_xy) / sum (x^2 - s_xx) over the instruments that stay. Residuals, oriented to
    positive exposure effects, are divided by the median absolute deviation of those that stay and tested against a
    normal; estimate and outliers alternate until neither changes, from a Huber regression. The R package takes alleles
    as they come, so that its outliers depend on their coding. The standard error is a sandwich over the instruments
    that stay, with residuals divided by 1 - leverage (at least one half). With shared errors, s_xy has the covariance
    over members; their part of the standard error, beside that of the scatter, is how far they move the estimate with
    the outliers held fixed.

    References
    ----------
    Lorincz-Comi N, Yang Y, Li G, Zhu X. MRBEE: a bias-corrected multivariable Mendelian randomization method. HGG Adv
    2024. https://doi.org/10.1016/j.xhgg.2024.100290
    """
    n_loci, shared = len(instruments.loci), instruments.error_factors
    reason = too_few(instruments, max(min_instruments, 2))
    beta, variance, outliers = (np.full(n_loci, np.nan) for _ in range(3))
    members = np.zeros((0 if shared is None else len(shared), n_loci))
    wanted = np.array([not why for why in reason], dtype=bool)
    for block, profile in profile_blocks(instruments, loss_of("huber"), overdispersion="none", loci=wanted):
        loci = block.loci
        slope, kept = _alternate(profile, threshold)
        beta[loci], outliers[loci] = slope, (profile.known - kept).sum(axis=1)
        variance[loci] = _variance(profile, slope, kept)
        if shared is not None:
            factors = (shared[:, block.rows] * kept[..., None]).astype(float)
            members[:, loci] = _moves(profile, slope, kept, factors)
    factors = None if shared is None else np.where(np.isnan(beta), 0.0, members)
    # The sandwich is the scatter over instruments, which cannot show what members do to all of them alike.
    error = standard_error(variance, np.maximum(instruments.counts - outliers - 1, 0.0), factors, distribution="normal")
    return make_estimates(
        "mrbee",
        instruments,
        beta=beta,
        se=error.se,
        df=error.df,
        reason=[why or (_WEAK if np.isnan(found) else "") for why, found in zip(reason, beta, strict=True)],
        level=level,
        extra={"n_outliers": outliers, "f_statistic": mean_f(instruments), **error_extras(error, factors)},
        error_factors=factors,
    )


def _median(values: Float[np.ndarray, "block width"], kept: Bool[np.ndarray, "block width"]) -> np.ndarray:
    cells = np.where(kept, values, np.nan)
    cells[np.isnan(cells).all(axis=1), 0] = 0.0  # a locus that is lost already: its slope stays NaN
    return np.nanmedian(cells, axis=1, keepdims=True)


def _deviation(
    e: Float[np.ndarray, "block width"], kept: Bool[np.ndarray, "block width"], size: Float[np.ndarray, "block 1"]
) -> np.ndarray:
    """Median absolute deviation about the median, as a standard deviation; above the rounding of numbers of a size."""
    tiny = 1e-10 * size + np.finfo(float).tiny
    return np.maximum(_MAD * _median(np.abs(e - _median(e, kept)), kept), tiny)


def _robust_start(
    profile: Profile, x: Float[np.ndarray, "block width"], y: Float[np.ndarray, "block width"]
) -> np.ndarray:
    known, weight = profile.known > 0, profile.known
    for _ in range(_ROBUST_ROUNDS):
        square = np.sum(weight * x**2, axis=1, keepdims=True)
        slope = np.sum(weight * x * y, axis=1, keepdims=True) / np.where(square > 0, square, 1.0)
        e = y - slope * x
        tiny = 1e-10 * np.abs(y).max(axis=1, keepdims=True) + np.finfo(float).tiny
        scale = np.maximum(_MAD * _median(np.abs(e), known), tiny)
        weight = profile.known * profile.loss.weight((e / scale) ** 2)
    return slope


def _alternate(
    profile: Profile, threshold: float
) -> tuple[Float[np.ndarray, "block"], Float[np.ndarray, "block width"]]:
    """Alternate between the estimate and the outliers; return it and which instruments it rests on."""
    # Oriented, since the median of the residuals depends on how alleles are coded.
    root = np.sqrt(profile.yy) * np.where(profile.x < 0, -1.0, 1.0)
    x, y, known = profile.x / root, profile.y / root, profile.known > 0
    xx, xy = profile.known * profile.xx / profile.yy, profile.known * profile.xy / profile.yy
    slope, size = _robust_start(profile, x, y), np.abs(y).max(axis=1, keepdims=True)
    e = y - slope * x
    kept = known & (np.abs(e) <= 3 * _deviation(e, known, size))
    kept |= known & (np.abs(e) <= _median(np.abs(e), known))
    for _ in range(_ROUNDS):
        e = y - slope * x
        tail = chi2_tail((e / _deviation(e, kept, size)) ** 2, 1.0)
        new = known & (tail > threshold)
        few = new.sum(axis=1, keepdims=True) < 0.5 * known.sum(axis=1, keepdims=True)
        new |= few & known & (tail > _median(tail, known))
        signal = np.sum(new * (x**2 - xx), axis=1, keepdims=True)
        step = np.sum(new * (x * y - xy), axis=1, keepdims=True) / np.where(signal > 0, signal, np.nan)
        same = (new == kept).all(axis=1, keepdims=True) & (step == slope)
        kept, slope = new, step
        if (same | np.isnan(step)).all():
            break
    return slope[:, 0], kept.astype(float)


def _variance(
    profile: Profile, beta: Float[np.ndarray, "block"], kept: Float[np.ndarray, "block width"]
) -> Float[np.ndarray, "block"]:
    b, signal = beta[:, None], np.sum(kept * (profile.x**2 - profile.xx) / profile.yy, axis=1)
    leverage = kept * profile.x**2 / profile.yy / np.where(signal > 0, signal, 1.0)[:, None]
    e = (profile.y - b * profile.x) / np.maximum(1 - leverage, 0.5)
    each = kept * (profile.x * e - profile.xy + b * profile.xx) / profile.yy
    n, n_kept = profile.known.sum(axis=1), kept.sum(axis=1)
    return np.sum(each**2, axis=1) / signal**2 * n / np.maximum(n_kept - 1, 1)


def _moves(
    profile: Profile,
    beta: Float[np.ndarray, "block"],
    kept: Float[np.ndarray, "block width"],
    factors: Float[np.ndarray, "factors block width traits"],
) -> Float[np.ndarray, "factors block"]:
    signal = np.sum(kept * (profile.x**2 - profile.xx) / profile.yy, axis=1)
    e = profile.y - beta[:, None] * profile.x
    shift = factors[..., 1] - beta[:, None] * factors[..., 0]
    return np.sum(kept * (profile.x * shift + e * factors[..., 0]) / profile.yy, axis=2) / signal
