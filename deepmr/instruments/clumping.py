"""Independent variants: the strongest of each neighbourhood, by distance or by linkage disequilibrium."""

from collections.abc import Callable
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
    dropped : variant_id, reason and detail (the variant it gave way to) of every other.
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
    variants : with variant_id, chrom and pos, all known.
    strength : what makes one variant stronger, such as -log10 P; the earlier one of equals.
    kb : distance in 1,000 bases.

    Raises
    ------
    InputError
        When a position is unknown, or the distance is negative.
    """
    around = _neighbourhoods(variants, strength, kb)
    return _greedy(variants, around, lambda index, others: np.ones(len(others)), least=0.0, measured=False)


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
    panel : genotypes of the same ancestry; variants that are not in it are dropped.
    r2 : squared correlation of dosages from which on a variant is removed, 0 to 1.
    kb : distance within which linkage disequilibrium is looked for, in 1,000 bases.
    match : how variants are found in the panel, see `match_variants`.

    Raises
    ------
    InputError
        When an option is out of range, or no variant is in the panel.

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
    around = _neighbourhoods(here, strength[rows], kb)

    def squared(index: int, others: Int[np.ndarray, "_"]) -> Float[np.ndarray, "_"]:
        one = panel.dosages(home[rows[[index]]])
        parts = [
            dosage_correlation(one, panel.dosages(home[rows[others[a : a + CHUNK]]]))[0]
            for a in range(0, len(others), CHUNK)
        ]
        return np.concatenate(parts) ** 2

    clumps = _greedy(here, around, squared, least=r2, measured=True)
    kept = np.zeros(len(variants), dtype=bool)
    kept[rows[clumps.kept]] = True
    absent = pd.DataFrame(
        {
            "variant_id": variants["variant_id"].to_numpy(object)[home < 0],
            "reason": "not in the LD panel",
            "detail": "",
        }
    )
    return Clumps(kept=kept, dropped=pd.concat([clumps.dropped, absent], ignore_index=True))


def _neighbourhoods(variants: pd.DataFrame, strength: Float[np.ndarray, "variants"], kb: float) -> _Neighbourhoods:
    if not kb >= 0:
        raise InputError(f"kb must be at least 0; got {kb:g}")
    chrom, names = pd.factorize(variants["chrom"].astype(object))
    pos = variants["pos"].to_numpy(np.int64)
    unknown = (pos <= 0) | (chrom < 0) | np.isin(chrom, np.flatnonzero(np.asarray(names) == ""))
    if unknown.any():
        first = variants["variant_id"].iloc[int(np.argmax(unknown))]
        raise InputError(f"clumping needs positions; {int(unknown.sum())} of {len(pos)} are unknown, first of {first}")
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
