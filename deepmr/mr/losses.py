"""Losses for standardised residuals, written in their squares, with the moments that variance formulas need."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

LossName = Literal["l2", "huber", "tukey"]
_TUNING = {"l2": np.inf, "huber": 1.345, "tukey": 4.685}  # 95 % efficient under normal errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A loss rho of a residual z, as functions of z^2.

    Attributes
    ----------
    name : l2, z^2 / 2; huber, linear beyond the tuning constant; tukey, constant beyond it.
    tuning : the tuning constant k.
    delta : E Z rho'(Z) for a standard normal Z.
    score_square : E rho'(Z)^2.
    pull_variance : Var Z rho'(Z).
    pull_slope : E Z (Z rho'(Z))'.
    mean, variance : of rho(Z).
    """

    name: LossName
    tuning: float
    delta: float
    score_square: float
    pull_variance: float
    pull_slope: float
    mean: float
    variance: float

    def weight(self, square: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Return rho'(z) / z."""
        return _weight(self.name, self.tuning, square)

    def slope(self, square: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Return the derivative of z rho'(z) with respect to z^2."""
        return _slope(self.name, self.tuning, square)

    def rho(self, square: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Return rho(z), scaled so that it begins as z^2 / 2."""
        return _rho(self.name, self.tuning, square)


@lru_cache
def loss_of(name: LossName) -> Loss:
    """Return the loss of this name with its usual tuning constant."""
    k = _TUNING[name]
    edges = [0.0, min(k, 12.0), 12.0]
    nodes, weights = np.polynomial.legendre.leggauss(80)
    z, mass = (np.concatenate(part) for part in zip(*(_piece(nodes, weights, *e) for e in _pairs(edges)), strict=True))
    square = z * z
    pull = _weight(name, k, square) * square
    rho = _rho(name, k, square)

    def mean(values: Float[np.ndarray, "nodes"]) -> float:
        return float(mass @ values)

    return Loss(
        name=name,
        tuning=k,
        delta=mean(pull),
        score_square=mean(_weight(name, k, square) * pull),
        pull_variance=mean(pull**2) - mean(pull) ** 2,
        pull_slope=mean(2 * square * _slope(name, k, square)),
        mean=mean(rho),
        variance=mean(rho**2) - mean(rho) ** 2,
    )


def _pairs(edges: list[float]) -> list[tuple[float, float]]:
    return [(a, b) for a, b in pairwise(edges) if b > a]


def _piece(
    nodes: Float[np.ndarray, "nodes"], weights: Float[np.ndarray, "nodes"], low: float, high: float
) -> tuple[Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]:
    """Gauss-Legendre nodes and normal masses, both tails together, of one smooth piece."""
    z = low + (high - low) * (nodes + 1) / 2
    return z, (high - low) * weights * stats.norm.pdf(z)


def _weight(name: LossName, k: float, square: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    if name == "l2":
        return np.ones_like(square)
    if name == "huber":
        return np.minimum(k / np.sqrt(np.maximum(square, 1e-300)), 1.0)
    return np.maximum(1 - square / k**2, 0.0) ** 2


def _slope(name: LossName, k: float, square: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    if name == "l2":
        return np.ones_like(square)
    if name == "huber":
        return np.where(square <= k**2, 1.0, _weight(name, k, square) / 2)
    share = np.minimum(square / k**2, 1.0)
    return (1 - share) * (1 - 3 * share)


def _rho(name: LossName, k: float, square: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    if name == "l2":
        return square / 2
    if name == "huber":
        return np.where(square <= k**2, square / 2, k * (np.sqrt(square) - k / 2))
    return k**2 / 6 * (1 - np.maximum(1 - square / k**2, 0.0) ** 3)
