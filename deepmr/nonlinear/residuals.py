"""What instruments and covariates leave of the exposure: the control of a control function."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear.basis import FEW, CovariateBasis, SplineBasis, fit_splines
from deepmr.nonlinear.first_stage import SCORE_FUNCTIONS, FirstStage, covariate_groups, fit_folds, predict_folds
from deepmr.nonlinear.moments import Contributions, left_over, remembered, summed_squares
from deepmr.nonlinear.smoothing import Group

Control = Literal["rank", "residual"]
_CURVED = 5  # up to so many instruments have splines of their own
_NOTHING = 1e-3  # share of the exposure's spread below which what is left of it counts as rounding
_SHRUNK = 2.0  # the same in samples: a ridge of one sample's worth leaves a sample's worth
_CONSTANT = 1e-9  # the same for a prediction
_STEP = 0.1  # standard deviations over which the slope of the control is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """The first stage as a control function uses it, of the samples of the second stage.

    Attributes
    ----------
    score : prediction of the exposure, each sample's from the others.
    residual : exposure minus that.
    control : the same as a variable of even spread: normal scores of its ranks, or itself.
    slope : derivative of the control with respect to the residual.
    columns : what the exposure was predicted by, of a block of samples.
    first_columns, first_residual : the same of the samples of the first stage.
    empty : whether instruments leave nothing of the exposure, so that there is nothing to control for.
    """

    score: Float[np.ndarray, "samples"]
    residual: Float[np.ndarray, "samples"]
    control: Float[np.ndarray, "samples"]
    slope: Float[np.ndarray, "samples"]
    columns: Contributions
    first_columns: Contributions
    first_residual: Float[np.ndarray, "others"]
    empty: bool


def fit_residuals(
    first: IVData, second: IVData, *, stage: FirstStage, covariates: CovariateBasis, control: Control
) -> Residuals:
    """Take the predicted part from the exposure, every sample's prediction from the others.

    Parameters
    ----------
    first, second : samples of the two stages, the same where there is one sample.
    stage : the first stage; its score is made into a prediction by splines of it, and of instruments if these are few.
    covariates : functions of the covariates.
    control : "rank" for normal scores of the residual's ranks, "residual" for itself.

    Notes
    -----
    Where the residual does not depend on instruments, every increasing function of it holds as much. Ranks bring a long
    tail in, where a spline with even knots would have few samples to each.

    Raises
    ------
    InputError
        When instruments say nothing of the exposure.
    """
    assert first.exposure is not None
    assert second.exposure is not None
    columns, groups = _predictors(first, stage.score, covariates)
    weights = first.scaled_weights
    of_first = remembered(lambda rows: columns(first, stage.score, rows), len(first))
    fit = fit_folds(
        of_first,
        first.exposure[:, None],
        folds=stage.folds,
        weights=weights,
        groups=groups,
    )
    score = predict_folds(fit, of_first, stage.folds, len(first))[:, 0]
    first_residual, of_second = first.exposure - score, of_first
    if second is not first:
        scores = stage.second_score
        assert scores is not None
        of_second = remembered(lambda rows: columns(second, scores, rows), len(second))
        score = predict_folds(fit, of_second, None, len(second))[:, 0]
    if np.std(score) <= _CONSTANT * np.std(second.exposure):
        raise InputError(
            f"a control function needs instruments that predict {first.exposure_name}; "
            f"these {len(first.instrument_names)} leave all of it unexplained"
        )
    residual = second.exposure - score
    found, slope = residual, np.ones(len(residual))
    if control == "rank":
        found, slope = _normal_scores(residual, second.scaled_weights)
    return Residuals(
        score=score,
        residual=residual,
        control=found,
        slope=slope,
        columns=of_second,
        first_columns=of_first,
        first_residual=first_residual,
        empty=bool(residual.std() <= (_NOTHING + _SHRUNK / len(first)) * second.exposure.std()),
    )


def residual_strength(data: IVData, residuals: Residuals, covariates: CovariateBasis) -> float:
    """Return the F statistic of the prediction given covariates; 0 where it points the wrong way.

    Parameters
    ----------
    data : samples of the second stage.
    residuals : the first stage.
    covariates : functions of the covariates.
    """
    assert data.exposure is not None
    weights = data.scaled_weights
    both = np.column_stack([residuals.score, data.exposure])
    score, seen = left_over(both, lambda rows: covariates(data.covariates[rows]), weights).T
    square = max(float(weights @ score**2), 1e-300)
    slope = float(weights @ (score * seen)) / square
    errors = weights * score * (seen - slope * score)
    meat = summed_squares(lambda rows: errors[rows, None], len(data), clusters=data.clusters)[0, 0]
    return max(slope, 0.0) ** 2 * square**2 / max(float(meat), 1e-300)


def _predictors(
    data: IVData, score: Float[np.ndarray, "samples"], covariates: CovariateBasis
) -> tuple[Callable[[IVData, Float[np.ndarray, "_"], slice], Float[np.ndarray, "_ columns"]], tuple[Group, ...]]:
    """Return a function that makes the columns that predict the exposure, and which of them shrink together."""
    splines = fit_splines(score, n_functions=SCORE_FUNCTIONS, order=2, weights=data.weights)
    bends: list[tuple[int, SplineBasis]] = []
    single = data.instruments.shape[1] == 1 and covariates.size == 1  # the score is the instrument itself
    if data.instruments.shape[1] <= _CURVED and not single:
        for k, column in enumerate(data.instruments.T):
            if np.ptp(column) > 0:
                few = len(np.unique(column)) <= FEW
                one = fit_splines(column, n_functions=SCORE_FUNCTIONS, order=2, weights=None if few else data.weights)
                bends.append((k, one))

    def columns(sample: IVData, scores: Float[np.ndarray, "_"], rows: slice) -> Float[np.ndarray, "_ columns"]:
        parts = [covariates(sample.covariates[rows]), splines(scores[rows])[:, 1:]]
        parts += [one(sample.instruments[rows, k])[:, 2:] for k, one in bends]
        return np.hstack(parts)

    groups, start = covariate_groups(covariates), covariates.size
    for one, skipped in [(splines, 1), *((one, 2) for _, one in bends)]:
        rough = one.roughness[skipped:]
        curved = np.flatnonzero(rough > 0)
        if len(curved):
            groups.append(Group(columns=start + curved, weights=rough[curved] / rough[curved].min()))
        start += len(rough)
    return columns, tuple(groups)


def _normal_scores(
    values: Float[np.ndarray, "samples"], weights: Float[np.ndarray, "samples"]
) -> tuple[Float[np.ndarray, "samples"], Float[np.ndarray, "samples"]]:
    """Return normal scores of ranks, each weighing as much as its sample, and their derivative."""
    ordered, inverse = np.unique(values, return_inverse=True)
    mass = np.bincount(inverse, weights=weights)
    levels = ndtri((np.cumsum(mass) - mass / 2) / mass.sum())
    step = _STEP * max(float(values.std()), 1e-300)
    ahead, behind = (np.interp(values + move, ordered, levels) for move in (step, -step))
    reached = np.minimum(values + step, ordered[-1]) - np.maximum(values - step, ordered[0])
    return levels[inverse], (ahead - behind) / np.maximum(reached, 1e-300)
