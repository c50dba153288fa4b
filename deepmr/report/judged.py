"""How sure the answer is, from what other commands wrote: diagnostics with their verdicts, and labelled edits."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from deepmr.report import words
from deepmr.report.content import Cell, Drawing, Grid, Section, count_cell, leading_method, number_cell
from deepmr.report.tables import MAX_ROWS
from deepmr.types import Estimates

SEVERITIES = {
    "against": "speaks against it",
    "undecided": "leaves it undecided",
    "doubt": "a doubt",
    "note": "to note",
    "fine": "fine",
}


def diagnostics_section(
    content: Mapping[str, Any], *, name: str, loci: pd.DataFrame | None = None, drawings: Sequence[Drawing] = ()
) -> Section:
    """Return what `deepmr diagnose` found as a part of the page.

    Parameters
    ----------
    content : of its verdict.json.
    name : of its folder.
    loci : its table of loci, with a verdict each.
    drawings : figures that go with it.
    """
    order = list(SEVERITIES)
    found: dict[tuple[str, ...], list[str]] = {}  # most checks say the same of both estimands: one row
    for one in content["verdicts"]:
        for finding in sorted(one["findings"], key=lambda f: order.index(f["severity"])):
            said = (str(finding[key]) for key in ("severity", "check", "sentence"))
            key = (one["exposure"], one["outcome"], *said)
            found.setdefault(key, []).append(one["estimand"])
    rows = [
        [
            Cell(text=f"{exposure} → {outcome}"), Cell(text=sentence.replace("_", " ")),
            Cell(text=check.replace("_", " ")), Cell(text=SEVERITIES[severity]), Cell(text=" and ".join(estimands)),
        ]
        for (exposure, outcome, severity, check, sentence), estimands in found.items()
    ]  # fmt: skip
    tables = [
        Grid(
            caption=f"What each check found ({name}), and of which effect: in the model, calibrated, or both.",
            columns=["pair", "finding", "check", "weight", "estimand"],
            rows=rows,
        )
    ]
    if loci is not None and {"exposure", "outcome", "estimand", "verdict"} <= set(loci.columns):
        tables.append(_loci(loci, name))
    return Section(
        anchor="diagnostics",
        title="Diagnostics",
        sentences=tuple(words.with_names(str(text)).replace(" -> ", " → ") for text in content["said"]),
        drawings=tuple(drawings),
        tables=tuple(tables),
        part="sure",
    )


def _loci(loci: pd.DataFrame, name: str) -> Grid:
    keys = ["exposure", "outcome", "estimand"]
    counts = loci.pivot_table(index=keys, columns="verdict", aggfunc="size", fill_value=0, sort=False)
    rows = [
        [Cell(text=f"{key[0]} → {key[1]}"), *(count_cell(int(n)) for n in row), Cell(text=str(key[2]))]
        for key, row in zip(counts.index, counts.to_numpy(), strict=True)
    ]
    caption = f"Loci by their verdict ({name}), for the effect in the model and the calibrated one."
    return Grid(caption=caption, columns=["pair", *map(str, counts.columns), "estimand"], rows=rows)


def _text(value: object) -> Cell:
    return Cell(text=str(value))


def labelled_section(
    content: Mapping[str, Any], pooled: Estimates, *, name: str, drawings: Sequence[Drawing] = ()
) -> Section:
    """Return what labelled edits changed, and what more would be worth, as a part of the page.

    Parameters
    ----------
    content : of the file that `deepmr calibrate --labelled-edits` wrote.
    pooled : global effects; before and after are read from these.
    name : of the file.
    drawings : figures that go with it.
    """
    rows = [
        [
            Cell(text=pair["exposure"]), Cell(text=pair["outcome"]), Cell(text=words.method_name(pair["method"])),
            count_cell(len(pair["loci"])), count_cell(int(pair["n_edits"])),
            number_cell(float(pair["shift"])), number_cell(float(pair["se"])), number_cell(float(pair["applied"])),
            number_cell(float(pair["scale"])), number_cell(float(pair["floor"])),
        ]
        for pair in content["pairs"]
    ]  # fmt: skip
    columns = ["exposure", "outcome", "method", "labelled loci", "edits", "shift", "SE", "applied"]
    table = Grid(
        caption=f"What the labels say ({name}). Shift: measured effect less that in the model, on average over "
        "labelled loci; few labels are believed in part, and what is applied is that part. A single locus misses by "
        "something of its own besides: so many times what the members' scatter shows, never less than the least error.",
        columns=[*columns, "times scatter", "least error"],
        rows=rows,
    )
    sentences = (*_changes(content, pooled), *map(str, content.get("warnings", ())))
    worth = _worth(content.get("worth", {}), name)
    return Section(
        anchor="labelled",
        title="Before and after calibration on labelled edits",
        sentences=tuple(sentences),
        drawings=tuple(drawings),
        tables=(table,) if worth is None else (table, worth),
        part="sure",
    )


def _changes(content: Mapping[str, Any], pooled: Estimates) -> Iterator[str]:
    lead = leading_method(pooled)
    rows = {
        (row["exposure"], row["outcome"], row["estimand"]): row
        for row in pooled.table[pooled.table["method"] == lead].to_dict("records")
    }
    for pair in content["pairs"]:
        if pair["method"] != lead:
            continue
        who = (pair["exposure"], pair["outcome"])
        before, after = rows.get((*who, "model")), rows.get((*who, "calibrated"))
        labels = f"{words.count(int(pair['n_edits']), 'labelled edit')} at {words.count(len(pair['loci']), 'locus')}"
        shift, side = float(pair["shift"]), "below" if pair["shift"] < 0 else "above"
        said = f"{' → '.join(who)}: {labels} put the effect in the data-generating process {words.number(abs(shift))} "
        said += f"{side} that in the model (standard error {words.number(float(pair['se']))}); "
        said += f"{words.share(float(pair['shrink']))} of this is applied"
        if before is not None and after is not None:
            said += f": {words.estimate(before)} in the model becomes {words.estimate(after)} calibrated"
        yield f"{said}."


def _worth(worth: Mapping[str, Any], name: str) -> Grid | None:
    """Return how short the interval of the mean would be: a row a number of labelled loci, a column one of edits."""
    once = [(pair, one) for pair, designs in worth.items() for one in designs if int(one["repeats"]) == 1]
    half = {(pair, int(one["n_loci"]), int(one["n_edits"])): float(one["half_width"]) for pair, one in once}
    edits = sorted({m for _, _, m in half})
    loci = list(dict.fromkeys((pair, n) for pair, n, _ in half))
    if not half:
        return None
    return Grid(
        caption=f"What more labels would be worth ({name}): half of the interval of the calibrated mean effect, by how "
        "many loci are labelled and how many edits of each are measured, once each.",
        columns=["pair", "labelled loci", *(words.count(m, "edit") for m in edits)],
        rows=[
            [Cell(text=pair), count_cell(n), *(number_cell(half.get((pair, n, m), float("nan"))) for m in edits)]
            for pair, n in loci[:MAX_ROWS]
        ],
    )
