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
from deepmr.mr.network_totals import KEY, Totals, draw_totals, lay_out
from deepmr.types import Estimates

Estimator = Literal["exact", "sparse"]
Uncertainty = Literal["delta", "draws"]
Adjustment = Literal["bh", "by"]
NOISE = 1e-10  # of a total effect, what rounding leaves of a mediated one that is 0
SINGULAR = 1e8  # condition number of the total effects from which on they cannot be told apart


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
        (`deepmr.mr.network_totals.locus_correlation`); None for none.
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
    multivariate t errors, the same directions and degrees of freedom, every draw inverted; percentiles, and P values
    from the share of draws on the other side of 0, or by the normal tail where there is none.

    References
    ----------
    Brown BC, Knowles DA. Phenome-scale causal network discovery with bidirectional mediated Mendelian randomization.
    bioRxiv 2020. https://doi.org/10.1101/2020.06.18.160176
    """
    checks.one_of("estimator", estimator, get_args(Estimator))
    checks.one_of("uncertainty", uncertainty, get_args(Uncertainty))
    checks.level(level)
    checks.at_least("n_draws", n_draws, 10)
    totals, skipped = lay_out(estimates, correlation, complete=estimator == "exact")
    known = totals.rows >= 0
    if estimator == "sparse":
        variance = np.sum(totals.sampling**2, axis=0) + np.sum(totals.members**2, axis=0)
        se = np.sqrt(np.where(known, variance, np.nan))
        n_loci = float(np.median(estimates.table["n"]))
        fit = sparse_network(totals.beta, se, n=n_loci)
        direct, penalty = fit.direct, fit.penalty
        drawn_totals = draw_totals(totals, n_draws, seed)
        drawn = np.stack([fit.again(beta) for beta in drawn_totals])
        columns = _columns_of_draws(np.where(known, drawn_totals, total_of(drawn)), drawn, level)
        columns["stability"] = np.mean(drawn != 0, axis=0)
    else:
        direct, penalty = direct_of(totals.beta), np.nan
        if uncertainty == "draws":
            drawn_totals = draw_totals(totals, n_draws, seed)
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


def _inverse(total: Float[np.ndarray, "tasks tasks"]) -> Float[np.ndarray, "tasks tasks"]:
    if np.linalg.cond(total) > SINGULAR:
        raise InputError(
            "the total effects cannot be inverted: two tasks move together under every edit, so that neither can be "
            "told from the other; leave one of them out"
        )
    return np.linalg.inv(total)


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
        se, least = values.std(axis=0, ddof=1), 1 / (len(values) + 1)
        columns |= {f"{name}_se": se, f"{name}_ci_low": low, f"{name}_ci_high": high}
        tail = np.minimum(two_sided(values.mean(axis=0), se), 2 * least)  # where every draw is on one side
        columns[f"{name}_pvalue"] = np.where(side > 0, np.minimum(2 * np.maximum(side, least), 1.0), tail)
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
    found["direct"] = direct[tuple(at.T)] + 0.0
    found["mediated"] = beta - found["direct"].to_numpy()
    for name, values in columns.items():
        found[name] = values[tuple(at.T)] + 0.0  # no minus before 0
    floor = NOISE * np.fmax(np.abs(beta), se)
    for name in [name for name in schema.NETWORK if name.startswith("mediated")]:
        values = found[name].to_numpy(float)
        found[name] = np.where(np.abs(values) <= floor, 0.0, values)
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
