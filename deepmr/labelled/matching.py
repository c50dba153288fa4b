"""Which predicted effect belongs to which labelled edit."""

import numpy as np
import pandas as pd
from jaxtyping import Int

from deepmr import checks
from deepmr.errors import InputError


def match_edits(labelled: pd.DataFrame, variants: pd.DataFrame, loci: list[str]) -> Int[np.ndarray, "edits"]:
    """Find the row of every labelled edit among the variants that have predicted effects.

    Parameters
    ----------
    labelled : one row an edit: locus, offset or pos, effect_allele, and other_allele, "" where unknown.
    variants : columns of `schema.VARIANTS`, and offset where the labels have that.
    loci : all loci that have predictions.

    Raises
    ------
    InputError
        For an unknown locus, an allele that contradicts the sequence, or an edit without a predicted effect.
    """
    place = "offset" if "offset" in labelled.columns else "pos"
    checks.columns("predicted effects", variants.columns, ("locus", place, "effect_allele", "other_allele"))
    unknown = ~labelled["locus"].isin(loci)
    if unknown.any():
        name = labelled.loc[unknown, "locus"].iloc[0]
        raise InputError(f"labelled edits: {int(unknown.sum())} are of loci without predicted effects, first {name!r}")
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
    reference = bases[~bases.index.duplicated()].reindex(where).to_numpy()
    given = labelled["other_allele"].to_numpy()
    effect = labelled["effect_allele"].to_numpy()
    known = np.array([isinstance(base, str) and len(base) == 1 for base in reference])
    single = np.array([len(base) == 1 for base in given]) & known
    wrong = single & (given != reference)
    wrong |= known & np.array([len(base) == 1 for base in effect]) & (effect == reference) & (effect != "-")
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"labelled edits: {_name(labelled, row, place)}: the alleles contradict the sequence, which has "
            f"{reference[row]} there ({int(wrong.sum())} of {len(labelled)} edits)"
        )
    if (found < 0).any():
        row = int(np.argmax(found < 0))
        raise InputError(
            f"labelled edits: {_name(labelled, row, place)}: has no predicted effect ({int((found < 0).sum())} of "
            f"{len(labelled)} edits); was the locus mutated there?"
        )
    return positions[found]


def _name(labelled: pd.DataFrame, row: int, place: str) -> str:
    edit = labelled.iloc[row]
    return f"{edit['locus']}, {place} {edit[place]}, {edit['other_allele'] or '?'} to {edit['effect_allele']}"
