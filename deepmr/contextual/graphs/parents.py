"""One node regressed on its parents with weights that are functions of context, and which parents the data ask for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import optimize
from scipy.linalg import cho_factor, cho_solve

from deepmr.contextual.graphs.products import Products

_WIDE = 3.0  # standard deviation of the log of a prior variance, whose median is the error variance
_LOW, _HIGH = -18.0, 18.0  # of these logs
_STEPS, _FALL = 60, 1e-8
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFit:
    """Weights of one node's parents.

    Attributes
    ----------
    node : which.
    parents : positions of nodes.
    mean : coefficients of the level and of each parent (rows) on each function.
    covariance : of these, in one vector.
    variance : of the error, with effective degrees of freedom taken off.
    edf : these.
    evidence : log marginal likelihood, at the most likely prior variances.
    support : log Bayes factor of each parent's edge against none.
    varying : log Bayes factor of each parent's edge against one that is constant.
    """

    node: int
    parents: Int[np.ndarray, "parents"]
    mean: Float[np.ndarray, "terms functions"]
    covariance: Float[np.ndarray, "flat flat"]
    variance: float
    edf: float
    evidence: float
    support: Float[np.ndarray, "parents"]
    varying: Float[np.ndarray, "parents"]


def fit_node(products: Products, node: int, parents: Sequence[int], parts: Int[np.ndarray, "functions"]) -> NodeFit:
    """Regress a node on its parents.

    Parameters
    ----------
    products : of standardised nodes.
    node : which.
    parents : nodes whose weights are functions of context.
    parts : what each function is: 0 constant, 1 linear, 2 other.

    Notes
    -----
    In units of the error variance, coefficients have independent normal priors: constant ones with the information of
    one sample (whose Bayes factors are near those of BIC), linear and other ones of a term with a variance each. These
    variances maximise the marginal likelihood times a log-normal prior, wide, whose median is 1. An edge's Bayes factor
    is the density at 0 of its coefficients before the data over that after them (Savage and Dickey), the error variance
    held at its estimate.

    References
    ----------
    Kass RE, Wasserman L (1995). J Am Stat Assoc 90:928. doi:10.1080/01621459.1995.10476592
    """
    columns = products.columns(parents)
    gram = products.gram[np.ix_(columns, columns)]
    target = products.constant[node]
    b, square = products.gram[columns, target], float(products.gram[target, target])
    terms, size = len(parents) + 1, len(parts)
    fixed = products.total / np.maximum(np.diag(gram), 1e-300)
    groups = np.where(parts > 0, 2 * np.arange(terms)[:, None] + parts - 1, -1).ravel()
    used, groups = np.unique(groups, return_inverse=True)
    free = used >= 0
    shift = int(not free.all())  # whether the first group is that of constants, which has no variance to be found

    def objective(logs: np.ndarray) -> tuple[float, np.ndarray]:
        tau2 = np.where(groups >= shift, np.exp(np.concatenate([np.zeros(shift), logs])[groups]), fixed)
        at = _solve(gram, b, square, products.total, tau2)
        slope = 0.5 * (at.mean**2 / (tau2 * at.variance) + np.diag(at.inverse) / tau2 - 1)
        gradient = -np.bincount(groups, slope, minlength=len(used))[shift:]
        return at.loss + 0.5 * float((logs / _WIDE) @ (logs / _WIDE)), gradient + logs / _WIDE**2

    logs = np.zeros(int(free.sum()))
    if len(logs):
        bounds = [(_LOW, _HIGH)] * len(logs)
        logs = optimize.minimize(
            objective, logs, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS, "ftol": _FALL}
        ).x
    tau2 = np.where(groups >= shift, np.exp(np.concatenate([np.zeros(shift), logs])[groups]), fixed)
    at = _solve(gram, b, square, products.total, tau2)
    edf = float(len(tau2) - (np.diag(at.inverse) / tau2).sum())
    variance = at.residual / max(products.total - edf, 1.0)
    covariance = variance * at.inverse
    prior_variance = variance * tau2
    own = np.arange(terms * size).reshape(terms, size)
    return NodeFit(
        node=node,
        parents=np.asarray(parents, dtype=int),
        mean=at.mean.reshape(terms, size),
        covariance=covariance,
        variance=variance,
        edf=edf,
        evidence=-at.loss,
        support=np.array([_against_zero(at.mean, covariance, prior_variance, own[k + 1]) for k in range(len(parents))]),
        varying=np.array(
            [_against_zero(at.mean, covariance, prior_variance, own[k + 1, parts > 0]) for k in range(len(parents))]
        ),
    )


class _Solved(NamedTuple):
    mean: np.ndarray
    inverse: np.ndarray
    residual: float
    variance: float
    loss: float


def _solve(gram: np.ndarray, b: np.ndarray, square: float, total: float, tau2: np.ndarray) -> _Solved:
    """Return coefficients at some prior variances, and minus the log marginal likelihood at its best error variance."""
    chol = cho_factor(gram + np.diag(1 / tau2), lower=True, check_finite=False)
    mean = cho_solve(chol, b, check_finite=False)
    rest = max(square - float(b @ mean), 1e-14 * square)
    variance = rest / total
    log_determinant = 2 * float(np.log(np.diag(chol[0])).sum()) + float(np.log(tau2).sum())
    # What is left, without the part of the penalty: the sum of squared residuals
    residual = max(rest - float(mean**2 @ (1 / tau2)), 1e-14 * square)
    return _Solved(
        mean=mean,
        inverse=cho_solve(chol, np.eye(len(b)), check_finite=False),
        residual=residual,
        variance=variance,
        loss=0.5 * (total * (np.log(variance) + _LOG_2PI + 1) + log_determinant),
    )


def _against_zero(mean: np.ndarray, covariance: np.ndarray, prior: np.ndarray, chosen: np.ndarray) -> float:
    """Return the log density of 0 under the prior of some coefficients, less that under their posterior."""
    if not len(chosen):
        return 0.0
    part, own = covariance[np.ix_(chosen, chosen)], prior[chosen]
    root = np.sqrt(own)
    scaled = part / np.outer(root, root)  # 1 for what the data say nothing of
    off = mean[chosen] / root
    chol = cho_factor(scaled, lower=True, check_finite=False)
    half_log_determinant = float(np.log(np.diag(chol[0])).sum())
    return 0.5 * float(off @ cho_solve(chol, off, check_finite=False)) + half_log_determinant


def choose_parents(
    products: Products,
    node: int,
    candidates: Sequence[int],
    parts: Int[np.ndarray, "functions"],
    *,
    least_support: float,
) -> NodeFit:
    """Regress a node on all candidates, then without the least supported as long as it has too little support.

    Parameters
    ----------
    products : of standardised nodes.
    node : which.
    candidates : nodes before it.
    parts : what each function is.
    least_support : log Bayes factor that an edge has to have.
    """
    kept = list(candidates)
    fit = fit_node(products, node, kept, parts)
    while kept and fit.support.min() < least_support:
        kept.pop(int(fit.support.argmin()))
        fit = fit_node(products, node, kept, parts)
    return fit
