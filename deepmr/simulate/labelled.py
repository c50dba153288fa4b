"""Single mutants of held-out loci with measured counts: labels of the kind that instruments are."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from deepmr import checks
from deepmr.simulate.labels import binding_probabilities, expected_counts, expected_targets
from deepmr.simulate.options import TASKS, SimulationOptions, make_generator
from deepmr.simulate.sequences import Z_SHARE, SimulatedLoci
from deepmr.simulate.truth import MotifEdits, edit_motifs
from deepmr.types import ALPHABET

FLOOR = 0.25  # an edit is an instrument when its effect is above this share of the largest effects


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledEdits:
    """Single substitutions with counts.

    Attributes
    ----------
    variants : one row an edit, columns of `schema.VARIANTS`, `offset` (0-based in the locus) and the locus' `kind`.
    counts : of exposure and outcome, with noise of their own.
    expected : E[A(count)] of the edited sequence, without noise.
    reference : E[A(count)] of its locus.
    """

    variants: pd.DataFrame
    counts: Int[np.ndarray, "edits 2"]
    expected: Float[np.ndarray, "edits 2"]
    reference: Float[np.ndarray, "edits 2"]

    def __post_init__(self) -> None:
        for name in ("counts", "expected", "reference"):
            checks.shape(name, getattr(self, name), (len(self.variants), 2))

    def to_frame(self) -> pd.DataFrame:
        """Return one row an edit with its counts."""
        return self.variants.assign(**dict(zip(TASKS, self.counts.T, strict=True)))

    def truth(self) -> pd.DataFrame:
        """Return one row an edit with the noise-free values of edit and locus, and dx, dy, their differences."""
        frame = self.variants[["variant_id", "locus"]].copy()
        for k, task in enumerate(TASKS):
            frame[task], frame[f"{task}_reference"] = self.expected[:, k], self.reference[:, k]
        delta = self.expected - self.reference
        return frame.assign(dx=delta[:, 0], dy=delta[:, 1])


def label_edits(loci: SimulatedLoci, *, n_edits: int, options: SimulationOptions, seed: int) -> LabelledEdits:
    """Choose instruments of every locus that has the exposure's motif, and draw their counts.

    Parameters
    ----------
    loci : held-out sequences; those without the exposure's motif get no labelled edit.
    n_edits : edits of a locus, fewer where it has fewer instruments.
    options : the simulation that the loci belong to.
    seed : of the whole simulation.

    Notes
    -----
    Chosen at random among the substitutions in the planted exposure motif that change the exposure: whose noise-free
    |dx| is at least a quarter of its 99th percentile over such substitutions of all loci. Every edit has Poisson noise
    and z of its own, so its reference, measured once a locus, is the only noise that the edits of a locus share.
    """
    rng = make_generator(seed=seed, split=loci.split, purpose="edits")
    edits = edit_motifs(loci, mark="exposure")
    reference = expected_targets(loci.codes, options=options)[edits.locus]
    expected = expected_targets(edits.codes, options=options)
    size = np.abs(expected - reference)[:, 0]
    floor = FLOOR * np.quantile(size, 0.99) if size.size else 0.0
    chosen = _choose(edits.locus, (size >= floor) & (size > 0), n_edits, rng)
    binding = binding_probabilities(edits.codes[chosen], options=options)
    z = (rng.random(int(chosen.sum())) < Z_SHARE) * int(options.random_confounder)
    return LabelledEdits(
        variants=_variants(loci, edits, chosen),
        counts=rng.poisson(expected_counts(binding, options=options, z=z)),
        expected=expected[chosen],
        reference=reference[chosen],
    )


def _choose(
    locus: Int[np.ndarray, "edits"], eligible: Bool[np.ndarray, "edits"], n_edits: int, rng: np.random.Generator
) -> Bool[np.ndarray, "edits"]:
    """Choose at most `n_edits` eligible edits of each locus at random."""
    candidates = np.flatnonzero(eligible)
    shuffled = candidates[np.lexsort((rng.random(len(candidates)), locus[candidates]))]
    of = locus[shuffled]
    rank = np.arange(len(of)) - np.searchsorted(of, of)
    chosen = np.zeros(len(locus), dtype=bool)
    chosen[shuffled[rank < n_edits]] = True
    return chosen


def _variants(loci: SimulatedLoci, edits: MotifEdits, chosen: Bool[np.ndarray, "edits"]) -> pd.DataFrame:
    """Name the chosen edits; the loci lie on no chromosome, so positions count from 1 in the locus."""
    rows, offset = edits.locus[chosen], edits.offset[chosen]
    letters = np.array(list(ALPHABET), dtype=object)
    locus, other, effect = loci.names[rows], letters[loci.codes[rows, offset]], letters[edits.base[chosen]]
    parts = zip(locus, offset + 1, other, effect, strict=True)
    return pd.DataFrame(
        {
            "variant_id": [f"{name}:{pos}:{old}:{new}" for name, pos, old, new in parts],
            "locus": locus,
            "chrom": "",
            "pos": offset + 1,
            "effect_allele": effect,
            "other_allele": other,
            "offset": offset,
            "kind": loci.kind[rows],
        }
    )
