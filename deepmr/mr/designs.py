"""Weighted least squares with several columns, every locus at once: what GLS and multivariable methods share."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr.linalg import divide, segment_repeat, segment_sum

# Smallest eigenvalue of the cross products, scaled to 1 on the diagonal, that counts as full rank.
_COLLINEAR = 1e-11


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignFit:
    """One weighted regression a locus.

    Attributes
    ----------
    coef : NaN where the rows do not determine them.
    unscaled : (X'WX)^-1; 0 where not determined.
    residual : y less the fit, a row each (0 in a locus that is not identified).
    residual_ss : weighted residual sum of squares.
    df : rows less columns, at least 0.
    identified : False where the columns are collinear within the locus.
    """

    coef: Float[np.ndarray, "loci columns"]
    unscaled: Float[np.ndarray, "loci columns columns"]
    residual: Float[np.ndarray, "rows"]
    residual_ss: Float[np.ndarray, "loci"]
    df: Float[np.ndarray, "loci"]
    identified: Bool[np.ndarray, "loci"]

    @property
    def variances(self) -> Float[np.ndarray, "loci columns"]:
        """Diagonal of `unscaled`: variances when the weights are inverse variances."""
        return np.diagonal(self.unscaled, axis1=1, axis2=2)

    @property
    def dispersion(self) -> Float[np.ndarray, "loci"]:
        """Residual variance in units of the weights; 1 where no row is left to tell."""
        return divide(self.residual_ss, self.df, otherwise=1.0)


def cross_products(
    left: Float[np.ndarray, "rows left"], right: Float[np.ndarray, "rows right"], offsets: Int[np.ndarray, "_"]
) -> Float[np.ndarray, "loci left right"]:
    """Return sum over the rows of each locus of left_j right_j'."""
    products = left[:, :, None] * right[:, None, :]
    total = segment_sum(np.moveaxis(products, 0, -1), offsets)
    return np.moveaxis(total, -1, 0)


def invert(
    square: Float[np.ndarray, "loci columns columns"],
) -> tuple[Float[np.ndarray, "loci columns columns"], Bool[np.ndarray, "loci"]]:
    """Invert positive definite matrices, whatever the units of their columns; 0 and False where they are singular."""
    diagonal = np.diagonal(square, axis1=1, axis2=2)
    usable = np.all(diagonal > 0, axis=1)
    root = np.sqrt(np.where(usable[:, None], diagonal, 1.0))
    unit = root[:, :, None] * root[:, None, :]
    scaled = np.where(usable[:, None, None], square / unit, np.eye(square.shape[1]))
    usable &= np.linalg.eigvalsh(scaled)[:, 0] > _COLLINEAR
    safe = np.where(usable[:, None, None], scaled, np.eye(square.shape[1]))
    inverse = np.linalg.inv(safe) / unit
    return np.where(usable[:, None, None], (inverse + inverse.swapaxes(1, 2)) / 2, 0.0), usable


def fit_designs(
    design: Float[np.ndarray, "rows columns"],
    y: Float[np.ndarray, "rows"],
    weights: Float[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "loci_plus_one"],
) -> DesignFit:
    """Regress y on the columns within every locus by weighted least squares, without an intercept of its own.

    Notes
    -----
    One step of iterative refinement (a second fit to the residuals) wins back the digits that normal equations lose.
    """
    weighted = design * weights[:, None]
    inverse, identified = invert(cross_products(weighted, design, offsets))
    counts = np.diff(offsets)
    identified &= counts >= design.shape[1]
    coef, residual = np.zeros((len(counts), design.shape[1])), y.astype(float)
    for _ in range(2):
        step = np.einsum("lpq,lq->lp", inverse, cross_products(weighted, residual[:, None], offsets)[:, :, 0])
        coef = coef + np.where(identified[:, None], step, 0.0)
        residual = y - np.einsum("rp,rp->r", design, segment_repeat(coef.T, offsets).T)
    residual = np.where(segment_repeat(identified, offsets), residual, 0.0)
    return DesignFit(
        coef=np.where(identified[:, None], coef, np.nan),
        unscaled=np.where(identified[:, None, None], inverse, 0.0),
        residual=residual,
        residual_ss=segment_sum(weights * residual**2, offsets),
        df=np.maximum(counts - float(design.shape[1]), 0.0),
        identified=identified,
    )


def design_factors(
    fit: DesignFit,
    design: Float[np.ndarray, "rows columns"],
    weights: Float[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "loci_plus_one"],
    *,
    x_factors: Float[np.ndarray, "factors rows columns"],
    y_factors: Float[np.ndarray, "factors rows"],
) -> Float[np.ndarray, "factors loci columns"]:
    """Carry shared errors of the columns and of y through a fit to its coefficients, by the delta method.

    Notes
    -----
    Weights are held fixed: db = (X'WX)^-1 sum_j w_j [x_j (dy_j - dx_j' b) + e_j dx_j], e the residual.
    """
    coef = np.where(fit.identified[:, None], fit.coef, 0.0)
    shift = y_factors - np.einsum("krp,rp->kr", x_factors, segment_repeat(coef.T, offsets).T)
    inner = weights[:, None] * (design * shift[:, :, None] + fit.residual[:, None] * x_factors)
    total = segment_sum(np.moveaxis(inner, 1, -1), offsets)
    return np.einsum("lpq,kql->klp", fit.unscaled, total)
