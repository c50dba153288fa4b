"""Ridge regression with constants that have no penalty: every penalty and left-out row from one decomposition."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

_RANK = 1e-12  # of a singular value against the largest, below which it is 0
OWN = 1e-10  # share of itself that a row may still not explain, below which it cannot be left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposition:
    """Rows of a weighted design, constants split off: sqrt(weight) [constants, varying] = [q r, q r lift + u s vt].

    Attributes
    ----------
    root : square roots of the weights.
    counts : how many rows each stands for.
    q, r : of the constants.
    u, s, vt : of what constants do not explain of the varying columns.
    lift : coefficients of the varying columns on the constants.
    """

    root: Float[np.ndarray, "rows"]
    counts: Float[np.ndarray, "rows"]
    q: Float[np.ndarray, "rows constants"]
    r: Float[np.ndarray, "constants constants"]
    u: Float[np.ndarray, "rows rank"]
    s: Float[np.ndarray, "rank"]
    vt: Float[np.ndarray, "rank functions"]
    lift: Float[np.ndarray, "constants functions"]

    def kept(self, penalty: Float[np.ndarray, "_"] | float) -> Float[np.ndarray, "*_ rank"]:
        """Return the share of each singular direction that a penalty leaves: s^2 / (s^2 + penalty)."""
        square = self.s**2
        return square / (square + np.asarray(penalty)[..., None])

    def edf(self, penalty: float) -> float:
        """Return effective degrees of freedom, constants among them."""
        return self.q.shape[1] + float(self.kept(penalty).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Predictions of rows by fits without them.

    Attributes
    ----------
    error : outcome less its prediction, a column a penalty.
    scored : rows without which constants are still determined.
    sound : penalties under which no row that is scored is predicted by itself alone.
    """

    error: Float[np.ndarray, "rows penalties"]
    scored: Bool[np.ndarray, "rows"]
    sound: Bool[np.ndarray, "penalties"]


def decompose(
    constants: Float[np.ndarray, "rows constants"],
    varying: Float[np.ndarray, "rows functions"],
    *,
    weights: Float[np.ndarray, "rows"],
    counts: Float[np.ndarray, "rows"],
) -> Decomposition:
    """Decompose a design once, for every outcome and penalty.

    Parameters
    ----------
    constants : columns that are not penalised, independent of each other.
    varying : columns that are.
    weights : of squared errors: how many rows each stands for, over the variance of its error where it is known.
    counts : how many rows each stands for.
    """
    root = np.sqrt(weights)
    q, r = np.linalg.qr(constants * root[:, None])
    weighted = varying * root[:, None]
    on_q = q.T @ weighted
    u, s, vt = np.linalg.svd(weighted - q @ on_q, full_matrices=False)
    kept = s > _RANK * np.sqrt((weighted**2).sum())
    return Decomposition(
        root=root, counts=counts, q=q, r=r, u=u[:, kept], s=s[kept], vt=vt[kept], lift=np.linalg.solve(r, on_q)
    )


def penalties(of: Decomposition) -> Float[np.ndarray, "penalties"]:
    """Return the penalties to choose among: none where that has one solution, and from next to none to next to all.

    Parameters
    ----------
    of : a design.
    """
    if not len(of.s):
        return np.zeros(1)
    grid = float(np.mean(of.s**2)) * 10.0 ** np.arange(-10, 4.25, 0.5)
    return np.concatenate([[0.0], grid]) if len(of.s) == of.vt.shape[1] else grid


