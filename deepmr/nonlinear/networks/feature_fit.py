"""The response that is linear in deep features, fitted to all samples when the features no longer learn."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int

from deepmr.individual import IVData
from deepmr.nonlinear.feature_solve import Columns, SolvedFeatures, solve_features
from deepmr.nonlinear.first_stage import blocks, fit_folds, make_folds, predict_folds
from deepmr.nonlinear.networks.feature_response import Basis, covariate_functions, make_basis, products
from deepmr.nonlinear.networks.feature_samples import Deal, Frame
from deepmr.nonlinear.networks.feature_tensors import Sample, instrument_features
from deepmr.nonlinear.networks.feature_training import Features
from deepmr.nonlinear.smoothing import Group
from deepmr.perceptrons.stack import Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvedResponse:
    """The response, features and all; see `FeatureResponse`."""

    exposure: Basis
    covariates: Basis | None
    pairs: Int[np.ndarray, "terms two"]
    solved: SolvedFeatures
    mean_functions: Float[np.ndarray, "functions"]


def solve_response(
    first: IVData, second: IVData, *, frame: Frame, deal: Deal, samples: tuple[Sample, Sample], features: Features
) -> SolvedResponse:
    """Fit the response to all samples in features that no longer learn.

    Parameters
    ----------
    first, second : samples of the two stages, the same where there is one.
    frame, deal, samples : that the features were learned with.
    features : the networks.
    """
    assert first.exposure is not None
    assert second.outcome is not None
    exposure, curved = make_basis(
        features.exposure,
        first.exposure[:, None],
        centre=np.array([frame.exposure_centre]),
        spread=np.array([frame.exposure_spread]),
        weights=first.scaled_weights,
    )
    covariates = None
    if features.covariate is not None:
        covariates, _ = make_basis(
            features.covariate,
            second.covariates,
            centre=frame.covariate_centre,
            spread=frame.covariate_spread,
            weights=second.scaled_weights,
        )
    pairs, groups = choose_pairs(curved, second.covariates.shape[1], covariates)
    seen = exposure(first.exposure[:, None])
    expected = expected_functions(features, samples, deal, first, seen)

    def columns(data: IVData, of_exposure: np.ndarray) -> np.ndarray:
        with_one = np.hstack([np.ones((len(data), 1)), of_exposure])
        return products(with_one, covariate_functions(covariates, data.covariates), pairs)

    def parts(data: IVData, of: np.ndarray, own: np.ndarray | None) -> Columns:
        return Columns(
            expected=columns(data, of),
            seen=None if own is None else columns(data, own),
            weights=data.scaled_weights,
            clusters=data.clusters,
        )

    level = np.average(second.outcome, weights=second.weights)
    outcome = second.outcome - level  # sums of squares lose their digits to a large mean
    if first is second:
        solved = solve_features(parts(first, expected[0], seen), outcome, groups)
    else:
        both = parts(second, expected[1], None), parts(first, expected[0], seen)
        solved = solve_features(both[0], outcome, groups, first=both[1])
    coefficients = solved.coefficients.copy()
    coefficients[0] += level
    functions = covariate_functions(covariates, second.covariates)
    return SolvedResponse(
        exposure=exposure,
        covariates=covariates,
        pairs=pairs,
        solved=replace(solved, coefficients=coefficients),
        mean_functions=np.average(functions, axis=0, weights=second.scaled_weights),
    )


def choose_pairs(
    curved: Float[np.ndarray, "features"], n_covariates: int, covariates: Basis | None
) -> tuple[Int[np.ndarray, "terms two"], list[Group]]:
    """Choose which functions are multiplied, and which coefficients shrink together.

    Parameters
    ----------
    curved : of the learned features of the exposure, relative.
    n_covariates : how many.
    covariates : their functions, or None.
    """
    linear = list(range(1, 1 + n_covariates))
    learned = list(
        range(1 + n_covariates, 1 + n_covariates + (0 if covariates is None else covariates.transform.shape[1]))
    )
    features = list(range(2, 2 + len(curved)))
    parts: list[tuple[int, int]] = [(0, 0), (1, 0), *((0, c) for c in linear)]
    groups = []
    for of_exposure, of_covariates in (
        (features, [0]),
        ([0], learned),
        ([1], linear),
        ([1], learned),
        (features, learned),
    ):
        added = [(e, c) for e in of_exposure for c in of_covariates]
        if added:
            weights = np.array([curved[e - 2] if e > 1 else 1.0 for e, _ in added])
            groups.append(Group(columns=len(parts) + np.arange(len(added)), weights=weights))
            parts += added
    return np.array(parts), groups


def expected_functions(
    features: Features,
    samples: tuple[Sample, Sample],
    deal: Deal,
    first: IVData,
    seen: Float[np.ndarray, "samples functions"],
) -> list[np.ndarray]:
    """Return what instruments and covariates say of functions of the exposure, in the samples of both stages.

    Parameters
    ----------
    features : the networks.
    samples, deal : that they were learned with.
    first : the sample of the first stage.
    seen : its functions.

    Notes
    -----
    In one sample, features of instruments are used in the fold that they were not learned from, and the regression on
    them is fitted there, each sample's by the others: the samples that networks learned from would have it rely on
    features that fit noise.
    """
    if deal.folds is None:
        designs = [_design(features.instrument, sample, 0) for sample in samples]
        folds = make_folds(len(first), seed=0, clusters=first.clusters)
        fit = fit_folds(designs[0].__getitem__, seen, folds=folds, weights=first.scaled_weights)
        return [predict_folds(fit, designs[k].__getitem__, None, len(designs[k])) for k in (0, 1)]
    found = np.empty((len(first), seen.shape[1]))
    for k in range(len(features.instrument)):
        mine = np.flatnonzero(deal.folds == k)
        own = first.take(mine)
        design = _design(features.instrument.take(torch.tensor([k])), samples[0], k)[mine]
        folds = make_folds(len(own), seed=k, clusters=own.clusters)
        fit = fit_folds(design.__getitem__, seen[mine], folds=folds, weights=own.scaled_weights)
        found[mine] = predict_folds(fit, design.__getitem__, folds, len(own))
    return [found]


def _design(member: Stack, sample: Sample, k: int) -> Float[np.ndarray, "rows columns"]:
    """Return 1, score, covariates and features of one member, the last centred."""
    parts = []
    alone = Sample(sample.instruments, sample.covariates, sample.scores[k : k + 1], sample.exposure, sample.outcome)
    with torch.no_grad():
        for rows in blocks(len(sample)):
            index = torch.arange(rows.start, rows.stop)[None]
            parts.append(instrument_features(member, alone, index)[0].numpy().astype(float))
    one = np.ones((len(sample), 1))
    return np.hstack([one, sample.scores[k].numpy()[:, None], sample.covariates.numpy(), np.vstack(parts)])
