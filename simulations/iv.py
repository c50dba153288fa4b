"""How accurate are nonlinear instrumental-variable estimators, and how honest their bands? Where the truth is known.

    python simulations/iv.py rounds --out results/iv [--arms accuracy demand coverage] [--methods sieve] [--processes 2]
    python simulations/iv.py page   --out results/iv [--anchors DIR]    # the tables and figures of docs/iv.md

A unit is a method on one drawing of a design, computed on one thread and kept in a file of its own; what is there is
not computed again (unless `--again`), so stop and start as you like. Arms: `accuracy`, every method on five designs of
10,000 samples, 10 seeds; `demand`; `coverage`, 100 seeds of the methods in closed form; `literature`, the designs of
Burgess and of Tian.
"""

import argparse
import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from iv_page import write_page
from iv_rounds import ARMS, Unit, run_unit, units_of

from deepmr.nonlinear import METHODS

log = logging.getLogger(__name__)
ANCHORS = Path(__file__).resolve().parents[2] / "shared" / "data" / "iv"


def compute(units: list[Unit], out: Path, *, processes: int, again: bool) -> None:
    """Compute the units that are not there yet, one single-threaded process a core."""
    left = [unit for unit in units if again or not (out / f"{unit.name}.json").exists()]
    log.info("%d units, %d of them to compute", len(units), len(left))
    out.mkdir(parents=True, exist_ok=True)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(run_unit, unit, out) for unit in left]
        for done, future in enumerate(as_completed(futures), start=1):
            name = future.result()
            if done % 50 == 0 or done == len(left):
                log.info("%d of %d: %s", done, len(left), name)


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["rounds", "page"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=["accuracy", "demand", "coverage"], choices=list(ARMS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--designs", nargs="+", help="these alone")
    parser.add_argument("--seeds", type=int, help="of every design, where other than an arm's own")
    parser.add_argument("--again", action="store_true", help="compute units anew that are there")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder with iv.md")
    parser.add_argument("--anchors", type=Path, default=ANCHORS, help="folder with measurements of other software")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.step == "page":
        write_page(arguments.out, arguments.docs, anchors=arguments.anchors)
        return
    found = [unit for arm in arguments.arms for unit in units_of(arm, arguments.methods, arguments.seeds)]
    units = [unit for unit in dict.fromkeys(found) if not arguments.designs or unit.design in arguments.designs]
    compute(units, arguments.out, processes=arguments.processes, again=arguments.again)


if __name__ == "__main__":
    main()
