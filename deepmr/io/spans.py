"""Read spans, such as hits of a motif: BED, or a table with a header."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr.errors import InputError
from deepmr.instruments.spans import Spans
from deepmr.io.bed import read_intervals
from deepmr.io.files import read_bytes
from deepmr.io.tables import read_table, whole_numbers
from deepmr.types import Sequences

log = logging.getLogger(__name__)
NAMES = ("name", "motif")  # columns that say what lies in a span, the first that is there


def read_spans(path: Path, sequences: Sequences | None, *, loci: tuple[str, ...], chroms: set[str]) -> Spans:
    """Read spans in coordinates of loci or of the genome.

    Parameters
    ----------
    path
        BED (chromosome or locus, start, end, and perhaps a name), or a table with a header: either locus or chrom, then
        start and end, and perhaps name or motif. All 0-based and half-open. Offsets count from the start of a locus
        where the first column names one; the planted.tsv of deepmr simulate is such a table.
    sequences
        Where the loci lie on the genome; None where this is unknown, as for tables of effects.
    loci
        Names of all loci.
    chroms
        Names of the chromosomes that variants lie on.

    Raises
    ------
    InputError
        When the file cannot be read, a span is none, or none lies in a locus or on a chromosome of the effects.

    Notes
    -----
    Spans of other loci and chromosomes are left out: hits of a motif are often those of a whole genome. A name that is
    both a locus and a chromosome is taken for the locus.
    """
    found = _read(path)
    known = set(loci)
    in_locus = found["place"].isin(known).to_numpy(bool) & (found["by"] != "chrom").to_numpy(bool)
    on_chrom = found["place"].isin(chroms - {""}).to_numpy(bool) & (found["by"] != "locus").to_numpy(bool) & ~in_locus
    kept = in_locus | on_chrom
    if not kept.any():
        raise InputError(
            f"{path}: none of its {len(found)} spans is of a locus or chromosome of the effects, first "
            f"{found['place'].iloc[0]!r}"
        )
    place, start, end = (found[name].to_numpy()[kept] for name in ("place", "start", "end"))
    shift = _starts(sequences, place, in_locus[kept], path, end)
    if lost := int((~kept).sum()):
        log.info("%s: %d of %d spans are of no locus or chromosome of the effects", path, lost, len(found))
    inside = in_locus[kept]
    return Spans(
        locus=tuple(np.where(inside, place, "").astype(str).tolist()),
        chrom=tuple(np.where(inside, "", place).astype(str).tolist()),
        start=start.astype(np.int64) + shift,
        end=end.astype(np.int64) + shift,
        name=tuple(found["name"].to_numpy(str)[kept].tolist()),
    )


def _starts(
    sequences: Sequences | None, place: np.ndarray, inside: np.ndarray, path: Path, end: np.ndarray
) -> np.ndarray:
    """Return what to add to offsets in loci: where the locus starts on the genome, if it has a place there."""
    shift = np.zeros(len(place), dtype=np.int64)
    if sequences is None:
        return shift
    beyond = inside & (end.astype(np.int64) > sequences.length)
    if beyond.any():
        row = int(np.argmax(beyond))
        raise InputError(
            f"{path}: a span of locus {place[row]!r} ends at {end[row]}; the locus has {sequences.length} bases"
        )
    frame = sequences.loci
    placed = ((frame["chrom"] != "") & (frame["start"] >= 0)).to_numpy(bool)
    starts = dict(zip(frame["locus"].astype(str), np.where(placed, frame["start"], 0).tolist(), strict=True))
    shift[inside] = [starts[name] for name in place[inside]]
    return shift


def _read(path: Path) -> pd.DataFrame:
    """Return place, by ("locus", "chrom" or "", which can be either), start, end and name of every span."""
    if not _has_header(path):
        rows = [(i.chrom, "", i.start, i.end, i.fields[3] if len(i.fields) > 3 else "") for i in read_intervals(path)]
        return pd.DataFrame(rows, columns=["place", "by", "start", "end", "name"])
    frame = read_table(path)
    by = next((name for name in ("locus", "chrom") if name in frame), None)
    if by is None or "start" not in frame or "end" not in frame:
        raise InputError(
            f"{path}: needed the columns locus or chrom, start and end; it has {', '.join(map(str, frame.columns))}"
        )
    if frame.empty:
        raise InputError(f"{path}: has no spans")
    start, end = (pd.Series(whole_numbers(path, frame, name)).to_numpy(np.int64) for name in ("start", "end"))
    wrong = (start < 0) | (end <= start)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"{path}: line {row + 2}: start must be at least 0 and below end; got {start[row]} and {end[row]}"
        )
    label = next((frame[name].fillna("").astype(str) for name in NAMES if name in frame), pd.Series("", frame.index))
    return pd.DataFrame({"place": frame[by].astype(str), "by": by, "start": start, "end": end, "name": label})


def _has_header(path: Path) -> bool:
    """Say whether the first line names columns: then it has the words start and end."""
    words = read_bytes(path).split(b"\n", 1)[0].decode("utf-8", "replace").split()
    return {"start", "end"} <= set(words)
