"""CPU seconds and peak memory of nonlinear instrumental-variable fits, beside what ml-mr was measured to take.

    python benchmarks/iv.py                     # all rows; each in a process of its own, one thread
    python benchmarks/iv.py --only closed       # rows whose name begins so
    python benchmarks/iv.py --page docs/iv.md   # and puts the table there

A closed-form row is the whole of it: fit, choice of smoothness, average curve, intervals and uniform band. A neural row
has as many epochs as ml-mr's fit had, by the same architecture. ml-mr is not on PyPI: its seconds are those of
commit abe0274, measured on one thread.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REPEATS = 3
MLMR_FIT = 143.0  # CPU s, measured: a Quantile IV fit of 10,000 rows as shipped, 434 epochs
MLMR_EPOCHS = 434
MLMR_2SLS = 0.1
STEPS = 40  # epochs of a neural row; ml-mr's seconds are scaled to as many


@dataclass(frozen=True)
class Case:
    """A row: what is fitted to how much, the goal, and the seconds of ml-mr."""

    what: str
    method: str
    n: int
    m: int
    goal: float | None = None
    theirs: float | None = None
    design: str = ""
    bagged: int = 0

    @property
    def size(self) -> str:
        """Samples and instruments, as the table says them."""
        return f"{self.n:,} x {self.m}" if self.m else f"{self.n:,}"


CLOSED = ("sieve", "control_function", "kernel_iv", "kernel_mmr")
SCALED = MLMR_FIT * STEPS / MLMR_EPOCHS
CASES: dict[str, Case] = {
    **{f"closed {name} 10,000": Case(name, name, 10_000, 20, 0.5, MLMR_FIT, "poly20") for name in CLOSED},
    **{
        f"closed {name} covariate": Case(f"{name}, one covariate", name, 10_000, 20, 0.5, MLMR_FIT, "effect_mod")
        for name in CLOSED
    },
    **{f"closed {name} 500,000": Case(name, name, 500_000, 100, 10.0) for name in CLOSED},
    "linear 2SLS": Case("tsls", "tsls", 10_000, 20, None, MLMR_2SLS, "poly20"),
    "neural": Case(f"quantile_iv, {STEPS} epochs", "quantile_iv", 10_000, 20, SCALED / 8, SCALED, "poly20"),
    "bagged": Case(
        f"quantile_iv, {STEPS} epochs, 50 bagged",
        "quantile_iv",
        10_000,
        20,
        50 * SCALED / 20,
        50 * SCALED,
        "poly20",
        50,
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
    from deepmr.nonlinear import METHODS

    if case.method not in METHODS:
        return {"skipped": "no such method here"}
    data = many(case.n, case.m) if not case.design else drawn(case.design, case.n)
    work = bagged(case) if case.bagged else single(case)
    if isinstance(work, str):
        return {"skipped": work}
    times = []
    for _ in range(1 if case.bagged or case.n > 100_000 else REPEATS):
        start = time.process_time()
        work(data)
        times.append(time.process_time() - start)
    return {"cpu_s": min(times), "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def options_of(case: Case) -> dict:
    """Return the options that fix the epochs of a neural method; none for the others."""
    from dataclasses import fields

    from deepmr.nonlinear import method_class

    known = {field.name for field in fields(method_class(case.method))}
    wanted = {"max_epochs": STEPS, "exposure_max_epochs": STEPS, "outcome_max_epochs": STEPS, "patience": STEPS}
    return {name: value for name, value in wanted.items() if name in known} if "epochs" in case.what else {}


def single(case: Case) -> Callable:
    """Return one fit with everything that a user gets of it."""
    from deepmr.nonlinear import make_method

    method = make_method(case.method, options_of(case))

    def work(data) -> None:
        fit = method.fit(data, seed=0)
        x = np.linspace(*fit.record.central, 200)
        fit.avg_iv_reg_function(x, level=0.9)
        if hasattr(fit, "uniform_band"):
            fit.uniform_band(x, level=0.9)

    return work


def bagged(case: Case) -> Callable | str:
    """Return a fit of many networks side by side, or why there is none."""
    from dataclasses import fields

    from deepmr.nonlinear import make_method, method_class

    if "n_boot" not in {field.name for field in fields(method_class(case.method))}:
        return "the method has no option n_boot"
    method = make_method(case.method, {**options_of(case), "n_boot": case.bagged})
    return lambda data: method.fit(data, seed=0)


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
