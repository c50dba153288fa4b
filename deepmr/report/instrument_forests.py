"""Estimates from single instruments, and without single instruments, a row each."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepmr.errors import InputError
from deepmr.mr.sensitivity.findings import Findings
from deepmr.report import words
from deepmr.report.caterpillar import clip_limits, draw_rows, draw_total, finish_rows, rows_height
from deepmr.report.style import MUTED, WIDTH, method_colour, new_figure, settle, styled, wrapped


@styled
def single_forest(single: Findings, *, locus: str) -> Figure:
    """Draw the ratio of every instrument of a locus, from the smallest to the largest, and what all give together.

    Parameters
    ----------
    single : what `single_instruments` found for one pair of traits.
    locus : which one.
    """
    return _forest(single, locus, "variant_id", what="ratio of one instrument")


@styled
def leave_one_out_forest(left: Findings, *, locus: str) -> Figure:
    """Draw the estimate without each instrument of a locus, and that from all of them.

    Parameters
    ----------
    left : what `leave_one_out` found for one pair of traits and method.
    locus : which one.

    Notes
    -----
    Rows whose interval holds 0 while that of all instruments does not, or the reverse, stand out.
    """
    return _forest(left, locus, "left_out", what="estimate without the instrument")


def _forest(findings: Findings, locus: str, column: str, *, what: str) -> Figure:
    here = findings.table[findings.table["locus"] == locus]
    parts = here[here[column] != "*"].sort_values("beta", kind="stable")
    wholes = here[here[column] == "*"]
    if parts.empty:
        raise InputError(f"{locus}: there is no estimate to draw")
    marked = _turned(parts, wholes).tolist() if column == "left_out" else None
    limits = clip_limits(
        parts["ci_low"].to_numpy(float),
        parts["ci_high"].to_numpy(float),
        wholes[["ci_low", "ci_high"]].to_numpy(float).ravel().tolist(),
    )
    n = len(parts)
    height = rows_height(n)
    unit = n / height  # rows in an inch
    figure = new_figure(WIDTH, 1.0 + height + 0.28 * len(wholes))
    axes = figure.subplots()
    labels = draw_rows(axes, parts, parts[column].tolist(), limits=limits, marked=marked)
    numbers: dict[float, str] = {}
    methods = list(dict.fromkeys(here["method"]))
    y = n + 0.5
    for _, row in wholes.iterrows():
        y += 0.26 * unit
        draw_total(axes, y, 0.08 * unit, row, colour=method_colour(row["method"], methods), limits=limits)
        axes.axvline(row["beta"], color=method_colour(row["method"], methods), lw=0.8, ls=":", zorder=0, gid="whole")
        labels[y] = f"all: {words.method_name(row['method'])}"
        numbers[y] = words.estimate(row.to_dict())
    axes.axhline(n + 0.5 + 0.06 * unit, color=MUTED, lw=0.5)
    finish_rows(axes, labels, limits=limits, depth=y + 0.2 * unit, numbers=numbers)
    row = here.iloc[0]
    axes.set_title(wrapped(f"{words.pair_at(row['exposure'], row['outcome'], locus)}: {words.count(n, 'instrument')}"))
    axes.set_xlabel(f"{what}, {words.percent(float(row.get('level', 0.95)))} confidence interval")
    return settle(figure)


def _turned(parts: pd.DataFrame, wholes: pd.DataFrame) -> np.ndarray:
    """Say which rows hold 0 although all instruments together do not, or the reverse."""
    holds = (parts["ci_low"] <= 0) & (parts["ci_high"] >= 0)
    if wholes.empty:
        return np.zeros(len(parts), dtype=bool)
    whole = wholes.iloc[0]
    return (holds != (whole["ci_low"] <= 0 <= whole["ci_high"])).to_numpy(bool)
