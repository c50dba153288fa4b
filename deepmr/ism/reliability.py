"""Calibration of the probabilities of a binary task: one temperature, or an isotonic map."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from deepmr import checks

N_BINS = 10
TEMPERATURES = (0.05, 20.0)  # outside, labels and predictions have nothing to do with each other or are separable


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How well predicted probabilities agree with what was observed.

    Attributes
    ----------
    method : which probabilities: as predicted, after the temperature, or after the isotonic map.
    ece : expected calibration error, the mean |observed - predicted| of the bins weighted by their size.
    brier : mean squared difference of probability and label.
    log_loss : mean negative log likelihood, natural logarithm.
    predicted, observed, n : mean probability, share of positives and size of each bin that is not empty.
    """

    method: Literal["before", "temperature", "isotonic"]
    ece: float
    brier: float
    log_loss: float
    predicted: Float[np.ndarray, "bins"]
    observed: Float[np.ndarray, "bins"]
    n: Int[np.ndarray, "bins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbabilityCalibration:
    """Calibration of one binary task.

    Attributes
    ----------
    n, n_positive : sequences with a known label, and those labelled 1.
    temperature : T of probability = sigmoid(logit / T); above 1 for an over-confident ensemble. Effects are divided by
        it when the calibration is used.
    probability, isotonic : the isotonic map from predicted to calibrated probability. For probabilities only: its flat
        steps give a logit no slope, so effects never use it.
    curves : reliability before, after the temperature and after the isotonic map; the latter two cross-fitted.
    """

    task: str
    n: int
    n_positive: int
    temperature: float
    probability: Float[np.ndarray, "grid"]
    isotonic: Float[np.ndarray, "grid"]
    curves: tuple[Reliability, ...]

    def __post_init__(self) -> None:
        checks.positive(f"temperature of task {self.task!r}", np.array([self.temperature]))


def fit_probability(
    task: str,
    logits: Float[np.ndarray, "loci"],
    labels: Float[np.ndarray, "loci"],
    fold: Int[np.ndarray, "loci"],
) -> ProbabilityCalibration:
    """Fit temperature and isotonic map of one task, and measure both on folds that they were not fitted to.

    Parameters
    ----------
    task : name of the task.
    logits : mean of the members' logits.
    labels : 0 or 1, both present.
    fold : number of the fold that each locus is in.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017) On calibration of modern neural networks. arXiv:1706.04599.
    Zadrozny, Elkan (2002) Transforming classifier scores into accurate multiclass probability estimates. KDD.
    doi:10.1145/775047.775151
    """
    before = expit(logits)
    tempered, mapped = np.empty_like(before), np.empty_like(before)
    for k in np.unique(fold):
        test, train = fold == k, fold != k
        tempered[test] = expit(logits[test] / fit_temperature(logits[train], labels[train]))
        mapped[test] = _isotonic(before[train], labels[train]).predict(before[test])
    grid = np.linspace(0, 1, 101)
    return ProbabilityCalibration(
        task=task,
        n=len(labels),
        n_positive=int(labels.sum()),
        temperature=fit_temperature(logits, labels),
        probability=grid,
        isotonic=_isotonic(before, labels).predict(grid),
        curves=(
            measure("before", before, labels),
            measure("temperature", tempered, labels),
            measure("isotonic", mapped, labels),
        ),
    )


def fit_temperature(logits: Float[np.ndarray, "loci"], labels: Float[np.ndarray, "loci"]) -> float:
    """Return the T between 0.05 and 20 that minimises the log loss of sigmoid(logits / T)."""
    signed = (2 * labels - 1) * logits

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signed / np.exp(log_temperature)).mean())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x))


def measure(
    method: Literal["before", "temperature", "isotonic"],
    probability: Float[np.ndarray, "loci"],
    labels: Float[np.ndarray, "loci"],
) -> Reliability:
    """Compare probabilities with labels, in ten bins of equal width and by proper scores."""
    bins = np.minimum((probability * N_BINS).astype(int), N_BINS - 1)
    n = np.bincount(bins, minlength=N_BINS)
    filled = n > 0
    predicted = np.bincount(bins, probability, N_BINS)[filled] / n[filled]
    observed = np.bincount(bins, labels, N_BINS)[filled] / n[filled]
    clipped = np.clip(probability, 1e-12, 1 - 1e-12)
    return Reliability(
        method=method,
        ece=float(np.abs(observed - predicted) @ n[filled] / len(labels)),
        brier=float(np.mean((probability - labels) ** 2)),
        log_loss=float(-np.mean(np.log(np.where(labels == 1, clipped, 1 - clipped)))),
        predicted=predicted,
        observed=observed,
        n=n[filled],
    )


def _isotonic(probability: Float[np.ndarray, "loci"], labels: Float[np.ndarray, "loci"]) -> IsotonicRegression:
    """Fit the map; kept off 0 and 1 by Laplace's rule, since no finite sample shows that an event is impossible."""
    edge = 1 / (len(labels) + 2)
    return IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(probability, labels)
