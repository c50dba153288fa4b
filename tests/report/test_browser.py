"""Pages in Chromium: nothing sticks out, text can be read, nothing is asked for. Skipped where there is no Chromium."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepmr.report.content import Run
from deepmr.report.page import render_page
from deepmr.report.spacing import spacing_effects, spacing_section
from deepmr.types import Estimates, Task
from tests.report.browser import WIDTHS, browser, chromium, look
from tests.report.toy import toy_run

pytestmark = pytest.mark.skipif(chromium() is None, reason="there is no Chromium to look with")

LONG = "a_peak_whose_name_goes_on_and_on_without_any_place_to_break_it_" * 3


@pytest.fixture(scope="module")
def chrome():
    with browser() as found:
        yield found


def full_page():
    """Return a page with long names, a part of its own, and both estimands."""
    run = toy_run(n=24, names=[LONG, *(f"peak_{i}" for i in range(1, 24))])
    spacing = pd.DataFrame({"locus": run.local.table["locus"].unique()})
    spacing["distance"] = np.arange(len(spacing), dtype=float)
    parts = []
    for estimates in (run.pooled, run.local):
        table = estimates.table
        parts.append(Estimates(table=pd.concat([table, table.assign(estimand="calibrated")], ignore_index=True)))
    section = spacing_section(spacing_effects(run.local, spacing, method="ivw"), name="spacing.tsv")
    return replace(run, pooled=parts[0], local=parts[1], sections=(section,), notes=(LONG,))


def wide_page():
    """Return a page of many pairs, of marks with long names."""
    rng = np.random.default_rng(0)
    tasks = [f"mark_{i}_of_a_long_list" for i in range(9)]
    pairs = pd.DataFrame([{"exposure": a, "outcome": b} for a in tasks for b in tasks if a != b])
    beta = rng.normal(size=len(pairs))
    table = pairs.assign(
        method="ivw", locus="*", estimand="model", beta=beta, se=0.1, ci_low=beta - 0.2, ci_high=beta + 0.2,
        pvalue=0.1, n=40,
    )  # fmt: skip
    return Run(
        tasks=tuple(Task(name=name) for name in tasks),
        pooled=Estimates(table=table),
        local=Estimates(table=table.assign(locus="a")),
    )


@pytest.mark.parametrize("make", [full_page, wide_page])
def test_a_page_fits_can_be_read_and_asks_for_nothing(chrome, tmp_path, make):
    path = tmp_path / "page.html"
    path.write_text(render_page(make()), encoding="utf-8")
    for place, width in WIDTHS.items():
        for dark in (False, True):
            view = look(chrome, path, width=width, dark=dark, name=f"{place}{' dark' if dark else ''}")
            assert view.faults() == []
            assert view.seen["dark"] == dark
            assert view.seen["inner"] == width
            assert view.seen["figures"] > 1


def test_what_is_wrong_is_seen(chrome, tmp_path):
    """The checks themselves: each fault is planted once."""
    path = tmp_path / "bad.html"
    path.write_text(
        "<!doctype html><html><meta name=viewport content='width=device-width'><body style='margin:0;background:#fff'>"
        "<div style='width:2000px'>wide</div><p style='color:#ccc'>faint</p><img src='https://example.org/x.png'>"
        "<svg class=plot width=300 height=100 viewBox='0 0 300 100' aria-label=figure>"
        "<text x=10 y=20 font-size=5>small</text>"
        "<text x=100 y=50 font-size=20>one</text><text x=102 y=52 font-size=20>two</text>"
        "<text x=280 y=90 font-size=20>outside</text></svg><script>console.log('said')</script></body></html>"
    )
    view = look(chrome, path, width=1280, dark=False)
    text = "\n".join(view.faults())
    for word in ("2000 px wide", "sticks out", "too small", "lies on other text", "cut off", "too faint", "said"):
        assert word in text
    assert "asked for https://example.org/x.png" in text
