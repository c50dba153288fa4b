"""All solutions of estimating equations in an effect and an overdispersion, at many loci at once."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

_FAR, _NEAR = 48, 24  # grid points over all effects, and around a first estimate
_ROUNDS = 60
_COARSE, _FINE = 1e-3, 1e-14


@runtime_checkable
class Equations(Protocol):
    """Two equations a locus: a score of the effect, and one for the overdispersion where that is estimated."""

    @property
    def overdispersed(self) -> bool:
        """Whether the second equation is to be solved; otherwise tau2 is 0."""

    def evaluate(
        self, beta: Float[np.ndarray, "block"], tau2: Float[np.ndarray, "block"]
    ) -> tuple[Float[np.ndarray, "block"], Float[np.ndarray, "block"], Float[np.ndarray, "block"]]:
        """Return the score, the second equation (positive where tau2 is too small), and its slope in tau2."""

    def take(self, index: Int[np.ndarray, "picked"]) -> "Equations":
        """Return the equations of these loci."""

    def moved(self, by_x: Float[np.ndarray, "block width"], by_y: Float[np.ndarray, "block width"]) -> "Equations":
        """Return the equations with other effects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """Solutions, one row each, those of one locus in ascending order.

    Attributes
    ----------
    home : number of the locus.
    beta, tau2 : the solution.
    """

    home: Int[np.ndarray, "roots"]
    beta: Float[np.ndarray, "roots"]
    tau2: Float[np.ndarray, "roots"]


def find_roots(
    equations: Equations,
    *,
    scale: Float[np.ndarray, "block"],
    centre: Float[np.ndarray, "block"],
    width: Float[np.ndarray, "block"],
    unit: Float[np.ndarray, "block"],
) -> Roots:
    """Find the effects at which the score falls through zero: the local maxima of the profile.

    Parameters
    ----------
    scale : size of effects, in their unit: the grid is even in arctan(beta / scale), so no effect lies outside it.
    centre, width : a first estimate, and how far around it a second, fine grid reaches.
    unit : size of tau2 to begin with.

    Notes
    -----
    The overdispersion is solved for at every effect (`tau2(beta)`, at least 0), which leaves one equation in one
    unknown, and its falling sign changes are refined by Chandrupatla's method. Where tau2(beta) is 0 because scatter is
    smaller than the standard errors say, this is the fit without overdispersion. Rising sign changes are minima of the
    profile and no estimates.

    References
    ----------
    Chandrupatla TR. A new hybrid quadratic/bisection algorithm for finding the zero of a nonlinear function without
    using derivatives. Adv Eng Softw 1997. https://doi.org/10.1016/S0965-9978(96)00051-8
    """
    angles = (np.arange(_FAR) + 0.5) / _FAR * np.pi - np.pi / 2
    far = scale[:, None] * np.tan(angles)
    near = centre[:, None] + width[:, None] * np.linspace(-1.0, 1.0, _NEAR + 1)
    grid = np.sort(np.concatenate([far, near], axis=1), axis=1)
    values, tau2 = np.empty_like(grid), np.zeros_like(grid)
    warm = np.zeros(len(scale))
    for i in range(grid.shape[1]):
        values[:, i], warm = profile_dispersion(equations, grid[:, i], warm, unit, _COARSE)
        tau2[:, i] = warm
    home, left = np.nonzero((values[:, :-1] >= 0) & (values[:, 1:] < 0))
    ends = np.clip(np.stack([left - 1, left, left + 1, left + 2]), 0, grid.shape[1] - 1)
    beta, found, good = _refine(equations.take(home), grid[home, ends], tau2[home, left], unit[home], scale[home])
    return Roots(home=home[good], beta=beta[good], tau2=found[good])


def profile_dispersion(
    equations: Equations,
    beta: Float[np.ndarray, "block *parameters"],
    start: Float[np.ndarray, "block"],
    unit: Float[np.ndarray, "block"],
    tolerance: float,
) -> tuple[Float[np.ndarray, "block *parameters"], Float[np.ndarray, "block"]]:
    """Return the score at these effects with tau2 solved for, and that tau2: Newton between bounds."""
    if not equations.overdispersed:
        return equations.evaluate(beta, np.zeros_like(start))[0], np.zeros_like(start)
    tau2, low, high = start.copy(), np.zeros_like(start), np.full_like(start, np.inf)
    for _ in range(_ROUNDS):
        score, excess, slope = equations.evaluate(beta, tau2)
        low, high = np.where(excess > 0, tau2, low), np.where(excess > 0, high, tau2)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.maximum(tau2 - excess / slope, 0.0)
        middle = np.where(np.isinf(high), 4 * tau2 + unit, (low + high) / 2)
        steady = (slope < 0) & (step >= low) & (step <= high) & (step <= 100 * (tau2 + unit))
        new = np.where(excess == 0, tau2, np.where(steady, step, middle))
        new = np.where(high == 0, 0.0, new)  # less scatter than the errors explain even without tau2
        moved = np.abs(new - tau2) > tolerance * (new + unit)
        if not moved.any():
            break
        # A locus that has settled keeps its place while others go on: what shares its block must not matter.
        tau2 = np.where(moved, new, tau2)
    return score, tau2


