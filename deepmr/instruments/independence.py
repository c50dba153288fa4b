"""Instruments that repeat each other: windows of a scan that overlap."""

import numpy as np
from jaxtyping import Bool

from deepmr.instruments.spans import PLACE, bases_replaced
from deepmr.types import Instruments


def overlapping(instruments: Instruments) -> Bool[np.ndarray, "instruments"]:
    """Say which instruments replace or delete bases that another one before them in their locus replaces too.

    Parameters
    ----------
    instruments : with positions.

    Notes
    -----
    Edits of one base are left out: the three of a position are three experiments. Two windows of 10 bases a base apart
    share 9, and what the networks say of one they say of the other.
    """
    width = bases_replaced(instruments.variants)
    wide = np.flatnonzero((width > 1) & (instruments.variants["pos"].to_numpy() > 0))
    home = np.repeat(np.arange(len(instruments.loci)), instruments.counts)[wide]
    begin = home * PLACE + instruments.variants["pos"].to_numpy(np.int64)[wide]
    order = np.argsort(begin, kind="stable")
    reach = np.maximum.accumulate((begin + width[wide])[order])
    found = np.zeros(len(instruments.variants), dtype=bool)
    found[wide[order[1:]]] = begin[order[1:]] < reach[:-1]
    return found
