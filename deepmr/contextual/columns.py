"""Coefficients of any fit as one array, mu first and then beta, with their errors only where these are wanted."""

import numpy as np
from jaxtyping import Bool, Float

from deepmr.contexts import Coefficients, ContextualFit, HasMeans
from deepmr.errors import InputError


def means(
    fit: ContextualFit, contexts: Float[np.ndarray, "points contexts"]
) -> Float[np.ndarray, "points outcomes columns"]:
    """Return mu (column 0) and beta (the rest), by `means` of the fit where it has it: errors may be most of the work.

    Parameters
    ----------
    fit : any of one regression an outcome.
    contexts : in the unit of the fit.

    Raises
    ------
    InputError
        When the fit is of pairs.
    """
    if isinstance(fit, HasMeans):
        return fit.means(contexts)
    return estimates(coefficients_of(fit, contexts))


def estimates(at: Coefficients) -> Float[np.ndarray, "points outcomes columns"]:
    """Return mu (column 0) and beta (the rest).

    Parameters
    ----------
    at : coefficients at points.
    """
    return np.concatenate([at.mu[:, :, None], at.beta], axis=2)


def as_coefficients(
    mean: Float[np.ndarray, "points outcomes columns"],
    se: Float[np.ndarray, "points outcomes columns"] | None,
    *,
    outside: Bool[np.ndarray, "points"],
    unlearned: Float[np.ndarray, "points"] | None = None,
) -> Coefficients:
    """Return mu (column 0) and beta (the rest) as coefficients at points.

    Parameters
    ----------
    mean, se : of every column; no errors where a method has none.
    outside, unlearned : as in `Coefficients`.
    """
    return Coefficients(
        beta=mean[:, :, 1:],
        mu=mean[:, :, 0],
        se_beta=None if se is None else se[:, :, 1:],
        se_mu=None if se is None else se[:, :, 0],
        outside=outside,
        unlearned=unlearned,
    )


def standard_errors(at: Coefficients) -> Float[np.ndarray, "points outcomes columns"] | None:
    """Return standard errors of mu (column 0) and beta (the rest), or None where the method has none.

    Parameters
    ----------
    at : coefficients at points.
    """
    if at.se_mu is None or at.se_beta is None:
        return None
    return np.concatenate([at.se_mu[:, :, None], at.se_beta], axis=2)


def coefficients_of(fit: ContextualFit, contexts: Float[np.ndarray, "points contexts"]) -> Coefficients:
    """Return `fit.coefficients(contexts)` of a fit whose predictors are in one regression.

    Parameters
    ----------
    fit : any.
    contexts : in the unit of the fit.

    Raises
    ------
    InputError
        When the fit is of pairs, of which each has a mu of its own.
    """
    at = fit.coefficients(contexts)
    if at.mu.ndim != 2:
        raise InputError("a fit of pairs has a mu for every predictor: use its own predict, or one of its fits")
    return at
