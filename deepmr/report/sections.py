"""Parts of a page made from tables as they are in files."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from deepmr import schema
from deepmr.report import words
from deepmr.report.content import Cell, Drawing, Grid, Section, count_cell, number_cell
from deepmr.report.network import Judgements, say_edges, say_two
from deepmr.report.tables import MAX_ROWS, level_of, where_of

RULES = {
    "relative": "share of the largest effects",
    "f": "F statistic",
    "zscore": "pooled z-score",
    "motif": "within motifs",
}
SITES = {
    "alone": "alone at their locus",
    "carries": "that carry most of the effect",
    "agrees": "that agree with the rest",
    "contradicts": "that contradict the rest",
    "disputed": "disputed, as nothing tells which of two is right",
    "untested": "without an instrument",
}
SITE_COLUMNS = (
    "locus", "exposure", "outcome", "start", "end", "sequence", "family", "n", "share", "beta", "ci_low", "ci_high",
    "level", "verdict",
)  # fmt: skip
ONE_SITE = "No locus has two sites: a second pathway could not have been seen."
EDGES = {"direct": "direct", "total": "total only", "none": "none shown"}


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
    columns = [name for name in frame.columns if not (together and name in {"ci_low", "ci_high", "level"})]
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


def threshold_section(frame: pd.DataFrame, *, name: str, drawings: tuple[Drawing, ...] = ()) -> Section:
    """Return how effects move with the choice of instruments as a part of the page.

    Parameters
    ----------
    frame : a row a rule, threshold, pair and method, with estimand, beta, ci_low, ci_high and n_loci.
    name : of the file.
    drawings : figures that go with it.
    """
    said = []
    for (exposure, outcome, estimand), part in frame.groupby(["exposure", "outcome", "estimand"], sort=False):
        beta = part["beta"].to_numpy(float)
        known = beta[np.isfinite(beta)]
        if len(known):
            said.append(
                f"Over {words.count(len(known), 'choice')} of instruments, the effect of {exposure} on {outcome} "
                f"{words.WHERE[str(estimand)]} lies between {words.number(known.min())} and "
                f"{words.number(known.max())}."
            )
    shown = frame.assign(rule=frame["rule"].map(RULES).fillna(frame["rule"])) if "rule" in frame else frame
    return table_section(
        shown.rename(columns={"n_loci": "loci", "n_instruments": "instruments"}),
        anchor="thresholds",
        title="Other choices of instruments",
        caption=f"Effects by the rule that chooses instruments and its threshold ({name}).",
        sentences=tuple(said),
        drawings=drawings,
    )


def seqlet_section(frame: pd.DataFrame, *, name: str, drawings: tuple[Drawing, ...] = ()) -> Section:
    """Return which sites carry or contradict the effect as a part of the page.

    Parameters
    ----------
    frame : a row a site: exposure, outcome, locus, start, end, beta, ci_low, ci_high, verdict, estimand and what else
        `deepmr seqlets` writes; those that contradict are listed first.
    name : of the file.
    drawings : figures that go with it.
    """
    said = []
    for (exposure, outcome, estimand), part in frame.groupby(["exposure", "outcome", "estimand"], sort=False):
        counts = part["verdict"].value_counts()
        against = part.loc[part["verdict"].isin(["contradicts", "disputed"]), "locus"].nunique()
        tested = part.loc[part["verdict"] != "untested", "locus"]
        compared = f"at {words.count(against, 'locus')} a site acts on the outcome otherwise than the rest."
        listed = ", ".join(f"{n:,} {SITES.get(str(verdict), verdict)}" for verdict, n in counts.items())
        said.append(
            f"{exposure} → {outcome} {words.WHERE[str(estimand)]}: {words.count(len(part), 'site')} at "
            f"{words.count(part['locus'].nunique(), 'locus')} ({listed}). "
            + (compared.capitalize() if tested.duplicated().any() else ONE_SITE)
        )
    first = frame["verdict"].map({"contradicts": 0, "disputed": 1}).fillna(2)
    shown = frame[[column for column in SITE_COLUMNS if column in frame]].rename(columns={"n": "instruments"})
    return table_section(
        shown.loc[first.sort_values(kind="stable").index],
        anchor="seqlets",
        title="Which sites carry the effect",
        caption=f"Effects of single sites, motif-sized parts of a locus (seqlets), {where_of(frame)} ({name}).",
        sentences=tuple(said),
        drawings=drawings,
    )


def network_section(
    frame: pd.DataFrame,
    *,
    name: str,
    drawings: tuple[Drawing, ...] = (),
    warnings: tuple[str, ...] = (),
    judgements: Judgements | None = None,
) -> Section:
    """Return direct and total effects between all marks as a part of the page.

    Parameters
    ----------
    frame : what `deepmr network` writes, columns of `schema.NETWORK`; or any table with exposure, outcome and estimand,
        which is shown as it is.
    name : of the file.
    drawings : figures that go with it.
    warnings : what a reader has to know before the effects.
    judgements : what diagnostics on the same page say of a pair, by exposure, outcome and estimand.
    """
    title = "Direct and total effects"
    caption = f"Effects of each mark on each other, by themselves and by way of others ({name})."
    if not set(schema.NETWORK) <= set(frame.columns):
        return table_section(
            frame, anchor="network", title=title, caption=caption, drawings=drawings, sentences=warnings
        )
    nothing = ["No pair has an effect at the false-discovery rate of this network."]
    said = say_edges(frame, judgements=judgements) or nothing
    rows = [
        [
            *(Cell(text=str(row[key])) for key in ("exposure", "outcome")),
            *(_of_kind(kind, row) for kind in ("direct", "total", "mediated")),
            number_cell(row["direct_fdr"], words.pvalue), Cell(text=EDGES[row["edge"]]), count_cell(int(row["n"])),
            *(_judged(row, judgements) if judgements else ()),
        ]
        for row in frame.head(MAX_ROWS).to_dict(orient="records")
    ]  # fmt: skip
    level = level_of(frame)
    columns = ["exposure", "outcome", *(f"{k} ({level} CI)" for k in ("direct", "total", "through others"))]
    caption = f"Effects of each mark on each other {where_of(frame)}, by themselves and by way of others ({name})."
    caption += " FDR: false-discovery rate at which the direct effect counts as found."
    columns += ["FDR", "effect", "loci", *(["diagnostics"] if judgements else [])]
    table = Grid(caption=caption, columns=columns, rows=rows)
    sentences = (*warnings, *said, *say_two(frame))
    return Section(anchor="network", title=title, sentences=sentences, drawings=drawings, tables=(table,))


def _judged(row: Mapping[Any, Any], judgements: Judgements) -> tuple[Cell, ...]:
    return (Cell(text=judgements.get((row["exposure"], row["outcome"], row["estimand"]), "–")),)


def _of_kind(kind: str, row: Mapping[Any, Any]) -> Cell:
    effect = {"beta": row[kind], "ci_low": row[f"{kind}_ci_low"], "ci_high": row[f"{kind}_ci_high"]}
    return Cell(text=words.estimate(effect), value=float(row[kind])) if np.isfinite(row[kind]) else Cell(text="–")
