"""From total effects between all tasks to direct ones: which effects pass through other tasks, and how sure that is."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.sparse.csgraph import connected_components

from deepmr import checks, schema
from deepmr.errors import InputError
from deepmr.inference import false_discovery, interval, total_error, two_sided
from deepmr.mr.network_sparse import sparse_network, total_of
from deepmr.types import Estimates

Estimator = Literal["exact", "sparse"]
Uncertainty = Literal["delta", "draws"]
Adjustment = Literal["bh", "by"]
KEY = ["exposure", "outcome"]
SINGULAR = 1e8  # condition number of the total effects from which on they cannot be told apart
FEW_LOCI = 5  # fewest loci that two pairs must share for a correlation


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Total and direct effects between tasks.

    Attributes
    ----------
    tasks : in the network, in order.
    total, direct : [exposure, outcome]; total has 1 on the diagonal and NaN where there is no estimate, direct 0.
    table : a row a pair, columns of `schema.NETWORK`.
    skipped : pairs and tasks without a place, columns of `schema.NETWORK_SKIPPED`.
    spectral_radius : of the direct effects; feedback settles below 1, and there is none at 0.
    loops : tasks that act on themselves through direct effects of the table's false discovery rate, loop by loop.
    penalty : of the sparse network; NaN for the exact one.
    """

    tasks: tuple[str, ...]
    total: Float[np.ndarray, "tasks tasks"]
    direct: Float[np.ndarray, "tasks tasks"]
    table: pd.DataFrame
    skipped: pd.DataFrame
    spectral_radius: float
    loops: tuple[tuple[str, ...], ...]
    penalty: float

    def __post_init__(self) -> None:
        checks.shape("total", self.total, (len(self.tasks), len(self.tasks)))
        checks.shape("direct", self.direct, (len(self.tasks), len(self.tasks)))
        checks.columns("network", self.table.columns, schema.NETWORK)
        checks.columns("skipped", self.skipped.columns, schema.NETWORK_SKIPPED)

    @property
    def settles(self) -> bool:
        """Whether effects that run in circles die out: the spectral radius is below 1."""
        return self.spectral_radius < 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Total effects as a matrix, with their errors.

    Attributes
    ----------
    beta : [exposure, outcome], 1 on the diagonal, NaN where there is no estimate.
    sampling : directions S with S'S the covariance of the part that members do not share.
    members : directions F with F'F that of the part they share.
    df : degrees of freedom of the first part.
    rows : row of the estimates, -1 where there is none.
    """

    tasks: tuple[str, ...]
    beta: Float[np.ndarray, "tasks tasks"]
    sampling: Float[np.ndarray, "directions tasks tasks"]
    members: Float[np.ndarray, "factors tasks tasks"]
    df: float
    rows: np.ndarray


def find_direct_effects(
    estimates: Estimates,
    *,
    estimator: Estimator = "exact",
    uncertainty: Uncertainty = "delta",
    correlation: Float[np.ndarray, "rows rows"] | None = None,
    fdr: float = 0.05,
    adjust: Adjustment = "bh",
    n_draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Network:
    """Find the direct effects that explain the total effects between all pairs of tasks.

    Parameters
    ----------
    estimates : total effects, one row a pair, of one method and estimand: pooled over loci, or those of one locus.
    estimator : "exact" inverts the matrix of total effects, which needs every pair; "sparse" looks for few direct
        effects that explain them, and does without pairs that are missing.
    uncertainty : of the exact network: the delta method, or draws; a sparse one always needs draws.
    correlation : of the errors of the rows that members do not share, as loci in common make them
        (`locus_correlation`); None for none.
    fdr : false discovery rate up to which an effect is an edge.
    adjust : Benjamini and Hochberg, or Benjamini and Yekutieli.
    n_draws : number of draws.
    level : of the intervals.
    seed : of the draws.

    Returns
    -------
    Network. A task that lacks pairs leaves an exact network, the one that lacks most first, with a reason.

    Raises
    ------
    InputError : for fewer than two tasks, a pair that is there twice, several methods or estimands, or total effects
        that cannot be told apart (two tasks that are copies of each other).

    Notes
    -----
    Let G be the direct effects, G_ij of task i on task j, with a zero diagonal, and T = (I - G)^-1 all their paths. An
    edit that moves task i by T_ii moves task j by T_ij, so that the total effect is R_ij = T_ij / T_ii. Then, with
    V = R^-1, G_ij = -V_ij / V_jj. Cycles are allowed; T is the sum of their rounds where the spectral radius of G is
    below 1. It assumes that effects are linear and that instruments of a task act on the others through it alone.

    Delta method: dG_ij = -dV_ij / V_jj + V_ij dV_jj / V_jj^2, dV = -V dR V, along every direction of the joint
    covariance of R: shared errors of members cancel or add as they do in truth, where intervals put together from the
    marginal ones would be too wide or too narrow. Degrees of freedom by Welch and Satterthwaite. Draws: R plus
    multivariate t errors, the same directions and degrees of freedom, every draw inverted; percentiles.

    References
    ----------
    Brown BC, Knowles DA. Phenome-scale causal network discovery with bidirectional mediated Mendelian randomization.
    bioRxiv 2020. https://doi.org/10.1101/2020.06.18.160176
    """
    checks.one_of("estimator", estimator, get_args(Estimator))
    checks.one_of("uncertainty", uncertainty, get_args(Uncertainty))
    checks.level(level)
    checks.at_least("n_draws", n_draws, 10)
    totals, skipped = _totals(estimates, correlation, complete=estimator == "exact")
    known = totals.rows >= 0
    if estimator == "sparse":
        variance = np.sum(totals.sampling**2, axis=0) + np.sum(totals.members**2, axis=0)
        se = np.sqrt(np.where(known, variance, np.nan))
        n_loci = float(np.median(estimates.table["n"]))
        fit = sparse_network(totals.beta, se, n=n_loci)
        direct, penalty = fit.direct, fit.penalty
        drawn_totals = _draws(totals, n_draws, seed)
        drawn = np.stack([fit.again(beta) for beta in drawn_totals])
        columns = _columns_of_draws(np.where(known, drawn_totals, total_of(drawn)), drawn, level)
        columns["stability"] = np.mean(drawn != 0, axis=0)
    else:
        direct, penalty = direct_of(totals.beta), np.nan
        if uncertainty == "draws":
            drawn_totals = _draws(totals, n_draws, seed)
            drawn = np.stack([direct_of(beta) for beta in drawn_totals])
            columns = _columns_of_draws(drawn_totals, drawn, level)
        else:
            columns = _columns_of_moves(totals, direct, level)
    table = _table(estimates, totals, direct, columns, fdr=fdr, adjust=adjust, level=level)
    edges = np.zeros(direct.shape, dtype=bool)
    index = {name: i for i, name in enumerate(totals.tasks)}
    found = table[table["edge"] == "direct"]
    edges[found["exposure"].map(index).to_numpy(int), found["outcome"].map(index).to_numpy(int)] = True
    return Network(
        tasks=totals.tasks,
        total=totals.beta,
        direct=direct,
        table=table,
        skipped=skipped,
        spectral_radius=float(np.abs(np.linalg.eigvals(direct)).max()),
        loops=_loops(totals.tasks, edges),
        penalty=float(penalty),
    )


def direct_of(total: Float[np.ndarray, "tasks tasks"]) -> Float[np.ndarray, "tasks tasks"]:
    """Return the direct effects behind a matrix of total effects: G_ij = -V_ij / V_jj, V = R^-1.

    Parameters
    ----------
    total : [exposure, outcome], 1 on the diagonal.

    Raises
    ------
    InputError : where total effects are those of tasks that cannot be told apart.

    Examples
    --------
    >>> chain = np.array([[1.0, 2.0, 1.0], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    >>> (direct_of(chain) + 0.0).tolist()
    [[0.0, 2.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]]
    """
    inverse = _inverse(total)
    direct = -inverse / np.diag(inverse)
    np.fill_diagonal(direct, 0.0)
    return direct


def direct_moves(
    total: Float[np.ndarray, "tasks tasks"], moves: Float[np.ndarray, "moves tasks tasks"]
) -> Float[np.ndarray, "moves tasks tasks"]:
    """Return how small moves of the total effects move the direct effects.

    Parameters
    ----------
    total : as for `direct_of`.
    moves : changes of it, 0 on the diagonal.
    """
    inverse = _inverse(total)
    change = -inverse @ moves @ inverse
    scale = np.diag(inverse)
    return -change / scale + inverse * np.diagonal(change, axis1=1, axis2=2)[:, None, :] / scale**2


def locus_correlation(local: Estimates, pooled: Estimates) -> Float[np.ndarray, "rows rows"]:
    """Return how the scatter over loci of every pair goes with that of every other.

    Parameters
    ----------
    local : effects of the loci.
    pooled : their means, whose rows the result is about.

    Notes
    -----
    The correlation of deviations from the mean over the loci that two pairs have in common; 0 with fewer than five.
    Eigenvalues below 0, which come of different loci, are set to 0.
    """
    names = ["method", *KEY, "estimand"]
    at = {key: i for i, key in enumerate(pooled.table[names].itertuples(index=False, name=None))}
    table = local.table
    row = np.array([at.get(key, -1) for key in table[names].itertuples(index=False, name=None)], dtype=int)
    kept = row >= 0
    locus, loci = pd.factorize(table["locus"])
    deviation = np.full((len(pooled), len(loci)), np.nan)
    deviation[row[kept], locus[kept]] = table["beta"].to_numpy(float)[kept]
    here = np.isfinite(deviation)
    shared = here.astype(float) @ here.T
    filled = np.where(here, deviation, 0.0)
    sums, squares = filled @ here.T, (filled**2) @ here.T
    count = np.maximum(shared, 1.0)
    covariance = filled @ filled.T / count - sums * sums.T / count**2
    variance = np.maximum(squares / count - (sums / count) ** 2, 0.0)
    root = np.sqrt(variance * variance.T)
    corr = np.divide(covariance, root, out=np.zeros_like(root), where=(root > 0) & (shared >= FEW_LOCI))
    np.fill_diagonal(corr, 1.0)
    values, vectors = np.linalg.eigh((corr + corr.T) / 2)
    psd = (vectors * np.maximum(values, 0.0)) @ vectors.T
    size = np.sqrt(np.maximum(np.diag(psd), 1e-12))
    return psd / np.outer(size, size)


def _inverse(total: Float[np.ndarray, "tasks tasks"]) -> Float[np.ndarray, "tasks tasks"]:
    if np.linalg.cond(total) > SINGULAR:
        raise InputError(
            "the total effects cannot be inverted: two tasks move together under every edit, so that neither can be "
            "told from the other; leave one of them out"
        )
    return np.linalg.inv(total)


def _totals(
    estimates: Estimates, correlation: Float[np.ndarray, "rows rows"] | None, *, complete: bool
) -> tuple[Totals, pd.DataFrame]:
    """Lay the effects out as a matrix, without the tasks that an exact network cannot hold."""
    table = estimates.table
    for name in ("method", "estimand"):
        several = list(dict.fromkeys(table[name].astype(str)))
        if len(several) > 1:
            raise InputError(f"a network is of one {name}; got {', '.join(several)}")
    twice = table[table.duplicated(KEY)]
    if len(twice):
        first = twice.iloc[0]
        raise InputError(f"{first['exposure']} → {first['outcome']} has more than one row; pool the loci first")
    tasks = list(dict.fromkeys([*table["exposure"], *table["outcome"]]))
    if correlation is not None:
        checks.correlation("correlation", correlation, len(table))
    rows = np.full((len(tasks), len(tasks)), -1)
    rows[[tasks.index(x) for x in table["exposure"]], [tasks.index(y) for y in table["outcome"]]] = np.arange(
        len(table)
    )
    tasks, rows, lost = _without_gaps(tasks, rows, complete=complete)
    if len(tasks) < 2:
        raise InputError("a network needs two tasks with effects in both directions between all of them")
    beta = table["beta"].to_numpy(float)
    factors = np.zeros((0, len(table))) if estimates.error_factors is None else estimates.error_factors
    spread = np.sqrt(np.maximum(table["se"].to_numpy(float) ** 2 - np.sum(factors**2, axis=0), 0.0))
    used = rows[rows >= 0]
    root = np.eye(len(used)) if correlation is None else _root(correlation[np.ix_(used, used)])
    matrix = np.where(rows >= 0, beta[rows], np.nan)
    np.fill_diagonal(matrix, 1.0)
    totals = Totals(
        tasks=tuple(tasks),
        beta=matrix,
        sampling=_laid_out(root * spread[used], rows),
        members=_laid_out(factors[:, used], rows),
        df=_freedom(estimates, used),
        rows=rows,
    )
    return totals, _skipped(estimates, tasks, rows, lost)


def _without_gaps(
    tasks: list[str], rows: np.ndarray, *, complete: bool
) -> tuple[list[str], np.ndarray, dict[str, str]]:
    """Drop the task that lacks most pairs until none is lacking."""
    lost: dict[str, str] = {}
    while complete and len(tasks):
        gaps = (rows < 0) & ~np.eye(len(tasks), dtype=bool)
        lacking = gaps.sum(axis=0) + gaps.sum(axis=1)
        if not lacking.any():
            break
        worst = int(np.argmax(lacking))
        other = next(j for j in range(len(tasks)) if gaps[worst, j] or gaps[j, worst])
        pair = (worst, other) if gaps[worst, other] else (other, worst)
        lost[tasks[worst]] = f"there is no total effect of {tasks[pair[0]]} on {tasks[pair[1]]}"
        keep = np.arange(len(tasks)) != worst
        tasks = [name for name, kept in zip(tasks, keep, strict=True) if kept]
        rows = rows[np.ix_(keep, keep)]
    return tasks, rows, lost


def _laid_out(values: Float[np.ndarray, "directions used"], rows: np.ndarray) -> Float[np.ndarray, "directions _ _"]:
    laid = np.zeros((len(values), *rows.shape))
    laid[:, rows >= 0] = values
    return laid


def _root(square: Float[np.ndarray, "rows rows"]) -> Float[np.ndarray, "rows rows"]:
    """Return L with L'L the matrix."""
    values, vectors = np.linalg.eigh(square)
    return (vectors * np.sqrt(np.maximum(values, 0.0))).T


def _freedom(estimates: Estimates, used: np.ndarray) -> float:
    """Return the degrees of freedom of what members do not share: of loci, or those given."""
    table = estimates.table.iloc[used]
    if estimates.error_factors is None or (table["n"] < 2).any() or (table["locus"] != "*").any():
        df = table["df"].to_numpy(float) if "df" in table and estimates.error_factors is None else np.array([np.inf])
        return float(np.min(np.where(np.isnan(df), np.inf, df)))
    return float(np.maximum(table["n"].min() - 1, 1))


def _skipped(estimates: Estimates, tasks: list[str], rows: np.ndarray, lost: dict[str, str]) -> pd.DataFrame:
    """Say which tasks have left the network, and of which pairs a sparse one knows no total effect."""
    why = {
        (str(e), str(o)): str(reason)
        for e, o, reason in estimates.skipped[[*KEY, "reason"]].itertuples(index=False, name=None)
    }
    found = []
    for name, reason in lost.items():
        given = [why[key] for key in why if name in key]
        found.append((name, "*", f"{reason}: {given[0]}" if given else reason))
    for i, j in np.argwhere((rows < 0) & ~np.eye(len(tasks), dtype=bool)):
        pair = (tasks[i], tasks[j])
        found.append((*pair, why.get(pair, "it has no total effect")))
    return pd.DataFrame(found, columns=list(schema.NETWORK_SKIPPED), dtype=str)


def _draws(totals: Totals, n: int, seed: int) -> Float[np.ndarray, "draws tasks tasks"]:
    """Draw total effects: multivariate t for what loci scatter and for what members share; unknown ones stay so."""
    rng = np.random.default_rng(seed)
    drawn = np.repeat(totals.beta[None], n, axis=0)
    for directions, df in ((totals.sampling, totals.df), (totals.members, float(max(len(totals.members) - 1, 1)))):
        if not len(directions):
            continue
        scale = np.sqrt(df / rng.chisquare(df, n)) if np.isfinite(df) else np.ones(n)
        drawn += np.tensordot(rng.normal(size=(n, len(directions))) * scale[:, None], directions, axes=1)
    return drawn


def _columns_of_moves(
    totals: Totals, direct: Float[np.ndarray, "tasks tasks"], level: float
) -> dict[str, Float[np.ndarray, "tasks tasks"]]:
    """Errors of direct and mediated effects by the delta method."""
    sampling, members = (direct_moves(totals.beta, moves) for moves in (totals.sampling, totals.members))
    columns: dict[str, np.ndarray] = {}
    for name, value, s, m in (
        ("direct", direct, sampling, members),
        ("mediated", totals.beta - direct, totals.sampling - sampling, totals.members - members),
    ):
        error = total_error(np.sum(s**2, axis=0), totals.df, m)
        low, high = interval(value, error.se, df=error.df, level=level)
        columns |= {f"{name}_se": error.se, f"{name}_ci_low": low, f"{name}_ci_high": high}
        columns[f"{name}_pvalue"] = two_sided(value, error.se, df=error.df)
    return columns


def _columns_of_draws(
    total: Float[np.ndarray, "draws tasks tasks"], direct: Float[np.ndarray, "draws tasks tasks"], level: float
) -> dict[str, Float[np.ndarray, "tasks tasks"]]:
    """Errors of direct and mediated effects from draws: sd, percentiles, and the share on the other side of 0."""
    columns: dict[str, np.ndarray] = {}
    for name, values in (("direct", direct), ("mediated", total - direct)):
        low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
        side = np.minimum(np.mean(values <= 0, axis=0), np.mean(values >= 0, axis=0))
        columns |= {f"{name}_se": values.std(axis=0, ddof=1), f"{name}_ci_low": low, f"{name}_ci_high": high}
        columns[f"{name}_pvalue"] = np.minimum(2 * np.maximum(side, 1 / (len(values) + 1)), 1.0)
    return columns


def _table(
    estimates: Estimates,
    totals: Totals,
    direct: Float[np.ndarray, "tasks tasks"],
    columns: dict[str, Float[np.ndarray, "tasks tasks"]],
    *,
    fdr: float,
    adjust: Adjustment,
    level: float,
) -> pd.DataFrame:
    """Return a row a pair with a total effect: total, direct and mediated effect, and what kind of edge it is."""
    at = np.argwhere(totals.rows >= 0)
    given = estimates.table.iloc[totals.rows[tuple(at.T)]].reset_index(drop=True)
    found = given[["method", *KEY, "estimand"]].copy()
    df = given["df"].fillna(np.inf).to_numpy(float) if "df" in given else np.full(len(given), np.inf)
    beta, se = given["beta"].to_numpy(float), given["se"].to_numpy(float)
    low, high = interval(beta, se, df=df, level=level)
    found = found.assign(total=beta, total_se=se, total_ci_low=low, total_ci_high=high)
    found["total_pvalue"] = two_sided(beta, se, df=df)
    found["direct"] = direct[tuple(at.T)]
    found["mediated"] = beta - found["direct"].to_numpy()
    for name, values in columns.items():
        found[name] = values[tuple(at.T)]
    for name in ("total", "direct"):
        found[f"{name}_fdr"] = false_discovery(found[f"{name}_pvalue"].to_numpy(float), method=adjust)
    kinds = [(found["direct_fdr"] <= fdr).to_numpy(), (found["total_fdr"] <= fdr).to_numpy()]
    found["edge"] = np.select(kinds, ["direct", "total"], "none")
    found["n"], found["level"] = given["n"], level
    if "stability" not in found:
        found["stability"] = np.nan
    return found[list(schema.NETWORK)]


def _loops(tasks: tuple[str, ...], edges: Bool[np.ndarray, "tasks tasks"]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of tasks each of which acts on every other of its group."""
    _, group = connected_components(edges, directed=True, connection="strong")
    groups = [np.flatnonzero(group == g) for g in np.unique(group)]
    return tuple(tuple(tasks[i] for i in members) for members in groups if len(members) > 1)
