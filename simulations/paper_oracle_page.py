"""From the rows of the arms without trained networks to the tables and the figure of docs/paper_oracle.md."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from paper_page import STRONG

from deepmr.report.style import CYCLE, DPI, styled

MEASURES: dict[str, Callable[[pd.Series], str]] = {
    "rounds": lambda r: f"{r['rounds']:.0f}",
    "loci a round": lambda r: f"{r['loci']:.0f}",
    "bias": lambda r: _signed(r["bias"], r["bias_mc"]),
    "bias, strong": lambda r: _signed(r["bias_strong"], r["bias_strong_mc"]),
    "largest error of a round": lambda r: f"{r['largest']:.4f}",
    "R2 about the identity": lambda r: "-" if np.isnan(r["r2"]) else f"{r['r2']:.6f}",
    "rmse over loci": lambda r: f"{r['local_rmse']:.3f}",
}
FOUND: dict[str, Callable[[pd.Series], str]] = {
    "rounds": lambda r: f"{r['rounds']:.0f}",
    "loci a round": lambda r: f"{r['loci']:.0f}",
    "mean effect": lambda r: f"{r['beta'] + 0.0:+.4f}".replace("-0.0000", "0.0000"),
    "truth": lambda r: f"{r['truth']:.4f}",
    "mean: interval leaves out 0": lambda r: _share(r["excludes_0"], r["excludes_0_mc"]),
    "mean: interval holds the truth": lambda r: _share(r["covers"], r["covers_mc"]),
    "locus: leaves out 0": lambda r: _share(r["local_excludes_0"], r["local_excludes_0_mc"]),
    "locus: holds the truth": lambda r: _share(r["local_covers"], r["local_covers_mc"]),
}


def blocks(oracle: pd.DataFrame, reverse: pd.DataFrame, spacing: pd.DataFrame) -> dict[str, str]:
    """Return the tables of docs/paper_oracle.md as Markdown, by the name of the block that they go to."""
    errors = oracle_errors(oracle)
    default, few = errors["instruments"] == "relative", errors["method"].isin(["ivw", "wald", "egger"])
    arm = errors["arm"]
    ways = directions(reverse[reverse["assign"] != "most"])
    return {
        "oracle": _table(errors[(arm == "main") & default], ["scenario", "method"], MEASURES),
        "oracle_motif": _table(errors[(arm == "main") & ~default & few], ["scenario", "method"], MEASURES),
        "oracle_graded": _table(errors[arm == "graded"], ["scenario", "instruments", "method"], MEASURES),
        "oracle_varying": _table(
            errors[(arm == "varying_confounder") & (default | few)], ["scenario", "instruments", "method"], MEASURES
        ),
        "oracle_null": _table(errors[(arm == "null") & few & default], ["scenario", "instruments", "method"], MEASURES),
        "reverse": _table(ways, ["scenario", "direction", "assign"], FOUND),
        "spacing": _spacing(spacing),
    }


def oracle_errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row a setting and method: how far the mean over loci is from the mean truth of the same loci."""
    return rows.groupby(["arm", "scenario", "instruments", "method"], sort=False).apply(_errors).reset_index()


def _errors(group: pd.DataFrame) -> pd.Series:
    error, truth = group["difference"].to_numpy(float), group["truth"].to_numpy(float)
    strong = error[group["gamma"].to_numpy(float) > STRONG]
    spread = np.sum((truth - truth.mean()) ** 2)
    return pd.Series(
        {
            "rounds": len(group),
            "loci": group["n_loci"].mean(),
            "bias": error.mean(),
            "bias_mc": _mc(error),
            "bias_strong": strong.mean(),
            "bias_strong_mc": _mc(strong),
            "largest": np.abs(error).max(),
            "r2": 1 - np.sum(error**2) / spread if spread > len(group) * 0.01 else np.nan,
            "local_rmse": np.sqrt(np.mean(group["rmse"].to_numpy(float) ** 2)),
        }
    )


def directions(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row a scenario, direction and assignment, and for all scenarios together: means over rounds.

    A round without effects is left out: with gamma 0 no edit is an instrument of the outcome.
    """
    rows = rows[rows["n_loci"] > 0].assign(excludes_0=rows["excludes_0"].astype(float))
    both = pd.concat([rows, rows.assign(scenario="all")], ignore_index=True)
    groups = both.groupby(["scenario", "direction", "assign"], sort=False)
    shares = groups[["excludes_0", "covers", "local_excludes_0", "local_covers"]]
    mean = groups[["n_loci", "beta", "truth", "excludes_0", "covers", "local_excludes_0", "local_covers"]].mean()
    return (
        mean.join(shares.sem().add_suffix("_mc"))
        .assign(rounds=groups.size())
        .rename(columns={"n_loci": "loci"})
        .reset_index()
    )


def _mc(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan


def _signed(value: float, error: float) -> str:
    return f"{value:+.4f} ± {error:.4f}".replace("-0.0000", "0.0000").replace("+0.0000 ", "0.0000 ")


def _share(value: float, error: float) -> str:
    return f"{value:.3f} ± {error:.3f}"


def _table(rows: pd.DataFrame, names: Sequence[str], columns: dict[str, Callable[[pd.Series], str]]) -> str:
    """Return a Markdown table, with the measures after the names."""
    lines = ["| " + " | ".join([*names, *columns]) + " |", "|" + "---|" * len(names) + "--:|" * len(columns)]
    for _, row in rows.iterrows():
        cells = [str(row[name]) for name in names] + [cell(row) for cell in columns.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _spacing(table: pd.DataFrame) -> str:
    """Return a row a bucket, a column a strength."""
    strengths = list(dict.fromkeys(table["exposure"]))
    names = [name.split(", ")[1] for name in strengths]
    lines = ["| gap | loci | " + " | ".join(names) + " |", "|---|--:|" + "---|" * len(names)]
    for (low, high), rows in table.groupby(["low", "high"], sort=False):
        cells = [
            f"{row['beta']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f}); {row['truth']:.2f}"
            for _, row in rows.set_index("exposure").loc[strengths].iterrows()
        ]
        lines.append(f"| {low:.0f} to {high:.0f} | {rows['n_loci'].iloc[0]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


@styled
def draw_spacing(table: pd.DataFrame, out: Path) -> None:
    """Draw the mean effect by the distance of the motifs beside the truth of the same loci, a colour a strength."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for colour, (name, rows) in zip(CYCLE, table.groupby("exposure", sort=False), strict=False):
        place = (rows["low"] + rows["high"]) / 2
        below, above = rows["beta"] - rows["ci_low"], rows["ci_high"] - rows["beta"]
        axes.plot(place, rows["truth"], "_", ms=22, mew=2.2, color=colour, alpha=0.45)
        axes.errorbar(place, rows["beta"], yerr=[below, above], fmt="o", ms=4, lw=1.2, color=colour)
        axes.annotate(
            str(name).split(", ")[1], (place.iloc[-1], rows["beta"].iloc[-1]), xytext=(16, 0),
            textcoords="offset points", va="center", color=colour,
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.margins(x=0.1)
    axes.set_xlabel("gap between the motifs (bases)")
    axes.set_ylabel("effect of GATA on TAL1")
    axes.set_title("Dots: estimate in the model, 95 % interval; bars: truth of the same loci")
    figure.savefig(out, dpi=DPI)
