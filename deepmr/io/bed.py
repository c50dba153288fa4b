"""BED files: intervals, and the positions of loci that they cover."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from deepmr.errors import InputError
from deepmr.io.files import read_bytes
from deepmr.ism.variants import placed_starts
from deepmr.types import Sequences

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One line of a BED file: 0-based, half-open.

    Attributes
    ----------
    line : its number in the file, from 1.
    fields : all columns as text.
    """

    line: int
    chrom: str
    start: int
    end: int
    fields: list[str]


def read_intervals(bed: Path) -> list[Interval]:
    """Read the intervals of a BED or narrowPeak file, plain or gzip.

    Raises
    ------
    InputError
        When the file cannot be read, has no interval, or a line is none.
    """
    found = list(_intervals(bed))
    if not found:
        raise InputError(f"{bed}: has no intervals; needed BED lines")
    return found


def _intervals(bed: Path) -> Iterator[Interval]:
    for line, text in enumerate(read_bytes(bed).decode("utf-8", "replace").splitlines(), 1):
        if not text.strip() or text.startswith(("#", "track", "browser")):
            continue
        fields = text.rstrip().split("\t") if "\t" in text else text.split()
        try:
            chrom, start, end = fields[0], int(fields[1]), int(fields[2])
        except (IndexError, ValueError) as error:
            raise InputError(
                f"{bed}: line {line}: needed chrom, then start and end (0-based) as numbers; got {text[:60]!r}"
            ) from error
        if not 0 <= start < end:
            raise InputError(f"{bed}: line {line}: start must be at least 0 and below end; got {start} and {end}")
        yield Interval(line=line, chrom=chrom, start=start, end=end, fields=fields)


def read_subregions(bed: Path, sequences: Sequences) -> Bool[np.ndarray, "loci length"]:
    """Return which positions of the loci a BED file covers.

    Parameters
    ----------
    bed
        First column a chromosome, start and end on it, for loci that have coordinates; the name of a locus, start and
        end offsets in it, for those that have none.
    sequences
        The loci.

    Raises
    ------
    InputError
        When the file cannot be read, an interval leaves the locus that it names, or none lies in a locus.
    """
    length = sequences.length
    placed, origin = placed_starts(sequences)
    place = np.where(placed, sequences.loci["chrom"].astype(str), sequences.loci["locus"].astype(str))
    named = set(place[~placed])
    rows = pd.Series(np.arange(len(place))).groupby(place, sort=False).indices
    covered = np.zeros(sequences.codes.shape, dtype=bool)
    by_chrom: dict[str, list[Interval]] = {}
    intervals = read_intervals(bed)
    for one in intervals:
        if one.end > length and one.chrom in named:
            raise InputError(f"{bed}: line {one.line}: locus {one.chrom!r} has {length} bases; the end is {one.end}")
        by_chrom.setdefault(one.chrom, []).append(one)
    outside = 0
    for chrom, here in by_chrom.items():
        mine = rows.get(chrom, np.zeros(0, dtype=int))
        begin, end = (np.array([getattr(one, name) for one in here]) for name in ("start", "end"))
        covered[mine] = _covers(begin, end, origin[mine, None] + np.arange(length))
        outside += int((~_meets(begin, end, origin[mine], length)).sum())
    if outside == len(intervals):
        raise InputError(f"{bed}: none of its {outside} intervals lies in a locus, first {intervals[0].chrom!r}")
    if outside:
        log.warning("%s: %d of %d intervals lie in no locus", bed, outside, len(intervals))
    return covered


def _covers(
    begin: Int[np.ndarray, "intervals"], end: Int[np.ndarray, "intervals"], position: Int[np.ndarray, "loci length"]
) -> Bool[np.ndarray, "loci length"]:
    """Say which positions lie in an interval: of those that begin before it, one must end behind it."""
    order = np.argsort(begin)
    last = np.searchsorted(begin[order], position, side="right") - 1
    return (last >= 0) & (np.maximum.accumulate(end[order])[last] > position)


def _meets(
    begin: Int[np.ndarray, "intervals"], end: Int[np.ndarray, "intervals"], origin: Int[np.ndarray, "loci"], length: int
) -> Bool[np.ndarray, "intervals"]:
    """Say which intervals share a base with one of the loci."""
    if not len(origin):
        return np.zeros(len(begin), dtype=bool)
    starts = np.sort(
        origin
    )  # all loci are of one length, so the last to begin before an interval's end is the last to end
    last = np.searchsorted(starts, end, side="left") - 1
    return (last >= 0) & (starts[last] + length > begin)
