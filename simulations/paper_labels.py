"""Labelled edits for the rounds of the study: of held-out loci, and those that the training set itself holds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from paper_rounds import Round, RoundEffects, member_effects

from deepmr.anscombe import anscombe
from deepmr.instruments.strength import EffectScale, effect_scales, is_strong, select_instruments
from deepmr.io.models import read_ensemble
from deepmr.ism.members import pool_members
from deepmr.ism.mutate import mutate
from deepmr.labelled import LabelledCalibration, LabelledEdits, fit_labelled
from deepmr.mr import estimate_effects
from deepmr.sequence.ensemble import Ensemble
from deepmr.simulate.labelled import label_edits
from deepmr.simulate.labels import draw_counts
from deepmr.simulate.options import TASKS
from deepmr.simulate.sequences import ABSENT, SimulatedLoci
from deepmr.types import Estimates, SummaryStats

EXPOSURE, OUTCOME = TASKS
MOST_EDITS = 15  # labelled edits of a locus, of which an arm takes some
BUDGETS = ((10, 5), (25, 3), (50, 5), (100, 5), (100, 15))  # labelled loci, edits of each
MAIN_BUDGET = (100, 5)
DRAWS = 3  # draws of labels a round: its other numbers stay as they are
FEWEST_PARENTS = 20  # sequences with such a variant
HARMLESS = 0.02  # the other substitutions of a variant change a task by less than this share of its large effects


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledLoci:
    """Held-out loci that can be labelled, and what the ensemble says of them."""

    loci: SimulatedLoci
    delta: Float[np.ndarray, "loci edits tasks"]
    reference: Float[np.ndarray, "loci tasks"]
    stats: SummaryStats
    estimates: Estimates
    scale: EffectScale


def labelled_loci(unit: Round, effects: RoundEffects, methods: tuple[str, ...]) -> LabelledLoci:
    """Return the loci of the calibration split that have both motifs, with their effects in the model."""
    loci = unit.loci("calibration", kinds=("both",))
    stats = pool_members(member_effects(loci, effects.calibration))
    instruments = select_instruments(stats, exposure=EXPOSURE, outcome=OUTCOME, loci=list(loci.names))
    return LabelledLoci(
        loci=loci,
        delta=effects.calibration.mean(axis=0, dtype=np.float64),
        reference=effects.calibration_reference.mean(axis=0, dtype=np.float64),
        stats=stats,
        estimates=estimate_effects(instruments, methods=methods),
        scale=effect_scales([stats])[EXPOSURE],
    )


def calibrate(
    unit: Round, given: LabelledLoci, *, n_loci: int, n_edits: int, draw: int
) -> tuple[LabelledCalibration, int]:
    """Draw labels for some of the loci and calibrate on them; also returns the number of measured sequences."""
    seed = unit.seed + 100_000 * (draw + 1)
    rng = np.random.default_rng([seed, n_loci])
    rows = np.sort(rng.permutation(len(given.loci))[:n_loci])
    mask = np.isin(np.arange(len(given.loci)), rows)
    loci = given.loci.take(mask)
    edits = label_edits(loci, n_edits=MOST_EDITS, options=unit.options(), seed=seed)
    frame, counts = edits.variants, edits.counts
    kept = _some(frame["locus"], n_edits, rng)
    frame, counts = frame[kept].reset_index(drop=True), counts[kept]
    home = pd.Index(loci.names).get_indexer(frame["locus"])
    level = anscombe(draw_counts(loci, options=unit.options(), seed=seed))[home]
    base = np.array(["ACGT".index(a) for a in frame["effect_allele"]])
    offset = frame["offset"].to_numpy(int)
    other = loci.codes[home, offset]
    edit = 3 * offset + base - (base > other)
    labels = LabelledEdits(
        variants=frame,
        tasks=TASKS,
        difference=anscombe(counts) - level,
        variance=np.full((len(frame), 2), 2.0),
        shared_variance=np.full((len(frame), 2), 1.0),
        reference=level,
    )
    strong = is_strong(given.stats, exposure=EXPOSURE, scale=given.scale).reshape(len(given.loci), -1)
    at = rows[home]
    fitted = fit_labelled(
        labels,
        given.delta[at, edit],
        given.estimates,
        instrument={(EXPOSURE, OUTCOME): strong[at, edit]},
        levels=given.reference[at],
    )
    return fitted, len(frame) + len(np.unique(home))


def _some(locus: "pd.Series[str]", n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random choice of at most n edits of each locus, as a mask."""
    order = rng.permutation(len(locus))
    rank = locus.iloc[order].groupby(locus.iloc[order]).cumcount()
    kept = np.zeros(len(locus), dtype=bool)
    kept[order[rank.to_numpy() < n]] = True
    return kept


def calibrate_on_training_set(
    unit: Round, out: Path, methods: tuple[str, ...]
) -> tuple[LabelledCalibration, int] | None:
    """Calibrate on the variants that the training set holds: no measurement beyond it; None where too few qualify.

    A variant has one substitution in each planted motif. Where the network says that those outside the exposure's motif
    change little, the difference between variant and parent, less that little, is a labelled edit of the parent.
    """
    ensemble = read_ensemble(out / unit.name, device="cpu")
    loci, counts = unit.training_set()
    measured = anscombe(counts)
    variant = np.flatnonzero((loci.parent != ABSENT) & (loci.kind == "both"))
    parent = loci.parent[variant]
    start, width = loci.starts[parent, 0], int(loci.motifs.widths[0])
    span = start[:, None] + np.arange(width)
    row = np.arange(len(variant))[:, None]
    alone = loci.codes[parent].copy()
    alone[row, span] = loci.codes[variant[:, None], span]
    whole, single, plain = (_mean(ensemble, codes) for codes in (loci.codes[variant], alone, loci.codes[parent]))
    change, other = single - plain, whole - single
    large = np.quantile(np.abs(change), 0.9, axis=0)
    offset = span[row[:, 0], np.argmax(alone[row, span] != loci.codes[parent[:, None], span], axis=1)]
    kept = (np.abs(other) < HARMLESS * large).all(axis=1) & (alone != loci.codes[parent]).any(axis=1)
    parents, home = np.unique(parent[kept], return_inverse=True)
    if len(parents) < FEWEST_PARENTS:
        return None
    sequences = loci.sequences.take(parents)
    stats = pool_members(mutate(ensemble, sequences, engine="naive"))
    names = sequences.loci["locus"].to_numpy(object)
    instruments = select_instruments(stats, exposure=EXPOSURE, outcome=OUTCOME, loci=list(names))
    frame = pd.DataFrame({"locus": names[home], "offset": offset[kept]})
    letter = np.array(list("ACGT"), dtype=object)
    frame["effect_allele"] = letter[alone[kept, offset[kept]]]
    n = len(frame)
    floor = 0.25 * effect_scales([stats])[EXPOSURE].quantile
    labels = LabelledEdits(
        variants=frame,
        tasks=TASKS,
        difference=(measured[variant] - measured[parent] - other)[kept],
        variance=np.full((n, 2), 2.0),
        shared_variance=np.full((n, 2), 1.0),
        reference=measured[parent[kept]],
    )
    fitted = fit_labelled(
        labels,
        change[kept],
        estimate_effects(instruments, methods=methods),
        instrument={(EXPOSURE, OUTCOME): np.abs(change[kept, 0]) >= floor},
        levels=plain[kept],
    )
    return fitted, 0


def _mean(ensemble: Ensemble, codes: np.ndarray) -> Float[np.ndarray, "loci tasks"]:
    return ensemble.predict(codes).mean(axis=0, dtype=np.float64)
