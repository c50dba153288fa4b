"""Weights of instruments that represent a functional of a response: the Riesz equation, solved on a sieve."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deepmr.individual import IVData
from deepmr.nonlinear.basis import Terms, fit_splines
from deepmr.nonlinear.sieve import covariate_basis

_FUNCTIONS = 12  # of the exposure
_COVARIATE_FUNCTIONS = 6  # of each covariate
# prior standard deviations of coefficients, in that of the outcome: of polynomials; of the least rough other function
_WIDE, _CURVED = 10.0, 0.15


def balance_columns(data: IVData) -> tuple[Terms, Float[np.ndarray, "terms"]]:
    """Choose functions of exposure and covariates that weights are to balance, and how large their coefficients can be.

    Parameters
    ----------
    data : the sample.

    Returns
    -------
    Columns, and prior variances of their coefficients.
    """
    assert data.exposure is not None
    assert data.outcome is not None
    splines = fit_splines(data.exposure, n_functions=_FUNCTIONS, weights=data.weights)
    covariates = covariate_basis(data, n_functions=_COVARIATE_FUNCTIONS, products=False)
    alone = [(k, 0) for k in range(splines.size)]
    varying = [(power, c) for power in range(min(2, splines.size)) for c in range(1, covariates.size)]
    rough = splines.roughness
    positive = rough[rough > 0]
    of_exposure = np.where(
        rough > 0, _CURVED**2 * (positive.min() if len(positive) else 1.0) / np.where(rough > 0, rough, 1.0), _WIDE**2
    )
    of_covariates = np.concatenate([np.zeros(1), *(s.roughness[1:] for s in covariates.splines)])
    smallest = of_covariates[of_covariates > 0].min() if (of_covariates > 0).any() else 1.0
    others = np.where(
        of_covariates > 0, _CURVED**2 * smallest / np.where(of_covariates > 0, of_covariates, 1.0), _WIDE**2
    )
    prior = np.concatenate([of_exposure, [others[c] for _, c in varying]])
    terms = Terms(exposure=splines, covariates=covariates, pairs=np.array(alone + varying, dtype=int))
    return terms, prior * float(np.var(data.outcome))


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What weights of instruments are found from.

    Attributes
    ----------
    expected : expectations of columns given instruments, in whose span the weights are.
    seen : the columns.
    wanted : every sample's part of the functional of each column.
    weights : of the samples.
    """

    expected: Float[np.ndarray, "samples terms"]
    seen: Float[np.ndarray, "samples terms"]
    wanted: Float[np.ndarray, "samples terms"]
    weights: Float[np.ndarray, "samples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """Weights, as coefficients of expected columns.

    Attributes
    ----------
    coefficients : a number a column.
    squared_bias : expected, over responses with the prior.
    """

    coefficients: Float[np.ndarray, "terms"]
    squared_bias: float


def solve_balance(
    balance: Balance, *, errors: Float[np.ndarray, "samples"], prior: Float[np.ndarray, "terms"]
) -> Solved:
    """Find the weights with the smallest sum of variance and expected squared bias.

    Parameters
    ----------
    balance : columns.
    errors : of the outcome, whose weighted mean is the correction.
    prior : variances of the coefficients of what is left of the response.

    Notes
    -----
    With S the mean of squares of q's columns times squared errors, C of these columns with the response's and v the
    functional of the response's, the coefficients are (S / n + C L C')^-1 C L v with L the prior variances.
    """
    n = len(errors)
    w = balance.weights[:, None]
    noise = (balance.expected * (w * errors[:, None]) ** 2).T @ balance.expected / n**2
    cross = (balance.expected * w).T @ balance.seen / n
    wanted = balance.weights @ balance.wanted / n
    left = noise + (cross * prior) @ cross.T
    scale = 1 / np.sqrt(np.maximum(np.diagonal(left), 1e-300))
    scaled = left * scale[:, None] * scale + 1e-10 * np.eye(len(left))
    coefficients = scale * np.linalg.solve(scaled, scale * (cross @ (prior * wanted)))
    gap = wanted - cross.T @ coefficients
    return Solved(coefficients=coefficients, squared_bias=float(prior @ gap**2))
