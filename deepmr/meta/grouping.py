"""From a table of estimates to groups that are pooled by themselves, and back."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from deepmr import schema
from deepmr.errors import InputError
from deepmr.inference import interval, two_sided
from deepmr.meta.evidence import Packed
from deepmr.meta.kernel import Pooled
from deepmr.types import Estimates

GROUP = ["method", "exposure", "outcome", "estimand"]
PAIR = GROUP[:3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """Rows of estimates by method, pair of traits and estimand.

    Attributes
    ----------
    keys : one row a group, in order of their first row.
    order : row numbers, group by group.
    offsets : group i owns order[offsets[i]:offsets[i + 1]].
    beta : of the rows in that order.
    se : as pooling takes it: the part that members do not share and their factors as they are, unmoderated.
    factors : of the rows; none without shared errors.
    """

    keys: pd.DataFrame
    order: Int[np.ndarray, "rows"]
    offsets: Int[np.ndarray, "groups_plus_one"]
    beta: Float[np.ndarray, "rows"]
    se: Float[np.ndarray, "rows"]
    factors: Float[np.ndarray, "factors rows"]

    @property
    def counts(self) -> Int[np.ndarray, "groups"]:
        """Number of rows of each group."""
        return np.diff(self.offsets)

    @property
    def several(self) -> Bool[np.ndarray, "groups"]:
        """Groups of at least two rows."""
        return self.counts > 1

    def studies_of(self, groups: Bool[np.ndarray, "groups"]) -> Packed:
        """Pack the rows of some groups."""
        rows = np.repeat(groups, self.counts)
        offsets = np.concatenate([[0], np.cumsum(self.counts[groups])])
        return Packed(beta=self.beta[rows], se=self.se[rows], factors=self.factors[:, rows], offsets=offsets)

    def one(self, group: int) -> Packed:
        """Pack the rows of one group."""
        rows = slice(self.offsets[group], self.offsets[group + 1])
        offsets = np.array([0, self.counts[group]])
        return Packed(beta=self.beta[rows], se=self.se[rows], factors=self.factors[:, rows], offsets=offsets)


def grouped(estimates: Estimates, *, by: list[str] | None = None) -> Grouped:
    """Sort rows into groups.

    Parameters
    ----------
    by : columns that tell groups apart.

    Raises
    ------
    InputError : for a locus that is there twice; rows that are themselves pooled may be.
    """
    columns = GROUP if by is None else by
    table = estimates.table
    named = table.loc[table["locus"] != "*", [*columns, "locus"]]
    twice = named.duplicated()
    if twice.any():
        first = named[twice].iloc[0]
        raise InputError(
            f"locus {first['locus']!r} has more than one {first['method']} estimate of one pair; needed one"
        )
    number = table.groupby(columns, sort=False).ngroup().to_numpy() if len(table) else np.zeros(0, dtype=int)
    order = np.argsort(number, kind="stable")
    counts = np.bincount(number) if len(table) else np.zeros(0, dtype=int)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(int)
    factors = np.zeros((0, len(table))) if estimates.error_factors is None else estimates.error_factors
    return Grouped(
        keys=table.iloc[order[offsets[:-1]]][columns].reset_index(drop=True),
        order=order,
        offsets=offsets,
        beta=table["beta"].to_numpy(float)[order],
        se=_whole_error(table, factors)[order],
        factors=factors[:, order],
    )


def _whole_error(table: pd.DataFrame, factors: Float[np.ndarray, "factors rows"]) -> Float[np.ndarray, "rows"]:
    """Return the standard error of the sampling part where it is given, and of the members' factors.

    A locus's own `se` may hold the members' part moderated over loci; pooled, it is the factors' coherent sum that
    counts, and what they leave of the moderated `se` would be no sampling error.
    """
    se = table["se"].to_numpy(float)
    if not len(factors) or "se_sampling" not in table:
        return se
    given = table["se_sampling"].to_numpy(float)
    return np.where(np.isnan(given), se, np.sqrt(given**2 + np.sum(factors**2, axis=0)))


def assemble(estimates: Estimates, groups: Grouped, pooled: Pooled, *, level: float) -> Estimates:
    """Put pooled groups, and groups of one row as they are, into estimates of the locus `*`.

    Parameters
    ----------
    pooled : of the groups of several rows, in order.
    """
    count, several = len(groups.keys), groups.several
    lone = _lone(estimates, groups, ~several, level=level)
    columns: dict[str, Float[np.ndarray, "groups"]] = {}
    for name in {**lone, **pooled.columns}:
        values = np.full(count, np.nan)
        if name in pooled.columns:
            values[several] = pooled.columns[name]
        if name in lone:
            values[~several] = lone[name]
        columns[name] = values
    table = groups.keys.assign(**columns, locus="*", n=groups.counts, level=level)
    lost = estimates.skipped.groupby(PAIR).size()
    table["n_skipped"] = [int(lost.get(key, 0)) for key in groups.keys[PAIR].itertuples(index=False, name=None)]
    names = [name for name in schema.EXTRA if name in table and not (len(table) and table[name].isna().all())]
    factors = np.zeros((len(groups.factors), count))
    factors[:, several] = pooled.factors
    factors[:, ~several] = groups.factors[:, groups.offsets[:-1][~several]]
    return Estimates(
        table=table[[*schema.ESTIMATES, *names]],
        skipped=nothing_to_pool(estimates),
        error_factors=factors if estimates.error_factors is not None and count else None,
    )


def _lone(
    estimates: Estimates, groups: Grouped, which: Bool[np.ndarray, "groups"], *, level: float
) -> dict[str, Float[np.ndarray, "lone"]]:
    """One locus is its own mean; it says nothing about the variance between loci, so tau2 stays empty."""
    rows = groups.offsets[:-1][which]
    beta, factors = groups.beta[rows], groups.factors[:, rows]
    table = estimates.table.iloc[groups.order[rows]]
    se = table["se"].to_numpy(float)
    given = table["df"].to_numpy(float) if "df" in table else np.full(len(rows), np.inf)
    df = np.where(np.isnan(given), np.inf, given)
    low, high = interval(beta, se, df=df, level=level)
    columns = {"beta": beta, "se": se, "ci_low": low, "ci_high": high, "pvalue": two_sided(beta, se, df=df), "df": df}
    if len(factors):
        member = np.sum(factors**2, axis=0)
        parts = {"se_sampling": np.sqrt(np.maximum(se**2 - member, 0.0)), "se_member": np.sqrt(member)}
        if set(parts) <= set(table):
            own = table[list(parts)]
            parts = {name: np.where(own[name].isna(), value, own[name]) for name, value in parts.items()}
        columns |= parts
    return columns


def nothing_to_pool(estimates: Estimates) -> pd.DataFrame:
    """List the pairs of which every locus was skipped."""
    pooled = set(estimates.table[PAIR].itertuples(index=False, name=None))
    pairs = estimates.skipped[PAIR].drop_duplicates().itertuples(index=False, name=None)
    rows = [(*pair, "*", "no locus has an estimate") for pair in pairs if pair not in pooled]
    return pd.DataFrame(rows, columns=list(schema.SKIPPED), dtype=str)
