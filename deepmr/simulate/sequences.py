"""Random sequences with planted motifs, and variants of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, UInt8

from deepmr import checks
from deepmr.simulate.motifs import BACKGROUND, ROLES, MotifSet, sharpen, smooth
from deepmr.simulate.options import SimulationOptions, Split, make_generator
from deepmr.types import ALPHABET, Sequences

KINDS = ("none", "exposure", "outcome", "both")  # which of the two motifs a locus has: one of four, equally often
CONFOUNDER_SHARE = 0.5
Z_SHARE = 0.5
CONFOUNDER = ROLES.index("confounder")
ABSENT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedLoci:
    """Sequences of one split and what is known of them.

    Attributes
    ----------
    starts : 0-based start of the planted motif of each role (exposure, outcome, confounder), -1 where there is none.
    z : the confounder that the sequence knows nothing of, 0 or 1; always 0 in a scenario without it.
    parent : row of the sequence a variant was made of, -1 for a sequence that is no variant.
    """

    sequences: Sequences
    starts: Int[np.ndarray, "loci 3"]
    z: UInt8[np.ndarray, "loci"]
    parent: Int[np.ndarray, "loci"]
    split: Split
    motifs: MotifSet

    def __post_init__(self) -> None:
        checks.shape("starts", self.starts, (len(self), len(ROLES)))
        checks.shape("z", self.z, (len(self),))
        checks.shape("parent", self.parent, (len(self),))

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def codes(self) -> UInt8[np.ndarray, "loci length"]:
        """The sequences as codes."""
        return self.sequences.codes

    @property
    def names(self) -> np.ndarray:
        """Names of the loci."""
        return self.sequences.loci["locus"].to_numpy(object)

    @property
    def kind(self) -> np.ndarray:
        """Which of the two motifs every locus has: none, exposure, outcome or both."""
        has = self.starts != ABSENT
        kind: np.ndarray = np.array(KINDS, dtype=object)[has[:, 0] + 2 * has[:, 1]]
        return kind

    def take(self, rows: Bool[np.ndarray, "loci"]) -> "SimulatedLoci":
        """Return the loci that a mask selects; they no longer name parents."""
        return SimulatedLoci(
            sequences=self.sequences.take(rows),
            starts=self.starts[rows],
            z=self.z[rows],
            parent=np.full(int(rows.sum()), ABSENT),
            split=self.split,
            motifs=self.motifs,
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row a locus: its split, kind, whether it has the confounder's motif, z, and its parent."""
        parent = np.where(self.parent == ABSENT, "", self.names[self.parent])
        confounder = (self.starts[:, 2] != ABSENT).astype(int)
        columns = {"locus": self.names, "split": self.split, "kind": self.kind, "has_confounder": confounder}
        return pd.DataFrame({**columns, "z": self.z, "parent": parent})

    def planted(self) -> pd.DataFrame:
        """Return one row a planted motif: its locus, role and name, the span, and the bases there now."""
        locus, role = np.nonzero(self.starts != ABSENT)
        start = self.starts[locus, role]
        end = start + self.motifs.widths[role]
        text = np.frombuffer(ALPHABET.encode(), dtype="S1")[self.codes]
        spans = zip(locus, start, end, strict=True)
        return pd.DataFrame(
            {
                "locus": self.names[locus],
                "role": np.array(ROLES, dtype=object)[role],
                "motif": np.array(self.motifs.names, dtype=object)[role],
                "start": start,
                "end": end,
                "string": [text[i, s:e].tobytes().decode() for i, s, e in spans],
            }
        )


def simulate_loci(n: int, *, options: SimulationOptions, split: Split, seed: int) -> SimulatedLoci:
    """Draw random sequences and plant motifs in them.

    Parameters
    ----------
    n : number of sequences.
    options : motifs, scenario and length.
    split : train, test or calibration; each has random numbers of its own.
    seed : of the whole simulation.

    Notes
    -----
    A quarter of the loci each have no motif, the exposure's, the outcome's, or both, so that the two are independent.
    A single motif starts anywhere it fits. In a pair the exposure's is to the left, the gap is uniform from the longest
    motif to what all motifs leave, and the pair starts anywhere it fits. The confounder's motif, where the scenario has
    one, is in half of the loci, anywhere it overlaps no other. Planted strings are drawn base by base from the motif.

    References
    ----------
    Malina S, Cizin D, Knowles DA (2022). Deep mendelian randomization: Investigating the causal knowledge of genomic
    deep learning models. PLoS Comput Biol 18:e1009880. doi:10.1371/journal.pcbi.1009880
    """
    rng = make_generator(seed=seed, split=split, purpose="sequences")
    codes = _draw_bases(np.broadcast_to(BACKGROUND, (options.length, 4)), n, rng)
    starts = _draw_starts(n, options, rng)
    for role, matrix in enumerate(options.motifs.matrices):
        rows = np.flatnonzero(starts[:, role] != ABSENT)
        columns = starts[rows, role, None] + np.arange(len(matrix))
        bases = smooth(matrix, share=options.smoothing)
        if role == CONFOUNDER and options.confounder_sharpness != 1:
            bases = sharpen(bases, power=options.confounder_sharpness)
        codes[rows[:, None], columns] = _draw_bases(bases, len(rows), rng)
    z = np.zeros(n, dtype=np.uint8)
    if options.random_confounder:
        z = _draw_z(n, rng)
    return SimulatedLoci(
        sequences=Sequences(loci=_name_loci(split, n), codes=codes),
        starts=starts,
        z=z,
        parent=np.full(n, ABSENT),
        split=split,
        motifs=options.motifs,
    )


