"""The tables of a page on GWAS results: files, steps, strength, effects, instruments, and every dropped variant."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from deepmr.report import words
from deepmr.report.content import Cell, Grid, count_cell, number_cell
from deepmr.report.gwas import GwasRun
from deepmr.report.tables import effect_cells, level_of, who_cells
from deepmr.types import Instruments

MAX_ROWS = 2_000  # of one reason, or of one list of instruments
MAX_LISTED = 20_000  # variants on a page, of all such lists
STEPS = {
    "read": "usable rows",
    "significant": "significant",
    "in_outcome": "with alleles that fit in the outcome",
    "swapped": "of these with alleles swapped",
    "other_strand": "read from the other strand",
    "palindromic": "palindromic, strand settled",
    "instruments": "instruments after clumping",
}
CLUMPED = {"ld": "linkage disequilibrium", "distance": "distance", "none": "not clumped"}


def trait_tables(run: GwasRun) -> list[Grid]:
    """Return which files there were, and which column was read as what."""
    if not run.traits:
        return []
    rows = [
        [Cell(text=t.name), Cell(text=t.role), Cell(text=t.file), *map(count_cell, (t.rows, t.used, t.rows - t.used))]
        for t in run.traits
    ]
    files = Grid(caption="Files.", columns=["trait", "role", "file", "rows", "usable", "unusable"], rows=rows)
    fields = list(dict.fromkeys(name for t in run.traits for name in t.columns))
    cells = [[Cell(text=name), *(Cell(text=t.columns.get(name, "")) for t in run.traits)] for name in fields]
    names = [f"{t.name} ({t.role})" for t in run.traits]
    return [files, Grid(caption="Which column was read as what.", columns=["field", *names], rows=cells)]


def step_table(run: GwasRun) -> Grid | None:
    """Return how many variants were left after each step, a row a question."""
    if not run.counts:
        return None
    shown = {name: label for name, label in STEPS.items() if any(name in one for one in run.counts)}
    rows = []
    for one in run.counts:
        numbers = [count_cell(int(one[name])) if name in one else Cell(text="–") for name in shown]
        how = [Cell(text=str(one.get("matched_by", ""))), Cell(text=CLUMPED.get(str(one.get("clumped_by")), ""))]
        rows.append([Cell(text=str(one["exposure"])), Cell(text=str(one["outcome"])), *numbers, *how])
    columns = ["exposure", "outcome", *shown.values(), "matched by", "clumped by"]
    return Grid(caption="From the files to the instruments.", columns=columns, rows=rows)


def strength_table(run: GwasRun) -> Grid | None:
    """Return how strong the instruments of each pair are and how much their ratios scatter."""
    rows = []
    for one in run.examined:
        pair, findings = one.instruments, one.found.findings
        strong, spread = findings["strength"].table, findings["heterogeneity"].table
        if strong.empty:
            continue
        first = strong.iloc[0]
        row = [Cell(text=pair.exposure), Cell(text=pair.outcome), count_cell(int(first["n"]))]
        row += [number_cell(float(first[name])) for name in ("f_statistic", "f_min")]
        row += [count_cell(int(first["n_weak"]))]
        row += [
            number_cell(float(first.get("r2_exposure", np.nan)), _percent),
            number_cell(float(first["i2_gx"]), _percent),
        ]
        known = spread.iloc[0] if len(spread) else pd.Series(dtype=float)
        row += [number_cell(float(known.get(name, np.nan))) for name in ("q_ivw", "q_ivw_df")]
        row += [number_cell(float(known.get("q_ivw_pvalue", np.nan)), words.pvalue)]
        row += [number_cell(float(known.get("i2_ivw", np.nan)), words.share)]
        rows.append(row)
    columns = ["exposure", "outcome", "instruments", "mean F", "smallest F", "F below 10", "R² of exposure", "I²GX"]
    caption = (
        "How strong the instruments are. F: squared effect on the exposure in standard errors; R²: share of the "
        "exposure's variance that they explain; I²GX: what is left of MR-Egger's slope after dilution; Q: scatter of "
        "the ratios."
    )
    return Grid(caption=caption, columns=[*columns, "Q", "df", "P of Q", "I²"], rows=rows) if rows else None


def estimate_table(run: GwasRun) -> Grid:
    """Return all estimates as a table."""
    table = run.estimates.table
    ratio = any(run.ratio_of(outcome) for outcome in table["outcome"].unique())
    conditional = "conditional_f" in table and bool(table["conditional_f"].notna().any())
    rows = []
    for row in table.to_dict("records"):
        cells = [*who_cells(row), *effect_cells(row)]
        cells += [_ratio_cell(run, row)] if ratio else []
        cells += [number_cell(float(row["conditional_f"]))] if conditional else []
        rows.append([*cells, count_cell(int(row["n"]))])
    columns = ["exposure", "outcome", "method", f"effect ({level_of(table)} CI)", "SE", "P"]
    columns += ["as a ratio"] if ratio else []
    columns += ["conditional F"] if conditional else []
    caption = f"Effects in the population ({run.estimates_name})."
    return Grid(caption=caption, columns=[*columns, "instruments"], rows=rows)


def _ratio_cell(run: GwasRun, row: Mapping[Any, Any]) -> Cell:
    if not run.ratio_of(row["outcome"]):
        return Cell(text="–")
    low, value, high = (float(np.exp(row[name])) for name in ("ci_low", "beta", "ci_high"))
    return Cell(text=f"{words.number(value)} ({words.number(low)} to {words.number(high)})", value=value)


def skipped_table(run: GwasRun) -> Grid | None:
    """Return the methods without an estimate and why."""
    gone = run.estimates.skipped
    if gone.empty:
        return None
    rows = [[*who_cells(row), Cell(text=str(row["reason"]))] for row in gone.to_dict("records")]
    return Grid(caption="Methods without an estimate.", columns=["exposure", "outcome", "method", "reason"], rows=rows)


def dropped_tables(run: GwasRun) -> tuple[Grid | None, list[tuple[str, Grid]], str]:
    """Return how many variants were dropped by reason, those of each reason one by one, and what is left to a file."""
    if run.dropped is None or run.dropped.empty:
        return None, [], ""
    rows: list[list[Cell]] = []
    lists: list[tuple[str, Grid]] = []
    listed = unlisted = 0
    for (exposure, outcome, file, reason), part in run.dropped.groupby(
        ["exposure", "outcome", "file", "reason"], sort=False
    ):
        asked = f"{exposure} → {outcome}" if outcome else "on reading"
        rows.append([Cell(text=asked), Cell(text=str(file)), Cell(text=str(reason)), count_cell(len(part))])
        if listed >= MAX_LISTED:
            unlisted += 1
            continue
        title = f"{asked}, {file}: {reason} ({len(part):,})"
        lists.append((title, _dropped(part, title, run.dropped_name)))
        listed += min(len(part), MAX_ROWS)
    caption = f"{words.count(len(run.dropped), 'dropped variant')} by reason; {run.dropped_name} has them all."
    grid = Grid(caption=caption, columns=["question", "lost against", "reason", "variants"], rows=rows)
    more = f"{words.count(unlisted, 'more reason')} are listed in {run.dropped_name} alone." if unlisted else ""
    return grid, lists, more


def _dropped(part: pd.DataFrame, title: str, file: str) -> Grid:
    more = f" The first {MAX_ROWS:,} of {len(part):,}; all are in {file}." if len(part) > MAX_ROWS else ""
    shown = part[["variant_id", "detail"]].head(MAX_ROWS).itertuples(index=False)
    rows = [[Cell(text=str(variant)), Cell(text=str(detail))] for variant, detail in shown]
    return Grid(caption=f"{title}.{more}", columns=["variant", "detail"], rows=rows)


def instrument_tables(run: GwasRun) -> tuple[list[tuple[str, Grid]], str]:
    """Return the instruments of each question, for the allele that its file counts, and what is left to a file."""
    lists: list[tuple[str, Grid]] = []
    listed = 0
    for pair in run.instruments:
        listed += len(pair.variants)
        if listed > MAX_LISTED:
            break
        title = f"{pair.exposure} → {pair.outcome}: {words.count(len(pair.variants), 'instrument')}"
        lists.append((title, _instruments(pair)))
    left = len(run.instruments) - len(lists)
    more = f"{words.count(left, 'more list')} {'is' if left == 1 else 'are'} in {run.instruments_name} alone."
    return lists, more if left else ""


def _instruments(pair: Instruments) -> Grid:
    rows = []
    several = len(pair.exposures) > 1
    frequency = pair.variants["eaf"].to_numpy(float) if "eaf" in pair.variants else np.full(len(pair.variants), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = pair.beta_outcome / pair.beta_exposure[:, 0]
    strength = (pair.beta_exposure / pair.se_exposure) ** 2
    for i, row in enumerate(pair.variants.head(MAX_ROWS).to_dict("records")):
        place = f"{row['chrom']}:{int(row['pos']):,}" if row["chrom"] and int(row["pos"]) > 0 else "–"
        cells = [Cell(text=str(row["variant_id"])), Cell(text=place)]
        cells += [Cell(text=f"{row['effect_allele']}/{row['other_allele'] or '?'}"), number_cell(float(frequency[i]))]
        for k in range(len(pair.exposures)):
            cells += [number_cell(float(v[i, k])) for v in (pair.beta_exposure, pair.se_exposure, strength)]
        cells += [number_cell(float(pair.beta_outcome[i])), number_cell(float(pair.se_outcome[i]))]
        rows.append(cells if several else [*cells, number_cell(float(ratio[i]))])
    columns = ["variant", "position", "effect/other allele", "frequency"]
    columns += [f"{name}{what}" for name in pair.exposures for what in ("", " SE", " F")]
    columns += [pair.outcome, f"{pair.outcome} SE", *([] if several else ["ratio"])]
    cut = f" The first {MAX_ROWS:,} of {len(pair.variants):,}." if len(pair.variants) > MAX_ROWS else ""
    caption = f"Instruments of {pair.exposure} → {pair.outcome}: effects of one more copy of the effect allele.{cut}"
    return Grid(caption=caption, columns=columns, rows=rows)


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %" if np.isfinite(value) else "–"
