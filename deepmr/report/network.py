"""Tasks and the effects between them as a directed graph."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from deepmr.errors import InputError
from deepmr.report import words
from deepmr.report.style import CYCLE, GRID, INK, MUTED, NARROW, PAPER, VERMILLION, new_figure, settle, styled

RADIUS = 0.16  # of a node, in units of the circle of nodes
WIDEST, THINNEST = 5.0, 1.0  # arrows, in points
BEND = 0.24  # of an arrow, so that both directions of a pair stay apart
PAD = 2.5  # points around the text of a label
FEW_LABELS = 8  # that a narrow graph holds
MOST_LABELS = 12  # arrows; past that, labels would hide the graph
MOST_TASKS = 24
SPOTS = (0.5, 0.42, 0.58, 0.35, 0.65, 0.28, 0.72)  # of a label along its arrow, the first that is free
SPOTS_BOTH = (
    0.36,
    0.3,
    0.42,
    0.24,
    0.48,
    0.54,
    0.6,
)  # the same where the other direction has one too: nearer to its cause
JUDGED = {
    "not supported": "the diagnostics on this page do not support it",
    "undecided": "the diagnostics on this page leave it undecided",
}
_EDGES = ("direct", "total")  # kinds of effects that are shown

Judgements = Mapping[tuple[str, str, str], str]  # by exposure, outcome and estimand


@styled
def network_figure(table: pd.DataFrame, *, tasks: Sequence[str] | None = None) -> Figure:
    """Draw the tasks on a circle and an arrow for every effect that is shown.

    Parameters
    ----------
    table : a row a pair, columns of `schema.NETWORK`.
    tasks : their order, two to 24; default that in which the table names them.

    Raises
    ------
    InputError
        When there are too many tasks to draw.

    Notes
    -----
    Solid: a direct effect at the false discovery rate of the table, blue where it raises the outcome, orange where it
    lowers it, as wide as it is large beside the others; its label is the direct effect with its interval. Dashed and
    grey: a total effect of which none is shown to be direct, labelled with the total effect. Pairs without an effect
    have no arrow. Labels of both directions of a pair stand nearer to their causes; each where it hides least.
    """
    tasks = tasks_of(table) if tasks is None else tuple(tasks)
    if len(tasks) > MOST_TASKS:
        raise InputError(f"a graph of at most {MOST_TASKS} tasks can be read; there are {len(tasks)}")
    crowded = len(tasks) > 4 or FEW_LABELS < (table["edge"] != "none").sum() <= MOST_LABELS
    side = NARROW if not crowded else 5.2 if len(tasks) <= 6 else 7.2
    places = _circle(len(tasks))
    low, high = places[:, 1].min() - 0.45, places[:, 1].max() + 0.3
    figure = new_figure(side, side * (high - low) / 2.9 + 0.6)
    axes = figure.add_subplot()
    index = {name: i for i, name in enumerate(tasks)}
    shown = table[table["edge"] != "none"]
    direct = shown[shown["edge"] == "direct"]
    largest = float(np.max(np.abs(direct["direct"].to_numpy(float)), initial=0.0)) or 1.0
    pairs = {(row["exposure"], row["outcome"]) for row in shown.to_dict(orient="records")}
    labels = []
    for row in shown.sort_values("edge", ascending=False).to_dict(orient="records"):
        both = (row["outcome"], row["exposure"]) in pairs
        ends = places[index[row["exposure"]]], places[index[row["outcome"]]]
        path = _arrow(axes, row, *ends, largest=largest, both=both)
        if len(shown) <= MOST_LABELS:
            labels.append((_label(axes, row), path, SPOTS_BOTH if both else SPOTS))
    for name, (x, y) in zip(tasks, places, strict=True):
        axes.add_patch(_node(x, y))
        size = 9 if len(name) <= 7 else 7
        axes.text(x, y, words.shorten(name, 12), ha="center", va="center", size=size, weight="bold", zorder=5)
    axes.set(xlim=(-1.45, 1.45), ylim=(low, high), aspect="equal")
    axes.axis("off")
    figure.legend(handles=_legend(shown), loc="outside lower center", ncols=1)
    settle(figure)
    _place(axes, labels)
    return figure


def tasks_of(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the tasks of a network in the order in which its pairs name them.

    Parameters
    ----------
    table : columns exposure and outcome.
    """
    return tuple(dict.fromkeys(map(str, (*table["exposure"], *table["outcome"]))))


def say_edges(table: pd.DataFrame, *, judgements: Judgements | None = None) -> list[str]:
    """Say which effects are direct and which are not shown to be, a sentence each.

    Parameters
    ----------
    table : a row a pair, columns of `schema.NETWORK`.
    judgements : what diagnostics say of a pair; where they do not support it, its sentence says so.
    """
    judged = judgements or {}
    two = len(tasks_of(table)) == 2
    direct, total = ([row for row in table.to_dict(orient="records") if row["edge"] == kind] for kind in _EDGES)
    said = []
    for row in direct:
        effect = f"direct effect {words.WHERE[row['estimand']]} {_direct(row)}"
        said.append(f"{_pair(row)}: {effect}{_doubt(row, judged)}.")
    for row in total:
        through = "" if two else f", of which {words.number(row['mediated'])} passes through other tasks"
        said.append(
            f"{_pair(row)}: total effect {words.WHERE[row['estimand']]} {words.number(row['total'])}{through}; none is "
            f"shown to be direct ({_direct(row)}){_doubt(row, judged)}."
        )
    return said


def say_two(table: pd.DataFrame) -> list[str]:
    """Say that two marks alone have nothing between them; nothing where there are more.

    Parameters
    ----------
    table : columns exposure and outcome.
    """
    if len(tasks_of(table)) != 2:
        return []
    return ["With two marks nothing can be mediated: there is no third one that an effect could pass through."]


