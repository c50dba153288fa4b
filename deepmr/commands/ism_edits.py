"""What a run of `deepmr ism` edits: every base, some positions, the windows of a scan, or a table."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from jaxtyping import Bool, UInt8

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.bed import read_subregions
from deepmr.io.edits import read_edits
from deepmr.ism.edit_table import resolve_edits
from deepmr.ism.scans import Kind, Windows, scan_edits, scan_windows
from deepmr.ism.variants import Anchor, Edits
from deepmr.sequence.alphabet import dinucleotide_shuffle, encode
from deepmr.types import Sequences

SCANS = (
    r"(?P<kind>delete):(?P<width>\d+)",
    r"(?P<kind>substitute):(?P<width>\d+)(?::(?P<content>shuffle|random))?",
    r"(?P<kind>insert):(?P<width>\d+)",
    r"(?P<kind>substitute|insert):(?P<motif>[ACGTacgt]+)",
)
CONTENT = {"delete": "", "substitute": "shuffle", "insert": "random"}  # where only a width is given
SHORTEST_SHUFFLE = 4  # bases: a shorter stretch has one order alone that keeps its dinucleotides


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The loci of a run and what is edited in them.

    Attributes
    ----------
    edits, variant_id : the variants and their names; None for single-base edits.
    within : positions of the single-base edits; None for every known base.
    notes : what the summary says of them.
    drawn : whether a seed had a part in them.
    """

    sequences: Sequences
    edits: Edits | None = None
    variant_id: list[str] | None = None
    within: Bool[np.ndarray, "loci length"] | None = None
    notes: dict[str, object] = field(default_factory=dict)
    drawn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a scan does to each of its windows.

    Attributes
    ----------
    width : bases that it writes or deletes.
    content : where new bases come from: shuffle, random or motif; "" for a deletion.
    motif : the new bases, where they are given.
    """

    kind: Kind
    width: int
    content: str
    motif: str = ""

    @property
    def span(self) -> int:
        """Bases of a window; an insertion comes between two."""
        return 2 if self.kind == "insert" else self.width

    @property
    def name(self) -> str:
        """What it does, in a variant's name."""
        if self.kind == "substitute" and not self.motif:
            return f"{self.content}{self.width}"
        return f"{self.kind[:3]}{self.motif or self.width}"


def parse_scan(text: str) -> Scan:
    """Read `delete:W`, `substitute:W`, `substitute:W:random`, `substitute:MOTIF`, `insert:W` or `insert:MOTIF`."""
    match = next(filter(None, (re.fullmatch(form, text) for form in SCANS)), None)
    if match is None:
        raise InputError(
            "--scan must be delete:W, substitute:W, substitute:W:random, substitute:MOTIF, insert:W or insert:MOTIF, W "
            f"a number of bases and MOTIF of A C G T; got {text!r}"
        )
    parts = match.groupdict()
    kind = cast(Kind, parts["kind"])
    if motif := parts.get("motif"):
        return Scan(kind=kind, width=len(motif), content="motif", motif=motif.upper())
    scan = Scan(kind=kind, width=int(parts["width"]), content=parts.get("content") or CONTENT[kind])
    checks.at_least("the width of --scan", scan.width, 1)
    if scan.content == "shuffle" and scan.width < SHORTEST_SHUFFLE:
        raise InputError(
            f"--scan {text} would change nothing: a shuffle that keeps dinucleotides needs at least {SHORTEST_SHUFFLE} "
            f"bases; try substitute:{scan.width}:random"
        )
    return scan


def choose_edits(
    sequences: Sequences,
    *,
    edits: Path | None = None,
    within: list[str] | None = None,
    subregions: Path | None = None,
    scan: str | None = None,
    step: int = 1,
    anchor: Anchor = "center",
    seed: int = 0,
) -> Choice:
    """Put together what the options of `deepmr ism` say is edited. A list of edits needs only the loci that it edits.

    Raises
    ------
    InputError
        When options exclude each other, a file or an option cannot be used, or nothing is left to edit.
    """
    _check_together(edits=edits, within=within, subregions=subregions, scan=scan, step=step, anchor=anchor)
    mask = _ranges(within, sequences) if within else None
    if subregions is not None:
        mask = read_subregions(subregions, sequences)
    if edits is not None:
        return _resolved(read_edits(edits), sequences, anchor=anchor)
    if scan is not None:
        return _scanned(sequences, parse_scan(scan), mask, step=step, anchor=anchor, seed=seed)
    if mask is None:
        return Choice(sequences=sequences)
    mask = mask & sequences.known
    used = mask.any(axis=1)
    if not used.any():
        raise InputError("nothing to edit: no known base lies within the chosen positions")
    notes: dict[str, object] = {"edited_positions": int(mask.sum()), "loci_without_edits": int((~used).sum())}
    return Choice(sequences=sequences.take(used), within=mask[used], notes=notes)


