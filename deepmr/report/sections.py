"""Parts of a page made from tables as they are in files."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from deepmr.report import words
from deepmr.report.content import Cell, Drawing, Grid, Section, number_cell
from deepmr.report.tables import MAX_ROWS


def frame_grid(frame: pd.DataFrame, *, caption: str, most: int = MAX_ROWS) -> Grid:
    """Return a table of text as a table of the page: numbers short and sortable, effects with their intervals.

    Parameters
    ----------
    frame : cells as text or numbers; where it has beta, ci_low and ci_high, these become one column.
    caption : what it shows.
    most : rows; of more the first, and the caption says so.
    """
    shown = frame.head(most)
    together = {"beta", "ci_low", "ci_high"} <= set(frame.columns)
    columns = [name for name in frame.columns if not (together and name in {"ci_low", "ci_high"})]
    values = {name: _numbers(shown[name]) for name in frame.columns}
    cells = [_column(name, shown[name], values, together) for name in columns]
    cut = f" The first {most:,} of {len(frame):,}." if len(frame) > most else ""
    effect = f"effect ({_level(values)} CI)"
    titles = [effect if together and name == "beta" else name.replace("_", " ") for name in columns]
    return Grid(caption=caption + cut, columns=titles, rows=[list(row) for row in zip(*cells, strict=True)])


def table_section(
    frame: pd.DataFrame,
    *,
    anchor: str,
    title: str,
    caption: str,
    sentences: tuple[str, ...] = (),
    drawings: tuple[Drawing, ...] = (),
    part: Literal["sure", "evidence"] = "evidence",
) -> Section:
    """Return a table as a part of the page, with the figures and sentences that belong to it.

    Parameters
    ----------
    frame : as for `frame_grid`.
    caption : what the table shows; the estimand is added where the table has one and it is not said.
    anchor, title, sentences, drawings, part : those of `Section`.
    """
    table = frame_grid(frame, caption=caption)
    return Section(anchor=anchor, title=title, sentences=sentences, drawings=drawings, tables=(table,), part=part)


def _numbers(column: pd.Series) -> np.ndarray | None:
    """Return a column as numbers, NaN where it is empty; None where it holds anything else."""
    text = column.astype(str).str.strip()
    empty = column.isna() | text.str.lower().isin(["", "na", "nan"])
    values = pd.to_numeric(text.where(~empty), errors="coerce").to_numpy(float)
    return None if np.isnan(values[~empty.to_numpy(bool)]).any() or empty.all() else values


def _level(values: Mapping[str, np.ndarray | None]) -> str:
    level = values.get("level")
    return words.percent(float(level[0])) if level is not None and len(level) and np.isfinite(level[0]) else "95 %"


def _column(name: str, column: pd.Series, values: Mapping[str, np.ndarray | None], together: bool) -> list[Cell]:
    numbers = values[name]
    if together and name == "beta":
        low, high = values["ci_low"], values["ci_high"]
        if numbers is not None and low is not None and high is not None:
            return [
                Cell(text=words.estimate({"beta": b, "ci_low": lo, "ci_high": hi}), value=float(b))
                if np.isfinite(b)
                else Cell(text="–")
                for b, lo, hi in zip(numbers, low, high, strict=True)
            ]
    if numbers is None or name in {"locus", "variant_id", "seqlet"}:
        texts = ["" if pd.isna(value) else str(value) for value in column]
        return [Cell(text=_written(name, text)) for text in texts]
    if name.endswith("pvalue") or name == "fdr":
        return [number_cell(value, words.pvalue) for value in numbers]
    known = numbers[np.isfinite(numbers)]
    if np.all(known == np.round(known)):
        return [number_cell(value, _whole) for value in numbers]
    return [number_cell(value) for value in numbers]


def _written(name: str, text: str) -> str:
    """Return a cell as a reader knows it: methods and estimands by their names."""
    if name == "method":
        return words.method_name(text)
    return words.EFFECTS.get(text, text) if name == "estimand" else text


def _whole(value: float) -> str:
    return f"{value:,.0f}".replace("-", "−") if np.isfinite(value) else "–"
