"""Tests of what a linear response implies for instruments: that it is straight, and that instruments agree."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from deepmr.individual import IVData
from deepmr.nonlinear.dimensions import Dimensions
from deepmr.nonlinear.first_stage import blocks
from deepmr.nonlinear.held_out import HeldOut
from deepmr.nonlinear.independent import independent_columns
from deepmr.nonlinear.strength import score_covariance

_NOTHING = 1e-8  # eigenvalue, relative to the largest, below which columns are combinations of others
_NOISE = 1e-20  # share of the outcome's variance that is no more than rounding
_FEW_FUNCTIONS = 25  # of covariates; where there are more, the slope varies with them linearly


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentTest:
    """A chi-squared test."""

    statistic: float
    df: int
    pvalue: float


def linearity_test(data: IVData, staged: HeldOut, dimensions: Dimensions) -> MomentTest | None:
    """Test whether the response is a straight line; None where instruments cannot tell.

    Parameters
    ----------
    data : with exposure and outcome.
    staged : its first stage, held out.
    dimensions : how many directions instruments tell apart.

    Notes
    -----
    Under a line, whose slope may vary with covariates, e = y - g(c) - x b(c) has no correlation with any function of
    the instruments. The score is the sum of psi e over samples, psi the predicted curved functions of the exposure,
    less what makes it depend on g and b: psi~ = psi - (psi'X) (A'X)^-1 A with X = (g, x b) and A the same with x
    predicted. Its square, by the robust covariance under the null (by cluster, where there are clusters), is
    chi-squared; its degrees of freedom are the curved directions that are identified, at least one, those where psi~
    varies most. An instrument with a way of its own to the outcome makes it reject, too. Predictions are from other
    samples, so that many weak instruments do not.
    """
    assert data.exposure is not None
    assert data.outcome is not None
    weights, size = data.scaled_weights, staged.functions.size
    if size < 3 or (dimensions.n_values is not None and dimensions.n_values < 3):
        return None
    given, fitted = staged.given, staged.fitted
    few = given.shape[1] <= _FEW_FUNCTIONS
    modifying = (
        given if few else np.hstack([given[:, :1], _standard(data.covariates[:, np.ptp(data.covariates, axis=0) > 0])])
    )
    seen = np.hstack([given, staged.functions(data.exposure)[:, 1:2] * modifying])
    expected = np.hstack([given, fitted[:, 1:2] * modifying])
    cross = (expected * weights[:, None]).T @ seen
    curved = fitted[:, 2:size]
    curved = curved - expected @ np.linalg.lstsq(cross.T, (seen * weights[:, None]).T @ curved, rcond=1e-10)[0]
    curved = _largest(curved, fitted[:, 2:size], max(dimensions.identified - 1, 1))
    coefficients = np.linalg.lstsq(cross, (expected * weights[:, None]).T @ data.outcome, rcond=1e-10)[0]
    left = data.outcome - seen @ coefficients
    if np.var(left) < _NOISE * np.var(data.outcome):
        return None  # no noise, nothing to test
    return _score_test(curved * (weights * left)[:, None], data.clusters)


def _largest(
    columns: Float[np.ndarray, "samples columns"], before: Float[np.ndarray, "samples columns"], most: int
) -> Float[np.ndarray, "samples largest"]:
    """Return the combinations of columns that vary most, if what is left of them is more than rounding."""
    spread, was = columns.std(axis=0), before.std(axis=0)
    kept = spread > 1e-6 * np.maximum(was, 1e-6)
    columns = columns[:, kept]
    if not columns.shape[1]:
        return columns
    values, vectors = np.linalg.eigh(columns.T @ columns)
    vectors = vectors[:, values > _NOTHING * values[-1]]
    return columns @ vectors[:, -most:]


def _score_test(
    scores: Float[np.ndarray, "samples columns"], clusters: Int[np.ndarray, "samples"] | None
) -> MomentTest | None:
    df = scores.shape[1]
    if df == 0 or (clusters is not None and len(np.unique(clusters)) <= 2 * df):
        return None
    total, covariance = scores.sum(axis=0), score_covariance(scores, clusters)
    scale = np.sqrt(np.diagonal(covariance))
    if not (scale > 0).all():
        return None
    unit = covariance / scale / scale[:, None]
    statistic = float((total / scale) @ np.linalg.lstsq(unit, total / scale, rcond=1e-12)[0])
    return MomentTest(statistic=statistic, df=df, pvalue=float(stats.chi2.sf(statistic, df)))


def hansen_test(data: IVData) -> MomentTest | None:
    """Test whether instruments agree on one slope (Hansen's J); None where there is one instrument.

    Parameters
    ----------
    data : with exposure and outcome, and independent instruments.

    Notes
    -----
    J = g' S^-1 g at the two-step estimate by the generalised method of moments: g the sum of (1, c, z) e, S its robust
    covariance at the two-stage least squares estimate. Chi-squared with one degree of freedom an instrument beyond the
    first where every instrument is valid and the response a line; a curved response makes instruments disagree as well.

    References
    ----------
    Hansen (1982) doi:10.2307/1912775.
    """
    assert data.exposure is not None
    assert data.outcome is not None
    n, k = data.instruments.shape
    used = data.covariates[:, independent_columns(data.covariates, weights=data.weights)]
    included = np.hstack([np.ones((n, 1)), _standard(used), _standard(data.exposure[:, None])])
    size = included.shape[1] - 1 + k
    if k == 1 or n <= 2 * size or (data.clusters is not None and len(np.unique(data.clusters)) <= 2 * size):
        return None
    weights, outcome = data.scaled_weights, _standard(data.outcome[:, None])[:, 0]
    center, spread = data.instruments.mean(axis=0), data.instruments.std(axis=0)

    def columns(rows: slice) -> Float[np.ndarray, "_ columns"]:
        return np.hstack([included[rows, :-1], (data.instruments[rows] - center) / spread])

    cross, moment, gram = np.zeros((size, included.shape[1])), np.zeros(size), np.zeros((size, size))
    for rows in blocks(n):
        weighted = columns(rows) * weights[rows, None]
        cross, moment = cross + weighted.T @ included[rows], moment + weighted.T @ outcome[rows]
        gram += weighted.T @ columns(rows)
    b = _solve_moments(cross, moment, gram)
    scores = np.empty((n, size))
    for rows in blocks(n):
        scores[rows] = columns(rows) * ((outcome[rows] - included[rows] @ b) * weights[rows])[:, None]
    covariance = score_covariance(scores, data.clusters)
    if np.diagonal(covariance).min() < _NOISE * n:
        return None  # no noise, nothing to test
    b = _solve_moments(cross, moment, covariance)
    g = moment - cross @ b
    statistic = float(g @ np.linalg.solve(covariance, g))
    return MomentTest(statistic=statistic, df=k - 1, pvalue=float(stats.chi2.sf(statistic, k - 1)))


def _standard(columns: Float[np.ndarray, "samples columns"]) -> Float[np.ndarray, "samples columns"]:
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def _solve_moments(
    cross: Float[np.ndarray, "moments terms"],
    moment: Float[np.ndarray, "moments"],
    covariance: Float[np.ndarray, "moments moments"],
) -> Float[np.ndarray, "terms"]:
    half = np.linalg.solve(covariance, cross)
    return np.linalg.solve(half.T @ cross, half.T @ moment)
