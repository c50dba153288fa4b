"""CPU seconds of meta-analysis at scale, one thread: every column, tau2 intervals and prediction included.

    OMP_NUM_THREADS=1 python benchmarks/meta.py [--studies 100000]

Effects are heavy-tailed (t with 4 degrees of freedom), standard errors span a factor of ten. Leaving one out is timed
beside the long way, pooling the others anew, on as many studies as that can bear.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from deepmr import schema
from deepmr.meta import leave_one_out, pool_estimates, pool_robust, rank_test, regression_test, trim_and_fill
from deepmr.meta.evidence import Packed, within_variances
from deepmr.meta.kernel import pool_groups
from deepmr.meta.leave_one_out import without
from deepmr.types import Estimates

LONG_WAY = 2000


def main() -> None:
    """Time each and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=100_000)
    n = parser.parse_args().studies
    print("| work | studies | CPU s |\n|---|--:|--:|")
    pool_estimates(simulated(50))  # imports and tables that a first call makes
    given = simulated(n)
    for tau2 in ("DL", "PM", "REML"):
        row(f"pool, {tau2}", n, lambda tau2=tau2: pool_estimates(given, tau2=tau2))
    row("pool, t model", n, lambda: pool_robust(given))
    many = simulated(n, of=20)
    row(f"pool, REML, {n // 20:,} groups of 20", n, lambda: pool_estimates(many))
    for tau2 in ("DL", "REML"):
        row(f"leave one out, {tau2}", n // 10, lambda tau2=tau2: leave_one_out(simulated(n // 10), tau2=tau2))
        row(f"leave one out, {tau2}", n, lambda tau2=tau2: leave_one_out(given, tau2=tau2))
    row("rank and regression test, trim and fill", n, lambda: asymmetry(given))
    small = simulated(LONG_WAY)
    row("leave one out, REML", LONG_WAY, lambda: leave_one_out(small))
    row("the same the long way", LONG_WAY, lambda: long_way(small))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak memory {peak:.1f} GB; python {sys.version[:6]}, numpy {np.__version__}")


def row(what: str, studies: int, work: Callable[[], object]) -> None:
    """Time a call and print the row."""
    start = time.process_time()
    work()
    print(f"| {what} | {studies:,} | {time.process_time() - start:.3g} |", flush=True)


def simulated(n: int, *, of: int | None = None) -> Estimates:
    """Return estimates of one pair of traits, or of as many pairs as give `of` studies each."""
    rng = np.random.default_rng(0)
    se = 10.0 ** rng.uniform(-1, 0, n)
    beta = 1 + 0.3 * rng.standard_t(4, n) + se * rng.normal(size=n)
    table = pd.DataFrame(dict.fromkeys(schema.ESTIMATES, "ivw"), index=range(n))
    table = table.assign(
        exposure="a" if of is None else (np.arange(n) // of).astype(str), locus=np.arange(n).astype(str)
    )
    return Estimates(table=table.assign(beta=beta, se=se, ci_low=beta, ci_high=beta, pvalue=0.5, n=5))


def asymmetry(given: Estimates) -> None:
    """Run what looks at the funnel."""
    rank_test(given)
    regression_test(given)
    trim_and_fill(given)


def long_way(given: Estimates) -> None:
    """Pool all studies but one, for each, in blocks that fit into memory."""
    k = len(given)
    loci = Packed(
        beta=given.table["beta"].to_numpy(float),
        se=given.table["se"].to_numpy(float),
        factors=np.zeros((0, k)),
        offsets=np.array([0, k]),
    )
    within = within_variances(loci)
    for out in np.array_split(np.arange(k), max(1, k * k // 300_000)):
        pool_groups(
            without(loci, within, out),
            tau2="REML",
            ci="HK",
            weights="inverse_variance",
            prediction="HTS",
            level=0.95,
        )


if __name__ == "__main__":
    main()
