"""The rounds of the paper's study: simulate, train, mutate, and keep what analysis needs. One file a round.

A round is a unit of work on one thread: nothing is shared between rounds, so they may be computed in any order, by any
number of processes, and over as many sessions as it takes.
"""

import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from deepmr.io.files import atomic_path
from deepmr.io.models import write_ensemble
from deepmr.io.motifs import paper_motifs
from deepmr.ism.mutate import mutate
from deepmr.ism.variants import single_edits, variants_of
from deepmr.sequence.ensemble import Ensemble
from deepmr.sequence.fitting import TrainOptions
from deepmr.sequence.losses import TaskSpec
from deepmr.sequence.training import train_ensemble
from deepmr.simulate.labels import draw_counts
from deepmr.simulate.options import TASKS, Scenario, SimulationOptions, Split, draw_alpha, draw_gamma
from deepmr.simulate.sequences import SimulatedLoci, add_variants, simulate_loci
from deepmr.types import MemberEffects, Task

log = logging.getLogger(__name__)

SCENARIOS: tuple[Scenario, ...] = ("unconfounded", "random", "sequence", "both")
N_TEST, N_CALIBRATION = 1000, 1000  # a quarter of either has both motifs
VARIANTS = 0.25  # variants with substitutions per training sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of an arm of the study.

    Attributes
    ----------
    arm : what is varied; `main` is the comparison with the published numbers.
    setting : the value it has, for the name of the file.
    number : the round; seeds follow from it and the scenario, so that arms of one round share their data.
    training : fields of `TrainOptions` other than the defaults.
    changes : fields of `SimulationOptions` other than the scenario's.
    kinds : loci whose effects are kept, by the motifs they have.
    """

    scenario: Scenario
    number: int
    arm: str = "main"
    setting: str = ""
    n_train: int = 10_000
    n_members: int = 5
    training: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("both", "exposure")

    @property
    def name(self) -> str:
        """Where the round is kept, below the folder of the study."""
        return "/".join(filter(None, (self.arm, self.setting, self.scenario, f"{self.number:03d}")))

    @property
    def seed(self) -> int:
        """Seed of the simulation and the training."""
        return 1000 * (SCENARIOS.index(self.scenario) + 1) + self.number

    def options(self) -> SimulationOptions:
        """Draw the strengths of the round as the paper does; `changes` come last."""
        drawn = SimulationOptions(
            motifs=paper_motifs(),
            scenario=self.scenario,
            gamma=draw_gamma(seed=self.seed),
            alpha=draw_alpha(seed=self.seed),
        )
        return replace(drawn, **self.changes)

    def loci(self, split: Split, *, kinds: Sequence[str]) -> SimulatedLoci:
        """Return the held-out sequences of a split that have these motifs."""
        n = {"test": N_TEST, "calibration": N_CALIBRATION}[split]
        loci = simulate_loci(n, options=self.options(), split=split, seed=self.seed)
        return loci.take(np.isin(loci.kind.astype(str), kinds))

    def training_set(self) -> tuple[SimulatedLoci, Int[np.ndarray, "loci 2"]]:
        """Return the training sequences with their variants, and their counts."""
        options = self.options()
        loci = simulate_loci(self.n_train, options=options, split="train", seed=self.seed)
        loci = add_variants(loci, n_variants=round(VARIANTS * self.n_train), options=options, seed=self.seed)
        return loci, draw_counts(loci, options=options, seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundEffects:
    """What the members of a round say of every substitution of its held-out loci.

    Attributes
    ----------
    test, calibration : effects; the loci of either are `Round.loci` in their order, with `3 * length` edits each, those
        of a position next to each other and in the order of the bases.
    test_reference, calibration_reference : predictions of the unedited sequences.
    explained : share of the validation loss that each member takes away from each task.
    """

    test: Float[np.ndarray, "members loci edits tasks"]
    test_reference: Float[np.ndarray, "members loci tasks"]
    calibration: Float[np.ndarray, "members labelled edits tasks"]
    calibration_reference: Float[np.ndarray, "members labelled tasks"]
    explained: Float[np.ndarray, "members tasks"]


def run_round(unit: Round, out: Path) -> None:
    """Train the networks of a round and keep their weights and effects; a round that is there is left alone."""
    path = out / f"{unit.name}.npz"
    if path.exists():
        return
    torch.set_num_threads(1)
    loci, counts = unit.training_set()
    trained = train_ensemble(
        loci.sequences,
        counts.astype(float),
        tasks=[TaskSpec(name=name, kind="anscombe") for name in TASKS],
        n_members=unit.n_members,
        seed=unit.seed,
        options=TrainOptions(**unit.training),
        device="cpu",
        n_workers=1,
    )
    members = trained.metrics[trained.metrics["member"] != "ensemble"]
    explained = members.pivot_table(index="member", columns="task", values="r2")[list(TASKS)]
    test = _effects(trained.ensemble, unit.loci("test", kinds=unit.kinds))
    calibration = _effects(trained.ensemble, unit.loci("calibration", kinds=("both",)))
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = path.with_suffix("")
    if not weights.exists():
        write_ensemble(
            weights,
            trained.ensemble.modules,
            architecture="deepmr.sequence.models:PaperCNN",
            arguments={},
            length=loci.sequences.length,
            tasks=trained.ensemble.tasks,
            members=trained.ensemble.members,
            counts=trained.ensemble.counts,
        )
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            test=test[0],
            test_reference=test[1],
            calibration=calibration[0],
            calibration_reference=calibration[1],
            explained=explained.to_numpy(dtype=np.float32),
        )


def read_round(unit: Round, out: Path) -> RoundEffects:
    """Read the effects of a round."""
    try:
        with np.load(out / f"{unit.name}.npz") as arrays:
            return RoundEffects(**arrays)
    except (OSError, zipfile.BadZipFile) as error:
        raise FileNotFoundError(f"{out / unit.name}.npz: not there yet, or not whole") from error


def read_rows(path: Path) -> pd.DataFrame:
    """Read rows that the study measured."""
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=[""])


def member_effects(loci: SimulatedLoci, delta: Float[np.ndarray, "members loci edits tasks"]) -> MemberEffects:
    """Name the edits of kept effects."""
    members, n_loci, edits, n_tasks = delta.shape
    return MemberEffects(
        variants=variants_of(single_edits(loci.codes), loci.sequences),
        tasks=tuple(Task(name=name) for name in TASKS),
        delta=delta.reshape(members, n_loci * edits, n_tasks),
    )


def _effects(
    ensemble: Ensemble, loci: SimulatedLoci
) -> tuple[Float[np.ndarray, "members loci edits tasks"], Float[np.ndarray, "members loci tasks"]]:
    delta = mutate(ensemble, loci.sequences, engine="naive").delta
    members, _, tasks = delta.shape
    return delta.reshape(members, len(loci), -1, tasks), ensemble.predict(loci.codes).astype(np.float32)
