"""How well are effects recovered that vary smoothly with context? The published demo of contextualized regression.

    python simulations/context_demo.py --out results/context_demo [--seeds 3] [--methods gp ridge]

Contexts in five small discs of a square, y = w1(c) x1 + w2(c) x2 without noise, w1 = c1 + c2^2 and w2 = c1^2 + c2; the
rest of the square is to be predicted, so that most of it is extrapolation. Arms as in the demo: one population, 15
clusters, 10 clusters of contexts with two that are noise, contextualized coefficients given the contexts, given noise
alone and given both, and the gradient of a perceptron. Writes a table, and a figure of w1 and w2 by arm. The second
half that the demo announces, graphs that vary with context, is `context_graphs.py`.
"""

import argparse
import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr.contexts import ContextData
from deepmr.contextual import fit_context, predict
from deepmr.contextual.networks.gradient import fit_gradient_network
from deepmr.report.style import new_figure
from deepmr.simulate.contexts import SimulatedContexts, simulate_contexts

log = logging.getLogger(__name__)
GIVEN = {"contexts": slice(0, 2), "noise": slice(2, 4), "both": slice(0, 4)}
SHOWN = ("population", "clusters", "gp", "networks", "gradient")


def arms(methods: list[str]) -> list[tuple[str, str, dict[str, object]]]:
    """Return (method, contexts given, options) of every arm."""
    made: list[tuple[str, str, dict[str, object]]] = [
        ("population", "contexts", {}),
        ("clusters", "contexts", {"n_clusters": 15}),
        ("clusters", "both", {"n_clusters": 10}),
    ]
    made += [(method, given, {}) for method in methods for given in GIVEN]
    return [*made, ("gradient", "contexts", {})]


def narrowed(data: ContextData, given: str) -> ContextData:
    """Return the samples with some of their contexts."""
    columns = GIVEN[given]
    return replace(data, contexts=data.contexts[:, columns], context_names=data.context_names[columns])


def run_arm(
    drawn: SimulatedContexts, method: str, given: str, options: dict[str, object], seed: int
) -> tuple[dict[str, object], np.ndarray]:
    """Fit and predict; returns a row, and coefficients at the test contexts."""
    train, test = narrowed(drawn.train, given), narrowed(drawn.test, given)
    start = time.process_time()
    if method == "gradient":
        network = fit_gradient_network(train, seed=seed)
        predicted = network.predict(test.contexts, test.predictors)
        beta = network.effects(test.contexts, test.predictors)[:, 0]
    else:
        fit = fit_context(train, method=method, options=options, seed=seed)
        predicted = predict(fit, test.contexts, test.predictors)
        beta = fit.coefficients(test.contexts).beta[:, 0]
    row = {
        "method": method,
        "given": given,
        "seed": seed,
        "response_mse": float(np.mean((predicted - test.outcomes) ** 2)),
        "effect_mse": float(np.mean((beta - drawn.beta_test) ** 2)),
        "cpu_s": time.process_time() - start,
    }
    return row, beta


def draw(drawn: SimulatedContexts, surfaces: dict[str, np.ndarray], path: Path) -> None:
    """Draw w1 and w2 over the square: the truth, then each method; training contexts are dots."""
    shown = {"truth": drawn.beta_test, **surfaces}
    figure = new_figure(2.0 * len(shown) + 0.8, 4.4)
    axes = figure.subplots(2, len(shown), sharex=True, sharey=True)
    c, low, high = drawn.test.contexts[:, :2], drawn.beta_test.min(), drawn.beta_test.max()
    for column, (name, beta) in enumerate(shown.items()):
        for row in range(2):
            ax = axes[row, column]
            drawn_points = ax.scatter(
                c[:, 0], c[:, 1], c=beta[:, row], s=3, marker="s", vmin=low, vmax=high, cmap="viridis", rasterized=True
            )
            ax.plot(*drawn.train.contexts[:, :2].T, ".", color="black", markersize=0.8)
            ax.set_aspect("equal")
            if row == 0:
                error = float(np.mean((beta - drawn.beta_test) ** 2))
                ax.set_title(name if name == "truth" else f"{name}\n{error:.2g}", fontsize=9)
            if column == 0:
                ax.set_ylabel(f"w{row + 1}:  c2")
            if row == 1:
                ax.set_xlabel("c1")
    figure.colorbar(drawn_points, ax=axes, shrink=0.8, label="effect")
    figure.savefig(path, dpi=150, bbox_inches="tight")


def main() -> None:
    """Run every arm on every seed; write the table and the figure of the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=["gp", "ridge", "auto", "networks"])
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows, surfaces, first = [], {}, simulate_contexts("quadratic", sampling="discs", noise_sd=0.0, seed=0)
    for seed in range(arguments.seeds):
        drawn = first if seed == 0 else simulate_contexts("quadratic", sampling="discs", noise_sd=0.0, seed=seed)
        for method, given, options in arms(arguments.methods):
            row, beta = run_arm(drawn, method, given, options, seed)
            log.info("%s", row)
            rows.append(row)
            if seed == 0 and given == "contexts" and method in SHOWN:
                surfaces[method] = beta
    table = pd.DataFrame(rows)
    table.to_csv(arguments.out / "rows.tsv", sep="\t", index=False)
    summary = table.groupby(["method", "given"], sort=False)[["response_mse", "effect_mse", "cpu_s"]].median()
    summary.to_csv(arguments.out / "summary.tsv", sep="\t")
    print(summary.to_string(float_format=lambda value: f"{value:.3g}"))
    draw(first, surfaces, arguments.out / "surfaces.png")


if __name__ == "__main__":
    main()
