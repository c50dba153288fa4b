"""The answers of a run in words, and its tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from deepmr.report import words
from deepmr.report.content import Cell, Grid, Run, count_cell, number_cell
from deepmr.report.forest import by_pair

MAX_CARDS = 6  # pairs in the headline
MAX_ROWS = 500  # of the table of local estimates


def headline(run: Run) -> list[dict[str, str]]:
    """Return the answers in words, one a pair; of many pairs those furthest from 0 in standard errors."""
    table = run.headline.table
    if len(table) > MAX_CARDS:
        strength = (table["beta"] / table["se"].where(table["se"] > 0)).abs()
        table = table.loc[strength.sort_values(ascending=False).index[:MAX_CARDS]]
    units = {task.name: words.UNITS[task.scale] for task in run.tasks}
    return [_card(row, units, by_pair(run.truth), words.WHERE[run.estimand]) for row in table.to_dict("records")]


def _card(
    row: Mapping[Any, Any], units: dict[str, str], truth: dict[tuple[str, str], float], where: str
) -> dict[str, str]:
    level = words.percent(row.get("level", 0.95))
    notes = [f"{words.method_name(row['method'])}, {words.count(int(row['n']), 'locus')}"]
    if np.isfinite(row.get("pi_low", np.nan)):
        span = words.span(row["pi_low"], row["pi_high"])
        notes.append(f"at a new locus: {span} ({level} prediction interval)")
    if (row["exposure"], row["outcome"]) in truth:
        notes.append(f"true effect: {words.number(truth[row['exposure'], row['outcome']])}")
    change = f"{'rises' if row['beta'] >= 0 else 'falls'} by {words.number(abs(row['beta']))}"
    unit = f"{units.get(row['outcome'], 'unit')}s"
    changed = "a variant" if row["estimand"] == "population" else "an edit"
    return {
        "exposure": row["exposure"],
        "outcome": row["outcome"],
        "where": where,
        "value": words.number(row["beta"]),
        "ci": f"{level} CI {words.span(row['ci_low'], row['ci_high'])}",
        "notes": "; ".join(notes),
        "sentence": f"Where {changed} raises {row['exposure']} by 1 {units.get(row['exposure'], 'unit')}, "
        f"{row['outcome']} {change} {unit} on average over loci.",
    }


def global_table(run: Run) -> Grid:
    """Return the pooled estimates as a table."""
    table = run.pooled.table
    optional = {"pi_low": "prediction interval", "tau2": "τ", "i2": "I²"}
    shown = [name for name in optional if name in table and table[name].notna().any()]
    rows = []
    for row in table.to_dict("records"):
        spread = [_heterogeneity(name, row) for name in shown]
        rows.append([*who_cells(row), *effect_cells(row), *spread, count_cell(int(row["n"]))])
    names = [
        "exposure",
        "outcome",
        "method",
        f"effect ({level_of(table)} CI)",
        "SE",
        "P",
        *(optional[n] for n in shown),
    ]
    meaning = " τ: standard deviation of the effect between loci." if "tau2" in shown else ""
    caption = f"Global effects {words.WHERE[run.estimand]} ({run.pooled_name}).{meaning}"
    return Grid(caption=caption, columns=[*names, "loci"], rows=rows)


def local_table(run: Run) -> Grid:
    """Return the estimates at single loci as a table; of many, those with the most instruments."""
    table, cut = run.local.table, ""
    if len(table) > MAX_ROWS:
        table = table.sort_values("n", ascending=False, kind="stable").head(MAX_ROWS)
        cut = f" The {MAX_ROWS} with the most instruments of {len(run.local):,}; all are in {run.local_name}."
    rows = [
        [Cell(text=row["locus"]), *who_cells(row), *effect_cells(row), count_cell(int(row["n"]))]
        for row in table.to_dict("records")
    ]
    columns = ["locus", "exposure", "outcome", "method", f"effect ({level_of(table)} CI)", "SE", "P", "instruments"]
    return Grid(caption=f"Effects at single loci, {words.WHERE[run.estimand]}.{cut}", columns=columns, rows=rows)


def who_cells(row: Mapping[Any, Any]) -> list[Cell]:
    """Return exposure, outcome and method of a row of estimates."""
    return [Cell(text=row["exposure"]), Cell(text=row["outcome"]), Cell(text=words.method_name(row["method"]))]


def effect_cells(row: Mapping[Any, Any]) -> list[Cell]:
    """Return effect with interval, standard error and P value of a row of estimates."""
    beta = Cell(text=words.estimate(row), value=float(row["beta"]))
    return [beta, number_cell(row["se"]), number_cell(row["pvalue"], words.pvalue)]


def _heterogeneity(name: str, row: Mapping[Any, Any]) -> Cell:
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
        elif value is not None and value != "" and not (isinstance(value, float) and pd.isna(value)):
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            lines.append((f"{prefix}{name}", text if len(text) <= 400 else f"{text[:400]} …"))
    return lines
