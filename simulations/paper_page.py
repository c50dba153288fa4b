"""From the rows of all rounds to the tables and figures of docs/paper.md, with the published numbers beside ours."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from paper_rounds import SCENARIOS

from deepmr.report.style import PALETTE, styled

STRONG = 5.0  # gamma above it: the cluster of strong effects
# Recomputed from the published rounds (Malina, Cizin and Knowles 2022, doi:10.1371/journal.pcbi.1009880): robust Egger,
# random effects. `both` had no final per-round table; its numbers are of an earlier output of the same data.
PUBLISHED = {
    "unconfounded": {"r2": 0.972, "coverage": 0.52, "local": 0.87, "r_strong": -0.07, "bias_strong": -0.069},
    "random": {"r2": 0.974, "coverage": 0.30, "local": 0.81, "r_strong": 0.20, "bias_strong": 0.134},
    "sequence": {"r2": 0.927, "coverage": 0.14, "local": 0.87, "r_strong": 0.54, "bias_strong": -0.381},
    "both": {"r2": 0.498, "coverage": 0.06, "local": 0.81, "r_strong": np.nan, "bias_strong": -0.915},
}
KEY = ("scenario", "method", "estimand", "interval", "labels", "weights", "definition")


def summarise(rows: pd.DataFrame, by: Sequence[str] = KEY) -> pd.DataFrame:
    """Return a row a setting: how close the effects are to the truth over rounds, and how often intervals hold it.

    Columns that end in `_mc` are Monte Carlo errors; rounds are the independent units.
    """
    return (
        rows.groupby(list(by), sort=False, dropna=False)
        .apply(_figures, include_groups=False)
        .reset_index()
        .astype({"rounds": int})
    )


def _figures(group: pd.DataFrame) -> pd.Series:
    truth, beta = group["true"].to_numpy(float), group["beta"].to_numpy(float)
    error, strong = beta - truth, group["gamma"].to_numpy(float) > STRONG
    covers = group["covers"].astype(float)
    # Draws of labels within a round are no rounds of their own.
    by_round = pd.DataFrame({"round": group["round"], "covers": covers, "local": group["local_coverage"]})
    each = by_round.groupby("round").mean()
    n = len(each)
    return pd.Series(
        {
            "rounds": n,
            "r2": 1 - np.sum(error**2) / np.sum((truth - truth.mean()) ** 2),
            "rmse": np.sqrt(np.mean(error**2)),
            "coverage": covers.mean(),
            "coverage_mc": _mc(each["covers"], at_least=1 / n),
            "width": float(np.median(group["ci_high"] - group["ci_low"])),
            "local": group["local_coverage"].mean(),
            "local_mc": _mc(each["local"], at_least=0.0),
            "local_rmse": np.sqrt(np.mean(group["local_rmse"].to_numpy(float) ** 2)),
            "new_locus": group["new_locus_coverage"].mean(),
            "r_strong": _pearson(beta[strong], truth[strong]),
            "bias_strong": error[strong].mean() if strong.any() else np.nan,
            "bias_strong_mc": _mc_mean(error[strong], group["round"].to_numpy()[strong]),
            "rmse_strong": np.sqrt(np.mean(error[strong] ** 2)) if strong.any() else np.nan,
            "bias_weak": error[~strong].mean() if (~strong).any() else np.nan,
            "coverage_strong": covers[strong].mean(),
            "loci": group["n_loci"].mean(),
            "dropped": (group["n_candidates"] - group["n_loci"]).mean(),
        }
    )


def _mc(values: pd.Series, *, at_least: float) -> float:
    """Standard error of a mean over rounds; a share of 0 or 1 has at least that of one round that differs."""
    n = len(values)
    spread = float(values.std(ddof=1)) / np.sqrt(n) if n > 1 else np.nan
    return max(spread, at_least) if n > 1 and values.mean() in (0.0, 1.0) else spread


def _mc_mean(values: np.ndarray, rounds: np.ndarray) -> float:
    each = pd.Series(values).groupby(rounds).mean()
    return float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else np.nan


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 2 else np.nan


COLUMNS: dict[str, Callable[[pd.Series], str]] = {
    "R2 about the identity": lambda r: f"{r['r2']:.4f}",
    "interval covers": lambda r: f"{r['coverage']:.2f} ± {r['coverage_mc']:.2f}",
    "its width": lambda r: f"{r['width']:.3f}",
    "local covers": lambda r: f"{r['local']:.3f} ± {r['local_mc']:.3f}",
    "new locus": lambda r: f"{r['new_locus']:.3f}",
    "r, strong": lambda r: f"{r['r_strong']:.3f}",
    "bias, strong": lambda r: f"{r['bias_strong']:+.3f} ± {r['bias_strong_mc']:.3f}",
}


def page(rows: pd.DataFrame) -> str:
    """Return the tables of docs/paper.md as Markdown: the goals, every method, interval and budget of labels."""
    found = summarise(rows)
    averaged = found[(found["definition"] == "averaged") & (found["weights"] == "equal")]
    default = averaged[averaged["method"] == "ivw"]
    model = default[(default["estimand"] == "model") & (default["interval"] == "moderated")]
    calibrated = default[default["labels"] == "100 x 5"]
    own = default[default["labels"] == "training set"]
    lines = [f"Rounds: {', '.join(f'{s} {n}' for s, n in model[['scenario', 'rounds']].itertuples(index=False))}.\n"]
    lines.append("**The default, IVW**, and the published numbers (robust Egger, ±2 standard errors):\n")
    lines.append(_beside(model, calibrated, own))
    for title, part, names in (
        ("**Every method, effect in the model:**", averaged[averaged["interval"] == "moderated"], ["method"]),
        ("**Every method, calibrated, 100 loci x 5 edits:**", averaged[averaged["labels"] == "100 x 5"], ["method"]),
        ("**Intervals of the effect in the model, IVW:**", default[default["estimand"] == "model"], ["interval"]),
        ("**Labels: loci x edits, or the variants of the training set, IVW:**",
         default[default["estimand"] == "calibrated"], ["labels"]),
    ):  # fmt: skip
        lines.append(f"{title}\n\n{_table(part, ['scenario', *names])}")
    odd = found[(found["method"] == "ivw") & (found["estimand"] == "model") & (found["interval"] != "mean")]
    odd = odd[(odd["definition"] != "averaged") | (odd["weights"] != "equal")]
    lines.append("**IVW against the truth of the released code, and with other weights:**\n")
    lines.append(_table(odd, ["scenario", "interval", "weights", "definition"]))
    return "\n".join(lines)


def _beside(model: pd.DataFrame, calibrated: pd.DataFrame, own: pd.DataFrame) -> str:
    """Return a row a scenario and source: published, in the model, calibrated."""
    lines = ["| scenario | | " + " | ".join(COLUMNS) + " |", "|---|---|" + "--:|" * len(COLUMNS)]
    for scenario in SCENARIOS:
        there = PUBLISHED[scenario]
        told = (there["r2"], there["coverage"], np.nan, there["local"], np.nan, there["r_strong"], there["bias_strong"])
        cells = [f"{value:.3g}" if np.isfinite(value) else "-" for value in told]
        lines.append(f"| {scenario} | published | " + " | ".join(cells) + " |")
        sources = (
            ("in the model", model),
            ("100 loci x 5 labelled edits", calibrated),
            ("training set's variants", own),
        )
        for name, part in sources:
            for _, row in part[part["scenario"] == scenario].iterrows():
                lines.append("| | " + name + " | " + " | ".join(cell(row) for cell in COLUMNS.values()) + " |")
    return "\n".join(lines) + "\n"


def _table(found: pd.DataFrame, names: Sequence[str]) -> str:
    """Return a Markdown table, a row for each of `found`, with the measures after the names."""
    order = found.assign(place=found["scenario"].map(SCENARIOS.index)).sort_values("place", kind="stable")
    lines = ["| " + " | ".join([*names, *COLUMNS]) + " |", "|" + "---|" * len(names) + "--:|" * len(COLUMNS)]
    for _, row in order.iterrows():
        cells = [str(row[name]) for name in names] + [cell(row) for cell in COLUMNS.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


@styled
def draw_rounds(rows: pd.DataFrame, out: Path, *, title: str) -> None:
    """Draw every round's effect less the truth against the truth, a panel a scenario."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    figure.suptitle(title, fontsize=10, ha="left", x=0.01)
    axes = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    for place, scenario in zip(axes, SCENARIOS, strict=True):
        mine = rows[rows["scenario"] == scenario]
        error = (mine["beta"] - mine["true"]).to_numpy(float)
        low, high = ((mine[name] - mine["true"]).to_numpy(float) for name in ("ci_low", "ci_high"))
        hit = mine["covers"].to_numpy(bool)
        for mask, colour, label in ((hit, "blue", "covers"), (~hit, "vermillion", "misses")):
            place.errorbar(
                mine["true"][mask],
                error[mask],
                yerr=[error[mask] - low[mask], high[mask] - error[mask]],
                fmt="o",
                ms=3,
                lw=0.8,
                color=PALETTE[colour][0],
                label=f"{label}: {int(mask.sum())}",
            )
        place.axhline(0, color=PALETTE["ink"][0], lw=0.8)
        place.set_title(scenario)
        place.legend(loc="upper left")
    for place in axes[2:]:
        place.set_xlabel("true effect, mean over the loci")
    for place in axes[::2]:
        place.set_ylabel("estimate - truth")
    figure.savefig(out, dpi=150)
