"""The first stage of kernel estimators: functions of the exposure by kernel ridge regression on instruments."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh

from deepmr.nonlinear.first_stage import FoldedFit, blocks, predict_folds
from deepmr.nonlinear.kernel_sample import KernelSample
from deepmr.nonlinear.kernel_search import Blocks, climb
from deepmr.nonlinear.nystroem import KernelTerms, product_terms

_FREE = 1e-7  # penalty of what is not shrunk, so that one decomposition serves every penalty
PENALTIES = 10.0 ** np.arange(-9.0, 1.1, 0.5)  # per sample, of a coefficient with prior variance 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What leave-one-out says of the penalties of a ridge regression.

    Attributes
    ----------
    penalties : per sample, of every output the one with the smallest error.
    errors : of every output, mean squared error of samples predicted from the others.
    """

    penalties: Float[np.ndarray, "outputs"]
    errors: Float[np.ndarray, "outputs"]


def relative_penalty(terms: KernelTerms) -> Float[np.ndarray, "terms"]:
    """Return the relative penalty of every column: one over its prior variance, next to nothing of straight lines.

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
    weights: Float[np.ndarray, "samples"],
    penalties: Float[np.ndarray, "penalties"] = PENALTIES,
) -> LeftOut:
    """Choose a penalty for each output of a ridge regression by leave-one-out, in closed form.

    Parameters
    ----------
    design : columns.
    outputs : what is regressed.
    relative : penalties of the columns, relative to each other.
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
        found.append(np.average(left**2, axis=0, weights=weights))
    errors = np.array(found)
    return LeftOut(penalties=penalties[errors.argmin(axis=0)], errors=errors.min(axis=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedStage:
    """Bandwidths of the first stage.

    Attributes
    ----------
    instruments, covariates : places of the bandwidths, as in `Blocks`.
    explained : share of the variance of the exposure that is predicted, leaving one out.
    """

    instruments: tuple[int, ...]
    covariates: tuple[int, ...]
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
    """Choose bandwidths by leave-one-out.

    Parameters
    ----------
    instruments, covariates : blocks of functions, to be multiplied.
    outputs : functions of the exposure, the first linear.
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
        design = terms.combine(of_main, of_other)
        seen[place] = leave_one_out(design, outputs, relative=relative_penalty(terms), weights=weights)
        return float(seen[place].errors @ output_weights)

    best = climb(error, (0,) * (cut + covariates.dimensions), n_tries=n_tries)
    exposure = outputs[:, 0] - np.average(outputs[:, 0], weights=weights)
    explained = 1 - seen[best].errors[0] / np.average(exposure**2, weights=weights)
    return TunedStage(instruments=best[:cut], covariates=best[cut:], explained=float(explained))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedRidge:
    """Ridge regression of any outputs on the same columns, with all samples and without each fold, at any penalty.

    Attributes
    ----------
    sample : instruments, covariates and weights.
    terms : columns.
    folds : of the samples.
    grams : of every fold.
    rotations, values : of all samples first, then without each fold: columns times the rotation have a diagonal Gram
        matrix, the values, in which penalties add the same to each.
    """

    sample: KernelSample
    terms: KernelTerms
    folds: Int[np.ndarray, "samples"]
    grams: Float[np.ndarray, "folds terms terms"]
    rotations: Float[np.ndarray, "fits terms terms"]
    values: Float[np.ndarray, "fits terms"]

    def design(self, rows: slice) -> Float[np.ndarray, "_ terms"]:
        """Return the columns of a block of samples."""
        return self.terms(self.sample.instruments[rows], self.sample.covariates[rows])

    def fit(self, outputs: Float[np.ndarray, "samples outputs"]) -> FoldedFit:
        """Regress outputs, each with the penalty whose error in the folds left out is smallest."""
        n_folds, size = len(self.grams), len(self.terms.pairs)
        moments, totals = np.zeros((n_folds, size, outputs.shape[1])), np.zeros((n_folds, outputs.shape[1]))
        for rows in blocks(len(outputs)):
            design = self.design(rows)
            for k in range(n_folds):
                mine = self.folds[rows] == k
                weighted = outputs[rows][mine] * self.sample.weights[rows][mine, None]
                moments[k] += design[mine].T @ weighted
                totals[k] += (weighted * outputs[rows][mine]).sum(axis=0)
        counts = np.bincount(self.folds, weights=self.sample.weights, minlength=n_folds)
        whole = moments.sum(axis=0)
        parts = [(whole, counts.sum()), *((whole - m, counts.sum() - c) for m, c in zip(moments, counts, strict=True))]
        rotated = [rotation.T @ m for rotation, (m, _) in zip(self.rotations, parts, strict=True)]

        def solve(k: int, penalties: Float[np.ndarray, "_"]) -> Float[np.ndarray, "terms outputs"]:
            inverse = 1 / (self.values[k][:, None] + penalties * parts[k][1])
            return self.rotations[k] @ (inverse * rotated[k])

        errors = np.zeros((len(PENALTIES), outputs.shape[1]))
        for j, penalty in enumerate(PENALTIES):
            for k in range(n_folds):
                b = solve(k + 1, np.array([penalty]))
                errors[j] += totals[k] - 2 * (b * moments[k]).sum(axis=0) + (b * (self.grams[k] @ b)).sum(axis=0)
        best = PENALTIES[errors.argmin(axis=0)]
        return FoldedFit(whole=solve(0, best), without=np.array([solve(k + 1, best) for k in range(n_folds)]))


def folded_ridge(sample: KernelSample, terms: KernelTerms, folds: Int[np.ndarray, "samples"]) -> FoldedRidge:
    """Decompose the Gram matrices of columns of instruments and covariates.

    Parameters
    ----------
    sample : of the first stage.
    terms : columns.
    folds : of the samples.
    """
    size, n_folds = len(terms.pairs), int(folds.max()) + 1
    grams = np.zeros((n_folds, size, size))
    for rows in blocks(len(sample)):
        design = terms(sample.instruments[rows], sample.covariates[rows])
        for k in range(n_folds):
            mine = design[folds[rows] == k]
            grams[k] += (mine * sample.weights[rows][folds[rows] == k, None]).T @ mine
    scale = 1 / np.sqrt(relative_penalty(terms))
    whole = grams.sum(axis=0)
    found = [eigh(gram * scale[:, None] * scale) for gram in (whole, *(whole - g for g in grams))]
    return FoldedRidge(
        sample=sample,
        terms=terms,
        folds=folds,
        grams=grams,
        rotations=np.array([scale[:, None] * vectors for _, vectors in found]),
        values=np.array([np.maximum(values, 0) for values, _ in found]),
    )


def expectations(
    ridge: FoldedRidge, outputs: Float[np.ndarray, "samples outputs"], second: KernelSample
) -> tuple[Float[np.ndarray, "samples outputs"], Float[np.ndarray, "others outputs"] | None]:
    """Predict functions of the exposure, the first of them the constant, of every sample from the other folds.

    Parameters
    ----------
    ridge : the regression.
    outputs : functions of the first sample's exposure.
    second : sample of the second stage, the same as the first where there is one.

    Returns
    -------
    Of the first sample, and of the second where it is another one.
    """
    fit = ridge.fit(outputs)
    fitted = predict_folds(fit, ridge.design, ridge.folds, len(outputs))
    fitted[:, 0] = 1.0
    if second is ridge.sample:
        return fitted, None

    def design(rows: slice) -> Float[np.ndarray, "_ terms"]:
        return ridge.terms(second.instruments[rows], second.covariates[rows])

    other = predict_folds(fit, design, None, len(second))
    other[:, 0] = 1.0
    return fitted, other
