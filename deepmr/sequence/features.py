"""Contexts of loci from their reference sequences alone: motifs, how pairs of them lie, and base composition."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8

from deepmr import checks
from deepmr.errors import InputError
from deepmr.sequence.motif_hits import MotifHits, scan_motifs
from deepmr.types import MASKED, Sequences

Pair = tuple[str, str]
C, G = 1, 2


def sequence_features(
    sequences: Sequences,
    motifs: Mapping[str, Float[np.ndarray, "_ 4"]] | None = None,
    *,
    pairs: Sequence[Pair] = (),
    threshold: float = 1e-4,
) -> pd.DataFrame:
    """Describe every locus by its reference sequence.

    Parameters
    ----------
    sequences : loci.
    motifs : base probabilities by name; rows are positions, columns A C G T. None for composition alone.
    pairs : names of two motifs each, whose distance and relative orientation to add.
    threshold : P value below which a window matches a motif, see `scan_motifs`.

    Returns
    -------
    One row a locus in their order: the columns of `schema.LOCI`, then those of `composition`, `motif_features` and
    `pair_features`. Every value is a number: what is undefined has a stated one, and a column beside it that says so.

    Raises
    ------
    InputError
        When memelite is not installed, or a pair names a motif that is not there.
    """
    parts = [sequences.loci.reset_index(drop=True), composition(sequences.codes)]
    if motifs:
        for name in itertools.chain(*pairs):
            checks.one_of("motif of a pair", name, motifs)
        hits = scan_motifs(sequences.codes, motifs, threshold=threshold)
        parts += [motif_features(hits, length=sequences.length), pair_features(hits, pairs, length=sequences.length)]
    elif pairs:
        raise InputError(f"pairs are of motifs, and there are none; got {':'.join(pairs[0])}")
    return pd.concat(parts, axis=1)


def composition(codes: UInt8[np.ndarray, "loci length"]) -> pd.DataFrame:
    """Return the composition of each sequence.

    Parameters
    ----------
    codes : 0 1 2 3 for A C G T, 4 for a masked position.

    Returns
    -------
    `length`, the known bases; `gc`, the share of C and G among them, 0.5 where none is known; `cpg`, CG dinucleotides
    over those expected, n(CG) length / (n(C) n(G)), 0 where C or G is absent.

    References
    ----------
    Gardiner-Garden M, Frommer M (1987). CpG islands in vertebrate genomes. J Mol Biol 196:261-282.
    doi:10.1016/0022-2836(87)90689-9

    Examples
    --------
    >>> composition(np.array([[1, 2, 1, 2, 4]], dtype=np.uint8)).iloc[0].tolist()
    [4.0, 1.0, 2.0]
    """
    known = (codes != MASKED).sum(axis=1).astype(float)
    c, g = ((codes == base).sum(axis=1).astype(float) for base in (C, G))
    cg = ((codes[:, :-1] == C) & (codes[:, 1:] == G)).sum(axis=1)
    gc = np.divide(c + g, known, out=np.full(len(codes), 0.5), where=known > 0)
    cpg = np.divide(cg * known, c * g, out=np.zeros(len(codes)), where=c * g > 0)
    return pd.DataFrame({"length": known, "gc": gc, "cpg": cpg})


def motif_features(hits: MotifHits, *, length: int) -> pd.DataFrame:
    """Return five columns a motif.

    Parameters
    ----------
    hits : of the motifs.
    length : bases of a locus.

    Returns
    -------
    `<motif>_present`, 1 or 0; `<motif>_score`, `<motif>_hits`; `<motif>_position`, centre of the strongest match less
    that of the locus, in bases; `<motif>_strand`, 1 or -1. The last four are 0 where the motif is absent, and strand
    where both strands match alike.
    """
    columns: dict[str, np.ndarray] = {}
    for k, name in enumerate(hits.names):
        present = hits.start[:, k] >= 0
        centre = hits.start[:, k] + hits.widths[k] / 2 - length / 2
        columns |= {
            f"{name}_present": present.astype(float),
            f"{name}_score": hits.score[:, k],
            f"{name}_hits": hits.n_hits[:, k].astype(float),
            f"{name}_position": np.where(present, centre, 0.0),
            f"{name}_strand": hits.strand[:, k].astype(float),
        }
    return pd.DataFrame(columns)


def pair_features(hits: MotifHits, pairs: Sequence[Pair], *, length: int) -> pd.DataFrame:
    """Return four columns a pair of motifs, of the strongest match of each.

    Parameters
    ----------
    hits : of the motifs.
    pairs : names of two motifs each.
    length : bases of a locus.

    Returns
    -------
    `<A>:<B>_both`, 1 where both are present; `<A>:<B>_gap`, bases between their nearest ends, 0 where they touch or
    overlap, and `length` where one is absent: as far as can be; `<A>:<B>_spacing`, centre of B less that of A in the
    direction that A reads, thus the same for the reverse complement of a locus (along the sequence where both strands
    match A alike); `<A>:<B>_orientation`, 1 where both read towards each other, -1 where away from each other, 0 where
    in one direction. Spacing and orientation are 0 where a motif is absent, and orientation where one has no strand.
    """
    at = {name: k for k, name in enumerate(hits.names)}
    columns: dict[str, np.ndarray] = {}
    for first, second in pairs:
        a, b = at[first], at[second]
        both = (hits.start[:, a] >= 0) & (hits.start[:, b] >= 0)
        start, other = hits.start[:, a], hits.start[:, b]
        gap = np.maximum(np.maximum(other - (start + hits.widths[a]), start - (other + hits.widths[b])), 0)
        apart = (other + hits.widths[b] / 2) - (start + hits.widths[a] / 2)
        reads = np.where(hits.strand[:, a] == 0, 1, hits.strand[:, a])
        # Facing each other: the one on the left reads forwards, the other backwards.
        facing = np.where(apart >= 0, 1, -1) * (hits.strand[:, a] - hits.strand[:, b]) / 2
        stranded = both & (hits.strand[:, a] != 0) & (hits.strand[:, b] != 0)
        columns |= {
            f"{first}:{second}_both": both.astype(float),
            f"{first}:{second}_gap": np.where(both, gap, length).astype(float),
            f"{first}:{second}_spacing": np.where(both, apart * reads, 0.0),
            f"{first}:{second}_orientation": np.where(stranded, facing, 0.0),
        }
    return pd.DataFrame(columns, index=range(len(hits.start)))
