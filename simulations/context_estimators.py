"""How accurate are estimators of effects that vary with context, and how honest their intervals? Where both are known.

    python simulations/context_estimators.py --out results/context [--seeds 20] [--designs quadratic sine step product]
        [--sampling random discs] [--noise .1 .5] [--methods population gp] [--n 221] [--first-seed 100] [--processes 2]

A unit is a design, a sampling, a noise and a seed: every method is fitted to the same samples, two noise contexts
among them, and judged by the true slopes at the test contexts. Each unit is kept in a file of its own and not computed
again, so stop and start as you like. Then `estimators.tsv` and `estimators.md` are written: mean squared error of the
slopes, CPU seconds of fit and coefficients, and the share of pointwise 95 % intervals that hold the truth, in the range
of the training contexts and outside of it as the method itself says.
"""

import argparse
import itertools
import json
import logging
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr.contextual import METHODS, fit_context
from deepmr.inference import quantile
from deepmr.simulate.contexts import DESIGNS, SAMPLING, simulate_contexts

log = logging.getLogger(__name__)
OPTIONS = {"clusters": {"n_clusters": 15}}  # as the published demo has them


def judge(
    design: str, sampling: str, noise: float, seed: int, *, n: int, n_test: int, methods: list[str]
) -> list[dict]:
    """Return what each method makes of one drawing of a design, a row a method."""
    drawn = simulate_contexts(design, n=n, noise_sd=noise, sampling=sampling, n_test=n_test, seed=seed)
    chosen = np.random.default_rng(seed).permutation(len(drawn.test))[:n_test]
    contexts, truth = drawn.test.contexts[chosen], drawn.beta_test[chosen]
    rows = []
    for method in methods:
        start = time.process_time()
        fit = fit_context(drawn.train, method=method, options=OPTIONS.get(method), seed=seed)
        told = fit.coefficients(contexts)
        seconds = time.process_time() - start
        error = told.beta[:, 0] - truth
        row = {"design": design, "sampling": sampling, "noise": noise, "seed": seed, "method": method}
        row |= {"mse": float(np.mean(error**2)), "cpu_s": seconds, "outside": float(told.outside.mean())}
        if told.se_beta is not None:
            hit = np.abs(error) <= quantile(0.95) * told.se_beta[:, 0]
            for name, where in (("cover_in", ~told.outside), ("cover_out", told.outside)):
                row[name] = float(hit[where].mean()) if where.any() else None
        rows.append(row)
    return rows


def run_unit(cell: tuple[str, str, float, int], out: Path, *, n: int, n_test: int, methods: list[str]) -> str:
    """Compute one unit, for the methods that its file lacks."""
    design, sampling, noise, seed = cell
    path = out / "units" / f"{design}_{sampling}_{noise:g}_{seed}_{n}.json"
    known = json.loads(path.read_text()) if path.exists() else []
    left = [method for method in methods if method not in {row["method"] for row in known}]
    if left:
        known += judge(design, sampling, noise, seed, n=n, n_test=n_test, methods=left)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(known))
        part.replace(path)
    return path.name


def write_tables(frame: pd.DataFrame, out: Path) -> None:
    """Write means over seeds, a row a design, sampling, noise and method."""
    by = ["design", "sampling", "noise", "method"]
    table = frame.groupby(by, sort=False)[["mse", "cover_in", "cover_out", "outside", "cpu_s"]].mean().reset_index()
    table.insert(4, "seeds", frame.groupby(by, sort=False)["seed"].nunique().to_numpy())
    table.to_csv(out / "estimators.tsv", sep="\t", index=False, float_format="%.6g")
    lines = [f"| {' | '.join(table.columns)} |", f"|{'---|' * len(table.columns)}"]
    for row in table.itertuples(index=False):
        cells = [("" if pd.isna(v) else f"{v:.3g}") if isinstance(v, float) else str(v) for v in row]
        lines.append(f"| {' | '.join(cells)} |")
    means = frame.groupby(["sampling", "method"], sort=False)[["cover_in", "cover_out"]].mean()
    lines += ["", "Coverage over all truths, noises and seeds:", ""]
    for (sampling, method), values in means.iterrows():
        if values.notna().any():
            lines.append(
                f"- {sampling}, {method}: {values['cover_in']:.3f} in range, {values['cover_out']:.3f} outside"
            )
    (out / "estimators.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Read the command line, compute the units that are not there, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0, help="as defaults were chosen by seeds from 0, other ones")
    parser.add_argument("--designs", nargs="+", default=["quadratic", "sine", "step", "product"], choices=list(DESIGNS))
    parser.add_argument("--sampling", nargs="+", default=["random", "discs"], choices=SAMPLING)
    parser.add_argument("--noise", nargs="+", type=float, default=[0.1, 0.5])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--n", type=int, default=221)
    parser.add_argument("--n-test", type=int, default=500)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    (given.out / "units").mkdir(parents=True, exist_ok=True)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    order = itertools.product(seeds, given.designs, given.sampling, given.noise)
    cells = [(design, sampling, noise, seed) for seed, design, sampling, noise in order]
    settings = {"n": given.n, "n_test": given.n_test, "methods": given.methods}
    with ProcessPoolExecutor(given.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(run_unit, cell, given.out, **settings) for cell in cells]
        for done, future in enumerate(as_completed(futures), start=1):
            name = future.result()
            if done % 20 == 0 or done == len(cells):
                log.info("%d of %d: %s", done, len(cells), name)
    wanted = [given.out / "units" / f"{d}_{s}_{noise:g}_{seed}_{given.n}.json" for d, s, noise, seed in cells]
    frame = pd.concat([pd.read_json(path) for path in wanted], ignore_index=True)
    write_tables(frame[frame["method"].isin(given.methods)], given.out)


if __name__ == "__main__":
    main()
