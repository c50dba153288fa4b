"""CPU seconds and peak memory of nonlinear instrumental-variable fits, beside what ml-mr was measured to take.

    python benchmarks/iv.py                     # all rows; each in a process of its own, one thread
    python benchmarks/iv.py --only closed       # rows whose name begins so
    python benchmarks/iv.py --page docs/iv.md   # and puts the table there

A row is the whole of it: fit, choice of smoothness, average curve, intervals, uniform band. ml-mr is not on PyPI: its
seconds are those of commit abe0274, measured on one thread; where a method is not in it, those of its Quantile IV. Rows
of "same epochs" train ml-mr's networks (128-64 and 64-32, batch norm) without an early end, and ml-mr's seconds are
scaled to as many.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

REPEATS, ENOUGH = 3, 5.0  # fits of a row, the smallest counts; no further one after so many seconds
QUANTILE_IV = 143.0  # CPU s of ml-mr, measured: one Quantile IV fit of 10,000 rows as shipped, of 434 epochs
EPOCH = QUANTILE_IV / 434
# CPU s of ml-mr at its defaults, as shipped; the last three from their epochs and the measured cost of one.
THEIRS = {"tsls": 0.1, "doubly_ranked": 1.9, "delivr": 16.8, "deep_iv": 53.1, "dfiv": 49.5}
CLOSED = ("sieve", "control_function", "auto", "kernel_iv", "kernel_mmr")


@dataclass(frozen=True)
class Case:
    """A row: what is fitted to how much, the goal, and the seconds of ml-mr.

    Attributes
    ----------
    what : it is, in the table.
    method, options : of `deepmr.nonlinear`.
    n, m : samples and variants.
    design : of `simulate_iv`; variants of a biobank where empty.
    goal, theirs : seconds.
    """

    what: str
    method: str
    n: int = 10_000
    m: int = 20
    goal: float | None = None
    theirs: float | None = None
    design: str = "poly20"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> str:
        """Samples and variants, as the table says them."""
        return f"{self.n:,} x {self.m}"


def same_epochs(epochs: int, n_boot: int, batch: int | None) -> dict[str, Any]:
    """Return the options of Quantile IV with ml-mr's architecture, as many epochs in each stage and no early end."""
    options: dict[str, Any] = {"n_folds": 1, "n_boot": n_boot}
    for stage in ("exposure", "outcome"):
        options |= {f"{stage}_epochs": epochs, f"{stage}_patience": epochs, f"{stage}_batch_size": batch}
        options |= {f"{stage}_batch_norm": True}
    return options


CASES: dict[str, Case] = {
    **{f"closed {name} 10,000": Case(name, name, goal=0.5, theirs=QUANTILE_IV) for name in CLOSED},
    **{
        f"closed {name} covariate": Case(
            f"{name}, one covariate", name, goal=0.5, theirs=QUANTILE_IV, design="effect_mod"
        )
        for name in CLOSED
    },
    **{f"closed {name} 500,000": Case(name, name, 500_000, 100, 10.0, design="") for name in CLOSED},
    **{f"theirs {name}": Case(name, name, theirs=seconds) for name, seconds in THEIRS.items()},
    "theirs quantile_iv": Case("quantile_iv", "quantile_iv", theirs=QUANTILE_IV),
    "same epochs, one": Case(
        "quantile_iv, 20 + 20 epochs of all rows",
        "quantile_iv",
        goal=40 * EPOCH / 8,
        theirs=40 * EPOCH,
        options=same_epochs(20, 1, None),
    ),
    "bagged": Case(
        "quantile_iv, 50 bagged",
        "quantile_iv",
        goal=50 * QUANTILE_IV / 20,
        theirs=50 * QUANTILE_IV,
        options={"n_boot": 50},
    ),
    "same epochs, bagged": Case(
        "quantile_iv, 3 + 3 epochs, 50 bagged",
        "quantile_iv",
        goal=50 * 6 * EPOCH / 20,
        theirs=50 * 6 * EPOCH,
        options=same_epochs(3, 50, 512),
    ),
}


