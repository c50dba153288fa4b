"""MR-Egger with its errors from a bootstrap."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from deepmr.linalg import fit_lines
from deepmr.mr.draws import canonical, effect_draws, sampling_variance, weight_draws
from deepmr.mr.egger import SAME_SIZE, i2_gx
from deepmr.mr.lines import Distribution, cochran, exposure_of, intercept_estimates, inverse_variances, too_few
from deepmr.packed import Block
from deepmr.types import Estimates, Instruments


def egger_bootstrap(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    distribution: Distribution = "normal",
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimates:
    """Estimate the causal effect by MR-Egger, with the standard deviation over drawn effects as its standard error.

    Parameters
    ----------
    instruments : one exposure. `error_corr` is heeded.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    distribution : of independent errors: normal, or t with J - 2 degrees of freedom.
    n_boot : bootstrap draws behind the standard errors.
    seed : of these draws, which are the same for every locus.

    Returns
    -------
    Estimates, with extras as for `egger`, and without shared errors `beta_mean`, the mean slope over the draws.

    Notes
    -----
    x and y are drawn anew around their measured values, alleles oriented to the x of each draw. The mean slope of the
    draws, which contain the error of x twice, is diluted twice: it is `beta_mean`, and the estimate is the slope of the
    data. mr_egger_regression_bootstrap of TwoSampleMR reports the mean, and of another slope: of w y on w x with equal
    weights, w = 1 / se_y^2.
    The draws count the standard errors alone: where instruments scatter more, the interval is too short, and `egger`
    is the safer choice. With shared errors the sampling part is that of a bootstrap over instruments.

    References
    ----------
    Bowden J, Davey Smith G, Burgess S. Int J Epidemiol 2015. https://doi.org/10.1093/ije/dyv080
    """
    given = canonical(instruments)
    x, _ = exposure_of(given)
    y, offsets, shared = given.beta_outcome.astype(float), given.offsets, given.error_factors
    weights = inverse_variances(given)
    line = fit_lines(x, y, weights, offsets, intercept=True)
    reason = too_few(given, max(min_instruments, 3))
    reason = [why or ("" if known else SAME_SIZE) for why, known in zip(reason, line.identified, strict=True)]
    wanted = np.array([not why for why in reason], dtype=bool)

    def of_effects(
        block: Block, x: Float[np.ndarray, "block draws width"], y: Float[np.ndarray, "block draws width"]
    ) -> Float[np.ndarray, "2 block draws"]:
        sign = np.where(x < 0, -1.0, 1.0)
        return _lines(sign * x, sign * y, block.of(weights, padding=0.0)[:, None])

    def of_weights(block: Block, random: Float[np.ndarray, "draws width"]) -> Float[np.ndarray, "2 block draws"]:
        return _lines(block.of(x)[:, None], block.of(y)[:, None], block.of(weights, padding=0.0)[:, None] * random)

    parts = []
    for i in range(2):
        if shared is None:
            drawn = effect_draws(given, lambda *a, i=i: of_effects(*a)[i], n_boot=n_boot, seed=seed, loci=wanted)
        else:
            drawn = weight_draws(given, lambda *a, i=i: of_weights(*a)[i], n_boot=n_boot, seed=seed, loci=wanted)
        spread = drawn.var(axis=-1, ddof=1)
        parts.append((drawn.mean(axis=-1), spread if shared is None else sampling_variance(spread, given)))
    (mean, variance), (_, intercept_variance) = parts
    # A dispersion of 1, so that the variances stand for themselves.
    drawn_line = replace(line, slope_unscaled=variance, intercept_unscaled=intercept_variance, residual_ss=line.df)
    return intercept_estimates(
        "egger_bootstrap",
        given,
        drawn_line,
        x=x,
        weights=weights,
        moved=None if shared is None else (shared[:, :, 0], shared[:, :, 1]),
        scatter="random",
        distribution=distribution,
        reason=reason,
        level=level,
        extra={
            "sigma": np.sqrt(line.dispersion),
            **cochran(line.residual_ss, line.df),
            "i2_gx": i2_gx(given),
            "i2_gx_unweighted": i2_gx(given, weighted=False),
            **({"beta_mean": mean} if shared is None else {}),
        },
    )


def _lines(
    x: Float[np.ndarray, "block rows width"],
    y: Float[np.ndarray, "block rows width"],
    weights: Float[np.ndarray, "block other width"],
) -> Float[np.ndarray, "2 block draws"]:
    """Return slope and intercept of weighted lines along the last axis."""
    total = weights.sum(axis=-1)
    x_mean, y_mean = (np.sum(weights * v, axis=-1) / total for v in (x, y))
    dx = x - x_mean[..., None]
    pull = weights * dx
    size = np.sum(pull * dx, axis=-1)
    slope = np.sum(pull * (y - y_mean[..., None]), axis=-1) / np.where(size > 0, size, np.inf)
    return np.stack([slope, y_mean - slope * x_mean])
