"""Figures, with their words, of the parts of a page that other commands' files fill."""

from collections.abc import Iterator, Mapping

import pandas as pd

from deepmr import schema
from deepmr.errors import InputError
from deepmr.labelled import LabelledCalibration
from deepmr.report.content import Drawing, leading_method
from deepmr.report.diagnostics import null_distribution
from deepmr.report.labelled import READING as LABELLED
from deepmr.report.labelled import before_after_figure, misses_figure, shown_pairs, worth_figure
from deepmr.report.network import MOST_TASKS, Judgements, network_figure, say_unsupported, tasks_of
from deepmr.report.seqlets import MAX_FAMILIES, family_view
from deepmr.report.tables import where_of
from deepmr.report.thresholds import threshold_figure
from deepmr.types import Estimates

MAX_PAIRS = 4  # pairs with a figure each
THRESHOLDS = (
    "A panel is a rule by which instruments are chosen. Above, the mean effect with its interval against how strict "
    "the rule is; below, how many instruments a locus has then, with the number of loci. Dotted: the usual "
    "strictness. An effect worth believing hardly moves."
)
FAMILIES = (
    "A row is a family: sites of all loci that look alike, as those of one factor do. A dot is such a site at one "
    "locus, the bar the slope of the family with two standard errors. Families with like slopes agree; "
    "one that lies apart (coloured) reaches the outcome another way."
)
NETWORK = (
    "Each circle is a mark. A solid arrow is a direct effect: what is left when everything that passes through the "
    "other marks of the figure is taken away; blue raises the mark at its tip, orange lowers it, and a wider arrow is "
    "a larger effect. A dashed arrow is a total effect of which no part is shown to be direct. Numbers are effects "
    "with their intervals. No arrow: no effect was shown, which does not say that there is none."
)
NULL = (
    "What slopes are found when outcome effects are dealt out at random: bars. The line is the slope of the data. Far "
    "outside the bars, it is not chance that makes it."
)


def labelled_drawings(
    calibration: LabelledCalibration, pooled: Estimates, *, truth: pd.DataFrame | None = None
) -> tuple[Drawing, ...]:
    """Return mean effects before and after, misses of the labelled loci, and what more labels are worth.

    Parameters
    ----------
    calibration : what labels say.
    pooled : global effects of both estimands.
    truth : true effects of a simulation, columns exposure, outcome, beta.
    """
    return tuple(_labelled(calibration, pooled, truth))


def _labelled(calibration: LabelledCalibration, pooled: Estimates, truth: pd.DataFrame | None) -> Iterator[Drawing]:
    lead = leading_method(pooled)
    both = pooled.table[pooled.table["method"] == lead].groupby(["exposure", "outcome"])["estimand"].nunique()
    if (both > 1).any():
        yield Drawing(
            figure=before_after_figure(pooled, method=lead, truth=truth),
            alt="Mean effects in the model and calibrated, with their intervals.",
            caption="Mean effects in the model, and calibrated (in the data-generating process).",
            reading=LABELLED["before_after"],
        )
    try:
        pairs = shown_pairs(calibration, method=lead)
    except InputError:  # labels are of other methods
        return
    yield Drawing(
        figure=misses_figure(calibration, method=lead),
        alt=f"Effects by labelled edits against effects in the model at {len(pairs[0].loci)} labelled loci.",
        caption="Labelled loci: the effect in the model, and what measured edits say.",
        reading=LABELLED["misses"],
    )
    first = max(pairs, key=lambda pair: abs(float(pair.slope.mean())) / (pair.prior or 1.0))
    yield Drawing(
        figure=worth_figure(first),
        alt="Half-width of the interval of the calibrated mean effect against the number of labelled loci.",
        caption=f"What more labels would be worth for the calibrated effect of {first.exposure} on {first.outcome}.",
        reading=LABELLED["worth"],
    )


def threshold_drawings(frame: pd.DataFrame) -> tuple[Drawing, ...]:
    """Return effects against the choice of instruments, a figure a pair.

    Parameters
    ----------
    frame : columns of `schema.THRESHOLDS`.
    """
    pairs = frame[["exposure", "outcome"]].drop_duplicates().head(MAX_PAIRS).itertuples(index=False, name=None)
    return tuple(
        Drawing(
            figure=threshold_figure(frame, exposure=exposure, outcome=outcome),
            alt=f"Effects of {exposure} on {outcome} against the threshold of each rule for instruments.",
            caption=f"Effect of {exposure} on {outcome} by the choice of instruments, {where_of(frame)}.",
            reading=THRESHOLDS,
        )
        for exposure, outcome in pairs
    )


def seqlet_drawings(frame: pd.DataFrame, families: pd.DataFrame) -> tuple[Drawing, ...]:
    """Return the slopes of all sites by family, a figure a pair.

    Parameters
    ----------
    frame : columns of `schema.SEQLET_EFFECTS`.
    families : columns of `schema.SEQLET_FAMILIES`.
    """
    found: list[Drawing] = []
    for (exposure, outcome), part in families.groupby(["exposure", "outcome"], sort=False):
        mine = frame[(frame["exposure"] == exposure) & (frame["outcome"] == outcome)]
        if not mine.loc[mine["family"].isin(part["family"]), "beta"].notna().any() or len(found) == MAX_PAIRS:
            continue
        found.append(
            Drawing(
                figure=family_view(mine, part, exposure=str(exposure), outcome=str(outcome)),
                alt=f"Slopes of the sites of {exposure} on {outcome} by family.",
                caption=f"Sites of all loci by family: effect of {exposure} on {outcome}, {where_of(part)}.",
                detail=f"The first {MAX_FAMILIES} of {len(part):,} families." if len(part) > MAX_FAMILIES else "",
                reading=FAMILIES,
            )
        )
    return tuple(found)


def network_drawings(frame: pd.DataFrame, *, judgements: Judgements | None = None) -> tuple[Drawing, ...]:
    """Return the graph of a network; none where it is no table of `deepmr network` or has too many marks to draw.

    Parameters
    ----------
    frame : a row a pair.
    judgements : what diagnostics on the same page say of a pair; the caption names arrows that they do not support.
    """
    if not set(schema.NETWORK) <= set(frame.columns) or len(tasks_of(frame)) > MOST_TASKS:
        return ()
    return (
        Drawing(
            figure=network_figure(frame),
            alt=f"Graph of the effects between {', '.join(tasks_of(frame))}.",
            caption=" ".join(
                [
                    f"Direct and total effects between all marks, {where_of(frame)}.",
                    *say_unsupported(frame, judgements or {}),
                ]
            ),
            reading=NETWORK,
        ),
    )


def diagnostics_drawings(tables: Mapping[str, pd.DataFrame]) -> tuple[Drawing, ...]:
    """Return slopes under permuted outcomes, a figure a pair.

    Parameters
    ----------
    tables : of `deepmr diagnose`, by name; null and permutation are drawn.
    """
    null, permutation = tables.get("null"), tables.get("permutation")
    if null is None or permutation is None:
        return ()
    pairs = permutation[["exposure", "outcome"]].drop_duplicates().head(MAX_PAIRS).itertuples(index=False, name=None)
    found = []
    for pair in pairs:
        mine, row = (part[(part[["exposure", "outcome"]] == list(pair)).all(axis=1)] for part in (null, permutation))
        found.append(
            Drawing(
                figure=null_distribution(mine, row),
                alt=f"Slopes of {pair[0]} on {pair[1]} under permuted outcomes, and that of the data.",
                caption=f"Slope of {pair[0]} on {pair[1]} in the model, and under permuted outcomes.",
                reading=NULL,
            )
        )
    return tuple(found)
