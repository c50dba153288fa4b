"""Are tests of a linear mixed model calibrated? With power, intervals and heritability beside the truth.

    python simulations/lmm.py --out results/lmm [--arms null small power heritability] [--rounds 20] [--processes 2]

Siblings in families of four; 10 traits of h2 0.5, whose polygenic effects lie on three of four chromosomes; the fourth
is tested. `null`: 20 cohorts of 1,000, 5,000 variants without effect each. `small`: 40 cohorts of 100. `power`: 5
cohorts of 1,000, 10 variants of the fourth chromosome with 1 % of a trait's variance each. `heritability`: 200 traits
a true h2. Prints Markdown tables; writes what they are made of, and a figure.
"""

import argparse
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from lmm_rounds import DESIGNS, NONE, ROUNDS, WITH, WITHOUT, Round, run_round
from scipy import stats

from deepmr.report.style import CYCLE, DPI, MUTED, WIDTH, new_figure, settle, styled

LEVELS = (1e-2, 1e-3, 1e-4)
SAID = {"f": "F", "wald": "Wald", "lrt": "likelihood ratio", "score": "score"}
MEDIAN = stats.chi2.ppf(0.5, 1)


def main() -> None:
    """Run the rounds of every arm; print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=list(DESIGNS), choices=list(DESIGNS))
    parser.add_argument("--rounds", type=int, help="of every arm, where other than its own")
    parser.add_argument("--variants", type=int, help="of every cohort, where other than its own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    with ProcessPoolExecutor(arguments.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for arm in arguments.arms:
            seeds = range(arguments.seed, arguments.seed + (arguments.rounds or ROUNDS[arm]))
            futures = [pool.submit(run_round, arm, seed, variants=arguments.variants) for seed in seeds]
            table = report(arm, [future.result() for future in futures], arguments.out)
            print(f"\n{arm}\n\n{table}", flush=True)


def report(arm: str, rounds: list[Round], out: Path) -> str:
    """Write what rounds of an arm found and return its table."""
    if arm == "power":
        rows = pd.concat([one.rows for one in rounds], ignore_index=True)
        rows.to_csv(out / "power.tsv", sep="\t", index=False)
        return power_table(rows)
    if arm == "heritability":
        rows = pd.concat([one.rows for one in rounds], ignore_index=True)
        rows.to_csv(out / "heritability.tsv", sep="\t", index=False)
        return heritability_table(rows)
    found = calibration([one.pvalues for one in rounds])
    found.to_csv(out / f"{arm}.tsv", sep="\t", index=False)
    pooled = {key: np.concatenate([one.pvalues[key] for one in rounds]) for key in rounds[0].pvalues}
    draw_quantiles({key: values for key, values in pooled.items() if key[1] == "f"}, out / f"{arm}.png")
    return calibration_table(found)


def lambda_gc(pvalues: np.ndarray) -> float:
    """Return the median chi-square of P values over that of no effect."""
    return float(stats.chi2.isf(np.median(pvalues), 1) / MEDIAN)


def calibration(rounds: list[Mapping[tuple[str, str], np.ndarray]]) -> pd.DataFrame:
    """Return a row a relationship matrix and test: lambda and shares of small P values, with errors between rounds."""
    rows = []
    for matrix, test in rounds[0]:
        each = [one[matrix, test] for one in rounds]
        together = np.concatenate(each)
        lambdas = np.array([lambda_gc(values) for values in each])
        row = {"matrix": matrix, "test": test, "tests": len(together), "lambda": lambda_gc(together)}
        row["lambda_se"] = lambdas.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan
        for level in LEVELS:
            shares = np.array([np.mean(values < level) for values in each])
            row[f"below_{level:g}"] = float(np.mean(together < level))
            row[f"below_{level:g}_se"] = shares.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def calibration_table(found: pd.DataFrame) -> str:
    """Return the table of calibration; shares of P values are in units of their level, errors in brackets."""
    levels = [f"{level:g}" for level in LEVELS]
    lines = [
        "| relationship matrix | test | tests | lambda GC | " + " | ".join(f"P < {x}, times" for x in levels) + " |",
        "|---|---|--:|--:|" + "--:|" * len(levels),
    ]
    for row in found.to_dict("records"):
        shares = [f"{row[f'below_{x}'] / float(x):.2f} ({row[f'below_{x}_se'] / float(x):.2f})" for x in levels]
        lines.append(
            f"| {row['matrix']} | {SAID[row['test']]} | {row['tests']:,} | {row['lambda']:.3f} "
            f"({row['lambda_se']:.3f}) | " + " | ".join(shares) + " |"
        )
    return "\n".join(lines)


def power_table(rows: pd.DataFrame) -> str:
    """Return a row a relationship matrix: chi-square of causal variants, power, and what intervals hold."""
    lines = [
        "| relationship matrix | variants | mean chi-square | P < 1e-4 | P < 5e-8 | beta / truth | intervals hold |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for matrix in (WITHOUT, WITH, NONE):
        mine = rows[rows["matrix"] == matrix]
        slope = (mine["beta"] * mine["truth"]).sum() / (mine["truth"] ** 2).sum()
        lines.append(
            f"| {matrix} | {len(mine)} | {mine['chi_sq'].mean():.1f} | {percent(mine['pvalue'] < 1e-4)} | "
            f"{percent(mine['pvalue'] < 5e-8)} | {slope:.3f} | {percent(mine['held'])} |"
        )
    return "\n".join(lines)


def heritability_table(rows: pd.DataFrame) -> str:
    """Return a row a kind of samples and true h2: estimates, their errors, and what h2 +- 1.96 errors hold."""
    lines = [
        "| samples | true h2 | traits | mean h2 | SD of h2 | median SE | at a bound | h2 +- 1.96 SE hold |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for (samples, truth), mine in rows.groupby(["samples", "truth"], sort=False):
        inside = mine[mine["se"].notna()]
        held = (inside["h_sq"] - truth).abs() <= 1.959964 * inside["se"]
        lines.append(
            f"| {samples} | {truth:g} | {len(mine)} | {mine['h_sq'].mean():.3f} | {mine['h_sq'].std():.3f} | "
            f"{inside['se'].median():.3f} | {len(mine) - len(inside)} | {percent(held)} |"
        )
    return "\n".join(lines)


def percent(true: pd.Series) -> str:
    """Return a share in percent, with its binomial error."""
    share = float(true.mean())
    return f"{100 * share:.1f} % ({100 * np.sqrt(share * (1 - share) / max(len(true), 1)):.1f})"


@styled
def draw_quantiles(pvalues: Mapping[tuple[str, str], np.ndarray], path: Path) -> None:
    """Draw observed against expected P values of the F test, a line a relationship matrix."""
    figure = new_figure(WIDTH / 2, WIDTH / 2)
    axes = figure.subplots()
    for k, ((matrix, _), values) in enumerate(pvalues.items()):
        observed = -np.log10(np.sort(values))
        expected = -np.log10((np.arange(len(values)) + 0.5) / len(values))
        shown = np.unique(np.geomspace(1, len(values), 400).astype(int)) - 1
        axes.plot(expected[shown], observed[shown], ".-", ms=3, lw=1, color=CYCLE[k], label=matrix)
    axes.axline((0, 0), slope=1, color=MUTED, lw=0.8, zorder=0)
    axes.set_xlabel("expected −log10 P")
    axes.set_ylabel("observed −log10 P")
    axes.legend(title="relationship matrix", fontsize=7, title_fontsize=7)
    settle(figure).savefig(path, dpi=DPI)


if __name__ == "__main__":
    main()
