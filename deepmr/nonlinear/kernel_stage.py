"""The first stage of kernel estimators: functions of the exposure by kernel ridge regression on instruments and covariates."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh

from deepmr.nonlinear.first_stage import FoldedFit, blocks, predict_folds
from deepmr.nonlinear.kernel_sample import KernelSample
from deepmr.nonlinear.kernel_search import Blocks, climb
from deepmr.nonlinear.nystroem import KernelTerms, product_terms

_FREE = 1e-7  # penalty of what is not shrunk, so that one decomposition serves every penalty
_PENALTIES = 10.0 ** np.arange(-9.0, 1.1, 0.5)  # per sample, of a coefficient with prior variance 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What leave-one-out says of the penalty of a ridge regression.

    Attributes
    ----------
    penalty : per sample, with the smallest error.
    error : mean squared error of every sample predicted from the others, summed over outputs.
    """

    penalty: float
    error: float


def relative_penalty(terms: KernelTerms) -> Float[np.ndarray, "terms"]:
    """Return the relative penalty of every column: the reciprocal of its prior variance, next to nothing of straight lines.

    Parameters
    ----------
    terms : columns.
    """
    return np.where(terms.straight, _FREE, 1 / terms.variances)


def leave_one_out(
    design: Float[np.ndarray, "samples terms"],
    outputs: Float[np.ndarray, "samples outputs"],
    *,
    relative: Float[np.ndarray, "terms"],
    output_weights: Float[np.ndarray, "outputs"],
    weights: Float[np.ndarray, "samples"],
    penalties: Float[np.ndarray, "penalties"] = _PENALTIES,
) -> LeftOut:
    """Choose the penalty of a ridge regression with several outputs by leave-one-out, in closed form.

    Parameters
    ----------
    design : columns.
    outputs : what is regressed.
    relative : penalties of the columns, relative to each other.
    output_weights : of the outputs in the error.
    weights : of the samples, with mean 1.
    penalties : that are tried, per sample.

    Notes
    -----
    A sample predicted from the others errs by its residual / (1 - leverage), for every penalty after one decomposition.
    """
    n, scale = len(design), 1 / np.sqrt(relative)
    scaled = design * scale
    values, vectors = eigh(scaled.T @ (scaled * weights[:, None]) / n)
    scores = scaled @ vectors
    moments, squares = scores.T @ (outputs * weights[:, None]) / n, scores**2
    found = []
    for penalty in penalties:
        inverse = 1 / (np.maximum(values, 0) + penalty)
        leverage = weights * (squares @ inverse) / n
        left = (outputs - scores @ (inverse[:, None] * moments)) / (1 - leverage)[:, None]
        found.append(float(np.average(left**2, axis=0, weights=weights) @ output_weights))
    best = int(np.argmin(found))
    return LeftOut(penalty=float(penalties[best]), error=found[best])


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedStage:
    """Bandwidths and penalty of the first stage.

    Attributes
    ----------
    instruments, covariates : places of their bandwidths, as in `Blocks`.
    penalty : per sample.
    explained : share of the variance of the exposure's functions that is predicted, leaving one out.
    """

    instruments: tuple[int, ...]
    covariates: tuple[int, ...]
    penalty: float
    explained: float


def tune_stage(
    instruments: Blocks,
    covariates: Blocks,
    outputs: Float[np.ndarray, "samples outputs"],
    *,
    output_weights: Float[np.ndarray, "outputs"],
    weights: Float[np.ndarray, "samples"],
    n_terms: int,
    n_tries: int,
) -> TunedStage:
    """Choose bandwidths and penalty by leave-one-out.

    Parameters
    ----------
    instruments, covariates : blocks of functions, to be multiplied.
    outputs : functions of the exposure.
    output_weights : their prior variances: errors count as in the norm of the kernel's space.
    weights : of the samples.
    n_terms : most products.
    n_tries : most bandwidths that are looked at.
    """
    cut = instruments.dimensions
    seen: dict[tuple[int, ...], LeftOut] = {}

    def error(place: tuple[int, ...]) -> float:
        (main, of_main), (other, of_other) = instruments.at(place[:cut]), covariates.at(place[cut:])
        terms = product_terms(main, other, n_terms=n_terms)
        seen[place] = leave_one_out(
            terms.combine(of_main, of_other),
            outputs,
            relative=relative_penalty(terms),
            output_weights=output_weights,
            weights=weights,
        )
        return seen[place].error

    best = climb(error, cut + covariates.dimensions, n_tries=n_tries)
    mean = np.average(outputs, axis=0, weights=weights)
    total = float(np.average((outputs - mean) ** 2, axis=0, weights=weights) @ output_weights)
    return TunedStage(
        instruments=best[:cut],
        covariates=best[cut:],
        penalty=seen[best].penalty,
        explained=1 - seen[best].error / total,
    )


def columns_of(terms: KernelTerms, sample: KernelSample) -> Callable[[slice], Float[np.ndarray, "_ terms"]]:
    """Return a function that evaluates columns of instruments and covariates for a block of samples.

    Parameters
    ----------
    terms : the columns.
    sample : whose instruments and covariates they take.
    """
    return lambda rows: terms(sample.instruments[rows], sample.covariates[rows])


def expectations(
    first: KernelSample,
    second: KernelSample,
    outputs: Float[np.ndarray, "samples outputs"],
    *,
    terms: KernelTerms,
    penalty: float,
    folds: Int[np.ndarray, "samples"],
) -> tuple[Float[np.ndarray, "samples outputs"], Float[np.ndarray, "others outputs"] | None]:
    """Predict functions of the exposure for every sample from the fit without its fold.

    Parameters
    ----------
    first, second : samples of the two stages, the same where there is one.
    outputs : functions of the first sample's exposure.
    terms, penalty : of the regression.
    folds : of the first sample.

    Returns
    -------
    Of the first sample, and of the second where it is another one.
    """
    fit = _fit(columns_of(terms, first), outputs, relative_penalty(terms) * penalty, first.weights, folds)
    fitted = predict_folds(fit, columns_of(terms, first), folds, len(first))
    other = None if second is first else predict_folds(fit, columns_of(terms, second), None, len(second))
    return fitted, other


def _fit(
    design: Callable[[slice], Float[np.ndarray, "_ terms"]],
    outputs: Float[np.ndarray, "samples outputs"],
    penalty: Float[np.ndarray, "terms"],
    weights: Float[np.ndarray, "samples"],
    folds: Int[np.ndarray, "samples"],
) -> FoldedFit:
    n_folds, size = int(folds.max()) + 1, len(penalty)
    grams, moments = np.zeros((n_folds, size, size)), np.zeros((n_folds, size, outputs.shape[1]))
    counts = np.zeros(n_folds)
    for rows in blocks(len(outputs)):
        columns, fold = design(rows), folds[rows]
        for k in range(n_folds):
            mine = columns[fold == k]
            weighted = mine * weights[rows][fold == k, None]
            grams[k] += weighted.T @ mine
            moments[k] += weighted.T @ outputs[rows][fold == k]
            counts[k] += weights[rows][fold == k].sum()
    gram, moment, count = grams.sum(axis=0), moments.sum(axis=0), counts.sum()

    def solve(g: np.ndarray, m: np.ndarray, c: float) -> np.ndarray:
        return np.linalg.solve(g + c * np.diag(penalty), m)

    without = [solve(gram - g, moment - m, count - c) for g, m, c in zip(grams, moments, counts, strict=True)]
    return FoldedFit(whole=solve(gram, moment, count), without=np.array(without))
