"""A small run whose numbers are known: two motifs, the first of which drives both marks."""

import numpy as np
import pandas as pd

from deepmr.instruments.strength import select_instruments
from deepmr.ism.calibration import fit_calibration
from deepmr.ism.members import pool_members
from deepmr.ism.variants import from_dense, single_edits, variants_of
from deepmr.meta import pool_estimates
from deepmr.mr import estimate_effects
from deepmr.report.content import EffectSample, LocusEffects, Run
from deepmr.types import MASKED, MemberEffects, Sequences, Task

GATA, TAL = "AGATAAGG", "CAGCTGTTTACC"
SLOPE = 3.2
TASKS = (Task(name="GATA1"), Task(name="TAL1"))


def toy_sequences(n=24, *, length=100, seed=0, names=None, placed=True):
    rng = np.random.default_rng(seed)
    codes = rng.choice(4, size=(n, length), p=[0.27, 0.23, 0.23, 0.27]).astype(np.uint8)
    for i in range(n):
        for motif, start in ((GATA, 10 + i % 20), (TAL, 50 + i % 30)):
            codes[i, start : start + len(motif)] = ["ACGT".index(base) for base in motif]
    codes[: n // 4, -6:-2] = MASKED
    start = np.arange(n) * 10_000 + 1_000_000 if placed else np.full(n, -1)
    loci = pd.DataFrame(
        {
            "locus": [f"peak_{i + 1}" for i in range(n)] if names is None else names,
            "chrom": "chr8" if placed else "",
            "start": start,
            "end": start + length if placed else start,
        }
    )
    return Sequences(loci=loci, codes=codes)


def toy_effects(sequences, *, n_members=5, seed=0):
    """Effects (loci, members, tasks, length, 3): edits of GATA lower both marks, edits of TAL only the second."""
    rng = np.random.default_rng(seed)
    n, length = sequences.codes.shape
    effect = rng.normal(0, 0.03, size=(n, 1, 2, length, 3)) + rng.normal(0, 0.02, size=(n, n_members, 2, length, 3))
    weights = {GATA: np.array([2, 5, 9, 9, 8, 9, 4, 2.0]), TAL: np.array([3, 6, 9, 4, 4, 9, 8, 5, 3, 2, 1, 1.0])}
    for i in range(n):
        for motif, start in ((GATA, 10 + i % 20), (TAL, 50 + i % 30)):
            loss = -weights[motif][:, None] * rng.uniform(0.6, 1.1, size=(len(motif), 3))
            at = slice(start, start + len(motif))
            local = SLOPE * rng.normal(1, 0.06)
            for k in range(n_members):
                wobble = rng.normal(1, 0.05, size=loss.shape)
                if motif == GATA:
                    effect[i, k, 0, at] += loss * wobble
                    effect[i, k, 1, at] += local * loss * wobble * rng.normal(1, 0.03, size=loss.shape)
                else:
                    effect[i, k, 1, at] += 2 * loss * wobble
    effect[np.broadcast_to((~sequences.known)[:, None, None, :, None], effect.shape)] = 0
    return effect.astype(np.float32)


def member_effects(effect, sequences, tasks=TASKS):
    delta = np.moveaxis(from_dense(effect, sequences.codes), 1, 0)
    return MemberEffects(variants=variants_of(single_edits(sequences.codes), sequences), tasks=tasks, delta=delta)


def toy_calibration(*, n=300, seed=0, names=("GATA1", "TAL1")):
    """The first task has intervals that are too narrow, the second is binary and over-confident."""
    rng = np.random.default_rng(seed)
    level = 3 * rng.normal(size=(n, 2))
    predictions = level + 0.3 * rng.normal(size=(5, n, 2))
    targets = level + 0.5 * rng.normal(size=(n, 2))
    targets[:, 1] = rng.random(n) < 1 / (1 + np.exp(-0.5 * level[:, 1]))
    tasks = (Task(name=names[0]), Task(name=names[1], scale="logit"))
    return fit_calibration(predictions, targets, tasks=tasks)


def toy_run(*, n=24, names=None, length=100, seed=0):
    sequences = toy_sequences(n, names=names, length=length, seed=seed)
    effect = toy_effects(sequences, seed=seed)
    stats = pool_members(member_effects(effect, sequences))
    pairs = [("GATA1", "TAL1"), ("TAL1", "GATA1")]
    instruments = tuple(select_instruments(stats, exposure=e, outcome=o) for e, o in pairs)
    local = estimate_effects(instruments, methods=["ivw", "wald", "egger"])
    shown = tuple(sequences.loci["locus"][:2])
    rng = np.random.default_rng(seed)
    humps = np.where(rng.random(400) < 0.5, 3, 20)
    predictions = (
        humps[:, None] * np.array([1.0, 1.7]) + rng.normal(size=(400, 2)) + rng.normal(0, 0.3, size=(5, 400, 2))
    )
    return Run(
        tasks=TASKS,
        pooled=pool_estimates(local),
        local=local,
        truth=pd.DataFrame({"exposure": ["GATA1"], "outcome": ["TAL1"], "beta": [SLOPE]}),
        calibration=toy_calibration(),
        instruments=instruments,
        shown=shown,
        loci=tuple(locus_effects(effect, sequences, i) for i in range(2)),
        sample=EffectSample(beta=stats.beta, se=stats.se, n_edits=len(stats.variants)),
        predictions=predictions,
        counts={"loci": n, "bases a locus": length, "masked positions": int((~sequences.known).sum()), "members": 5},
        provenance={
            "effects.h5": {"command": "ism", "seed": 0, "inputs": {"fasta": {"path": "x.fa", "sha256": "ab" * 32}}}
        },
        local_name="estimates.tsv",
        pooled_name="global.tsv",
    )


def locus_effects(effect, sequences, i):
    row = sequences.loci.iloc[i]
    return LocusEffects(
        locus=row["locus"], chrom=row["chrom"], start=int(row["start"]), codes=sequences.codes[i], effect=effect[i]
    )
