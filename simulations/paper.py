"""The study of the DeepMR article, done right: four scenarios, 50 rounds each, five networks a round.

    python simulations/paper.py rounds  --out results/paper [--arms main] [--rounds 50] [--processes 2]
    python simulations/paper.py measure --out results/paper      # what every method makes of the rounds that are there
    python simulations/paper.py measure --out results/paper --measure ablation directions exposure_only
    python simulations/paper.py page    --out results/paper      # the tables and figures of docs/paper.md

Rounds are units: each is computed on one thread, kept in a file of its own, and never computed twice. Stop and start as
you like. All of `main` takes about four hours of a core. Other arms are in `arms`, what is measured in `MEASURES`.
"""

import argparse
import logging
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from paper_ablation import ablate
from paper_analysis import analyse
from paper_parts import by_members, directions, exposure_only, with_bootstrap
from paper_rounds import SCENARIOS, Round, read_round, read_rows, run_round
from paper_write import write_pages

from deepmr.io.files import atomic_path
from deepmr.simulate.options import PRESETS, Scenario

log = logging.getLogger(__name__)
N_ROUNDS = 50
MEASURES = {
    "effects": analyse,
    "ablation": ablate,
    "directions": directions,
    "exposure_only": exposure_only,
    "members": by_members,
    "bootstrap": with_bootstrap,
}


# As the published networks were trained, but for AMSGrad and the order of the batches.
PUBLISHED_TRAINING = {"learning_rate": 1e-3, "weight_decay": 0.0, "epochs": 100, "batch_size": 1000, "patience": 10}
STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the confounders, 1 being that of the article


def rounds(n: int, like: Round, scenarios: Sequence[Scenario] = SCENARIOS) -> list[Round]:
    """Return the first rounds of some scenarios, every scenario's first before any second one."""
    return [replace(like, scenario=scenario, number=k) for k in range(n) for scenario in scenarios]


def arms(n_rounds: int) -> dict[str, list[Round]]:
    """Return the rounds of every arm; `n_rounds` is of the main one."""
    first = Round(scenario=SCENARIOS[0], number=0)
    pairs = replace(first, kinds=("both",))
    return {
        "main": rounds(n_rounds, first),
        "null": rounds(15, replace(pairs, arm="null", changes=PRESETS["null"])),
        "members": rounds(2, replace(pairs, arm="members", n_members=50)),
        "bootstrap": rounds(3, replace(pairs, arm="bootstrap", training={"resample": True})),
        "published_training": rounds(2, replace(pairs, arm="published_training", training=PUBLISHED_TRAINING)),
        "n_train": rounds(2, replace(pairs, arm="n_train", setting="40000", n_train=40_000)),
        "strength": [
            unit
            for strength in STRENGTHS
            for unit in rounds(
                2,
                replace(
                    pairs,
                    arm="strength",
                    setting=f"{strength:g}",
                    changes={"gamma": 10.0, "confounder_strength": strength},
                ),
                ("both",),
            )
        ],
        "varying_confounder": rounds(
            3, replace(pairs, arm="varying_confounder", changes=PRESETS["varying_confounder"]), ("sequence", "both")
        ),
        "graded": rounds(2, replace(pairs, arm="graded", changes=PRESETS["graded"])),
    }


def compute_rounds(units: list[Round], out: Path, *, processes: int) -> None:
    """Compute the rounds that are not there yet, one single-threaded process a core."""
    left = [unit for unit in units if not (out / f"{unit.name}.npz").exists()]
    log.info("%d rounds, %d of them to compute", len(units), len(left))
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(run_round, unit, out): unit for unit in left}
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            log.info("%d of %d: %s", done, len(left), futures[future].name)


def analyse_rounds(units: list[Round], out: Path, measure: str, *, processes: int, again: bool) -> pd.DataFrame:
    """Measure every round that is there, each once, and return the rows of all."""
    there = [unit for unit in units if (out / f"{unit.name}.npz").exists()]
    left = [unit for unit in there if again or not _rows_path(unit, out, measure).exists()]
    log.info("%s: %d rounds of %d are there, %d of them to measure", measure, len(there), len(units), len(left))
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_analyse, unit, out, measure) for unit in left]
        for done, future in enumerate(as_completed(futures), start=1):
            log.info("%d of %d: %s", done, len(left), future.result())
    return pd.concat([read_rows(_rows_path(unit, out, measure)) for unit in there], ignore_index=True)


def _analyse(unit: Round, out: Path, measure: str) -> str:
    torch.set_num_threads(1)
    rows = MEASURES[measure](unit, read_round(unit, out), out)
    with atomic_path(_rows_path(unit, out, measure)) as temporary:
        rows.to_csv(temporary, sep="\t", index=False, float_format="%.7g")
    return unit.name


def _rows_path(unit: Round, out: Path, measure: str) -> Path:
    return out / (f"{unit.name}.tsv" if measure == "effects" else f"{unit.name}.{measure}.tsv")


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["rounds", "measure", "page"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--docs", type=Path, default=Path("docs"), help="folder with paper.md, for its tables and figures"
    )
    parser.add_argument("--arms", nargs="+", default=["main"])
    parser.add_argument("--measure", nargs="+", default=["effects"], choices=list(MEASURES))
    parser.add_argument("--again", action="store_true", help="measure rounds anew that have been measured")
    parser.add_argument("--rounds", type=int, default=N_ROUNDS)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    known = arms(arguments.rounds)
    unknown = sorted(set(arguments.arms) - set(known))
    if unknown:
        parser.error(f"no arm is called {', '.join(unknown)}; there are {', '.join(known)}")
    units = [unit for name in arguments.arms for unit in known[name]]
    if arguments.step == "page":
        write_pages(arguments.out, arguments.docs)
    elif arguments.step == "rounds":
        compute_rounds(units, arguments.out, processes=arguments.processes)
    else:
        for measure in arguments.measure:
            rows = analyse_rounds(units, arguments.out, measure, processes=arguments.processes, again=arguments.again)
            name = "_".join(arguments.arms) + ("" if measure == "effects" else f".{measure}")
            rows.to_csv(arguments.out / f"{name}.tsv.gz", sep="\t", index=False)


if __name__ == "__main__":
    main()