def main() -> None:
    """Run every row in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name begins so")
    parser.add_argument("--page", type=Path, help="page whose block `speed` takes the table")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(CASES[arguments.case])))
        return
    lines = [
        "| work | samples x variants | CPU s | goal | ml-mr, CPU s | ml-mr / ours | peak GB |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    print("\n".join(lines))
    skipped = []
    for name, case in CASES.items():
        if not name.startswith(arguments.only):
            continue
        found = in_own_process(name)
        if "skipped" in found:
            skipped.append(f"{case.what}: {found['skipped']}")
            continue
        lines.append(row(case, found))
        print(lines[-1], flush=True)
    for said in dict.fromkeys(skipped):
        print(f"skipped {said}")
    if arguments.page:
        put(arguments.page, "\n".join(lines))


def in_own_process(name: str) -> dict:
    """Measure a row in a new process, so that its peak memory is its own."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, __file__, "--case", name],
        capture_output=True, text=True, check=False, env={**os.environ, **one},
    )  # fmt: skip
    if done.returncode:
        return {"skipped": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def row(case: Case, found: dict) -> str:
    """Return a line of the table."""
    theirs = "" if case.theirs is None else f"{case.theirs:.4g}"
    ratio = "" if case.theirs is None else f"{case.theirs / found['cpu_s']:,.0f}"
    goal = "" if case.goal is None else f"{case.goal:.3g}"
    return (
        f"| {case.what} | {case.size} | {found['cpu_s']:.3g} | {goal} | {theirs} | {ratio} | {found['peak_gb']:.2f} |"
    )


def measure(case: Case) -> dict:
    """Fit the data of a row a few times; the smallest CPU time, and the peak memory of the process."""
    from deepmr.nonlinear import METHODS, make_method

    if case.method not in METHODS:
        return {"skipped": "no such method here"}
    data = drawn(case.design, case.n) if case.design else many(case.n, case.m)
    method = make_method(case.method, case.options)
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < ENOUGH:
        start = time.process_time()
        fit = method.fit(data, seed=0)
        x = np.linspace(*fit.record.central, 200)
        fit.avg_iv_reg_function(x, level=0.9)
        if hasattr(fit, "uniform_band"):
            fit.uniform_band(x, level=0.9)
        times.append(time.process_time() - start)
    return {"cpu_s": min(times), "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def drawn(design: str, n: int):
    """Return the data of a ready design."""
    from deepmr.simulate.iv_designs import simulate_iv

    return simulate_iv(design, n=n, seed=0).data


def many(n: int, m: int):
    """Return variants of a biobank with a quadratic response, made in blocks: 8 bytes a genotype and no copy."""
    from deepmr.individual import IVData

    rng = np.random.default_rng(0)
    frequency = rng.uniform(0.05, 0.5, m)
    effects = rng.standard_normal(m)
    effects *= np.sqrt(0.2 / (2 * frequency * (1 - frequency) @ effects**2))
    g, score = np.empty((n, m)), np.empty(n)
    for start in range(0, n, 10_000):
        rows = slice(start, start + 10_000)
        g[rows] = rng.binomial(2, frequency, g[rows].shape)
        score[rows] = (g[rows] - 2 * frequency) @ effects
    u = rng.standard_normal(n)
    x = score + 0.5 * u + np.sqrt(0.55) * rng.standard_normal(n)
    y = 0.3 * x**2 + 0.2 * x - 0.7 * u + rng.standard_normal(n)
    return IVData(
        instruments=g,
        exposure=x,
        outcome=y,
        covariates=np.empty((n, 0)),
        instrument_names=tuple(f"v{k + 1}" for k in range(m)),
    )


def put(page: Path, text: str) -> None:
    """Put the table into the block `speed` of a page."""
    before, start, rest = page.read_text().partition("<!-- study: speed -->")
    _, end, after = rest.partition("<!-- end -->")
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}")


if __name__ == "__main__":
    main()
