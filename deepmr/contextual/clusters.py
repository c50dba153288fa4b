"""Contexts in clusters, with coefficients of its own in each: what models that vary smoothly have to beat."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from deepmr import checks
from deepmr.contexts import Coefficients, ContextData, ContextRecord, ContextState, record_of
from deepmr.contextual.least_squares import Solved, solve, unmodelled
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
        whole = _solve_each(data)
        scaling = scale_contexts(data)
        flat, said = constant_contexts(data, scaling)
        z = scaling(data.contexts)
        tried = [self._split(data, z, scaling, k, whole, seed) for k in self._numbers(data, scaling)]
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

    def _split(
        self,
        data: ContextData,
        z: Float[np.ndarray, "samples used"],
        scaling: Scaling,
        number: int,
        whole: Sequence[Solved],
        seed: int,
    ) -> "_Split":
        """Fit a model in each of some clusters."""
        centres = _means(z, data.counts, scaling, number, n_init=self.n_init, seed=seed)
        labels = nearest(z, centres)
        solved, fallen = [], []
        for k in range(len(centres)):
            rows = data.take(labels == k)
            try:
                own = _solve_each(rows)
                # Without a row to spare there is no error variance, and errors of 0 would be claimed.
                few = data.se_outcome is None and rows.counts.sum() <= 1 + data.predictors.shape[1]
            except InputError:
                few, own = True, []
            solved.append(list(whole) if few else own)
            fallen.append(few)
        return _Split.score_of(data, labels, centres, solved, np.array(fallen))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """Models in clusters, and how well they do: the smaller `score` the better."""

    centres: Float[np.ndarray, "clusters used"]
    solved: list[list[Solved]]
    fallen: Bool[np.ndarray, "clusters"]
    losses: Float[np.ndarray, "outcomes"]
    sizes: Float[np.ndarray, "outcomes"]
    variances: Float[np.ndarray, "outcomes"]

    @classmethod
    def score_of(
        cls,
        data: ContextData,
        labels: Int[np.ndarray, "samples"],
        centres: Float[np.ndarray, "clusters used"],
        solved: list[list[Solved]],
        fallen: Bool[np.ndarray, "clusters"],
    ) -> "_Split":
        """Add up losses over clusters."""
        count = np.array([data.counts[labels == k].sum() for k in range(len(centres))])
        binary = data.outcome_type == "binary"
        losses, edf = [], []
        for j in range(len(data.outcome_names)):
            own = np.array(
                [float(part[j].coefficient.size) * (not fell) for part, fell in zip(solved, fallen, strict=True)]
            )
            edf.append(float(own.sum()) or float(solved[0][j].coefficient.size))
            if binary:
                losses.append(_deviance(data.pick_outcome(j), labels, [part[j] for part in solved]) + 2 * edf[-1])
            else:
                losses.append(float(count @ [part[j].measures["loo_mse"] for part in solved] / count.sum()))
        share = data.counts / data.counts.sum()
        spread = share @ (data.outcomes - share @ data.outcomes) ** 2
        variances = np.ones(len(losses)) if binary else np.where(spread > 0, spread, 1.0)
        return cls(
            centres=centres,
            solved=solved,
            fallen=fallen,
            losses=np.array(losses),
            sizes=np.array(edf),
            variances=variances,
        )

    @property
    def score(self) -> float:
        """What chooses the number of clusters: losses against the variance of each outcome."""
        return float((self.losses / self.variances).sum())

    def measures(self, names: tuple[str, ...]) -> dict[str, float]:
        """Return numbers by name."""
        made = {"n_clusters": float(len(self.centres))}
        what = "loo_mse" if "loo_mse" in self.solved[0][0].measures else "aic"
        for name, loss, edf in zip(names, self.losses, self.sizes, strict=True):
            suffix = "" if len(names) == 1 else f".{name}"
            made |= {f"{what}{suffix}": float(loss), f"edf{suffix}": float(edf)}
        return made


def _deviance(data: ContextData, labels: Int[np.ndarray, "samples"], solved: Sequence[Solved]) -> float:
    coefficient = np.stack([one.coefficient for one in solved])[labels]
    eta = (data.design * coefficient).sum(axis=1) + (0.0 if data.offset is None else data.offset[:, 0])
    return 2 * float(data.counts @ (np.logaddexp(0, eta) - data.outcomes[:, 0] * eta))


def _solve_each(data: ContextData) -> list[Solved]:
    return [solve(data.pick_outcome(k)) for k in range(len(data.outcome_names))]


def _means(
    z: Float[np.ndarray, "samples used"],
    counts: Float[np.ndarray, "samples"],
    scaling: Scaling,
    number: int,
    *,
    n_init: int,
    seed: int,
) -> Float[np.ndarray, "clusters used"]:
    """Return centres of clusters of the different contexts, each as heavy as its rows: their order does not matter."""
    if number == 1 or not z.shape[1]:
        return (counts @ z / counts.sum())[None]
    from sklearn.cluster import KMeans

    places, where = np.unique(z, axis=0, return_inverse=True)
    weights = np.bincount(where.ravel(), weights=counts, minlength=len(places))
    made = KMeans(n_clusters=number, n_init=n_init, random_state=seed).fit(places, sample_weight=weights)
    return np.asarray(made.cluster_centers_, dtype=float)


def nearest(
    z: Float[np.ndarray, "points used"], centres: Float[np.ndarray, "clusters used"]
) -> Int[np.ndarray, "points"]:
    """Return the cluster of each point: that of the nearest centre.

    Parameters
    ----------
    z : standardised contexts.
    centres : of the clusters.
    """
    if len(centres) == 1:
        return np.zeros(len(z), dtype=int)
    return np.asarray(cKDTree(centres).query(z)[1], dtype=int)


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

    centres: Float[np.ndarray, "clusters used"]
    coefficient: Float[np.ndarray, "clusters outcomes columns"]
    covariance: Float[np.ndarray, "clusters outcomes columns columns"]
    scaling: Scaling
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
        return Coefficients(
            beta=mean[:, :, 1:],
            mu=mean[:, :, 0],
            se_beta=se[:, :, 1:],
            se_mu=se[:, :, 0],
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
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
        drawn = rng.standard_normal((n_draws, *values.shape))
        return (self.coefficient + np.einsum("koij,dkoj->dkoi", root, drawn))[:, labels]

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
