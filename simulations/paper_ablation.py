"""What each part of the method is for: the default of the study with one part at a time taken away."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from paper_analysis import Target, chosen_instruments, judge, targets_of
from paper_labels import MAIN_BUDGET, calibrate, calibrate_on_training_set, labelled_loci
from paper_rounds import Round, RoundEffects, member_effects

from deepmr.instruments.strength import DEFAULT, Selection, select_instruments
from deepmr.io.models import read_ensemble
from deepmr.ism.members import pool_members
from deepmr.ism.variants import single_edits
from deepmr.labelled import apply_labelled
from deepmr.mr import estimate_effects
from deepmr.mr.intervals import member_intervals
from deepmr.sequence.onehot import one_hot
from deepmr.simulate.options import TASKS
from deepmr.simulate.sequences import SimulatedLoci
from deepmr.types import Estimates

EXPOSURE, OUTCOME = TASKS
WHOLE = "the default: in the model"
PAIRED = {"kind": "paired_sd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """One part of the default, exchanged for what the article did or for nothing.

    Attributes
    ----------
    line : what is exchanged.
    method, selection : of the estimate.
    training_mode : batch norm normalises every locus' mutants by themselves during mutagenesis.
    independent : loci as if each had members of its own.
    weights : of the mean over loci.
    """

    line: str
    method: str = "ivw"
    selection: Selection = DEFAULT
    training_mode: bool = False
    independent: bool = False
    weights: str = "equal"


ZSCORE = Selection(rule="zscore", threshold=1.0)
LINES = (
    Ablation(line=WHOLE),
    Ablation(line="batch norm in training mode", training_mode=True),
    Ablation(line="MR-Egger", method="egger"),
    Ablation(line="robust MR-Egger", method="egger_robust"),
    Ablation(line="instruments: pooled z of 1, no test", selection=ZSCORE),
    Ablation(line="instruments: F of 10, no floor", selection=Selection(rule="f", threshold=10.0)),
    Ablation(line="instruments: F of 3, no floor", selection=Selection(rule="f", threshold=3.0)),
    Ablation(line="mean over loci without the members' shared error", independent=True),
    Ablation(line="mean over loci by inverse variances", weights="inverse_variance"),
)
ORIGINAL = Ablation(
    line="all at once", method="egger_robust", selection=ZSCORE, training_mode=True, weights="inverse_variance"
)


def ablate(unit: Round, effects: RoundEffects, out: Path) -> pd.DataFrame:
    """Measure a round with each part of the default exchanged, a row a part."""
    evaluated = targets_of(unit, effects, kind="both")
    normalised = replace(evaluated, effects=member_effects(evaluated.loci, in_training_mode(unit, out, evaluated.loci)))
    rows = [_row(line, normalised if line.training_mode else evaluated) for line in LINES]
    rows.append(_original(ORIGINAL, normalised))
    rows.append(_misaligned(unit, effects, evaluated))
    rows += list(_calibrated(unit, effects, evaluated, out))
    return pd.concat(rows, ignore_index=True).assign(
        arm=unit.arm, setting=unit.setting, scenario=unit.scenario, round=unit.number, gamma=unit.options().gamma
    )


def _estimates(line: Ablation, target: Target) -> Estimates:
    instruments = chosen_instruments(pool_members(target.effects), target, selection=line.selection)
    return estimate_effects(instruments, methods=(line.method,))


def _row(line: Ablation, target: Target) -> pd.DataFrame:
    local = member_intervals(_estimates(line, target))
    if line.independent:
        local = replace(local, error_factors=None)
    return judge(local, target.truth, weights=line.weights).assign(line=line.line)


def _original(line: Ablation, target: Target) -> pd.DataFrame:
    """Everything as in the article but the training: standard deviations over members, loci independent."""
    local = member_intervals(_estimates(line, target), kind="paired_sd")
    return judge(local, target.truth, weights=line.weights, ci="normal").assign(line=line.line)


def _misaligned(unit: Round, effects: RoundEffects, target: Target) -> pd.DataFrame:
    """Local coverage with truths paired by row: estimates of all loci with the exposure's motif, truths of some."""
    loci = unit.loci("test", kinds=unit.kinds)
    stats = pool_members(member_effects(loci, effects.test))
    names = list(loci.names)
    instruments = select_instruments(stats, exposure=EXPOSURE, outcome=OUTCOME, loci=names)
    local = member_intervals(estimate_effects(instruments, methods=("ivw",)))
    n = min(len(local), len(target.truth))
    paired = target.truth.iloc[:n].assign(locus=local.table["locus"].iloc[:n].to_numpy(object))
    return judge(local.take(np.arange(len(local)) < n), paired).assign(line="truths by row, not by locus")


def _calibrated(unit: Round, effects: RoundEffects, target: Target, out: Path) -> Iterator[pd.DataFrame]:
    estimates = _estimates(LINES[0], target)
    given = labelled_loci(unit, effects, ("ivw",))
    n_loci, n_edits = MAIN_BUDGET
    edits, _ = calibrate(unit, given, n_loci=n_loci, n_edits=n_edits, draw=0)
    yield judge(apply_labelled(estimates, edits), target.truth).assign(
        line=f"with labels of {n_loci} x {n_edits} edits"
    )
    own = calibrate_on_training_set(unit, out, ("ivw",))
    if own is not None:
        yield judge(apply_labelled(estimates, own[0]), target.truth).assign(line="with the training set's edits")


@torch.no_grad()
def in_training_mode(unit: Round, out: Path, loci: SimulatedLoci) -> Float[np.ndarray, "members loci edits tasks"]:
    """Mutate as the article's code did: the networks left in training mode, a batch a locus, reference among them."""
    members = []
    for module in read_ensemble(out / unit.name, device="cpu").modules:
        module.train()
        each = []
        for codes in loci.codes:
            edits = single_edits(codes[None])
            mutants = np.repeat(codes[None], len(edits.offset) + 1, axis=0)
            mutants[np.arange(1, len(mutants)), edits.offset] = edits.base
            values = module(one_hot(torch.as_tensor(mutants))).numpy()
            each.append(values[1:] - values[0])
        members.append(np.stack(each))
    return np.stack(members)