def _refine(
    equations: Equations,
    ends: Float[np.ndarray, "4 roots"],
    warm: Float[np.ndarray, "roots"],
    unit: Float[np.ndarray, "roots"],
    scale: Float[np.ndarray, "roots"],
) -> tuple[Float[np.ndarray, "roots"], Float[np.ndarray, "roots"], Bool[np.ndarray, "roots"]]:
    """Narrow brackets (the two inner points; where tau2 was too coarse there, the outer ones) down to rounding.

    Returns the solution, its tau2, and whether it is one: a score that jumps over zero is not.
    """
    whole, a, b = equations, ends[1].copy(), ends[2].copy()
    at_a, _ = profile_dispersion(equations, a, warm, unit, _FINE)
    at_b, _ = profile_dispersion(equations, b, warm, unit, _FINE)
    if np.any((at_a < 0) | (at_b >= 0)):
        a, b = np.where(at_a < 0, ends[0], a), np.where(at_b >= 0, ends[3], b)
        at_a, _ = profile_dispersion(equations, a, warm, unit, _FINE)
        at_b, _ = profile_dispersion(equations, b, warm, unit, _FINE)
    size = np.maximum(np.abs(at_a), np.abs(at_b))
    beta, active, tau = a.copy(), np.arange(len(a)), warm.copy()
    x1, x2, f1, f2, share = b, a, at_b, at_a, np.full(len(a), 0.5)
    x3, f3 = x1, f1
    for _ in range(_ROUNDS):
        best1 = np.abs(f1) < np.abs(f2)
        beta[active] = np.where(best1, x1, x2)
        tolerance = 2e-16 * np.abs(beta[active]) + 1e-18 * scale[active]
        gap = np.abs(x2 - x1)
        going = (gap > 2 * tolerance) & (np.where(best1, f1, f2) != 0)
        going &= np.sign(f1) != np.sign(f2)
        if not going.all():
            active = active[going]
            x1, x2, x3, f1, f2, f3, share, tau, tolerance, gap = (
                part[going] for part in (x1, x2, x3, f1, f2, f3, share, tau, tolerance, gap)
            )
            equations = equations.take(np.flatnonzero(going))
        if not len(active):
            break
        share = np.clip(share, tolerance / gap, 1 - tolerance / gap)
        new = x1 + share * (x2 - x1)
        value, tau = profile_dispersion(equations, new, tau, unit[active], _FINE)
        same = np.sign(value) == np.sign(f1)
        x3, f3 = np.where(same, x1, x2), np.where(same, f1, f2)
        x2, f2 = np.where(same, x2, x1), np.where(same, f2, f1)
        x1, f1 = new, value
        share = _next_share(x1, x2, x3, f1, f2, f3)
    final, tau2 = profile_dispersion(whole, beta, warm, unit, _FINE)
    return beta, tau2, (at_a >= 0) & (at_b < 0) & (np.abs(final) <= 1e-6 * size)


def _next_share(
    x1: Float[np.ndarray, "roots"],
    x2: Float[np.ndarray, "roots"],
    x3: Float[np.ndarray, "roots"],
    f1: Float[np.ndarray, "roots"],
    f2: Float[np.ndarray, "roots"],
    f3: Float[np.ndarray, "roots"],
) -> Float[np.ndarray, "roots"]:
    """Where to go between x1 and x2: by inverse quadratic interpolation where that is safe, else half way."""
    with np.errstate(divide="ignore", invalid="ignore"):
        xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
        safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
        curved = f1 / (f2 - f1) * f3 / (f2 - f3) + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2)
    return np.where(safe & np.isfinite(curved), curved, 0.5)


def nearest(roots: Roots, target: Float[np.ndarray, "block"], scale: Float[np.ndarray, "block"]) -> "Chosen":
    """Choose for every locus the solution whose angle arctan(beta / scale) is nearest to that of a target."""
    distance = np.abs(np.arctan(roots.beta / scale[roots.home]) - np.arctan(target / scale)[roots.home])
    return _choose(roots, distance, len(target))


def smallest(roots: Roots, loss: Float[np.ndarray, "roots"], n_loci: int) -> "Chosen":
    """Choose for every locus the solution with the smallest loss."""
    return _choose(roots, loss, n_loci)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """One solution a locus, NaN where there is none, and how many there were."""

    beta: Float[np.ndarray, "block"]
    tau2: Float[np.ndarray, "block"]
    count: Float[np.ndarray, "block"]
    found: Bool[np.ndarray, "block"]


def _choose(roots: Roots, cost: Float[np.ndarray, "roots"], n_loci: int) -> Chosen:
    order = np.lexsort((cost, roots.home))
    home, first = np.unique(roots.home[order], return_index=True)
    beta, tau2 = np.full(n_loci, np.nan), np.full(n_loci, np.nan)
    beta[home], tau2[home] = roots.beta[order][first], roots.tau2[order][first]
    count = np.bincount(roots.home, minlength=n_loci).astype(float)
    return Chosen(beta=beta, tau2=tau2, count=count, found=count > 0)
