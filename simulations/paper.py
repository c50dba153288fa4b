"""The study of the DeepMR article, done right: four scenarios, 50 rounds each, five networks a round.

    python simulations/paper.py rounds --out results/paper [--arms main] [--rounds 50] [--processes 2]

Rounds are units: each is computed on one thread, kept in a file of its own, and never computed twice. Stop and start as
you like. All of `main` takes about four hours of a core.
"""

import argparse
import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from paper_rounds import SCENARIOS, Round, run_round

log = logging.getLogger(__name__)
N_ROUNDS = 50


def arms(names: list[str], n_rounds: int) -> list[Round]:
    """Return the rounds of these arms, every scenario's first round before any second one."""
    found = {
        "main": [Round(scenario=scenario, number=k) for k in range(n_rounds) for scenario in SCENARIOS],
    }
    unknown = sorted(set(names) - set(found))
    if unknown:
        raise SystemExit(f"no arm is called {', '.join(unknown)}; there are {', '.join(found)}")
    return [unit for name in names for unit in found[name]]


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
    compute_rounds(arms(arguments.arms, arguments.rounds), arguments.out, processes=arguments.processes)


if __name__ == "__main__":
    main()
