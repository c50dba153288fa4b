"""Few direct effects that explain many total ones: a penalised fit, its penalty chosen by an information criterion."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

N_PENALTIES = 30
SMALLEST = 1e-3  # smallest penalty tried, as a share of the one that leaves nothing
STEPS, INNER = 25, 300  # most outer and inner iterations
TOLERANCE = 1e-7
WEAKEST = 0.3  # z below which a first estimate says no more against a direct effect
DAMPING = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseFit:
    """Direct effects of a sparse network, and what is needed to fit another draw of the same data.

    Attributes
    ----------
    direct : [exposure, outcome], 0 where there is none.
    weights : 1 / variance of the total effects; 0 where there is none.
    costs : penalty of a unit of every direct effect, before the common factor.
    penalty : common factor of the penalties.
    """

    direct: Float[np.ndarray, "tasks tasks"]
    weights: Float[np.ndarray, "tasks tasks"]
    costs: Float[np.ndarray, "tasks tasks"]
    penalty: float

    def again(self, total: Float[np.ndarray, "tasks tasks"]) -> Float[np.ndarray, "tasks tasks"]:
        """Fit other total effects with the same penalties, and those that stay once more without."""
        start = _penalised(total, self.weights, self.penalty * self.costs, self.direct)
        return _refitted(total, self.weights, start)


def sparse_network(
    total: Float[np.ndarray, "tasks tasks"], se: Float[np.ndarray, "tasks tasks"], *, n: float
) -> SparseFit:
    """Find few direct effects that explain the total effects.

    Parameters
    ----------
    total : [exposure, outcome], 1 on the diagonal, NaN where there is no estimate.
    se : standard errors of the total effects; NaN where there is none.
    n : loci behind them, for the information criterion.

    Notes
    -----
    Minimises sum_ij [(R_ij - r_ij(G)) / s_ij]^2 / 2 + lambda sum_ij c_ij |G_ij|, r_ij(G) = T_ij / T_ii with
    T = (I - G)^-1, by Gauss-Newton steps each solved with the penalty (accelerated proximal gradient). c_ij =
    1 / max(z_ij s_ij, ..), z a first estimate in units of s: an adaptive lasso, whose large effects are hardly shrunk.
    For each of a grid of lambda the direct effects that stay are fitted again without penalty, and the grid's
    smallest extended BIC, chi^2 + k (ln n + ln pairs) with k effects, decides; lambda is the middle one of
    those that leave these. Only marginal variances weigh: with a
    handful of members their joint covariance has directions in which they agree by chance, and weights would look for
    just these.

    References
    ----------
    Brown BC, Knowles DA. Phenome-scale causal network discovery with bidirectional mediated Mendelian randomization.
    bioRxiv 2020. https://doi.org/10.1101/2020.06.18.160176 (the idea of a sparse inverse; theirs is another algorithm)
    Zou H. The adaptive lasso and its oracle properties. J Am Stat Assoc 2006. https://doi.org/10.1198/016214506000000735
    Chen J, Chen Z. Extended Bayesian information criteria for model selection with large model spaces. Biometrika 2008.
    https://doi.org/10.1093/biomet/asn034
    """
    away = ~np.eye(len(total), dtype=bool)
    known = away & np.isfinite(total) & np.isfinite(se)
    floor = 1e-9 * max(float(np.nanmax(np.abs(np.where(known, total, 0.0)))), 1e-300)
    size = np.where(known, np.maximum(np.where(known, se, 1.0), floor), np.nan)
    unit = np.where(known, size, np.nanmedian(size))
    weights = np.where(known, 1 / unit**2, 0.0)
    first = _penalised(total, weights, np.where(away, WEAKEST / unit, 0.0), np.zeros_like(total))
    costs = np.where(away, 1 / (unit * np.maximum(np.abs(first) / unit, WEAKEST)), 0.0)
    pull = np.abs(np.where(known, weights * np.nan_to_num(total), 0.0))
    largest = float(np.max(pull / np.where(away, costs, 1.0), initial=0.0)) or 1.0
    price = np.log(max(n, 2.0)) + np.log(away.sum())
    best, best_score, of_best = np.zeros_like(total), np.inf, [largest]
    tried: dict[bytes, tuple[float, np.ndarray]] = {}
    current = np.zeros_like(total)
    for penalty in largest * np.geomspace(1.0, SMALLEST, N_PENALTIES):
        current = _penalised(total, weights, penalty * costs, current)
        support = (current != 0).tobytes()
        if support not in tried:
            fit = _refitted(total, weights, current)
            tried[support] = (2 * _loss(total, weights, fit) + price * np.count_nonzero(fit), fit)
        score, fit = tried[support]
        if score < best_score:
            best, best_score, of_best = fit, score, []
        if score == best_score:
            of_best.append(float(penalty))
    return SparseFit(direct=best, weights=weights, costs=costs, penalty=float(np.exp(np.mean(np.log(of_best)))))


def total_of(direct: Float[np.ndarray, "*batch tasks tasks"]) -> Float[np.ndarray, "*batch tasks tasks"]:
    """Return the total effects that direct ones make: T_ij / T_ii with T = (I - G)^-1.

    Parameters
    ----------
    direct : [exposure, outcome], 0 on the diagonal.
    """
    paths = np.linalg.inv(np.eye(direct.shape[-1]) - direct)
    return paths / np.diagonal(paths, axis1=-2, axis2=-1)[..., None]


def _loss(total: np.ndarray, weights: np.ndarray, direct: np.ndarray) -> float:
    """Return half the weighted sum of squares, infinite where the paths of the direct effects cannot be summed."""
    try:
        rest = np.where(weights > 0, np.nan_to_num(total) - total_of(direct), 0.0)
    except np.linalg.LinAlgError:
        return np.inf
    value = float(np.sum(weights * rest**2)) / 2
    return value if np.isfinite(value) else np.inf


def _linear(
    total: np.ndarray, weights: np.ndarray, direct: np.ndarray, free: Bool[np.ndarray, "tasks tasks"]
) -> tuple[Float[np.ndarray, "pairs free"], Float[np.ndarray, "pairs"]]:
    """Return, in units of the errors, how the total effects move with the free direct ones, and what is unexplained."""
    paths = np.linalg.inv(np.eye(len(direct)) - direct)
    own = np.diag(paths)
    i, j = np.nonzero(weights > 0)
    k, m = np.nonzero(free)
    moves = paths[i][:, k] * (paths[:, j].T[:, m] - (paths[i, j] / own[i])[:, None] * paths[:, i].T[:, m])
    root = np.sqrt(weights[i, j])
    return moves / own[i][:, None] * root[:, None], (total[i, j] - paths[i, j] / own[i]) * root


def _penalised(
    total: np.ndarray, weights: np.ndarray, costs: np.ndarray, start: Float[np.ndarray, "tasks tasks"]
) -> Float[np.ndarray, "tasks tasks"]:
    """Minimise loss and penalty from a start: Gauss-Newton steps, shortened until they help."""
    free = ~np.eye(len(total), dtype=bool)
    direct, cost = start, costs[free]

    def objective(values: np.ndarray) -> float:
        return _loss(total, weights, values) + float(np.sum(costs * np.abs(values)))

    def propose(values: np.ndarray) -> np.ndarray:
        slope, rest = _linear(total, weights, values, free)
        return _lasso(slope, rest + slope @ values[free], cost, values[free])

    if not np.isfinite(objective(direct)):
        direct = np.zeros_like(start)
    return _descend(direct, free, objective, propose)


def _descend(
    direct: Float[np.ndarray, "tasks tasks"],
    free: Bool[np.ndarray, "tasks tasks"],
    objective: Callable[[np.ndarray], float],
    propose: Callable[[np.ndarray], np.ndarray],
) -> Float[np.ndarray, "tasks tasks"]:
    """Move the free direct effects to what is proposed, by steps shortened until they help, while it gains anything."""
    value = objective(direct)
    for _ in range(STEPS):
        target = propose(direct)
        step, size = target - direct[free], 1.0
        while size > 1e-4:
            tried = direct.copy()
            tried[free] = target if size == 1.0 else direct[free] + size * step
            if (new := objective(tried)) < value:
                break
            size /= 2
        else:
            break
        gain, direct, value = value - new, tried, new
        if gain <= TOLERANCE * max(value, 1e-12):
            break
    return direct


def _lasso(
    slope: Float[np.ndarray, "pairs free"],
    y: Float[np.ndarray, "pairs"],
    cost: Float[np.ndarray, "free"],
    start: Float[np.ndarray, "free"],
) -> Float[np.ndarray, "free"]:
    """Minimise |y - slope b|^2 / 2 + cost |b| by accelerated proximal gradient, columns scaled to one length."""
    length = np.maximum(np.linalg.norm(slope, axis=0), 1e-300)
    scaled = slope / length
    square, pull, price = scaled.T @ scaled, scaled.T @ y, cost / length
    rate = 1 / np.linalg.eigvalsh(square)[-1]
    b = ahead = start * length
    momentum = 1.0
    for _ in range(INNER):
        moved = ahead - rate * (square @ ahead - pull)
        new = np.sign(moved) * np.maximum(np.abs(moved) - rate * price, 0.0)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * (new - b)
        done = np.max(np.abs(new - b)) <= TOLERANCE * max(np.max(np.abs(new)), 1e-12)
        b, momentum = new, following
        if done:
            break
    return b / length


def _refitted(
    total: np.ndarray, weights: np.ndarray, start: Float[np.ndarray, "tasks tasks"]
) -> Float[np.ndarray, "tasks tasks"]:
    """Fit the direct effects that are not 0 again, without penalty."""
    free = start != 0
    if not free.any():
        return start.copy()

    def propose(values: np.ndarray) -> np.ndarray:
        slope, rest = _linear(total, weights, values, free)
        moved: np.ndarray = values[free] + np.linalg.lstsq(slope, rest, rcond=DAMPING)[0]
        return moved

    return _descend(start, free, lambda values: _loss(total, weights, values), propose)