def add_variants(
    loci: SimulatedLoci,
    *,
    n_variants: int,
    edits: Literal["each", "one"] = "each",
    options: SimulationOptions,
    seed: int,
) -> SimulatedLoci:
    """Append variants of random loci with substitutions in their planted motifs.

    Parameters
    ----------
    loci : sequences to mutate.
    n_variants : number of variants; their loci are drawn with replacement.
    edits : one substitution in each of the locus' planted motifs, the confounder's too ("each", as in the paper), or
        in one of them at random ("one"). A locus without a motif gets one substitution anywhere.
    options : the scenario says whether z is drawn afresh for the variants.
    seed : of the whole simulation.
    """
    rng = make_generator(seed=seed, split=loci.split, purpose="variants")
    parent = rng.integers(len(loci), size=n_variants)
    codes, starts = loci.codes[parent].copy(), loci.starts[parent]
    chosen = starts != ABSENT
    if edits == "one":
        chosen &= np.arange(len(ROLES)) == np.where(chosen, rng.random(chosen.shape), -1.0).argmax(axis=1)[:, None]
    for role, width in enumerate(loci.motifs.widths):
        rows = np.flatnonzero(chosen[:, role])
        _substitute(codes, rows, starts[rows, role] + rng.integers(width, size=len(rows)), rng)
    bare = np.flatnonzero(~chosen.any(axis=1))
    _substitute(codes, bare, rng.integers(loci.sequences.length, size=len(bare)), rng)
    z = _draw_z(n_variants, rng) if options.random_confounder else np.zeros(n_variants, dtype=np.uint8)
    frame = pd.concat([loci.sequences.loci, _name_loci(f"{loci.split}_variant", n_variants)], ignore_index=True)
    return SimulatedLoci(
        sequences=Sequences(loci=frame, codes=np.concatenate([loci.codes, codes])),
        starts=np.concatenate([loci.starts, starts]),
        z=np.concatenate([loci.z, z]),
        parent=np.concatenate([loci.parent, parent]),
        split=loci.split,
        motifs=loci.motifs,
    )


def _draw_starts(n: int, options: SimulationOptions, rng: np.random.Generator) -> Int[np.ndarray, "loci 3"]:
    """Draw where each motif starts: which loci have it, then uniform among the places where it fits."""
    length, widths = options.length, options.motifs.widths
    kind = rng.integers(len(KINDS), size=n)
    has = np.stack([kind % 2 == 1, kind >= 2, np.zeros(n, dtype=bool)], axis=1)
    starts = rng.integers(0, length - widths + 1, size=(n, len(ROLES)))
    shortest, longest = options.gaps
    gap = rng.integers(shortest, longest + 1, size=n)
    left = rng.integers(0, length - widths[0] - widths[1] - gap + 1)
    pair = has[:, 0] & has[:, 1]
    starts[pair, :2] = np.stack([left, left + widths[0] + gap], axis=1)[pair]
    starts[~has] = ABSENT
    if options.sequence_confounder:
        free = _free_starts(starts, widths, length)
        order = np.where(free, rng.random(free.shape), -1.0)  # the largest of random numbers is a uniform choice
        starts[:, 2] = np.where(rng.random(n) < CONFOUNDER_SHARE, order.argmax(axis=1), ABSENT)
    return starts


def _free_starts(
    starts: Int[np.ndarray, "loci 3"], widths: Int[np.ndarray, "roles"], length: int
) -> Bool[np.ndarray, "loci places"]:
    """Return where the confounder's motif would overlap neither of the other two."""
    place = np.arange(length - widths[2] + 1)
    clear = [
        (starts[:, [k]] == ABSENT) | (place + widths[2] <= starts[:, [k]]) | (place >= starts[:, [k]] + widths[k])
        for k in range(2)
    ]
    free: np.ndarray = clear[0] & clear[1]
    return free


def _draw_bases(
    probabilities: Float[np.ndarray, "length 4"], n: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "loci length"]:
    """Draw every base from the probabilities of its position."""
    limits = probabilities.cumsum(axis=1)[:, :3]
    codes: np.ndarray = (rng.random((n, len(limits), 1)) >= limits).sum(axis=2, dtype=np.uint8)
    return codes


def _draw_z(n: int, rng: np.random.Generator) -> UInt8[np.ndarray, "loci"]:
    return (rng.random(n) < Z_SHARE).astype(np.uint8)


def _substitute(
    codes: UInt8[np.ndarray, "loci length"],
    rows: Int[np.ndarray, "rows"],
    offsets: Int[np.ndarray, "rows"],
    rng: np.random.Generator,
) -> None:
    """Replace one base of each row, in place, by one of the other three."""
    step = rng.integers(1, 4, size=len(rows), dtype=np.uint8)
    codes[rows, offsets] = (codes[rows, offsets] + step) % 4


def _name_loci(prefix: str, n: int) -> pd.DataFrame:
    """Return the frame of `n` loci that lie on no chromosome."""
    return pd.DataFrame({"locus": [f"{prefix}_{i:05d}" for i in range(n)], "chrom": "", "start": -1, "end": -1})
