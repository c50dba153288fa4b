"""Effects by a distance within the locus, such as that between two motifs: pooled in buckets, as table and heatmap."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from deepmr import checks
from deepmr.errors import InputError
from deepmr.meta import pool_estimates, pool_subgroups
from deepmr.report import words
from deepmr.report.content import Cell, Drawing, Grid, Section, count_cell, number_cell
from deepmr.report.style import DIVERGING, GRID, ON_DARK, ON_LIGHT, PAPER, WIDTH, new_figure, settle, styled
from deepmr.types import Estimates

LEAST = 5  # loci that a bucket should have
MAX_PAIRS = 6  # columns of the heatmap
SMALLEST = 0.1  # least end of the colour scale: differences below a tenth of the effect stay pale
SIGNIFICANT = 0.05
READING = (
    "Rows are distances, columns ordered pairs. Each cell holds the mean effect over the loci of that distance, its "
    "confidence interval and the number of loci. Colour says how far this is from the mean over all distances, as a "
    "share of it: red above, blue below, white the same. An effect that does not depend on the distance leaves its "
    "column pale."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spacing:
    """Effects by distance.

    Attributes
    ----------
    table : a row a bucket, pair and estimand: low, high (of the distances in it), exposure, outcome, method, estimand,
        beta, ci_low, ci_high, n_loci, and mean, mean_half: the effect over all these loci and half of its interval.
    tests : a row a pair and estimand: exposure, outcome, estimand, q, q_df, q_pvalue of all buckets having one mean.
    n_without : loci with an estimate but without a distance.
    level : of the intervals.
    """

    table: pd.DataFrame
    tests: pd.DataFrame
    n_without: int
    level: float


def distance_buckets(distance: Float[np.ndarray, "loci"], *, n_buckets: int = 6) -> Float[np.ndarray, "edges"]:
    """Return the edges of buckets that hold about as many loci each, at least five where there are as many.

    Parameters
    ----------
    distance : of every locus.
    n_buckets : at most so many.

    Notes
    -----
    Bucket k holds edges[k] <= distance < edges[k + 1], the last its upper edge too. Ties stay together, so buckets of
    whole numbers can be unequal.
    """
    checks.at_least("n_buckets", n_buckets, 1)
    most = max(1, min(n_buckets, len(distance) // LEAST))
    edges = np.unique(np.quantile(distance, np.linspace(0, 1, most + 1), method="higher"))
    return edges if len(edges) > 1 else np.array([edges[0], edges[0]], dtype=float)


def spacing_effects(local: Estimates, spacing: pd.DataFrame, *, method: str, n_buckets: int = 6) -> Spacing:
    """Pool the effects of loci by their distance, for every pair and estimand.

    Parameters
    ----------
    local : a row a locus, pair and method.
    spacing : columns locus and distance; loci without an estimate are passed over.
    method : which rows.
    n_buckets : at most so many buckets, of about as many loci each.

    Returns
    -------
    Spacing, whose intervals contain what ensemble members share, as those of `pool_estimates` do.

    Raises
    ------
    InputError : for a locus that has two distances, or none of the loci.

    Notes
    -----
    Whether buckets differ is tested by `pool_subgroups`: an error that members make at all loci alike moves no
    difference.
    """
    checks.columns("spacing", spacing.columns, ("locus", "distance"))
    checks.unique("loci of the spacing", tuple(spacing["locus"]))
    distance = spacing.set_index("locus")["distance"].astype(float)
    rows = (local.table["method"] == method).to_numpy(bool)
    known = local.table["locus"].isin(distance.index).to_numpy(bool)
    mine = local.take(rows & known)
    if not len(mine):
        raise InputError(f"no locus of the spacing has an estimate by {method}")
    own = distance.loc[list(dict.fromkeys(mine.table["locus"]))]
    edges = distance_buckets(own.to_numpy(float), n_buckets=n_buckets)
    number = np.clip(np.searchsorted(edges, own.to_numpy(float), side="right") - 1, 0, len(edges) - 2)
    bucket = pd.Series(number, index=own.index)
    ends = own.groupby(bucket).agg(["min", "max"])
    level = float(mine.table["level"].iloc[0]) if "level" in mine.table else 0.95
    order = mine.table["locus"].map(bucket).to_numpy()
    sorted_rows = _in_order(mine, np.argsort(order, kind="stable"))
    groups = pool_subgroups(sorted_rows, {str(k): str(v) for k, v in bucket.items()}, level=level)
    overall = pool_estimates(sorted_rows, level=level).table
    table = groups.estimates.table
    names = ["exposure", "outcome", "estimand"]
    whole = overall.assign(mean=overall["beta"], mean_half=(overall["ci_high"] - overall["ci_low"]) / 2)
    at = table["locus"].astype(int)
    found = table.assign(low=at.map(ends["min"]), high=at.map(ends["max"]), n_loci=table["n"]).merge(
        whole[[*names, "mean", "mean_half"]], on=names
    )
    columns = ["low", "high", *names, "method", "beta", "ci_low", "ci_high", "n_loci", "mean", "mean_half"]
    n_without = local.table.loc[rows & ~known, "locus"].nunique()
    tests = groups.differences[[*names, "q", "q_df", "q_pvalue"]]
    return Spacing(table=found[columns], tests=tests, n_without=int(n_without), level=level)


def _in_order(estimates: Estimates, order: np.ndarray) -> Estimates:
    factors = estimates.error_factors
    return Estimates(
        table=estimates.table.iloc[order].reset_index(drop=True),
        error_factors=None if factors is None else factors[:, order],
    )


@styled
def spacing_heatmap(spacing: Spacing, *, what: str = "distance (bases)") -> Figure:
    """Draw mean effects by distance: buckets down, ordered pairs across.

    Parameters
    ----------
    spacing : what `spacing_effects` found; the first six pairs are drawn.
    what : name of the distance.

    Notes
    -----
    The colour is (effect - mean) / max(|mean|, half of the mean's interval): a pair whose mean is not known from 0 has
    no share to speak of. Its scale ends at the largest difference, or at 0.1 where all are smaller.
    """
    pairs = _pairs(spacing)[:MAX_PAIRS]
    buckets = list(dict.fromkeys(zip(spacing.table["low"], spacing.table["high"], strict=True)))
    share, texts = _cells(spacing, pairs, buckets)
    largest = max(float(np.nanmax(np.abs(share), initial=0.0)), SMALLEST)
    figure = new_figure(min(WIDTH, 1.5 * len(pairs) + 2.4), 0.56 * len(buckets) + 1.3)
    axes = figure.subplots()
    axes.set_facecolor(GRID)
    image = axes.imshow(
        np.ma.masked_invalid(share), cmap=DIVERGING.with_extremes(bad=(0, 0, 0, 0)),
        norm=TwoSlopeNorm(0, -largest, largest), aspect="auto", interpolation="none",
    )  # fmt: skip
    for (i, j), text in np.ndenumerate(texts):
        dark = abs(share[i, j]) > 0.6 * largest
        axes.text(j, i, text, ha="center", va="center", size=8, color=ON_DARK if dark else ON_LIGHT, linespacing=1.25)
    several = len({pair[2] for pair in pairs}) > 1
    names = [f"{words.shorten(e, 14)} →\n{words.shorten(o, 14)}" + (f"\n{m}" if several else "") for e, o, m in pairs]
    axes.set_xticks(range(len(pairs)), names)
    axes.set_yticks(range(len(buckets)), [_bucket(low, high) for low, high in buckets])
    axes.xaxis.tick_top()
    axes.set_ylabel(what)
    axes.set_xticks(np.arange(len(pairs) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(buckets) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=PAPER, lw=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.9, aspect=16, pad=0.03, format=_signed)
    bar.outline.set_edgecolor(GRID)
    bar.set_label("from the mean over all distances")
    return settle(figure)


def spacing_section(spacing: Spacing, *, name: str) -> Section:
    """Return what is known of effects by distance as a part of the page.

    Parameters
    ----------
    spacing : what `spacing_effects` found.
    name : of the file with the distances.
    """
    sentences = [_sentence(spacing, pair) for pair in _pairs(spacing)[:MAX_PAIRS]]
    if spacing.n_without:
        sentences.append(f"{words.count(spacing.n_without, 'locus')} with an estimate have no distance in {name}.")
    pairs = _pairs(spacing)
    where = _where(spacing)
    cut = f"The first {MAX_PAIRS} of {len(pairs)} pairs; the table has all." if len(pairs) > MAX_PAIRS else ""
    figure = Drawing(
        figure=spacing_heatmap(spacing),
        alt="Heatmap of mean effects by distance. " + " ".join(sentences[:3]),
        caption=f"Effects {where} by distance ({name}).",
        detail=cut,
        reading=READING,
    )
    rows = [
        [
            Cell(text=_bucket(row["low"], row["high"])),
            Cell(text=row["exposure"]), Cell(text=row["outcome"]), Cell(text=words.EFFECTS[row["estimand"]]),
            Cell(text=words.estimate(row), value=float(row["beta"])), count_cell(int(row["n_loci"])),
        ]
        for row in spacing.table.to_dict("records")
    ]  # fmt: skip
    method = words.method_name(str(spacing.table["method"].iloc[0]))
    table = Grid(
        caption=f"Mean effects {where} by distance, {method}.",
        columns=["distance", "exposure", "outcome", "estimand", f"effect ({words.percent(spacing.level)} CI)", "loci"],
        rows=rows,
    )
    tests = Grid(
        caption="Whether effects differ between distances.",
        columns=["exposure", "outcome", "estimand", "Q", "degrees of freedom", "P"],
        rows=[
            [Cell(text=row["exposure"]), Cell(text=row["outcome"]), Cell(text=words.EFFECTS[row["estimand"]]),
             number_cell(row["q"]), count_cell(int(row["q_df"])), number_cell(row["q_pvalue"], words.pvalue)]
            for row in spacing.tests.to_dict("records")
        ],
    )  # fmt: skip
    return Section(
        anchor="spacing", title="Effects by distance", sentences=tuple(sentences), drawings=(figure,),
        tables=(table, tests),
    )  # fmt: skip


def _pairs(spacing: Spacing) -> list[tuple[str, str, str]]:
    return list(dict.fromkeys(spacing.table[["exposure", "outcome", "estimand"]].itertuples(index=False, name=None)))


def _where(spacing: Spacing) -> str:
    return " and ".join(words.WHERE[name] for name in dict.fromkeys(spacing.table["estimand"]))


def _bucket(low: float, high: float) -> str:
    return words.number(low) if low == high else words.span(low, high)


def _signed(share: float, _: int | None) -> str:
    return f"{100 * share:+.0f} %".replace("-", "−") if round(100 * share) else "0 %"


def _cells(
    spacing: Spacing, pairs: list[tuple[str, str, str]], buckets: list[tuple[float, float]]
) -> tuple[np.ndarray, np.ndarray]:
    share = np.full((len(buckets), len(pairs)), np.nan)
    texts = np.full(share.shape, "", dtype=object)
    for row in spacing.table.to_dict("records"):
        pair = (row["exposure"], row["outcome"], row["estimand"])
        if pair not in pairs:
            continue
        at = buckets.index((row["low"], row["high"])), pairs.index(pair)
        scale = max(abs(row["mean"]), row["mean_half"]) or 1.0
        share[at] = (row["beta"] - row["mean"]) / scale
        n = words.count(int(row["n_loci"]), "locus")
        texts[at] = f"{words.number(row['beta'])}, {n}\n{words.span(row['ci_low'], row['ci_high'])}"
    return share, texts


def _sentence(spacing: Spacing, pair: tuple[str, str, str]) -> str:
    exposure, outcome, estimand = pair
    same = (spacing.tests[["exposure", "outcome", "estimand"]] == list(pair)).all(axis=1)
    test = spacing.tests[same].iloc[0]
    rows = spacing.table[(spacing.table[["exposure", "outcome", "estimand"]] == list(pair)).all(axis=1)]
    least, most = (rows.iloc[int(place)] for place in (rows["beta"].argmin(), rows["beta"].argmax()))
    of = f"of {exposure} on {outcome} {words.WHERE[estimand]}"
    if test["q_df"] < 1:
        return f"The effect {of} is known at one distance only: {words.estimate(most.to_dict())}."
    chance = f"P = {words.pvalue(float(test['q_pvalue']))}".replace("= <", "<")
    spread = (
        f"from {words.number(least['beta'])} at {_bucket(least['low'], least['high'])} to "
        f"{words.number(most['beta'])} at {_bucket(most['low'], most['high'])}"
    )
    verb = "depends" if test["q_pvalue"] < SIGNIFICANT else "is not seen to depend"
    return f"The effect {of} {verb} on the distance: {spread} ({chance})."
