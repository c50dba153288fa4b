"""By how much the predicted slope of a labelled locus misses the measured one, and how certain that is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from deepmr.linalg import divide, segment_repeat, segment_sum

FEWEST_DF = 20  # degrees of freedom below which the scatter of edits says too little about their noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Misses:
    """What labels say of the slopes of loci.

    Attributes
    ----------
    miss : estimate of the measured slope less the predicted one.
    variance : of the noise in it.
    own, shared : the parts of that variance from the noise of the edits and from that of their reference.
    scale, scale_se : slope of measured on predicted changes of the exposure, over all loci.
    noise, reference_noise : factors that the stated variances were multiplied by.
    """

    miss: Float[np.ndarray, "loci"]
    variance: Float[np.ndarray, "loci"]
    own: Float[np.ndarray, "loci"]
    shared: Float[np.ndarray, "loci"]
    scale: float
    scale_se: float
    noise: float
    reference_noise: float


def slope_misses(
    predicted: Float[np.ndarray, "edits"],
    change: Float[np.ndarray, "edits 2"],
    variance: Float[np.ndarray, "edits 2"],
    shared: Float[np.ndarray, "edits 2"],
    slope: Float[np.ndarray, "loci"],
    offsets: Int[np.ndarray, "loci_plus_one"],
    *,
    level_residual: Float[np.ndarray, "loci"] | None = None,
) -> Misses:
    """Compare predicted slopes with measured changes, without a ratio of noisy numbers at any locus.

    Parameters
    ----------
    predicted : change of the exposure that the ensemble predicts, not all zero at any locus.
    change : measured changes of exposure and outcome.
    variance, shared : of their errors, and the part that the edits of a locus have in common.
    slope : predicted slope of every locus.
    offsets : locus i owns the edits offsets[i] to offsets[i + 1]; at least one each.
    level_residual : measured less predicted level of the outcome, less the slope times that of the exposure, of the
        references; None where levels are not known.

    Notes
    -----
    With u the predicted and x, y the measured changes and b the slope of the locus,

        e = sum u (y - b x) / (c sum u^2),  c = sum sum u x / sum sum u^2 over all loci.

    Its expectation is the locus' slope of y on x, weighted by u^2, less b: errors of x cannot bias it, because it is
    never divided by a noisy x of the same locus. The noise variance of y - b x is that of y plus b^2 times that of x.

    The stated variances may miss noise, also noise that exposure and outcome have in common. The scatter of y - b x
    among the edits of a locus, about their mean, shows all of it: `noise` is its ratio to what was stated, over all
    loci (1 where fewer than 20 degrees of freedom tell). The noise of the references does not show there; it is taken
    as stated, or, where levels are known, from the scatter of their residuals if that is larger. Residuals hold the
    ensemble's own error of levels too, so that this factor is never let above `noise` (nor below 1): noise that is
    overstated would make local intervals too short.
    """
    counts = np.diff(offsets).astype(float)
    b = segment_repeat(slope, offsets)
    composite = change[:, 1] - b * change[:, 0]
    square = segment_sum(predicted**2, offsets)
    product = segment_sum(predicted * change[:, 0], offsets)
    scale = float(product.sum() / square.sum())
    left = product - scale * square
    n = len(slope)
    scale_se = float(np.sqrt(np.sum(left**2) * n / max(n - 1, 1)) / square.sum())
    reference = shared[:, 1] + b**2 * shared[:, 0]
    own = np.maximum(variance[:, 1] + b**2 * variance[:, 0] - reference, 0.0)
    noise = _noise_of_edits(composite, own, offsets)
    stated = segment_sum(reference, offsets) / counts  # one reference a locus
    factor = min(_noise_of_references(stated, level_residual), max(noise, 1.0))
    norm = scale * square
    edits_part = divide(noise * segment_sum(predicted**2 * own, offsets), norm**2)
    reference_part = divide(factor * stated * segment_sum(predicted, offsets) ** 2, norm**2)
    return Misses(
        miss=segment_sum(predicted * composite, offsets) / norm,
        variance=edits_part + reference_part,
        own=edits_part,
        shared=reference_part,
        scale=scale,
        scale_se=scale_se,
        noise=noise,
        reference_noise=factor,
    )


def _noise_of_edits(
    composite: Float[np.ndarray, "edits"],
    own: Float[np.ndarray, "edits"],
    offsets: Int[np.ndarray, "loci_plus_one"],
) -> float:
    """Return the scatter of edits about the mean of their locus over its expectation."""
    counts = np.diff(offsets).astype(float)
    df = float(np.sum(counts - 1))
    if df < FEWEST_DF:
        return 1.0
    about = composite - segment_repeat(segment_sum(composite, offsets) / counts, offsets)
    expected = float(np.sum(own * (1 - 1 / segment_repeat(counts, offsets))))
    return float(np.sum(about**2)) / expected if expected > 0 else 1.0


def _noise_of_references(stated: Float[np.ndarray, "loci"], residual: Float[np.ndarray, "loci"] | None) -> float:
    """Return the scatter of level residuals over what was stated, at least 1."""
    if residual is None:
        return 1.0
    known = np.isfinite(residual)
    if known.sum() <= FEWEST_DF or not stated[known].sum() > 0:
        return 1.0
    return max(1.0, float(np.var(residual[known], ddof=1) / np.mean(stated[known])))
