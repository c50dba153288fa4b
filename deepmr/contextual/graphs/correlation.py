"""Networks of correlations that vary with context."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.contexts import GraphData
from deepmr.contextual.graphs.covariance import CovarianceChoice, Covariances, fit_covariances
from deepmr.contextual.graphs.moments import correlations, log_density
from deepmr.contextual.graphs.types import GraphRecord, GraphState, check_nodes, record_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationNetwork:
    """Correlations of every pair of nodes at each context, of a covariance that is positive definite everywhere.

    Attributes
    ----------
    model : of mean and covariance: smooth functions of context, clusters of contexts, the population, or that of these
        with the largest held-out likelihood.
    n_clusters : by held-out likelihood where None.
    n_orders : orders of the nodes that smooth covariances are averaged over.
    n_folds : of held-out likelihoods.
    """

    model: CovarianceChoice = "varying"
    n_clusters: int | None = None
    n_orders: int = 4
    n_folds: int = 5

    def __post_init__(self) -> None:
        checks.at_least("n_clusters", self.n_clusters, 1)
        checks.at_least("n_orders", self.n_orders, 1)
        checks.at_least("n_folds", self.n_folds, 2)

    def fit(self, data: GraphData, *, seed: int = 0) -> "CorrelationFit":
        """Fit correlations as functions of context.

        Parameters
        ----------
        data : samples.
        seed : of clusters, folds and orders.

        Raises
        ------
        InputError
            When nodes depend on each other or are constant, or samples are too few.
        """
        made = fit_covariances(data, **asdict(self), seed=seed)
        record = record_of(
            data,
            method="correlation",
            options=asdict(self),
            seed=seed,
            constant=made.constant,
            measures=made.measures,
            relevance=made.relevance,
            warnings=made.warnings,
        )
        return CorrelationFit(covariances=made.covariances, record=record)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationFit:
    """Correlations as functions of context.

    Attributes
    ----------
    covariances : what they are of.
    record : what it was made of.
    """

    kind: ClassVar[str] = "correlation"
    bounded: ClassVar[bool] = True  # edges lie between -1 and 1

    covariances: Covariances = field(repr=False)
    record: GraphRecord

    def graphs(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points nodes nodes"]:
        """Return correlations at each point, 1 on the diagonal.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        return correlations(self.covariances.moments(contexts).covariance)

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 500, seed: int = 0
    ) -> Float[np.ndarray, "draws points nodes nodes"]:
        """Draw correlations jointly over points, from what the data leave open.

        Parameters
        ----------
        contexts : in the unit of the fit.
        n_draws : how many.
        seed : of the draws.
        """
        return correlations(self.covariances.draws(contexts, n_draws=n_draws, seed=seed))

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
        return log_density(data.values, self.covariances.moments(data.contexts))

    def state(self) -> GraphState:
        """Return all of it as arrays and plain values."""
        arrays, settings = self.covariances.state()
        return GraphState(kind=self.kind, arrays=arrays, settings=settings, record=self.record)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: GraphRecord
    ) -> "CorrelationFit":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        return cls(covariances=Covariances.from_state(arrays, settings, record.context_names), record=record)
