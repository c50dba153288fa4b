"""How far apart the two motifs of a pair are, and buckets of that distance."""

import itertools

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.errors import InputError
from deepmr.simulate.options import ROLES

PLANTED = ("locus", "role", "start", "end")
EDGES = (15, 25, 35, 45, 55, 65, 75)  # the simulation plants pairs 16 to 74 bases apart


def pair_gaps(planted: pd.DataFrame) -> pd.DataFrame:
    """Return the gap between the exposure's and the outcome's motif of every locus that has both.

    Parameters
    ----------
    planted : one row a motif, columns locus, role (exposure, outcome; others are left out), start and end (0-based,
        half-open), such as `SimulatedLoci.planted` or `planted.tsv`; at most one motif of a role and locus.

    Returns
    -------
    One row a locus in the order of first appearance: locus, and gap, the bases from nearest end to nearest end, 0 where
    the motifs touch or overlap.

    Raises
    ------
    InputError : when a column is missing or a locus has two motifs of one role.

    Examples
    --------
    >>> motifs = pd.DataFrame({"locus": "a", "role": ["exposure", "outcome"], "start": [3, 30], "end": [13, 46]})
    >>> pair_gaps(motifs)["gap"].tolist()
    [17]
    """
    checks.columns("planted", planted.columns, PLANTED)
    either = planted[planted["role"].isin(ROLES)]
    twice = either[either.duplicated(["locus", "role"])]
    if len(twice):
        locus, role = twice.iloc[0][["locus", "role"]]
        raise InputError(f"planted must have one motif of a role at a locus; {locus} has several of the {role}")
    first, second = (either[either["role"] == role][["locus", "start", "end"]] for role in ROLES)
    pairs = first.merge(second, on="locus", suffixes=("", "_other"))
    start, end, start_other, end_other = (
        pairs[name].to_numpy(int) for name in ("start", "end", "start_other", "end_other")
    )
    gap = np.maximum(np.maximum(start_other - end, start - end_other), 0)
    return pd.DataFrame({"locus": pairs["locus"].to_numpy(object), "gap": gap})


def bucket_gaps(gaps: pd.Series, *, edges: tuple[int, ...] = EDGES) -> pd.Series:
    """Sort gaps into buckets, each without its lower edge and with its upper one.

    Parameters
    ----------
    gaps : bases between two motifs.
    edges : rising, at least two; a gap outside of them has no bucket.

    Returns
    -------
    An ordered categorical "(15, 25]", one value a gap; missing where it has no bucket.
    """
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise InputError(f"edges of buckets must rise and be at least two; got {', '.join(map(str, edges))}")
    labels = [f"({low}, {high}]" for low, high in itertools.pairwise(edges)]
    return pd.Series(pd.cut(gaps, list(edges), labels=labels), index=gaps.index)
