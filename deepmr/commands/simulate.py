"""`deepmr simulate`: sequences, counts and true effects of the motif simulation, as files."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.directories import atomic_directory, check_directory
from deepmr.io.fasta import write_fasta
from deepmr.io.files import atomic_path
from deepmr.io.motifs import paper_motifs
from deepmr.io.provenance import provenance
from deepmr.io.tables import write_table
from deepmr.io.targets import write_targets
from deepmr.simulate.labelled import LabelledEdits, label_edits
from deepmr.simulate.labels import binding_probabilities, draw_counts, expected_targets
from deepmr.simulate.options import TASKS, Effect, Scenario, SimulationOptions, draw_alpha, draw_gamma
from deepmr.simulate.sequences import ABSENT, KINDS, SimulatedLoci, add_variants, simulate_loci
from deepmr.simulate.truth import DEFINITIONS, Definition, global_effects, true_effects

DESCRIPTION = "simulation.json"
Loci = Literal["all", "exposure", "both"]


def simulate(
    *,
    out: Path,
    scenario: Scenario = "unconfounded",
    gamma: float | Literal["mixture"] = 10.0,
    alpha: float | Literal["drawn"] = 100.0,
    n_train: int = 10_000,
    variants: float = 0.25,
    variant_edits: Literal["each", "one"] = "each",
    n_test: int = 1_000,
    loci: Loci = "all",
    calibration_split: int = 0,
    labelled_edits: int = 5,
    truth: Definition = "averaged",
    motif_scale: float = 1.0,
    binding_shift: float = 0.0,
    smoothing: float = 1e-5,
    effect: Effect = "causal",
    interaction_distance: float | None = None,
    confounder_strength: float = 1.0,
    confounder_shift: float = 0.0,
    confounder_sharpness: float = 1.0,
    length: int = 100,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, object]:
    """Simulate sequences and targets whose causal effects are known.

    Sequences carry the motif of an exposure (GATA), of an outcome (TAL1), both or none. The counts of the outcome
    depend on both factors' binding, so the exposure causes the outcome and not the reverse. Writes sequences, counts,
    planted motifs and true effects into a directory.

    Parameters
    ----------
    out
        Directory to make.
    scenario
        Confounders: none; random: a coin that the sequence does not show; sequence: a third motif (SOX2); or both.
    gamma
        Strength; the effect is about its square root. mixture: drawn around 10 or 1, as in the paper.
    alpha
        Counts of a bound exposure motif. drawn: from N(100, 3).
    n_train
        Training sequences.
    variants
        Variants with substitutions in planted motifs, added to the training set, per training sequence.
    variant_edits
        Substitutions of a variant: one in each planted motif, or in one of them.
    n_test
        Test sequences, before --loci.
    loci
        Test sequences to write: all, those with the exposure motif, or those with both.
    calibration_split
        Further held-out sequences, for calibration.
    labelled_edits
        Single mutants with counts, per calibration sequence that has the exposure motif.
    truth
        Definition of the true effect: averaged over the coin, at the coin as it fell, or as in the paper's code.
    motif_scale
        Factor on every motif's log odds; below 1 binding is graded. Try 0.5 with --binding-shift -3.
    binding_shift
        Added to the log odds of every site, in nats; below 0 binding is weaker.
    smoothing
        Share of the uniform distribution in every motif; 0.1 with --binding-shift -6 grades binding over all of 0 to 1.
    effect
        causal: the outcome needs both factors; none: its own alone, so that the exposure has no effect.
    interaction_distance
        Gap between both motifs, in bases, at which the exposure's effect has fallen to 1/e; any gap by default.
    confounder_strength
        Factor on what the confounders add to the counts.
    confounder_shift
        Added to the log odds of the confounder's sites alone; with -7, and sharpness 3, sequences without the motif
        are free.
    confounder_sharpness
        Above 1, planted confounder motifs are nearer to the best one.
    length
        Bases of a sequence.
    seed
        Seed; train, test and calibration sets have random numbers of their own.
    overwrite
        Replace a simulation that is there.

    Returns
    -------
    dict
        Sizes, strengths and the true global effects in both directions.

    Raises
    ------
    InputError
        When an option is out of range or the directory may not be made.
    """
    given = {name: value for name, value in locals().items() if name not in {"out", "overwrite"}}
    check_directory(out, marker=DESCRIPTION, overwrite=overwrite)
    for name in ("n_train", "n_test", "variants", "calibration_split", "labelled_edits", "seed"):
        checks.at_least(name, given[name], 1 if name in {"n_train", "n_test"} else 0)
    options = SimulationOptions(
        motifs=paper_motifs(),
        scenario=scenario,
        gamma=draw_gamma(seed=seed) if gamma == "mixture" else gamma,
        alpha=draw_alpha(seed=seed) if alpha == "drawn" else alpha,
        length=length,
        motif_scale=motif_scale,
        binding_shift=binding_shift,
        smoothing=smoothing,
        effect=effect,
        interaction_distance=interaction_distance,
        confounder_strength=confounder_strength,
        confounder_shift=confounder_shift,
        confounder_sharpness=confounder_sharpness,
    )
    train = simulate_loci(n_train, options=options, split="train", seed=seed)
    train = add_variants(train, n_variants=round(variants * n_train), edits=variant_edits, options=options, seed=seed)
    test = simulate_loci(n_test, options=options, split="test", seed=seed)
    splits = [(train, draw_counts(train, options=options, seed=seed))]
    keep = _has_motifs(test, loci)
    splits += [(test.take(keep), draw_counts(test, options=options, seed=seed)[keep])]
    labelled = None
    if calibration_split:
        held_out = simulate_loci(calibration_split, options=options, split="calibration", seed=seed)
        splits += [(held_out, draw_counts(held_out, options=options, seed=seed))]
        labelled = label_edits(held_out, n_edits=labelled_edits, options=options, seed=seed)
    test = test.take(keep)
    effects = [true_effects(test, options=options, exposure=mark, definition=truth) for mark in ("exposure", "outcome")]
    summary = pd.concat([global_effects(frame) for frame in effects], ignore_index=True)
    description = {
        "format": "deepmr-simulation",
        "format_version": 1,
        "gamma": options.gamma,
        "alpha": options.alpha,
        "definition": DEFINITIONS[truth],
        "effects": _records(summary),
        "n_loci": {split.split: len(split) for split, _ in splits},
        "n_variants": int((train.parent != ABSENT).sum()),
        "provenance": provenance("simulate", options={"out": out, **given}, inputs={}, seed=seed),
    }
    with atomic_directory(out) as folder:
        for split, counts in splits:
            write_fasta(split.sequences, folder / f"{split.split}.fa")
            write_targets(folder / f"{split.split}.tsv", list(split.names), TASKS, counts.astype(float))
        tables = {
            "planted": pd.concat([split.planted() for split, _ in splits], ignore_index=True),
            "loci": pd.concat([_describe(split, options) for split, _ in splits], ignore_index=True),
            "truth": pd.concat(effects, ignore_index=True),
            **({} if labelled is None else _describe_labelled(labelled)),
        }
        for name, table in tables.items():
            write_table(table, folder / f"{name}.tsv")
        with atomic_path(folder / DESCRIPTION) as temporary:
            temporary.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return {
        "out": str(out),
        **{f"{split.split}_loci": len(split) for split, _ in splits},
        **({} if labelled is None else {"labelled_edits": len(labelled.variants)}),
        "gamma": options.gamma,
        "alpha": options.alpha,
        "true_effects": _records(summary.drop(columns=["definition", "sd"])),
        "definition": DEFINITIONS[truth],
    }


def _has_motifs(test: SimulatedLoci, loci: Loci) -> Bool[np.ndarray, "loci"]:
    """Say which test loci have the motifs asked for."""
    wanted = {"all": KINDS, "exposure": ("exposure", "both"), "both": ("both",)}[loci]
    keep: np.ndarray = np.isin(test.kind.astype(str), wanted)
    if not keep.any():
        raise InputError(f"none of {len(test)} test loci has the motifs of loci = {loci!r}; raise n_test")
    return keep


def _describe(split: SimulatedLoci, options: SimulationOptions) -> pd.DataFrame:
    """Return one row a locus: what it is, how likely each factor binds, and its targets without noise."""
    binding = binding_probabilities(split.codes, options=options)
    expected = expected_targets(split.codes, options=options)
    return split.to_frame().assign(
        p_exposure=binding.exposure,
        p_outcome=binding.outcome,
        p_confounder=binding.confounder,
        expected_exposure=expected[:, 0],
        expected_outcome=expected[:, 1],
    )


def _describe_labelled(labelled: LabelledEdits) -> dict[str, pd.DataFrame]:
    return {"labelled_edits": labelled.to_frame(), "labelled_edits_truth": labelled.truth()}


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return rows for JSON: what does not apply is null."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]
