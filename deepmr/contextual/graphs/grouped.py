"""Sample means and covariances, of all samples or of clusters of contexts: what varying ones have to beat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist
from scipy.stats import invwishart
from sklearn.cluster import KMeans

from deepmr.contexts import GraphData
from deepmr.contextual.graphs.moments import Moments, correlations
from deepmr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedCovariance:
    """A multivariate normal distribution in each cluster of contexts; one cluster is the population.

    Attributes
    ----------
    centres : of the clusters, in standardised contexts.
    mean, covariance : of the nodes in each.
    counts : rows in each.
    """

    kind: ClassVar[str] = "grouped"

    centres: Float[np.ndarray, "clusters contexts"]
    mean: Float[np.ndarray, "clusters nodes"]
    covariance: Float[np.ndarray, "clusters nodes nodes"]
    counts: Float[np.ndarray, "clusters"]

    def _of(self, z: Float[np.ndarray, "points contexts"]) -> Int[np.ndarray, "points"]:
        return cdist(z, self.centres).argmin(axis=1) if len(self.centres) > 1 else np.zeros(len(z), dtype=int)

    def moments(self, z: Float[np.ndarray, "points contexts"]) -> Moments:
        """Return the moments of the nearest cluster to each point.

        Parameters
        ----------
        z : standardised contexts.
        """
        which = self._of(z)
        return Moments(mean=self.mean[which], covariance=self.covariance[which])

    def draws(
        self, z: Float[np.ndarray, "points contexts"], *, n_draws: int, seed: int
    ) -> Float[np.ndarray, "draws points nodes nodes"]:
        """Draw covariances from their posterior under Jeffreys' prior, an inverse Wishart distribution.

        Parameters
        ----------
        z : standardised contexts.
        n_draws : how many.
        seed : of the draws.
        """
        rng, nodes = np.random.default_rng(seed), self.mean.shape[1]
        drawn = [
            invwishart.rvs(df=max(count - 1, nodes), scale=(count - 1) * one, size=n_draws, random_state=rng)
            for count, one in zip(self.counts, self.covariance, strict=True)
        ]
        return np.stack(drawn).reshape(len(drawn), n_draws, nodes, nodes)[self._of(z)].swapaxes(0, 1)

    @property
    def edf(self) -> float:
        """Numbers estimated."""
        nodes = self.mean.shape[1]
        return float(len(self.centres) * (nodes + nodes * (nodes + 1) / 2))

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return it as arrays and plain values."""
        names = ("centres", "mean", "covariance", "counts")
        return {name: getattr(self, name) for name in names}, {}

    @classmethod
    def from_state(cls, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> "GroupedCovariance":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings : as they were.
        """
        del settings  # there are none
        return cls(**{name: arrays[name] for name in ("centres", "mean", "covariance", "counts")})


def fit_grouped(
    data: GraphData, z: Float[np.ndarray, "samples contexts"], *, n_clusters: int, seed: int
) -> GroupedCovariance:
    """Find clusters of contexts by k-means, and the sample mean and covariance in each.

    Parameters
    ----------
    data : samples.
    z : their contexts, standardised.
    n_clusters : how many; 1 for the population.
    seed : of the clusters.

    Raises
    ------
    InputError
        When a cluster has too few samples for a covariance matrix of full rank.
    """
    labels = np.zeros(len(data), dtype=int)
    if n_clusters > 1 and z.shape[1]:
        n_clusters = min(n_clusters, len(np.unique(z, axis=0)))
        labels = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(z, sample_weight=data.counts)
    found = np.unique(labels)
    nodes = len(data.node_names)
    centres, means, covariances, counts = [], [], [], []
    for label in found:
        rows = labels == label
        if rows.sum() < nodes + 1:
            raise InputError(
                f"a covariance of {nodes} nodes needs {nodes + 1} samples in each cluster; one of {n_clusters} has "
                f"{rows.sum()}"
            )
        weight = data.counts[rows]
        means.append(np.average(data.values[rows], axis=0, weights=weight))
        off = data.values[rows] - means[-1]
        covariances.append((off.T * weight) @ off / (weight.sum() - 1))
        centres.append(np.average(z[rows], axis=0, weights=weight))
        counts.append(float(weight.sum()))
    made = np.stack(covariances)
    own = np.diagonal(made, axis1=1, axis2=2)
    if own.min() <= 0 or np.linalg.eigvalsh(correlations(made)).min() < 1e-12:
        raise InputError("nodes must not depend on each other or be constant; in some cluster they do")
    return GroupedCovariance(centres=np.stack(centres), mean=np.stack(means), covariance=made, counts=np.array(counts))
