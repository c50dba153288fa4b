"""Seqlets: runs of positions whose edits move the exposure, the size of a motif, found without the outcome."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, UInt8

from deepmr import checks, inference, schema
from deepmr.errors import InputError
from deepmr.instruments.strength import EffectScale
from deepmr.types import ALPHABET, MASKED, Instruments, SummaryStats

WINDOW = 40  # positions around the middle of a seqlet that its pattern holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """What makes a run of positions a seqlet.

    Attributes
    ----------
    floor : a position counts when an edit of it changes the exposure by at least this share of the pooled 99th
        percentile of absolute effects; above 0. The default is the floor of instruments.
    noise : and by at least this many times the median over the positions of its locus; 0 turns it off.
    significance : and when the members agree on it: two-sided level of the test against 0; 1 turns it off.
    gap : most positions in a row that do not count and are bridged.
    min_width, max_width : positions from the first that counts to the last. Longer runs are split where their effects
        are weakest; shorter ones are no seqlets. The largest is at least twice the smallest.
    """

    floor: float = 0.25
    noise: float = 3.0
    significance: float = 0.05
    gap: int = 3
    min_width: int = 4
    max_width: int = 30

    def __post_init__(self) -> None:
        checks.positive("floor", np.array([self.floor]))
        checks.non_negative("noise", np.array([self.noise]))
        if not 0 < self.significance <= 1:
            raise InputError(f"significance must be above 0 and at most 1; got {self.significance:g}")
        checks.at_least("gap", self.gap, 0)
        checks.at_least("min_width", self.min_width, 1)
        if self.max_width < 2 * self.min_width:
            raise InputError(
                f"max_width must be at least twice min_width, {2 * self.min_width}, so that a run can be split; "
                f"got {self.max_width}"
            )


DEFAULT = Segmentation()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """Effects of all single substitutions of some loci on one trait, laid out by position.

    Attributes
    ----------
    loci : names.
    effect : by locus, position and new base in the order A C G T; 0 where nothing was edited.
    certain : where members agree that the effect is not 0.
    codes : reference bases, 4 where nothing was edited.
    """

    loci: tuple[str, ...]
    effect: Float[np.ndarray, "loci length 4"]
    certain: Bool[np.ndarray, "loci length 4"]
    codes: UInt8[np.ndarray, "loci length"]

    @property
    def largest(self) -> Float[np.ndarray, "loci length"]:
        """The effect of the largest size at every position, with its sign, among the certain ones."""
        effect = np.where(self.certain, self.effect, 0.0)
        return np.take_along_axis(effect, np.abs(effect).argmax(axis=2)[..., None], axis=2)[..., 0]

    @property
    def contribution(self) -> Float[np.ndarray, "loci length"]:
        """Minus the mean effect of the three substitutions: what the reference base contributes."""
        return -self.effect.sum(axis=2) / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Runs of positions, in order: number of the locus, start and half-open end."""

    locus: Int[np.ndarray, "runs"]
    start: Int[np.ndarray, "runs"]
    end: Int[np.ndarray, "runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seqlets:
    """The seqlets of many loci.

    Attributes
    ----------
    table : one row a seqlet, columns of `schema.SEQLETS`, ordered by locus and start; spans of a locus never overlap.
    pattern : effects on the exposure by position and new base around the middle of each, 0 outside of it.
    """

    table: pd.DataFrame
    pattern: Float[np.ndarray, "seqlets window 4"]

    def __post_init__(self) -> None:
        checks.columns("seqlets", self.table.columns, schema.SEQLETS)
        checks.shape("pattern", self.pattern, (len(self.table), self.pattern.shape[1], 4))

    def __len__(self) -> int:
        return len(self.table)


def lay_out(
    stats: SummaryStats, *, trait: str, significance: float = 0.05, loci: Sequence[str] | None = None
) -> Tracks:
    """Lay the effects of single substitutions on a trait out by locus and position.

    Parameters
    ----------
    stats : effects of edits; those of more than one base, insertions and deletions have no place here.
    trait : one of its traits.
    significance : two-sided level at which an effect is certain, as for instruments; 1 makes every effect certain.
    loci : which to lay out, in this order; None takes those of the variants.

    Notes
    -----
    A position is the variant's `offset`, where it has one, or its distance from the first position of its locus.
    """
    checks.one_of("trait", trait, stats.traits)
    k = stats.traits.index(trait)
    old, new = (stats.variants[name].astype(str).to_numpy(str) for name in ("other_allele", "effect_allele"))
    bases = list(ALPHABET)
    names = [str(name) for name in stats.variants["locus"].unique()] if loci is None else list(loci)
    number = pd.Index(names).get_indexer(pd.Index(stats.variants["locus"].astype(str)))
    single = np.isin(old, bases) & np.isin(new, bases) & (number >= 0)
    offset = offsets_in_locus(stats.variants)[single]
    number, beta, se = number[single], stats.beta[single, k], stats.se[single, k]
    at = (number, offset, np.searchsorted(bases, new[single]))
    size = (len(names), int(offset.max(initial=-1)) + 1, 4)
    df = np.inf if stats.error_factors is None else float(stats.error_factors.shape[0] - 1)
    effect, certain = np.zeros(size), np.zeros(size, dtype=bool)
    codes = np.full(size[:2], MASKED, dtype=np.uint8)
    effect[at] = beta
    certain[at] = (np.abs(beta) > inference.quantile(1 - significance, df) * se) & (beta != 0)
    codes[at[:2]] = np.searchsorted(bases, old[single])
    return Tracks(loci=tuple(names), effect=effect, certain=certain, codes=codes)


def offsets_in_locus(variants: pd.DataFrame) -> Int[np.ndarray, "variants"]:
    """Return the 0-based position of each variant in its locus: `offset`, or the distance from the first position."""
    if "offset" in variants and (variants["offset"] >= 0).all():
        return variants["offset"].to_numpy(np.int64)
    first = variants.groupby("locus", sort=False)["pos"].transform("min")
    return (variants["pos"] - first).to_numpy(np.int64)


def segment_tracks(
    track: Float[np.ndarray, "loci length"],
    *,
    cut: Float[np.ndarray, "loci"],
    gap: int = 3,
    min_width: int = 4,
    max_width: int = 30,
) -> Runs:
    """Find runs of positions whose effect reaches a cut.

    Parameters
    ----------
    track : one number a position; its size counts, not its sign.
    cut : of each locus; a position with 0 never counts.
    gap : most positions below the cut that are bridged.
    min_width, max_width : of a run; see `Segmentation`.

    Notes
    -----
    A run that is too long is split before the position p, at least `min_width` from either end, around which the four
    sizes from p - 2 to p + 1 are smallest, the most central such p; the parts shrink to their outermost positions that
    count, and are split again as long as need be.

    Examples
    --------
    >>> runs = segment_tracks(np.array([[0, 5, 4, 0, 6, 0, 0, 0, 0, 7.0]]), cut=np.array([1.0]))
    >>> runs.start.tolist(), runs.end.tolist()
    ([1], [5])
    """
    size = np.abs(track)
    locus, place = np.nonzero((size >= cut[:, None]) & (size > 0))
    split = np.zeros(size.shape, dtype=np.int64)
    padded = np.pad(size, ((0, 0), (2, 1)))
    around = padded[:, :-3] + padded[:, 1:-2] + padded[:, 2:-1] + padded[:, 3:]  # of the boundary before a position
    while True:
        part = split.cumsum(axis=1)[locus, place]
        new = (np.diff(locus, prepend=-1) != 0) | (np.diff(place, prepend=0) > gap + 1) | (np.diff(part, prepend=0) > 0)
        first = np.flatnonzero(new)
        last = np.append(first[1:], len(place))[: len(first)] - 1
        runs = Runs(locus=locus[first], start=place[first], end=place[last] + 1)
        width = runs.end - runs.start
        long = np.flatnonzero(width > max_width)
        if not len(long):
            kept = width >= min_width
            return Runs(locus=runs.locus[kept], start=runs.start[kept], end=runs.end[kept])
        at = runs.start[long] + _weakest(around, runs, long, min_width)
        split[runs.locus[long], at] = 1


def _weakest(
    around: Float[np.ndarray, "loci length"], runs: Runs, long: Int[np.ndarray, "long"], margin: int
) -> Int[np.ndarray, "long"]:
    """Return where to split each of these runs, counted from its start."""
    width = (runs.end - runs.start)[long]
    step = np.arange(width.max())
    inside = (step >= margin) & (step <= width[:, None] - margin)
    cells = np.minimum(runs.start[long, None] + step, around.shape[1] - 1)
    value = np.where(inside, around[runs.locus[long, None], cells], np.inf)
    tied = value == value.min(axis=1, keepdims=True)
    return np.where(tied, np.abs(step - width[:, None] / 2), np.inf).argmin(axis=1)


def find_seqlets(tracks: Tracks, *, scale: EffectScale, segmentation: Segmentation = DEFAULT) -> Seqlets:
    """Find the seqlets of loci from their effects on the exposure; the outcome has no part in it.

    Parameters
    ----------
    tracks : effects on the exposure.
    scale : how large its effects are over all loci.
    segmentation : what makes a run a seqlet.
    """
    track = tracks.largest
    known = tracks.codes != MASKED
    # Where positions were not edited, the median is over those that were.
    plain = np.where(known, np.abs(tracks.effect).max(axis=2), np.nan)
    typical = np.array([np.median(row[ok]) if ok.any() else 0.0 for row, ok in zip(plain, known, strict=True)])
    cut = np.maximum(segmentation.floor * scale.quantile, segmentation.noise * typical)
    runs = segment_tracks(
        track, cut=cut, gap=segmentation.gap, min_width=segmentation.min_width, max_width=segmentation.max_width
    )
    middle = (runs.start + runs.end) // 2
    cells = middle[:, None] - WINDOW // 2 + np.arange(WINDOW)
    inside = (cells >= runs.start[:, None]) & (cells < runs.end[:, None])
    cells = np.clip(cells, 0, max(track.shape[1] - 1, 0))
    letters = np.frombuffer(b"ACGTN", dtype="S1")[tracks.codes]
    number = np.arange(len(runs.locus)) - np.searchsorted(runs.locus, runs.locus) + 1
    spans = list(zip(runs.locus, runs.start, runs.end, strict=True))
    table = pd.DataFrame(
        {
            "locus": np.asarray(tracks.loci, dtype=object)[runs.locus],
            "seqlet": number,
            "start": runs.start,
            "end": runs.end,
            "sequence": [letters[i, a:b].tobytes().decode() for i, a, b in spans],
            "strength": [float(np.sqrt(np.sum(track[i, a:b] ** 2))) for i, a, b in spans],
        },
        columns=list(schema.SEQLETS),
    )
    pattern = np.where(inside[..., None], tracks.effect[runs.locus[:, None], cells], 0.0)
    return Seqlets(table=table, pattern=pattern)


def concat_seqlets(parts: Sequence[Seqlets]) -> Seqlets:
    """Stack the seqlets of blocks of loci."""
    if not parts:
        raise InputError("there are no seqlets to put together")
    filled = [part.table for part in parts if len(part)] or [parts[0].table]
    return Seqlets(table=pd.concat(filled, ignore_index=True), pattern=np.concatenate([part.pattern for part in parts]))


def assign_seqlets(instruments: Instruments, seqlets: Seqlets) -> Int[np.ndarray, "instruments"]:
    """Return the row number of the seqlet that each instrument lies in, -1 for one that lies in none.

    Parameters
    ----------
    instruments : of the exposure that the seqlets were found for, as `select_instruments` returns them.
    seqlets : of the same loci, spans counted as `lay_out` counts positions.
    """
    table = seqlets.table
    if not len(table):
        return np.full(len(instruments.variants), -1)
    index = pd.Index(instruments.loci)
    home = index.get_indexer(pd.Index(instruments.variants["locus"].astype(str)))
    mine = index.get_indexer(pd.Index(table["locus"]))
    offset, start, end = offsets_in_locus(instruments.variants), table["start"].to_numpy(), table["end"].to_numpy()
    stride = int(max(offset.max(initial=0), end.max())) + 1
    order = np.argsort(mine * stride + start, kind="stable")
    before = np.searchsorted((mine * stride + start)[order], home * stride + offset, side="right") - 1
    found = order[np.maximum(before, 0)]
    inside = (before >= 0) & (mine[found] == home) & (offset < end[found])
    return np.where(inside, found, -1)
