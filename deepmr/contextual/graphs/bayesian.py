"""A Bayesian network whose weights are sums of functions of context: what every method of this kind returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from deepmr.contextual.graphs.dag import project
from deepmr.contextual.graphs.functions import Functions
from deepmr.contextual.graphs.types import GraphData, GraphRecord, GraphState, check_nodes
from deepmr.contextual.scaling import Scaling, check_contexts
from deepmr.errors import InputError

_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, slots=True, kw_only=True)
class BayesianNetworkFit:
    """x_j - centre_j = mu_j(c) + sum_i w_ij(c) (x_i - centre_i) + e_j, e_j normal.

    Attributes
    ----------
    functions : of context.
    scaling : of contexts.
    centre : of each node.
    level : coefficients of mu_j on each function.
    weight : coefficients of w_ij on each function, [function, i, j].
    variance : of the errors.
    order : of nodes, sources first, where the method has one for all contexts; else empty, and graphs are projected to
        graphs without a cycle one by one.
    parents, covariances : of each node, its parents and the covariance of the coefficients of its level and theirs,
        one after the other; none of them where the method has no errors. They are conditional on the order.
    support, varying : log Bayes factors of each edge against none and against a constant one; NaN where there are none.
    preference : [i, j] log likelihood lost by the best order that has j before i; NaN where it was not found.
    record : what it was made of.
    """

    kind: ClassVar[str] = "bayesian_network"

    functions: Functions = field(repr=False)
    scaling: Scaling = field(repr=False)
    centre: Float[np.ndarray, "nodes"]
    level: Float[np.ndarray, "functions nodes"]
    weight: Float[np.ndarray, "functions nodes nodes"]
    variance: Float[np.ndarray, "nodes"]
    order: Int[np.ndarray, "order"]
    parents: tuple[Int[np.ndarray, "_"], ...] = ()
    covariances: tuple[Float[np.ndarray, "_ _"], ...] = ()
    support: Float[np.ndarray, "nodes nodes"]
    varying: Float[np.ndarray, "nodes nodes"]
    preference: Float[np.ndarray, "nodes nodes"]
    record: GraphRecord

    def graphs(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points nodes nodes"]:
        """Return weights at contexts: [i, j] that of edge i -> j, without a cycle.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        made = np.einsum("pm,mij->pij", self._functions(contexts), self.weight)
        return made if len(self.order) else project(made).graphs

    def levels(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points nodes"]:
        """Return mu_j at contexts: what a node's mean is when its parents are at their centres, less its own centre.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        return self._functions(contexts) @ self.level

    def standard_errors(
        self, contexts: Float[np.ndarray, "points contexts"]
    ) -> Float[np.ndarray, "points nodes nodes"]:
        """Return standard errors of weights, 0 where there is no edge; they take the order and the edges as given.

        Parameters
        ----------
        contexts : in the unit of the fit.

        Raises
        ------
        InputError
            When the method has no errors.
        """
        functions = self._functions(contexts)
        size = functions.shape[1]
        made = np.zeros((len(contexts), len(self.centre), len(self.centre)))
        for j, (parents, covariance) in enumerate(zip(*self._with_errors(), strict=True)):
            for k, i in enumerate(parents):
                own = slice((k + 1) * size, (k + 2) * size)
                made[:, i, j] = np.sqrt(np.einsum("pm,mk,pk->p", functions, covariance[own, own], functions))
        return made

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 1000, seed: int = 0
    ) -> Float[np.ndarray, "draws points nodes nodes"]:
        """Draw weights jointly over contexts from what the data leave open, given the order and the edges.

        Parameters
        ----------
        contexts : in the unit of the fit.
        n_draws : how many.
        seed : of the draws.

        Raises
        ------
        InputError
            When the method has no errors.
        """
        functions, rng = self._functions(contexts), np.random.default_rng(seed)
        made = np.zeros((n_draws, len(contexts), len(self.centre), len(self.centre)))
        for j, (parents, covariance) in enumerate(zip(*self._with_errors(), strict=True)):
            values, vectors = np.linalg.eigh(covariance)
            root = vectors * np.sqrt(np.maximum(values, 0.0))
            moved = (rng.standard_normal((n_draws, len(root))) @ root.T).reshape(n_draws, -1, functions.shape[1])
            drawn = self.weight[:, parents, j].T + moved[:, 1:]
            made[:, :, parents, j] = np.einsum("pm,dkm->dpk", functions, drawn)
        return made

    def predict(self, data: GraphData) -> Float[np.ndarray, "samples nodes"]:
        """Return each node's mean given the values of its parents in the same sample.

        Parameters
        ----------
        data : samples.
        """
        check_nodes(data, self.record)
        off = np.einsum("nij,ni->nj", self.graphs(data.contexts), data.values - self.centre)
        return self.centre + self.levels(data.contexts) + off

    def log_likelihood(self, data: GraphData) -> Float[np.ndarray, "samples"]:
        """Return the log density of each sample's values given its context.

        Parameters
        ----------
        data : samples.

        Notes
        -----
        The density of a graph without a cycle is the product of the densities of nodes given their parents.
        """
        off = data.values - self.predict(data)
        return -0.5 * (off**2 / self.variance + np.log(self.variance) + _LOG_2PI).sum(axis=1)

    def state(self) -> GraphState:
        """Return all of it as arrays and plain values."""
        arrays = {**self.functions.arrays(), **self.scaling.arrays()}
        arrays |= {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"parents_{j}": one for j, one in enumerate(self.parents)}
        arrays |= {f"covariance_{j}": one for j, one in enumerate(self.covariances)}
        settings = {"functions": self.functions.kind, "errors": bool(self.parents)}
        return GraphState(kind=self.kind, arrays=arrays, settings=settings, record=self.record)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: GraphRecord
    ) -> "BayesianNetworkFit":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        nodes = range(len(record.node_names) if settings["errors"] else 0)
        return cls(
            functions=Functions.from_arrays(settings["functions"], arrays),
            scaling=Scaling.from_arrays(arrays),
            parents=tuple(arrays[f"parents_{j}"] for j in nodes),
            covariances=tuple(arrays[f"covariance_{j}"] for j in nodes),
            record=record,
            **{name: arrays[name] for name in _ARRAYS},
        )

    def _functions(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points functions"]:
        check_contexts(contexts, self.record.context_names)
        return self.functions(self.scaling(contexts))

    def _with_errors(self) -> tuple[tuple, tuple]:
        if not self.parents:
            raise InputError(f"method {self.record.method!r} has no standard errors; `ordered` has")
        return self.parents, self.covariances


_ARRAYS = ("centre", "level", "weight", "variance", "order", "support", "varying", "preference")
