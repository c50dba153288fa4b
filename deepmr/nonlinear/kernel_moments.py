"""Equations of the maximum moment restriction: pairs of samples, weighted by a kernel of instruments and covariates."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deepmr.nonlinear.first_stage import blocks
from deepmr.nonlinear.kernel_solver import left_out, symmetric_inverse
from deepmr.nonlinear.kernel_tuning import Prepared

RATIOS = 10.0 ** np.arange(-3.0, 2.1, 0.5)  # penalties that are tried, in units of that of the regression


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedMoments:
    """Sums over pairs of samples, with k_ij the kernel of instruments and covariates.

    Attributes
    ----------
    columns, outcome : sums over samples of the kernel's columns times the response's, and times the outcome.
    gram, right : sums of w_i w_j k_ij f_i f_j' / n and of w_i w_j k_ij f_i y_j / n.
    n : samples.
    """

    columns: Float[np.ndarray, "features terms"]
    outcome: Float[np.ndarray, "features"]
    gram: Float[np.ndarray, "terms terms"]
    right: Float[np.ndarray, "terms"]
    n: int


def kernel_columns(prepared: Prepared, rows: slice) -> Float[np.ndarray, "samples features"]:
    """Return columns whose products are the kernel of instruments and covariates.

    Parameters
    ----------
    prepared : samples and columns.
    rows : a block of samples.
    """
    terms, sample = prepared.instruments, prepared.first
    return terms(sample.instruments[rows], sample.covariates[rows]) * np.sqrt(terms.variances)


def paired_moments(prepared: Prepared) -> PairedMoments:
    """Add up the equations over blocks of samples.

    Parameters
    ----------
    prepared : samples and columns.
    """
    n = len(prepared.first)
    columns = np.zeros((len(prepared.instruments.pairs), len(prepared.terms.pairs)))
    outcome = np.zeros(len(prepared.instruments.pairs))
    for rows in blocks(n):
        part = prepared.equations(rows)
        weighted = kernel_columns(prepared, rows) * part.weights[:, None]
        columns += weighted.T @ part.columns
        outcome += weighted.T @ part.outcome
    return PairedMoments(
        columns=columns, outcome=outcome, gram=columns.T @ columns / n, right=columns.T @ outcome / n, n=n
    )


def left_out_pairs(
    prepared: Prepared,
    paired: PairedMoments,
    ridge: Float[np.ndarray, "terms"],
    rows: slice,
    at: Float[np.ndarray, "samples terms"],
) -> Float[np.ndarray, "samples"]:
    """Return the value at a row of each sample of the response fitted without that sample and all its pairs.

    Parameters
    ----------
    prepared, paired : samples and sums over all of them.
    ridge : penalties.
    rows : samples that are left out, one by one.
    at : rows whose value is wanted.
    """
    part, features = prepared.equations(rows), kernel_columns(prepared, rows)
    weights = part.weights[:, None]
    inverse = symmetric_inverse(paired.gram + np.diag(ridge))
    instruments = features @ paired.columns / paired.n
    itself = (features**2).sum(axis=1, keepdims=True) * weights / paired.n  # its pair with itself, counted once
    return left_out(
        inverse,
        inverse @ paired.right,
        into=[weights * (instruments - itself * part.columns), weights * part.columns],
        out=[part.columns, instruments],
        right=[part.outcome, features @ paired.outcome / paired.n],
        at=at,
    )


def choose_penalty(
    prepared: Prepared, paired: PairedMoments, ridge: Float[np.ndarray, "terms"], *, n_tuning: int
) -> Float[np.ndarray, "terms"]:
    """Choose the size of the penalties by leave-one-out of the reduced form, the outcome on expected columns.

    Parameters
    ----------
    prepared, paired : samples and sums over all of them.
    ridge : penalties of the regression on the same columns, to be scaled.
    n_tuning : most samples that are left out, one by one.

    Notes
    -----
    Errors of the moments themselves say little: the kernel gives them little weight just where penalties differ.
    """
    rows = slice(0, min(paired.n, n_tuning))
    part = prepared.equations(rows)
    errors = []
    for ratio in RATIOS:
        without = left_out_pairs(prepared, paired, ratio * ridge, rows, part.instruments)
        errors.append(float(part.weights @ (part.outcome - without) ** 2))
    return float(RATIOS[int(np.argmin(errors))]) * ridge
