"""Samples as kernel estimators take them: a few instruments, or one score in place of many."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from deepmr.individual import IVData
from deepmr.nonlinear.basis import fit_splines
from deepmr.nonlinear.first_stage import fit_first_stage
from deepmr.nonlinear.sieve import covariate_basis

_RAW = 3  # most instruments that enter a kernel by themselves, rather than as a score
_SCORE_FUNCTIONS = 10  # of a covariate, in the score


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSample:
    """Arrays of one stage's samples.

    Attributes
    ----------
    instruments : themselves where they are few, else the score, predicted for every sample from others.
    covariates : no columns where there are none.
    exposure, outcome : or None where the stage's sample has none; outcomes less the mean of the second stage's, to a
        large one of which sums of squares would lose their digits.
    weights : of mean 1.
    clusters : or None.
    """

    instruments: Float[np.ndarray, "samples instruments"]
    covariates: Float[np.ndarray, "samples covariates"]
    exposure: Float[np.ndarray, "samples"] | None
    outcome: Float[np.ndarray, "samples"] | None
    weights: Float[np.ndarray, "samples"]
    clusters: Int[np.ndarray, "samples"] | None

    def __len__(self) -> int:
        return len(self.weights)

    def take(self, rows: Any) -> "KernelSample":
        """Return some of the samples."""

        def some(values: Any) -> Any:
            return None if values is None else values[rows]

        return KernelSample(
            instruments=self.instruments[rows],
            covariates=self.covariates[rows],
            exposure=some(self.exposure),
            outcome=some(self.outcome),
            weights=self.weights[rows],
            clusters=some(self.clusters),
        )


def outcome_level(second: IVData) -> float:
    """Return the mean outcome.

    Parameters
    ----------
    second : data of the second stage.
    """
    assert second.outcome is not None
    return float(np.average(second.outcome, weights=second.weights))


def kernel_samples(first: IVData, second: IVData, *, seed: int, n_folds: int) -> tuple[KernelSample, KernelSample]:
    """Return the samples of both stages, many instruments replaced by a cross-fitted score.

    Parameters
    ----------
    first, second : data of the two stages, the same where there is one sample.
    seed, n_folds : of the folds of the score.
    """
    level = outcome_level(second)
    samples = [
        KernelSample(
            instruments=one.instruments,
            covariates=one.covariates,
            exposure=one.exposure,
            outcome=None if one.outcome is None else one.outcome - level,
            weights=one.scaled_weights,
            clusters=one.clusters,
        )
        for one in ([first] if second is first else [first, second])
    ]
    if first.instruments.shape[1] > _RAW:
        assert first.exposure is not None
        stage = fit_first_stage(
            first,
            second,
            functions=fit_splines(first.exposure, n_functions=2),
            covariates=covariate_basis(second, n_functions=_SCORE_FUNCTIONS, products=False),
            seed=seed,
            n_folds=n_folds,
        )
        # of one sample, the score; the regression on it and all instruments again would tell samples of themselves
        one = [stage.score[:, None]] if stage.second is None else [stage.fitted[:, 1:2], stage.second[:, 1:2]]
        samples = [replace(sample, instruments=score) for sample, score in zip(samples, one, strict=True)]
    return samples[0], samples[-1]
