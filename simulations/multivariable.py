"""Which multivariable estimator to trust when? Bias and coverage of every method where the direct effects are known.

    python simulations/multivariable.py --out results/multivariable [--replicates 1000]

Replicates of 50 instruments of two exposures a scenario, direct effects 0.4 and -0.2; and 0 for the type-I error.
Writes a table of all figures with their Monte Carlo errors, and a Markdown table of coverage and bias.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr.mr.multivariable import METHODS
from deepmr.simulate.exposures import SCENARIOS, simulate_exposures

EFFECTS, N_BOOT = (0.4, -0.2), 200


def main() -> None:
    """Run every method in every scenario and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for scenario in SCENARIOS:
        for method in METHODS:
            rows += performance(method, scenario, arguments.replicates, seed=arguments.seed)
            print(*(f"{k}={v:.3g}" if isinstance(v, float) else v for k, v in rows[-2].items()), flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(arguments.out / "performance.tsv", sep="\t", index=False)
    (arguments.out / "performance.md").write_text(markdown(table))


def performance(method: str, scenario: str, n: int, *, seed: int) -> list[dict[str, object]]:
    """Return what a method does for each exposure over the replicates of a scenario."""
    options = {"n_boot": N_BOOT} if method == "mv_median" else {}
    given = simulate_exposures(scenario, n_loci=n, effects=EFFECTS, seed=seed)
    null = simulate_exposures(scenario, n_loci=n, effects=(0.0, 0.0), seed=seed + 1)
    found, under_null = (METHODS[method](data, **options).table for data in (given, null))
    rows = []
    for exposure, effect in zip(given.exposures, EFFECTS, strict=True):
        mine, other = found[found["exposure"] == exposure], under_null[under_null["exposure"] == exposure]
        covered = float(np.mean((mine["ci_low"] <= effect) & (mine["ci_high"] >= effect)))
        rejected = float(np.mean(other["pvalue"] < 0.05))
        rows.append(
            {
                "method": method,
                "scenario": scenario,
                "exposure": exposure,
                "conditional_f": float(mine["conditional_f"].mean()),
                "failed": 1 - len(mine) / n,
                "bias_median": float(mine["beta"].median()) - effect,
                "sd": float(mine["beta"].std()),
                "bias_mc": 1.2533 * float(mine["beta"].std()) / np.sqrt(len(mine)),
                "coverage": covered,
                "coverage_mc": float(np.sqrt(covered * (1 - covered) / len(mine))),
                "type1": rejected,
                "type1_mc": float(np.sqrt(rejected * (1 - rejected) / len(other))),
            }
        )
    return rows


def markdown(table: pd.DataFrame) -> str:
    """Return coverage in percent and, in brackets, median bias, of both exposures: a row a method."""
    lines = ["| method | " + " | ".join(SCENARIOS) + " |", "|---|" + "--:|" * len(SCENARIOS)]
    for method, rows in table.groupby("method", sort=False):
        cells = []
        for scenario in SCENARIOS:
            both = rows[rows["scenario"] == scenario]
            share = ", ".join(f"{100 * c:.0f}" for c in both["coverage"])
            cells.append(f"{share} ({', '.join(f'{b:+.2f}' for b in both['bias_median'])})")
        lines.append(f"| `{method}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
