"""Chromosomes laid end to end: where a variant stands along the whole genome."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

GAP = 0.004  # of the genome, between two chromosomes
MANY = 100  # chromosomes, or scaffolds, from which on there are no gaps
LEAST = 0.002  # of the genome: what the shortest chromosome takes up
OTHERS = {"X": 23, "Y": 24, "XY": 25, "MT": 26}


@dataclass(frozen=True, slots=True, kw_only=True)
class GenomeAxis:
    """An axis from 0 to 1 over all chromosomes.

    Attributes
    ----------
    chroms : names, in the order of the axis.
    starts, ends : of each on the axis.
    first, last : position of its first and last variant.
    """

    chroms: tuple[str, ...]
    starts: Float[np.ndarray, "chroms"]
    ends: Float[np.ndarray, "chroms"]
    first: Float[np.ndarray, "chroms"]
    last: Float[np.ndarray, "chroms"]


def genome_axis(
    variants: pd.DataFrame,
) -> tuple[GenomeAxis, Int[np.ndarray, "variants"], Float[np.ndarray, "variants"]]:
    """Lay the chromosomes of variants end to end, each as long as its variants reach.

    Parameters
    ----------
    variants : columns chrom and pos. On a chromosome where no position is known, variants stand evenly in the order of
        the table; where some are, those of unknown position, 0 or below, have no place.

    Returns
    -------
    tuple
        The axis, each variant's chromosome as a number, and each variant's place, NaN for none.
    """
    codes, names = pd.factorize(variants["chrom"].astype(str))
    order = sorted(range(len(names)), key=lambda k: chromosome_order(str(names[k])))
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    codes = rank[codes]
    pos = variants["pos"].to_numpy(float).copy()
    known = np.bincount(codes[pos > 0], minlength=len(names)) > 0
    pos[pos <= 0] = np.nan
    by_order = ~known[codes]
    pos[by_order] = np.arange(1.0, by_order.sum() + 1)
    first, last = np.full(len(names), np.inf), np.zeros(len(names))
    np.fmin.at(first, codes, pos)
    np.fmax.at(last, codes, pos)
    size = np.maximum(last - first, 1.0)
    if known.any() and not known.all():  # numbers in a row are no bases
        size[~known] = np.median(size[known])
    size = np.maximum(size, LEAST * size.sum())
    gap = GAP if len(names) < MANY else 0.0
    size *= (1 - gap * (len(names) - 1)) / size.sum()
    ends = np.cumsum(size) + gap * np.arange(len(names))
    starts = ends - size
    axis = GenomeAxis(chroms=tuple(str(names[k]) for k in order), starts=starts, ends=ends, first=first, last=last)
    span = (last - first)[codes]
    share = np.where(span > 0, (pos - first[codes]) / np.maximum(span, 1.0), np.where(np.isnan(pos), np.nan, 0.5))
    return axis, codes, starts[codes] + (ends - starts)[codes] * share


def chromosome_order(name: str) -> tuple[int, int, str]:
    """Return what chromosomes are sorted by: numbers first, then X, Y and MT, then other names.

    Parameters
    ----------
    name : as 1, X or chr1.
    """
    plain = name.upper().removeprefix("CHR")
    if re.fullmatch(r"\d+", plain):
        return (0, int(plain), name)
    return (1, OTHERS[plain], name) if plain in OTHERS else (2, 0, name)
