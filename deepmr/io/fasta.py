"""Sequences from a FASTA file of loci, or from a genome and a table of peaks."""

import logging
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyfaidx

from deepmr.errors import InputError
from deepmr.io.bed import read_intervals
from deepmr.io.files import GZIP, atomic_path, read_bytes
from deepmr.sequence.alphabet import NUCLEOTIDES, decode, encode
from deepmr.types import Sequences

log = logging.getLogger(__name__)

# `chrom:start-end`, alone or behind `name::`, with the strand that bedtools adds.
COORDINATES = re.compile(r"(?:.*::)?(?P<chrom>[^\s:]+):(?P<start>\d+)-(?P<end>\d+)(?:\((?P<strand>[+.-])\))?")
UNKNOWN = ("", -1, -1)
NARROW_PEAK = 10  # columns of a narrowPeak line; the last is the distance of the summit from the start, -1 for none


def read_fasta(path: Path, *, length: int | None = None) -> Sequences:
    """Read loci of one length from a FASTA file, plain, gzip or bgzip.

    Parameters
    ----------
    path
        One record a locus, named by the first word of its header. Lower-case bases are bases; N and the other IUPAC
        codes mask their position. Coordinates in a header, `chrom:start-end` (0-based start) or
        `name::chrom:start-end`, alone or as its second word, are kept when they span the sequence on the forward
        strand.
    length
        Bases that every record must have; by default those of the first record.

    Returns
    -------
    Sequences
        Loci in the order of the file.

    Raises
    ------
    InputError
        When the file is missing, empty, truncated or no FASTA, a record is empty, has another length or a letter that
        is no nucleotide code, or a name occurs twice.
    """
    names: list[str] = []
    headers: list[list[str]] = []
    codes: list[np.ndarray] = []
    seen: set[str] = set()
    for words, body in _records(path):
        name = words[0]
        if name in seen:
            raise InputError(f"{path}: the name {name!r} occurs more than once; needed one name a locus")
        seen.add(name)
        if not body:
            raise InputError(f"{path}: record {name!r} has no sequence")
        bad = body.translate(None, NUCLEOTIDES)
        if bad:
            raise InputError(
                f"{path}: record {name!r} has {bad[:1].decode('latin-1')!r}, which is no nucleotide code; needed DNA"
            )
        needed = length if length is not None else len(codes[0]) if codes else len(body)
        if len(body) != needed:
            why = "the model reads" if length is not None else f"record {names[0]!r} has"
            hint = (
                "; a genome needs a table of peaks (--loci)" if length is not None and len(body) > 10 * length else ""
            )
            raise InputError(f"{path}: record {name!r} has {len(body)} bases; {why} {needed}{hint}")
        names.append(name)
        headers.append(words)
        codes.append(encode(body))
    sequences = Sequences(loci=_loci_of(path, headers, len(codes[0])), codes=np.stack(codes))
    blank = int((~sequences.known.any(axis=1)).sum())
    if blank:
        log.warning("%s: %d of %d loci have no known base: nothing in them can be edited", path, blank, len(sequences))
    return sequences


def _records(path: Path) -> Iterator[tuple[list[str], bytes]]:
    """Yield the first two words of the header, the first of them the name, and the sequence of every record."""
    content = read_bytes(path)
    if not content.strip():
        raise InputError(f"{path}: the file is empty; needed FASTA records")
    if content.lstrip()[:1] != b">":
        first = content.split(b"\n", 1)[0][:30].decode("latin-1")
        raise InputError(f"{path}: not a FASTA file: starts with {first!r}, needed '>'")
    for number, record in enumerate((b"\n" + content.lstrip()).split(b"\n>")[1:], 1):
        header, _, body = record.partition(b"\n")
        words = header.decode("utf-8", "replace").split(maxsplit=2)[:2]
        if not words:
            raise InputError(f"{path}: record {number} has no name")
        yield words, body.translate(None, b" \t\r\n")


def _loci_of(path: Path, headers: list[list[str]], length: int) -> pd.DataFrame:
    """Make the frame of loci; coordinates that do not fit the sequence are not kept, and a warning says how many."""
    rows = []
    dropped = 0
    for words in headers:
        match = next(filter(None, map(COORDINATES.fullmatch, words)), None)
        row = UNKNOWN
        if match:
            start, end = int(match["start"]), int(match["end"])
            if end - start == length and match["strand"] != "-":
                row = (match["chrom"], start, end)
            else:
                dropped += 1
        rows.append((words[0], *row))
    if dropped:
        log.warning(
            "%s: coordinates of %d of %d headers are not kept: other length or reverse strand", path, dropped, len(rows)
        )
    return pd.DataFrame(rows, columns=["locus", "chrom", "start", "end"])


