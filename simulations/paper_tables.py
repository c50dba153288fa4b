"""Tables of docs/paper.md beside those by method: goals, ablation, directions, members, and the further arms."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from paper_page import PUBLISHED, STRONG, summarise
from paper_rounds import SCENARIOS

OWN = "training set's edits"


def goals(found: Mapping[str, pd.DataFrame]) -> str:
    """Return the goals and what was reached, a row a goal and a column a scenario.

    Parameters
    ----------
    found : rows by what was measured: `main`, and where they are there `null`, `members` and `directions`.
    """
    every = summarise(found["main"]).query("definition == 'averaged' and weights == 'equal'")
    robust = every.query("method == 'egger_robust' and interval == 'moderated'").set_index("scenario")
    default = every[every["method"] == "ivw"]
    model = default[(default["estimand"] == "model") & (default["interval"] == "moderated")].set_index("scenario")
    labels = default[default["labels"] == "100 x 5"].set_index("scenario")
    own = default[default["labels"] == "training set"].set_index("scenario")
    plain, percent = "{:.4f}".format, "{:.2f}".format
    lines = [
        _row("R2 about the identity: published, robust Egger", "", lambda s: f"{PUBLISHED[s]['r2']:.3f}"),
        _row("our networks, robust Egger, in the model", "", lambda s: f"{robust.loc[s, 'r2']:.3f}"),
        _row("IVW, the default, here and below: in the model", ">= .99", lambda s: plain(model.loc[s, "r2"])),
        _row("calibrated, 100 loci x 5 edits", ">= .999", lambda s: plain(labels.loc[s, "r2"])),
        _row("calibrated, the training set's edits", "", lambda s: plain(own.loc[s, "r2"])),
        _row("Interval covers the effect in the data: published", "", lambda s: percent(PUBLISHED[s]["coverage"])),
        _row("calibrated, 100 loci x 5 edits", ".92 to .98", lambda s: _share(labels.loc[s], "coverage")),
        _row("calibrated, the training set's edits", "", lambda s: _share(own.loc[s], "coverage")),
        _row("in the model", "(to be said)", lambda s: _share(model.loc[s], "coverage")),
    ]  # fmt: skip
    if "members" in found:
        lines += _of_members(found["members"])
    lines += [
        _row("Local intervals cover: published, misaligned", "", lambda s: percent(PUBLISHED[s]["local"])),
        _row("calibrated, 100 loci x 5 edits", ".92 to .98", lambda s: f"{labels.loc[s, 'local']:.3f}"),
        _row("in the model", ">= .88", lambda s: f"{model.loc[s, 'local']:.3f}"),
        _row("r, strong effects: published", "", lambda s: _or_dash(PUBLISHED[s]["r_strong"], "{:.2f}")),
        _row("in the model", ">= .8", lambda s: percent(model.loc[s, "r_strong"])),
        _row("calibrated, 100 loci x 5 edits", ">= .8", lambda s: percent(labels.loc[s, "r_strong"])),
        _row("Bias, strong effects: published", "", lambda s: f"{PUBLISHED[s]['bias_strong']:+.2f}"),
        _row("calibrated, 100 loci x 5 edits", "<= .02", lambda s: _bias(labels.loc[s])),
        _row("calibrated, the training set's edits", "", lambda s: _bias(own.loc[s])),
        _row("in the model", "<= .05 unconfounded", lambda s: _bias(model.loc[s])),
        _row("Prediction interval, new locus: model", ".92 to .98", lambda s: f"{model.loc[s, 'new_locus']:.3f}"),
        _row("calibrated, 100 loci x 5 edits", ".92 to .98", lambda s: f"{labels.loc[s, 'new_locus']:.3f}"),
    ]  # fmt: skip
    if "null" in found:
        lines += _of_null(found["null"])
    if "directions" in found:
        lines += _of_directions(found["directions"])
    head = [f"| | goal | {' | '.join(SCENARIOS)} |", "|---|---|" + "--:|" * len(SCENARIOS)]
    return "\n".join([*head, *lines]) + "\n"


def _row(name: str, goal: str, cell: Callable[[str], str]) -> str:
    return f"| {name} | {goal} | {' | '.join(cell(scenario) for scenario in SCENARIOS)} |"


def _or_dash(value: float, form: str) -> str:
    return form.format(value) if np.isfinite(value) else "-"


def _share(row: pd.Series, name: str) -> str:
    return f"{row[name]:.2f} ± {row[f'{name}_mc']:.2f}"


def _bias(row: pd.Series) -> str:
    return f"{row['bias_strong']:+.3f} ± {row['bias_strong_mc']:.3f}"


def _of_members(rows: pd.DataFrame) -> list[str]:
    five = rows[rows["members"] == 5].groupby(["interval", "of", "scenario"])["covers"].mean()
    names = (
        ("Interval of five members covers the other 45's mean", ".92 to .98", "moderated", "others"),
        ("covers one more network's effect", ".92 to .98", "moderated", "one more"),
        ("`--interval mean` covers the other 45's mean", ".92 to .98", "mean", "others"),
    )
    there = set(rows["scenario"])
    return [
        _row(name, goal, lambda s, i=interval, o=of: f"{five[i, o, s]:.2f}" if s in there else "-")
        for name, goal, interval, of in names
    ]


def _of_null(rows: pd.DataFrame) -> list[str]:
    default = rows[(rows["method"] == "ivw") & (rows["weights"] == "equal") & (rows["definition"] == "averaged")]
    lines = []
    for name, part in (
        ("No effect: mean is called one, in the model", default[default["interval"] == "moderated"]),
        ("calibrated, 100 loci x 5 edits", default[default["labels"] == "100 x 5"]),
        ("single loci are called one, in the model", default[default["interval"] == "moderated"]),
    ):
        column = "local_coverage" if "single" in name else "covers"
        share = 1 - part.groupby("scenario")[column].mean()
        rounds = part.groupby("scenario")["round"].nunique()
        lines.append(
            _row(name, "3 to 7 %", lambda s, v=share, n=rounds: f"{v[s]:.3f} ({n[s]} rounds)" if s in v else "-")
        )
    return lines


def _of_directions(rows: pd.DataFrame) -> list[str]:
    reverse = rows[rows["direction"] == "reverse"]
    lines = []
    for assign, name in (
        ("none", "Outcome on exposure is called an effect"),
        ("steiger", "the same after `--assign steiger`"),
    ):
        mine = reverse[reverse["assign"] == assign].groupby("scenario")
        rate, loci = mine["excludes_0"].mean(), mine["local_excludes_0"].mean()
        goal = "3 to 7 %" if assign == "steiger" else ""
        lines.append(_row(f"{name}: mean (loci)", goal, lambda s, a=rate, b=loci: f"{a[s]:.2f} ({b[s]:.3f})"))
    return lines


def ablation(rows: pd.DataFrame) -> str:
    """Return what each part of the default is for: a row a part, all scenarios together and the strong bias of each."""
    head = [
        "R2 about the identity, worst scenario",
        "mean is covered",
        "local, covered",
        *(f"bias, {s}" for s in SCENARIOS),
    ]
    lines = ["| with | " + " | ".join(head) + " |", "|---|" + "--:|" * len(head)]
    for line, mine in rows.groupby("line", sort=False):
        each = mine.groupby("scenario").apply(_r2, include_groups=False)
        strong = mine[mine["gamma"] > STRONG]
        bias = (strong["beta"] - strong["true"]).groupby(strong["scenario"]).mean()
        cells = [f"{each.min():.3f}", f"{mine['covers'].mean():.2f}", f"{mine['local_coverage'].mean():.2f}"]
        cells += [f"{bias[s]:+.2f}" if s in bias else "-" for s in SCENARIOS]
        lines.append(f"| {line} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _r2(group: pd.DataFrame) -> float:
    error, truth = group["beta"] - group["true"], group["true"]
    return float(1 - np.sum(error**2) / np.sum((truth - truth.mean()) ** 2))


def directions(rows: pd.DataFrame) -> str:
    """Return how often either direction is called an effect, by how edits are assigned to a task."""
    return table(
        rows.assign(found=rows["excludes_0"].astype(float)),
        ["scenario", "direction", "assign"],
        {"rounds": ("beta", "size", "{:.0f}"), "loci a round": ("n_loci", "mean", "{:.0f}"),
         "mean effect": ("beta", "mean", "{:+.3f}"), "rounds that call it an effect": ("found", "mean", "{:.2f}"),
         "loci that do": ("local_excludes_0", "mean", "{:.3f}")},
    )  # fmt: skip


def exposure_only(rows: pd.DataFrame) -> str:
    """Return the pooled ratio at loci with the exposure's motif alone beside the truth."""
    rows = rows.assign(error=rows["beta"] - rows["true"], covers=rows["covers"].astype(float))
    rows["cluster"] = np.where(rows["gamma"] > STRONG, "about 10", "about 1")
    return table(
        rows,
        ["scenario", "cluster"],
        {"rounds": ("beta", "size", "{:.0f}"), "loci a round": ("n_loci", "mean", "{:.0f}"),
         "truth": ("true", "mean", "{:.3f}"), "bias": ("error", "mean", "{:+.3f}"),
         "interval covers": ("covers", "mean", "{:.2f}"), "local covers": ("local_coverage", "mean", "{:.3f}")},
    )  # fmt: skip


