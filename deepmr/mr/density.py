"""Where a kernel density of ratios is highest: as R's `density` has it, on a grid, and exactly."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import fft

from deepmr.linalg import divide

_FINE = 4.0  # grid points a bandwidth
_REACH = 4.0  # bandwidths beyond the outermost value that a grid goes on
_MOST = 4096  # points of a grid at most: what lies further than half of it from the median is left out
_STARTS = 6  # of the highest values, those that the exact maximum is sought from
_R_GRID = 512
_CELLS = 500_000  # grid points held at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Weighted numbers, padded to one width; `known` is False for padding, whose weight is 0."""

    values: Float[np.ndarray, "*lead width"]
    weights: Float[np.ndarray, "*lead width"]
    known: Bool[np.ndarray, "*lead width"]


def known_medians(
    values: Float[np.ndarray, "*lead width"], known: Bool[np.ndarray, "*lead width"]
) -> Float[np.ndarray, "*lead"]:
    """Return the median of the known values along the last axis; infinite values of padding are not needed."""
    ordered = np.sort(np.where(known, values, np.inf), axis=-1)
    count = known.sum(axis=-1)[..., None]
    low, high = (np.take_along_axis(ordered, at, axis=-1)[..., 0] for at in ((count - 1) // 2, count // 2))
    return (low + high) / 2


def bandwidths(
    values: Float[np.ndarray, "*lead width"], known: Bool[np.ndarray, "*lead width"], *, phi: float
) -> Float[np.ndarray, "*lead"]:
    """Return phi 0.9 min(sd, MAD) / J^(1/5), MAD scaled to the sd of a normal.

    References
    ----------
    Hartwig FP, Davey Smith G, Bowden J. Int J Epidemiol 2017. https://doi.org/10.1093/ije/dyx102
    """
    count = known.sum(axis=-1).astype(float)
    used = np.where(known, values, 0.0)
    mean = used.sum(axis=-1) / count
    squares = np.where(known, (values - mean[..., None]) ** 2, 0.0).sum(axis=-1)
    sd = np.sqrt(squares / np.maximum(count - 1, 1.0))
    return phi * 0.9 * np.minimum(sd, median_deviation(values, known)) / count**0.2


def median_deviation(
    values: Float[np.ndarray, "*lead width"], known: Bool[np.ndarray, "*lead width"]
) -> Float[np.ndarray, "*lead"]:
    """Return the median absolute deviation from the median, scaled to the standard deviation of a normal."""
    return 1.4826 * known_medians(np.abs(values - known_medians(values, known)[..., None]), known)


def grid_modes(sample: Sample, bandwidth: Float[np.ndarray, "*lead"]) -> Float[np.ndarray, "*lead"]:
    """Return the maximum of the density on a grid of a quarter of a bandwidth, refined by a parabola.

    Values go to the two nearest grid points each, and the grid is convolved with the kernel. The grid is laid about the
    median and grows with the range of the values, up to 1,024 bandwidths. Without spread the mode is the median.
    """
    values, weights, known = (a.reshape(-1, a.shape[-1]) for a in (sample.values, sample.weights, sample.known))
    h = bandwidth.ravel()
    centre = known_medians(values, known)
    modes, spread = centre.copy(), h > 0
    scaled = divide(
        np.where(known, values - centre[:, None], 0.0), np.broadcast_to(h[:, None], values.shape), otherwise=0.0
    )
    reach = np.abs(scaled).max(axis=-1, initial=0.0)
    size = np.exp2(np.ceil(np.log2(2 * _FINE * (reach + _REACH)))).clip(64, _MOST).astype(int)
    for points in np.unique(size[spread]):
        alike = np.flatnonzero(spread & (size == points))
        for start in range(0, len(alike), _CELLS // points):
            rows = alike[start : start + _CELLS // points]
            modes[rows] += h[rows] * _modes_of_grid(scaled[rows], weights[rows], int(points))
    return modes.reshape(bandwidth.shape)


def _modes_of_grid(
    scaled: Float[np.ndarray, "rows width"], weights: Float[np.ndarray, "rows width"], points: int
) -> Float[np.ndarray, "rows"]:
    """Modes in bandwidths from the centre of the grid."""
    at = scaled * _FINE + points // 2
    inside = (at >= 0) & (at < points - 1)
    mass = np.where(inside, weights, 0.0)
    binned = _binned(np.where(inside, at, 0.0), mass, points)
    # The kernel of every grid is the same: its spectrum is that of the normal, the grid being fine enough.
    spectrum = np.exp(-0.5 * (2 * np.pi * np.arange(points // 2 + 1) * _FINE / points) ** 2)
    density = fft.irfft(fft.rfft(binned, axis=-1) * spectrum, n=points, axis=-1)
    top = np.clip(density.argmax(axis=-1), 1, points - 2)[:, None]
    left, peak, right = (np.take_along_axis(density, top + k, axis=-1)[:, 0] for k in (-1, 0, 1))
    shift = divide(0.5 * (right - left), 2 * peak - left - right, otherwise=0.0)
    return (top[:, 0] - points // 2 + np.clip(shift, -0.5, 0.5)) / _FINE


def _binned(
    at: Float[np.ndarray, "rows width"], mass: Float[np.ndarray, "rows width"], points: int
) -> Float[np.ndarray, "rows points"]:
    """Share every mass between the two grid points around its place; places lie in [0, points - 1)."""
    first = at.astype(np.intp)
    right = (at - first) * mass
    first += (np.arange(len(at)) * points)[:, None]
    total = len(at) * points
    cells = first.ravel()
    binned = np.bincount(cells, weights=(mass - right).ravel(), minlength=total)[:total]
    binned[1:] += np.bincount(cells, weights=right.ravel(), minlength=total)[: total - 1]
    return binned.reshape(len(at), points)


def r_modes(sample: Sample, bandwidth: Float[np.ndarray, "*lead"]) -> Float[np.ndarray, "*lead"]:
    """Return the point of highest density among the 512 at which R's `density` gives it (R before 4.4).

    R bins linearly on a grid from 7 bandwidths below the smallest to 7 above the largest value, convolves by FFT on
    twice as many points, and interpolates linearly at 512 points from 3 below to 3 above.
    """
    values, weights, known = (a.reshape(-1, a.shape[-1]) for a in (sample.values, sample.weights, sample.known))
    h, size = bandwidth.ravel(), _CELLS // (2 * _R_GRID)
    parts = [slice(start, start + size) for start in range(0, len(h), size)]
    return np.concatenate([_r_modes(values[p], weights[p], known[p], h[p]) for p in parts]).reshape(bandwidth.shape)


def _r_modes(
    values: Float[np.ndarray, "rows width"],
    weights: Float[np.ndarray, "rows width"],
    known: Bool[np.ndarray, "rows width"],
    h: Float[np.ndarray, "rows"],
) -> Float[np.ndarray, "rows"]:
    low = np.where(known, values, np.inf).min(axis=-1) - 3 * h
    high = np.where(known, values, -np.inf).max(axis=-1) + 3 * h
    modes, spread = known_medians(values, known), np.flatnonzero(h > 0)
    values, weights, known, h, low, high = (a[spread] for a in (values, weights, known, h, low, high))
    start, width, n = low - 4 * h, high - low + 8 * h, _R_GRID
    step = width / (n - 1)
    total = np.where(known, weights, 0.0).sum(axis=-1, keepdims=True)
    share = np.where(known, weights, 0.0) / total
    at = np.where(known, (values - start[:, None]) / step[:, None], 0.0)
    binned = _binned(at, share, 2 * n)
    distance = np.linspace(0.0, 2 * width, 2 * n, axis=-1)
    distance[:, n + 1 :] = -distance[:, n - 1 : 0 : -1]
    kernel = np.exp(-0.5 * (distance / h[:, None]) ** 2) / (h[:, None] * np.sqrt(2 * np.pi))
    spectrum = fft.rfft(binned, axis=-1) * np.conj(fft.rfft(kernel, axis=-1))
    density = np.maximum(fft.irfft(spectrum, n=2 * n, axis=-1)[:, :n], 0.0)
    wanted = np.linspace(low, high, n, axis=-1)
    place = (wanted - start[:, None]) / step[:, None]
    left = np.clip(place.astype(np.intp), 0, n - 2)
    below, above = (np.take_along_axis(density, left + k, axis=-1) for k in (0, 1))
    top = (below + (above - below) * (place - left)).argmax(axis=-1)[:, None]
    modes[spread] = np.take_along_axis(wanted, top, axis=-1)[:, 0]
    return modes


def exact_modes(sample: Sample, bandwidth: Float[np.ndarray, "loci"]) -> Float[np.ndarray, "loci"]:
    """Return where the density is highest, to the last digits.

    Notes
    -----
    Sought uphill from the grid's maximum and from the values of highest density, by steps to the kernel-weighted mean
    (mean shift), then Newton's. Of two maxima equally high to nine digits the one nearer the median is taken, and of
    two equally near the lower.
    """
    centre = known_medians(sample.values, sample.known)
    spread = bandwidth > 0
    h = np.where(spread, bandwidth, 1.0)[:, None]
    values = np.where(sample.known, sample.values - centre[:, None], 0.0) / h
    weights = np.where(sample.known, sample.weights, 0.0)
    grid = (grid_modes(sample, bandwidth) - centre)[:, None] / h
    heights = np.empty_like(values)
    for column in range(values.shape[1]):  # no array of squares of the width
        heights[:, column] = _kernel(values, weights, values[:, column, None])[0]
    heights = np.where(sample.known, heights, -1.0)
    best = np.argsort(-heights, axis=-1, kind="stable")[:, :_STARTS]
    at = np.concatenate([grid, np.take_along_axis(values, best, axis=-1)], axis=-1)
    places = np.stack([_climb(values, weights, column) for column in at.T], axis=-1)
    height = np.stack([_kernel(values, weights, column[:, None])[0] for column in places.T], axis=-1)
    equal = height >= height.max(axis=-1, keepdims=True) * (1 - 1e-9)
    far = np.where(equal, np.round(np.abs(places), 7), np.inf)
    chosen = np.lexsort((places, far), axis=-1)[:, :1]
    found = np.take_along_axis(places, chosen, axis=-1)[:, 0]
    return centre + np.where(spread, found * h[:, 0], 0.0)


def _climb(
    values: Float[np.ndarray, "loci width"], weights: Float[np.ndarray, "loci width"], at: Float[np.ndarray, "loci"]
) -> Float[np.ndarray, "loci"]:
    for step in range(40):
        height, slope, curve = _kernel(values, weights, at[:, None])
        shift = divide(slope, height, otherwise=0.0)
        # A Newton step where it goes up and is short; the mean shift goes up always.
        newton = divide(slope, -curve, otherwise=np.inf)
        near = (step >= 4) & (np.abs(newton) < 0.5) & (newton * shift >= 0)
        moved = np.where(near, newton, shift)
        at = at + moved
        if np.all(np.abs(moved) < 1e-13):
            break
    return at


def _kernel(
    values: Float[np.ndarray, "loci width"], weights: Float[np.ndarray, "loci width"], at: Float[np.ndarray, "loci _"]
) -> tuple[Float[np.ndarray, "loci"], Float[np.ndarray, "loci"], Float[np.ndarray, "loci"]]:
    """Density at one point a locus, up to a factor, with its first two derivatives; the bandwidth is 1."""
    distance = values - at
    kernel = weights * np.exp(-0.5 * distance**2)
    return (
        kernel.sum(axis=-1),
        (kernel * distance).sum(axis=-1),
        (kernel * (distance**2 - 1)).sum(axis=-1),
    )
