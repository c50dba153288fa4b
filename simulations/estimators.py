"""Which estimator to trust when? Bias, standard errors, coverage and type-I error of every method where truth is known.

    python simulations/estimators.py --out results/estimators [--methods ivw egger ...] [--scenarios valid weak ...]

2,000 replicates (200 for methods that resample) of 50 instruments a scenario, at a causal effect of 0.4 and of 0. With
`--multivariable`: of two exposures, of which the first has this effect, and the second one of -0.2 in all.
Writes performance.tsv (every figure with its Monte Carlo error), performance.md (two tables) and performance.png, and
with `--page` puts the tables between the markers of a documentation page. Rows that stand in performance.tsv are not
computed again (unless `--again`), so that a study can be stopped, resumed, and extended by new methods.
"""

import argparse
import inspect
import itertools
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image
from rich.progress import track

from deepmr.mr import METHODS
from deepmr.mr.multivariable import METHODS as MULTIVARIABLE_METHODS
from deepmr.simulate.exposures import simulate_exposures
from deepmr.simulate.instruments import simulate_instruments
from deepmr.types import Estimates, Instruments

SLOPE, SECOND, N_INSTRUMENTS, N_FEW = 0.4, -0.2, 50, 4
N_CLOSED, N_RESAMPLING = 2000, 200
FEW, UNTOLD = "few", "shared_errors, untold"  # the same data as "shared_errors", without what is known of their errors


@dataclass(frozen=True)
class Study:
    """Methods, scenarios with the headings of their columns, and the true effects of the exposures."""

    name: str
    methods: dict[str, Callable[..., Estimates]]
    headings: dict[str, str]
    simulate: Callable[..., Instruments]
    truth: dict[str, float]

    def columns(self, found: pd.DataFrame) -> dict[tuple[str, str], str]:
        """Return the heading of every scenario and exposure of which there is a figure."""
        there = set(zip(found["scenario"], found["exposure"], strict=True))
        more = len(self.truth) > 1
        return {
            (scenario, exposure): heading + (f"\n{exposure}" if more else "")
            for scenario, heading in self.headings.items()
            for exposure in self.truth
            if (scenario, exposure) in there
        }


def instruments_of(scenario: str, n: int, *, slope: float, seed: int) -> Instruments:
    """Instruments of n replicates of a scenario with one exposure."""
    if scenario == FEW:
        return simulate_instruments("valid", n_loci=n, n_instruments=N_FEW, slope=slope, seed=seed)
    if scenario != UNTOLD:
        return simulate_instruments(scenario, n_loci=n, n_instruments=N_INSTRUMENTS, slope=slope, seed=seed)
    given = simulate_instruments("shared_errors", n_loci=n, n_instruments=N_INSTRUMENTS, slope=slope, seed=seed)
    return replace(given, error_factors=None, error_corr=None)


def exposures_of(scenario: str, n: int, *, slope: float, seed: int) -> Instruments:
    """Instruments of n replicates of a scenario with two exposures."""
    return simulate_exposures(scenario, n_loci=n, n_instruments=N_INSTRUMENTS, effects=(slope, SECOND), seed=seed)


ONE_EXPOSURE = Study(
    "study",
    METHODS,
    {
        "valid": "valid,\nstrong",
        FEW: "valid,\nonly 4",
        "weak": "valid,\nweak",
        "balanced": "balanced\npleiotropy",
        "directional": "directional\npleiotropy",
        "inside_violated": "InSIDE\nviolated",
        "linked": "in LD,\ngiven",
        "overlap": "overlap,\ngiven",
        "shared_errors": "shared\nerrors,\ngiven",
        UNTOLD: "shared\nerrors,\nuntold",
    },
    instruments_of,
    {"exposure": SLOPE},
)
TWO_EXPOSURES = Study(
    "multivariable study",
    MULTIVARIABLE_METHODS,
    {
        "valid": "valid,\nstrong",
        "weak": "valid,\nweak",
        "alike": "alike\nexposures",
        "balanced": "balanced\npleiotropy",
        "outliers": "outliers",
        "directional": "directional\npleiotropy",
        "overlap": "overlap,\ngiven",
    },
    exposures_of,
    {"first": SLOPE, "second": SECOND},
)


