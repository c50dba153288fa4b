"""Data sets of the reference values, and the table of differences from them."""

import os
from pathlib import Path

import pandas as pd
import pytest

from tests.mr.builders import pack
from tests.oracle.reference import COMPARED, HERE


@pytest.fixture
def prepared(request):
    """Read a data set by name: from here, or from beside the checkout (the test skips where that is absent)."""

    def read(name, **options):
        path = HERE / f"{name}.csv"
        if not path.exists():
            path = request.getfixturevalue("shared_data") / "mr" / "prepared" / path.name
        return pd.read_csv(path, **options)

    return read


@pytest.fixture
def table(row, prepared):
    """The data set of a fit."""
    return prepared(row["dataset"])


@pytest.fixture
def instruments(table):
    """The data set of a fit as instruments of one locus."""
    return pack(table.bx, table.by, table.bxse, table.byse)


def pytest_sessionfinish():
    """Write the worst relative difference of every method, where DEEPMR_PARITY names a file."""
    target = os.environ.get("DEEPMR_PARITY")
    if not target or not COMPARED:
        return
    lines = ["| package | method | fits | values | worst relative difference | where |", "|---|---|---|---|---|---|"]
    for (package, method), entries in sorted(COMPARED.items()):
        worst = max(entries, key=lambda entry: entry[3])
        fits = len({entry[:2] for entry in entries})
        choice = f" ({worst[1]})".replace("|", r"\|") if worst[1] else ""
        where = f"`{worst[2]}` of {worst[0]}{choice}"
        lines.append(f"| {package} | {method} | {fits} | {len(entries)} | {worst[3]:.1e} | {where} |")
    Path(target).write_text("\n".join(lines) + "\n")
