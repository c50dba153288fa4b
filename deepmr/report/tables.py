"""The answers of a run in words, and its tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepmr.report import words
from deepmr.report.content import Cell, Grid, Run, count_cell, number_cell
from deepmr.report.diagnosed import badge, opening, pointer, unmended
from deepmr.report.forest import by_pair
from deepmr.report.verdicts import Verdict

MAX_NAMES = 6  # marks that the question names
MAX_CARDS = 6  # pairs in the headline
MAX_ROWS = 500  # of the table of local estimates


def headline(run: Run, verdicts: Sequence[Verdict] = ()) -> list[dict[str, str]]:
    """Return the answers in words, one a pair; of many pairs those furthest from 0 in standard errors.

    Parameters
    ----------
    run : what the page shows.
    verdicts : what is thought of each pair.
    """
    table = run.headline.table
    if len(table) > MAX_CARDS:
        strength = (table["beta"] / table["se"].where(table["se"] > 0)).abs()
        table = table.loc[strength.sort_values(ascending=False).index[:MAX_CARDS]]
    units = {task.name: words.UNITS[task.scale] for task in run.tasks}
    judged = {(one.exposure, one.outcome, one.estimand): one for one in verdicts}
    others = {(one["exposure"], one["outcome"], one["estimand"]): one for one in run.leads.table.to_dict("records")}
    keys = table[["exposure", "outcome", "estimand"]].itertuples(index=False, name=None)
    return [
        _card(row, units, by_pair(run.truth), judged.get(key), others.get((key[0], key[1], "model")))
        for key, row in zip(keys, table.to_dict("records"), strict=True)
    ]


def _card(
    row: Mapping[Any, Any],
    units: dict[str, str],
    truth: dict[tuple[str, str], float],
    verdict: Verdict | None,
    in_model: Mapping[Any, Any] | None,
) -> dict[str, str]:
    level = words.percent(row.get("level", 0.95))
    notes = [f"{words.method_name(row['method'])}, {words.count(int(row['n']), 'locus')}"]
    if np.isfinite(row.get("pi_low", np.nan)):
        span = words.span(row["pi_low"], row["pi_high"])
        notes.append(f"at a new locus: {span} ({level} prediction interval)")
    if in_model is not None and row["estimand"] == "calibrated":
        notes.append(f"{words.EFFECTS['model']}: {words.estimate(in_model)}")
    if (row["exposure"], row["outcome"]) in truth:
        true = truth[row["exposure"], row["outcome"]]
        held = "inside" if row["ci_low"] <= true <= row["ci_high"] else "outside"
        notes.append(f"true effect: {words.number(true)}, {held} the interval")
    change = f"{'rises' if row['beta'] >= 0 else 'falls'} by {words.number(abs(row['beta']))}"
    unit = f"{units.get(row['outcome'], 'unit')}s"
    changed = "a variant" if row["estimand"] == "population" else "an edit"
    unsure = verdict is not None and verdict.questioned
    sentence = (
        f"here {changed} raises {row['exposure']} by 1 {units.get(row['exposure'], 'unit')}, "
        f"{row['outcome']} {change} {unit} on average over loci, {words.WHERE[row['estimand']]}."
    )
    return {
        "what": "Estimate for an effect" if unsure else "Effect",
        "exposure": row["exposure"],
        "outcome": row["outcome"],
        "where": words.WHERE[row["estimand"]],
        "value": words.number(row["beta"]),
        "grade": badge(verdict),
        "label": verdict.label if verdict else "",
        "ci": f"{level} CI {words.span(row['ci_low'], row['ci_high'])}",
        "notes": "; ".join(notes),
        "opening": opening(verdict) if verdict else "",
        "unmended": unmended(verdict) if verdict else "",
        "pointer": pointer(verdict) if verdict else "",
        "sentence": f"Read as an effect, which is not shown, it would say: w{sentence}" if unsure else f"W{sentence}",
    }


def question(run: Run) -> str:
    """Return what was asked, for the head of the page."""
    frames = [run.pooled.table, run.local.table, run.local.skipped]
    pairs = pd.concat([frame[["exposure", "outcome"]] for frame in frames]).drop_duplicates()
    asked = list(pairs.itertuples(index=False, name=None))
    if len(asked) == 1:
        return f"Does {asked[0][0]} drive {asked[0][1]}?"
    if len(asked) == 2 and asked[0] == asked[1][::-1]:
        return f"Does {asked[0][0]} drive {asked[0][1]}, or {asked[1][0]} drive {asked[1][1]}?"
    names = list(dict.fromkeys(name for pair in asked for name in pair))
    if not names:
        return "Which mark drives which?"
    return f"Which of {', '.join(names[:MAX_NAMES])}{' and others' if len(names) > MAX_NAMES else ''} drives which?"


def verdict_table(verdicts: Sequence[Verdict]) -> Grid:
    """Return what is thought of each pair as a table, for pages of many pairs.

    Parameters
    ----------
    verdicts : one a pair.
    """
    rows = [
        [Cell(text=one.exposure), Cell(text=one.outcome), Cell(text=one.label), Cell(text=one.sentence)]
        for one in verdicts
    ]
    return Grid(caption="Every pair, judged.", columns=["exposure", "outcome", "verdict", "in words"], rows=rows)


def global_table(run: Run) -> Grid:
    """Return the pooled estimates as a table."""
    table = run.pooled.table
    optional = {"pi_low": "prediction interval", "tau2": "τ", "i2": "I²", "fdr": "FDR"}
    shown = [name for name in optional if name in table and table[name].notna().any()]
    rows = []
    for row in table.to_dict("records"):
        spread = [_heterogeneity(name, row) for name in shown]
        rows.append([*who_cells(row), *estimand_cell(row), *effect_cells(row), *spread, count_cell(int(row["n"]))])
    names = [
        "exposure",
        "outcome",
        "method",
        "estimand",
        f"effect ({level_of(table)} CI)",
        "SE",
        "P",
        *(optional[n] for n in shown),
    ]
    meaning = " τ: standard deviation of the effect between loci." if "tau2" in shown else ""
    meaning += " FDR: false-discovery rate at which a pair counts as found." if "fdr" in shown else ""
    caption = f"Global effects {where_of(table)} ({run.pooled_name}).{meaning}"
    return Grid(caption=caption, columns=[*names, "loci"], rows=rows)


def local_table(run: Run) -> Grid:
    """Return the estimates at single loci as a table: those behind the answers first, pairs taking turns."""
    table, cut = run.local.table, ""
    answers = run.headline.table.set_index(["exposure", "outcome", "method", "estimand"]).index
    behind = table.set_index(answers.names).index.isin(answers)
    table = _in_turns(table, behind)
    if len(table) > MAX_ROWS:
        which = "the answers' method and estimand first, then those with the most instruments of each pair"
        if behind.sum() >= MAX_ROWS:
            which = "those of the answers' method and estimand with the most instruments of each pair"
        table = table.head(MAX_ROWS)
        cut = f" Shown are {MAX_ROWS} of {len(run.local):,} ({which}); all are in {run.local_name}."
    rows = [
        [Cell(text=row["locus"]), *who_cells(row), *estimand_cell(row), *effect_cells(row), count_cell(int(row["n"]))]
        for row in table.to_dict("records")
    ]
    effect = f"effect ({level_of(table)} CI)"
    columns = ["locus", "exposure", "outcome", "method", "estimand", effect, "SE", "P", "instruments"]
    return Grid(caption=f"Effects at single loci, {where_of(table)}.{cut}", columns=columns, rows=rows)


def _in_turns(table: pd.DataFrame, first: np.ndarray) -> pd.DataFrame:
    """Order estimates so that the first rows hold every pair: the locus with the most instruments of each, then on."""
    keyed = table.reset_index(drop=True).assign(first=first)
    best = keyed.sort_values(["first", "n"], ascending=False, kind="stable")
    keyed["turn"] = best.groupby(["first", "exposure", "outcome"]).cumcount()  # joined by row
    order = keyed.sort_values(["first", "turn"], ascending=[False, True], kind="stable").index
    return table.iloc[order]


def who_cells(row: Mapping[Any, Any]) -> list[Cell]:
    """Return exposure, outcome and method of a row of estimates."""
    return [Cell(text=row["exposure"]), Cell(text=row["outcome"]), Cell(text=words.method_name(row["method"]))]


def estimand_cell(row: Mapping[Any, Any]) -> list[Cell]:
    """Return what the effect of a row of estimates is one in."""
    return [Cell(text=str(row["estimand"]))]


def where_of(table: pd.DataFrame) -> str:
    """Return what the effects of a table are in, as words that end a phrase: "in the model"."""
    return " and ".join(words.WHERE[name] for name in dict.fromkeys(table["estimand"])) or words.WHERE["model"]


def effect_cells(row: Mapping[Any, Any]) -> list[Cell]:
    """Return effect with interval, standard error and P value of a row of estimates."""
    beta = Cell(text=words.estimate(row), value=float(row["beta"]))
    return [beta, number_cell(row["se"]), number_cell(row["pvalue"], words.pvalue)]


def _heterogeneity(name: str, row: Mapping[Any, Any]) -> Cell:
    if name == "fdr":
        return number_cell(row["fdr"], words.pvalue)
    if name == "i2":
        return number_cell(row["i2"], words.share)
    if name == "tau2":
        return number_cell(np.sqrt(row["tau2"]))
    if not np.isfinite(row["pi_low"]):
        return Cell(text="–")
    return Cell(text=words.span(row["pi_low"], row["pi_high"]), value=float(row["pi_low"]))


def level_of(table: pd.DataFrame) -> str:
    """Return the level of the intervals in a table of estimates, as text."""
    return words.percent(float(table["level"].iloc[0])) if "level" in table and len(table) else "95 %"


def count_tables(run: Run) -> list[Grid]:
    """Return how many loci and instruments each pair used, and why loci were skipped."""
    rows = []
    for pair in run.instruments:
        counts = pair.counts
        used = counts[counts > 0]
        rows.append(
            [
                Cell(text=pair.exposure),
                Cell(text=pair.outcome),
                count_cell(len(counts)),
                count_cell(len(used)),
                count_cell(int(counts.sum())),
                number_cell(float(np.median(used)) if len(used) else np.nan),
            ]
        )
    names = ["exposure", "outcome", "loci", "loci with instruments", "instruments", "median of those loci"]
    grids = [Grid(caption="Instruments of each pair.", columns=names, rows=rows)] if rows else []
    keys = ["exposure", "outcome", "method", "reason"]
    skipped = run.local.skipped.groupby(keys, sort=False).size().sort_values(ascending=False, kind="stable")
    many = f" The {MAX_ROWS} commonest of {len(skipped):,} reasons." if len(skipped) > MAX_ROWS else ""
    if len(skipped):
        reasons = [
            [
                *who_cells(dict(zip(keys, map(str, key), strict=True))),
                Cell(text=str(key[3])),
                count_cell(int(n)),
            ]
            for key, n in zip(skipped.index, skipped.head(MAX_ROWS), strict=False)
        ]
        grids.append(Grid(caption=f"Loci without an estimate, by reason.{many}", columns=[*keys, "loci"], rows=reasons))
    return grids


def flatten(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return a nested record as lines of name and text, lists of records numbered; long texts keep their beginning."""
    lines = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            lines += flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            lines += flatten({str(k): item for k, item in enumerate(value, 1)}, f"{prefix}{name}.")
        elif value not in (None, "", [], ()) and not (isinstance(value, float) and pd.isna(value)):
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            lines.append((f"{prefix}{name}", text if len(text) <= 400 else f"{text[:400]} …"))
    return lines
