"""Solving the profile equations of several exposures at many loci at once; see `deepmr.mr.multivariable.profiles`."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from deepmr.linalg import segment_repeat, segment_sum
from deepmr.mr.designs import fit_designs, invert
from deepmr.mr.losses import Loss
from deepmr.mr.multivariable.debiased import debiased_points
from deepmr.mr.multivariable.median import median_points
from deepmr.mr.multivariable.profiles import Profile, Slopes, member_moves, scatter
from deepmr.mr.multivariable.table import exposures_of, not_collinear, weights_of
from deepmr.mr.roots import profile_dispersion
from deepmr.packed import Block, blocks
from deepmr.types import Instruments

_ROUNDS, _POLISH = 200, 30
_CLOSE, _FAR = 1e-4, 1e6  # steps at which Newton's method takes over; effects that stand for infinite ones
_SAME = 1e-6  # distance of two starts' solutions that are one
_DEPTH = 160

LOST = "not identified: the profile likelihood has no maximum at finite effects"


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A solution a locus; `found` is False where there is none."""

    beta: Float[np.ndarray, "block exposures"]
    tau2: Float[np.ndarray, "block"]
    found: Bool[np.ndarray, "block"]


def solve_from(profile: Profile, start: Float[np.ndarray, "block exposures"]) -> Solution:
    """Follow the equations from a start to a solution that is a minimum of the loss given its tau2.

    Notes
    -----
    Gauss-Newton steps, damped until the loss falls, with tau2 solved for at every step; close to a solution, Newton
    steps on the score with tau2 as a function of beta. A locus that has settled is left alone.
    """
    beta, tau2 = start.copy(), np.zeros(len(start))
    damping, active = np.full(len(start), 1e-3), np.arange(len(start))
    for _ in range(_ROUNDS):
        part = profile.take(active)
        score, tau = profile_dispersion(part, beta[active], tau2[active], np.ones(len(active)), 1e-8)
        tau2[active] = tau
        at = part.terms(beta[active], tau)
        pull = at.g * (part.loss.weight(at.e**2 / at.v) / at.v)[..., None]
        curvature = pull.swapaxes(1, 2) @ at.g
        ridge = np.einsum("bpp->b", curvature)[:, None] + 1e-300
        curvature = curvature + (damping[active, None] * ridge)[..., None] * np.eye(beta.shape[1])
        step = np.linalg.solve(curvature, score[..., None])[..., 0]
        falls = part.losses(beta[active] + step, tau) <= part.losses(beta[active], tau)
        beta[active] += np.where(falls[:, None], step, 0.0)
        damping[active] = np.where(falls, np.maximum(damping[active] / 10, 1e-12), damping[active] * 10)
        small = np.abs(step).max(axis=1) <= _CLOSE * (1 + np.abs(beta[active]).max(axis=1))
        active = active[~(small & (falls | (damping[active] > 1e6)))]
        active = active[np.abs(beta[active]).max(axis=1) < _FAR]
        if not len(active):
            break
    return _polish(profile, beta, tau2)


def _polish(profile: Profile, beta: Float[np.ndarray, "block exposures"], tau2: Float[np.ndarray, "block"]) -> Solution:
    unit, active, still = np.ones(len(beta)), np.arange(len(beta)), np.zeros(len(beta), dtype=bool)
    beta, tau2, last = beta.copy(), tau2.copy(), np.full(len(beta), np.inf)
    for _ in range(_POLISH):
        part = profile.take(active)
        score, tau2[active] = profile_dispersion(part, beta[active], tau2[active], unit[active], 1e-15)
        slopes = Slopes.of(part, beta[active], tau2[active])
        step = -slopes.solved(score, np.zeros(len(active)))
        size = np.abs(step).max(axis=1) / (1 + np.abs(beta[active]).max(axis=1))
        size = np.where(np.isnan(size), np.inf, size)
        # Rounding has been reached where steps are tiny and no longer shrink.
        done = (size < 1e-9) & ((size > 0.1 * last[active]) | (size < 1e-15))
        beta[active] += np.where((size < 1)[:, None] & ~done[:, None], np.nan_to_num(step), 0.0)
        last[active], still[active] = size, done
        active = active[~done & (size < 1)]
        if not len(active):
            break
    slopes = Slopes.of(profile, beta, tau2)
    # A minimum: -bb is positive definite, whatever its asymmetry by rounding.
    _, minimum = invert(-(slopes.bb + slopes.bb.swapaxes(1, 2)) / 2)
    found = (still | (last < 1e-9)) & minimum & (np.abs(beta).max(axis=1) < _FAR)
    return Solution(beta=beta, tau2=tau2, found=found)


