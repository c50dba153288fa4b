"""Lines without one of their points, for every point at once: updates of the full fit, no refits."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr.linalg import LineFit, divide, fit_lines, segment_repeat, segment_sum

_LEVERAGE = 1e-4  # a point that leaves less than this share of the spread, or of the residuals, is worth a refit


@dataclass(frozen=True, slots=True, kw_only=True)
class Without:
    """The line of a locus without each of its points.

    Attributes
    ----------
    fit : one line a row; `centre` and `residual` are those of the full fit, and 0.
    exact : False where the update would lose digits.
    factors : how shared errors move the slopes, or None.
    """

    fit: LineFit
    exact: Bool[np.ndarray, "rows"]
    factors: Float[np.ndarray, "factors rows"] | None


def lines_without_each(
    x: Float[np.ndarray, "rows"],
    y: Float[np.ndarray, "rows"],
    weights: Float[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "loci_plus_one"],
    *,
    intercept: bool,
    factors: Float[np.ndarray, "factors rows traits"] | None = None,
) -> Without:
    """Return the weighted line of every locus without each of its points.

    Parameters
    ----------
    intercept : fit one, or force lines through the origin.
    factors : shared errors of x and of y, or None.

    Notes
    -----
    With residual e_j, leverage h_j = w_j / W + w_j (x_j - m)^2 / S (the first term only with an intercept), the slope
    moves by -w_j (x_j - m) e_j / (S (1 - h_j)), the residual sum of squares by -w_j e_j^2 / (1 - h_j), and
    S by -w_j (x_j - m)^2 W / (W - w_j). Moves by shared errors are sums over instruments less the term of one.
    """
    full = fit_lines(x, y, weights, offsets, intercept=intercept)

    def spread(values: np.ndarray) -> np.ndarray:
        return segment_repeat(values, offsets)

    total, centred = spread(segment_sum(weights, offsets)), spread(full.centred_ss)
    dx = x - spread(full.centre)
    share = weights / total if intercept else np.zeros_like(weights)
    leverage = share + divide(weights * dx**2, centred, otherwise=1.0)
    remaining = 1 - leverage
    scaled = divide(weights * full.residual, remaining, otherwise=0.0)
    slope = spread(full.slope) - divide(dx, centred, otherwise=0.0) * scaled
    rss, whole = spread(full.residual_ss) - full.residual * scaled, spread(full.residual_ss)
    ss = centred - (weights * dx**2 * divide(total, total - weights, otherwise=1.0) if intercept else weights * dx**2)
    df = np.maximum(spread(full.df) - 1.0, 0.0)
    size = spread(segment_sum(weights * y**2, offsets))
    exact = (remaining > _LEVERAGE) & ((rss > _LEVERAGE * whole) | (whole <= 1e-24 * size)) & (ss > _LEVERAGE * centred)
    identified = spread(full.identified) & (ss > 0)
    fit = LineFit(
        slope=slope,
        intercept=np.zeros_like(slope),
        slope_unscaled=np.where(identified, divide(np.ones_like(ss), ss), np.nan),
        intercept_unscaled=np.zeros_like(slope),
        residual_ss=np.maximum(rss, 0.0),
        df=df,
        centre=spread(full.centre),
        centred_ss=ss,
        identified=identified,
        residual=np.zeros_like(slope),
    )
    moved = None
    if factors is not None:
        at = spread(full.intercept) if intercept else 0.0
        if intercept:
            mean = divide(weights * dx, total - weights, otherwise=0.0)  # less the centre of the others
            # The others' line at the full centre: what the point added to the weighted mean of y - b x goes.
            level = at + spread(full.slope) * spread(full.centre) - share * scaled / weights
        else:
            mean, level = np.zeros_like(dx), np.zeros_like(dx)
        moved = _moves(dx, y, weights, offsets, factors, slope=slope, mean=-mean, level=level, ss=ss)
    return Without(fit=fit, exact=exact, factors=moved)


def _moves(
    dx: Float[np.ndarray, "rows"],
    y: Float[np.ndarray, "rows"],
    weights: Float[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "loci_plus_one"],
    factors: Float[np.ndarray, "factors rows traits"],
    *,
    slope: Float[np.ndarray, "rows"],
    mean: Float[np.ndarray, "rows"],
    level: Float[np.ndarray, "rows"],
    ss: Float[np.ndarray, "rows"],
) -> Float[np.ndarray, "factors rows"]:
    """Return sum over the others of w [(dx - mean) (g - b f) + (y - level - b dx) f] / ss, without each point.

    Parameters
    ----------
    dx : x less the centre of the full fit.
    mean : weighted mean of the others' dx.
    level : the others' line at dx = 0.
    """

    def others(values: np.ndarray) -> np.ndarray:
        return segment_repeat(segment_sum(values, offsets), offsets) - values

    f, g = weights * factors[:, :, 0], weights * factors[:, :, 1]
    inner = others(dx * g + y * f) - 2 * slope * others(dx * f)
    inner = inner - mean * (others(g) - slope * others(f)) - level * others(f)
    return inner * divide(np.ones_like(ss), ss, otherwise=0.0)
