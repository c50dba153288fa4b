"""Size and power of tests of effects that vary with context.

    python simulations/context_tests.py --out results/context_tests [--arms homoscedastic ...] [--runs 2000]

A row a null design: the share of runs with P <= 5 % and whether its exact binomial 99 % interval contains 5 %. Then
power on a linear and a U-shaped modifier beside the t-test of a linear interaction, and the false findings of the sign
agreement of end points over 20 linear fits to random 80 % of the rows, which is how the published package tells. Then
the chance of any false finding of `context_tests` with Holm's adjustment. Prints Markdown; writes what it is made of.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from deepmr.contexts import ContextData
from deepmr.contextual.context_tests import context_tests
from deepmr.contextual.heterogeneity import heterogeneity_test

DRAWS = 199
Rng = np.random.Generator


def main() -> None:
    """Run every arm and print its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=["power", "peer", "holm", *NULLS])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    print("| design | runs | P <= 5 % | exact 99 % interval | contains 5 % |\n|---|--:|--:|--:|---|")
    for arm in arguments.arms:
        made_now = run_arm(arm, arguments.runs, arguments.seed)
        rows += made_now
        pd.DataFrame(rows).to_csv(arguments.out / "context_tests.tsv", sep="\t", index=False)
        print("\n".join(line(row) for row in made_now), flush=True)


