"""The figures of a run with their words, section by section."""

import numpy as np

from deepmr.report import words
from deepmr.report.content import LocusEffects, Plate, Plates, Run
from deepmr.report.figures import MAX_PANELS, calibration_figure, prediction_histograms
from deepmr.report.forest import forest, pair_heatmap
from deepmr.report.locus import WINDOW, locus_view
from deepmr.report.locus_forest import locus_forest
from deepmr.report.one_by_one import locus_sensitivity, sensitivity_plates
from deepmr.report.scatter import mr_scatter, se_against_mean
from deepmr.report.tables import where_of
from deepmr.types import Estimates, Instruments

MAX_FOREST = 48  # rows of the forest plot
MAX_FORESTS = 4  # pairs whose effects at all loci are drawn
MAX_TASKS = 6  # of a locus view
MAX_SCATTERS = 6  # pairs of a locus


def global_effects(run: Run, plates: Plates) -> list[Plate]:
    """Return the forest plot and, for more than two marks, the matrix of all pairs."""
    if not len(run.pooled):
        return []
    drawn, cut = for_forest(run.pooled, run.leading)
    where = where_of(run.pooled.table)
    records = drawn.table.to_dict("records")
    alt = "; ".join(
        f"{r['exposure']} to {r['outcome']}, {words.method_name(r['method'])}: {words.estimate(r)}"
        for r in records[:12]
    )
    truth = " Dashed: the true effect of the simulation." if run.truth is not None else ""
    found = [
        plates.plate(
            forest(drawn, truth=run.truth),
            alt=f"Forest plot of global effects. {alt}",
            caption=f"Global effects {where}, by pair and method.",
            detail=truth + cut,
            reading=words.READING["forest"],
        )
    ]
    lead = run.leads
    for estimand in dict.fromkeys(lead.table["estimand"]):
        mine = lead.take((lead.table["estimand"] == estimand).to_numpy(bool))
        if len(run.tasks) > 2 and len(mine) > 1:  # of two marks a matrix has two cells, which the forest shows
            found.append(_matrix(run, mine, plates))
    return found


def _matrix(run: Run, estimates: Estimates, plates: Plates) -> Plate:
    names = [task.name for task in run.tasks]
    table = estimates.table
    rated = "fdr" in table and table["fdr"].notna().any()
    return plates.plate(
        pair_heatmap(estimates, tasks=names),
        alt=f"Matrix of the effects of {len(estimates)} ordered pairs of {len(names)} marks.",
        caption=f"Effect of each row on each column, {words.method_name(run.leading)}, {where_of(table)}.",
        detail="Bold: false-discovery rate over all pairs at most 0.05." if rated else "",
        reading=words.READING["matrix"],
    )


def all_loci(run: Run, plates: Plates) -> list[Plate]:
    """Return the effect at every locus by the leading method, a figure a pair; of many pairs those furthest from 0."""
    table = run.headline.table
    strength = (table["beta"] / table["se"].where(table["se"] > 0)).abs()
    chosen = table.loc[strength.sort_values(ascending=False, kind="stable").index[:MAX_FORESTS]]
    found = []
    for row in table.loc[chosen.index.sort_values()].to_dict("records"):
        mine = [
            part.take((part.table["estimand"] == row["estimand"]).to_numpy(bool)) for part in (run.local, run.pooled)
        ]
        pair = {"exposure": row["exposure"], "outcome": row["outcome"], "method": row["method"]}
        if not (mine[0].table[list(pair)] == list(pair.values())).all(axis=1).sum() > 1:
            continue
        what = f"{row['exposure']} → {row['outcome']}"
        found.append(
            plates.plate(
                locus_forest(*mine, **pair),
                alt=f"Effects of {what} at {words.count(int(row['n']), 'locus')}, the mean {words.estimate(row)}.",
                caption=f"Effect of {what} at every locus, {words.WHERE[row['estimand']]}.",
                reading=words.READING["loci"],
            )
        )
    return found


def for_forest(estimates: Estimates, leading: str) -> tuple[Estimates, str]:
    """Return what fits into one forest plot, and a sentence on what was left out.

    Parameters
    ----------
    estimates : pairs and methods.
    leading : the method that is kept where all do not fit.
    """
    if len(estimates) <= MAX_FOREST:
        return estimates, ""
    drawn = estimates.take((estimates.table["method"] == leading).to_numpy(bool))
    cut = f" {words.method_name(leading)} only: the table below has the other methods."
    if len(drawn) > MAX_FOREST:
        strength = (drawn.table["beta"] / drawn.table["se"].where(drawn.table["se"] > 0)).abs()
        keep = strength.rank(method="first", ascending=False) <= MAX_FOREST
        cut += f" The {MAX_FOREST} of {len(drawn)} pairs that lie furthest from 0 in standard errors."
        drawn = drawn.take(keep.to_numpy(bool))
    return drawn, cut


def locus_plates(run: Run, plates: Plates) -> list[tuple[str, list[Plate]]]:
    """Return the figures of every locus shown: its view where its effects are known, and its scatter."""
    views = {locus.locus: locus for locus in run.loci}
    return [
        (name, [*_view(run, plates, views.get(name)), *_scatters(run, plates, name), *_one_by_one(run, plates, name)])
        for name in run.shown
    ]


