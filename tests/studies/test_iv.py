"""A small round of the study of nonlinear instrumental variables, from fits to the page, and its benchmark."""

import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import iv as benchmark
from deepmr.individual import Curve
from deepmr.nonlinear import METHODS

ROOT = Path(__file__).parents[2]
NAMES = ("iv_rounds", "iv_page", "iv")


@pytest.fixture(scope="module")
def study():
    """Return the modules of the study."""
    before = set(sys.modules)
    sys.path.insert(0, str(ROOT / "simulations"))
    yield {name: importlib.import_module(name) for name in NAMES}
    sys.path.remove(str(ROOT / "simulations"))
    for name in set(sys.modules) - before:
        if name in (*NAMES, "page_blocks"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def out(study, tmp_path_factory):
    """Return a folder with fits of three designs, which say that they are of 10,000 samples."""
    folder = tmp_path_factory.mktemp("units")
    units = [("poly20", 400, 0), ("poly20", 400, 1), ("effect_mod", 400, 0), ("demand", 1_000, 0)]
    for design, n, seed in units:
        unit = study["iv_rounds"].Unit(design=design, method="sieve", n=n, seed=seed)
        study["iv_rounds"].run_unit(unit, folder)
        path = folder / f"{unit.name}.json"
        path.write_text(path.read_text().replace('"n": 400', '"n": 10000'))
    return folder


def test_scores_are_those_of_the_definition(study, out):
    rows = study["iv_rounds"].read_units(out).set_index(["design", "seed"])
    one = rows.loc[("effect_mod", 0)]
    assert 0 < one["mse_centred"] <= one["mse"] < 0.2
    assert len(one["covered"]) == 200
    assert one["width"] < one["uniform_width"]
    assert 0 < one["cate_mse"] < 1
    assert rows.loc[("demand", 0), "grid_mse"] > 0
    assert "effective_dimension" in one["diagnostics"]
    assert np.isnan(rows.loc[("poly20", 0), "cate_mse"])


def test_a_failure_is_kept_and_told(study, out, tmp_path, monkeypatch):
    class Failing:
        def fit(self, data, *, outcome_data=None, seed=0):
            raise ValueError("nothing to fit")

    for path in out.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(study["iv_rounds"], "make_method", lambda name: Failing())
    study["iv_rounds"].run_unit(study["iv_rounds"].Unit(design="sine", method="sieve", n=50), tmp_path)
    text = study["iv_page"].failures(study["iv_rounds"].read_units(tmp_path))
    assert "| sieve, sine | 1 | ValueError: nothing to fit |" in text
    assert study["iv_page"].failures(study["iv_rounds"].read_units(out)) == "None of 4 fits failed."


def test_units_are_computed_once(study, out, caplog):
    caplog.set_level("INFO")
    units = [study["iv_rounds"].Unit(design="demand", method="sieve", n=1_000, seed=0)]
    before = (out / f"{units[0].name}.json").stat().st_mtime_ns
    study["iv"].compute(units, out, processes=1, again=False)
    assert (out / f"{units[0].name}.json").stat().st_mtime_ns == before
    assert "1 units, 0 of them to compute" in caplog.text


def test_arms_have_their_methods_and_seeds(study):
    units_of = study["iv_rounds"].units_of
    assert len(units_of("accuracy", ["sieve", "other"], None)) == 5 * 10 * 2
    coverage = units_of("coverage", ["sieve", "other"], None)
    assert {unit.method for unit in coverage} == {"sieve"}
    assert len(coverage) == 500
    assert {unit.n for unit in units_of("demand", ["sieve"], 1)} == {1_000, 5_000}
    assert set(study["iv_rounds"].CLOSED) >= {"sieve"}
    assert "sieve" in METHODS


def test_the_page_is_filled_from_what_is_there(study, out, tmp_path):
    shutil.copy(ROOT / "docs" / "iv.md", tmp_path)
    anchors = tmp_path / "anchors"
    anchors.mkdir()
    rows = [("poly20", 0, "2sls", 0.5, 0.1, 0.2), ("poly20", 1, "2sls", 0.25, 0.1, 0.2)]
    columns = ["design", "seed", "method", "mse", "cpu_s_fast_loader", "cpu_s_stock_est"]
    pd.DataFrame(rows, columns=columns).to_csv(anchors / "anchors_mlmr.csv", index=False)
    study["iv_page"].write_page(out, tmp_path, anchors=anchors)
    text = (tmp_path / "iv.md").read_text()
    assert "| 2SLS | 0.5 / 0.25 | - | - | - | - | 0.1 (0.2) |" in text
    assert "| demand, n = 1,000 |" in text
    assert "| method | poly20 | effect_mod |\n" in text
    assert (tmp_path / "img" / "iv_curves.png").stat().st_size > 10_000
    blocks = re.findall("<!-- study: (.+) -->", text)
    assert set(blocks) >= {"goals", "bands", "accuracy", "anchors", "coverage", "demand", "speed"}


def test_numbers_are_written_as_they_are_read(study):
    page = study["iv_page"]
    assert [page.number(value) for value in (0.00123456, 12.345, 1234.5, np.nan)] == ["0.00123", "12.3", "1,234", "-"]
    assert page.mean(pd.Series([1.0, 2.0, 3.0])) == "2.00 ± 0.58"
    assert page.percent(pd.Series([0.0, 1.0])) == "50.0 ± 50.0"
    curve = Curve(estimate=np.zeros(2), low=np.array([-1.0, 1.0]), high=np.array([1.0, 3.0]))
    np.testing.assert_array_equal(study["iv_rounds"].inside(curve, np.zeros(2)), [True, False])
    assert study["iv_rounds"].width(curve) == 2


def test_the_benchmark_measures_and_skips(tmp_path):
    found = benchmark.measure(benchmark.Case("sieve", "sieve", 500, 4, 0.5, 143.0, design=""))
    assert 0 < found["cpu_s"] < 20
    assert found["peak_gb"] > 0
    line = benchmark.row(benchmark.CASES["closed sieve 10,000"], {"cpu_s": 0.143, "peak_gb": 0.2})
    assert line == "| sieve | 10,000 x 20 | 0.143 | 0.5 | 143 | 1,000 | 0.20 |"
    assert benchmark.measure(benchmark.Case("none", "none", 500, 4)) == {"skipped": "no such method here"}
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- study: speed -->\nold\n<!-- end -->\nb\n<!-- end -->")
    benchmark.put(page, "new")
    assert page.read_text() == "a\n<!-- study: speed -->\n\nnew\n\n<!-- end -->\nb\n<!-- end -->"


def test_variants_of_a_biobank_explain_a_fifth():
    data = benchmark.many(25_000, 10)
    fitted = np.column_stack([np.ones(25_000), data.instruments])
    predicted = fitted @ np.linalg.lstsq(fitted, data.exposure, rcond=None)[0]
    assert np.var(predicted) / np.var(data.exposure) == pytest.approx(0.2, abs=0.02)
    assert json.dumps(sorted(benchmark.CASES))
