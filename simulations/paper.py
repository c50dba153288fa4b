"""The study of the DeepMR article, done right: four scenarios, 50 rounds each, five networks a round.

    python simulations/paper.py rounds --out results/paper [--arms main] [--rounds 50] [--processes 2]

Rounds are units: each is computed on one thread, kept in a file of its own, and never computed twice. Stop and start as
you like. All of `main` takes about four hours of a core.
"""

import argparse
import logging
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from paper_rounds import SCENARIOS, Round, run_round

from deepmr.simulate.options import Scenario

log = logging.getLogger(__name__)
N_ROUNDS = 50


# As the published networks were trained, but for AMSGrad and the order of the batches.
PUBLISHED_TRAINING = {"learning_rate": 1e-3, "weight_decay": 0.0, "epochs": 100, "batch_size": 1000, "patience": 10}


def rounds(n: int, like: Round, scenarios: Sequence[Scenario] = SCENARIOS) -> list[Round]:
    """Return the first rounds of some scenarios, every scenario's first before any second one."""
    return [replace(like, scenario=scenario, number=k) for k in range(n) for scenario in scenarios]


def arms(n_rounds: int) -> dict[str, list[Round]]:
    """Return the rounds of every arm; `n_rounds` is of the main one."""
    first = Round(scenario=SCENARIOS[0], number=0)
    pairs = replace(first, kinds=("both",))
    return {
        "main": rounds(n_rounds, first),
        "members": rounds(2, replace(pairs, arm="members", n_members=50)),
        "bootstrap": rounds(10, replace(pairs, arm="bootstrap", training={"resample": True})),
        "published_training": rounds(5, replace(pairs, arm="published_training", training=PUBLISHED_TRAINING)),
        "n_train": rounds(3, replace(pairs, arm="n_train", setting="40000", n_train=40_000)),
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


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["rounds"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=["main"])
    parser.add_argument("--rounds", type=int, default=N_ROUNDS)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    known = arms(arguments.rounds)
    unknown = sorted(set(arguments.arms) - set(known))
    if unknown:
        parser.error(f"no arm is called {', '.join(unknown)}; there are {', '.join(known)}")
    units = [unit for name in arguments.arms for unit in known[name]]
    compute_rounds(units, arguments.out, processes=arguments.processes)


if __name__ == "__main__":
    main()
