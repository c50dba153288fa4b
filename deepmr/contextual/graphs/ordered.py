"""Bayesian networks by an order of the nodes: each regressed on some of those before it, with weights that vary."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.contextual.graphs.bayesian import BayesianNetworkFit
from deepmr.contextual.graphs.functions import FunctionKind, Functions, choose_functions
from deepmr.contextual.graphs.moments import standardise
from deepmr.contextual.graphs.order_search import (
    ERRORS,
    NodeOrder,
    exact_order,
    greedy_order,
    known_order,
    residual_sums,
)
from deepmr.contextual.graphs.parents import NodeFit, choose_parents
from deepmr.contextual.graphs.products import Products, make_products
from deepmr.contextual.graphs.types import GraphData, GraphRecord, record_of
from deepmr.contextual.scaling import Scaling, constant_contexts, scale_contexts
from deepmr.errors import InputError

FunctionChoice = Literal["auto", "constant", "polynomial", "splines", "smooth"]
Search = Literal["auto", "exact", "greedy"]
ErrorChoice = Literal["auto", "equal", "own"]

_EXACT = 10  # nodes, up to which every order is tried
_DEGREES, _LENGTHS = (1, 2, 3), (0.5, 1.0, 2.0, 4.0)  # that are tried
_SURE = 3.0  # log likelihood below which a direction is said not to be told by the data


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedNetwork:
    """The most likely order of nodes, then the edges that data support, with weights that are functions of context.

    Attributes
    ----------
    errors : `equal`, all nodes have one error variance, in the units of the input: this alone makes directions known,
        whether weights vary or not. `own`: each has its own, which context does not change; then a direction is known
        only as far as weights do vary, as the reversed edge's error variance would vary with them. `auto`: equal where
        that is as likely, by BIC.
    functions : of context that weights are sums of; `auto` takes those with the largest evidence.
    degree : of polynomials; all of 1 to 3 are tried where it is not given.
    length : scale of smooth functions, in standard deviations of a context times the root of their number; 0.5, 1, 2
        and 4 are tried where it is not given.
    search : `exact` tries every order, `greedy` a good one and its neighbours; `auto` is exact up to 10 nodes.
    order : names of all nodes, sources first, where the order is known.
    least_support : log Bayes factor an edge needs against none: 3 is 20 to 1; 0 is near the choice of BIC.
    """

    errors: ErrorChoice = "auto"
    functions: FunctionChoice = "auto"
    degree: int | None = None
    length: float | None = None
    search: Search = "auto"
    order: tuple[str, ...] | None = None
    least_support: float = 3.0

    def __post_init__(self) -> None:
        checks.one_of("errors", self.errors, get_args(ErrorChoice))
        checks.one_of("functions", self.functions, get_args(FunctionChoice))
        checks.one_of("search", self.search, get_args(Search))
        checks.at_least("degree", self.degree, 1)
        if self.length is not None and not self.length > 0:
            raise InputError(f"length must be positive; got {self.length:g}")

    def fit(self, data: GraphData, *, seed: int = 0) -> BayesianNetworkFit:
        """Fit the network.

        Parameters
        ----------
        data : samples.
        seed : of the places that smooth functions are anchored at; nothing else is random.

        Raises
        ------
        InputError
            When a node does not vary, samples are fewer than nodes, or `order` does not name every node once.

        Notes
        -----
        With observational data and linear normal equations, an order is identified by equal error variances
        (Peters, Buehlmann), or by error variances that context does not change while weights do: with v_j(c) the error
        variance of node j given those before it, log E v_j >= E log v_j, and the sum of the latter is the same in every
        order. Where neither holds, orders of one Markov equivalence class cannot be told apart, and directions are a
        convention. `preference` of the fit says by how much each is.

        References
        ----------
        Peters J, Buehlmann P (2014). Biometrika 101:219. doi:10.1093/biomet/ast043
        Huang B, Zhang K, et al. (2020). J Mach Learn Res 21(89):1.
        """
        _check_size(data)
        given = _positions(data, self.order)
        scaling = scale_contexts(data.as_context_data(outcomes=[0]))
        flat, said = constant_contexts(data.as_context_data(outcomes=[0]), scaling)
        z = scaling(data.contexts)
        values, centre, scale = standardise(data)
        found = [
            self._fitted(functions, make_products(values, functions(z), data.counts), scale, given)
            for functions in self._candidates(z, data, seed)
        ]
        best = max(found, key=lambda one: one.evidence)
        measures = {
            "evidence": best.evidence,
            "edf": sum(one.edf for one in best.nodes),
            "n_edges": float(sum(len(one.parents) for one in best.nodes)),
            "n_functions": float(best.functions.parts.size),
            "equal_errors": float(best.order.errors == "equal"),
        }
        record = record_of(
            data,
            method="ordered",
            options=asdict(self),
            seed=seed,
            constant=flat,
            measures=measures,
            relevance={},
            warnings=(*said, *_unsure(data.node_names, best.order, best.nodes)),
        )
        return _network(best, scaling, centre, scale, data, record)

    def _candidates(self, z: np.ndarray, data: GraphData, seed: int) -> list[Functions]:
        """Return functions to try: those that are chosen, or a few that differ in how fast weights may change."""
        n = data.counts.sum()

        def one(kind: FunctionKind, degree: int = 2, length: float = 1.0) -> Functions:
            return choose_functions(z, data.counts, kind=kind, degree=degree, length=length, seed=seed)

        if not z.shape[1] or self.functions == "constant":
            return [one("constant")]
        made: list[Functions] = []
        if self.functions in ("auto", "polynomial"):
            made += [one("polynomial", degree=k) for k in ([self.degree] if self.degree else _DEGREES)]
        if self.functions in ("auto", "smooth"):
            made += [one("smooth", length=k) for k in ([self.length] if self.length else _LENGTHS)]
        if self.functions == "splines":
            made.append(one("splines"))
        few = [one for one in made if one.parts.size * 2 <= n]
        return few or [one("constant")]

    def _fitted(
        self,
        functions: Functions,
        products: Products,
        sizes: Float[np.ndarray, "nodes"],
        given: Int[np.ndarray, "nodes"] | None,
    ) -> "_Fitted":
        parts, d = functions.parts, products.n_nodes
        residuals = residual_sums(products, parts, sizes)
        exact = self.search == "exact" or (self.search == "auto" and d <= _EXACT)
        tried: list[NodeOrder] = []
        for errors in ERRORS if self.errors == "auto" else (self.errors,):
            if given is not None:
                tried.append(known_order(residuals, given, products.total, errors))
            else:
                tried.append((exact_order if exact else greedy_order)(residuals, d, products.total, errors))
        # One variance rather than d, unless those of their own are worth what BIC asks for them
        needed = 0.5 * (d - 1) * np.log(products.total)
        order = tried[-1] if tried[-1].log_likelihood > tried[0].log_likelihood + needed else tried[0]
        nodes = [
            choose_parents(products, int(node), order.order[:k].tolist(), parts, least_support=self.least_support)
            for k, node in enumerate(order.order)
        ]
        return _Fitted(functions=functions, order=order, nodes=tuple(nodes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitted:
    """A network of some functions; nodes in their order."""

    functions: Functions
    order: NodeOrder
    nodes: tuple[NodeFit, ...]

    @property
    def evidence(self) -> float:
        return sum(one.evidence for one in self.nodes)


def _check_size(data: GraphData) -> None:
    if len(data) <= len(data.node_names):
        raise InputError(f"{len(data.node_names)} nodes need more samples than nodes; got {len(data)}")


def _positions(data: GraphData, order: tuple[str, ...] | None) -> Int[np.ndarray, "nodes"] | None:
    if order is None:
        return None
    if sorted(order) != sorted(data.node_names):
        raise InputError(f"order must name each of {', '.join(data.node_names)} once; got {', '.join(order)}")
    return np.array([data.node_names.index(name) for name in order], dtype=int)


def _unsure(names: tuple[str, ...], order: NodeOrder, nodes: tuple[NodeFit, ...]) -> tuple[str, ...]:
    """Say which edges could as well go the other way."""
    pairs = [(int(i), one.node) for one in nodes for i in one.parents]
    loose = [f"{names[i]} -> {names[j]}" for i, j in pairs if order.preference[i, j] < _SURE]
    if not loose:
        return ()
    return (f"The data do not tell the direction of {', '.join(loose)}: orders without it are nearly as likely.",)


def _network(
    best: _Fitted,
    scaling: Scaling,
    centre: Float[np.ndarray, "nodes"],
    scale: Float[np.ndarray, "nodes"],
    data: GraphData,
    record: GraphRecord,
) -> BayesianNetworkFit:
    """Put the nodes' regressions together, in the units of the input."""
    size, d = best.functions.parts.size, len(scale)
    level, weight = np.zeros((size, d)), np.zeros((size, d, d))
    variance = np.zeros(d)
    support, varying = np.full((d, d), np.nan), np.full((d, d), np.nan)
    parents: list[np.ndarray] = [np.zeros(0, dtype=int)] * d
    covariances: list[np.ndarray] = [np.zeros((0, 0))] * d
    for one in best.nodes:
        j = one.node
        units = scale[j] / np.concatenate([[1.0], scale[one.parents]])
        mean = one.mean * units[:, None]
        level[:, j], weight[:, one.parents, j] = mean[0], mean[1:].T
        variance[j] = one.variance * scale[j] ** 2
        support[one.parents, j], varying[one.parents, j] = one.support, one.varying
        long = np.repeat(units, size)
        parents[j], covariances[j] = one.parents, one.covariance * np.outer(long, long)
    if best.order.errors == "equal":
        variance = _pooled(best.nodes, variance, float(data.counts.sum()))
    return BayesianNetworkFit(
        functions=best.functions,
        scaling=scaling,
        centre=centre,
        level=level,
        weight=weight,
        variance=variance,
        order=best.order.order,
        parents=tuple(parents),
        covariances=tuple(covariances),
        support=support,
        varying=varying,
        preference=best.order.preference,
        record=record,
    )


def _pooled(
    nodes: tuple[NodeFit, ...], variance: Float[np.ndarray, "nodes"], total: float
) -> Float[np.ndarray, "nodes"]:
    """Return the one error variance of all nodes, those with more degrees of freedom left counting more."""
    left = np.ones(len(variance))
    for one in nodes:
        left[one.node] = max(total - one.edf, 1.0)
    return np.full(len(variance), float(left @ variance / left.sum()))
