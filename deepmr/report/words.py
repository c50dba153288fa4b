"""Numbers and results in words, the same in figures, tables and sentences."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

METHOD_NAMES = {
    "ivw": "IVW",
    "ivw_fixed": "IVW, fixed",
    "ivw_random": "IVW, random",
    "wald": "Wald, mean",
    "wald_weighted": "Wald, weighted",
    "egger": "MR-Egger",
    "egger_robust": "MR-Egger, robust",
}
METHOD_MEANINGS = {
    "ivw": "slope through the origin, every instrument with equal weight",
    "ivw_fixed": "slope through the origin, weighted by inverse variance, fixed effects",
    "ivw_random": "slope through the origin, weighted by inverse variance, scatter allowed for",
    "wald": "mean of the ratios outcome effect / exposure effect",
    "wald_weighted": "inverse-variance weighted mean of the ratios",
    "egger": "slope with an intercept, which takes up a direct effect common to all instruments",
    "egger_robust": "the same by a regression that outlying instruments do not move",
}
# The estimators that a page leads with, best first: the first one that a run has.
LEADING = ("ivw", "ivw_random", "ivw_fixed", "wald_weighted", "wald")
ESTIMANDS = {
    "model": "in the model: what the ensemble has learned from sequence, not a measurement in cells",
    "calibrated": "calibrated: in the process that made the data, by labelled edits",
    "population": "in the population that the association study sampled",
}
WHERE = {"model": "in the model", "calibrated": "calibrated on labelled edits", "population": "in the population"}
UNITS = {"identity": "unit", "log": "natural-log unit", "logit": "logit"}


def number(value: float, decimals: int | None = None) -> str:
    """Return a number as text with a real minus sign; three significant digits unless `decimals` are given."""
    if not np.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "–"
    text = f"{value:.3g}" if decimals is None else f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def decimals_for(half_width: float) -> int:
    """Return how many decimals an interval of this half width deserves: its first digit is shown, at least two."""
    if not half_width > 0 or not np.isfinite(half_width):
        return 3
    return int(np.clip(-np.floor(np.log10(half_width)), 2, 8)) if half_width < 100 else 0


def interval(beta: float, low: float, high: float) -> str:
    """Return "1.02 (0.95 to 1.10)"."""
    digits = decimals_for((high - low) / 2)
    return f"{number(beta, digits)} ({number(low, digits)} to {number(high, digits)})"


def estimate(row: Mapping[Hashable, Any]) -> str:
    """Return effect and confidence interval of a row of estimates as text."""
    return interval(float(row["beta"]), float(row["ci_low"]), float(row["ci_high"]))


def percent(level: float) -> str:
    """Return "95 %"."""
    return f"{100 * level:g} %"


def pvalue(value: float) -> str:
    """Return a P value as text, never as 0."""
    if not np.isfinite(value):
        return "–"
    return "< 1e−300" if value < 1e-300 else f"{value:.2g}".replace("-", "−")


def method_name(method: str) -> str:
    """Return a method's name as a reader knows it; the key itself for one that is not listed."""
    return METHOD_NAMES.get(method, method)


def count(n: int, what: str) -> str:
    """Return "1 locus", "2 loci" or "1,200 loci" for what = "locus"."""
    plural = {"locus": "loci"}.get(what, f"{what}s")
    return f"{n:,} {what if n == 1 else plural}"
