"""Mixed meta-regression of loci by restricted likelihood: known errors, which loci may share, and their scatter."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import optimize

from deepmr.inference import TotalError, total_error

_GRID = np.concatenate([[0.0], np.geomspace(1e-8, 1.0, 33)])  # shares of the largest tau2 at which to look


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedFit:
    """Coefficients of effects b = X a + u + e, Var(u) = tau2, Cov(e) = diag(se^2) + F'F.

    Attributes
    ----------
    coefficients : of the columns of X.
    own : their covariance from what is each locus's own, by Hartung and Knapp where `scaled`.
    moved : how each factor of the shared errors moves them.
    tau2 : variance between loci.
    df : loci less coefficients.
    value : restricted log likelihood, without constants.
    projected, diagonal : P b and the diagonal of P = V^-1 - V^-1 X (X' V^-1 X)^-1 X' V^-1.
    """

    coefficients: Float[np.ndarray, "columns"]
    own: Float[np.ndarray, "columns columns"]
    moved: Float[np.ndarray, "factors columns"]
    tau2: float
    df: float
    value: float
    projected: Float[np.ndarray, "loci"]
    diagonal: Float[np.ndarray, "loci"]

    def error(self, x: Float[np.ndarray, "points columns"]) -> TotalError:
        """Return standard errors of x' coefficients, and their degrees of freedom."""
        own = np.einsum("pi,ij,pj->p", x, self.own, x)
        if not len(self.moved):
            return total_error(own, self.df, np.zeros((1, len(x))), padded=True)
        return total_error(own, self.df, self.moved @ x.T, padded=True)


def fit_mixed(
    beta: Float[np.ndarray, "loci"],
    se: Float[np.ndarray, "loci"],
    design: Float[np.ndarray, "loci columns"],
    *,
    factors: Float[np.ndarray, "factors loci"] | None = None,
    tau2: float | None = None,
    scaled: bool = True,
) -> MixedFit:
    """Fit a mixed meta-regression; of a column of ones, random effects.

    Parameters
    ----------
    beta, se : effects and their own standard errors.
    design : X, full rank, fewer columns than rows.
    factors : F; None where errors are independent.
    tau2 : variance between loci; None for the one of the highest restricted likelihood.
    scaled : whether errors of coefficients are Hartung and Knapp's.

    Notes
    -----
    Generalised least squares with V = diag(se^2 + tau2) + F'F. tau2 is the global maximum: the best of a grid, then the
    root of the score beside it. Hartung and Knapp's factor b'Pb / (n - columns) multiplies the part of the covariance
    that is each locus's own; what loci share shows in no scatter between them.

    References
    ----------
    Knapp G, Hartung J (2003). Stat Med 22:2693. doi:10.1002/sim.1482
    """
    shared = np.zeros((0, len(beta))) if factors is None else factors
    y = beta - beta.mean()
    if tau2 is None:
        tau2 = _highest(y, se**2, design, shared)
    at = _at(y, se**2, design, shared, tau2)
    weights = at.covariance @ at.solved.T
    own = (weights * (se**2 + tau2)) @ weights.T
    df = float(len(y) - design.shape[1])
    if scaled and y @ at.projected > 1e-20 * len(y):
        own = own * (y @ at.projected) / df
    coefficients = weights @ y
    back = np.linalg.lstsq(design, np.full(len(y), beta.mean()), rcond=None)[0]
    return MixedFit(
        coefficients=coefficients + back,
        own=own,
        moved=shared @ weights.T,
        tau2=float(tau2),
        df=df,
        value=at.value,
        projected=at.projected,
        diagonal=at.diagonal,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Solved:
    solved: Float[np.ndarray, "loci columns"]
    covariance: Float[np.ndarray, "columns columns"]
    projected: Float[np.ndarray, "loci"]
    diagonal: Float[np.ndarray, "loci"]
    value: float
    score: float


def _at(
    y: Float[np.ndarray, "loci"],
    variance: Float[np.ndarray, "loci"],
    design: Float[np.ndarray, "loci columns"],
    factors: Float[np.ndarray, "factors loci"],
    tau2: float,
) -> _Solved:
    """Evaluate the restricted likelihood and its slope in tau2, V inverted by Woodbury's formula."""
    own = variance + tau2
    inner = np.eye(len(factors)) + (factors / own) @ factors.T
    half = np.linalg.solve(np.linalg.cholesky(inner), factors / own)  # V^-1 = 1 / own - half' half

    def solve(values: np.ndarray) -> np.ndarray:
        made: np.ndarray = (values.T / own).T - half.T @ (half @ values)
        return made

    solved = solve(design)
    covariance = np.linalg.inv(design.T @ solved)
    projected = solve(y - design @ (covariance @ (solved.T @ y)))
    diagonal = 1 / own - (half**2).sum(axis=0) - np.einsum("ij,ij->i", solved @ covariance, solved)
    logs = np.log(own).sum() + np.linalg.slogdet(inner)[1] - np.linalg.slogdet(covariance)[1]
    return _Solved(
        solved=solved,
        covariance=covariance,
        projected=projected,
        diagonal=diagonal,
        value=float(-0.5 * (logs + y @ projected)),
        score=float(projected @ projected - diagonal.sum()),
    )


def _highest(
    y: Float[np.ndarray, "loci"],
    variance: Float[np.ndarray, "loci"],
    design: Float[np.ndarray, "loci columns"],
    factors: Float[np.ndarray, "factors loci"],
) -> float:
    top = float(np.ptp(y)) ** 2
    if top == 0:
        return 0.0
    grid = top * _GRID
    best = int(np.argmax([_at(y, variance, design, factors, t).value for t in grid]))

    def score(tau2: float) -> float:
        return _at(y, variance, design, factors, tau2).score

    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    if score(low) <= 0:
        return float(low) if best <= 1 else float(grid[best])
    if score(high) >= 0:
        return float(grid[best])
    return float(optimize.brentq(score, low, high, xtol=1e-15 * top, rtol=1e-14))