def main() -> None:
    """Run every method in every scenario; write the tables and the figure."""
    arguments = parse()
    study = TWO_EXPOSURES if arguments.multivariable else ONE_EXPOSURE
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "performance.tsv"
    wanted = list(itertools.product(arguments.scenarios or study.headings, arguments.methods or study.methods))
    stands = pd.read_csv(path, sep="\t") if path.exists() else pd.DataFrame({"scenario": [], "method": []})
    if arguments.again:
        stands = stands[[pair not in set(wanted) for pair in zip(stands["scenario"], stands["method"], strict=True)]]
    done = set(zip(stands["scenario"], stands["method"], strict=True))
    rows = stands.to_dict("records")
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        calls = [
            pool.submit(performance, study, method, scenario, replicates=arguments.replicates, seed=arguments.seed)
            for scenario, method in wanted
            if (scenario, method) not in done
        ]
        for call in track(calls, "methods in scenarios"):
            rows += call.result()
            table(study, rows).to_csv(path, sep="\t", index=False, float_format="%.4g")
    found = table(study, rows)
    (arguments.out / "performance.md").write_text(markdown(study, found))
    draw(study, found, arguments.out / "performance.png")
    if arguments.page:
        begin, end = (f"<!-- {study.name}: {word} -->" for word in ("begin", "end"))
        before, rest = arguments.page.read_text().split(begin)
        arguments.page.write_text(f"{before}{begin}\n{markdown(study, found)}{end}{rest.split(end)[1]}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--multivariable", action="store_true", help="two exposures, the multivariable methods")
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--scenarios", nargs="+")
    parser.add_argument("--replicates", type=int, help="instead of 2,000 or 200")
    parser.add_argument("--seed", type=int, default=1)  # not that of the draws of the methods
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="compute rows anew that stand in performance.tsv")
    parser.add_argument("--page", type=Path, help="a Markdown page to put the tables in, between its markers")
    return parser.parse_args()


def table(study: Study, rows: list[dict[str, object]]) -> pd.DataFrame:
    """Return rows as a table, scenarios and methods in their order."""
    order = {name: i for i, name in enumerate([*study.headings, *study.methods])}
    frame = pd.DataFrame(rows)
    frame = frame[frame["method"].isin(list(study.methods))]
    return frame.sort_values(
        ["scenario", "method"], kind="stable", key=lambda names: names.map(order), ignore_index=True
    )


def resamples(method: Callable[..., Estimates]) -> bool:
    """Whether a method draws random numbers for every replicate."""
    return any(name.startswith("n_") for name in inspect.signature(method).parameters if name != "n_robust")


def performance(
    study: Study, method: str, scenario: str, *, replicates: int | None, seed: int
) -> list[dict[str, object]]:
    """Return what a method does over the replicates of a scenario: a row an exposure.

    `bias` is of the mean, `bias_median` of the median; `se_ratio` is the root mean square standard error over the
    standard deviation of the estimates; `coverage` of nominal 95 % intervals; `type1` the share of P values below 0.05
    where the effect of the first exposure is 0; `power` the same where it is not; `failed` the share of replicates
    without an estimate. Columns that end in `_mc` are Monte Carlo errors.
    """
    estimate = study.methods[method]
    n = replicates or (N_RESAMPLING if resamples(estimate) else N_CLOSED)
    start = time.process_time()
    found = estimate(study.simulate(scenario, n, slope=SLOPE, seed=seed)).table
    seconds = time.process_time() - start
    null = estimate(study.simulate(scenario, n, slope=0.0, seed=seed + 1)).table
    null = null[null["exposure"] == next(iter(study.truth))]
    row: dict[str, object] = {"scenario": scenario, "method": method, "replicates": n, "seed": seed}
    row["ms_per_replicate"] = 1000 * seconds / n
    rows = []
    for exposure, truth in study.truth.items():
        its = found[found["exposure"] == exposure]
        rows.append(row | {"exposure": exposure, "failed": 1 - len(its) / n} | figures(its, truth))
    if len(null):
        rejected = float(np.mean(null["pvalue"] < 0.05))
        rows[0] |= {"type1": rejected, "type1_mc": np.sqrt(rejected * (1 - rejected) / len(null))}
    return rows


