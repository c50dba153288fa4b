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
    rows = []
    for one in content["verdicts"]:
        for finding in sorted(one["findings"], key=lambda f: order.index(f["severity"])):
            check, sentence = (Cell(text=str(finding[key]).replace("_", " ")) for key in ("check", "sentence"))
            who = [Cell(text=one["exposure"]), Cell(text=one["outcome"])]
            weight, estimand = Cell(text=SEVERITIES[finding["severity"]]), Cell(text=words.EFFECTS[one["estimand"]])
            rows.append([*who, sentence, weight, check, estimand])  # a phone shows the first three
    tables = [
        Grid(
            caption=f"What each check found ({name}).",
            columns=["exposure", "outcome", "finding", "weight", "check", "estimand"],
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
    keys = ["exposure", "outcome", "estimand", "verdict"]
    counts = loci.groupby(keys, sort=False).size()
    rows = [
        [
            *(Cell(text=str(value)) for value in (*key[:2], words.EFFECTS.get(key[2], key[2]), key[3])),
            count_cell(int(n)),
        ]
        for key, n in zip(counts.index, counts, strict=True)
    ]
    return Grid(caption=f"Loci by their verdict ({name}).", columns=[*keys, "loci"], rows=rows)


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
            number_cell(float(pair["shift"])), number_cell(float(pair["se"])),
            Cell(text=words.share(float(pair["shrink"])), value=float(pair["shrink"])),
            number_cell(float(pair["applied"])), number_cell(float(pair["scale"])), number_cell(float(pair["floor"])),
            count_cell(len(pair["loci"])), count_cell(int(pair["n_edits"])),
        ]
        for pair in content["pairs"]
    ]  # fmt: skip
    columns = ["exposure", "outcome", "method", "shift", "SE", "share applied", "applied", "scale of member error"]
    table = Grid(
        caption=f"What the labels ask for ({name}): by how much effects in the model miss those measured, how much of "
        "this is applied, and what a locus misses besides (scale times what members show, and floor).",
        columns=[*columns, "floor", "labelled loci", "edits"],
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
        shift = f"{words.number(float(pair['shift']))} (standard error {words.number(float(pair['se']))})"
        said = f"{' → '.join(who)}: {labels} say that effects in the model miss by {shift}; "
        said += f"{words.share(float(pair['shrink']))} of it is applied"
        if before is not None and after is not None:
            said += f": {words.estimate(before)} in the model becomes {words.estimate(after)} calibrated"
        yield f"{said}."


def _worth(worth: Mapping[str, Any], name: str) -> Grid | None:
    """Return how short the interval of the mean would be with other numbers of labels, a row a design."""
    rows = [
        [
            Cell(text=pair), count_cell(int(one["n_loci"])), count_cell(int(one["n_edits"])),
            count_cell(int(one["repeats"])), number_cell(float(one["half_width"])),
        ]
        for pair, designs in worth.items()
        for one in designs
    ]  # fmt: skip
    if not rows:
        return None
    return Grid(
        caption=f"What more labels would be worth ({name}): half of the interval of the calibrated mean effect.",
        columns=["pair", "labelled loci", "edits a locus", "times measured", "half-width"],
        rows=rows[:MAX_ROWS],
    )
