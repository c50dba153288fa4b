"""Bayesian networks whose weights vary with context: the published demonstration, and harder networks of sines.

    python simulations/context_dags.py --out results/context_dags [--seeds 10]

The demonstration has four nodes and 1000 samples with contexts on a grid from 1 to 2; those between 1.7 and 1.9 are
held out. Edge error is the mean square over all 16 entries, after projection to a graph without a cycle; reconstruction
is the mean squared error of each node given its parents' values. Networks of sines have six nodes, one or two contexts,
and equal error variances, or standard deviations of their own between 0.5 and 2. Prints markdown tables and writes a
tab-separated one and a figure.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepmr.contexts import GraphData
from deepmr.contextual.graphs import fit_graph
from deepmr.contextual.graphs.types import GraphFit
from deepmr.report import style
from deepmr.simulate.graphs import demo_weights, simulate_graphs

Weights = Callable[[np.ndarray], np.ndarray]

TRUE_ORDER = ("x0", "x3", "x2", "x1")
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "least squares, true order given": (
        "ordered",
        {"functions": "constant", "order": TRUE_ORDER, "least_support": -1e9},
    ),
    "population, DAGMA": ("notears", {}),
    "population, NOTEARS": ("notears", {"acyclicity": "exponential"}),
    "clusters K = 10, DAGMA": ("dag_clusters", {}),
    "archetypes of an encoder, DAGMA": ("archetypes", {}),
    "varying, DAGMA": ("varying_dag", {}),
    "varying, exponential": ("varying_dag", {"acyclicity": "exponential"}),
    "varying, polynomial": ("varying_dag", {"acyclicity": "polynomial"}),
    "ordered, smooth": ("ordered", {"functions": "smooth"}),
    "ordered, degree 2": ("ordered", {"functions": "polynomial", "degree": 2}),
    "ordered, own error variances": ("ordered", {"errors": "own"}),
    "ordered, equal error variances": ("ordered", {"errors": "equal"}),
    "varying, DAGMA, splines": ("varying_dag", {"functions": "splines"}),
    "ordered": ("ordered", {}),
}
SINES = (
    "population, DAGMA",
    "clusters K = 10, DAGMA",
    "varying, DAGMA, splines",
    "ordered, equal error variances",
    "ordered, own error variances",
    "ordered",
)


def main() -> None:
    """Run every model on every seed; print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    tables = []
    for design in ("demo", *itertools.product((1, 2), ("equal", "own"))):
        table = pd.DataFrame([row for seed in range(arguments.seeds) for row in study(design, seed)])
        mean = table.drop(columns=["design", "seed"]).groupby("model", sort=False).mean()
        print(f"\n{table['design'].iloc[0]}, mean of {arguments.seeds} seeds\n\n{markdown(mean)}", flush=True)
        tables.append(table)
        pd.concat(tables).to_csv(arguments.out / "context_dags.tsv", sep="\t", index=False)
    draw(arguments.out / "context_dags.png")


def study(design: str | tuple[int, str], seed: int) -> list[dict[str, Any]]:
    """Return a row a model: of the demonstration, or of sines of so many contexts with such error variances."""
    if isinstance(design, str):
        train, test = demonstration(seed)
        known = {"design": design, "seed": seed}
        rows = [{"model": "truth", **known, **of_truth(train, test)}]
        return rows + [{"model": name, **known, **score(name, train, test, demo_weights)} for name in MODELS]
    contexts, errors = design
    train, test, weights = sines(contexts, errors, seed)
    known = {"design": f"sines, {contexts} context{'s'[: contexts - 1]}, {errors} error variances", "seed": seed}
    return [{"model": name, **known, **score(name, train, test, weights)} for name in SINES]


def demonstration(seed: int) -> tuple[GraphData, GraphData]:
    """Return samples outside of the gap and in it."""
    data, _ = simulate_graphs("demo_dag", n=1000, seed=seed)
    gap = (data.contexts[:, 0] > 1.7) & (data.contexts[:, 0] < 1.9)
    return data.take(~gap), data.take(gap)


