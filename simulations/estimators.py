"""Which estimator to trust when? Bias, standard errors, coverage and type-I error of every method where truth is known.

    python simulations/estimators.py --out results/estimators [--methods ivw egger ...] [--scenarios valid weak ...]

2,000 replicates (200 for methods that resample) of 50 instruments a scenario, at a causal effect of 0.4 and of 0.
Writes a table of all figures with their Monte Carlo errors, a Markdown table of coverage and bias, and a figure.
"""

import argparse
import inspect
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepmr.mr import METHODS
from deepmr.simulate.instruments import simulate_instruments
from deepmr.types import Instruments

SLOPE, N_INSTRUMENTS = 0.4, 50
N_CLOSED, N_RESAMPLING = 2000, 200
UNTOLD = "shared_errors, untold"  # the same data, without what is known of their errors
LABELS = {
    "valid": "valid,\nstrong",
    "weak": "valid,\nweak",
    "balanced": "balanced\npleiotropy",
    "directional": "directional\npleiotropy",
    "inside_violated": "InSIDE\nviolated",
    "overlap": "sample\noverlap",
    "shared_errors": "shared\nerrors",
    UNTOLD: "shared errors,\nuntold",
}


def main() -> None:
    """Run every method in every scenario; write the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--scenarios", nargs="+", default=list(LABELS), choices=list(LABELS))
    parser.add_argument("--replicates", type=int, help="instead of 2,000 or 200")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for scenario in arguments.scenarios:
        for method in arguments.methods:
            n = arguments.replicates or (N_RESAMPLING if resamples(method) else N_CLOSED)
            rows.append(performance(method, scenario, n, seed=arguments.seed))
            print(" ".join(f"{k}={v:.3g}" if isinstance(v, float) else str(v) for k, v in rows[-1].items()), flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(arguments.out / "performance.tsv", sep="\t", index=False)
    (arguments.out / "performance.md").write_text(markdown(table))
    draw(table, arguments.out / "performance.png")


def resamples(method: str) -> bool:
    """Whether a method draws random numbers for every replicate."""
    return any(name.startswith("n_") for name in inspect.signature(METHODS[method]).parameters if name != "n_robust")


def replicates(scenario: str, n: int, *, slope: float, seed: int) -> Instruments:
    """Instruments of n replicates of a scenario."""
    if scenario != UNTOLD:
        return simulate_instruments(scenario, n_loci=n, n_instruments=N_INSTRUMENTS, slope=slope, seed=seed)
    given = simulate_instruments("shared_errors", n_loci=n, n_instruments=N_INSTRUMENTS, slope=slope, seed=seed)
    return replace(given, error_factors=None, error_corr=None)


def performance(method: str, scenario: str, n: int, *, seed: int) -> dict[str, object]:
    """Return what a method does over the replicates of a scenario, each figure with its Monte Carlo error.

    `bias` is of the mean, `bias_median` of the median; `se_ratio` is the root mean square standard error over the
    standard deviation of the estimates; `coverage` of nominal 95 % intervals; `type1` the share of P values below 0.05
    where the effect is 0; `power` the same where it is 0.4; `failed` the share of replicates without an estimate.
    """
    start = time.process_time()
    found = METHODS[method](replicates(scenario, n, slope=SLOPE, seed=seed)).table
    seconds = time.process_time() - start
    null = METHODS[method](replicates(scenario, n, slope=0.0, seed=seed + 1)).table
    row: dict[str, object] = {"method": method, "scenario": scenario, "replicates": n, "failed": 1 - len(found) / n}
    if len(found) < 2 or not len(null):
        return row
    beta, se = found["beta"].to_numpy(float), found["se"].to_numpy(float)
    sd, k = float(beta.std(ddof=1)), len(beta)
    covered = float(np.mean((found["ci_low"] <= SLOPE) & (found["ci_high"] >= SLOPE)))
    rejected = float(np.mean(null["pvalue"] < 0.05))
    return row | {
        "bias": float(beta.mean()) - SLOPE,
        "bias_mc": sd / np.sqrt(k),
        "bias_median": float(np.median(beta)) - SLOPE,
        "sd": sd,
        "se_ratio": float(np.sqrt(np.mean(se**2))) / sd,
        "se_ratio_mc": float(np.sqrt(np.mean(se**2))) / sd / np.sqrt(2 * (k - 1)),
        "coverage": covered,
        "coverage_mc": np.sqrt(covered * (1 - covered) / k),
        "type1": rejected,
        "type1_mc": np.sqrt(rejected * (1 - rejected) / len(null)),
        "power": float(np.mean(found["pvalue"] < 0.05)),
        "ms_per_replicate": 1000 * seconds / n,
    }


def markdown(table: pd.DataFrame) -> str:
    """Return coverage and, in brackets, bias in percent of the truth: a row a method, a column a scenario."""
    scenarios = [s for s in LABELS if s in set(table["scenario"])]
    lines = ["| method | " + " | ".join(LABELS[s].replace("\n", " ") for s in scenarios) + " |"]
    lines.append("|---|" + "--:|" * len(scenarios))
    for method, rows in table.groupby("method", sort=False):
        by = rows.set_index("scenario")
        cells = [
            f"{100 * by.loc[s, 'coverage']:.0f} ({100 * by.loc[s, 'bias_median'] / SLOPE:+.0f})"
            if s in by.index and np.isfinite(by.loc[s].get("coverage", np.nan))
            else "-"
            for s in scenarios
        ]
        lines.append(f"| `{method}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(table: pd.DataFrame, out: Path) -> None:
    """Draw coverage as colours and bias as numbers, a row a method, a column a scenario."""
    scenarios = [s for s in LABELS if s in set(table["scenario"])]
    methods = list(dict.fromkeys(table["method"]))
    cells = table.set_index(["method", "scenario"]).reindex(pd.MultiIndex.from_product([methods, scenarios]))
    shape = len(methods), len(scenarios)
    coverage, bias = (cells[name].to_numpy(float).reshape(shape) for name in ("coverage", "bias_median"))
    figure = Figure(figsize=(1.15 * len(scenarios) + 2.6, 0.27 * len(methods) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(coverage, vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for i, j in np.ndindex(coverage.shape):
        if np.isfinite(coverage[i, j]):
            shade = "black" if coverage[i, j] > 0.5 else "white"
            text = f"{100 * coverage[i, j]:.0f} ({100 * bias[i, j] / SLOPE:+.0f})"
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color=shade)
    axes.set_xticks(range(len(scenarios)), [LABELS[s] for s in scenarios], fontsize=8)
    axes.set_yticks(range(len(methods)), methods, fontsize=8)
    axes.set_title("Coverage of 95 % intervals, % (median bias, % of the effect)", loc="left", fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="coverage", shrink=0.5)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main()