def _view(run: Run, plates: Plates, locus: LocusEffects | None) -> list[Plate]:
    if locus is None:
        return []
    tasks = [task.name for task in run.tasks][:MAX_TASKS]
    effect = locus.effect[:, : len(tasks)].astype(float)
    marks = {pair.exposure: edits for pair in run.instruments if len(edits := _edits(pair, locus))}
    figure = locus_view(
        effect.mean(axis=0), effect.std(axis=0, ddof=1), locus.codes, tasks=tasks, chrom=locus.chrom,
        start=max(locus.start, 0), instruments=marks,
    )  # fmt: skip
    where = f"; {locus.chrom}:{locus.start:,}-{locus.start + len(locus.codes):,}, 0-based" if locus.chrom else ""
    cut = f" The first {len(tasks)} of {len(run.tasks)} marks." if len(tasks) < len(run.tasks) else ""
    n_left = int((locus.codes > 3).sum())
    left = f" Grey columns are the {words.count(n_left, 'position')} not edited." if n_left else ""
    zoom = f" The logo enlarges the {WINDOW} bases in the box." if len(locus.codes) > WINDOW else ""
    return [
        plates.plate(
            figure,
            alt=f"Effects of every edit of locus {locus.locus} on {', '.join(tasks)}, as logo and heatmap.",
            caption=f"Effects of all single-base edits of {locus.locus} on the marks, as the ensemble predicts them.",
            detail=f"Mean of {words.count(len(effect), 'member')}{where}.{zoom}{left}{cut}",
            reading=words.READING["locus"],
        )
    ]


def _edits(pair: Instruments, locus: LocusEffects) -> np.ndarray:
    """Return offset and new base of a pair's single-base instruments at the locus."""
    i = pair.loci.index(locus.locus)
    rows = pair.variants.iloc[pair.offsets[i] : pair.offsets[i + 1]]
    base = rows["effect_allele"].astype(str)
    offset = rows["pos"] - 1 - (max(locus.start, 0) if locus.chrom else 0)
    single = (base.str.len() == 1).to_numpy(bool)
    return np.stack([offset, base.map("ACGT".find)], axis=1).astype(int)[single]


def _scatters(run: Run, plates: Plates, locus: str) -> list[Plate]:
    usable = [pair for pair in run.instruments if pair.counts[pair.loci.index(locus)] > 0]
    if not usable:
        return []
    pairs = usable[:MAX_SCATTERS]
    cut = f" The first {len(pairs)} of {len(usable)} pairs with instruments." if len(usable) > len(pairs) else ""
    alt = ", ".join(f"{pair.exposure} to {pair.outcome}" for pair in pairs)
    predicted = "" if run.estimand == "population" else ", as the ensemble predicts them"
    own = run.local.take((run.local.table["estimand"] == pairs[0].estimand).to_numpy(bool))  # points are predictions
    effects = f"effects on exposure and outcome{predicted}"
    return [
        plates.plate(
            mr_scatter(pairs, own, locus=locus),
            alt=f"Effects of the instruments of locus {locus} on exposure and outcome, with fitted slopes: {alt}.",
            caption=f"Instruments of {locus}: {effects}, and the slope of each method, {where_of(own.table)}.",
            detail=cut,
            reading=words.READING["scatter_population" if run.estimand == "population" else "scatter"],
        )
    ]


def _one_by_one(run: Run, plates: Plates, locus: str) -> list[Plate]:
    """Return what single variants say; of a population only, where a locus is all there is and not one of many."""
    found = locus_sensitivity(run, locus)
    return [plate for one in found for plate in sensitivity_plates(one, plates, locus=locus)]


def verdicts(run: Run) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """Return what the sensitivity analyses say: for every locus shown, pairs and their sentences."""
    return {
        name: [
            (
                f"{one.instruments.exposure} → {one.instruments.outcome}",
                tuple(map(words.with_names, one.found.sentences)),
            )
            for one in found
        ]
        for name in run.shown
        if (found := locus_sensitivity(run, name))
    }


def ensemble_plates(run: Run, plates: Plates) -> list[Plate]:
    """Return what is known of the ensemble: calibration, errors against means, predictions."""
    found = []
    names = [task.name for task in run.tasks]
    few = f" The first {MAX_PANELS} of {len(names)} marks." if len(names) > MAX_PANELS else ""
    if run.calibration is not None and run.calibration.tasks:
        found.append(
            plates.plate(
                calibration_figure(run.calibration),
                alt="Calibration on held-out loci: " + ", ".join(task.task for task in run.calibration.tasks) + ".",
                caption="Calibration on held-out loci.",
                detail=few,
                reading=words.READING["calibration"],
            )
        )
    if run.sample is not None:
        drawn = f"a sample of {len(run.sample.beta):,} of " if len(run.sample.beta) < run.sample.n_edits else ""
        found.append(
            plates.plate(
                se_against_mean(run.sample.beta, run.sample.se, tasks=names),
                alt="Standard error against the size of the mean effect, as a density of edits per mark.",
                caption=f"Standard errors of {drawn}{run.sample.n_edits:,} edits against the size of the effects.",
                detail=few,
                reading=words.READING["errors"],
            )
        )
    if run.predictions is not None:
        found.append(
            plates.plate(
                prediction_histograms(run.predictions, tasks=run.tasks),
                alt="Histograms of the predictions of the unmutated loci: " + ", ".join(names[:MAX_PANELS]) + ".",
                caption=f"Predictions of the {run.predictions.shape[1]:,} unmutated loci.",
                detail=few,
                reading=words.READING["predictions"],
            )
        )
    return found
