"""Effects that vary with context as a page shows them, and its answers in words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from deepmr.report import words

MODELS = {
    "fixed": ("Fixed effect", "one effect for all loci, which scatter by their errors alone"),
    "random": ("Random effects", "loci scatter about one mean: restricted likelihood, errors by Knapp and Hartung"),
    "linear": ("Linear meta-regression", "random effects about a plane in all contexts"),
    "clusters": ("Clusters", "random effects about a mean of each cluster of contexts"),
    "contextual": (
        "Contextual",
        "random effects about a curve over contexts: constant, linear and smooth, averaged",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextRun:
    """Everything that a page on contextual effects shows.

    Attributes
    ----------
    verdict : in a sentence.
    contextual : whether there is evidence that effects vary.
    pvalue, kernels : of the test, and of each form of variation (kernel, pvalue).
    comparators : a row a model: method, beta, se, ci_low, ci_high, tau, n_coefficients, and of held-out loci
        held_out_rmse, held_out_log_score, held_out_coverage, gain, gain_low, gain_high where there are.
    curves : of each context, see `effect_curve`; columns context, value, ...
    loci : locus, chrom, beta, se, context_beta, own_beta, own_low, own_high, outside, a column a context, and
        held_out_beta where loci were held out.
    skipped : locus and reason.
    relevance, attenuation : by context.
    tau : standard deviation of loci about the curve, with its interval.
    shapes : posterior share of each shape of the curve.
    held_out : what was held out; empty where nothing was.
    predictions : of further loci, or None.
    sensitivity : a row an analysis: analysis, n, beta, se, tau, evidence, moved, note; or None.
    egger : contextual MR-Egger along the contexts: context, value, beta, ci_low, ci_high, intercept, intercept_low,
        intercept_high, intercept_pvalue; or None.
    level : of intervals.
    notes : what a reader has to know, in sentences.
    provenance : how every file was made, by its name.
    """

    exposure: str
    outcome: str
    method: str
    estimand: str
    verdict: str
    contextual: bool
    pvalue: float
    kernels: pd.DataFrame
    comparators: pd.DataFrame
    curves: pd.DataFrame
    loci: pd.DataFrame
    skipped: pd.DataFrame
    relevance: Mapping[str, float]
    attenuation: Mapping[str, float] = field(default_factory=dict)
    tau: tuple[float, float, float]
    shapes: Mapping[str, float]
    held_out: str = ""
    predictions: pd.DataFrame | None = None
    sensitivity: pd.DataFrame | None = None
    egger: pd.DataFrame | None = None
    level: float = 0.95
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def contexts(self) -> list[str]:
        """Names of the contexts that vary, the most relevant first."""
        return sorted(self.relevance, key=lambda name: -self.relevance[name])


def question(run: ContextRun) -> str:
    """Return what was asked, for the head of the page."""
    return f"Does the effect of {run.exposure} on {run.outcome} vary with the context of a locus?"


def facts(run: ContextRun) -> list[tuple[str, str]]:
    """Return the numbers that stand beside the answer: name and text."""
    tau, low, high = run.tau
    found = [
        ("loci", f"{len(run.loci):,}"),
        ("contexts that vary", f"{len(run.relevance):,}"),
        ("P, no variation", words.pvalue(run.pvalue)),
        ("scatter of loci left", f"{words.number(tau)} ({words.span(low, high)})"),
    ]
    row = run.comparators[run.comparators["method"] == "random"]
    if "gain" in run.comparators and len(row) and np.isfinite(row["gain"].iloc[0]):
        gain = row.iloc[0]
        text = f"{words.number(gain['gain'], 3)} ({words.number(gain['gain_low'], 3)} to "
        found.append(("gain in log score a locus", text + f"{words.number(gain['gain_high'], 3)})"))
    return found


COLUMNS = (
    ("Scatter τ", "standard deviation of the loci's true effects about the model; 0 for a fixed effect by definition"),
    ("Coefficients", "that the model spends; of the contextual one the effective number, which smoothing keeps low"),
    ("Error, held out", "root mean square of estimate less forecast, for loci that the fit had not seen"),
    ("Log score", "mean log density of these estimates by the forecast, in nats a locus; the higher the better"),
    ("Coverage", "share of these estimates inside the interval of their forecast"),
    ("Contextual gains", "log score of the contextual model less that of the row; a gain if its interval is above 0"),
)


def weighing(run: ContextRun) -> str:
    """Return how loci are weighed in the table of models, and why its means may differ from others.

    Parameters
    ----------
    run : what is shown.
    """
    said = (
        "All models weigh loci by the inverse of their variance. Errors that loci share are set aside along the "
        "contexts in use, so that with other contexts the first two rows change a little too."
    )
    if run.estimand == "population":
        return said
    return (
        f"{said} deepmr meta weighs loci of this estimand alike (where standard errors rise with effects, inverse "
        "variances favour small ones), so that its mean is another; with --weights inverse_variance it weighs as here."
    )


def meanings(run: ContextRun) -> list[tuple[str, str]]:
    """Return the models of a page with what each is, then the columns that are there.

    Parameters
    ----------
    run : what is shown.
    """
    held = "held_out_rmse" in run.comparators
    models = [MODELS[name] for name in run.comparators["method"] if name in MODELS]
    return [*models, *(COLUMNS if held else COLUMNS[:2])]
