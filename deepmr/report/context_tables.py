"""Tables of effects that vary with context."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from deepmr.report import words
from deepmr.report.content import Cell, Grid, count_cell, number_cell
from deepmr.report.context import MODELS, ContextRun

SHOWN = 50  # rows of a table of loci
EGGER = (
    "MR-Egger lets edits act on the outcome directly, by a mean amount that may go with context too: the intercept. "
    "Its slope is the effect without that part, less precise; where it differs from the curve, the curve holds direct "
    "effects."
)


def comparator_table(run: ContextRun) -> Grid:
    """Return a row a model: the mean effect over loci, scatter, and how it foresees loci not seen."""
    held = "held_out_rmse" in run.comparators
    columns = ["model", f"mean effect ({words.percent(run.level)} interval)", "scatter τ", "coefficients"]
    columns += ["error, held out", "log score", "coverage", "contextual gains"] if held else []
    rows = []
    for row in run.comparators.to_dict("records"):
        cells = [Cell(text=MODELS.get(row["method"], (row["method"],))[0])]
        cells += [Cell(text=words.estimate(row), value=float(row["beta"]))]
        cells += [
            number_cell(float(row["tau"])),
            number_cell(float(row["n_coefficients"]), lambda v: f"{v:.0f}"),
        ]
        if held:
            cells += [_decimal(float(row[name])) for name in ("held_out_rmse", "held_out_log_score")]
            cells += [number_cell(float(row["held_out_coverage"]), words.share), _gain(row)]
        rows.append(cells)
    caption = "Models side by side, fitted to the same loci"
    return Grid(caption=f"{caption}; {run.held_out}." if held else f"{caption}.", columns=columns, rows=rows)


def _decimal(value: float) -> Cell:
    return number_cell(value, lambda v: words.number(v, 3))


def _gain(row: Mapping[Any, Any]) -> Cell:
    if not np.isfinite(row["gain"]):
        return Cell(text="–")
    text = f"{words.number(row['gain'], 3)} ({words.number(row['gain_low'], 3)} to {words.number(row['gain_high'], 3)})"
    return Cell(text=text, value=float(row["gain"]))


def context_table(run: ContextRun) -> Grid:
    """Return a row a context that has a curve: relevance, and the effect where the context is lowest and highest."""
    columns = ["context", "relevance", "from", "effect there", "to", "effect there"]
    columns += ["share of true variance"] if run.attenuation else []
    rows = []
    shown = drawn(run)
    for name in shown:
        curve = run.curves[run.curves["context"] == name].sort_values("value")
        cells = [Cell(text=name), _decimal(run.relevance[name])]
        for row in curve.iloc[[0, -1]].to_dict("records"):
            cells += [number_cell(float(row["value"])), Cell(text=words.estimate(row), value=float(row["beta"]))]
        if run.attenuation:
            cells.append(number_cell(float(run.attenuation.get(name, np.nan)), words.share))
        rows.append(cells)
    cut = f" The {len(shown)} most relevant of {len(run.contexts)}." if len(shown) < len(run.contexts) else ""
    return Grid(caption=f"Contexts, all others at their median.{cut}", columns=columns, rows=rows)


def drawn(run: ContextRun) -> list[str]:
    """Return the contexts that there are curves of, the most relevant first."""
    known = set(run.curves["context"])
    return [name for name in run.contexts if name in known]


def locus_table(run: ContextRun) -> Grid:
    """Return the loci whose own effects are farthest from the mean of all."""
    away = (run.loci["own_beta"] - run.loci["own_beta"].mean()).abs()
    rows = [
        [
            Cell(text=str(row["locus"])),
            Cell(text=words.number(row["beta"]) + f" ± {words.number(row['se'])}", value=float(row["beta"])),
            number_cell(float(row["context_beta"])),
            Cell(
                text=f"{words.number(row['own_beta'])} ({words.span(row['own_low'], row['own_high'])})",
                value=float(row["own_beta"]),
            ),
        ]
        for row in run.loci.loc[away.sort_values(ascending=False).index].head(SHOWN).to_dict("records")
    ]
    cut = f" The {SHOWN} of {len(run.loci):,} that are farthest from the mean; all of them are in loci.tsv."
    return Grid(
        caption=f"Effects of loci.{cut if len(run.loci) > SHOWN else ''}",
        columns=["locus", "estimate ± SE", "by its context", "its own effect, given all loci"],
        rows=rows,
    )


def prediction_table(run: ContextRun) -> Grid | None:
    """Return predicted effects of further loci; None where there are none."""
    if run.predictions is None or not len(run.predictions):
        return None
    rows = [
        [
            Cell(text=str(row["locus"])),
            Cell(text=words.estimate(row), value=float(row["beta"])),
            Cell(text=words.span(row["pi_low"], row["pi_high"])),
            Cell(text="yes" if row["outside"] else "no"),
        ]
        for row in run.predictions.head(SHOWN).to_dict("records")
    ]
    cut = f" The first {SHOWN} of {len(run.predictions):,}." if len(run.predictions) > SHOWN else ""
    columns = ["locus", "effect by its context", "its own effect lies in", "outside the contexts of the fit"]
    return Grid(caption=f"Predictions of further loci.{cut}", columns=columns, rows=rows)


def sensitivity_table(run: ContextRun) -> Grid | None:
    """Return how the fit moves without a context, without weak loci, with other errors; None where none was tried."""
    if run.sensitivity is None:
        return None
    rows = []
    for row in run.sensitivity.to_dict("records"):
        if row["note"]:
            rows.append([Cell(text=str(row["analysis"])), count_cell(int(row["n"])), *[Cell(text="–")] * 4])
            continue
        effect = f"{words.number(row['beta'])} ± {words.number(row['se'])}"
        cells = [number_cell(float(row["tau"])), _decimal(float(row["moved"])), number_cell(float(row["evidence"]))]
        rows.append(
            [
                Cell(text=str(row["analysis"])),
                count_cell(int(row["n"])),
                Cell(text=effect, value=float(row["beta"])),
                *cells,
            ]
        )
    columns = ["analysis", "loci", "mean effect ± SE", "scatter τ", "moved", "evidence"]
    return Grid(caption="The same fit otherwise.", columns=columns, rows=rows)


def egger_table(run: ContextRun) -> Grid | None:
    """Return slope and intercept of contextual MR-Egger at both ends of each context; None where it was not fitted."""
    if run.egger is None:
        return None
    rows = []
    for name in drawn(run):
        line = run.egger[run.egger["context"] == name].sort_values("value")
        for row in line.iloc[[0, -1]].to_dict("records"):
            text = f"{words.number(row['intercept'])} ({words.span(row['intercept_low'], row['intercept_high'])})"
            rows.append(
                [
                    Cell(text=name),
                    number_cell(float(row["value"])),
                    Cell(text=words.estimate(row), value=float(row["beta"])),
                    Cell(text=text, value=float(row["intercept"])),
                    number_cell(float(row["intercept_pvalue"]), words.pvalue),
                ]
            )
    columns = ["context", "value", "slope", "intercept", "P, intercept 0"]
    return Grid(caption="Contextual MR-Egger at both ends of each context.", columns=columns, rows=rows)


def skipped_table(run: ContextRun) -> Grid | None:
    """Return how many loci are left out by reason; None where none is."""
    if not len(run.skipped):
        return None
    counts = run.skipped["reason"].astype(str).value_counts()
    rows = [[Cell(text=str(reason)), count_cell(int(n))] for reason, n in counts.items()]
    return Grid(caption="Loci left out.", columns=["reason", "loci"], rows=rows)