def say_unsupported(table: pd.DataFrame, judgements: Judgements) -> list[str]:
    """Name the arrows of a graph that diagnostics do not support, a sentence each.

    Parameters
    ----------
    table : as for `say_edges`.
    judgements : what diagnostics say of a pair.
    """
    rows = table[table["edge"] != "none"].to_dict(orient="records")
    doubts = [(_pair(row), JUDGED.get(judgements.get(_key(row), ""))) for row in rows]
    return [f"{pair}: {doubt}." for pair, doubt in doubts if doubt]


def _key(row: Mapping[Any, Any]) -> tuple[str, str, str]:
    return str(row["exposure"]), str(row["outcome"]), str(row["estimand"])


def _doubt(row: Mapping[Any, Any], judgements: Judgements) -> str:
    said = JUDGED.get(judgements.get(_key(row), ""))
    return f"; {said}" if said else ""


def _pair(row: Mapping[Any, Any]) -> str:
    return f"{row['exposure']} → {row['outcome']}"


def _direct(row: Mapping[Any, Any]) -> str:
    return words.estimate({"beta": row["direct"], "ci_low": row["direct_ci_low"], "ci_high": row["direct_ci_high"]})


def _circle(n: int) -> np.ndarray:
    """Return places on the circle, the first at the top, clockwise."""
    angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    return np.column_stack([np.cos(angle), np.sin(angle)])


def _node(x: float, y: float) -> Circle:
    return Circle((x, y), RADIUS, facecolor=PAPER, edgecolor=INK, lw=1.4, zorder=4, gid="task")


def _arrow(
    axes: Axes, row: dict[Any, Any], start: np.ndarray, end: np.ndarray, *, largest: float, both: bool
) -> np.ndarray:
    """Draw one effect from rim to rim, bent where there is one in the other direction or a dashed one.

    Returns the start, the control point and the end of its curve.
    """
    is_direct = row["edge"] == "direct"
    kind = "direct" if is_direct else "total"
    value = row[kind]
    bend = BEND if both or not is_direct else 0.0
    colour = (CYCLE[0] if value > 0 else VERMILLION) if is_direct else MUTED
    width = THINNEST + (WIDEST - THINNEST) * min(abs(value) / largest, 1.0) if is_direct else THINNEST
    along = (end - start) / np.linalg.norm(end - start)
    first, last = start + along * RADIUS * 1.05, end - along * RADIUS * 1.1
    patch = FancyArrowPatch(
        tuple(first),
        tuple(last),
        connectionstyle=f"arc3,rad={bend}",
        arrowstyle="-|>",
        mutation_scale=10 + 2 * width,
        lw=width,
        ls="-" if is_direct else (0, (4, 3)),
        color=colour,
        zorder=3 if is_direct else 2,
        gid=f"{kind} effect",
    )
    axes.add_patch(patch)
    right = np.array([along[1], -along[0]])  # a positive bend swings to the right of the way
    control = (first + last) / 2 + right * bend * np.linalg.norm(last - first)
    return np.stack([first, control, last])


def _label(axes: Axes, row: dict[Any, Any]) -> Text:
    """Write an effect with its interval, for `_place` to put beside others."""
    is_direct = row["edge"] == "direct"
    kind = "direct" if is_direct else "total"
    value = row[kind]
    text = f"{words.number(value)}\n({words.span(row[f'{kind}_ci_low'], row[f'{kind}_ci_high'])})"
    return axes.text(
        0.0,
        0.0,
        text,
        ha="center",
        va="center",
        size=7,
        color=INK if is_direct else MUTED,
        linespacing=1.15,
        bbox={"facecolor": PAPER, "edgecolor": GRID, "lw": 0.6, "boxstyle": "round,pad=0.25"},
        zorder=6,
    )


def _place(axes: Axes, labels: Sequence[tuple[Text, np.ndarray, Sequence[float]]]) -> None:
    """Put each label on its curve, at the first spot that hides no circle and no label, or that hides least."""
    taken = [patch.get_window_extent() for patch in axes.patches if patch.get_gid() == "task"]
    for text, (first, control, last), spots in labels:
        tried: list[tuple[float, int, np.ndarray, Bbox]] = []
        for t in spots:
            place = (1 - t) ** 2 * first + 2 * t * (1 - t) * control + t**2 * last
            text.set_position((float(place[0]), float(place[1])))
            box = text.get_window_extent().padded(PAD * axes.figure.dpi / 72)
            tried.append((sum(_shared(box, other) for other in taken), len(tried), place, box))
        _, _, place, box = min(tried, key=lambda one: one[:2])
        text.set_position((float(place[0]), float(place[1])))
        taken.append(box)


def _shared(one: Bbox, other: Bbox) -> float:
    """Return the area that two boxes have in common."""
    both = Bbox.intersection(one, other)
    return 0.0 if both is None else float(both.width * both.height)


def _legend(shown: pd.DataFrame) -> list[Line2D]:
    """Return what the lines mean, of those that are there."""
    direct = shown[shown["edge"] == "direct"]["direct"]
    lines = []
    if (direct > 0).any():
        lines.append(Line2D([], [], color=CYCLE[0], lw=3, label="direct effect that raises the outcome"))
    if (direct < 0).any():
        lines.append(Line2D([], [], color=VERMILLION, lw=3, label="direct effect that lowers the outcome"))
    if (shown["edge"] == "total").any():
        lines.append(Line2D([], [], color=MUTED, lw=1, ls=(0, (4, 3)), label="total effect, none of it shown direct"))
    return lines or [Line2D([], [], color=PAPER, lw=0, label="no effect is shown")]
