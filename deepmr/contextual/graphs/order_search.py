"""The order of the nodes of a Bayesian network: every order of few nodes, a greedy one and its neighbours of many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve

from deepmr.contextual.graphs.products import Products

Errors = Literal["equal", "own"]
ERRORS: tuple[Errors, ...] = ("equal", "own")

_CONSTANT, _OTHER = 1e-8, 1.0  # ridge on constant coefficients, as a share of the rows, and on the others


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOrder:
    """An order, and how sure it is.

    Attributes
    ----------
    order : positions of nodes, sources first.
    errors : whether the order was chosen for one error variance of all nodes, or for one of each.
    log_likelihood : of the order, up to a constant that all orders share, whichever the errors.
    preference : [i, j] what is lost of it in the best order with j before i, NaN where not every order was tried.
    """

    order: Int[np.ndarray, "nodes"]
    errors: Errors
    log_likelihood: float
    preference: Float[np.ndarray, "nodes nodes"]


Residuals = Callable[[tuple[int, ...]], Float[np.ndarray, "nodes"]]


def residual_sums(
    products: Products, parts: Int[np.ndarray, "functions"], sizes: Float[np.ndarray, "nodes"]
) -> Residuals:
    """Return a function that gives each node's residual sum of squares given a set of others, whose weights vary.

    Parameters
    ----------
    products : of standardised nodes.
    parts : what each function of context is; only constant ones go unpenalised.
    sizes : standard deviations of the nodes, in whose units the sums are returned.

    Notes
    -----
    Nodes of the set themselves have 0. One factorisation of the set serves all nodes; sets are remembered.
    """
    ridge = np.where(parts == 0, _CONSTANT * products.total, _OTHER)
    known: dict[tuple[int, ...], np.ndarray] = {}
    targets = products.constant

    def residuals(chosen: tuple[int, ...]) -> Float[np.ndarray, "nodes"]:
        if chosen not in known:
            columns = products.columns(chosen)
            penalty = np.tile(ridge, len(chosen) + 1)
            chol = cho_factor(products.gram[np.ix_(columns, columns)] + np.diag(penalty), lower=True)
            cross = products.gram[np.ix_(columns, targets)]
            solved = cho_solve(chol, cross)
            square = np.diag(products.gram)[targets]
            # Residuals themselves, without the penalty: y'y - 2 b'm + m'Gm with Gm = b - penalty m
            sums = square - (cross * solved).sum(axis=0) - (penalty[:, None] * solved**2).sum(axis=0)
            sums = np.maximum(sums, 1e-12 * square)
            sums[list(chosen)] = 0.0
            known[chosen] = sums * sizes**2
        return known[chosen]

    return residuals


def exact_order(residuals: Residuals, n_nodes: int, total: float, errors: Errors) -> NodeOrder:
    """Find the most likely of all orders.

    Parameters
    ----------
    residuals : as `residual_sums` returns it.
    n_nodes : ten at most, in practice: there are 2^n sets.
    total : rows.
    errors : `equal`, one error variance for all nodes; `own`, one for each.

    Notes
    -----
    What a node adds depends on which nodes are before it and not on their order, so that the best way to every set is
    found from the best ways to sets with one node fewer (dynamic programming). With best ways from every set to the
    end as well, the best order with i before j is the best over sets with i and without j, j being next.
    """
    every = 1 << n_nodes
    cost = np.full((every, n_nodes), np.inf)
    for chosen in range(every - 1):
        members = tuple(k for k in range(n_nodes) if chosen >> k & 1)
        sums = residuals(members)
        outside = [k for k in range(n_nodes) if not chosen >> k & 1]
        cost[chosen, outside] = _cost(sums[outside], errors)
    ahead = np.full(every, np.inf)
    ahead[0] = 0.0
    for chosen in range(every):
        for k in range(n_nodes):
            if not chosen >> k & 1:
                more = chosen | 1 << k
                ahead[more] = min(ahead[more], ahead[chosen] + cost[chosen, k])
    behind = np.full(every, np.inf)
    behind[-1] = 0.0
    for chosen in range(every - 2, -1, -1):
        behind[chosen] = min(cost[chosen, k] + behind[chosen | 1 << k] for k in range(n_nodes) if not chosen >> k & 1)
    order: list[int] = []
    chosen = 0
    while chosen != every - 1:
        free = [k for k in range(n_nodes) if not chosen >> k & 1]
        best = min(free, key=lambda k: cost[chosen, k] + behind[chosen | 1 << k])
        order.append(best)
        chosen |= 1 << best
    sets = np.arange(every)
    best_with = np.full((n_nodes, n_nodes), np.inf)
    for j in range(n_nodes):
        without = sets[sets >> j & 1 == 0]
        through = ahead[without] + cost[without, j] + behind[without | 1 << j]
        for i in range(n_nodes):
            inside = through[without >> i & 1 == 1]
            best_with[i, j] = inside.min(initial=np.inf)
    value = _log_likelihood(behind[0], total, n_nodes, errors)
    preference = np.zeros((n_nodes, n_nodes))
    for i in range(n_nodes):
        for j in range(n_nodes):
            if i != j:
                preference[i, j] = value - _log_likelihood(best_with[j, i], total, n_nodes, errors)
    return NodeOrder(order=np.array(order, dtype=int), errors=errors, log_likelihood=value, preference=preference)


def greedy_order(residuals: Residuals, n_nodes: int, total: float, errors: Errors) -> NodeOrder:
    """Find a likely order: the next node is that with the smallest cost, then nodes move as long as that helps.

    Parameters
    ----------
    residuals, n_nodes, total, errors : as in `exact_order`.

    Notes
    -----
    With equal error variances, the node with the smallest variance given those before it is the next one of the true
    order when there are samples enough (Chen, Drton, Wang). With variances of their own, costs of nodes in units of
    their own are compared with what they would be at the end of the order.

    References
    ----------
    Chen W, Drton M, Wang YS (2019). Biometrika 106:973. doi:10.1093/biomet/asz049
    """
    order: list[int] = []
    left = list(range(n_nodes))
    while left:
        now = _cost(residuals(tuple(sorted(order))), errors, safe=True)
        if errors == "own":
            for k in left:
                rest = tuple(sorted(set(range(n_nodes)) - {k}))
                now[k] -= _cost(residuals(rest), errors, safe=True)[k]
        best = min(left, key=lambda k: now[k])
        order.append(best)
        left.remove(best)

    value, moved = _order_cost(residuals, order, errors), True
    while moved:
        moved = False
        for node in range(n_nodes):
            others = [k for k in order if k != node]
            for place in range(n_nodes):
                candidate = [*others[:place], node, *others[place:]]
                other = _order_cost(residuals, candidate, errors)
                if other < value - 1e-9 * abs(value):
                    order, value, moved = candidate, other, True
    return NodeOrder(
        order=np.array(order, dtype=int),
        errors=errors,
        log_likelihood=_log_likelihood(value, total, n_nodes, errors),
        preference=np.full((n_nodes, n_nodes), np.nan),
    )


def known_order(residuals: Residuals, order: Int[np.ndarray, "nodes"], total: float, errors: Errors) -> NodeOrder:
    """Return an order that is given, with how likely it is.

    Parameters
    ----------
    residuals, total, errors : as in `exact_order`.
    order : positions of nodes, sources first.
    """
    d = len(order)
    value = _log_likelihood(_order_cost(residuals, order.tolist(), errors), total, d, errors)
    return NodeOrder(order=order, errors=errors, log_likelihood=value, preference=np.full((d, d), np.nan))


def _order_cost(residuals: Residuals, order: Sequence[int], errors: Errors) -> float:
    return sum(float(_cost(residuals(tuple(sorted(order[:k])))[[node]], errors)[0]) for k, node in enumerate(order))


def _cost(sums: np.ndarray, errors: Errors, *, safe: bool = False) -> np.ndarray:
    """Return what each node adds to the cost of an order: its residual sum of squares, or the log of it."""
    if errors == "equal":
        return sums.copy()
    return np.log(np.where(sums > 0, sums, 1.0)) if safe else np.log(sums)


def _log_likelihood(cost: float, total: float, n_nodes: int, errors: Errors) -> float:
    if errors == "equal":
        return float(-0.5 * total * n_nodes * np.log(cost / n_nodes))
    return float(-0.5 * total * cost)
