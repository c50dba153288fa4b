"""What labelled edits changed, and what more of them would be worth."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepmr import inference
from deepmr.errors import InputError
from deepmr.labelled import LabelledCalibration, PairCalibration
from deepmr.labelled.worth import worth_of_labels
from deepmr.report import words
from deepmr.report.style import (
    CYCLE,
    GRID,
    INK,
    MUTED,
    NARROW,
    PAPER,
    new_figure,
    panel_grid,
    plain_log_ticks,
    settle,
    styled,
)
from deepmr.types import Estimates

MAX_PANELS = 12
READING = {
    "misses": "Each point is a labelled locus: across, the effect that the ensemble predicts there; up, what the "
    "measured edits say, with one standard error of their noise. On the dotted line both agree. The solid line is the "
    "prediction with the shift that the labels ask for and, shaded, the 95 % interval of that shift.",
    "before_after": "Grey: the mean effect in the model with its interval, which cannot see an error that all members "
    "share. Coloured: the same calibrated on labelled edits, in the process that made the data.",
    "worth": "How short the interval of the mean effect would be with other numbers of labelled loci. The ring is "
    "where you are. Curves that lie together: more edits of a locus would not help, as its one reference is what "
    "limits them; more loci always do.",
}


def shown_pairs(calibration: LabelledCalibration, *, method: str | None = None) -> tuple[PairCalibration, ...]:
    """Return the calibrated pairs of one method, at most twelve.

    Parameters
    ----------
    calibration : what labels say.
    method : by default the leading one that is calibrated.

    Raises
    ------
    InputError
        When that method is not calibrated.
    """
    methods = list(dict.fromkeys(pair.method for pair in calibration.pairs))
    leading = next((name for name in words.LEADING if name in methods), methods[0] if methods else "")
    wanted = method or leading
    found = tuple(pair for pair in calibration.pairs if pair.method == wanted)
    if not found:
        raise InputError(f"no pair is calibrated for method {wanted!r}; calibrated are {', '.join(methods) or 'none'}")
    return found[:MAX_PANELS]


@styled
def misses_figure(calibration: LabelledCalibration, *, method: str | None = None) -> Figure:
    """Draw measured against predicted effects of the labelled loci, before and after: one panel a pair.

    Parameters
    ----------
    calibration : what labels say.
    method : estimator; by default the leading one.
    """
    pairs = shown_pairs(calibration, method=method)
    figure, panels = panel_grid(len(pairs), columns=2, height=3.6)
    for axes, pair in zip(panels, pairs, strict=True):
        _misses(axes, pair)
    return settle(figure)


def _misses(axes: Axes, pair: PairCalibration) -> None:
    x, y, error = pair.slope, pair.slope + pair.miss, np.sqrt(pair.miss_variance)
    span = np.array([x.min(), x.max()])
    span = span + np.array([-1, 1]) * max(0.08 * np.ptp(span), 0.15 * float(np.std(y)), 1e-9)
    half = float(inference.quantile(0.95, pair.df)) * pair.applied_se
    shifted = span + pair.applied
    axes.fill_between(span, shifted - half, shifted + half, color=CYCLE[0], alpha=0.2, lw=0, gid="band")
    axes.errorbar(x, y, yerr=error, fmt="none", ecolor=GRID, elinewidth=0.8, zorder=1)
    axes.scatter(x, y, s=10, color=MUTED, edgecolor=PAPER, lw=0.3, zorder=2, gid="loci")
    axes.plot(span, span, color=INK, lw=1.0, ls=":", label="as predicted", gid="identity")
    axes.plot(span, shifted, color=CYCLE[0], label=f"shifted by {words.number(pair.applied)}", gid="shifted")
    # Far points would flatten the rest: nineteen of twenty decide the axis.
    low, high = np.quantile(y, [0.025, 0.975])
    room = 0.35 * (high - low)
    axes.set(xlim=span.tolist(), ylim=(min(low, shifted[0]) - room, max(high, shifted[1]) + room))
    note = f"{words.count(len(pair.loci), 'locus')}, {words.count(pair.n_edits, 'edit')}"
    axes.legend(title=note, loc="upper left", title_fontsize=8)
    axes.set_title(f"{pair.exposure} → {pair.outcome}")
    axes.set(xlabel="effect in the model", ylabel="effect by labelled edits")


@styled
def before_after_figure(pooled: Estimates, *, method: str, truth: pd.DataFrame | None = None) -> Figure:
    """Draw mean effects in the model and calibrated, with their intervals: two rows a pair.

    Parameters
    ----------
    pooled : global effects of both estimands.
    method : estimator.
    truth : true effects of a simulation, columns exposure, outcome, beta.

    Raises
    ------
    InputError
        When no pair has both.
    """
    table = pooled.table[pooled.table["method"] == method]
    names = {
        estimand: list(zip(rows["exposure"].astype(str), rows["outcome"].astype(str), strict=True))
        for estimand, rows in table.groupby("estimand")
    }
    pairs = [pair for pair in names.get("model", []) if pair in names.get("calibrated", [])][:MAX_PANELS]
    if not pairs:
        raise InputError(f"no pair has both an effect in the model and a calibrated one by {method!r}")
    figure = new_figure(NARROW, 1.2 + 0.95 * len(pairs))
    panels = figure.subplots(len(pairs), 1, squeeze=False).ravel().tolist()  # effects of pairs have units of their own
    for axes, (exposure, outcome) in zip(panels, pairs, strict=True):
        rows = table[(table["exposure"] == exposure) & (table["outcome"] == outcome)].set_index("estimand")
        for name, colour, y in (("model", MUTED, 0.0), ("calibrated", CYCLE[0], 1.0)):
            row = rows.loc[name]
            axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, lw=3, solid_capstyle="butt", gid=name)
            axes.plot(row["beta"], y, "s", color=colour, ms=6, label=words.WHERE[name])
        if truth is not None:
            known = truth[(truth["exposure"] == exposure) & (truth["outcome"] == outcome)]
            for beta in known["beta"].head(1):
                axes.axvline(beta, color=INK, lw=1.2, ls="--", label="truth of the simulation", gid="truth")
        axes.set_yticks([0.5], [f"{exposure} → {outcome}"])
        axes.set(ylim=(1.6, -0.6))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    panels[-1].set_xlabel("mean effect over loci")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=1)
    return settle(figure)


@styled
def worth_figure(
    pair: PairCalibration, *, edits: Sequence[int] = (1, 5, 20), n_target: int | None = None, level: float = 0.95
) -> Figure:
    """Draw the half-width of the interval of the mean effect against the number of labelled loci.

    Parameters
    ----------
    pair : what the labels at hand say.
    edits : edits a locus, a curve each.
    n_target : loci that are analysed; None: many.
    level : of the interval.
    """
    now = len(pair.loci)
    loci = np.unique(np.geomspace(max(now / 8, 5), now * 8, 33).round().astype(int)).tolist()
    figure = new_figure(NARROW, 4.4)
    axes = figure.subplots()
    table = worth_of_labels(pair, loci=loci, edits=edits, repeats=[1, 4], n_target=n_target, level=level)
    for colour, m in zip(CYCLE, edits, strict=False):
        for times, dash in ((1, "-"), (4, "--")):
            mine = table[(table["n_edits"] == m) & (table["repeats"] == times)]
            name = f"{words.count(m, 'edit')} a locus" + ("" if times == 1 else ", measured 4 times")
            axes.plot(mine["n_loci"], mine["half_width"], color=colour, ls=dash, lw=1.4, label=name)
    m = max(round(float(np.mean(pair.edits))), 1)
    here = worth_of_labels(pair, loci=[now], edits=[m], repeats=[1], n_target=n_target, level=level)
    axes.plot(here["n_loci"], here["half_width"], "o", ms=8, mfc="none", mec=INK, mew=1.5, label="now", gid="now")
    axes.set(xscale="log", yscale="log", xlabel="labelled loci", ylabel=f"half-width, {words.percent(level)}")
    plain_log_ticks(axes)
    axes.grid(which="both", axis="both", lw=0.5)
    axes.set_axisbelow(True)
    axes.set_title(f"{pair.exposure} → {pair.outcome}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=1)
    return settle(figure)
