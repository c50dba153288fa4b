"""Figures of effects that vary with context, with their words."""

import numpy as np
import pandas as pd

from deepmr.report import words
from deepmr.report.content import Drawing, Section
from deepmr.report.context import ContextRun
from deepmr.report.context_tables import context_table, drawn
from deepmr.report.contextual import relevance_figure
from deepmr.report.effect_curve import effect_curve, foreseen

MAX_CURVES = 8  # contexts whose curves are drawn, the most relevant first
READING = {
    "curve": "The line is the effect along one context, while all others stay at their median. The dark band holds at "
    "each value by itself, the light one along the whole curve at once: a level line that fits into the light band is "
    "a constant effect that the data do not rule out. The line may lie beside the dashed mean where the medians of "
    "other contexts do not go with the mean effect. Points are loci; what their other contexts do is taken off. "
    "Loci scatter about the line by more than their errors, which is why points leave the bands. Dotted: no locus is "
    "near, and the line is a guess.",
    "foreseen": "Each point is a locus: what a fit that had not seen it said of it, and its own estimate. On the "
    "dotted line both are the same. A cloud without slope means that context foresees nothing. Estimates have errors "
    "of their own, so that even a perfect forecast scatters.",
    "relevance": "How much the effect changes with each context: 0 means not at all, 1 that one standard deviation of "
    "the context makes two loci unrelated. It says nothing of the direction, contexts that go together "
    "share it, and it is no test: contexts without any effect have some too.",
}


def sections(run: ContextRun) -> list[Section]:
    """Return the parts of the page that have figures; none where no context varies."""
    if not run.relevance:
        return []
    parts = [curve_section(run), held_out_section(run), relevance_section(run)]
    return [one for one in parts if one is not None]


def curve_section(run: ContextRun) -> Section:
    """Return the curves of the most relevant contexts."""
    base = run.comparators.set_index("method")["beta"]
    mean = float(base["random"] if "random" in base else base["contextual"])
    drawings = []
    known = drawn(run)
    for name in known[:MAX_CURVES]:
        curve = run.curves[run.curves["context"] == name]
        ends = curve.sort_values("value").iloc[[0, -1]]
        told = "; ".join(f"{words.estimate(row)} at {words.number(row['value'])}" for row in ends.to_dict("records"))
        drawings.append(
            Drawing(
                figure=effect_curve(curve, adjusted(run, name), mean=mean, exposure=run.exposure, outcome=run.outcome),
                alt=f"Effect of {run.exposure} on {run.outcome} along {name}: {told}.",
                caption=f"The effect along {name}.",
                detail=f"{told}. Dashed: {words.number(mean)}, by random effects, without contexts.",
                reading=READING["curve"],
            )
        )
    left = len(known) - len(drawings)
    sentences = (f"The {MAX_CURVES} most relevant contexts; {words.count(left, 'more context')} in curve.tsv.",) * (
        left > 0
    )
    return Section(
        anchor="curves", title="The effect along each context", sentences=sentences, drawings=tuple(drawings)
    )


def adjusted(run: ContextRun, name: str) -> pd.DataFrame:
    """Return a row a locus: value of one context, and the estimate with what its other contexts do taken off.

    Parameters
    ----------
    run : what is shown.
    name : of the context.
    """
    curve = run.curves[run.curves["context"] == name].sort_values("value")
    value = run.loci[name].to_numpy(float)
    along = np.interp(value, curve["value"].to_numpy(float), curve["beta"].to_numpy(float))
    left = run.loci["beta"].to_numpy(float) - run.loci["context_beta"].to_numpy(float)
    return pd.DataFrame({"value": value, "beta": along + left, "se": run.loci["se"].to_numpy(float)})


def relevance_section(run: ContextRun) -> Section:
    """Return which contexts matter."""
    drawing = Drawing(
        figure=relevance_figure({name: run.relevance[name] for name in run.contexts[:20]}),
        alt="Relevance of contexts: "
        + "; ".join(f"{name} {words.number(run.relevance[name], 2)}" for name in run.contexts[:12]),
        caption="Relevance of contexts.",
        reading=READING["relevance"],
    )
    shares = "; ".join(f"{name} {words.share(value)}" for name, value in run.shapes.items())
    sentences = [f"Shapes of the effect over contexts, by how likely each is: {shares}."]
    if run.attenuation:
        sentences.append(
            "Contexts with known errors show a part of their effect only; the curve is that of the true context. The "
            "share of true variance says how much of what was measured is not error."
        )
    if len(run.kernels):
        told = "; ".join(f"{row['kernel']} {words.pvalue(row['pvalue'])}" for row in run.kernels.to_dict("records"))
        sentences.append(f"P values of the test by form of variation, each by itself: {told}.")
    return Section(
        anchor="contexts",
        title="Which contexts matter",
        sentences=tuple(sentences),
        drawings=(drawing,),
        tables=(context_table(run),),
    )


def held_out_section(run: ContextRun) -> Section | None:
    """Return how well loci were foreseen that a fit had not seen; None where none were held out."""
    if "held_out_beta" not in run.loci or "held_out_coverage" not in run.comparators:
        return None
    row = run.comparators[run.comparators["method"] == "contextual"].to_dict("records")[0]
    drawing = Drawing(
        figure=foreseen(run.loci, level=run.level, coverage=float(row["held_out_coverage"])),
        alt=f"Estimates of held-out loci against predictions; root mean square error {row['held_out_rmse']:.3g}.",
        caption="Loci foreseen by fits that had not seen them.",
        detail=f"{run.held_out[:1].upper()}{run.held_out[1:]}.",
        reading=READING["foreseen"],
    )
    return Section(anchor="held-out", title="Loci that the fit had not seen", drawings=(drawing,))
