"""MM-estimates of regressions: as efficient as least squares on clean data, hardly moved by outlying instruments.

Deterministic, and without a loop over loci: loci with equally many instruments are fitted together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Bool, Float, Int

# Bisquare constants: breakdown point of one half for the scale, 95 % efficiency for the line.
_S_TUNING, _M_TUNING, _BREAKDOWN = 1.54764, 4.685061, 0.5
_N_SUBSETS = 500  # elemental fits to start from; all of them where there are no more
_N_REFINED = 5  # best starts that are followed to convergence
_TOLERANCE, _MAX_ITERATIONS = 1e-12, 500
_CHUNK = 2_000_000  # residuals held at a time
_EXACT = 1e-9  # a robust scale below this share of the largest response means that most points lie on one line


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustLines:
    """Robust lines of packed loci.

    Attributes
    ----------
    weights : robustness weight of every row, 0 to 1; 1 in loci that were not fitted. Weighted least squares with these
        weights times the given ones is the MM-estimate.
    scale : robust residual scale, in units of the weights.
    slope_unscaled, intercept_unscaled : variances at a scale of 1.
    settled : False where the iteration did not converge, or found no positive variance.
    """

    weights: Float[np.ndarray, "rows"]
    scale: Float[np.ndarray, "loci"]
    slope_unscaled: Float[np.ndarray, "loci"]
    intercept_unscaled: Float[np.ndarray, "loci"]
    settled: Bool[np.ndarray, "loci"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustDesigns:
    """Robust regressions on several columns; as `RobustLines`, with a variance a column."""

    weights: Float[np.ndarray, "rows"]
    scale: Float[np.ndarray, "loci"]
    unscaled: Float[np.ndarray, "loci columns"]
    settled: Bool[np.ndarray, "loci"]


def robust_lines(
    x: Float[np.ndarray, "rows"],
    y: Float[np.ndarray, "rows"],
    weights: Float[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "loci_plus_one"],
    *,
    loci: Int[np.ndarray, "fitted"],
    intercept: bool = True,
) -> RobustLines:
    """Fit the MM-estimate of a line to each of the loci named by their number; see `robust_designs`.

    Parameters
    ----------
    intercept : fit one, or force the line through the origin.
    """
    design = np.column_stack([np.ones_like(x), x]) if intercept else x[:, None]
    fit = robust_designs(design, y, weights, offsets, loci=loci)
    none = np.where(np.isnan(fit.scale), np.nan, 0.0)
    return RobustLines(
        weights=fit.weights,
        scale=fit.scale,
        slope_unscaled=fit.unscaled[:, -1],
        intercept_unscaled=fit.unscaled[:, 0] if intercept else none,
        settled=fit.settled,
    )


def robust_designs(
    design: Float[np.ndarray, "rows columns"],
    y: Float[np.ndarray, "rows"],
    weights: Float[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "loci_plus_one"],
    *,
    loci: Int[np.ndarray, "fitted"],
) -> RobustDesigns:
    """Fit the MM-estimate of a regression to each of the loci named by their number.

    Parameters
    ----------
    weights : inverse variances of y.
    loci : numbers of the loci to fit; the others get NaN and row weights of 1. Each needs more rows than columns.

    Notes
    -----
    An S-estimate (bisquare, c = 1.54764: the coefficients whose residuals have the smallest M-scale) starts an
    M-estimate (bisquare, c = 4.685061) with that scale. The S-estimate is searched from least squares and from the fits
    through as few instruments as there are columns: all such subsets, or 500 drawn with a fixed seed from the
    instruments sorted by the columns, so that their order cannot matter. The variance is that of Croux, Dhaene and
    Hoorelbeke: robust against heteroscedastic and asymmetric errors. This is what `lmrob` of the R package robustbase
    computes by default, apart from its random choice of subsets. Where more than half of the rows lie exactly on the
    fit the scale is 0, and the variances are those of least squares on these rows.

    References
    ----------
    Yohai VJ. High breakdown-point and high efficiency robust estimates for regression. Ann Stat 1987.
    https://doi.org/10.1214/aos/1176350366
    Salibian-Barrera M, Yohai VJ. A fast algorithm for S-regression estimates. J Comput Graph Stat 2006.
    https://doi.org/10.1198/106186006X113629
    """
    n_loci, n_columns = len(offsets) - 1, design.shape[1]
    scale, unscaled = np.full(n_loci, np.nan), np.full((n_loci, n_columns), np.nan)
    settled, robustness = np.ones(n_loci, dtype=bool), np.ones(len(y))
    root = np.sqrt(weights)
    for batch, n_rows in _equal_sized(loci, np.diff(offsets)):
        rows = offsets[batch][:, None] + np.arange(n_rows)
        order = np.lexsort((y[rows], *(column[rows] for column in design.T[::-1])), axis=-1)
        rows = np.take_along_axis(rows, order, axis=-1)
        columns = (root[:, None] * design)[rows]
        # Columns of one size, so that the unit of the exposure decides no rank; columns of zeros stay.
        size = np.linalg.norm(columns, axis=1)
        size[size == 0] = 1.0
        fit = _fit_mm(_Lines.of(columns / size[:, None], (root * y)[rows]))
        robustness[rows] = fit.weights
        variances = np.diagonal(fit.covariance, axis1=-2, axis2=-1) / size**2
        possible = variances.min(axis=-1) > 0
        scale[batch], settled[batch] = fit.scale, fit.converged & possible
        unscaled[batch] = np.where(possible[:, None], variances, np.nan)
    return RobustDesigns(weights=robustness, scale=scale, unscaled=unscaled, settled=settled)


def _equal_sized(
    loci: Int[np.ndarray, "fitted"], counts: Int[np.ndarray, "loci"]
) -> Iterator[tuple[Int[np.ndarray, "batch"], int]]:
    for n_rows in np.unique(counts[loci]):
        same = loci[counts[loci] == n_rows]
        size = max(1, _CHUNK // (int(n_rows) * (_N_SUBSETS + 1)))
        for start in range(0, len(same), size):
            yield same[start : start + size], int(n_rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """Regressions of one size; `products` holds each row's terms of X'X and X'y, so that a fit is one product."""

    design: Float[np.ndarray, "batch rows parameters"]
    response: Float[np.ndarray, "batch rows"]
    products: Float[np.ndarray, "batch rows moments"]

    @classmethod
    def of(
        cls, design: Float[np.ndarray, "batch rows parameters"], response: Float[np.ndarray, "batch rows"]
    ) -> "_Lines":
        squares = (design[..., :, None] * design[..., None, :]).reshape(*response.shape, -1)
        return cls(
            design=design,
            response=response,
            products=np.concatenate([squares, design * response[..., None]], axis=-1),
        )

    def take(self, index: Int[np.ndarray, "picked"]) -> "_Lines":
        return _Lines(design=self.design[index], response=self.response[index], products=self.products[index])

    def fit(self, weights: Float[np.ndarray, "batch starts rows"]) -> Float[np.ndarray, "batch starts parameters"]:
        """Weighted least squares; NaN where the weighted rows do not determine the line."""
        p = self.design.shape[-1]
        moments = weights @ self.products
        square, mixed = moments[..., : p * p].reshape(*moments.shape[:-1], p, p), moments[..., p * p :]
        return _solve(square, mixed)

    def residuals(self, coef: Float[np.ndarray, "batch starts parameters"]) -> Float[np.ndarray, "batch starts rows"]:
        return self.response[:, None, :] - coef @ self.design.swapaxes(-1, -2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _MMFit:
    weights: Float[np.ndarray, "batch rows"]
    scale: Float[np.ndarray, "batch"]
    covariance: Float[np.ndarray, "batch parameters parameters"]
    converged: Bool[np.ndarray, "batch"]


def _solve(
    square: Float[np.ndarray, "*batch parameters parameters"], right: Float[np.ndarray, "*batch parameters"]
) -> Float[np.ndarray, "*batch parameters"]:
    diagonal = np.prod(np.diagonal(square, axis1=-2, axis2=-1), axis=-1)
    singular = np.linalg.det(square) <= 1e-13 * diagonal
    safe = np.where(singular[..., None, None], np.eye(square.shape[-1]), square)
    solution = np.linalg.solve(safe, right[..., None])[..., 0]
    return np.where(singular[..., None], np.nan, solution)


def _rho(u: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return 1 - (1 - np.minimum(u * u, 1.0)) ** 3


def _weight(u: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return (1 - np.minimum(u * u, 1.0)) ** 2


def _subsets(n_rows: int, n_parameters: int) -> Float[np.ndarray, "starts rows"]:
    """Indicators of the rows that each start uses; the first start uses all."""
    rng = np.random.default_rng(0)
    if comb(n_rows, n_parameters) <= _N_SUBSETS:
        members = np.array(list(combinations(range(n_rows), n_parameters)))
    elif n_parameters > 2:
        members = np.argsort(rng.random((_N_SUBSETS, n_rows)), axis=1)[:, :n_parameters]
    else:
        first = rng.integers(n_rows, size=_N_SUBSETS)
        members = np.stack([first, (first + rng.integers(1, n_rows, size=_N_SUBSETS)) % n_rows], axis=1)[
            :, :n_parameters
        ]
    chosen = np.zeros((len(members) + 1, n_rows))
    chosen[0] = 1.0
    np.put_along_axis(chosen[1:], members, 1.0, axis=1)
    return chosen


def _scale_step(
    residual: Float[np.ndarray, "batch starts rows"], scale: Float[np.ndarray, "batch starts"], n_parameters: int
) -> Float[np.ndarray, "batch starts"]:
    """One step towards the M-scale: mean of rho(residual / scale) over n - p equal to one half."""
    total = _rho(residual / (scale[..., None] * _S_TUNING)).sum(axis=-1)
    return scale * np.sqrt(total / (residual.shape[-1] - n_parameters) / _BREAKDOWN)


def _reweight(
    lines: _Lines,
    coef: Float[np.ndarray, "batch starts parameters"],
    scale: Float[np.ndarray, "batch starts"],
    *,
    tuning: float,
    tiny: Float[np.ndarray, "batch 1"],
    update_scale: bool,
) -> tuple[Float[np.ndarray, "batch starts parameters"], Float[np.ndarray, "batch starts"]]:
    """One step of iterated reweighting; a line that its weights no longer determine stays where it is."""
    residual = lines.residuals(coef)
    if update_scale:
        scale = np.maximum(_scale_step(residual, scale, lines.design.shape[-1]), tiny)
    step = lines.fit(_weight(residual / (scale[..., None] * tuning)))
    return np.where(np.isnan(step), coef, step), scale


def _iterate(
    lines: _Lines,
    coef: Float[np.ndarray, "batch starts parameters"],
    scale: Float[np.ndarray, "batch starts"],
    *,
    tuning: float,
    tiny: Float[np.ndarray, "batch 1"],
    update_scale: bool,
) -> tuple[Float[np.ndarray, "batch starts parameters"], Float[np.ndarray, "batch starts"], Bool[np.ndarray, "batch"]]:
    """Reweight until coefficients and scale settle; a locus that has settled is left alone."""
    coef, scale = coef.copy(), scale.copy()
    active = np.arange(len(coef))
    for _ in range(_MAX_ITERATIONS):
        new, new_scale = _reweight(
            lines.take(active), coef[active], scale[active], tuning=tuning, tiny=tiny[active], update_scale=update_scale
        )
        moved = np.abs(new - coef[active]).max(axis=-1) > _TOLERANCE * np.abs(new).max(axis=-1)
        moved |= np.abs(new_scale - scale[active]) > _TOLERANCE * new_scale
        coef[active], scale[active] = new, new_scale
        active = active[moved.any(axis=-1)]
        if not len(active):
            break
    converged = np.ones(len(coef), dtype=bool)
    converged[active] = False
    return coef, scale, converged


def _s_estimate(
    lines: _Lines, tiny: Float[np.ndarray, "batch 1"]
) -> tuple[Float[np.ndarray, "batch 1 parameters"], Float[np.ndarray, "batch 1"]]:
    """Return the line with the smallest M-scale of residuals, and that scale."""
    n_rows, n_parameters = lines.design.shape[1:]
    starts = np.broadcast_to(
        _subsets(n_rows, n_parameters), (len(lines.response), *_subsets(n_rows, n_parameters).shape)
    )
    coef = lines.fit(starts)
    coef = np.where(np.isnan(coef), coef[:, :1], coef)
    residual = lines.residuals(coef)
    scale = np.maximum(np.median(np.abs(residual), axis=-1) / 0.6745, tiny)
    for _ in range(2):
        coef, scale = _reweight(lines, coef, scale, tuning=_S_TUNING, tiny=tiny, update_scale=True)
    residual = lines.residuals(coef)
    for _ in range(5):
        scale = np.maximum(_scale_step(residual, scale, n_parameters), tiny)
    best = np.argsort(scale, axis=-1, kind="stable")[:, :_N_REFINED]
    coef = np.take_along_axis(coef, best[..., None], axis=1)
    scale = np.take_along_axis(scale, best, axis=1)
    coef, scale, _ = _iterate(lines, coef, scale, tuning=_S_TUNING, tiny=tiny, update_scale=True)
    first = np.argmin(scale, axis=-1)[:, None]
    return np.take_along_axis(coef, first[..., None], axis=1), np.take_along_axis(scale, first, axis=1)


def _fit_mm(lines: _Lines) -> _MMFit:
    largest = np.abs(lines.response).max(axis=-1, keepdims=True)
    tiny = np.maximum(_EXACT * largest, np.finfo(float).tiny)
    start, scale = _s_estimate(lines, tiny)
    coef, _, converged = _iterate(lines, start, scale, tuning=_M_TUNING, tiny=tiny, update_scale=False)
    first, final = (lines.residuals(c)[:, 0] / scale for c in (start, coef))
    exact = (scale <= tiny)[:, 0]
    weights = _weight(final / _M_TUNING)
    covariance = _covariance(lines.design, first, final)
    plain = np.linalg.pinv(np.einsum("brp,br,brq->bpq", lines.design, weights, lines.design), hermitian=True)
    return _MMFit(
        weights=weights,
        scale=np.where(exact, 0.0, scale[:, 0]),
        covariance=np.where(exact[:, None, None], plain, covariance),
        converged=converged,
    )


def _covariance(
    design: Float[np.ndarray, "batch rows parameters"],
    first: Float[np.ndarray, "batch rows"],
    final: Float[np.ndarray, "batch rows"],
) -> Float[np.ndarray, "batch parameters parameters"]:
    """Variance of the MM-estimate at a scale of 1, from standardised residuals of the S- and of the M-step.

    Croux C, Dhaene G, Hoorelbeke D. Robust standard errors for robust estimators. KU Leuven DES 03.16, 2003.
    """
    n_rows = design.shape[1]
    u, v = np.minimum((final / _M_TUNING) ** 2, 1.0), np.minimum((first / _S_TUNING) ** 2, 1.0)
    psi, slope_psi = final * (1 - u) ** 2, (1 - u) * (1 - 5 * u)
    chi, slope_chi = 1 - (1 - v) ** 3, 6 / _S_TUNING**2 * first * (1 - v) ** 2
    curvature = np.einsum("brp,br,brq->bpq", design, slope_psi, design)
    bread = np.linalg.pinv(curvature, hermitian=True)
    pull = np.maximum(np.mean(slope_chi * first, axis=-1), np.finfo(float).tiny)[:, None]
    drift = np.einsum("brp,br->bp", design, slope_psi * final) / pull
    drift = np.einsum("bpq,bq->bp", bread, drift)
    meat = np.einsum("brp,br,brq->bpq", design, psi**2, design) * n_rows
    cross = np.einsum("bp,bq->bpq", drift, np.einsum("bpq,bq->bp", bread, np.einsum("brp,br->bp", design, psi * chi)))
    tail = np.mean(chi**2 - _BREAKDOWN**2, axis=-1)[:, None, None] * np.einsum("bp,bq->bpq", drift, drift)
    return (bread @ meat @ bread - cross - cross.swapaxes(-1, -2) + tail) / n_rows
