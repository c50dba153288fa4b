"""Calibration of an ensemble on held-out sequences: whether its intervals hold what they promise, and corrections."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.anscombe import anscombe, anscombe_mean
from deepmr.errors import InputError
from deepmr.ism.coverage import IntervalCalibration, Noise, fit_intervals
from deepmr.ism.reliability import TEMPERATURES, ProbabilityCalibration, fit_probability
from deepmr.types import Sequences, Task

N_FOLDS = 5
FEWEST, FEW = 10, 50  # known targets: below the first a task is skipped, below the second a warning


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What held-out sequences say of an ensemble's uncertainty, task by task.

    Attributes
    ----------
    skipped : tasks that could not be calibrated, with the reason.
    warnings : what a reader of the numbers should know.
    n_members : members of the ensemble.
    loci, digests : names and `sequence_digests` of the sequences used, so that nobody analyses them afterwards.
    members : checksums of the members, so that nobody uses it for another ensemble; empty where unknown.
    """

    tasks: tuple[IntervalCalibration | ProbabilityCalibration, ...]
    n_members: int
    skipped: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    loci: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    members: tuple[str, ...] = ()

    def find(self, task: str) -> IntervalCalibration | ProbabilityCalibration | None:
        """Return the calibration of a task, or None where it has none."""
        return next((c for c in self.tasks if c.task == task), None)

    def temperature(self, task: str) -> float:
        """Return what effects of the task are divided by: 1 unless it is binary."""
        found = self.find(task)
        return found.temperature if isinstance(found, ProbabilityCalibration) else 1.0

    def se_factor(
        self, task: str, *, scaling: Literal["variance", "isotonic"] = "variance", level: float = 0.95, df: float
    ) -> float:
        """Return what standard errors of the task are multiplied by: 1 where it is binary or has no calibration."""
        found = self.find(task)
        if not isinstance(found, IntervalCalibration):
            return 1.0
        return found.isotonic_factor(level, df) if scaling == "isotonic" else float(np.sqrt(found.scale))


def sequence_digests(sequences: Sequences) -> tuple[str, ...]:
    """Return 16 hexadecimal digits for every locus that tell its bases from others, whatever its name."""
    return tuple(blake2b(row.tobytes(), digest_size=8).hexdigest() for row in sequences.codes)


def fit_calibration(
    predictions: Float[np.ndarray, "members loci tasks"],
    targets: Float[np.ndarray, "loci tasks"],
    *,
    tasks: Sequence[Task],
    counts: Collection[str] = (),
    noise: Mapping[str, Noise] | None = None,
    seed: int = 0,
) -> Calibration:
    """Measure how well an ensemble's intervals and probabilities hold on held-out sequences, and fit corrections.

    Parameters
    ----------
    predictions : what every member predicts, in the unit of each task's scale.
    targets : what was measured; NaN where unknown. Raw counts for `counts` and for tasks of scale log, 0 or 1 for
        tasks of scale logit.
    tasks : the last axis of predictions and targets.
    counts : tasks of scale identity that predict the Anscombe transform of counts.
    noise : known noise of the targets per task: "poisson" (default for counts), "none" (default else) or a variance
        in the unit of the prediction.
    seed : draws the folds for cross-fitting.

    Returns
    -------
    Calibration
        One entry a task, or the reason why it has none.

    Raises
    ------
    InputError
        With a single member, shapes that disagree, or targets that a task cannot have.

    Notes
    -----
    With the members' mean m, variance B (ddof 1) and the noise variance v, a target y has the residual r = y - m, whose
    variance the ensemble takes to be s^2 + v with s^2 = (1 + 1/K) B. Intervals are those of Student's t with
    (K - 1) ((s^2 + v) / s^2)^2 degrees of freedom (Satterthwaite): K - 1 without noise, nearly normal where noise
    rules.

    - Variance scaling: lambda = max(0, mean(r^2 - v)) / mean(s^2).
    - Isotonic: the share of |r| / sqrt(s^2 + v) below each quantile, a monotone map of levels. The residuals are
      two-sided, so the centre of an interval never moves.

    "poisson" takes for v the variance of the Anscombe transform at the predicted mean. What both corrections cannot see
    is in `docs/calibration.md`: they are fitted to levels of reference sequences, not to differences between a sequence
    and its mutant, and an error that all members share where there are no held-out sequences stays invisible.

    References
    ----------
    Kuleshov, Fenner, Ermon (2018) Accurate uncertainties for deep learning using calibrated regression.
    arXiv:1807.00263.
    """
    n_members, n_loci, _ = predictions.shape
    if n_members < 2:
        raise InputError("calibration needs the spread over members: at least 2 members; got 1")
    checks.shape("predictions", predictions, (n_members, n_loci, len(tasks)))
    checks.shape("targets", targets, (n_loci, len(tasks)))
    checks.finite("predictions", predictions)
    rng = np.random.default_rng(seed)
    fitted: list[IntervalCalibration | ProbabilityCalibration] = []
    skipped: dict[str, str] = {}
    warnings: list[str] = []
    for k, task in enumerate(tasks):
        kind: Literal["counts", "value"] = "counts" if task.scale == "log" or task.name in counts else "value"
        _check_targets(task, kind, targets[:, k])
        known = ~np.isnan(targets[:, k])
        y, members = targets[known, k], np.asarray(predictions[:, known, k], dtype=np.float64)
        reason = _unusable(task, y, members)
        if reason:
            skipped[task.name] = reason
            continue
        fold = rng.permutation(len(y)) % N_FOLDS
        if task.scale == "logit":
            fitted.append(fit_probability(task.name, members.mean(axis=0), y, fold))
        else:
            variance = (noise or {}).get(task.name, "poisson" if kind == "counts" else "none")
            members = anscombe_mean(np.exp(members)) if task.scale == "log" else members
            y = anscombe(y) if kind == "counts" else y
            fitted.append(fit_intervals(task.name, members, y, fold, kind=kind, noise=variance))
        warnings += _warnings(fitted[-1])
    return Calibration(tasks=tuple(fitted), n_members=n_members, skipped=skipped, warnings=tuple(warnings))