def sines(
    n_contexts: int, errors: str, seed: int, *, n: int = 1000, d: int = 6
) -> tuple[GraphData, GraphData, Weights]:
    """Draw a network with half of all edges, weights that are sines of a context plus a constant, and new samples."""
    rng = np.random.default_rng(1000 + seed)
    order = rng.permutation(d)
    edges = (np.triu(rng.random((d, d)) < 0.5, 1))[np.ix_(order, order)]
    size, phase = rng.uniform(0.5, 1.2, (d, d)) * rng.choice([-1, 1], (d, d)), rng.uniform(0, 6, (d, d))
    along, speed = rng.integers(0, n_contexts, (d, d)), rng.uniform(1, 3, (d, d))
    deviation = np.exp(rng.uniform(-np.log(2), np.log(2), d)) if errors == "own" else np.ones(d)

    def weights(contexts: np.ndarray) -> np.ndarray:
        return edges * size * (0.5 + np.sin(speed * contexts[:, along] + phase))

    contexts = rng.uniform(-1.5, 1.5, (2 * n, n_contexts))
    noise = rng.standard_normal((2 * n, d)) * deviation
    values = np.einsum("nij,ni->nj", np.linalg.inv(np.eye(d) - weights(contexts)), noise)
    names = tuple(f"c{k + 1}" for k in range(n_contexts)), tuple(f"x{k}" for k in range(d))
    data = GraphData(contexts=contexts, values=values, context_names=names[0], node_names=names[1])
    return data.take(slice(0, n)), data.take(slice(n, None)), weights


def score(name: str, train: GraphData, test: GraphData, weights: Weights) -> dict[str, float]:
    """Fit a model; return errors of edges and of reconstruction, held-out density, wrong pairs, coverage and CPU."""
    method, options = MODELS[name]
    start = time.process_time()
    fit: Any = fit_graph(train, method=method, options=options)
    found: dict[str, float] = {"cpu_s": time.process_time() - start}
    for part, data in (("train", train), ("test", test)):
        truth, graphs = weights(data.contexts), fit.graphs(data.contexts)
        found[f"{part}_l2"] = float(np.mean((graphs - truth) ** 2))
        found[f"{part}_mse"] = float(np.mean((data.values - fit.predict(data)) ** 2))
    there, true = (graphs != 0).any(axis=0), (truth != 0).any(axis=0)
    wrong = there != true
    found["wrong_pairs"] = float(np.triu(wrong | wrong.T, 1).sum())
    found["log_density"] = float(fit.log_likelihood(test).mean())
    if fit.parents:
        inside = np.abs(graphs - truth) < 1.96 * fit.standard_errors(test.contexts)
        found["coverage"] = float(inside[:, there & true].mean())
    return found


def of_truth(train: GraphData, test: GraphData) -> dict[str, float]:
    """Return what the true weights reach in the demonstration."""
    found = {"train_l2": 0.0, "test_l2": 0.0, "wrong_pairs": 0.0}
    for part, data in (("train", train), ("test", test)):
        off = data.values - np.einsum("nij,ni->nj", demo_weights(data.contexts), data.values)
        found[f"{part}_mse"] = float(np.mean(off**2))
    found["log_density"] = float(-0.5 * ((off**2).sum(axis=1) + 4 * np.log(2 * np.pi)).mean())
    return found


def markdown(mean: pd.DataFrame) -> str:
    """Return a table of means."""
    columns = ["train_l2", "test_l2", "train_mse", "test_mse", "wrong_pairs", "log_density", "coverage", "cpu_s"]
    lines = ["| model | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for model, row in mean.iterrows():
        cells = ["" if np.isnan(row.get(c, np.nan)) else f"{row[c]:.4g}" for c in columns]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(path: Path) -> None:
    """Draw the four edges of the demonstration over context: the truth and three models."""
    train, _ = demonstration(0)
    at = np.linspace(1, 2, 201)[:, None]
    models = {"clusters K = 10, DAGMA": 3, "varying, DAGMA": 2, "ordered": 0}
    fits: dict[str, GraphFit] = {
        name: fit_graph(train, method=MODELS[name][0], options=MODELS[name][1]) for name in models
    }
    truth = demo_weights(at)
    with mpl.rc_context(style.RC):
        figure = Figure(figsize=(style.WIDTH, 5.2), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True).ravel()
        for axes, (i, j) in zip(panels, ((0, 1), (2, 1), (3, 1), (3, 2)), strict=True):
            axes.axvspan(1.7, 1.9, color=style.GRID, lw=0)
            for name, colour in models.items():
                graph = fits[name].graphs(at)[:, i, j]
                axes.plot(at[:, 0], graph, color=style.CYCLE[colour], label=name)
                if name == "ordered":
                    se: Any = fits[name]
                    half = 1.96 * se.standard_errors(at)[:, i, j]
                    axes.fill_between(at[:, 0], graph - half, graph + half, color=style.CYCLE[colour], alpha=0.2, lw=0)
            axes.plot(at[:, 0], truth[:, i, j], color=style.INK, ls="--", label="truth")
            axes.set_title(f"edge {i} → {j}")
        panels[2].set_xlabel("context; shaded: held out")
        panels[3].set_xlabel("context; shaded: held out")
        panels[0].set_ylabel("weight")
        panels[2].set_ylabel("weight")
        panels[0].legend()
        figure.savefig(path, dpi=style.DPI)


if __name__ == "__main__":
    main()
