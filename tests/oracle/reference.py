"""The rows of expected.csv and the comparison with them; README.md beside this file says what made them."""

import csv
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLOSED, ITERATED, ROBUST = 1e-9, 1e-6, 1e-5

with (HERE / "expected.csv").open(newline="") as file:
    ROWS = list(csv.DictReader(file))

# (package, method) -> list of (dataset, options, quantity, relative difference, tolerance): filled by `agree`, and
# written as a table by `DEEPMR_PARITY=docs/parity.md pytest -n 0 tests/oracle`.
COMPARED = {}


class Values(dict):
    """Numbers of one fit by name, which remember the fit."""

    row = None


def rows(package, method, *, options="", without=()):
    """Fits of a method whose options contain a text, and none of `without`."""
    chosen = [
        row
        for row in ROWS
        if row["package"] == package
        and row["method"] == method
        and options in row["options"]
        and not any(part in row["options"] for part in without)
    ]
    assert chosen
    return chosen


def fits(package, method, *, options="", without=()):
    """Run a test for each of these fits, as `row`."""
    chosen = rows(package, method, options=options, without=without)
    return pytest.mark.parametrize("row", chosen, ids=lambda r: f"{r['dataset']}-{r['options']}")


def values(row):
    """Quantity -> number; vectors are est[1], est[2], ..."""
    parts = (part.split("=") for part in row["values"].split())
    found = Values((name, float(value)) for name, value in parts if value != "NA")
    found.row = row
    return found


def options(row):
    """Option -> text."""
    return dict(part.split("=") for part in row["options"].split(";") if "=" in part)


def agree(ours, theirs, names, rel):
    """Compare the quantities of `theirs` that `names` maps to names in `ours`.

    `rel` is the relative tolerance, or a function that gives it for a quantity.
    """
    compared = {q: (float(ours[names[q]]), value) for q, value in theirs.items() if q in names}
    assert compared
    for quantity, (mine, value) in compared.items():
        tolerance = rel(quantity) if callable(rel) else rel
        row = getattr(theirs, "row", None)
        if row is not None:
            difference = abs(mine - value) / max(abs(value), 1e-300) if mine != value else 0.0
            entry = (row["dataset"], row["options"], quantity, difference, tolerance)
            COMPARED.setdefault((row["package"], row["method"]), []).append(entry)
        assert mine == pytest.approx(value, rel=tolerance, abs=1e-300), quantity


def only(estimates):
    """The one row of estimates that skipped nothing."""
    assert len(estimates.skipped) == 0
    assert len(estimates.table) == 1
    return estimates.table.iloc[0]
