"""Least squares for many loci at once: rows packed one locus after the other, and no loop over loci.

Locus i owns rows offsets[i] to offsets[i + 1], as in `types.Instruments`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

# Below this ratio of centred to raw sum of squares, exposure effects differ by rounding only.
_COLLINEAR = 1e-18


def segment_sum(
    values: Float[np.ndarray, "*lead rows"], offsets: Int[np.ndarray, "loci_plus_one"]
) -> Float[np.ndarray, "*lead loci"]:
    """Sum the rows of each locus; 0 for a locus without rows."""
    starts = offsets[:-1]
    # reduceat gives an empty segment the value at its start (or fails at the end), so it only sees loci with rows.
    filled = np.diff(offsets) > 0
    total = np.zeros((*values.shape[:-1], len(starts)))
    if filled.any():
        total[..., filled] = np.add.reduceat(values, starts[filled], axis=-1)
    return total


def segment_repeat(
    values: Shaped[np.ndarray, "*lead loci"], offsets: Int[np.ndarray, "loci_plus_one"]
) -> Shaped[np.ndarray, "*lead rows"]:
    """Give every row the value of its locus."""
    return np.repeat(values, np.diff(offsets), axis=-1)


def divide(
    a: Float[np.ndarray, "*shape"], b: Float[np.ndarray, "*shape"], *, otherwise: float = np.nan
) -> Float[np.ndarray, "*shape"]:
    """Divide where `b` is above zero, and give `otherwise` elsewhere."""
    return np.divide(a, b, out=np.full(np.shape(a), otherwise), where=b > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFit:
    """One weighted line a locus.

    Attributes
    ----------
    slope, intercept : NaN where the rows do not determine them; the intercept is 0 in a fit through the origin.
    slope_unscaled, intercept_unscaled : diagonal of (X'WX)^-1: variances when the weights are inverse variances.
    residual_ss : weighted residual sum of squares.
    df : rows less parameters, at least 0.
    centre : weighted mean of x, or 0 through the origin.
    centred_ss : weighted sum of squares of x about `centre`.
    identified : False where the slope is not determined.
    residual : y less the line, a row each (0 in a locus that is not identified).
    """

    slope: Float[np.ndarray, "loci"]
    intercept: Float[np.ndarray, "loci"]
    slope_unscaled: Float[np.ndarray, "loci"]
    intercept_unscaled: Float[np.ndarray, "loci"]
    residual_ss: Float[np.ndarray, "loci"]
    df: Float[np.ndarray, "loci"]
    centre: Float[np.ndarray, "loci"]
    centred_ss: Float[np.ndarray, "loci"]
    identified: Bool[np.ndarray, "loci"]
    residual: Float[np.ndarray, "rows"]

    @property
    def dispersion(self) -> Float[np.ndarray, "loci"]:
        """Residual variance in units of the weights; 1, the value under the weights, where no row is left to tell."""
        return divide(self.residual_ss, self.df, otherwise=1.0)


def fit_lines(
    x: Float[np.ndarray, "rows"],
    y: Float[np.ndarray, "rows"],
    weights: Float[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "loci_plus_one"],
    *,
    intercept: bool = False,
) -> LineFit:
    """Regress y on x within every locus by weighted least squares.

    Parameters
    ----------
    weights : positive; inverse variances of y, up to a factor.
    intercept : fit one, or force the line through the origin.

    Notes
    -----
    Sums are taken about the weighted mean, so that nearly equal x cost no digits.
    """
    counts = np.diff(offsets)
    total = segment_sum(weights, offsets)
    raw_ss = segment_sum(weights * x**2, offsets)
    centre, y_mean = np.zeros(len(counts)), np.zeros(len(counts))
    if intercept:
        centre = divide(segment_sum(weights * x, offsets), total, otherwise=0.0)
        y_mean = divide(segment_sum(weights * y, offsets), total, otherwise=0.0)
    dx = x - segment_repeat(centre, offsets) if intercept else x
    residual = y - segment_repeat(y_mean, offsets) if intercept else y.astype(float)
    product = weights * dx
    mixed = segment_sum(product * residual, offsets)
    product *= dx
    centred_ss = segment_sum(product, offsets) if intercept else raw_ss
    identified = centred_ss > _COLLINEAR * raw_ss
    slope = np.where(identified, divide(mixed, centred_ss), np.nan)
    residual -= np.multiply(segment_repeat(np.where(identified, slope, 0.0), offsets), dx, out=product)
    if not identified.all():
        residual[~segment_repeat(identified, offsets)] = 0.0
    residual_ss = segment_sum(np.multiply(np.square(residual, out=product), weights, out=product), offsets)
    unscaled = np.where(identified, divide(np.ones(len(counts)), centred_ss), np.nan)
    return LineFit(
        slope=slope,
        intercept=y_mean - slope * centre,
        slope_unscaled=unscaled,
        intercept_unscaled=divide(np.ones(len(counts)), total) + centre**2 * unscaled
        if intercept
        else np.zeros_like(slope),
        residual_ss=residual_ss,
        df=np.maximum(counts - (2.0 if intercept else 1.0), 0.0),
        centre=centre,
        centred_ss=centred_ss,
        identified=identified,
        residual=residual,
    )


def line_factors(
    fit: LineFit,
    x: Float[np.ndarray, "rows"],
    weights: Float[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "loci_plus_one"],
    *,
    x_factors: Float[np.ndarray, "factors rows"],
    y_factors: Float[np.ndarray, "factors rows"],
) -> tuple[Float[np.ndarray, "factors loci"], Float[np.ndarray, "factors loci"]]:
    """Carry shared errors of x and y through a fit to its slope and its intercept, by the delta method.

    Parameters
    ----------
    x_factors, y_factors : F with F'F the covariance of the errors of x and of y, and of both together.

    Returns
    -------
    Factors of the slope and factors of the intercept: sums of squares over factors are variances, and sums of
    products are covariances between loci.

    Notes
    -----
    Weights are held fixed. With e the residual, m the centre, S the centred sum of squares and W the sum of weights,
    db = sum_j w_j [(x_j - m) (dy_j - b dx_j) + e_j dx_j] / S   and   da = sum_j w_j (dy_j - b dx_j) / W - m db.
    """
    slope = np.where(fit.identified, fit.slope, 0.0)
    scale = np.where(fit.identified, divide(np.ones_like(slope), fit.centred_ss, otherwise=0.0), 0.0)
    shift = y_factors - segment_repeat(slope, offsets) * x_factors
    inner = weights * ((x - segment_repeat(fit.centre, offsets)) * shift + fit.residual * x_factors)
    slope_factors = segment_sum(inner, offsets) * scale
    total = segment_sum(weights, offsets)
    mean_shift = segment_sum(weights * shift, offsets) * divide(np.ones_like(total), total, otherwise=0.0)
    return slope_factors, mean_shift - fit.centre * slope_factors
