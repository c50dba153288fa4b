"""Contexts in clusters, with coefficients of its own in each: what models that vary smoothly have to beat."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.contexts import Coefficients, ContextData, ContextRecord, ContextState, record_of
from deepmr.contextual.cluster_split import nearest, solve_each, split
from deepmr.contextual.columns import as_coefficients
from deepmr.contextual.least_squares import unmodelled
from deepmr.contextual.scaling import Scaling, check_contexts, constant_contexts, scale_contexts
from deepmr.errors import InputError

_PER_COEFFICIENT = 3  # rows a coefficient that a cluster must have on average, for its number to be tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """K-means of contexts, and a model of the whole population within each cluster.

    Attributes
    ----------
    n_clusters : how many; None to choose by leave-one-out, among 1 to `max_clusters`.
    max_clusters : most to try.
    n_init : starts of k-means.
    """

    n_clusters: int | None = None
    max_clusters: int = 15
    n_init: int = 10

    def __post_init__(self) -> None:
        for name in ("n_clusters", "max_clusters", "n_init"):
            checks.at_least(name, getattr(self, name), 1)

    def fit(self, data: ContextData, *, seed: int = 0) -> "ClustersFit":
        """Fit coefficients that are constant within clusters of contexts.

        Parameters
        ----------
        data : samples.
        seed : of the starts of k-means.

        Raises
        ------
        InputError
            When not even the whole population has coefficients.

        Notes
        -----
        Leave-one-out errors hold clusters fixed; of binary outcomes it is the Akaike criterion that chooses. A cluster
        whose rows do not determine coefficients takes those of the population.
        """
        whole = solve_each(data)
        scaling = scale_contexts(data)
        flat, said = constant_contexts(data, scaling)
        z = scaling(data.contexts)
        tried = [split(data, z, k, whole, n_init=self.n_init, seed=seed) for k in self._numbers(data, scaling)]
        best = tried[int(np.argmin([one.score for one in tried]))]
        small = [k for k in range(len(best.centres)) if best.fallen[k]]
        if small:
            several = f"{len(small)} of {len(best.centres)} clusters have" if len(small) > 1 else "One cluster has"
            said = (*said, f"{several} too few rows for coefficients of its own: those of the population are taken.")
        record = record_of(
            data,
            method="clusters",
            options=asdict(self),
            seed=seed,
            constant=flat,
            measures=best.measures(data.outcome_names),
            warnings=(*said, *unmodelled(data)),
        )
        return ClustersFit(
            centres=best.centres,
            coefficient=np.stack([[one.coefficient for one in part] for part in best.solved]),
            covariance=np.stack([[one.covariance for one in part] for part in best.solved]),
            scaling=scaling,
            record=record,
        )

    def _numbers(self, data: ContextData, scaling: Scaling) -> Sequence[int]:
        """Return the numbers of clusters to try."""
        places = max(len(scaling.known), 1)
        if self.n_clusters is not None:
            if self.n_clusters > places:
                raise InputError(f"{self.n_clusters} clusters need as many different contexts; there are {places}")
            return [self.n_clusters]
        room = int(data.counts.sum()) // (_PER_COEFFICIENT * (1 + data.predictors.shape[1]))
        return range(1, max(min(self.max_clusters, places, room), 1) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClustersFit:
    """Coefficients of the nearest centre.

    Attributes
    ----------
    centres : standardised.
    coefficient, covariance : of mu and beta in each cluster, an outcome at a time.
    scaling : of contexts.
    record : what it was made of.

    Notes
    -----
    Errors take clusters as given: that coefficients differ within one is not in them.
    """

    kind: ClassVar[str] = "clusters"

    centres: Float[np.ndarray, "clusters used"] = field(repr=False)
    coefficient: Float[np.ndarray, "clusters outcomes columns"] = field(repr=False)
    covariance: Float[np.ndarray, "clusters outcomes columns columns"] = field(repr=False)
    scaling: Scaling = field(repr=False)
    record: ContextRecord

    def labels(self, contexts: Float[np.ndarray, "points contexts"]) -> Int[np.ndarray, "points"]:
        """Return the cluster of each point.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        check_contexts(contexts, self.record.context_names)
        return nearest(self.scaling(contexts), self.centres)

    def coefficients(self, contexts: Float[np.ndarray, "points contexts"]) -> Coefficients:
        """Return the coefficients of each point's cluster.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        labels = self.labels(contexts)
        mean = self.coefficient[labels]
        se = np.sqrt(np.diagonal(self.covariance, axis1=2, axis2=3))[labels]
        return as_coefficients(
            mean,
            se,
            outside=self.scaling.outside(contexts),
        )

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 1000, seed: int = 0
    ) -> Float[np.ndarray, "draws points outcomes columns"]:
        """Draw coefficients of each cluster from their normal limit; its points share a draw.

        Parameters
        ----------
        contexts : in the unit of the fit.
        n_draws : how many.
        seed : of the draws.
        """
        labels, rng = self.labels(contexts), np.random.default_rng(seed)
        # Correlations rather than covariances: coefficients may be of any size next to each other.
        size = np.sqrt(np.diagonal(self.covariance, axis1=2, axis2=3))
        unit = np.where(size > 0, size, 1.0)
        values, vectors = np.linalg.eigh(self.covariance / unit[..., :, None] / unit[..., None, :])
        root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
        drawn = size * np.einsum("koij,dkoj->dkoi", root, rng.standard_normal((n_draws, *values.shape)))
        return (self.coefficient + drawn)[:, labels]

    def state(self) -> ContextState:
        """Return all of it as arrays and plain values."""
        arrays = {"centres": self.centres, "coefficient": self.coefficient, "covariance": self.covariance}
        return ContextState(kind=self.kind, arrays=arrays | self.scaling.arrays(), settings={}, record=self.record)

    @classmethod
    def from_state(cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: ContextRecord) -> "ClustersFit":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        named = {name: arrays[name] for name in ("centres", "coefficient", "covariance")}
        return cls(scaling=Scaling.from_arrays(arrays), record=record, **named)