def run_arm(arm: str, runs: int, seed: int) -> list[dict[str, Any]]:
    """Return rows of an arm: a null design, `power`, `peer` or `holm`."""
    if arm == "power":
        return [row for kind in ("linear", "u") for row in power(kind, max(runs // 5, 20), seed)]
    if arm == "peer":
        n = max(runs // 5, 20)
        return [
            described("peer: sign agreement of end points", [peer(np.random.default_rng([seed, k])) for k in range(n)])
        ]
    if arm == "holm":
        n = max(runs // 10, 10)
        least = [any_false(np.random.default_rng([seed, k])) for k in range(n)]
        return [described("any of 5 contexts, Holm, P <= 5 %", least)]
    pvalues: list[float] = []
    k = 0
    while len(pvalues) < runs:
        data, options = NULLS[arm](np.random.default_rng([seed, k]))
        pvalues += heterogeneity_test(data, n_draws=DRAWS, seed=k, **options).pvalue.tolist()
        k += 1
    return [described(arm, pvalues[:runs])]


def described(name: str, pvalues: list[float]) -> dict[str, Any]:
    """Return the share of P values up to 5 % with its exact 99 % interval."""
    n, found = len(pvalues), int(np.sum(np.array(pvalues) <= 0.05))
    low, high = stats.binomtest(found, n).proportion_ci(0.99)
    return {"design": name, "runs": n, "share": found / n, "low": low, "high": high}


def line(row: dict[str, Any]) -> str:
    """Return a row of the Markdown table."""
    held = "" if row["design"].startswith("power") else "yes" if row["low"] <= 0.05 <= row["high"] else "no"
    return (
        f"| {row['design']} | {row['runs']} | {100 * row['share']:.1f} % | {100 * row['low']:.1f} to "
        f"{100 * row['high']:.1f} % | {held} |"
    )


def made(contexts: np.ndarray, predictors: np.ndarray, outcomes: np.ndarray, **more: Any) -> ContextData:
    """Return samples with names."""
    return ContextData(
        contexts=contexts,
        predictors=predictors,
        outcomes=outcomes,
        context_names=tuple(f"c{k}" for k in range(contexts.shape[1])),
        predictor_names=tuple(f"x{k}" for k in range(predictors.shape[1])),
        outcome_names=tuple(f"y{k}" for k in range(outcomes.shape[1])),
        **more,
    )


def plain(n: int, errors: Callable[..., np.ndarray], **options: Any) -> Callable[[Rng], tuple[ContextData, dict]]:
    """Return a design of two contexts and two predictors, 20 outcomes whose errors are as told."""

    def design(rng: Rng) -> tuple[ContextData, dict]:
        c, x = rng.uniform(-1, 1, (n, 2)), rng.standard_normal((n, 2))
        return made(c, x, x[:, :1] + 0.5 * c[:, :1] ** 2 + errors(rng, c, x)), options

    return design


def normal(rng: Rng, c: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return errors of one variance."""
    return rng.standard_normal((len(c), 20))


def heavy(rng: Rng, c: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return errors with Student's t on 3 degrees of freedom."""
    return rng.standard_t(3, (len(c), 20))


def scattered(rng: Rng, c: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return errors of slopes that differ between samples at random."""
    return rng.standard_normal((len(c), 20)) * np.sqrt(0.2 + x[:, :1] ** 2)


def uneven(rng: Rng, c: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return errors whose variance grows with a context."""
    return rng.standard_normal((len(c), 20)) * np.exp(c[:, :1])


def demo(rng: Rng) -> tuple[ContextData, dict]:
    """Return the published demo's training rows with contexts that are noise."""
    axis = np.linspace(-1, 1, 75)
    c = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    centres = np.array([[0, 0], [0.5, 0.5], [0.5, -0.5], [-0.5, 0.5], [-0.5, -0.5]])
    c = c[((c[:, None] - centres) ** 2).sum(-1).min(1) < 0.01]
    x = rng.uniform(-1, 1, c.shape)
    y = x[:, 0] * (c[:, 0] + c[:, 1] ** 2) + x[:, 1] * (c[:, 0] ** 2 + c[:, 1])
    return made(rng.standard_normal(c.shape), x, y[:, None]), {}


def loci(n: int, tau: float) -> Callable[[Rng], tuple[ContextData, dict]]:
    """Return effects of loci with known errors, which differ by tau and not with their contexts."""

    def design(rng: Rng) -> tuple[ContextData, dict]:
        c, se = rng.standard_normal((n, 3)), rng.uniform(0.05, 0.4, (n, 1))
        y = 0.2 + tau * rng.standard_normal((n, 10)) + se * rng.standard_normal((n, 10))
        return made(c, np.zeros((n, 0)), y, se_outcome=np.tile(se, 10)), {}

    return design


def grouped(calibration: str) -> Callable[[Rng], tuple[ContextData, dict]]:
    """Return 40 groups of 3 samples whose level and slope are of the group, and contexts as well."""

    def design(rng: Rng) -> tuple[ContextData, dict]:
        groups = np.repeat(np.arange(40), 3)
        c, x = rng.standard_normal((40, 2))[groups], rng.standard_normal((120, 1))
        level, slope = 0.7 * rng.standard_normal((40, 10)), 0.7 * rng.standard_normal((40, 10))
        y = level[groups] + x * slope[groups] + rng.standard_normal((120, 10))
        return made(c, x, y, groups=groups), {"calibration": calibration}

    return design


def binary(n: int) -> Callable[[Rng], tuple[ContextData, dict]]:
    """Return samples whose log odds have one slope."""

    def design(rng: Rng) -> tuple[ContextData, dict]:
        c, x = rng.uniform(-1, 1, (n, 2)), rng.standard_normal((n, 1))
        p = 1 / (1 + np.exp(0.5 - x))
        y = (rng.uniform(size=(n, 10)) < p).astype(float)
        return made(c, x, y, outcome_type="binary"), {}

    return design


NULLS: dict[str, Callable[[Rng], tuple[ContextData, dict]]] = {
    "homoscedastic, n 30, exact": plain(30, normal, deviations="none"),
    "homoscedastic, n 100, exact": plain(100, normal, deviations="none"),
    "homoscedastic, n 100": plain(100, normal),
    "slopes at random, n 100": plain(100, scattered),
    "demo, noise contexts": demo,
    "loci, n 100, tau 0": loci(100, 0.0),
    "loci, n 100, tau .08": loci(100, 0.08),
    "loci, n 100, tau .3": loci(100, 0.3),
    "loci, n 30, tau .08": loci(30, 0.08),
    "t with 3 df, n 100, permutation": plain(100, heavy, calibration="permutation", deviations="none"),
    "t with 3 df, n 100, wild": plain(100, heavy, calibration="wild", deviations="none"),
    "slopes at random, n 100, wild": plain(100, scattered, calibration="wild", deviations="none"),
    "variance grows with context, n 100, wild": plain(100, uneven, calibration="wild", deviations="none"),
    "groups": grouped("exact"),
    "groups, wild": grouped("wild"),
    "binary, n 100": binary(100),
    "binary, n 200": binary(200),
    "binary, n 400": binary(400),
}


def power(kind: str, runs: int, seed: int) -> list[dict[str, Any]]:
    """Return how often a modifier of half a standard deviation is found among 60 samples, and by the t-test."""
    exact, default, linear = [], [], []
    for k in range(runs):
        rng = np.random.default_rng([seed, k])
        c, x = rng.uniform(-1, 1, (60, 1)), rng.standard_normal((60, 1))
        shape = c / np.sqrt(1 / 3) if kind == "linear" else (c**2 - 1 / 3) / np.sqrt(4 / 45)
        y = (0.5 + 0.5 * shape) * x + rng.standard_normal((60, 1))
        data = made(c, x, y)
        exact += heterogeneity_test(data, n_draws=DRAWS, seed=k, deviations="none").pvalue.tolist()
        default += heterogeneity_test(data, n_draws=DRAWS, seed=k).pvalue.tolist()
        linear.append(float(sm.OLS(y[:, 0], np.column_stack([np.ones(60), c, x, c * x])).fit().pvalues[3]))
    said = (("one variance", exact), ("slopes deviate (default)", default), ("t-test of c x", linear))
    return [described(f"power, {kind} modifier, {name}", values) for name, values in said]


def peer(rng: Rng, n_fits: int = 20) -> float:
    """Return the P value of sign agreement of the slope's end points over linear fits to random 80 % of the rows."""
    c, x = rng.uniform(-1, 1, 200), rng.standard_normal(200)
    y = x + rng.standard_normal(200)
    design = np.column_stack([np.ones(200), c, x, c * x])
    ends = []
    for _ in range(n_fits):
        rows = rng.permutation(200)[:160]
        ends.append(np.linalg.lstsq(design[rows], y[rows], rcond=None)[0][3] * (c.max() - c.min()))
    sign = np.sign(np.mean(ends))
    return (1 + int(np.sum(np.sign(ends) != sign))) / (n_fits + 1)


def any_false(rng: Rng) -> float:
    """Return the smallest adjusted P value of five contexts that change nothing."""
    c, x = rng.standard_normal((80, 5)), rng.standard_normal((80, 1))
    table = context_tests(made(c, x, x + rng.standard_normal((80, 1))), deviations="none", n_draws=999)
    return float(table["adjusted"].min())


if __name__ == "__main__":
    main()
