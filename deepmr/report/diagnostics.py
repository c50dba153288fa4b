"""Diagnostics as figures: the dose response with double edits, thresholds, and permuted outcomes."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepmr.report.style import (
    CYCLE,
    GRID,
    INK,
    MUTED,
    PAPER,
    VERMILLION,
    WIDTH,
    method_colour,
    new_figure,
    panel_grid,
    settle,
    styled,
    wrapped,
)
from deepmr.types import Instruments

BINS = 40
MOST = 4000  # points of a kind that are drawn; of more, every n-th
WAYS = {"loci": "outcome effects of other loci", "within": "outcome effects from elsewhere at the locus"}


@styled
def dose_response(instruments: Instruments, *, doubles: pd.DataFrame | None = None) -> Figure:
    """Draw outcome against exposure effects of all instruments, and of double edits, with the lines through each.

    Parameters
    ----------
    instruments : of one exposure.
    doubles : table "double_effects" of `schema.DIAGNOSTICS` of the same pair, or None.

    Notes
    -----
    Edits are turned so that the exposure effect is positive. Lines go through the origin, with equal weights, over all
    loci together.
    """
    kinds = [("single edits", instruments.beta_exposure[:, 0].astype(float), instruments.beta_outcome.astype(float))]
    if doubles is not None and len(doubles):
        mine = doubles[(doubles["exposure"] == instruments.exposure) & (doubles["outcome"] == instruments.outcome)]
        if len(mine):
            kinds.append(("double edits", mine["beta_exposure"].to_numpy(float), mine["beta_outcome"].to_numpy(float)))
    figure, (axes,) = panel_grid(1, columns=1, height=3.6)
    top = 0.0
    for k, (name, x, y) in enumerate(kinds):
        x, y = np.abs(x), y * np.sign(x)
        top = max(top, float(x.max(initial=0.0)))
        step = max(1, -(-len(x) // MOST))
        colour, fill = (INK, INK) if k == 0 else (VERMILLION, PAPER)
        axes.plot(x[::step], y[::step], "o", ms=2.2, mfc=fill, mec=colour, mew=0.5, alpha=0.6, zorder=3 + k, gid=name)
        slope = float(np.sum(x * y) / (np.sum(x**2) or 1.0))
        ends = np.array([0.0, float(x.max(initial=0.0))])
        label = f"{name} ({len(x):,}): slope {slope:.3g}"
        axes.plot(ends, slope * ends, color=CYCLE[k], ls=("-", "--")[k], label=label, zorder=5)
    axes.axhline(0, color=GRID, lw=0.8, zorder=0)
    axes.axvline(0, color=GRID, lw=0.8, zorder=0)
    axes.set_xlim(-0.04 * (top or 1.0), 1.06 * (top or 1.0))
    axes.set_title(wrapped(f"{instruments.exposure} → {instruments.outcome}: dose response", width=44))
    axes.set(
        xlabel=wrapped(f"effect on {instruments.exposure} (turned to be positive)", width=50),
        ylabel=wrapped(f"effect on {instruments.outcome}", width=36),
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize=7.5)
    return settle(figure)


@styled
def threshold_sensitivity(thresholds: pd.DataFrame, *, used: float | None = None) -> Figure:
    """Draw the pooled effect of one pair against the threshold for instruments, one panel a rule.

    Parameters
    ----------
    thresholds : table "thresholds" of `schema.DIAGNOSTICS`, of one pair.
    used : threshold that the estimates were made with, marked where a panel has it.
    """
    rules = list(dict.fromkeys(thresholds["rule"]))
    methods = list(dict.fromkeys(thresholds["method"]))
    figure, panels = panel_grid(max(len(rules), 1), columns=2, height=3.2)
    for axes, rule in zip(panels, rules, strict=True):
        part = thresholds[thresholds["rule"] == rule]
        for method in methods:
            one = part[part["method"] == method].sort_values("threshold")
            x, beta = one["threshold"].to_numpy(float), one["beta"].to_numpy(float)
            ends = np.stack([beta - one["ci_low"].to_numpy(float), one["ci_high"].to_numpy(float) - beta])
            colour = method_colour(method, methods)
            axes.errorbar(x, beta, yerr=np.maximum(ends, 0.0), fmt="o-", ms=4, lw=1.2, capsize=2, color=colour,
                          label=method)  # fmt: skip
        _numbers_below(axes, part)
        if used is not None and np.isclose(part["threshold"].to_numpy(float), used).any():
            axes.axvline(used, color=MUTED, lw=0.8, ls=":", zorder=0)
        axes.axhline(0, color=GRID, lw=0.8, zorder=0)
        axes.set_title(f"rule: {rule}")
        axes.set(xlabel="threshold for instruments (how many there are)", ylabel="pooled effect")
        axes.legend(loc="best")
    return settle(figure)


def _numbers_below(axes: Axes, part: pd.DataFrame) -> None:
    """Write thresholds with the number of instruments under them."""
    first = part.drop_duplicates("threshold").sort_values("threshold")
    labels = [f"{t:g}\n({n:,})" for t, n in zip(first["threshold"], first["n_instruments"], strict=True)]
    axes.set_xticks(first["threshold"].to_numpy(float), labels, fontsize=7)


@styled
def null_distribution(null: pd.DataFrame, permutation: pd.DataFrame) -> Figure:
    """Draw pooled slopes under permuted outcomes, and that of the data, one panel a control.

    Parameters
    ----------
    null : table "null" of `schema.DIAGNOSTICS`, of one pair.
    permutation : table "permutation" of the same pair.
    """
    controls = list(dict.fromkeys(permutation["control"]))
    figure = new_figure(WIDTH if len(controls) > 1 else 4.6, 2.9)
    panels = figure.subplots(1, max(len(controls), 1), squeeze=False).ravel().tolist()
    for axes, control in zip(panels, controls, strict=True):
        row = permutation[permutation["control"] == control].iloc[0]
        draws: Float[np.ndarray, "draws"] = null.loc[null["control"] == control, "beta"].to_numpy(float)
        axes.hist(draws, bins=BINS, color=CYCLE[0], alpha=0.75, label=f"{len(draws):,} permutations")
        axes.axvline(row["beta"], color=VERMILLION, lw=1.8, label=f"the data: {row['beta']:.3g}")
        axes.axvline(0, color=MUTED, lw=0.8, ls=":")
        axes.set_title(wrapped(WAYS.get(control, control), width=40))
        axes.set(xlabel="pooled slope", ylabel="permutations" if axes is panels[0] else "")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), fontsize=7.5)
    return settle(figure)
