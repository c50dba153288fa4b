"""A table of edits, checked against the sequences and packed."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.ism.variants import NOTHING, SHIFTS, Anchor, Edits, Shifts, letters_of, placed_starts
from deepmr.types import ALPHABET, MASKED, Sequences

EDIT_COLUMNS = ("variant_id", "locus", "other_allele", "effect_allele")


def resolve_edits(table: pd.DataFrame, sequences: Sequences, *, anchor: Anchor = "center") -> tuple[Edits, list[str]]:
    """Check a table of edits against the sequences and pack it.

    Parameters
    ----------
    table : one row an edit, columns variant_id, locus, other_allele, effect_allele (bases; "-" or empty for none), and
        offset (0-based in the locus) or pos (1-based on the chromosome where the locus has coordinates, else in the
        locus) of the first base of other_allele, or of the base that an insertion comes before. Alleles of equal length
        are substitutions at each position where they differ; others are a deletion, an insertion, or both, and bases
        that both alleles begin or end with stay. Rows of substitutions that share a variant_id are made together.
    sequences : the loci; other_allele must be their bases.
    anchor : what a deletion or insertion leaves in its place: the left flank, the right flank, or, for "center", the
        longer of the two, so that the middle of the locus stays where the network expects it.

    Returns
    -------
    The edits and the variant_id of each, in the order of the loci, then of the table.

    Raises
    ------
    InputError
        For an unknown locus, an allele that is no bases, an edit that leaves the locus, an other_allele that is not the
        reference, and a variant_id that spans loci, edits one position twice, or has a deletion or insertion among
        several rows.
    """
    place = "offset" if "offset" in table.columns else "pos"
    checks.columns("edits", table.columns, (*EDIT_COLUMNS, place))
    if table.empty:
        raise InputError("the table of edits has no row")
    locus = pd.Index(sequences.loci["locus"].astype(str)).get_indexer(pd.Index(table["locus"].astype(str)))
    _refuse(table, locus < 0, "locus", f"a locus among the {len(sequences)} sequences")
    other, effect = (_bases(table, name) for name in ("other_allele", "effect_allele"))
    removed, added = (text.str.len().to_numpy(int) for text in (other, effect))
    offset = _offsets(table, place, locus, sequences, removed)
    _check_reference(table, sequences, locus, offset, other)
    _refuse(table, (effect == other).to_numpy(), "effect_allele", "another than other_allele")
    group, names = pd.factorize(table["variant_id"].astype(str))
    leader = np.unique(group, return_index=True)[1]
    _refuse(table, locus != locus[leader][group], "variant_id", "on one locus")
    shifts = removed != added
    shared = np.bincount(group)[group] > 1
    _refuse(table, shifts & shared, "variant_id", "one row: it deletes or inserts bases")
    row, position, base = _substitutions(offset, other, effect, shifts)
    joined = shared[row]  # one row alone edits no position twice
    twice = pd.DataFrame({"g": group[row[joined]], "o": position[joined]}).duplicated().to_numpy()
    _refuse(table, np.isin(np.arange(len(table)), row[joined][twice]), "variant_id", "one edit a position")

    rank = np.empty(len(names), dtype=int)
    by_locus = np.argsort(locus[leader], kind="stable")
    rank[by_locus] = np.arange(len(names))
    packed: Shifts | None = None
    if shifts.any():
        changed = np.flatnonzero(shifts)
        made, text = _shifts(offset[changed], other[changed], effect[changed], length=sequences.length, anchor=anchor)
        lost = np.isin(np.arange(len(table)), changed[_leaves(made, sequences.length)])
        _refuse(table, lost, place, "further inside the locus: nothing of the insertion stays in it")
        new = _spread(made.cut + made.moved, text)
        row, position = np.append(row, changed[new[0]]), np.append(position, new[1])
        base = np.append(base, _codes("".join(text)))
        packed = _laid_out(made, rank[group[changed]], len(names))
    order = np.lexsort((position, rank[group[row]]))
    edits = Edits(
        locus=locus[leader][by_locus],
        start=np.append(0, np.cumsum(np.bincount(rank[group[row]], minlength=len(names)))),
        offset=position[order],
        base=base[order],
        shifts=packed,
    )
    return edits, names[by_locus].tolist()


def _bases(table: pd.DataFrame, name: str) -> "pd.Series[str]":
    """Return a column of alleles in upper case, "" for nothing."""
    given = table[name].astype(object).where(table[name].notna(), NOTHING)
    text = given.astype(str).str.upper().replace(NOTHING, "").reset_index(drop=True)
    _refuse(table, ~text.str.fullmatch(f"[{ALPHABET}]*").to_numpy(bool), name, "bases A C G T, or - for none")
    return text


def _codes(text: str) -> np.ndarray:
    table = np.zeros(256, dtype=np.uint8)
    table[list(ALPHABET.encode())] = np.arange(len(ALPHABET))
    return table[np.frombuffer(text.encode(), dtype=np.uint8)]


def _offsets(
    table: pd.DataFrame,
    place: str,
    locus: Int[np.ndarray, "rows"],
    sequences: Sequences,
    removed: Int[np.ndarray, "rows"],
) -> Int[np.ndarray, "rows"]:
    values = pd.to_numeric(table[place], errors="coerce").to_numpy(float)
    _refuse(table, ~(values == np.floor(values)), place, "a whole number")
    offset = values.astype(int)
    if place == "pos":
        offset = offset - 1 - placed_starts(sequences)[1][locus]
    outside = (offset < 0) | (offset + removed > sequences.length)
    _refuse(table, outside, place, f"inside its locus of {sequences.length} bases")
    return offset


def _check_reference(
    table: pd.DataFrame,
    sequences: Sequences,
    locus: Int[np.ndarray, "rows"],
    offset: Int[np.ndarray, "rows"],
    other: "pd.Series[str]",
) -> None:
    row, position = _spread(offset, other)
    wrong = np.zeros(len(table), dtype=bool)
    wrong[row[sequences.codes[locus[row], position] != _codes("".join(other))]] = True

    def found(i: int) -> str:
        there = sequences.codes[locus[i], offset[i] : offset[i] + len(other[i])]
        return "masked" if (there == MASKED).all() else letters_of(there)

    _refuse(table, wrong, "other_allele", "the sequence there", found)


def _spread(
    offset: Int[np.ndarray, "rows"], text: "pd.Series[str]"
) -> tuple[Int[np.ndarray, "bases"], Int[np.ndarray, "bases"]]:
    """Return the row and the position of every base of some alleles."""
    size = text.str.len().to_numpy(int)
    row = np.repeat(np.arange(len(text)), size)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(size) - size - offset, size)


def _substitutions(
    offset: Int[np.ndarray, "rows"], other: "pd.Series[str]", effect: "pd.Series[str]", shifts: Bool[np.ndarray, "rows"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, position and new base wherever two alleles of equal length differ."""
    kept = np.flatnonzero(~shifts)
    row, position = _spread(offset[kept], other[kept])
    old, new = (_codes("".join(text[kept])) for text in (other, effect))
    differ = old != new
    return kept[row[differ]], position[differ], new[differ]