def read_loci(genome: Path, bed: Path, *, length: int) -> Sequences:
    """Cut windows of one length out of a genome, centred on the summits of peaks.

    Parameters
    ----------
    genome
        FASTA of the chromosomes, plain; its index `.fai` is used where there is one beside it.
    bed
        BED or narrowPeak, plain or gzip; 0-based, half-open. The window's centre is the summit where a line has the ten
        columns of narrowPeak and the last is not -1, else the middle of the interval.
    length
        Bases of a window, [centre - length // 2, centre - length // 2 + length).

    Returns
    -------
    Sequences
        Named by column 4 where those names are unique, else `chrom:start-end` of the window.

    Raises
    ------
    InputError
        When a file cannot be read, a line is no interval, names an unknown chromosome, or its window leaves it.
    """
    peaks = _read_bed(bed)
    names, rows, codes = [], [], []
    with tempfile.TemporaryDirectory() as folder, _open_genome(genome, Path(folder)) as fasta:
        sizes = {str(chrom): len(record) for chrom, record in fasta.items()}
        for line, chrom, centre, name in peaks:
            start = centre - length // 2
            end = start + length
            if chrom not in sizes:
                raise InputError(f"{bed}: line {line}: {_unknown_chrom(chrom, sizes, genome)}")
            if start < 0 or end > sizes[chrom]:
                raise InputError(
                    f"{bed}: line {line}: the window {chrom}:{start}-{end} leaves the chromosome, which has "
                    f"{sizes[chrom]} bases"
                )
            codes.append(_encode_window(str(fasta[chrom][start:end]), genome, chrom))
            rows.append((chrom, start, end))
            names.append(name)
    windows = [f"{chrom}:{start}-{end}" for chrom, start, end in rows]
    named = len(set(names)) == len(names) and not {"", "."} & set(names)
    if not named and set(names) - {"", "."}:
        log.warning("%s: not every name in column 4 is there and unique; loci are named by their windows", bed)
    loci = pd.DataFrame(rows, columns=["chrom", "start", "end"])
    loci.insert(0, "locus", names if named else windows)
    if not named and len(set(windows)) < len(windows):
        twice = loci["locus"][loci["locus"].duplicated()].iloc[0]
        raise InputError(f"{bed}: the window {twice} occurs more than once; remove it or give unique names (column 4)")
    return Sequences(loci=loci, codes=np.stack(codes))


def _encode_window(text: str, genome: Path, chrom: str) -> np.ndarray:
    try:
        return encode(text)
    except InputError as error:
        raise InputError(f"{genome}: {chrom}: {error}") from error


def _open_genome(genome: Path, folder: Path) -> pyfaidx.Fasta:
    """Open a genome for random access; an index that cannot lie beside it is made in a temporary folder."""
    index = genome.with_name(genome.name + ".fai")
    try:
        if not genome.is_file():
            raise InputError(f"{genome}: cannot be read: no such file")
        with genome.open("rb") as handle:
            if handle.read(2) == GZIP:
                raise InputError(f"{genome}: a genome must be plain FASTA for random access; decompress it first")
        # An index older than its genome would be made anew, in a folder that is not ours.
        usable = index.is_file() and index.stat().st_mtime >= genome.stat().st_mtime
        name = index if usable else folder / index.name
        if not usable:
            log.info("%s: indexing for this run; `samtools faidx` beside it, once, saves the time", genome)
        return pyfaidx.Fasta(str(genome), indexname=str(name))
    except (pyfaidx.FastaIndexingError, pyfaidx.IndexNotFoundError, ValueError, OSError, ImportError) as error:
        raise InputError(f"{genome}: not a usable FASTA file: {' '.join(str(error).split())}") from error


def _unknown_chrom(chrom: str, sizes: dict[str, int], genome: Path) -> str:
    other = chrom.removeprefix("chr") if chrom.startswith("chr") else f"chr{chrom}"
    hint = f"it has {other!r}" if other in sizes else f"it has {', '.join(list(sizes)[:3])}, ..."
    return f"{genome} has no chromosome {chrom!r}; {hint}"


def _read_bed(bed: Path) -> list[tuple[int, str, int, str]]:
    """Return line number, chromosome, centre and name of every interval."""
    peaks = []
    for one in read_intervals(bed):
        summit = -1
        if len(one.fields) == NARROW_PEAK:
            try:
                summit = int(one.fields[-1])
            except ValueError as error:
                raise InputError(
                    f"{bed}: line {one.line}: the summit must be a number; got {one.fields[-1]!r}"
                ) from error
        if summit >= one.end - one.start:
            raise InputError(
                f"{bed}: line {one.line}: the summit is {summit} bases from the start of an interval of "
                f"{one.end - one.start}"
            )
        centre = one.start + summit if summit >= 0 else (one.start + one.end) // 2
        peaks.append((one.line, one.chrom, centre, one.fields[3] if len(one.fields) > 3 else ""))
    return peaks


def sample_loci(sequences: Sequences, n: int, *, seed: int) -> Sequences:
    """Draw loci at random without replacement, kept in the order of the file.

    Parameters
    ----------
    sequences
        Loci to draw from.
    n
        Loci to draw, 1 to all.
    seed
        Of the draw.

    Raises
    ------
    InputError
        When there are fewer than `n` loci.
    """
    if not 1 <= n <= len(sequences):
        raise InputError(f"cannot draw {n} loci: there are {len(sequences)}")
    return sequences.take(np.sort(np.random.default_rng(seed).choice(len(sequences), size=n, replace=False)))


def write_fasta(sequences: Sequences, path: Path) -> None:
    """Write one record a locus, masked positions as N, coordinates as the second word of a header that lacks them.

    Parameters
    ----------
    sequences
        Loci.
    path
        File to write; an existing one is replaced.
    """
    loci = sequences.loci
    rows = zip(loci["locus"], loci["chrom"], loci["start"], loci["end"], sequences.codes, strict=True)
    records = (f">{_header(*row)}\n{decode(codes)}\n" for *row, codes in rows)
    with atomic_path(path) as temporary:
        temporary.write_text("".join(records))


def _header(name: str, chrom: str, start: int, end: int) -> str:
    return f"{name} {chrom}:{start}-{end}" if chrom and not COORDINATES.fullmatch(name) else name
