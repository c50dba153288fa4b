"""Which variants of two tables are the same one, by name or by position."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt64

from deepmr import checks
from deepmr.errors import InputError

Match = Literal["auto", "name", "position"]
FEW = 0.02  # share of names found below which positions are tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Pairs of rows of two tables, in the order of the first.

    Attributes
    ----------
    left, right : row numbers.
    unique : whether no row is in two pairs.
    by : `name` or `position`.
    """

    left: Int[np.ndarray, "pairs"]
    right: Int[np.ndarray, "pairs"]
    unique: bool
    by: str


def match_variants(
    left: pd.DataFrame,
    right: pd.DataFrame,
    *,
    match: Match = "auto",
    names: tuple[str, str] = ("the exposure", "the outcome"),
) -> Matches:
    """Pair the variants of two tables that have the same name, or the same chromosome and position.

    Parameters
    ----------
    left, right : with the columns variant_id, chrom and pos; chrom empty or pos 0 where unknown.
    match : `auto` takes names, unless fewer than 2 % of the smaller table's are found and positions find more.
    names : what the tables are, for messages.

    Raises
    ------
    InputError
        When the tables have no variant in common.
    """
    checks.one_of("match", match, get_args(Match))
    smaller = max(min(len(left), len(right)), 1)
    found = None
    if match != "position":
        found = _by_name(left, right)
        if match == "name" or len(found.left) >= FEW * smaller:
            return _checked(found, left, right, names)
    placed = _by_position(left, right)
    if found is not None and len(found.left) >= len(placed.left):
        return _checked(found, left, right, names)
    return _checked(placed, left, right, names)


def _checked(found: Matches, left: pd.DataFrame, right: pd.DataFrame, names: tuple[str, str]) -> Matches:
    if not len(found.left) and len(left) and len(right):
        first, second = left["variant_id"].iloc[0], right["variant_id"].iloc[0]
        placed = bool((left["pos"] > 0).any()) and bool((right["pos"] > 0).any())
        hint = ", by name or position: are both of one genome build?" if placed else ""
        raise InputError(
            f"{names[0]} and {names[1]} have no variant in common: {len(left)} such as {first}, "
            f"{len(right)} such as {second}{hint}"
        )
    return found


def _by_name(left: pd.DataFrame, right: pd.DataFrame) -> Matches:
    a, b = left["variant_id"].to_numpy(object), right["variant_id"].to_numpy(object)
    keys = (pd.util.hash_array(names, categorize=False) for names in (a, b))
    i, j = _pairs(*keys)
    same = a[i] == b[j]  # two names with one hash are not the same
    return _matches(i[same], j[same], "name")


def _by_position(left: pd.DataFrame, right: pd.DataFrame) -> Matches:
    levels: dict[str, int] = {}
    keys, rows = [], []
    for table in (left, right):
        chrom = table["chrom"].astype("category").array
        for name in chrom.categories:
            levels.setdefault(name, len(levels))
        number = np.array([*(levels[name] for name in chrom.categories), -1], dtype=np.int64)[chrom.codes]
        known = (number >= 0) & (number != levels.get("", -1)) & (table["pos"].to_numpy() > 0)
        rows.append(np.flatnonzero(known))
        keys.append(((number << 40) + table["pos"].to_numpy(np.int64))[known].astype(np.uint64))
    i, j = _pairs(*keys)
    return _matches(rows[0][i], rows[1][j], "position")


def _pairs(
    left: UInt64[np.ndarray, "_"], right: UInt64[np.ndarray, "_"]
) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"]]:
    """Return all pairs of equal keys, sorted by the first."""
    own, order = np.argsort(left, kind="stable"), np.argsort(right, kind="stable")
    queries, ordered = left[own], right[order]  # sorted queries keep the search in the cache
    start = np.searchsorted(ordered, queries, side="left")
    count = np.searchsorted(ordered, queries, side="right") - start
    i = np.repeat(own, count)
    within = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
    j = order[np.repeat(start, count) + within]
    first = np.lexsort((j, i)) if count.max(initial=0) > 1 else np.argsort(i, kind="stable")
    return i[first], j[first]


def _matches(i: np.ndarray, j: np.ndarray, by: str) -> Matches:
    unique = not (np.any(i[1:] == i[:-1]) or pd.Series(j).duplicated().any())
    return Matches(left=i, right=j, unique=bool(unique), by=by)