def _check_targets(task: Task, kind: Literal["counts", "value"], targets: Float[np.ndarray, "loci"]) -> None:
    known = np.where(np.isnan(targets), 0.0, targets)  # unknown ones pass, and rows keep their numbers
    if task.scale == "logit":
        wrong = np.flatnonzero((known != 0) & (known != 1))
        if wrong.size:
            raise InputError(
                f"targets of binary task {task.name!r} must be 0 or 1; {wrong.size} of {len(known)} is not, "
                f"first at row {wrong[0]}: {known[wrong[0]]:g}"
            )
    elif kind == "counts":
        checks.non_negative(f"counts of task {task.name!r}", known)
    else:
        checks.finite(f"targets of task {task.name!r}", known)


def _unusable(task: Task, y: Float[np.ndarray, "known"], members: Float[np.ndarray, "members known"]) -> str:
    """Say why a task cannot be calibrated; empty when it can."""
    if len(y) == 0:
        return "every target is unknown"
    if len(y) < FEWEST:
        return f"{len(y)} known targets; at least {FEWEST} needed"
    if task.scale == "logit":
        fewest = int(min(y.sum(), len(y) - y.sum()))
        if fewest < N_FOLDS:
            return f"{fewest} labels of the rarer class; at least {N_FOLDS} needed"
    elif not np.any(members.var(axis=0)):
        return "the members agree exactly on every sequence: there is no spread to scale"
    return ""


def _warnings(fitted: IntervalCalibration | ProbabilityCalibration) -> list[str]:
    found = []
    if fitted.n < FEW:
        found.append(f"task {fitted.task!r} has {fitted.n} known targets; below {FEW} a calibration is rough")
    if isinstance(fitted, IntervalCalibration):
        if fitted.raw_scale > 1 and fitted.raw_scale_se > fitted.raw_scale / 2:
            other = "is steadier"
            if fitted.noise != "none":
                other += ", but too small where residuals are mostly noise"
            found.append(
                f"task {fitted.task!r}: the variance factor {fitted.raw_scale:.3g} has a standard error of "
                f"{fitted.raw_scale_se:.2g}: a few large residuals decide it; the isotonic factor {other}"
            )
    else:
        low, high = TEMPERATURES
        if not 1.01 * low < fitted.temperature < 0.99 * high:
            found.append(
                f"task {fitted.task!r}: the temperature ran to its limit, {fitted.temperature:.3g}: the predictions "
                "separate the labels completely, or have nothing to do with them"
            )
    return found
