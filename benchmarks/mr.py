"""CPU seconds of Mendelian randomization at scale; R's own figures beside them, measured where R is installed.

    python benchmarks/mr.py [--only median raps] [--loci 24000] [--r Rscript]

24,000 locus-pairs of 300 instruments (2,000 loci, 12 ordered pairs of marks), one thread. Slow methods run on a part of
the loci and are scaled up, which the table says. R's figures are those of the packages under R 4.2.2 on another, loaded
machine (CPU seconds of one core: IVW 51 + Egger 69, the default RAPS 2.8 a call, and so on), unless `--r` names an
Rscript with MendelianRandomization, mr.raps and MRPRESSO, which is then run on one locus of the same data.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr.instruments.alleles import align_alleles
from deepmr.mr import METHODS
from deepmr.mr.presso import presso
from deepmr.simulate.instruments import simulate_instruments
from deepmr.types import Instruments, SummaryStats

N_INSTRUMENTS, PAIRS, N_FACTORS = 300, 24_000, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One line of the table: what runs on how many loci, the goal, R's figure, and R's code for one locus."""

    what: str
    run: Callable[[Instruments], object]
    loci: int
    goal: float
    r_seconds: float
    r_code: str


def methods(*names: str, **options: object) -> Callable[[Instruments], object]:
    """Return a function that runs methods one after the other."""
    return lambda instruments: [METHODS[name](instruments, **options) for name in names]


WORK = {
    "lines": Work(
        what="IVW + Egger + Q",
        run=methods("ivw_random", "egger"),
        loci=PAIRS,
        goal=0.5,
        r_seconds=120,
        r_code="mr_ivw(d); mr_egger(d)",
    ),
    "median": Work(
        what="weighted median, 1,000 bootstrap draws",
        run=methods("median_weighted", n_boot=1000),
        loci=600,
        goal=180,
        r_seconds=1.7 * 3600,
        r_code='mr_median(d, weighting = "weighted", iterations = 1000)',
    ),
    "raps": Work(
        what="RAPS (Huber, overdispersed)",
        run=methods("raps", loss="huber", overdispersion=True),
        loci=2400,
        goal=120,
        r_seconds=18 * 3600,
        r_code="mr.raps.overdispersed.robust(x, y, sx, sy)",
    ),
    "conmix": Work(
        what="contamination mixture",
        run=methods("contamination_mixture"),
        loci=2400,
        goal=60,
        r_seconds=34 * 60,
        r_code="mr_conmix(d)",
    ),
}


def main() -> None:
    """Time each and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*WORK, "gls", "presso", "harmonise"])
    parser.add_argument("--loci", type=int, help="run every line on this many loci")
    parser.add_argument("--variants", type=int, default=10_000_000, help="of the harmonisation")
    parser.add_argument("--r", help="Rscript to measure R beside; default: the one on the path, if any")
    arguments = parser.parse_args()
    rscript = arguments.r or shutil.which("Rscript")
    wanted = arguments.only or [*WORK, "gls", "presso", "harmonise"]
    print("| work | CPU s | of | goal | R, CPU s | R / ours |\n|---|--:|---|--:|--:|--:|")
    for name, work in WORK.items():
        if name in wanted:
            time_methods(work, arguments.loci or work.loci, rscript)
    if "gls" in wanted:
        correlated(arguments.loci or 2000)
    if "presso" in wanted:
        given = simulate_instruments("balanced", n_loci=1, n_instruments=N_INSTRUMENTS)
        presso(given, n_boot=10)  # imports and tables that a first call makes
        row("MR-PRESSO, 300 instruments, 1,000 draws", seconds(lambda: presso(given, n_boot=1000)), "1", "0.1", "900*")
    if "harmonise" in wanted:
        harmonise(arguments.variants)
    print(
        f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB; python {sys.version[:6]}"
    )
    print("* extrapolated from five leave-one-out fits")


def time_methods(work: Work, n_loci: int, rscript: str | None) -> None:
    """Time methods on some loci, scale to all pairs, and print the row."""
    given = simulate_instruments("balanced", n_loci=n_loci, n_instruments=N_INSTRUMENTS)
    arrays = (given.beta_exposure, given.se_exposure, given.beta_outcome, given.se_outcome)
    size = sum(array.nbytes for array in arrays) / 2**20
    work.run(given.take(np.arange(len(given.variants)) < N_INSTRUMENTS))
    took = min(seconds(lambda: work.run(given)) for _ in range(3 if work.goal < 1 else 1))
    theirs = work.r_seconds if rscript is None else PAIRS * measured_by_r(rscript, work, given)
    note = f"all, {size:.0f} MB packed" if n_loci == PAIRS else f"{n_loci:,} loci, scaled"
    row(work.what, took * PAIRS / n_loci, note, f"{work.goal:g}", f"{theirs:,.0f}" + ("" if rscript else " (notes)"))


def row(what: str, ours: float, part: str, goal: str, theirs: str) -> None:
    """Print a row."""
    number = float(theirs.split(" ")[0].rstrip("*").replace(",", "")) if theirs != "-" else np.nan
    ratio = f"{number / ours:,.0f}" if np.isfinite(number) else "-"
    print(f"| {what} | {ours:.3g} | {part} | {goal} | {theirs} | {ratio} |", flush=True)


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measured_by_r(rscript: str, work: Work, given: Instruments) -> float:
    """Return the CPU seconds that R takes for one locus of the same data."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "locus.csv"
        first = slice(0, N_INSTRUMENTS)
        columns = {"x": given.beta_exposure[first, 0], "sx": given.se_exposure[first, 0]}
        columns |= {"y": given.beta_outcome[first], "sy": given.se_outcome[first]}
        pd.DataFrame(columns).to_csv(path, index=False)
        code = (
            f"suppressMessages({{library(MendelianRandomization); library(mr.raps)}}); t <- read.csv('{path}');"
            "x <- t$x; sx <- t$sx; y <- t$y; sy <- t$sy; d <- mr_input(x, sx, y, sy);"
            f"took <- system.time({{sink('/dev/null'); {work.r_code}; sink()}}); cat(took[1] + took[2])"
        )
        done = subprocess.run([rscript, "-e", code], capture_output=True, text=True, check=True)
        return float(done.stdout.split()[-1])


