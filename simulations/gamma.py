"""Does the effect that DeepMR estimates equal the one that was simulated? Unconfounded, full training size.

    python simulations/gamma.py --out results/gamma [--scenario unconfounded] [--gamma 1 10]

For each gamma: 12,500 training sequences, five networks, mutagenesis of the test loci with both motifs, and the pooled
effect by every method beside the mean true effect of the same loci. Writes a table and a figure.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepmr.commands.calibrate import calibrate
from deepmr.commands.ism import ism
from deepmr.commands.meta import meta
from deepmr.commands.mr import mr
from deepmr.commands.simulate import simulate
from deepmr.commands.train import train
from deepmr.io.tables import numbers, read_estimates, read_table
from deepmr.mr import METHODS

EXPOSURE, OUTCOME = "GATA", "TAL1"


def main() -> None:
    """Run the chain for every gamma; print and draw the effects beside the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--gamma", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--scenario", default="unconfounded", choices=["unconfounded", "random", "sequence", "both"])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    runs = [
        run(arguments.out / f"gamma{gamma:g}", gamma=gamma, scenario=arguments.scenario, seed=arguments.seed)
        for gamma in arguments.gamma
    ]
    table = pd.concat(runs, ignore_index=True)
    table.to_csv(arguments.out / "effects.tsv", sep="\t", index=False)
    print(table.round(4).to_string(index=False))
    draw(table, arguments.out / "effects.png")


def run(out: Path, *, gamma: float, scenario: str, seed: int) -> pd.DataFrame:
    """Simulate, train, mutate, calibrate, estimate and pool; returns a row a method."""
    out.mkdir(parents=True, exist_ok=True)
    data = out / "simulation"
    if not (out / "ensemble").is_dir():
        simulate(
            out=data, scenario=scenario, gamma=gamma, loci="both", calibration_split=1000, seed=seed, overwrite=True
        )
        trained = train(fasta=data / "train.fa", targets=data / "train.tsv", out=out / "ensemble", seed=seed)
        print(trained)
    ism(model=out / "ensemble", fasta=data / "test.fa", out=out / "effects.h5", overwrite=True)
    calibrate(
        model=out / "ensemble",
        fasta=data / "calibration.fa",
        targets=data / "calibration.tsv",
        out=out / "calibration.json",
        overwrite=True,
    )
    mr(
        out / "effects.h5",
        out=out / "mr.tsv",
        method=list(METHODS),
        exposure=[EXPOSURE],
        calibration=[out / "calibration.json"],
        overwrite=True,
    )
    meta(out / "mr.tsv", out=out / "meta.tsv", overwrite=True)
    pooled = read_estimates(out / "meta.tsv").table
    local = read_estimates(out / "mr.tsv").table
    truth = read_table(data / "truth.tsv")
    truth["true_beta"] = numbers(data / "truth.tsv", truth, "beta")
    truth = truth.loc[truth["exposure"] == EXPOSURE, ["locus", "true_beta"]]
    joined = local.merge(truth, on="locus", validate="many_to_one")
    covered = joined["true_beta"].between(joined["ci_low"], joined["ci_high"])
    by_method = (
        joined.assign(covered=covered)
        .groupby("method")
        .agg(true_beta=("true_beta", "mean"), local_coverage=("covered", "mean"))
    )
    rows = pooled.set_index("method")[["beta", "ci_low", "ci_high", "pi_low", "pi_high", "n"]].join(by_method)
    rows["error_%"] = 100 * (rows["beta"] / rows["true_beta"] - 1)
    rows["covers"] = rows["true_beta"].between(rows["ci_low"], rows["ci_high"])
    return rows.reset_index().assign(gamma=gamma, scenario=scenario)


def draw(table: pd.DataFrame, out: Path) -> None:
    """Draw the pooled effects with their intervals beside the truth, a panel a gamma."""
    panels = list(table.groupby("gamma"))
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    for k, (gamma, rows) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), k + 1)
        y = np.arange(len(rows))[::-1]
        half = np.abs(rows[["ci_low", "ci_high"]].to_numpy().T - rows["beta"].to_numpy())
        axes.errorbar(rows["beta"], y, xerr=half, fmt="o", ms=4, capsize=3, color="#0072b2", label="estimate, 95 % CI")
        axes.plot(rows["true_beta"], y, "|", ms=14, color="black", label="truth of the same loci")
        axes.set_yticks(y, rows["method"])
        axes.set_title(f"gamma {gamma:g}", loc="left", fontsize=10)
        axes.set_xlabel(f"effect of {EXPOSURE} on {OUTCOME}")
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="best")
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main()
