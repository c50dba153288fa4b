"""Graphs whose edges vary with context: `GraphData` in, a `GraphFit` out.

Edges are correlations, entries of a precision matrix, or weights of a Bayesian network, as the method says. A method
is a frozen dataclass of its options with one method, `fit(data, *, seed=0)`, as in `contextual`.
"""

from collections.abc import Mapping
from typing import Any

from deepmr import checks, methods
from deepmr.contextual.graphs.types import GraphData, GraphFit, GraphRecord

METHODS = {
    "correlation": "deepmr.contextual.graphs.correlation:CorrelationNetwork",
    "markov": "deepmr.contextual.graphs.markov:MarkovNetwork",
    "ordered": "deepmr.contextual.graphs.ordered:OrderedNetwork",
    "notears": "deepmr.contextual.graphs.notears:Notears",
    "dag_clusters": "deepmr.contextual.graphs.dag_clusters:ClusterNetworks",
    "varying_dag": "deepmr.contextual.graphs.varying_dag:VaryingNetwork",
    "archetypes": "deepmr.contextual.graphs.archetypes:ArchetypeNetworks",
}

FITS = {
    "correlation": "deepmr.contextual.graphs.correlation:CorrelationFit",
    "markov": "deepmr.contextual.graphs.markov:MarkovFit",
    "bayesian_network": "deepmr.contextual.graphs.bayesian:BayesianNetworkFit",
}


def fit_graph(
    data: GraphData, *, method: str = "correlation", options: Mapping[str, Any] | None = None, seed: int = 0
) -> GraphFit:
    """Fit a graph of the nodes whose edges vary with context.

    Parameters
    ----------
    data : samples.
    method : as in `METHODS`.
    options : of the method, where other than its defaults.
    seed : of everything random.

    Raises
    ------
    InputError
        For a method, option or data that cannot be used.
    """
    checks.at_least("seed", seed, 0)
    return methods.make_method(method, METHODS, options).fit(data, seed=seed)


def graph_from_state(
    kind: str, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: GraphRecord
) -> GraphFit:
    """Make a fit again from what its `state` returned.

    Parameters
    ----------
    kind : as in `FITS`.
    arrays, settings, record : as in `GraphState`.
    """
    checks.one_of("kind of graph", kind, FITS)
    return methods.load(FITS[kind]).from_state(arrays, settings, record)
