"""Least absolute deviations with several columns: the weighted median of many columns, for many loci at once."""

import numpy as np
from jaxtyping import Bool, Float, Int

_ROUNDS = 500
_NIL = 1e-11  # of the largest, below which a slope is rounding


def least_absolute(
    design: Float[np.ndarray, "batch width columns"],
    response: Float[np.ndarray, "batch width"],
    weights: Float[np.ndarray, "batch width"],
) -> Float[np.ndarray, "batch columns"]:
    """Return the b of every batch that minimises sum_j w_j |y_j - x_j' b|.

    Parameters
    ----------
    design : of full column rank over the rows that have a weight.
    weights : zero or positive; padding has 0.

    Notes
    -----
    The minimum lies at a vertex, where as many residuals as there are columns are 0. From the least squares fit a
    search along as many lines finds a vertex; then one row of it is exchanged at a time, along the edge that falls most
    steeply, to the weighted median of where the other rows cross that edge, until every edge rises.

    References
    ----------
    Bloomfield P, Steiger WL. Least absolute deviations curve-fitting. SIAM J Sci Stat Comput 1980.
    https://doi.org/10.1137/0901019
    """
    n = len(design)
    # Columns of one size, so that no unit decides a rank.
    size = np.sqrt(np.einsum("bj,bjk->bk", weights, design**2))
    size = np.where(size > 0, size, 1.0)
    x = design / size[:, None]
    basis = _first_vertex(x, response, weights)
    coef, rest = _vertex(x, response, basis)
    loss = np.einsum("bj,bj->b", weights, np.abs(rest))
    active = np.arange(n)
    for _ in range(_ROUNDS):
        # Far fewer batches than at the start go on for long.
        xa, wa, ra, ba = x[active], weights[active], rest[active], basis[active]
        inside = np.take_along_axis(xa, ba[..., None], axis=1)
        slopes = xa @ np.linalg.inv(inside)
        pull = np.einsum("bj,bj,bjk->bk", wa, np.sign(ra), slopes)
        ratio = np.abs(pull) / np.maximum(np.take_along_axis(wa, ba, axis=1), np.finfo(float).tiny)
        leaving = np.argmax(ratio, axis=1)[:, None]
        edge = np.take_along_axis(slopes, leaving[:, None], axis=2)[..., 0]
        entering = _median_row(ra, edge, wa)
        new = ba.copy()
        np.put_along_axis(new, leaving, entering[:, None], axis=1)
        moved_coef, moved = _vertex(xa, response[active], new)
        moved_loss = np.einsum("bj,bj->b", wa, np.abs(moved))
        better = (ratio.max(axis=1) > 1 + 1e-12) & (moved_loss < loss[active] * (1 - 1e-14))
        active, new = active[better], new[better]
        if not len(active):
            break
        basis[active], coef[active], rest[active] = new, moved_coef[better], moved[better]
        loss[active] = moved_loss[better]
    return coef / size


def _vertex(
    x: Float[np.ndarray, "batch width columns"],
    y: Float[np.ndarray, "batch width"],
    basis: Int[np.ndarray, "batch columns"],
) -> tuple[Float[np.ndarray, "batch columns"], Float[np.ndarray, "batch width"]]:
    """Return the fit through the rows of a basis, and its residuals, exactly 0 there."""
    inside, at = np.take_along_axis(x, basis[..., None], axis=1), np.take_along_axis(y, basis, axis=1)
    coef = np.linalg.solve(inside, at[..., None])[..., 0]
    rest = y - np.einsum("bjk,bk->bj", x, coef)
    np.put_along_axis(rest, basis, 0.0, axis=1)
    return coef, rest


def _first_vertex(
    x: Float[np.ndarray, "batch width columns"],
    y: Float[np.ndarray, "batch width"],
    weights: Float[np.ndarray, "batch width"],
) -> Int[np.ndarray, "batch columns"]:
    k = x.shape[2]
    weighted = x * weights[..., None]
    square = weighted.swapaxes(1, 2) @ x + 1e-14 * np.eye(k)
    coef = np.linalg.solve(square, np.einsum("bjk,bj->bk", weighted, y)[..., None])[..., 0]
    rest = y - np.einsum("bjk,bk->bj", x, coef)
    free = np.tile(np.eye(k), (len(x), 1, 1))  # projector on the directions that keep the basis at 0
    basis = np.zeros((len(x), k), dtype=int)
    for i in range(k):
        # Any direction does; the one of the steepest descent where there is one.
        down = np.einsum("bpq,bjq,bj->bp", free, x, weights * np.sign(rest))
        widest = np.take_along_axis(
            free, np.argmax(np.diagonal(free, axis1=1, axis2=2), axis=1)[:, None, None], axis=2
        )[..., 0]
        steep = np.linalg.norm(down, axis=1, keepdims=True)
        total = np.einsum("bj,bjk->b", weights, np.abs(x))[:, None]
        along = np.where(steep > 1e-9 * total, down / np.where(steep > 0, steep, 1.0), widest)
        edge = np.einsum("bjk,bk->bj", x, along)
        taken = np.zeros(edge.shape, dtype=bool)
        np.put_along_axis(taken, basis[:, :i], True, axis=1)
        row = _median_row(rest, np.where(taken, 0.0, edge), weights)[:, None]
        step = np.take_along_axis(rest, row, axis=1) / np.take_along_axis(edge, row, axis=1)
        rest = rest - step * edge
        basis[:, i] = row[:, 0]
        np.put_along_axis(rest, basis[:, : i + 1], 0.0, axis=1)
        normal = np.einsum("bpq,bq->bp", free, np.take_along_axis(x, row[..., None], axis=1)[:, 0])
        length = np.sum(normal**2, axis=1)[:, None, None]
        free = free - normal[:, :, None] * normal[:, None, :] / length
    return basis


def _median_row(
    rest: Float[np.ndarray, "batch width"],
    edge: Float[np.ndarray, "batch width"],
    weights: Float[np.ndarray, "batch width"],
) -> Int[np.ndarray, "batch"]:
    """Return the row at whose zero the loss along an edge is smallest: a weighted median of rest / edge."""
    size = np.abs(edge)
    moves: Bool[np.ndarray, "batch width"] = (size > _NIL * size.max(axis=1, keepdims=True)) & (weights > 0)
    at = np.divide(rest, edge, out=np.full_like(rest, np.inf), where=moves)
    order = np.argsort(at, axis=1, kind="stable")
    total = np.cumsum(np.take_along_axis(np.where(moves, weights * size, 0.0), order, axis=1), axis=1)
    middle = np.argmax(total >= total[:, -1:] / 2, axis=1)
    return np.take_along_axis(order, middle[:, None], axis=1)[:, 0]
