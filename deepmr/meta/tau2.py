"""The variance of effects between studies: every estimator, for many groups at once."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from deepmr.linalg import segment_repeat
from deepmr.meta.studies import (
    Groups,
    Studies,
    WeightedFit,
    find_root,
    fit_at,
    fit_weighted,
    one_group,
    projection_traces,
)

Tau2 = Literal["REML", "ML", "DL", "PM", "EB", "PMM", "HE", "HS", "HSk", "SJ", "GENQ", "EE"]
ITERATED = ("REML", "ML", "PM", "EB", "PMM")
_CELLS = 200_000  # numbers of one array while likelihoods are compared
LIKELIHOOD_GRID = np.geomspace(1e-10, 1.0, 90)  # shares of the largest tau2 at which likelihoods are compared


def estimate_tau2(
    beta: Float[np.ndarray, "studies"], variance: Float[np.ndarray, "studies"], *, method: Tau2 = "REML"
) -> float:
    """Estimate the variance of effects between loci.

    Parameters
    ----------
    beta, variance : effect of each locus and the variance of its error; at least two loci, variances above zero.
    method : as `tau2` in `pool_estimates`.

    Notes
    -----
    Truncated at 0. REML and ML search a grid of 90 values for the global maximum of the likelihood before they polish
    it, since Fisher scoring can fail when variances are wildly unequal.
    """
    return float(between_variance(one_group(beta, variance), method)[0])


def between_variance(studies: Studies, method: Tau2) -> Groups:
    """Return tau2 of every group, at least 0."""
    return np.maximum(_METHODS[method](studies), 0.0)


def between_variance_se(studies: Studies, method: Tau2, tau2: Groups) -> Groups:
    """Return standard errors of tau2: the inverse information, or the variance of a quadratic form of normal effects.

    Parameters
    ----------
    tau2 : the estimates.

    Notes
    -----
    The quadratic form y'Py has variance 2 tr(PSPS), S = variances + tau2. For Paule and Mandel's and empirical Bayes,
    as in metafor, 2 k^2 / (k - p) / (sum w)^2.

    References
    ----------
    Viechtbauer W. J Educ Behav Stat 2005. https://doi.org/10.3102/10769986030003261
    """
    spread = studies.variance + studies.repeat(tau2)
    if method == "EE":
        return np.zeros_like(tau2)
    if method in ITERATED:
        fit = fit_at(studies, tau2)
        if method == "ML":
            return np.sqrt(2 / studies.sum(fit.weights**2))
        if method == "REML":
            return np.sqrt(2 / projection_traces(studies, fit, np.ones_like(spread))[2])
        return np.sqrt(2 * studies.counts**2 / studies.df) / studies.sum(fit.weights)
    fit, scale = _quadratic_form(studies, method)
    return np.sqrt(2 * projection_traces(studies, fit, spread)[2]) * scale


def solve_q(studies: Studies, target: Groups | float) -> Groups:
    """Return the tau2 at which the generalised Q, which falls in tau2, meets a target; 0 where it starts below."""

    def q_at(tau2: Groups) -> tuple[Groups, Groups]:
        fit = fit_at(studies, tau2)
        return fit.q, studies.sum((fit.weights * fit.residual) ** 2)

    goal = np.broadcast_to(np.asarray(target, dtype=float), studies.counts.shape)
    return solve_falling(q_at, goal, fit_weighted(studies, np.ones_like(studies.beta)).q)


def solve_falling(q_at: Callable[[Groups], tuple[Groups, Groups]], goal: Groups, plain: Groups) -> Groups:
    """Return where generalised Qs meet their goals; 0 where they start below.

    Parameters
    ----------
    q_at : gives Q at a tau2 a group, and how fast it falls.
    plain : unweighted sums of squares, above tau2 times Q.
    """

    def function(tau2: Groups) -> tuple[Groups, Groups]:
        # 1 / Q is nearly a line in tau2 where Q itself is a hyperbola: Newton takes few steps.
        q, falls = q_at(tau2)
        q = np.maximum(q, 1e-300)
        return 1 / goal - 1 / q, -(falls / q) / q

    low = np.zeros_like(goal)
    start_q = q_at(low)[0]
    above = np.where(start_q > goal, plain / goal, 0.0)  # there Q is below the target
    if not above.any():
        return low
    return np.where(start_q > goal, find_root(function, low, above, low), 0.0)


def log_likelihood(studies: Studies, tau2: Groups, *, restricted: bool) -> Groups:
    """Return the log-likelihood, its coefficients at their best, less the constants 2 pi and X'X."""
    fit = fit_at(studies, tau2)
    value = 0.5 * (studies.sum(np.log(fit.weights)) - fit.q)
    if restricted:
        value = value + 0.5 * np.log(np.linalg.det(fit.inverse))
    return value


def likelihood_score(studies: Studies, tau2: Groups, *, restricted: bool) -> tuple[Groups, Groups]:
    """Return twice the slope of the log-likelihood in tau2, and the slope of that."""
    fit = fit_at(studies, tau2)
    z = fit.weights * fit.residual
    moment = studies.sum(fit.weights * z * studies.design)
    cubic = studies.sum(fit.weights * z**2) - np.einsum("ag,gab,bg->g", moment, fit.inverse, moment)
    if restricted:
        trace, _, square = projection_traces(studies, fit, np.ones_like(z))
    else:
        trace, square = studies.sum(fit.weights), studies.sum(fit.weights**2)
    return studies.sum(z**2) - trace, square - 2 * cubic


