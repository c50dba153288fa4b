"""Equations of the maximum moment restriction: pairs of samples, weighted by a kernel of instruments and covariates."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.linalg import LinAlgError

from deepmr.nonlinear.first_stage import blocks
from deepmr.nonlinear.kernel_solver import left_out, symmetric_inverse
from deepmr.nonlinear.kernel_tuning import Prepared

RATIOS = 10.0 ** np.arange(-3.0, 2.1, 0.5)  # penalties that are tried, in units of that of the regression


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedMoments:
    """Sums over pairs of different samples, divided by the number of samples.

    Attributes
    ----------
    feature_columns, feature_outcome : sums over samples of the kernel's columns times the response's, times the outcome.
    gram, right : sums of w_i w_j k_ij f_i f_j' and of w_i w_j k_ij f_i y_j.
    unit : size of the Gram matrix relative to that of the regression, by which penalties are scaled.
    n : samples.
    """

    feature_columns: Float[np.ndarray, "features terms"]
    feature_outcome: Float[np.ndarray, "features"]
    gram: Float[np.ndarray, "terms terms"]
    right: Float[np.ndarray, "terms"]
    unit: float
    n: int

    def instruments(self, prepared: Prepared, rows: slice) -> Float[np.ndarray, "samples terms"]:
        """Return the sum over all other samples j of w_j k_ij f_j, divided by the number of samples."""
        part = prepared.equations(rows)
        features = _features(prepared, rows)
        own = (features**2).sum(axis=1) * part.weights
        return (features @ self.feature_columns - own[:, None] * part.columns) / self.n

    def others_outcome(self, prepared: Prepared, rows: slice) -> Float[np.ndarray, "samples"]:
        """Return the same sum with outcomes in place of columns."""
        part = prepared.equations(rows)
        features = _features(prepared, rows)
        own = (features**2).sum(axis=1) * part.weights
        return (features @ self.feature_outcome - own * part.outcome) / self.n


def _features(prepared: Prepared, rows: slice) -> Float[np.ndarray, "samples features"]:
    """Return columns whose products are the kernel of instruments and covariates."""
    terms, sample = prepared.instruments, prepared.first
    return terms(sample.instruments[rows], sample.covariates[rows]) * np.sqrt(terms.variances)


def paired_moments(prepared: Prepared) -> PairedMoments:
    """Add up the equations over blocks of samples.

    Parameters
    ----------
    prepared : samples and columns.
    """
    n, size = len(prepared.first), len(prepared.terms.pairs)
    features_columns = np.zeros((len(prepared.instruments.pairs), size))
    features_outcome = np.zeros(len(prepared.instruments.pairs))
    own, own_outcome, plain = np.zeros((size, size)), np.zeros(size), np.zeros(size)
    for rows in blocks(n):
        part, features = prepared.equations(rows), _features(prepared, rows)
        weighted = features * part.weights[:, None]
        features_columns += weighted.T @ part.columns
        features_outcome += weighted.T @ part.outcome
        itself = part.weights**2 * (features**2).sum(axis=1)
        own += (part.columns * itself[:, None]).T @ part.columns
        own_outcome += part.columns.T @ (itself * part.outcome)
        plain += part.weights @ part.instruments**2
    gram = (features_columns.T @ features_columns - own) / n
    positive = np.diagonal(gram) > 0
    return PairedMoments(
        feature_columns=features_columns,
        feature_outcome=features_outcome,
        gram=gram,
        right=(features_columns.T @ features_outcome - own_outcome) / n,
        unit=float(np.median(np.diagonal(gram)[positive] / plain[positive])),
        n=n,
    )


def choose_penalty(
    prepared: Prepared, paired: PairedMoments, ridge: Float[np.ndarray, "terms"], *, n_tuning: int
) -> float:
    """Choose the penalty by leave-one-out: the largest whose risk is within a standard error of the smallest.

    Parameters
    ----------
    prepared : samples and columns.
    paired : sums over all of them.
    ridge : penalties of the regression, to be scaled.
    n_tuning : most samples that are left out, one by one.

    Notes
    -----
    The risk is the mean over pairs of e_i k_ij e_j, with e the errors of samples left out.
    """
    n = min(paired.n, n_tuning)
    rows = slice(0, n)
    part, features = prepared.equations(rows), _features(prepared, rows)
    w = part.weights
    instruments = paired.instruments(prepared, rows)
    others = paired.others_outcome(prepared, rows)
    found: list[Float[np.ndarray, "_"]] = []
    tried = []
    for ratio in RATIOS:
        try:
            inverse = symmetric_inverse(paired.gram + np.diag(ratio * paired.unit * ridge))
        except LinAlgError:  # not positive definite: no minimum
            continue
        coefficients = inverse @ paired.right
        without = left_out(
            inverse,
            coefficients,
            into=[w[:, None] * instruments, w[:, None] * part.columns],
            out=[part.columns, instruments],
            right=[part.outcome, others],
            at=part.columns,
        )
        errors = w * (part.outcome - without)
        pairs = features @ (features.T @ errors) - (features**2).sum(axis=1) * errors
        found.append(errors * pairs / n)
        tried.append(float(ratio))
    if not found:
        return float(RATIOS[-1])
    risks = np.array([one.mean() for one in found])
    best = int(np.argmin(risks))
    gap = np.array([2 * (one - found[best]).std() / np.sqrt(n) for one in found])
    return max(ratio for ratio, risk, se in zip(tried, risks, gap, strict=True) if risk <= risks[best] + se)
