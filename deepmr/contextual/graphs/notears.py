"""Bayesian networks by continuous optimisation (NOTEARS, DAGMA), and what those of one and of many contexts share."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.contextual.graphs.acyclicity import Acyclicity
from deepmr.contextual.graphs.bayesian import BayesianNetworkFit
from deepmr.contextual.graphs.continuous import ContinuousFit, fit_continuous
from deepmr.contextual.graphs.dag import acyclic, project, topological_order
from deepmr.contextual.graphs.functions import Functions, choose_functions
from deepmr.contextual.graphs.products import make_products
from deepmr.contextual.graphs.types import GraphData, record_of
from deepmr.contextual.scaling import constant_contexts, scale_contexts

_POINTS = 50  # contexts at most, spread over those of the samples, where cycles count


@dataclass(frozen=True, slots=True, kw_only=True)
class Notears:
    """One network for every context, by continuous optimisation.

    Attributes
    ----------
    acyclicity : loss of cycles.
    l1 : penalty on the sum of sizes of weights, against half the mean squared error, in the units of the nodes.
    threshold : size below which a weight is set to 0.
    """

    acyclicity: Acyclicity = "dagma"
    l1: float = 0.01
    threshold: float = 0.3

    def __post_init__(self) -> None:
        check_penalties(self.acyclicity, self.l1, self.threshold)

    def fit(self, data: GraphData, *, seed: int = 0) -> BayesianNetworkFit:
        """Fit the network.

        Parameters
        ----------
        data : samples.
        seed : nothing here is random.

        Raises
        ------
        InputError
            When a node does not vary.

        Notes
        -----
        Squared error picks the right graph where error variances are equal in the units of the nodes; in other units it
        follows the order of the nodes' variances (Reisach, Seiler, Weichwald).

        References
        ----------
        Reisach AG, Seiler C, Weichwald S (2021), Beware of the simulated DAG, doi:10.48550/arXiv.2102.13647.
        """
        z = scale_contexts(data.as_context_data(outcomes=[0]))(data.contexts)
        functions = choose_functions(z, data.counts, kind="constant")
        found = fit_weights(data, z, functions, centre=centre_of(data), acyclicity=self.acyclicity, l1=self.l1)
        return continuous_network(
            data, functions, found, threshold=self.threshold, method="notears", options=asdict(self), seed=seed
        )


def check_penalties(acyclicity: str, l1: float, threshold: float) -> None:
    """Refuse options there are none of.

    Parameters
    ----------
    acyclicity, l1, threshold : as in `Notears`.
    """
    checks.one_of("acyclicity", acyclicity, get_args(Acyclicity))
    checks.at_least("l1", l1, 0)
    checks.at_least("threshold", threshold, 0)


def fit_weights(
    data: GraphData,
    z: Float[np.ndarray, "samples contexts"],
    functions: Functions,
    *,
    centre: Float[np.ndarray, "nodes"],
    acyclicity: Acyclicity,
    l1: float,
) -> ContinuousFit:
    """Find coefficients of weights on functions of context, from samples with these values taken off the nodes.

    Parameters
    ----------
    data : samples.
    z : standardised contexts.
    functions : of these.
    centre : of the nodes.
    acyclicity, l1 : as in `fit_continuous`.
    """
    points = spread_points(z)
    points = points if functions.parts.any() else points[:1]
    made = functions(z)
    return fit_continuous(
        make_products(data.values - centre, made, data.counts), functions(points), acyclicity=acyclicity, l1=l1
    )


def spread_points(z: Float[np.ndarray, "samples contexts"]) -> Float[np.ndarray, "points contexts"]:
    """Return some of the contexts, spread over the range of the first.

    Parameters
    ----------
    z : standardised contexts.
    """
    every = np.argsort(z[:, 0], kind="stable") if z.shape[1] else np.arange(len(z))
    return z[every[np.unique(np.linspace(0, len(z) - 1, _POINTS).astype(int))]]


def continuous_network(
    data: GraphData,
    functions: Functions,
    found: ContinuousFit,
    *,
    threshold: float,
    method: str,
    options: Mapping[str, Any],
    seed: int,
) -> BayesianNetworkFit:
    """Make a network of coefficients: weak edges go, and what is left of cycles.

    Parameters
    ----------
    data : samples of the fit.
    functions : of their standardised contexts.
    found : coefficients.
    threshold : size, in the root mean square over samples, below which an edge is dropped.
    method, options, seed : for the record.
    """
    context_data = data.as_context_data(outcomes=[0])
    scaling = scale_contexts(context_data)
    flat, said = constant_contexts(context_data, scaling)
    share = data.counts / data.counts.sum()
    at = functions(scaling(data.contexts))
    alone = functions.kind in ("constant", "clusters")  # each function is a graph of its own
    size = np.abs(found.weight)
    if not alone:
        size = np.sqrt(np.einsum("n,nij->ij", share, np.einsum("nm,mij->nij", at, found.weight) ** 2))
    weight = np.where(size >= max(threshold, 1e-12), found.weight, 0.0)
    if alone:
        weight = project(weight).graphs
    union = np.abs(weight).sum(axis=0)
    d = len(union)
    nan = np.full((d, d), np.nan)
    one_order = bool(acyclic(union[None])[0])
    record = record_of(
        data,
        method=method,
        options=options,
        seed=seed,
        constant=flat,
        measures={"n_edges": float((union > 0).sum()), "cycles": found.cycles},
        warnings=said,
    )
    fit = BayesianNetworkFit(
        functions=functions,
        scaling=scaling,
        centre=centre_of(data),
        level=found.level,
        weight=weight,
        variance=np.ones(d),
        order=topological_order(union) if one_order else np.zeros(0, dtype=int),
        support=nan,
        varying=nan,
        preference=nan,
        record=record,
    )
    residual = data.values - fit.predict(data)
    return replace(fit, variance=np.maximum(share @ residual**2, 1e-300))


def centre_of(data: GraphData) -> Float[np.ndarray, "nodes"]:
    """Return means of the nodes.

    Parameters
    ----------
    data : samples.
    """
    return data.counts @ data.values / data.counts.sum()
