"""How accurate are networks whose edges vary with context? Against the analytic truth, beside clusters and population.

    python simulations/context_graphs.py --out results/context_graphs [--seeds 5] [--settings ...]

A round draws a truth and 2,000 samples of it, 1,000 to fit and 1,000 held out. Of every model: mean squared error of
correlations and of partial correlations at 200 contexts, what share of them 95 % intervals hold, the mean log density
of the samples held out, and CPU seconds. Prints a markdown table, writes a tab-separated one, and draws edges of one
round over context.
"""

import argparse
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepmr.contextual.graphs import fit_graph
from deepmr.contextual.graphs.correlation import CorrelationFit
from deepmr.contextual.graphs.intervals import graph_intervals
from deepmr.report.style import CYCLE, DPI, INK, MUTED, WIDTH, new_figure, settle, styled
from deepmr.simulate.graphs import GraphTruth, simulate_graphs

log = logging.getLogger(__name__)
ROUNDING = 1e-9  # of edges that are 0 in truth and fit
SETTINGS: dict[str, tuple[Any, int]] = {
    "correlation, 4 nodes": ("correlation", 4),
    "correlation, 10 nodes": ("correlation", 10),
    "correlation, 2 contexts, 5 nodes": ("correlation_2d", 5),
    "markov, 5 nodes": ("markov", 5),
    "markov, 10 nodes": ("markov", 10),
    "markov, 2 contexts, 5 nodes": ("markov_2d", 5),
    "weak, 5 nodes": ("weak", 5),
    "constant, 5 nodes": ("constant", 5),
    "demo_dag, 4 nodes": ("demo_dag", 4),
}
MODELS: dict[str, Mapping[str, Any]] = {
    "population": {"model": "population"},
    "clusters": {"model": "clusters"},
    "varying": {"model": "varying"},
    "varying, sparse": {"model": "varying", "sparse": True},
    "auto": {"model": "auto"},
}


def main() -> None:
    """Run every setting; print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for setting in arguments.settings:
        found = [undirected(setting, arguments.models, n=arguments.n, seed=seed) for seed in range(arguments.seeds)]
        rows += [row for one in found for row in one]
        pd.DataFrame(rows).to_csv(arguments.out / "context_graphs.tsv", sep="\t", index=False)
        log.info("%s: done", setting)
    print(markdown(pd.DataFrame(rows)), flush=True)
    for design in ("correlation", "markov"):
        edge_figure(design, n=arguments.n).savefig(arguments.out / f"context_graphs_{design}.png", dpi=DPI)


def undirected(setting: str, models: list[str], *, n: int, seed: int) -> list[dict[str, Any]]:
    """Return a row a model: errors, coverage, held-out log density and CPU seconds on one drawing of a design."""
    design, nodes = SETTINGS[setting]
    data, truth = simulate_graphs(design, n=2 * n, n_nodes=nodes, seed=seed)
    fitted, held = data.take(slice(0, None, 2)), data.take(slice(1, None, 2))
    low, high = data.contexts.min(axis=0), data.contexts.max(axis=0)
    at = np.random.default_rng(seed).uniform(low, high, (200, len(low)))
    off = ~np.eye(nodes, dtype=bool)
    rows = []
    for model in models:
        row: dict[str, Any] = {"setting": setting, "model": model, "seed": seed}
        start = time.process_time()
        markov = fit_graph(fitted, method="markov", options=MODELS[model])
        row |= {"cpu_s": time.process_time() - start, "held_out": markov.log_likelihood(held).mean()}
        fits = {"markov": markov}
        if not markov.record.options["sparse"]:  # the same covariances, whose correlations are those of this method too
            fits["correlation"] = CorrelationFit(covariances=markov.covariances, record=markov.record)
        for method, fit in fits.items():
            true = truth_of(truth, method, at)
            row[f"mse_{method}"] = np.mean((fit.graphs(at) - true)[:, off] ** 2)
            made = graph_intervals(fit, at[:40], n_draws=200)
            held_in = (made.low - ROUNDING <= true[:40]) & (true[:40] <= made.high + ROUNDING)
            row[f"coverage_{method}"] = held_in[:, off].mean()
        rows.append(row)
    return rows


def markdown(table: pd.DataFrame) -> str:
    """Return means over seeds, with errors also as a share of those of clusters."""
    mean = table.drop(columns="seed").groupby(["setting", "model"], sort=False).mean()
    for method in ("correlation", "markov"):
        column = f"mse_{method}"
        if "clusters" in mean.index.get_level_values("model"):
            clusters = mean[column].xs("clusters", level="model")
            mean[f"of_clusters_{method}"] = mean[column] / clusters.reindex(mean.index.get_level_values(0)).to_numpy()
    rounded = mean.reset_index().round(
        {name: 5 if name.startswith("mse") else 3 if name != "cpu_s" else 2 for name in mean.columns}
    )
    head = "| " + " | ".join(rounded.columns) + " |\n|" + "---|" * len(rounded.columns)
    return "\n".join([head, *("| " + " | ".join(map(str, row)) + " |" for row in rounded.itertuples(index=False))])


@styled
def edge_figure(design: Any, *, n: int, seed: int = 0) -> Any:
    """Draw the four edges of the largest swing over context: truth, varying with its band, clusters, population."""
    data, truth = simulate_graphs(design, n=n, n_nodes=5, seed=seed)
    at = np.linspace(-1, 1, 121)[:, None]
    method = "markov" if design == "markov" else "correlation"
    true = truth_of(truth, method, at)
    upper = np.stack(np.triu_indices(5, 1), axis=1)
    swing = [np.ptp(true[:, i, j]) for i, j in upper]
    chosen = upper[np.argsort(swing)[::-1][:4]]
    made = graph_intervals(fit_graph(data, method=method), at, n_draws=300)
    others = {
        name: fit_graph(data, method=method, options=MODELS[name]).graphs(at) for name in ("clusters", "population")
    }
    figure = new_figure(WIDTH, 4.4)
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    for axes, (i, j) in zip(panels.flat, chosen, strict=True):
        axes.fill_between(at[:, 0], made.low[:, i, j], made.high[:, i, j], color=CYCLE[0], alpha=0.2, lw=0)
        axes.plot(at[:, 0], made.estimate[:, i, j], color=CYCLE[0], label="varying, 95 % band")
        axes.plot(at[:, 0], others["clusters"][:, i, j], color=CYCLE[1], lw=1, label="clusters", drawstyle="steps-mid")
        axes.plot(at[:, 0], others["population"][:, i, j], color=MUTED, lw=1, label="population")
        axes.plot(at[:, 0], true[:, i, j], color=INK, ls="--", lw=1.2, label="truth")
        axes.set_title(f"{data.node_names[i]} and {data.node_names[j]}")
    for axes in panels[-1]:
        axes.set_xlabel("context")
    for axes in panels[:, 0]:
        axes.set_ylabel("partial correlation" if method == "markov" else "correlation")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return settle(figure)


def truth_of(truth: GraphTruth, method: str, at: np.ndarray) -> np.ndarray:
    """Return the true edges of a method."""
    return truth.partial(at) if method == "markov" else truth.correlation(at)


if __name__ == "__main__":
    main()
