"""Independent variants: the strongest of each neighbourhood, by distance or by linkage disequilibrium."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from deepmr.errors import InputError
from deepmr.instruments.ld import dosage_correlation
from deepmr.instruments.matching import Match, match_variants
from deepmr.types import GenotypePanel

CHUNK = 4_000  # variants decoded at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Clumps:
    """Which variants were kept.

    Attributes
    ----------
    kept : True for the strongest variant of each clump.
    dropped : variant_id, reason and detail (the variant it gave way to, if any) of every other.
    """

    kept: Bool[np.ndarray, "variants"]
    dropped: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class _Neighbourhoods:
    """Row numbers by place (`order`), the part of `order` near each place, and places from the strongest on."""

    order: Int[np.ndarray, "variants"]
    start: Int[np.ndarray, "variants"]
    stop: Int[np.ndarray, "variants"]
    turn: Int[np.ndarray, "variants"]


def clump_by_distance(
    variants: pd.DataFrame, strength: Float[np.ndarray, "variants"], *, kb: float = 1_000.0
) -> Clumps:
    """Keep variants from the strongest on, each of which removes all weaker ones within a distance.

    Parameters
    ----------
    variants : with variant_id, chrom and pos; those of unknown position are dropped.
    strength : what makes one variant stronger, such as -log10 P; the earlier one of equals.
    kb : distance in 1,000 bases.

    Raises
    ------
    InputError
        When no position is known, or the distance is negative.
    """
    rows, unknown = _placed(variants)
    here = variants.iloc[rows].reset_index(drop=True)
    around = _neighbourhoods(here, strength[rows], kb)
    clumps = _greedy(here, around, lambda index, others: np.ones(len(others)), least=0.0, measured=False)
    return _of_all(len(variants), rows, clumps, [unknown])


def clump_by_ld(
    variants: pd.DataFrame,
    strength: Float[np.ndarray, "variants"],
    panel: GenotypePanel,
    *,
    r2: float = 0.001,
    kb: float = 10_000.0,
    match: Match = "auto",
) -> Clumps:
    """Keep variants from the strongest on, each of which removes weaker ones in linkage disequilibrium with it.

    Parameters
    ----------
    variants : with the columns of `schema.VARIANTS`; positions are those of the panel.
    strength : what makes one variant stronger, such as -log10 P; the earlier one of equals.
    panel : genotypes of the same ancestry; variants that are not in it, or without a position there, are dropped.
    r2 : squared correlation of dosages from which on a variant is removed, 0 to 1.
    kb : distance within which linkage disequilibrium is looked for, in 1,000 bases.
    match : how variants are found in the panel, see `match_variants`.

    Raises
    ------
    InputError
        When an option is out of range, no variant is in the panel, or none of them has a position there.

    Notes
    -----
    The algorithm is that of PLINK's --clump, with no threshold for the variants that are removed. It takes no heed of
    alleles: r2 has no sign.
    """
    if not 0 <= r2 <= 1:
        raise InputError(f"r2 must be between 0 and 1; got {r2:g}")
    found = match_variants(variants, panel.variants, match=match, names=("the exposure", "the LD panel"))
    home = np.full(len(variants), -1)
    home[found.left[::-1]] = found.right[::-1]
    rows = np.flatnonzero(home >= 0)
    here = panel.variants.iloc[home[rows]].reset_index(drop=True)
    here["variant_id"] = variants["variant_id"].to_numpy(object)[rows]
    placed, unknown = _placed(here, where=" in the LD panel")
    here, rows = here.iloc[placed].reset_index(drop=True), rows[placed]
    around = _neighbourhoods(here, strength[rows], kb)

    def squared(index: int, others: Int[np.ndarray, "_"]) -> Float[np.ndarray, "_"]:
        one = panel.dosages(home[rows[[index]]])
        parts = [
            dosage_correlation(one, panel.dosages(home[rows[others[a : a + CHUNK]]]))[0]
            for a in range(0, len(others), CHUNK)
        ]
        return np.concatenate(parts) ** 2

    clumps = _greedy(here, around, squared, least=r2, measured=True)
    names = variants["variant_id"].to_numpy(object)
    return _of_all(len(variants), rows, clumps, [unknown, _dropped(names[home < 0], "not in the LD panel")])


def has_position(variants: pd.DataFrame) -> Bool[np.ndarray, "variants"]:
    """Return which variants have a chromosome and a position: only of these is known what lies near.

    Parameters
    ----------
    variants : with chrom and pos, which is 0 or below where unknown.
    """
    chrom = variants["chrom"].astype(object)
    return ((variants["pos"] > 0) & chrom.notna() & (chrom != "")).to_numpy(bool)


def _placed(variants: pd.DataFrame, *, where: str = "") -> tuple[Int[np.ndarray, "placed"], pd.DataFrame]:
    """Return the rows whose position is known, and the others as dropped."""
    known = has_position(variants)
    names = variants["variant_id"].to_numpy(object)
    if len(known) and not known.any():
        raise InputError(f"clumping needs positions; all {len(known)} are unknown{where}, first of {names[0]}")
    return np.flatnonzero(known), _dropped(names[~known], f"of unknown position{where}")


def _dropped(names: np.ndarray, reason: str) -> pd.DataFrame:
    return pd.DataFrame({"variant_id": names, "reason": reason, "detail": ""})


def _of_all(n: int, rows: Int[np.ndarray, "placed"], clumps: Clumps, others: Sequence[pd.DataFrame]) -> Clumps:
    """Return the clumps of some rows as those of all, the rest of which was dropped before."""
    kept = np.zeros(n, dtype=bool)
    kept[rows[clumps.kept]] = True
    return Clumps(kept=kept, dropped=pd.concat([clumps.dropped, *others], ignore_index=True))


def _neighbourhoods(variants: pd.DataFrame, strength: Float[np.ndarray, "variants"], kb: float) -> _Neighbourhoods:
    if not kb >= 0:
        raise InputError(f"kb must be at least 0; got {kb:g}")
    chrom = pd.factorize(variants["chrom"].astype(object))[0]
    pos = variants["pos"].to_numpy(np.int64)
    place = (chrom.astype(np.int64) << 40) + pos
    order = np.argsort(place, kind="stable")
    reach, ordered = int(kb * 1000), place[order]
    turn = np.lexsort((order, -strength[order]))
    return _Neighbourhoods(
        order=order,
        start=np.searchsorted(ordered, ordered - reach, side="left"),
        stop=np.searchsorted(ordered, ordered + reach, side="right"),
        turn=turn,
    )


def _greedy(
    variants: pd.DataFrame,
    around: _Neighbourhoods,
    squared: Callable[[int, np.ndarray], np.ndarray],
    *,
    least: float,
    measured: bool,
) -> Clumps:
    """Let each variant that is left, from the strongest on, remove what is near and correlated."""
    order, names = around.order, variants["variant_id"].to_numpy(object)
    free = np.ones(len(order), dtype=bool)
    kept = np.zeros(len(order), dtype=bool)
    lost: list[int] = []
    details: list[str] = []
    for place in around.turn:
        if not free[place]:
            continue
        free[place] = False
        kept[order[place]] = True
        near = around.start[place] + np.flatnonzero(free[around.start[place] : around.stop[place]])
        if not len(near):
            continue
        value = squared(int(order[place]), order[near])
        gone = value >= least
        free[near[gone]] = False
        lost.extend(order[near[gone]])
        winner = names[order[place]]
        details.extend(f"{winner}, r2 {v:.3g}" if measured else str(winner) for v in value[gone])
    reason = "correlated with a stronger variant" if measured else "near a stronger variant"
    dropped = pd.DataFrame({"variant_id": names[np.array(lost, dtype=int)], "reason": reason, "detail": details})
    return Clumps(kept=kept, dropped=dropped)