def leave_out(
    of: Decomposition,
    outcome: Float[np.ndarray, "rows"],
    penalty: Float[np.ndarray, "penalties"],
    groups: Int[np.ndarray, "rows"] | None = None,
) -> LeftOut:
    """Predict every row, or every group of rows, by the fit without it, for every penalty at once.

    Parameters
    ----------
    of : the design.
    outcome : as it is, not weighted.
    penalty : on the sum of squares of the coefficients of the varying columns.
    groups : number of each row's group, which is left out whole; without, one copy of a row is.

    Notes
    -----
    With H the matrix that turns weighted outcomes into weighted fitted values, and e their errors, the errors of fits
    without the rows G are (I - H_GG)^-1 e_G, exactly. The functions of context stay those of all rows. A row that
    stands for m leaves one of them out, whose leverage is H_ii / m.
    """
    y = outcome * of.root
    kept = of.kept(penalty)
    residual = (y - of.q @ (of.q.T @ y))[:, None] - of.u @ (kept.T * (of.u.T @ y)[:, None])
    if groups is not None:
        return _leave_groups(of, residual, kept, groups)
    fixed = 1 - (of.q**2).sum(axis=1) / of.counts
    left = fixed[:, None] - of.u**2 @ kept.T / of.counts[:, None]
    scored = fixed > OWN
    sound = (left[scored] > OWN * fixed[scored, None]).all(axis=0)
    error = residual / of.root[:, None] / np.maximum(left, OWN**2)
    return LeftOut(error=error, scored=scored, sound=sound)


def _leave_groups(
    of: Decomposition,
    residual: Float[np.ndarray, "rows penalties"],
    kept: Float[np.ndarray, "penalties rank"],
    groups: Int[np.ndarray, "rows"],
) -> LeftOut:
    error, scored = np.zeros_like(residual), np.ones(len(groups), dtype=bool)
    sound = np.ones(len(kept), dtype=bool)
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        q, u = of.q[rows], of.u[rows]
        if np.linalg.eigvalsh(np.eye(q.shape[1]) - q.T @ q)[0] < OWN:
            scored[rows] = False
            continue
        for k, share in enumerate(kept):
            columns = np.hstack([q, u * np.sqrt(share)])
            inner, outer = columns.T @ columns, columns @ columns.T
            small = inner if len(inner) < len(outer) else outer
            left = np.eye(len(small)) - small
            if np.linalg.eigvalsh(left)[0] < OWN:
                sound[k] = False
                continue
            e = residual[rows, k]
            solved = e + columns @ np.linalg.solve(left, columns.T @ e) if small is inner else np.linalg.solve(left, e)
            error[rows, k] = solved / of.root[rows]
    return LeftOut(error=error, scored=scored, sound=sound)


def coefficients(
    of: Decomposition, outcome: Float[np.ndarray, "rows"], penalty: float
) -> Float[np.ndarray, "coefficients"]:
    """Return coefficients of constants, then of varying columns.

    Parameters
    ----------
    of : the design.
    outcome : as it is.
    penalty : as in `leave_out`.
    """
    y = outcome * of.root
    varying = of.vt.T @ (of.s / (of.s**2 + penalty) * (of.u.T @ y))
    return np.concatenate([np.linalg.solve(of.r, of.q.T @ y) - of.lift @ varying, varying])


def covariance(of: Decomposition, penalty: float) -> Float[np.ndarray, "coefficients coefficients"]:
    """Return the posterior covariance of all coefficients, for an error variance of 1.

    Parameters
    ----------
    of : the design.
    penalty : as in `leave_out`; where it is 0, columns must be independent.

    Notes
    -----
    (X'WX + penalty D)^-1, D being 1 for varying columns and 0 for constants: what is left when the coefficients had
    normal priors of variance 1 / penalty. It contains the bias that the penalty makes, on average over that prior.

    References
    ----------
    Wahba G (1983). J R Stat Soc B 45:133. doi:10.1111/j.2517-6161.1983.tb01239.x
    Nychka D (1988). J Am Stat Assoc 83:1134. doi:10.1080/01621459.1988.10478711
    """
    size = of.vt.shape[1]
    varying = (of.vt.T / (of.s**2 + penalty)) @ of.vt
    if len(of.s) < size:
        varying = varying + (np.eye(size) - of.vt.T @ of.vt) / penalty
    inverse = np.linalg.inv(of.r)
    cross = of.lift @ varying
    return np.block([[inverse @ inverse.T + cross @ of.lift.T, -cross], [-cross.T, varying]])
