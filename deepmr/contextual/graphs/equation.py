"""One node given others, y = sum_k x_k f_k(c) + e with e normal of variance exp(g(c)): f and g smooth in context."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve

_LOW, _HIGH = 1e-8, 1e3  # of the variance of a coefficient
_PSEUDO, _TYPICAL = 0.5, 0.1  # functions' worth of prior information on a variance, and the variance it says
_STEPS, _DONE = 60, 1e-6
_CAP = 30.0  # of log variances of standardised values
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, slots=True, kw_only=True)
class Equation:
    """Coefficients of the functions of context that one node is given by.

    Attributes
    ----------
    parents : positions of the nodes it is regressed on.
    mean : coefficients of the level and of each parent (rows) on each function of context.
    root : R with R R' their covariance, all of them in one vector.
    log_variance : coefficients of the log error variance.
    log_root : the same of these.
    tau2 : prior variances of linear and smooth parts, the level's first and that of the log variance last.
    evidence : log marginal likelihood, by Laplace's approximation.
    edf : effective degrees of freedom.
    """

    parents: Int[np.ndarray, "parents"]
    mean: Float[np.ndarray, "columns functions"]
    root: Float[np.ndarray, "flat flat"]
    log_variance: Float[np.ndarray, "functions"]
    log_root: Float[np.ndarray, "functions functions"]
    tau2: Float[np.ndarray, "terms parts"]
    evidence: float
    edf: float

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it as arrays; `from_arrays` takes them back."""
        return {
            "parents": self.parents,
            "mean": self.mean,
            "root": self.root,
            "log_variance": self.log_variance,
            "log_root": self.log_root,
            "tau2": self.tau2,
            "measures": np.array([self.evidence, self.edf]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "Equation":
        """Make it again from what `arrays` returned.

        Parameters
        ----------
        arrays : as they were.
        """
        evidence, edf = (float(value) for value in arrays["measures"])
        names = ("parents", "mean", "root", "log_variance", "log_root", "tau2")
        return cls(**{name: arrays[name] for name in names}, evidence=evidence, edf=edf)


def fit_equation(
    y: Float[np.ndarray, "samples"],
    x: Float[np.ndarray, "samples columns"],
    functions: Float[np.ndarray, "samples functions"],
    counts: Float[np.ndarray, "samples"],
    *,
    parents: Int[np.ndarray, "parents"],
    linear: int,
    start: Float[np.ndarray, "terms parts"] | None = None,
) -> Equation:
    """Fit one node's coefficients and log error variance as functions of context.

    Parameters
    ----------
    y : the node, standardised.
    x : ones, then its parents, standardised.
    functions : of context: 1, linear ones, smooth ones.
    counts : how many rows each row stands for.
    parents : positions of the parents.
    linear : how many functions are linear.
    start : prior variances to start from, as of a fit with other functions.

    Notes
    -----
    Constants have flat priors; linear and smooth coefficients of term k have variances tau_k1^2 and tau_k2^2. Given g,
    the coefficients have a normal posterior N(b, A^-1); given that posterior, g maximises the expected log density,
    with r_i^2 + x_i' A^-1 x_i for the squared residual, by Fisher scoring, whose information F'F / 2 + prior does not
    change. Each tau^2 is b'b over its effective degrees of freedom (Fellner, Schall; here with half a function's worth
    of prior information, which keeps intervals of nearly constant coefficients from closing). Mean and variance are
    orthogonal in the information matrix, which is why the two posteriors are taken as independent.

    References
    ----------
    Schall R (1991). Biometrika 78:719. doi:10.1093/biomet/78.4.719
    Wood SN, Fasiolo M (2017). Biometrics 73:1071. doi:10.1111/biom.12666
    """
    columns, size = x.shape[1], functions.shape[1]
    flat = (x[:, :, None] * functions[:, None, :]).reshape(len(y), columns * size)
    part = np.concatenate([[0], np.full(linear, 1), np.full(size - 1 - linear, 2)]).astype(int)
    tau2 = np.full((columns + 1, 2), _TYPICAL) if start is None else start.copy()
    log_variance = np.zeros(size)
    log_variance[0] = np.log(max(float(counts @ y**2 / counts.sum()), 1e-12))
    half_gram = 0.5 * (functions.T * counts) @ functions
    value = -np.inf
    for _ in range(_STEPS):
        weights = counts * np.exp(-_log(functions, log_variance))
        prior, prior_g = _precision(tau2[:-1], part).ravel(), _precision(tau2[-1:], part)[0]
        chol = cho_factor((flat.T * weights) @ flat + np.diag(prior), lower=True, check_finite=False)
        mean = cho_solve(chol, flat.T @ (weights * y), check_finite=False)
        covariance = cho_solve(chol, np.eye(len(mean)), check_finite=False)
        residual = (y - flat @ mean) ** 2
        squared = residual + np.einsum("ij,ij->i", flat @ covariance, flat)
        information_g = half_gram + np.diag(prior_g)
        log_variance = _score(log_variance, functions, counts, squared, information_g, prior_g)
        covariance_g = np.linalg.inv(information_g)
        variance, variance_g = np.diag(covariance), np.diag(covariance_g)
        before = value
        value = _evidence(
            (counts, residual, _log(functions, log_variance)),
            (mean, prior, 2 * np.log(np.diag(chol[0])).sum()),
            (log_variance, prior_g, np.linalg.slogdet(information_g)[1]),
        )
        edf = float(len(mean) + size - prior @ variance - prior_g @ variance_g)
        of_mean = _variances(mean.reshape(columns, size), variance.reshape(columns, size), tau2[:-1], part)
        tau2 = np.vstack([of_mean, _variances(log_variance[None], variance_g[None], tau2[-1:], part)])
        if abs(value - before) < _DONE * (1 + abs(value)):
            break
    return Equation(
        parents=parents,
        mean=mean.reshape(columns, size),
        root=_root(covariance),
        log_variance=log_variance,
        log_root=_root(covariance_g),
        tau2=tau2,
        evidence=float(value),
        edf=edf,
    )


def _log(functions: Float[np.ndarray, "samples functions"], log_variance: Float[np.ndarray, "functions"]) -> np.ndarray:
    """Return the log error variance of each row."""
    return np.clip(functions @ log_variance, -_CAP, _CAP)


def _precision(tau2: Float[np.ndarray, "terms parts"], part: Int[np.ndarray, "functions"]) -> np.ndarray:
    """Return the prior precision of every coefficient: 0 for constants."""
    return np.column_stack([np.zeros(len(tau2)), 1 / tau2])[:, part]


def _variances(
    mean: Float[np.ndarray, "terms functions"],
    variance: Float[np.ndarray, "terms functions"],
    tau2: Float[np.ndarray, "terms parts"],
    part: Int[np.ndarray, "functions"],
) -> Float[np.ndarray, "terms parts"]:
    """Return the next prior variances: squared coefficients over effective degrees of freedom."""
    found = np.empty_like(tau2)
    for k in (1, 2):
        chosen = part == k
        edf = chosen.sum() - variance[:, chosen].sum(axis=1) / tau2[:, k - 1]
        total = (mean[:, chosen] ** 2).sum(axis=1) + _PSEUDO * _TYPICAL
        found[:, k - 1] = total / (np.maximum(edf, 0.0) + _PSEUDO)
    return np.clip(found, _LOW, _HIGH)


def _score(
    log_variance: Float[np.ndarray, "functions"],
    functions: Float[np.ndarray, "samples functions"],
    counts: Float[np.ndarray, "samples"],
    squared: Float[np.ndarray, "samples"],
    information: Float[np.ndarray, "functions functions"],
    prior: Float[np.ndarray, "functions"],
) -> Float[np.ndarray, "functions"]:
    """Return coefficients of the log variance after a few steps of Fisher scoring."""
    chol = cho_factor(information, lower=True, check_finite=False)
    for _ in range(4):
        g = _log(functions, log_variance)
        ratio = np.minimum(squared * np.exp(-g), 1e3)
        slope = functions.T @ (counts * (0.5 * ratio - 0.5)) - prior * log_variance
        log_variance = log_variance + cho_solve(chol, slope, check_finite=False)
    return log_variance


def _evidence(rows: tuple, coefficients: tuple, log_variances: tuple) -> float:
    """Return the log marginal likelihood: each part is coefficients, prior precisions and the log determinant."""
    counts, residual, g = rows
    value = -0.5 * float(counts @ (_LOG_2PI + g + residual * np.exp(-g)))
    for mean, prior, log_determinant in (coefficients, log_variances):
        value += 0.5 * float(np.log(prior[prior > 0]).sum() - prior @ mean**2 - log_determinant)
    return value


def _root(covariance: Float[np.ndarray, "size size"]) -> Float[np.ndarray, "size size"]:
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))
