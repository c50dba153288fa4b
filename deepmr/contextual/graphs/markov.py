"""Markov networks that vary with context: precisions or partial correlations, of all pairs or of those that matter."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.contexts import GraphData
from deepmr.contextual.graphs.covariance import CovarianceChoice, Covariances, fit_covariances
from deepmr.contextual.graphs.moments import Moments, log_density, partial_correlations
from deepmr.contextual.graphs.selection import constrained_covariance, edge_tests, select_edges
from deepmr.contextual.graphs.types import GraphRecord, GraphState, check_nodes, record_of
from deepmr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkovNetwork:
    """The precision matrix of the nodes at each context, its diagonal included.

    Attributes
    ----------
    edges : partial correlations, or entries of the precision matrix.
    sparse : whether pairs without evidence of dependence at any context have no edge. Where few pairs depend on each
        other errors are far smaller; where all do a little, larger.
    fdr : of these: the expected share of false edges among those that stay.
    model, n_clusters, n_orders, n_folds : as in `CorrelationNetwork`.
    """

    edges: Literal["partial", "precision"] = "partial"
    sparse: bool = False
    fdr: float = 0.05
    model: CovarianceChoice = "varying"
    n_clusters: int | None = None
    n_orders: int = 4
    n_folds: int = 5

    def __post_init__(self) -> None:
        checks.one_of("edges", self.edges, ("partial", "precision"))
        checks.level(self.fdr)
        checks.at_least("n_clusters", self.n_clusters, 1)
        checks.at_least("n_orders", self.n_orders, 1)
        checks.at_least("n_folds", self.n_folds, 2)

    def fit(self, data: GraphData, *, seed: int = 0) -> "MarkovFit":
        """Fit precision matrices as functions of context.

        Parameters
        ----------
        data : samples.
        seed : of clusters, folds and orders.

        Raises
        ------
        InputError
            When nodes depend on each other or are constant, or samples are too few.
        """
        made = fit_covariances(
            data,
            model=self.model,
            n_clusters=self.n_clusters,
            n_orders=self.n_orders,
            n_folds=self.n_folds,
            seed=seed,
        )
        nodes = len(data.node_names)
        kept = np.ones((nodes, nodes), dtype=bool)
        if self.sparse:
            tests = edge_tests(data, made.covariances.scaling(data.contexts))
            kept = select_edges(tests.present, fdr=self.fdr)
        np.fill_diagonal(kept, False)
        n_edges, n_pairs = int(kept.sum()) // 2, nodes * (nodes - 1) // 2
        said = made.warnings
        if n_edges < n_pairs:
            said = (*said, f"{n_pairs - n_edges} of {n_pairs} pairs have no edge; intervals take that as given.")
        record = record_of(
            data,
            method="markov",
            options=asdict(self),
            seed=seed,
            constant=made.constant,
            measures={**made.measures, "n_edges": float(n_edges)},
            relevance=made.relevance,
            warnings=said,
        )
        return MarkovFit(covariances=made.covariances, kept=kept, partial=self.edges == "partial", record=record)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkovFit:
    """Precision matrices as functions of context.

    Attributes
    ----------
    covariances : what they are of, before edges were left out.
    kept : edges there are.
    partial : whether edges are partial correlations.
    record : what it was made of.
    """

    kind: ClassVar[str] = "markov"

    covariances: Covariances = field(repr=False)
    kept: Bool[np.ndarray, "nodes nodes"]
    partial: bool
    record: GraphRecord

    @property
    def bounded(self) -> bool:
        """Whether edges lie between -1 and 1."""
        return self.partial

    def _constrained(
        self, covariance: Float[np.ndarray, "points nodes nodes"]
    ) -> Float[np.ndarray, "points nodes nodes"]:
        if self.kept.sum() == self.kept.size - len(self.kept):
            return covariance
        return constrained_covariance(covariance, self.kept)

    def _edges(self, covariance: Float[np.ndarray, "points nodes nodes"]) -> Float[np.ndarray, "points nodes nodes"]:
        try:
            precision = np.linalg.inv(self._constrained(covariance))
        except np.linalg.LinAlgError as error:
            raise InputError(
                "edges cannot be told where covariances are singular in float64, as far beyond the contexts of the fit"
                ": see `outside`"
            ) from error
        precision[:, ~self.kept & ~np.eye(len(self.kept), dtype=bool)] = 0.0
        return partial_correlations(precision) if self.partial else precision

    def graphs(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points nodes nodes"]:
        """Return partial correlations, 1 on the diagonal, or the precision matrix at each point.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        return self._edges(self.covariances.moments(contexts).covariance)

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 500, seed: int = 0
    ) -> Float[np.ndarray, "draws points nodes nodes"]:
        """Draw edges jointly over points, from what the data leave open given which edges there are.

        Parameters
        ----------
        contexts : in the unit of the fit.
        n_draws : how many.
        seed : of the draws.
        """
        drawn = self.covariances.draws(contexts, n_draws=n_draws, seed=seed)
        return self._edges(drawn.reshape(-1, *drawn.shape[2:])).reshape(drawn.shape)

    def outside(self, contexts: Float[np.ndarray, "points contexts"]) -> Bool[np.ndarray, "points"]:
        """Return which points lie outside of the contexts of the fit.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        return self.covariances.outside(contexts)

    def log_likelihood(self, data: GraphData) -> Float[np.ndarray, "samples"]:
        """Return the log normal density of each sample's values given its context.

        Parameters
        ----------
        data : of the same nodes and contexts.
        """
        check_nodes(data, self.record)
        made = self.covariances.moments(data.contexts)
        return log_density(data.values, Moments(mean=made.mean, covariance=self._constrained(made.covariance)))

    def state(self) -> GraphState:
        """Return all of it as arrays and plain values."""
        arrays, settings = self.covariances.state()
        return GraphState(
            kind=self.kind,
            arrays={**arrays, "kept": self.kept},
            settings={**settings, "partial": self.partial},
            record=self.record,
        )

    @classmethod
    def from_state(cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: GraphRecord) -> "MarkovFit":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        return cls(
            covariances=Covariances.from_state(arrays, settings, record.context_names),
            kept=np.asarray(arrays["kept"], dtype=bool),
            partial=bool(settings["partial"]),
            record=record,
        )