def figures(found: pd.DataFrame, truth: float) -> dict[str, float]:
    """Return bias, spread, standard errors and coverage of estimates."""
    if len(found) < 2:
        return {}
    beta, se = found["beta"].to_numpy(float), found["se"].to_numpy(float)
    sd, k = float(beta.std(ddof=1)), len(beta)
    ratio = float(np.sqrt(np.mean(se**2))) / sd
    covered = float(np.mean((found["ci_low"] <= truth) & (found["ci_high"] >= truth)))
    return {
        "bias": float(beta.mean()) - truth,
        "bias_mc": sd / np.sqrt(k),
        "bias_median": float(np.median(beta)) - truth,
        "sd": sd,
        "se_ratio": ratio,
        "se_ratio_mc": ratio / np.sqrt(2 * (k - 1)),
        "coverage": covered,
        "coverage_mc": np.sqrt(covered * (1 - covered) / k),
        "power": float(np.mean(found["pvalue"] < 0.05)),
    }


def markdown(study: Study, found: pd.DataFrame) -> str:
    """Return coverage with bias, and type-I error with SE/SD: a row a method, a column a scenario."""
    share = found.assign(bias_median=found["bias_median"] / found["exposure"].map(study.truth).abs())
    first = cells(study, share, "coverage", "bias_median", lambda c, b: f"{100 * c:.0f} ({100 * b:+.0f})")
    told = share[share["type1"].notna()]
    second = cells(study, told, "type1", "se_ratio", lambda t, r: f"{100 * t:.0f} ({'>10' if r > 10 else f'{r:.2f}'})")
    return (
        f"\nCoverage of 95 % intervals, in %, and in brackets the median bias in % of the effect:\n\n{first}\n"
        "Type-I error at 5 %, in %, and in brackets root mean square standard error over standard deviation:\n\n"
        f"{second}"
    )


def cells(study: Study, found: pd.DataFrame, main: str, beside: str, text: Callable[[float, float], str]) -> str:
    """Return a Markdown table of two figures of every method in every scenario."""
    columns = study.columns(found)
    lines = ["| method | " + " | ".join(name.replace("\n", " ") for name in columns.values()) + " |"]
    lines.append("|---|" + "--:|" * len(columns))
    for method in (name for name in study.methods if name in set(found["method"])):
        by = found[found["method"] == method].set_index(["scenario", "exposure"]).reindex(list(columns))
        pairs = zip(by[main], by[beside], strict=True)
        lines.append(
            f"| `{method}` | " + " | ".join(text(*pair) if np.isfinite(pair[0]) else "-" for pair in pairs) + " |"
        )
    return "\n".join(lines) + "\n"


def draw(study: Study, found: pd.DataFrame, out: Path) -> None:
    """Draw coverage as colours, with bias beside it in numbers: a row a method, a column a scenario."""
    columns = study.columns(found)
    methods = [name for name in study.methods if name in set(found["method"])]
    keys = [(method, *column) for method in methods for column in columns]
    grid = found.set_index(["method", "scenario", "exposure"]).reindex(keys)
    shape = len(methods), len(columns)
    coverage, bias = (grid[name].to_numpy(float).reshape(shape) for name in ("coverage", "bias_median"))
    bias = bias / np.abs([study.truth[exposure] for _, exposure in columns])
    figure = Figure(figsize=(0.95 * len(columns) + 2.6, 0.25 * len(methods) + 1.7), layout="constrained")
    axes = figure.add_subplot()
    # White where intervals cover as promised; orange, the deeper the less they do; blue where they are too wide.
    stops = [(0, "#9c3d00"), (0.6, "#e58a3c"), (0.85, "#fbd9b5"), (0.93, "#ffffff"), (0.965, "#ffffff"), (1, "#b9d7f2")]
    colours = LinearSegmentedColormap.from_list("coverage", stops)
    image = axes.imshow(coverage, vmin=0, vmax=1, cmap=colours, aspect="auto")
    for i, j in np.ndindex(shape):
        if np.isfinite(coverage[i, j]):
            shade = "white" if coverage[i, j] < 0.35 else "black"
            text = f"{100 * coverage[i, j]:.0f} ({100 * bias[i, j]:+.0f})"
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color=shade)
    axes.set_xticks(range(len(columns)), list(columns.values()), fontsize=8)
    axes.set_yticks(range(len(methods)), methods, fontsize=8)
    axes.xaxis.tick_top()
    axes.set_title("Coverage of 95 % intervals, % (median bias, % of the effect)", loc="left", fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="coverage", shrink=min(1.0, 8 / len(methods) + 0.1), aspect=12)
    figure.savefig(out, dpi=110)
    Image.open(out).quantize(128).save(out, optimize=True)  # a third of the size


if __name__ == "__main__":
    main()