def solve_profiles(
    profile: Profile, starts: list[Float[np.ndarray, "block exposures"]]
) -> tuple[Solution, Float[np.ndarray, "block"]]:
    """Return the chosen solution of every locus, and how many different ones the starts lead to.

    Without overdispersion the choice is the solution with the smallest loss, the maximum of the profile; with it, the
    solution nearest to that one.
    """
    zero = np.zeros(len(profile.y))
    plain = replace(profile, overdispersed=False)
    found = [solve_from(plain, start) for start in starts]
    loss = np.stack([np.where(s.found, plain.losses(s.beta, zero), np.inf) for s in found])
    best = _pick(found, loss)
    if profile.overdispersed:
        target = np.where(best.found[:, None], best.beta, starts[0])
        found = [solve_from(profile, start) for start in (target, *starts)]
        apart = np.stack([np.where(s.found, np.sum((s.beta - target) ** 2, axis=1), np.inf) for s in found])
        best = _pick(found, apart)
    count = np.zeros(len(zero))
    for i, one in enumerate(found):
        known = [
            other.found & (np.abs(other.beta - one.beta).max(axis=1) <= _SAME * (1 + np.abs(one.beta).max(axis=1)))
            for other in found[:i]
        ]
        count += one.found & ~np.any(known, axis=0) if known else one.found
    return best, count


def _pick(found: list[Solution], cost: Float[np.ndarray, "solutions block"]) -> Solution:
    # Costs that differ by rounding belong to one solution: the first of these starts decides.
    near = cost <= cost.min(axis=0) * (1 + 1e-9)
    first, every = np.argmax(near, axis=0), np.arange(cost.shape[1])
    beta, tau2, good = (np.stack([getattr(s, name) for s in found]) for name in ("beta", "tau2", "found"))
    return Solution(beta=beta[first, every], tau2=tau2[first, every], found=good[first, every])


@dataclass(frozen=True, slots=True, kw_only=True)
class Solutions:
    """What a method found at every locus; NaN where it found nothing.

    Attributes
    ----------
    beta, tau2, n_roots : the chosen solution, and among how many it was chosen.
    variance : by the method's formula or, with shared errors, by the scatter of the instruments' contributions.
    q : sum of squared standardised residuals.
    members : how far the error of every member moves the solution; None without shared errors.
    reason : why there is no estimate; empty where there is one.
    """

    beta: Float[np.ndarray, "loci exposures"]
    tau2: Float[np.ndarray, "loci"]
    n_roots: Float[np.ndarray, "loci"]
    variance: Float[np.ndarray, "loci exposures"]
    q: Float[np.ndarray, "loci"]
    members: Float[np.ndarray, "factors loci exposures"] | None
    reason: list[str]


Variance = Callable[
    [Profile, Float[np.ndarray, "block exposures"], Float[np.ndarray, "block"]],
    Float[np.ndarray, "block exposures"],
]


