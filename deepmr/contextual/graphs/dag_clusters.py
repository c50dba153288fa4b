"""Clusters of contexts with a Bayesian network each: what weights that vary smoothly have to beat."""

from dataclasses import asdict, dataclass

import numpy as np
from scipy.cluster.vq import kmeans2

from deepmr import checks
from deepmr.contextual.graphs.acyclicity import Acyclicity
from deepmr.contextual.graphs.bayesian import BayesianNetworkFit
from deepmr.contextual.graphs.continuous import ContinuousFit
from deepmr.contextual.graphs.functions import Clusters, Functions, choose_functions
from deepmr.contextual.graphs.notears import centre_of, check_penalties, continuous_network, fit_weights
from deepmr.contextual.graphs.types import GraphData
from deepmr.contextual.scaling import scale_contexts
from deepmr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNetworks:
    """One network a cluster of contexts, by continuous optimisation; a new context has that of the nearest cluster.

    Attributes
    ----------
    n_clusters : of contexts (k-means); no more than there are different contexts.
    acyclicity, l1, threshold : as of `notears`.
    """

    n_clusters: int = 10
    acyclicity: Acyclicity = "dagma"
    l1: float = 0.01
    threshold: float = 0.3

    def __post_init__(self) -> None:
        checks.at_least("n_clusters", self.n_clusters, 1)
        check_penalties(self.acyclicity, self.l1, self.threshold)

    def fit(self, data: GraphData, *, seed: int = 0) -> BayesianNetworkFit:
        """Fit the networks.

        Parameters
        ----------
        data : samples.
        seed : of the clusters.

        Raises
        ------
        InputError
            When a cluster has no more samples than there are nodes, or a node does not vary in it.
        """
        z = scale_contexts(data.as_context_data(outcomes=[0]))(data.contexts)
        known = np.unique(z, axis=0)
        many = min(self.n_clusters, len(known))
        centres = kmeans2(z, many, minit="++", seed=seed)[0] if many > 1 else z.mean(axis=0, keepdims=True)
        clusters = Clusters(centres=centres)
        own = clusters.nearest(z)
        found: list[ContinuousFit] = []
        for k in range(many):
            rows = data.take(own == k)
            if len(rows) <= len(data.node_names):
                raise InputError(
                    f"a cluster of contexts needs more samples than nodes ({len(data.node_names)}); cluster {k} of "
                    f"{many} has {len(rows)}: take fewer clusters"
                )
            one = choose_functions(z[own == k], rows.counts, kind="constant")
            centre = centre_of(data)
            found.append(fit_weights(rows, z[own == k], one, centre=centre, acyclicity=self.acyclicity, l1=self.l1))
        together = ContinuousFit(
            level=np.concatenate([one.level for one in found]),
            weight=np.concatenate([one.weight for one in found]),
            cycles=float(np.mean([one.cycles for one in found])),
        )
        return continuous_network(
            data,
            Functions(kind="clusters", basis=clusters),
            together,
            threshold=self.threshold,
            method="dag_clusters",
            options=asdict(self),
            seed=seed,
        )
