"""Confidence sets that hold however weak the instruments: Anderson-Rubin, and the conditional likelihood ratio."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import special, stats

from deepmr.inference import chi2_tail
from deepmr.linalg import segment_sum
from deepmr.mr.correlated import unlinkable
from deepmr.mr.errors import dot
from deepmr.mr.joint_profiles import JointProfile, joint_blocks, joint_moves, score_variance, solve_joint
from deepmr.mr.lines import cochran, error_extras, exposure_of, mean_f, split_error, too_few
from deepmr.types import Estimates, Instruments, make_estimates

# P values of effects, given the equations and, of every locus, (x, y)' S^-1 (x, y) and the smallest e'V^-1 e.
Tail = Callable[[JointProfile, Float[np.ndarray, "block"], Float[np.ndarray, "2 block"]], Float[np.ndarray, "block"]]

_FAR, _NEAR = 128, 64  # grid points over all effects, and around the estimate
_FARTHEST = 1e7  # in sizes of effects: as good as an infinite effect
_HALVINGS = 100
_NODES, _MASSES = np.polynomial.legendre.leggauss(48)
_FAR_OFF = 0.02  # share of the error rate that is spent on leaving out effects far from the likelihood's maximum
_CUT = 1e-13  # mass of chi-square that the integral leaves out at either end

_ZERO = "not identified: every exposure effect is zero"
_OPEN = "not identified: the confidence set has no end, so weak are the instruments"
_NOWHERE = "not identified: the likelihood has no maximum at a finite effect"
_EMPTY = "the confidence set is empty: the instruments disagree by more than their errors"


def anderson_rubin(instruments: Instruments, *, min_instruments: int = 3, level: float = 0.95) -> Estimates:
    """Find the causal effects under which the instruments agree, however weak they are.

    Parameters
    ----------
    instruments : one exposure. `error_factors`, `error_corr` and `correlation` make the covariance of all effects.
    min_instruments : loci with fewer are skipped.
    level : of the confidence set.

    Returns
    -------
    Estimates, with extras `n_intervals`, `q` (the statistic at its minimum, against J - 1 degrees of freedom),
    `f_statistic`, and with shared errors `se_sampling` and `se_member`. A locus whose set is empty or has no end is
    skipped.

    Notes
    -----
    With e = y - b x and V(b) its covariance (`profile_score`), e'V^-1 e has a chi-square distribution with J degrees of
    freedom at the true effect. The set holds every b at which it is no larger than its quantile; `ci_low` and `ci_high`
    are its outer ends, the P value that of b = 0. `beta` is where the statistic is smallest, the maximum of the
    likelihood, and `se` its standard error as by `profile_score` without overdispersion: both lean on instruments that
    are not too weak, the set does not. Direct effects of any kind make the set too small, and empty in the end, which
    is a test of all instruments being valid.

    References
    ----------
    Anderson TW, Rubin H. Estimation of the parameters of a single equation in a complete system of stochastic
    equations. Ann Math Stat 1949. https://doi.org/10.1214/aoms/1177730090
    Wang S, Kang H. Weak-instrument robust tests in two-sample summary-data Mendelian randomization. Biometrics 2022.
    https://doi.org/10.1111/biom.13524
    """
    return _set_estimates("anderson_rubin", instruments, _anderson_rubin_tail, min_instruments, level)


def clr(instruments: Instruments, *, min_instruments: int = 3, level: float = 0.95) -> Estimates:
    """Find the causal effects that a conditional likelihood-ratio test does not reject, however weak the instruments.

    Parameters
    ----------
    instruments : one exposure. `error_factors`, `error_corr` and `correlation` make the covariance of all effects.
    min_instruments : loci with fewer are skipped.
    level : of the confidence set.

    Returns
    -------
    Estimates as by `anderson_rubin`. The set is never empty.

    Notes
    -----
    With a = e'V^-1 e, g the best guess of the exposure effects given b, k = (g'V^-1 e)^2 / g'V^-1 g and
    r = g' Var(g)^-1 g, which says how strong the instruments are and is independent of e, the statistic is
    (a - r + sqrt((a - r)^2 + 4 r k)) / 2. Given r it has the distribution of the same expression in chi-squares with 1
    (k) and J - 1 (a - k) degrees of freedom; its P value is an integral over one of them. Since k is 0 at every bend of
    the likelihood, also at a minimum, 2 % of the error rate go to a test of a less its smallest value, which at the
    true effect is at most a chi-square with J degrees of freedom. With strong instruments the
    set is the interval of the likelihood; the power of Anderson-Rubin's set is lost to J degrees of freedom. It takes
    instruments as valid.

    References
    ----------
    Moreira MJ. A conditional likelihood ratio test for structural models. Econometrica 2003.
    https://doi.org/10.1111/1468-0262.00438
    Kleibergen F. Generalizing weak instrument robust IV statistics towards multiple parameters, unrestricted covariance
    matrices and identification statistics. J Econom 2007. https://doi.org/10.1016/j.jeconom.2006.06.010
    Wang S, Kang H. Biometrics 2022. https://doi.org/10.1111/biom.13524
    """
    return _set_estimates("clr", instruments, _conditional_tail, min_instruments, level)


def _anderson_rubin_tail(
    profile: JointProfile, beta: Float[np.ndarray, "block"], known: Float[np.ndarray, "2 block"]
) -> Float[np.ndarray, "block"]:
    return chi2_tail(profile.heterogeneity(beta), profile.known.sum(axis=1))


def _conditional_tail(
    profile: JointProfile, beta: Float[np.ndarray, "block"], known: Float[np.ndarray, "2 block"]
) -> Float[np.ndarray, "block"]:
    at = profile.terms(beta, np.zeros_like(beta))
    a = dot(at.e, at.z)
    strength = dot(at.g, at.precision.times(at.g[..., None])[..., 0])
    k = dot(at.g, at.z) ** 2 / np.where(strength > 0, strength, 1.0)
    size, least = known
    r = np.maximum(size - a, 0.0)  # a + r is the same at every effect
    # Written without the difference of nearly equal numbers where the instruments are strong.
    root, gap = np.sqrt((a - r) ** 2 + 4 * r * k), a - r
    far = np.maximum(root - gap, np.finfo(float).tiny)
    ratio = np.where(gap > 0, (gap + root) / 2, 2 * r * k / far)
    count = profile.known.sum(axis=1)
    far_off = chi2_tail(np.maximum(a - least, 0.0), count)
    return np.minimum(np.minimum(conditional_tail(ratio, r, count - 1) / (1 - _FAR_OFF), far_off / _FAR_OFF), 1.0)


def conditional_tail(
    ratio: Float[np.ndarray, "tests"], strength: Float[np.ndarray, "tests"], df: Float[np.ndarray, "tests"]
) -> Float[np.ndarray, "tests"]:
    """Return P(LR > ratio) given the strength r of the instruments.

    Notes
    -----
    LR > m just where u > m (1 - w / (m + r)), u and w chi-squares with 1 and `df` degrees of freedom. With
    w = (m + r) sin^2 t the probability of the contrary is the integral of erf(sqrt(m / 2) cos t) over the density of
    w, smooth in t, by Gauss-Legendre.
    """
    total, dof = ratio + strength, np.maximum(df, 1.0)
    safe = np.maximum(total, np.finfo(float).tiny)
    # Where the density of w is not nothing; beyond w = m + r every u will do.
    ends = [np.arcsin(np.sqrt(np.minimum(stats.chi2.ppf(mass, dof) / safe, 1.0))) for mass in (_CUT, 1 - _CUT)]
    middle, half = (ends[1] + ends[0]) / 2, (ends[1] - ends[0]) / 2
    t = middle[:, None] + half[:, None] * _NODES
    w = safe[:, None] * np.sin(t) ** 2
    # Density of w times dw/dt, logarithms against overflow.
    log_mass = (dof / 2)[:, None] * np.log(np.maximum(w, 1e-300)) - w / 2
    log_mass = log_mass - (dof / 2 * np.log(2) + special.gammaln(dof / 2))[:, None]
    slope = 2 / np.maximum(np.tan(t), 1e-150)  # dw / w
    inside = special.erf(np.sqrt(ratio / 2)[:, None] * np.cos(t)) * np.exp(log_mass) * slope
    below = half * (inside @ _MASSES)
    single = stats.chi2.sf(ratio, 1)  # one instrument: LR is u
    return np.where(df > 0, np.where(ratio > 0, np.clip(1 - below, 0.0, 1.0), 1.0), single)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sets:
    """Confidence sets of a block: outer ends, number of intervals, and whether a set is empty or has no end."""

    low: Float[np.ndarray, "block"]
    high: Float[np.ndarray, "block"]
    count: Float[np.ndarray, "block"]
    empty: Bool[np.ndarray, "block"]
    unbounded: Bool[np.ndarray, "block"]


def _invert(
    profile: JointProfile,
    tail: Tail,
    known: Float[np.ndarray, "2 block"],
    beta: Float[np.ndarray, "block"],
    se: Float[np.ndarray, "block"],
    level: float,
) -> _Sets:
    """Find the effects with a P value of 1 - level or more: a grid in angles and around the estimate, then halving."""
    scale = profile.scales().effect
    angles = np.arctan(_FARTHEST) * np.linspace(-1.0, 1.0, _FAR)
    width = np.where(np.isfinite(se), 6 * se, scale)
    near = beta[:, None] + width[:, None] * np.linspace(-1.0, 1.0, _NEAR + 1)
    grid = np.concatenate([scale[:, None] * np.tan(angles), near], axis=1)
    grid = np.sort(np.clip(grid, -_FARTHEST * scale[:, None], _FARTHEST * scale[:, None]), axis=1)
    inside = np.stack([tail(profile, column, known) for column in grid.T], axis=1) >= 1 - level
    unbounded, empty = inside[:, 0] | inside[:, -1], np.logical_not(inside.any(axis=1))
    enters, leaves = inside[:, 1:] & ~inside[:, :-1], ~inside[:, 1:] & inside[:, :-1]
    first, last = enters.argmax(axis=1), leaves.shape[1] - 1 - leaves[:, ::-1].argmax(axis=1)
    bounded = np.flatnonzero(~unbounded & ~empty)
    low, high = np.full(len(beta), np.nan), np.full(len(beta), np.nan)
    for result, at, rising in ((low, first[bounded], True), (high, last[bounded], False)):
        a, b = grid[bounded, at], grid[bounded, at + 1]
        result[bounded] = _halve(profile.take(bounded), tail, a, b, known[:, bounded], level, rising=rising)
    return _Sets(low=low, high=high, count=enters.sum(axis=1).astype(float), empty=empty, unbounded=unbounded)


def _halve(
    profile: JointProfile,
    tail: Tail,
    low: Float[np.ndarray, "ends"],
    high: Float[np.ndarray, "ends"],
    known: Float[np.ndarray, "2 ends"],
    level: float,
    *,
    rising: bool,
) -> Float[np.ndarray, "ends"]:
    """Halve brackets, of which the upper (`rising`) or the lower end is in the set, down to rounding."""
    for _ in range(_HALVINGS if len(low) else 0):
        middle = (low + high) / 2
        inside = tail(profile, middle, known) >= 1 - level
        up = inside != rising
        low, high = np.where(up, middle, low), np.where(up, high, middle)
        if np.all(high - low <= 4e-16 * np.maximum(np.abs(low), np.abs(high))):
            break
    return high if rising else low


def _set_estimates(method: str, instruments: Instruments, tail: Tail, min_instruments: int, level: float) -> Estimates:
    x, _ = exposure_of(instruments)
    n_loci, shared = len(instruments.loci), instruments.error_factors
    few = too_few(instruments, max(min_instruments, 1))
    reason = [why or bad for why, bad in zip(few, unlinkable(instruments), strict=True)]
    zero = segment_sum(np.abs(x), instruments.offsets) == 0
    reason = [why or (_ZERO if empty else "") for why, empty in zip(reason, zero, strict=True)]
    beta, variance, q, low, high, pvalue, count = (np.full(n_loci, np.nan) for _ in range(7))
    members = np.zeros((0 if shared is None else len(shared), n_loci))
    wanted = np.array([not why for why in reason], dtype=bool)
    for block, profile in joint_blocks(instruments, overdispersed=False, loci=wanted):
        chosen = solve_joint(profile)
        for locus in block.loci[~chosen.found]:
            reason[locus] = _NOWHERE
        good = np.flatnonzero(chosen.found)
        loci, own, none = block.loci[good], profile.take(good), np.zeros(len(good))
        beta[loci] = chosen.beta[good]
        variance[loci], q[loci] = score_variance(own, beta[loci], none), own.heterogeneity(beta[loci])
        known = np.stack([own.errors.squared_size(np.stack([own.x, own.y], axis=-1)), q[loci]])
        sets = _invert(own, tail, known, beta[loci], np.sqrt(variance[loci]), level)
        low[loci], high[loci], count[loci] = sets.low, sets.high, sets.count
        pvalue[loci] = tail(own, none, known)
        for locus, empty, unbounded in zip(loci, sets.empty, sets.unbounded, strict=True):
            reason[locus] = _EMPTY if empty else _OPEN if unbounded else ""
        if shared is not None:
            factors = shared[:, block.rows[good]] * block.known[good][..., None]
            members[:, loci] = joint_moves(own, beta[loci], none, factors.astype(float))
    factors = None if shared is None else members
    error = split_error(variance, factors)
    estimates = make_estimates(
        method,
        instruments,
        beta=beta,
        se=error.se,
        df=error.df,
        reason=reason,
        level=level,
        extra={
            "n_intervals": count,
            **cochran(q, np.maximum(instruments.counts - 1.0, 0.0), shared=instruments.error_factors is not None),
            "f_statistic": mean_f(instruments),
            **error_extras(error, factors),
        },
        error_factors=factors,
    )
    rows = pd.Index(instruments.loci).get_indexer(pd.Index(estimates.table["locus"]))
    own_set = {"ci_low": low[rows], "ci_high": high[rows], "pvalue": pvalue[rows]}
    return replace(estimates, table=estimates.table.assign(**own_set))