def members(rows: pd.DataFrame) -> str:
    """Return what ensembles of several sizes hold: the others' mean, one more network, the effect in the data."""
    rows = rows.assign(
        covers=rows["covers"].astype(float), error=rows["beta"] - rows["true"], width=rows["ci_high"] - rows["ci_low"]
    )
    head = ("ensembles", "interval", "others' mean", "one more network", "effect in the data", "bias, data", "width")
    head = ("members", *head, "local: others' mean, data")
    lines = ["| " + " | ".join(head) + " |", "|" + "--:|" * len(head)]
    for (size, interval), mine in rows.groupby(["members", "interval"], sort=False):
        of = mine.groupby("of")
        covers, local = of["covers"].mean(), of["local_coverage"].mean()
        n = int((mine["of"] == "data").sum())
        lines.append(
            f"| {size} | {n} | {interval} | {covers['others']:.2f} | {covers['one more']:.2f} | {covers['data']:.2f} | "
            f"{of['error'].mean()['data']:+.3f} | {of['width'].median()['data']:.3f} | "
            f"{local['others']:.3f}, {local['data']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def bootstrap(rows: pd.DataFrame) -> str:
    """Return what resampled members add to the interval of the seeds."""
    rows = rows.assign(covers=rows["covers"].astype(float), width=rows["ci_high"] - rows["ci_low"])
    return table(
        rows,
        ["scenario", "interval"],
        {"rounds": ("beta", "size", "{:.0f}"), "covers the effect in the data": ("covers", "mean", "{:.2f}"),
         "width": ("width", "median", "{:.3f}"), "local covers": ("local_coverage", "mean", "{:.3f}")},
    )  # fmt: skip


def arm(rows: pd.DataFrame, by: Sequence[str]) -> str:
    """Return the default of an arm, in the model and calibrated, beside the truth."""
    chosen = rows[(rows["method"] == "ivw") & (rows["weights"] == "equal") & (rows["definition"] == "averaged")]
    chosen = chosen[(chosen["interval"] == "moderated") | chosen["labels"].isin(["100 x 5", "training set"])]
    chosen = chosen.assign(
        source=chosen["labels"].map({"none": "in the model", "100 x 5": "100 loci x 5 edits"}).fillna(OWN),
        error=chosen["beta"] - chosen["true"],
        covers=chosen["covers"].astype(float),
    )  # fmt: skip
    return table(
        chosen,
        [*by, "source"],
        {"rounds": ("round", "nunique", "{:.0f}"), "truth": ("true", "mean", "{:.3f}"),
         "bias": ("error", "mean", "{:+.3f}"),
         "interval covers": ("covers", "mean", "{:.2f}"), "local covers": ("local_coverage", "mean", "{:.3f}"),
         "new locus": ("new_locus_coverage", "mean", "{:.3f}"), "share explained": ("explained", "mean", "{:.3f}")},
    )  # fmt: skip


def table(rows: pd.DataFrame, by: Sequence[str], columns: Mapping[str, tuple[str, str, str]]) -> str:
    """Return a Markdown table, a row a group: for each column, what is summarised, how, and its format."""
    lines = ["| " + " | ".join([*by, *columns]) + " |", "|" + "---|" * len(by) + "--:|" * len(columns)]
    for key, mine in rows.groupby(list(by), sort=False):
        cells = [form.format(mine[name].agg(how)) for name, how, form in columns.values()]
        lines.append("| " + " | ".join([*(str(k) for k in key), *cells]) + " |")
    return "\n".join(lines) + "\n"
