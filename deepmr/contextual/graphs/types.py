"""Graphs whose edges vary with context: what every method returns, and how a file can hold it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from deepmr.contexts import GraphData, record_lines
from deepmr.errors import InputError

__all__ = ["GraphData", "GraphFit", "GraphRecord", "GraphState", "check_nodes", "graph_record_from", "record_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphRecord:
    """What a graph was made of, and how well it does.

    Attributes
    ----------
    method : as in `contextual.graphs.METHODS`.
    options : every option of the method.
    seed : of everything random.
    n : samples.
    constant : names of contexts that did not vary, and are left out.
    measures : numbers by name.
    relevance : by context, how much edges change with it; empty where a method does not say.
    warnings : what a reader has to know, in sentences.
    """

    method: str
    options: Mapping[str, Any]
    seed: int
    n: int
    context_names: tuple[str, ...]
    node_names: tuple[str, ...]
    constant: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    relevance: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it as lines to read; `repr` has all of it."""
        with_context = ", ".join(self.context_names) or "no context"
        return record_lines(self, f"edges of {', '.join(self.node_names)}, varying with {with_context}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphState:
    """A graph as a file can hold it: `kind` names its class in `contextual.graphs.FITS`."""

    kind: str
    arrays: Mapping[str, np.ndarray]
    settings: Mapping[str, Any]
    record: GraphRecord


@runtime_checkable
class GraphFit(Protocol):
    """A fitted graph whose edges vary with context."""

    @property
    def record(self) -> GraphRecord:
        """What it was made of."""

    def graphs(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points nodes nodes"]:
        """Return the matrix of edges at each point.

        What an edge is, the method says: a correlation, a partial correlation, an entry of the precision matrix; of a
        Bayesian network, [i, j] is the weight of edge i -> j in x_j = sum_i w_ij x_i + e.
        """

    def log_likelihood(self, data: GraphData) -> Float[np.ndarray, "samples"]:
        """Return the log density of each sample's values given its context."""

    def state(self) -> GraphState:
        """Return all of it as arrays and plain values; `from_state` of its class takes them back."""


def record_of(
    data: GraphData,
    *,
    method: str,
    options: Mapping[str, Any],
    seed: int,
    constant: Sequence[str] = (),
    measures: Mapping[str, float] | None = None,
    relevance: Mapping[str, float] | None = None,
    warnings: Sequence[str] = (),
) -> GraphRecord:
    """Describe a graph fitted to these data.

    Parameters
    ----------
    data : of the fit.
    method, options, seed, constant, measures, relevance, warnings : as in `GraphRecord`.
    """
    return GraphRecord(
        method=method,
        options=dict(options),
        seed=seed,
        n=len(data),
        context_names=data.context_names,
        node_names=data.node_names,
        constant=tuple(constant),
        measures=dict(measures or {}),
        relevance=dict(relevance or {}),
        warnings=tuple(warnings),
    )


def graph_record_from(plain: Mapping[str, Any]) -> GraphRecord:
    """Make a record again from `dataclasses.asdict` of it, through a file or not: lists are tuples again.

    Parameters
    ----------
    plain : a value a field, others beside them.

    Raises
    ------
    KeyError
        When a field is missing.
    """
    values = {one.name: plain[one.name] for one in fields(GraphRecord)}
    values |= {name: tuple(values[name]) for name in ("context_names", "node_names", "constant", "warnings")}
    values |= {name: {k: float(v) for k, v in values[name].items()} for name in ("measures", "relevance")}
    values["options"] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["options"].items()}
    return GraphRecord(**values)


def check_nodes(data: GraphData, record: GraphRecord) -> None:
    """Refuse samples whose contexts or nodes are not those of a fit.

    Parameters
    ----------
    data : samples.
    record : of the fit.

    Raises
    ------
    InputError
        When names differ.
    """
    for what, given, known in (
        ("contexts", data.context_names, record.context_names),
        ("nodes", data.node_names, record.node_names),
    ):
        if given != known:
            raise InputError(f"{what} must be those of the fit ({', '.join(known)}); got {', '.join(given)}")
