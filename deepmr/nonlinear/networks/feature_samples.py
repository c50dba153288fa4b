"""What deep features are learned from: standardised samples, dealt to the stages of every member."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear.conformal import hold_out
from deepmr.nonlinear.first_stage import FoldedFit, blocks, fit_folds, make_folds
from deepmr.nonlinear.networks.feature_tensors import Roles, Rows, Sample
from deepmr.nonlinear.smoothing import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Centres and spreads that samples are standardised by."""

    instrument_centre: Float[np.ndarray, "instruments"]
    instrument_spread: Float[np.ndarray, "instruments"]
    covariate_centre: Float[np.ndarray, "covariates"]
    covariate_spread: Float[np.ndarray, "covariates"]
    exposure_centre: float
    exposure_spread: float
    outcome_centre: float
    outcome_spread: float


def make_frame(first: IVData, second: IVData) -> Frame:
    """Take the means and standard deviations of all variables.

    Parameters
    ----------
    first, second : samples of the two stages.
    """
    assert first.exposure is not None
    assert second.outcome is not None
    for name, column in zip(second.covariate_names, second.covariates.T, strict=True):
        if np.ptp(column) == 0:
            raise InputError(f"covariate {name} must vary; all {len(column)} samples have {column[0]:g}")
    spread = first.instruments.std(axis=0)
    return Frame(
        instrument_centre=first.instruments.mean(axis=0),
        instrument_spread=np.where(spread > 0, spread, 1.0),
        covariate_centre=second.covariates.mean(axis=0),
        covariate_spread=second.covariates.std(axis=0),
        exposure_centre=float(first.exposure.mean()),
        exposure_spread=float(first.exposure.std()),
        outcome_centre=float(second.outcome.mean()),
        outcome_spread=float(second.outcome.std()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """Who learns from which samples.

    Attributes
    ----------
    folds : of the first sample, a member a fold, which does not learn from it; None where there are two samples.
    roles : the samples of every member.
    """

    folds: Int[np.ndarray, "samples"] | None
    roles: Roles


def make_deal(first: IVData, second: IVData, *, share: float, seed: int) -> Deal:
    """Deal samples to the stages of each member and to validation, whole clusters where there are any.

    Parameters
    ----------
    first, second : samples of the two stages; the same for one sample, which then is dealt to two halves.
    share : of the second stage's samples, for validation.
    seed : of the deal.
    """
    held = hold_out(second, share=share, seed=seed)
    if first is second:
        folds = make_folds(len(first), seed=seed + 1, n_folds=2, clusters=first.clusters)
        of = [[(folds != k) & ~held for k in (0, 1)], [(folds == k) & ~held for k in (0, 1)]]
        of.append([(folds == k) & held for k in (0, 1)])
    else:
        folds, of = None, [[np.ones(len(first), dtype=bool)], [~held], [held]]
    if not all(chosen.any() for chosen in of[2]):
        raise InputError(f"validation needs more samples than a share of {share:g} of {len(second)}")
    roles = Roles(_rows(first, of[0]), _rows(second, of[1]), _rows(second, of[2]))
    return Deal(folds=folds, roles=roles)


def _rows(data: IVData, chosen: Sequence[np.ndarray]) -> Rows:
    parts, weights = [np.flatnonzero(one) for one in chosen], data.scaled_weights
    longest = max(len(one) for one in parts)
    index = np.array([np.resize(one, longest) for one in parts])
    real = np.array([np.arange(longest) < len(one) for one in parts])
    return Rows(torch.from_numpy(index), torch.from_numpy((weights[index] * real).astype(np.float32)))


def standardised_samples(first: IVData, second: IVData, frame: Frame, deal: Deal) -> tuple[Sample, Sample]:
    """Return tensors of the samples of both stages, standardised.

    Parameters
    ----------
    first, second : samples of the two stages, the same where there is one.
    frame : what they are standardised by.
    deal : whose folds the scores of members are apart from.
    """
    assert first.exposure is not None
    folds = np.arange(len(first)) % 2 if deal.folds is None else deal.folds
    fit = fit_folds(
        lambda rows: _score_columns(first, frame, rows),
        ((first.exposure - frame.exposure_centre) / frame.exposure_spread)[:, None],
        folds=folds,
        weights=first.scaled_weights,
        groups=_score_groups(first),
    )
    one = _sample(first, frame, fit, whole=deal.folds is None)
    return one, one if second is first else _sample(second, frame, fit, whole=True)


def _score_columns(data: IVData, frame: Frame, rows: slice) -> Float[np.ndarray, "_ columns"]:
    covariates = (data.covariates[rows] - frame.covariate_centre) / frame.covariate_spread
    instruments = (data.instruments[rows] - frame.instrument_centre) / frame.instrument_spread
    return np.hstack([np.ones((len(instruments), 1)), covariates, instruments])


def _score_groups(data: IVData) -> tuple[Group, ...]:
    n_free, n_instruments = 1 + data.covariates.shape[1], data.instruments.shape[1]
    if n_instruments == 1:
        return ()
    return (Group(columns=n_free + np.arange(n_instruments), weights=np.ones(n_instruments)),)


def _sample(data: IVData, frame: Frame, fit: FoldedFit, *, whole: bool) -> Sample:
    coefficients = fit.whole if whole else fit.without[:, :, 0].T
    scores = np.empty((coefficients.shape[1], len(data)))
    for rows in blocks(len(data)):
        scores[:, rows] = (_score_columns(data, frame, rows) @ coefficients).T
    scores /= np.maximum(scores.std(axis=1, keepdims=True), 1e-12)

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    nothing = np.empty(0)
    exposure, outcome = (nothing if one is None else one for one in (data.exposure, data.outcome))
    return Sample(
        instruments=tensor((data.instruments - frame.instrument_centre) / frame.instrument_spread),
        covariates=tensor((data.covariates - frame.covariate_centre) / frame.covariate_spread),
        scores=tensor(scores),
        exposure=tensor((exposure - frame.exposure_centre) / frame.exposure_spread),
        outcome=tensor((outcome - frame.outcome_centre) / frame.outcome_spread),
    )
