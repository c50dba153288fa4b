"""Contexts split into clusters by k-means, a regression in each, and how well these do on rows left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from deepmr.contexts import ContextData, measures_by_outcome
from deepmr.contextual.least_squares import Solved, solve
from deepmr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Models in clusters, and how well they do: the smaller `score` the better.

    Attributes
    ----------
    centres : standardised.
    solved : coefficients of each cluster, an outcome at a time.
    fallen : clusters that took the coefficients of the population.
    losses : of each outcome: mean squared error of rows left out, or the Akaike criterion.
    sizes : coefficients of each outcome in all.
    variances : of each outcome, 1 where it is binary.
    """

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
    ) -> "Split":
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
        what = "loo_mse" if "loo_mse" in self.solved[0][0].measures else "aic"
        each = [{what: loss, "edf": edf} for loss, edf in zip(self.losses, self.sizes, strict=True)]
        return {"n_clusters": float(len(self.centres)), **measures_by_outcome(names, each)}


def split(
    data: ContextData,
    z: Float[np.ndarray, "samples used"],
    number: int,
    whole: Sequence[Solved],
    *,
    n_init: int,
    seed: int,
) -> Split:
    """Find clusters and fit a model in each.

    Parameters
    ----------
    data : samples.
    z : their standardised contexts.
    number : of clusters.
    whole : coefficients of the population, of every outcome: those of a cluster that is too small.
    n_init, seed : of k-means.
    """
    centres = _means(z, data.counts, number, n_init=n_init, seed=seed)
    labels = nearest(z, centres)
    solved, fallen = [], []
    for k in range(len(centres)):
        rows = data.take(labels == k)
        try:
            own = solve_each(rows)
            # Without a row to spare there is no error variance, and errors of 0 would be claimed.
            few = data.se_outcome is None and rows.counts.sum() <= 1 + data.predictors.shape[1]
        except InputError:
            few, own = True, []
        solved.append(list(whole) if few else own)
        fallen.append(few)
    return Split.score_of(data, labels, centres, solved, np.array(fallen))


def _deviance(data: ContextData, labels: Int[np.ndarray, "samples"], solved: Sequence[Solved]) -> float:
    coefficient = np.stack([one.coefficient for one in solved])[labels]
    eta = (data.design * coefficient).sum(axis=1) + (0.0 if data.offset is None else data.offset[:, 0])
    return 2 * float(data.counts @ (np.logaddexp(0, eta) - data.outcomes[:, 0] * eta))


def solve_each(data: ContextData) -> list[Solved]:
    """Fit every outcome on the predictors alone.

    Parameters
    ----------
    data : samples.

    Raises
    ------
    InputError
        When one has no coefficients.
    """
    return [solve(data.pick_outcome(k)) for k in range(len(data.outcome_names))]


def _means(
    z: Float[np.ndarray, "samples used"],
    counts: Float[np.ndarray, "samples"],
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