def _shifts(
    offset: Int[np.ndarray, "rows"], other: "pd.Series[str]", effect: "pd.Series[str]", *, length: int, anchor: Anchor
) -> tuple[Shifts, "pd.Series[str]"]:
    """Drop what both alleles begin with, then what both end with; return the shifts and the inserted bases."""
    cut, deleted, text = offset.copy(), np.zeros_like(offset), []
    for i, (old, new) in enumerate(zip(other, effect, strict=True)):
        head = _shared(old, new)
        old, new = old[head:], new[head:]
        tail = _shared(old[::-1], new[::-1])
        cut[i] += head
        deleted[i] = len(old) - tail
        text.append(new[: len(new) - tail])
    inserted = np.array([len(new) for new in text])
    left_moves = {"left": False, "right": True, "center": cut < length - cut - deleted}[anchor]
    moved = np.where(left_moves, deleted - inserted, 0)
    return Shifts(cut=cut, deleted=deleted, inserted=inserted, moved=moved), pd.Series(text)


def _shared(one: str, other: str) -> int:
    """Return how many letters two texts begin with together."""
    shorter = min(len(one), len(other))
    return next((k for k in range(shorter) if one[k] != other[k]), shorter)


def _leaves(shifts: Shifts, length: int) -> Bool[np.ndarray, "rows"]:
    """Say which are insertions that the flank they move carries out of the locus altogether."""
    first = shifts.cut + shifts.moved
    return (shifts.deleted == 0) & ((first + shifts.inserted <= 0) | (first >= length))


def _laid_out(shifts: Shifts, variant: Int[np.ndarray, "rows"], n: int) -> Shifts:
    """Give each of n variants its shift, 0 where it has none."""
    columns = {name: np.zeros(n, dtype=np.int64) for name in SHIFTS}
    for name, values in columns.items():
        values[variant] = getattr(shifts, name)
    return Shifts(**columns)


def _refuse(
    table: pd.DataFrame, bad: np.ndarray, column: str, needed: str, found: Callable[[int], str] | None = None
) -> None:
    """Raise `InputError` for the first of the bad rows; `found` says what is there instead."""
    if bad.any():
        i = int(np.argmax(bad))
        variant, value = table["variant_id"].iloc[i], table[column].iloc[i]
        what = "" if found is None else f", which is {found(i)}"
        raise InputError(
            f"edits: {column} of {variant!r} must be {needed}{what}; got {value!r} in row {i + 1}"
            f" ({int(bad.sum())} of {len(table)} rows are wrong)"
        )