def _check_together(
    *,
    edits: Path | None,
    within: list[str] | None,
    subregions: Path | None,
    scan: str | None,
    step: int,
    anchor: Anchor,
) -> None:
    others = [f"--{name}" for name, value in (("within", within), ("subregions", subregions), ("scan", scan)) if value]
    if edits is not None and others:
        raise InputError(f"--edits says itself what to edit: leave out {' and '.join(others)}")
    if within and subregions is not None:
        raise InputError("--within and --subregions both say which positions to edit: give one of them")
    checks.at_least("step", step, 1)
    if scan is None and step != 1:
        raise InputError("--step is the distance between the windows of a --scan: there is none")
    if scan is None and edits is None and anchor != "center":
        raise InputError("--anchor is for deletions and insertions: it needs --scan or --edits")


def _ranges(within: list[str], sequences: Sequences) -> Bool[np.ndarray, "loci length"]:
    """Return the positions of ranges START:END, the same in every locus."""
    chosen = np.zeros(sequences.codes.shape, dtype=bool)
    for text in within:
        match = re.fullmatch(r"(\d+):(\d+)", text)
        if match is None or not int(match[1]) < int(match[2]) <= sequences.length:
            raise InputError(
                "--within must be START:END, offsets from 0 in each locus with START < END <= "
                f"{sequences.length}; got {text!r}"
            )
        chosen[:, int(match[1]) : int(match[2])] = True
    return chosen


def _scanned(
    sequences: Sequences,
    scan: Scan,
    mask: Bool[np.ndarray, "loci length"] | None,
    *,
    step: int,
    anchor: Anchor,
    seed: int,
) -> Choice:
    if max(scan.span, scan.width) > sequences.length:
        raise InputError(f"--scan has windows of {scan.width} bases; the loci have {sequences.length}")
    windows = scan_windows(sequences, width=scan.span, step=step, within=mask)
    if not len(windows):
        raise InputError(f"nothing to edit: no window of {scan.span} known bases lies within the chosen positions")
    table = scan_edits(sequences, windows, kind=scan.kind, name=scan.name, new=_new_bases(scan, windows, seed=seed))
    if table.empty:
        raise InputError(f"nothing to edit: all {len(windows)} windows already are what --scan would make of them")
    choice = _resolved(table, sequences, anchor=anchor)
    unchanged = len(windows) - len(table)
    notes = {**choice.notes, "windows_masked": windows.n_masked, "windows_unchanged": unchanged}
    return replace(choice, notes=notes, drawn=scan.content in {"shuffle", "random"})


def _new_bases(scan: Scan, windows: Windows, *, seed: int) -> UInt8[np.ndarray, "windows bases"] | None:
    if scan.content == "shuffle":
        return dinucleotide_shuffle(windows.codes, seed=seed)
    if scan.content == "random":
        return np.random.default_rng(seed).integers(0, 4, (len(windows), scan.width), dtype=np.uint8)
    return np.tile(encode(scan.motif), (len(windows), 1)) if scan.motif else None


def _resolved(table: pd.DataFrame, sequences: Sequences, *, anchor: Anchor) -> Choice:
    packed, names = resolve_edits(table, sequences, anchor=anchor)
    used = np.unique(packed.locus)
    edits = replace(packed, locus=np.searchsorted(used, packed.locus))
    shifted = int(packed.shifted.sum())
    notes: dict[str, object] = {"deletions_and_insertions": shifted} if shifted else {}
    return Choice(sequences=sequences.take(used), edits=edits, variant_id=names, notes=notes)
