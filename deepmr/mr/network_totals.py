"""Total effects between tasks as a matrix with a joint covariance: what a network is made from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks, schema
from deepmr.errors import InputError
from deepmr.types import Estimates

KEY = ["exposure", "outcome"]
FEW_LOCI = 5  # fewest loci that two pairs must share for a correlation


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


def common_loci(local: Estimates) -> Estimates:
    """Keep the loci at which every pair has an estimate, for each method and estimand by itself.

    Parameters
    ----------
    local : effects of the loci.

    Notes
    -----
    Effects differ between loci, and a pair whose weaker loci have no instruments has another mean than it would have at
    the loci of the others. A network of means over different loci takes that difference for direct effects.
    """
    table = local.table
    of = ["method", "estimand"]
    wanted = table[[*of, *KEY]].drop_duplicates().groupby(of).size()
    here = table.groupby([*of, "locus"])[KEY[0]].transform("size")
    needed = wanted.reindex(pd.MultiIndex.from_frame(table[of]))
    return local.take(here.to_numpy() == np.asarray(needed))


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


def lay_out(
    estimates: Estimates, correlation: Float[np.ndarray, "rows rows"] | None, *, complete: bool
) -> tuple[Totals, pd.DataFrame]:
    """Lay the effects out as a matrix, without the tasks that an exact network cannot hold.

    Parameters
    ----------
    estimates : total effects, one row a pair.
    correlation : of the errors of the rows that members do not share; None for none.
    complete : whether every pair of the tasks that stay needs an effect.

    Returns
    -------
    The effects; and pairs and tasks that have no place, columns of `schema.NETWORK_SKIPPED`.

    Raises
    ------
    InputError : as for `deepmr.mr.network.find_direct_effects`.
    """
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


def draw_totals(totals: Totals, n: int, seed: int) -> Float[np.ndarray, "draws tasks tasks"]:
    """Draw total effects: multivariate t for what loci scatter and for what members share; unknown ones stay so.

    Parameters
    ----------
    totals : effects and their errors.
    n : number of draws.
    seed : of the random stream.
    """
    rng = np.random.default_rng(seed)
    drawn = np.repeat(totals.beta[None], n, axis=0)
    for directions, df in ((totals.sampling, totals.df), (totals.members, float(max(len(totals.members) - 1, 1)))):
        if not len(directions):
            continue
        scale = np.sqrt(df / rng.chisquare(df, n)) if np.isfinite(df) else np.ones(n)
        drawn += np.tensordot(rng.normal(size=(n, len(directions))) * scale[:, None], directions, axes=1)
    return drawn