def solve_loci(
    instruments: Instruments,
    covariance: Float[np.ndarray, "rows traits traits"],
    loss: Loss,
    *,
    overdispersion: bool,
    spent: int,
    reason: list[str],
    variance: Variance,
) -> Solutions:
    """Solve the equations of every locus without a reason not to.

    Parameters
    ----------
    covariance : of the errors of all effects at an instrument, the outcome last.
    spent : degrees of freedom that the equation of tau2 takes off.
    variance : of the effects, from a block's equations and solution.

    Notes
    -----
    Effects are taken in units of their own size, so that none of the given units matters. Starts are the weighted,
    the debiased and the median regression, and no effect at all.
    """
    x, y, offsets = exposures_of(instruments), instruments.beta_outcome.astype(float), instruments.offsets
    n_loci, k = len(instruments.loci), x.shape[1]
    plain = fit_designs(x, y, weights_of(instruments), offsets)
    reason = not_collinear(reason, plain.identified)
    wanted = np.array([not why for why in reason], dtype=bool)
    shared = instruments.error_factors
    size = _sizes(x, covariance, offsets)
    scaled = np.column_stack([x, y]) / segment_repeat(size.T, offsets).T
    each = segment_repeat(size.T, offsets).T
    unit = size[:, -1:] / size[:, :-1]
    starts = [plain.coef, debiased_points(instruments), median_points(instruments, wanted)]
    starts = [np.where(np.isfinite(start), start, np.nan_to_num(plain.coef)) / unit for start in starts]
    starts.append(np.zeros((n_loci, k)))
    result = {name: np.full(n_loci, np.nan) for name in ("tau2", "n_roots", "q")}
    beta, spread = np.full((n_loci, k), np.nan), np.full((n_loci, k), np.nan)
    members = None if shared is None else np.zeros((len(shared), n_loci, k))
    for block in blocks(offsets, loci=wanted, depth=_DEPTH * (k + 1)):
        profile = _laid(block, scaled, covariance / (each[:, :, None] * each[:, None, :]), loss, overdispersion, spent)
        chosen, count = solve_profiles(profile, [start[block.loci] for start in starts])
        good = np.flatnonzero(chosen.found)
        loci, own = block.loci[good], profile.take(good)
        b, t = chosen.beta[good], chosen.tau2[good]
        beta[loci], result["tau2"][loci] = b * unit[loci], t * size[loci, -1] ** 2
        result["n_roots"][block.loci] = count
        at = own.terms(b, t)
        result["q"][loci] = np.sum(at.e**2 / at.v, axis=1)
        if shared is None or members is None:
            spread[loci] = variance(own, b, t) * unit[loci] ** 2
            continue
        slopes = Slopes.of(own, b, t)
        factors = (shared[:, block.rows[good]] * block.known[good][..., None]).astype(float)
        members[:, loci] = member_moves(own, slopes, b, t, factors / size[loci][None, :, None]) * unit[loci]
        spread[loci] = scatter(own, slopes, b, t) * unit[loci] ** 2
    return Solutions(
        beta=beta,
        variance=spread,
        members=members,
        reason=[why or (LOST if np.isnan(b[0]) else "") for why, b in zip(reason, beta, strict=True)],
        **result,
    )


def _sizes(
    x: Float[np.ndarray, "rows exposures"], covariance: Float[np.ndarray, "rows traits traits"], offsets: np.ndarray
) -> Float[np.ndarray, "loci traits"]:
    """Return the size of effects on every exposure, and of the errors of the outcome."""
    variances = np.diagonal(covariance, axis1=1, axis2=2)
    squares = variances + np.column_stack([x**2, np.zeros(len(x))])
    counts = np.maximum(np.diff(offsets), 1)
    mean = segment_sum(squares.T, offsets) / counts
    return np.sqrt(np.where(mean > 0, mean, 1.0)).T


def _laid(
    block: Block,
    effects: Float[np.ndarray, "rows traits"],
    covariance: Float[np.ndarray, "rows traits traits"],
    loss: Loss,
    overdispersed: bool,
    spent: int,
) -> Profile:
    known, traits = block.known, effects.shape[1]
    cells = effects[block.rows] * known[..., None]
    alone = np.zeros((traits, traits))
    alone[-1, -1] = 1.0
    return Profile(
        x=cells[..., :-1],
        y=cells[..., -1],
        errors=np.where(known[..., None, None], covariance[block.rows], alone),
        known=known.astype(float),
        df=np.maximum(known.sum(axis=1) - float(spent), 0.0),
        loss=loss,
        overdispersed=overdispersed,
    )
