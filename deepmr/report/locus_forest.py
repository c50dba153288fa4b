"""Effects at single loci with what they pool to: the forest of a meta-analysis."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepmr.errors import InputError
from deepmr.report import words
from deepmr.report.caterpillar import NAMED, clip_limits, draw_rows, draw_total, finish_rows, rows_height
from deepmr.report.style import MUTED, NARROW, method_colour, new_figure, settle, styled, wrapped
from deepmr.types import Estimates

MAX_ROWS = 2000  # more loci than this are thinned out evenly, by the size of their effects


@styled
def locus_forest(local: Estimates, pooled: Estimates, *, exposure: str, outcome: str, method: str) -> Figure:
    """Draw the effect at every locus, and below it the pooled effect with its prediction interval.

    Parameters
    ----------
    local : a row a locus.
    pooled : what `pool_estimates` made of them.
    exposure, outcome, method : which rows.

    Notes
    -----
    Up to 45 loci have their names, and squares whose area grows with their weight in the mean; more are drawn as thin
    rows, from the smallest effect to the largest, and more than 2,000 are thinned out evenly. The diamond is the
    confidence interval of the mean, the capped line the prediction interval: where the effect at a new locus lies.
    """
    loci, total = (_rows(part.table, exposure, outcome, method) for part in (local, pooled))
    if loci.empty or total.empty:
        raise InputError(f"{exposure} on {outcome}, {method}: there is no effect to draw")
    loci, whole = loci.sort_values("beta", kind="stable"), total.iloc[0]
    n = len(loci)
    if n > MAX_ROWS:
        loci = loci.iloc[np.linspace(0, n - 1, MAX_ROWS).round().astype(int)]
    ends = [float(whole[name]) for name in ("ci_low", "ci_high", "pi_low", "pi_high") if name in whole]
    limits = clip_limits(loci["ci_low"].to_numpy(float), loci["ci_high"].to_numpy(float), ends)
    height = rows_height(len(loci))
    unit = len(loci) / height
    figure = new_figure(NARROW, 1.6 + height)
    axes = figure.subplots()
    weight = 1 / (np.square(loci["se"].to_numpy(float)) + np.nan_to_num(float(whole.get("tau2", 0.0))) + 1e-300)
    sizes = 2.5 + 4.5 * np.sqrt(weight / weight.max()) if len(loci) <= NAMED else None
    labels = draw_rows(axes, loci, loci["locus"].tolist(), limits=limits, sizes=sizes)
    y = len(loci) + 0.5 + 0.28 * unit
    draw_total(axes, y, 0.09 * unit, whole, colour=method_colour(method, [method]), limits=limits)
    labels[y] = f"mean of {words.count(n, 'locus')}\n{words.estimate(whole.to_dict())}"
    axes.axhline(len(loci) + 0.5 + 0.06 * unit, color=MUTED, lw=0.5)
    finish_rows(axes, labels, limits=limits, depth=y + 0.22 * unit, numbers={})
    axes.locator_params(axis="x", nbins=4)
    thinned = f"; {MAX_ROWS:,} of them drawn" if n > MAX_ROWS else ""
    title = f"{exposure} → {outcome}, {words.method_name(method)}: {words.count(n, 'locus')}{thinned}"
    axes.set_title(wrapped(title, width=40))
    level = words.percent(float(whole.get("level", 0.95)))
    line = "; line: prediction interval" if np.isfinite(whole.get("pi_low", np.nan)) else ""
    what = words.EFFECTS[str(whole["estimand"])]
    axes.set_xlabel(wrapped(f"{what}, with {level} intervals (diamond: mean{line})", width=46), loc="right")
    return settle(figure)


def _rows(table: pd.DataFrame, exposure: str, outcome: str, method: str) -> pd.DataFrame:
    return table[(table["exposure"] == exposure) & (table["outcome"] == outcome) & (table["method"] == method)]
