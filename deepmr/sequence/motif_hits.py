"""Where motifs match sequences, on both strands: the strongest match of every motif at every locus."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from deepmr import checks
from deepmr.errors import InputError

BASES_AT_ONCE = 2**24  # scanned in one call: bounds the memory
EQUAL = 1e-3  # bits: matches on both strands of a palindrome differ by rounding alone


@dataclass(frozen=True, slots=True, kw_only=True)
class MotifHits:
    """The matches of motifs at loci.

    Attributes
    ----------
    names, widths : of the motifs; widths in bases.
    n_hits : places with a match below the threshold; one that matches on both strands is one place.
    score : of the strongest match, log2 of its odds in the motif against equally frequent bases; 0 where there is none.
    start : where it begins, 0-based on the strand given; -1 where there is none.
    strand : 1 where it reads as the motif, -1 where its reverse complement does, 0 where there is none, or where both
        strands match alike, as of a palindrome.
    """

    names: tuple[str, ...]
    widths: Int[np.ndarray, "motifs"]
    n_hits: Int[np.ndarray, "loci motifs"]
    score: Float[np.ndarray, "loci motifs"]
    start: Int[np.ndarray, "loci motifs"]
    strand: Int[np.ndarray, "loci motifs"]


def scan_motifs(
    codes: UInt8[np.ndarray, "loci length"],
    motifs: Mapping[str, Float[np.ndarray, "_ 4"]],
    *,
    threshold: float = 1e-4,
) -> MotifHits:
    """Find the strongest match of every motif at every locus, on both strands.

    Parameters
    ----------
    codes : 0 1 2 3 for A C G T, 4 for a masked position, which adds 0 to a score.
    motifs : base probabilities by name; rows are positions, columns A C G T.
    threshold : P value below which a window matches, of equally frequent independent bases, each strand by itself.

    Raises
    ------
    InputError
        When memelite is not installed, there is no motif, or one is longer than the loci.

    Notes
    -----
    The scan is FIMO's, by memelite. Of equally strong matches, the one nearest to the centre of the locus counts, and
    of two as near, the left one. memelite compiles itself on its first call, which takes some seconds once per
    installation.

    References
    ----------
    Grant CE, Bailey TL, Noble WS (2011). FIMO: scanning for occurrences of a given motif. Bioinformatics
    27:1017-1018. doi:10.1093/bioinformatics/btr064
    """
    if not 0 < threshold < 1:
        raise InputError(f"threshold of P values must be above 0 and below 1; got {threshold:g}")
    if not motifs:
        raise InputError("at least one motif is needed; got none")
    names = tuple(motifs)
    checks.unique("names of motifs", names)
    widths = np.array([len(matrix) for matrix in motifs.values()])
    loci, length = codes.shape
    if widths.max() > length:
        k = int(widths.argmax())
        raise InputError(f"motif {names[k]!r} has {widths[k]} positions; the loci have {length} bases")
    hits = MotifHits(
        names=names,
        widths=widths,
        n_hits=np.zeros((loci, len(names)), dtype=np.int64),
        score=np.zeros((loci, len(names))),
        start=np.full((loci, len(names)), -1, dtype=np.int64),
        strand=np.zeros((loci, len(names)), dtype=np.int64),
    )
    step = max(1, BASES_AT_ONCE // max(1, length))
    for first in range(0, loci, step):
        for k, found in enumerate(_matches(codes[first : first + step], motifs, threshold)):
            _enter(hits, k, found.assign(row=found["sequence_name"].astype(np.int64) + first), length)
    return hits


def reachable(motifs: Mapping[str, Float[np.ndarray, "_ 4"]], *, threshold: float) -> list[str]:
    """Return the names of motifs that are long enough to match at all: of n bases, no P value is below 4^-n.

    Parameters
    ----------
    motifs, threshold : as of `scan_motifs`.
    """
    return [name for name, matrix in motifs.items() if 4.0 ** -len(matrix) < threshold]


def _matches(
    codes: UInt8[np.ndarray, "loci length"], motifs: Mapping[str, Float[np.ndarray, "_ 4"]], threshold: float
) -> list[pd.DataFrame]:
    try:
        from memelite.fimo import fimo  # compiles: only where motifs are looked for
    except ImportError as error:
        raise InputError("looking for motifs needs memelite: pip install 'deepmr[motif]'") from error
    one_hot = (codes[:, None, :] == np.arange(4, dtype=np.uint8)[:, None]).view(np.int8)
    matrices = {name: np.ascontiguousarray(matrix.T) for name, matrix in motifs.items()}
    found: list[pd.DataFrame] = fimo(matrices, one_hot, threshold=threshold, reverse_complement=True)
    return found


def _enter(hits: MotifHits, k: int, found: pd.DataFrame, length: int) -> None:
    """Write the matches of one motif at some loci into the arrays."""
    if not len(found):
        return
    places = (
        found.assign(sign=np.where(found["strand"] == "+", 1, -1))
        .sort_values(["row", "start", "score"], ascending=[True, True, False])
        .groupby(["row", "start"], sort=False)
        .agg(score=("score", "first"), weakest=("score", "last"), sign=("sign", "first"), n=("sign", "size"))
        .reset_index()
    )
    places["strand"] = np.where((places["n"] == 2) & (places["score"] - places["weakest"] < EQUAL), 0, places["sign"])
    places["off"] = np.abs(places["start"] + hits.widths[k] / 2 - length / 2)
    # Rounded, for ties of score are broken by place and not by the last bit.
    best = (
        places.assign(rounded=-(places["score"] / EQUAL).round())
        .sort_values(["row", "rounded", "off", "start"])
        .drop_duplicates("row")
    )
    rows = best["row"].to_numpy()
    hits.n_hits[:, k] += np.bincount(places["row"], minlength=len(hits.n_hits))
    hits.score[rows, k] = best["score"]
    hits.start[rows, k] = best["start"]
    hits.strand[rows, k] = best["strand"]