def _quadratic_form(studies: Studies, method: Tau2) -> tuple[WeightedFit, Groups]:
    """Return the weighted fit whose Q a method solves for tau2, and how much tau2 moves a unit of Q."""
    ones = np.ones_like(studies.variance)
    if method == "HE":
        return fit_weighted(studies, ones), 1 / studies.df
    if method == "GENQ":
        fit = fit_weighted(studies, 1 / np.sqrt(studies.variance))
        return fit, 1 / projection_traces(studies, fit, ones)[0]
    if method == "SJ":
        first = _sidik_jonkman_start(studies)
        fit = fit_weighted(studies, 1 / (studies.variance / studies.repeat(first) + 1))
        return fit, 1 / studies.df
    fit = fit_weighted(studies, 1 / studies.variance)
    if method == "DL":
        return fit, 1 / projection_traces(studies, fit, ones)[0]
    scale = 1 / studies.sum(fit.weights)
    return fit, scale * studies.counts / studies.df if method == "HSk" else scale


def _moments(studies: Studies, method: Tau2) -> Groups:
    """Equate a quadratic form with its expectation."""
    fit, scale = _quadratic_form(studies, method)
    if method == "HS":
        return (fit.q - studies.counts) * scale
    if method == "HSk":
        return (fit.q - studies.df) * scale
    expected = studies.df if method == "DL" else projection_traces(studies, fit, studies.variance)[1]
    return (fit.q - expected) * scale


def _sidik_jonkman_start(studies: Studies) -> Groups:
    first = fit_weighted(studies, np.ones_like(studies.beta)).q / studies.counts
    return np.where(first > 0, first, 1.0)


def _sidik_jonkman(studies: Studies) -> Groups:
    fit, scale = _quadratic_form(studies, "SJ")
    return fit.q * scale


def _median_unbiased(studies: Studies) -> Groups:
    return solve_q(studies, stats.chi2.ppf(0.5, studies.df))


def _paule_mandel(studies: Studies) -> Groups:
    return solve_q(studies, studies.df)


def _equal_effects(studies: Studies) -> Groups:
    return np.zeros_like(studies.counts)


def _peak(studies: Studies, *, restricted: bool) -> Groups:
    """Return the tau2 of the highest likelihood: the best point of a grid, then the root of the score beside it."""
    plain = fit_weighted(studies, np.ones_like(studies.beta)).residual
    starts = studies.offsets[:-1]
    top = highest_tau2(np.maximum.reduceat(plain, starts) - np.minimum.reduceat(plain, starts))
    index = _best_of_grid(studies, top, restricted=restricted)
    return polish_peak(index, top, lambda t: likelihood_score(studies, t, restricted=restricted))


def highest_tau2(extent: Groups) -> Groups:
    """Return a tau2 at which the likelihood falls, given how far effects lie apart."""
    return 4 * extent**2


def polish_peak(
    index: Int[np.ndarray, "groups"], top: Groups, score: Callable[[Groups], tuple[Groups, Groups]]
) -> Groups:
    """Return the root of the score beside the best point of the grid.

    Parameters
    ----------
    index : which share of `top` is best; -1 for zero.
    """
    last = len(LIKELIHOOD_GRID) - 1
    low = np.where(index > 0, LIKELIHOOD_GRID[np.maximum(index - 1, 0)], 0.0) * top
    high = LIKELIHOOD_GRID[np.minimum(index + 1, last)] * top
    at = np.where(index >= 0, LIKELIHOOD_GRID[np.maximum(index, 0)], 0.0) * top
    bracketed = (score(low)[0] > 0) & (score(high)[0] < 0) & (top > 0)
    if not bracketed.any():
        return at
    low, high = np.where(bracketed, low, at), np.where(bracketed, high, at)
    return np.where(bracketed, find_root(score, low, high, at), at)


def _best_of_grid(studies: Studies, top: Groups, *, restricted: bool) -> Int[np.ndarray, "groups"]:
    """Return which share of `top` has the highest likelihood; -1 for zero."""
    shares = np.concatenate([[0.0], LIKELIHOOD_GRID])
    at_once = max(1, _CELLS // max(1, len(studies.beta)))
    parts = []
    for start in range(0, len(shares), at_once):
        tau2 = shares[start : start + at_once, None] * top
        spread = studies.variance + segment_repeat(tau2, studies.offsets)
        weights = 1 / spread
        weighted = weights * studies.beta
        gram = np.moveaxis(
            studies.sum(studies.design[:, None, None] * (studies.design[:, None] * weights)), (0, 1), (2, 3)
        )
        right = np.moveaxis(studies.sum(studies.design[:, None] * weighted), 0, 2)
        # About the groups' means: nothing cancels here that matters between points of a grid.
        q = studies.sum(weighted * studies.beta) - np.sum(
            right * np.linalg.solve(gram, right[..., None])[..., 0], axis=2
        )
        value = -0.5 * (studies.sum(np.log(spread)) + q)
        parts.append(value - 0.5 * np.linalg.slogdet(gram)[1] if restricted else value)
    return np.argmax(np.concatenate(parts), axis=0) - 1


_METHODS: dict[str, Callable[[Studies], Groups]] = {
    "REML": lambda studies: _peak(studies, restricted=True),
    "ML": lambda studies: _peak(studies, restricted=False),
    "DL": lambda studies: _moments(studies, "DL"),
    "PM": _paule_mandel,
    "EB": _paule_mandel,
    "PMM": _median_unbiased,
    "HE": lambda studies: _moments(studies, "HE"),
    "HS": lambda studies: _moments(studies, "HS"),
    "HSk": lambda studies: _moments(studies, "HSk"),
    "SJ": _sidik_jonkman,
    "GENQ": lambda studies: _moments(studies, "GENQ"),
    "EE": _equal_effects,
}
