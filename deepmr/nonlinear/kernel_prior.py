"""Prior variances of the columns of a kernel response, learned from the reduced form, and its marginal likelihood."""

import numpy as np

from deepmr.nonlinear.kernel_solver import Moments
from deepmr.nonlinear.nystroem import KernelTerms
from deepmr.nonlinear.smoothing import Group, Smoothed, smooth


def groups_of(terms: KernelTerms) -> list[Group]:
    """Group columns by what they are products of: curves, lines; each group has a variance of its own.

    Parameters
    ----------
    terms : columns.
    """
    kinds, shrunk = terms.kinds, ~terms.straight
    found = []
    for kind in np.unique(kinds[shrunk]):
        columns = np.flatnonzero(shrunk & (kinds == kind))
        relative = 1 / terms.variances[columns]
        found.append(Group(columns=columns, weights=relative / relative.min()))
    return found


def smooth_reduced(moments: Moments, terms: KernelTerms) -> Smoothed:
    """Learn the prior variances of all groups from the reduced form, the outcome on expected columns.

    Parameters
    ----------
    moments : of the second stage.
    terms : columns.
    """
    return smooth(
        moments.squares,
        moments.outcome,
        groups_of(terms),
        residual=moments.reduced_variance,
        variance=moments.reduced_variance(np.zeros(len(moments.outcome))),
    )


def minus_log_likelihood(moments: Moments, found: Smoothed) -> float:
    """Return minus the log marginal likelihood of the reduced form, up to a constant.

    Parameters
    ----------
    moments : of the second stage.
    found : coefficients and prior variances.
    """
    free = found.penalty == 0
    left = moments.total - float(moments.outcome @ found.coefficients)
    information = moments.squares / found.variance + np.diag(found.penalty)
    return float(
        0.5 * moments.n * np.log(found.variance)
        + 0.5 * left / found.variance
        + 0.5 * np.linalg.slogdet(information)[1]
        - 0.5 * np.log(found.penalty[~free]).sum()
    )