def correlated(n_loci: int) -> None:
    """Time GLS under D + F F' with 10 factors beside IVW of the same effects, without and with those factors."""
    plain = simulate_instruments("valid", n_loci=n_loci, n_instruments=N_INSTRUMENTS)
    se = np.concatenate([plain.se_exposure, plain.se_outcome[:, None]], axis=1)
    loadings = np.random.default_rng(0).normal(size=(N_FACTORS, *se.shape)) * se * np.sqrt(0.5 / N_FACTORS)
    shared, scale = replace(plain, error_factors=loadings), PAIRS / n_loci
    note = f"{n_loci:,} loci, scaled"
    least = {}
    for what, given, options in (
        ("IVW, independent errors", plain, {"weights": "marginal"}),
        (f"IVW, {N_FACTORS} shared factors in the standard error alone", shared, {"weights": "marginal"}),
        (f"IVW, {N_FACTORS} shared factors in the weights too", shared, {"weights": "joint"}),
    ):
        run = partial(METHODS["ivw_gls"], given, **options)
        run()
        least[what] = min(seconds(run) for _ in range(3)) * scale
        goal = f"{5 * next(iter(least.values())):.2g}" if len(least) == 3 else "-"
        row(f"GLS: {what}", least[what], note, goal, "-")


def harmonise(n: int) -> None:
    """Time the alignment of two tables of n variants each, in another order and half of them coded the other way."""
    exposure, outcome = two_tables(n)
    took = seconds(lambda: align_alleles(exposure, outcome))
    row(f"harmonise {n:,} variants", took, "all" if n >= 10_000_000 else "part", "60", "-")


def two_tables(n: int) -> tuple[SummaryStats, SummaryStats]:
    """Return two studies of the same variants, the second shuffled and with half of its alleles swapped."""
    rng = np.random.default_rng(0)
    bases = np.array(list("ACGT"), dtype=object)
    first = rng.integers(0, 4, n)
    second = (first + rng.integers(1, 4, n)) % 4
    names = np.char.add("rs", np.arange(n).astype(str)).astype(object)
    frequency, beta, se = rng.uniform(0.05, 0.95, n), rng.normal(0, 0.02, n), np.full(n, 0.02)
    order, swapped = rng.permutation(n), rng.random(n) < 0.5
    effect, other = np.where(swapped, second, first)[order], np.where(swapped, first, second)[order]
    return (
        study(names, bases[first], bases[second], frequency, beta, se, trait="exposure"),
        study(
            names[order],
            bases[effect],
            bases[other],
            np.where(swapped, 1 - frequency, frequency)[order],
            np.where(swapped, -beta, beta)[order],
            se,
            trait="outcome",
        ),
    )


def study(
    names: np.ndarray,
    effect: np.ndarray,
    other: np.ndarray,
    frequency: np.ndarray,
    beta: np.ndarray,
    se: np.ndarray,
    *,
    trait: str,
) -> SummaryStats:
    """Return one trait's summary statistics."""
    variants = pd.DataFrame({"variant_id": names, "locus": "", "chrom": "1", "pos": 1})
    variants = variants.assign(effect_allele=effect, other_allele=other, eaf=frequency)
    return SummaryStats(variants=variants, traits=(trait,), beta=beta[:, None], se=se[:, None], estimand="population")


if __name__ == "__main__":
    main()
