"""Which predicted effect belongs to which labelled edit."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from deepmr import checks
from deepmr.errors import InputError

FEWEST, MANY, NEARLY_ALL = 4, 0.3, 0.95  # edits; shares of them that do not fit, and that fit when shifted


def match_edits(
    labelled: pd.DataFrame, variants: pd.DataFrame, loci: list[str], *, source: str = "labelled edits"
) -> Int[np.ndarray, "edits"]:
    """Find the row of every labelled edit among the variants that have predicted effects.

    Parameters
    ----------
    labelled : one row an edit: locus, offset or pos, effect_allele, and other_allele, "" where unknown; `line` names
        the row of the file in messages.
    variants : columns of `schema.VARIANTS`, and offset where the labels have that.
    loci : all loci that have predictions.
    source : file of the labelled edits, for messages.

    Raises
    ------
    InputError
        For an unknown locus, an allele that contradicts the sequence, or an edit without a predicted effect.
    """
    place = "offset" if "offset" in labelled.columns else "pos"
    checks.columns("predicted effects", variants.columns, ("locus", place, "effect_allele", "other_allele"))
    unknown = (~labelled["locus"].isin(loci)).to_numpy()
    if unknown.any():
        row = int(np.argmax(unknown))
        raise InputError(
            f"{source}: {_line(labelled, row)}the locus {labelled['locus'].iloc[row]!r} has no predicted effects "
            f"({int(unknown.sum())} of {len(labelled)} edits)"
        )
    sites = pd.MultiIndex.from_arrays([variants["locus"].astype(str), variants[place].astype(int)])
    where = pd.MultiIndex.from_frame(labelled[["locus", place]])
    # Alleles as they are written: one base, several, or none ("-").
    full = sites.to_frame(index=False).assign(effect=variants["effect_allele"].astype(str).to_numpy())
    wanted = where.to_frame(index=False).assign(effect=labelled["effect_allele"].to_numpy())
    index = pd.MultiIndex.from_frame(full.set_axis(["locus", "place", "effect"], axis=1))
    if index.has_duplicates:
        keep = ~index.duplicated()  # the same edit under two names has the same effect
        positions, index = np.flatnonzero(keep), index[keep]
    else:
        positions = np.arange(len(index))
    found = index.get_indexer(pd.MultiIndex.from_frame(wanted.set_axis(["locus", "place", "effect"], axis=1)))
    bases = pd.Series(variants["other_allele"].astype(str).to_numpy(), index=sites)
    bases = bases[~bases.index.duplicated()]
    reference = bases.reindex(where).to_numpy()
    wrong = _contradicts(labelled, reference)
    bad = wrong if wrong.any() else found < 0
    if bad.any():
        row = int(np.argmax(bad))
        problem = (
            f"the alleles contradict the sequence, which has {reference[row]} there"
            if wrong.any()
            else "has no predicted effect; was the locus mutated there?"
        )
        raise InputError(
            f"{source}: {_line(labelled, row)}{_name(labelled, row, place)}: {problem} "
            f"({int(bad.sum())} of {len(labelled)} edits){_shifted(labelled, bases, place, bad=wrong | (found < 0))}"
        )
    return positions[found]


def _contradicts(labelled: pd.DataFrame, reference: np.ndarray) -> Bool[np.ndarray, "edits"]:
    """Return which edits have alleles that the sequence rules out; single bases only."""
    given, effect = labelled["other_allele"].to_numpy(), labelled["effect_allele"].to_numpy()
    known = np.array([isinstance(base, str) and len(base) == 1 for base in reference], dtype=bool)
    single = np.array([len(base) == 1 for base in given], dtype=bool) & known
    wrong: np.ndarray = single & (given != reference)
    wrong |= known & np.array([len(base) == 1 for base in effect]) & (effect == reference) & (effect != "-")
    return wrong


def _shifted(labelled: pd.DataFrame, bases: "pd.Series[str]", place: str, *, bad: Bool[np.ndarray, "edits"]) -> str:
    """Return a hint where most edits do not fit, and nearly all of them do one base further on or back."""
    if len(labelled) < FEWEST or np.mean(bad) < MANY:
        return ""
    step = 1 if place == "pos" else -1
    where = pd.MultiIndex.from_arrays([labelled["locus"], labelled[place].astype(int) + step])
    reference = bases.reindex(where).to_numpy()
    fits = ~_contradicts(labelled, reference) & np.array([isinstance(base, str) for base in reference], dtype=bool)
    if np.mean(fits) < NEARLY_ALL:
        return ""
    looks, needed = ("0-based", "1-based") if step == 1 else ("1-based", "0-based")
    return f"; {place} looks {looks}, and needs to be {needed}"


def _line(labelled: pd.DataFrame, row: int) -> str:
    return f"line {labelled['line'].iloc[row]}, " if "line" in labelled.columns else ""


def _name(labelled: pd.DataFrame, row: int, place: str) -> str:
    edit = labelled.iloc[row]
    return f"{edit['locus']}, {place} {edit[place]}, {edit['other_allele'] or '?'} to {edit['effect_allele']}"
