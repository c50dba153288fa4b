"""Weighted sums over all loci as functions of tau2, in Chebyshev polynomials: one look at the loci serves them all."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_NODES = 18  # of a panel
_CELLS = 2_000_000  # nodes times loci at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Sums with the weights u = (tau2 + least) / (variance + tau2), residuals r about the weighted mean.

    Attributes
    ----------
    least : smallest variance.
    width : of a panel of log(1 + tau2 / least).
    coefficients : of the sums of u, u^2, u^3, then the mean, sums of u r^2, u^2 r, u^2 r^2, u^3 r, u^3 r^2,
        u^2 times sampling variance, and u times each row of factors.

    Notes
    -----
    In s = log(1 + tau2 / least) these functions are analytic where |Im s| < pi, since all their poles and branch points
    are at tau2 <= -least. On panels no wider than 1 the coefficients fall by 12.6 each: 18 reach rounding.
    """

    least: float
    width: float
    coefficients: Float[np.ndarray, "panels nodes sums"]

    def at(self, tau2: Float[np.ndarray, "points"]) -> Float[np.ndarray, "sums points"]:
        """Return every sum at every tau2, by Clenshaw's recurrence."""
        place = np.log1p(tau2 / self.least) / self.width
        panel = np.clip(place.astype(int), 0, len(self.coefficients) - 1)
        x = (2 * (place - panel) - 1)[:, None]
        one = two = np.zeros((len(tau2), self.coefficients.shape[2]))
        for j in range(_NODES - 1, 0, -1):
            one, two = 2 * x * one - two + self.coefficients[panel, j], one
        return (x * one - two + self.coefficients[panel, 0]).T


def fit_curves(
    beta: Float[np.ndarray, "studies"],
    variance: Float[np.ndarray, "studies"],
    sampling: Float[np.ndarray, "studies"],
    factors: Float[np.ndarray, "factors studies"],
    *,
    highest: float,
    dominant: float,
) -> tuple[Curves, set[int]]:
    """Fit the curves from 0 to a highest tau2, and return the loci that somewhere make up most of a sum.

    Parameters
    ----------
    dominant : share of the sum of u^a r^2, a from 0 to 3, that is most.
    """
    least = float(variance.min())
    length = float(np.log1p(highest / least))
    panels = max(1, int(np.ceil(length)))
    width = max(length / panels, 1e-3)
    angles = np.pi * (np.arange(_NODES) + 0.5) / _NODES
    place = (np.arange(panels)[:, None] + (np.cos(angles) + 1) / 2) * width
    tau2 = least * np.expm1(place.ravel())
    values, seen = [], _most(np.square(beta - beta.mean())[None], dominant)
    at_once = max(1, _CELLS // len(beta))
    for start in range(0, len(tau2), at_once):
        part, found = _sums(beta, variance, sampling, factors, tau2[start : start + at_once], least, dominant)
        values.append(part)
        seen |= found
    transform = 2 / _NODES * np.cos(np.arange(_NODES)[:, None] * angles)
    transform[0] /= 2
    coefficients = transform @ np.concatenate(values).reshape(panels, _NODES, -1)
    return Curves(least=least, width=width, coefficients=coefficients), seen


def _sums(
    beta: Float[np.ndarray, "studies"],
    variance: Float[np.ndarray, "studies"],
    sampling: Float[np.ndarray, "studies"],
    factors: Float[np.ndarray, "factors studies"],
    tau2: Float[np.ndarray, "nodes"],
    least: float,
    dominant: float,
) -> tuple[Float[np.ndarray, "nodes sums"], set[int]]:
    """Return the sums at some tau2, and who dominates them."""
    u = (tau2[:, None] + least) / (variance + tau2[:, None])
    total = u.sum(axis=1)
    mean = u @ beta / total
    r = beta - mean[:, None]
    ur2 = u * r**2
    square = u**2
    columns = [total, square.sum(axis=1), (square * u).sum(axis=1), mean, ur2.sum(axis=1)]
    seen = _most(ur2, dominant)
    columns += [(square * r).sum(axis=1), (u * ur2).sum(axis=1), (square * u * r).sum(axis=1)]
    ur2 *= u
    seen |= _most(ur2, dominant)
    ur2 *= u
    seen |= _most(ur2, dominant)
    columns += [ur2.sum(axis=1), square @ sampling]
    return np.column_stack([*columns, u @ factors.T]), seen


def _most(terms: Float[np.ndarray, "nodes studies"], dominant: float) -> set[int]:
    """Return who makes up most of the sum in any row."""
    who = terms.argmax(axis=1)
    share = terms[np.arange(len(terms)), who] > dominant * terms.sum(axis=1)
    return set(who[share].tolist())
