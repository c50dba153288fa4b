"""The restricted likelihood of y ~ N(X b, sigma^2 K + tau^2 I), as a function of gamma = sigma^2 / tau^2."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from deepmr.population.projection import Projected

AT_ONCE = 64  # responses whose criterion is computed together over a grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """Generalised least squares at one gamma for each response, in units of V = I + gamma K.

    Attributes
    ----------
    weights : 1 / (1 + gamma s), of each eigenvector.
    factor : Cholesky factor L of Q'V^-1 Q, lower.
    coefficients : of e on Q.
    rss : e'V^-1 e at these coefficients.
    """

    weights: Float[np.ndarray, "traits rank"]
    factor: Float[np.ndarray, "traits fixed fixed"]
    coefficients: Float[np.ndarray, "traits fixed"]
    rss: Float[np.ndarray, "traits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """First and second derivative of the criterion in log gamma, for each response."""

    first: Float[np.ndarray, "traits"]
    second: Float[np.ndarray, "traits"]


def criterion_grid(model: Projected, log_gamma: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points traits"]:
    """Return minus the restricted log likelihood of every response at every log gamma.

    Parameters
    ----------
    model : responses and covariates.
    log_gamma : -inf is allowed: no random effects.

    Notes
    -----
    (sum log(1 + gamma s) + log |X'V^-1 X| + (n - f) log(rss / (n - f))) / 2 with V = I + gamma K; the constant
    (n - f)(1 + log 2 pi) / 2 - log |X'X| / 2 is left out, as Hail leaves it out.
    """
    f = model.fixed
    w = _weights(model.s, log_gamma)
    qq = (w @ (model.q[:, :, None] * model.q[:, None, :]).reshape(len(model.s), f * f)).reshape(len(w), f, f)
    factor = np.linalg.cholesky(qq + model.outside_qq)
    shared = 0.5 * (_log_volume(model.s, log_gamma) + _log_det(factor) + _log_triangle(model))
    value = np.empty((len(log_gamma), model.traits))
    for start in range(0, model.traits, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        e = model.e[:, part]
        of_both = (model.q[:, :, None] * e[:, None, :]).reshape(len(model.s), f * e.shape[1])
        qe = (w @ of_both).reshape(len(w), f, e.shape[1])
        ee = w @ e**2 + model.outside_ee[part]
        along = np.linalg.solve(factor, qe + model.outside_qe[:, part])
        rss = ee - (along**2).sum(1)
        value[:, part] = shared[:, None] + 0.5 * _log_rss(model, rss)
    return value


def criterion(model: Projected, log_gamma: Float[np.ndarray, "traits"]) -> Float[np.ndarray, "traits"]:
    """Return minus the restricted log likelihood of each response at its own log gamma; `criterion_grid` has it.

    Parameters
    ----------
    model, log_gamma : as there.
    """
    solved = solve(model, log_gamma)
    volume = _log_volume(model.s, log_gamma) + _log_det(solved.factor) + _log_triangle(model)
    return 0.5 * (volume + _log_rss(model, solved.rss))


def solve(
    model: Projected, log_gamma: Float[np.ndarray, "traits"], *, traits: Int[np.ndarray, "chosen"] | None = None
) -> Solved:
    """Fit the coefficients of responses, each at its own log gamma.

    Parameters
    ----------
    model : responses and covariates.
    log_gamma : of the chosen responses.
    traits : which responses; all, unless given.
    """
    chosen = np.arange(model.traits) if traits is None else traits
    w = _weights(model.s, log_gamma)
    qq, qe, ee = _moments(model, w, chosen, 1)
    factor = np.linalg.cholesky(qq)
    along = np.linalg.solve(factor, qe[:, :, None])
    coefficients = np.linalg.solve(np.swapaxes(factor, 1, 2), along)[:, :, 0]
    return Solved(weights=w, factor=factor, coefficients=coefficients, rss=ee - (along[:, :, 0] ** 2).sum(1))


def slope(
    model: Projected, log_gamma: Float[np.ndarray, "traits"], *, traits: Int[np.ndarray, "chosen"] | None = None
) -> Slope:
    """Return derivatives of the criterion, of responses each at its own log gamma.

    Parameters
    ----------
    model, log_gamma, traits : as in `solve`.

    Notes
    -----
    With P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1 and V = I + gamma K, dV / d log gamma = V - I, so with
    q_k = y'P^k y and t_k = tr P^k the first derivative is ((n - f) q_2 / q_1 - t_1) / 2, and the second
    ((n - f)(q_2 (q_1 - q_2) / q_1^2 - 2 (q_2 - q_3) / q_1) + t_1 - t_2) / 2.
    """
    chosen = np.arange(model.traits) if traits is None else traits
    w = _weights(model.s, log_gamma)
    one, two, three = (_moments(model, w, chosen, k) for k in (1, 2, 3))
    inverse = np.linalg.inv(one[0])
    b = np.einsum("tij,tj->ti", inverse, one[1])

    def between(k: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Return r'V^-k r of the residuals r = e - Q b."""
        return k[2] - 2 * np.einsum("ti,ti->t", b, k[1]) + np.einsum("ti,tij,tj->t", b, k[0], b)

    # V^-1 r is P y; P V^-1 r = V^-2 r less its part along Q.
    along = two[1] - np.einsum("tij,tj->ti", two[0], b)
    fitted = np.einsum("tij,tj->ti", inverse, along)
    q1, q2 = between(one), between(two)
    q3 = between(three) - np.einsum("ti,ti->t", along, fitted)
    outside = model.n - len(model.s)
    a2 = inverse @ two[0]
    t1 = w.sum(1) + outside - np.trace(a2, axis1=1, axis2=2)
    t2 = (w**2).sum(1) + outside - 2 * np.trace(inverse @ three[0], axis1=1, axis2=2)
    t2 = t2 + np.trace(a2 @ a2, axis1=1, axis2=2)
    dof = model.n - model.fixed
    return Slope(
        first=0.5 * (dof * q2 / q1 - t1),
        second=0.5 * (dof * (q2 * (q1 - q2) / q1**2 - 2 * (q2 - q3) / q1) + t1 - t2),
    )


def _weights(s: Float[np.ndarray, "rank"], log_gamma: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points rank"]:
    return 1.0 / (1.0 + np.exp(log_gamma)[:, None] * s)


def _moments(
    model: Projected, w: Float[np.ndarray, "chosen rank"], chosen: Int[np.ndarray, "chosen"], power: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Q'V^-k Q, Q'V^-k e and e'V^-k e of each response."""
    f = model.fixed
    wk = w**power
    e = model.e[:, chosen].T
    qq = (wk @ (model.q[:, :, None] * model.q[:, None, :]).reshape(len(model.s), f * f)).reshape(len(wk), f, f)
    return (
        qq + model.outside_qq,
        (wk * e) @ model.q + model.outside_qe[:, chosen].T,
        (wk * e**2).sum(1) + model.outside_ee[chosen],
    )


def _log_volume(s: Float[np.ndarray, "rank"], log_gamma: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points"]:
    return np.log1p(np.exp(log_gamma)[:, None] * s).sum(1)


def _log_det(factor: Float[np.ndarray, "points fixed fixed"]) -> Float[np.ndarray, "points"]:
    return 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)


def _log_triangle(model: Projected) -> float:
    return float(2 * np.log(np.abs(np.diagonal(model.triangle))).sum())


def _log_rss(model: Projected, rss: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    dof = model.n - model.fixed
    return dof * np.log(np.maximum(rss, np.finfo(float).tiny) / dof)
