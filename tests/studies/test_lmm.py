"""A small round of the study of linear mixed models, its tables by hand, and what its benchmark works on."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bed_reader import open_bed

from benchmarks.lmm_data import load, prepare, write_bed
from benchmarks.lmm_peers import largest_difference, minutes

STUDIES = str(Path(__file__).parents[2] / "simulations")
NAMES = ("lmm_rounds", "lmm")


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, STUDIES)
    yield {name: importlib.import_module(name) for name in NAMES}
    sys.path.remove(STUDIES)
    for name in NAMES:
        del sys.modules[name]


@pytest.mark.parametrize("arm", ["small", "power", "heritability"])
def test_a_round_gives_its_table(study, arm, tmp_path, monkeypatch):
    rounds = study["lmm_rounds"]
    small = {name: rounds.replace(design, n_samples=80, n_traits=3) for name, design in rounds.DESIGNS.items()}
    monkeypatch.setattr(rounds, "DESIGNS", small)
    found = [rounds.run_round(arm, seed, variants=400) for seed in (0, 1)]
    table = study["lmm"].report(arm, found, tmp_path)
    assert len(table.splitlines()) == 2 + {"small": 9, "power": 3, "heritability": 8}[arm]
    assert (tmp_path / f"{arm}.tsv").exists()
    assert (tmp_path / "small.png").exists() == (arm == "small")
    if arm == "small":
        assert all(280 < len(values) <= 300 for values in found[0].pvalues.values())


def test_uniform_p_values_have_lambda_one(study):
    uniform = (np.arange(10_000) + 0.5) / 10_000
    assert study["lmm"].lambda_gc(uniform) == pytest.approx(1, abs=1e-3)
    key = (study["lmm_rounds"].NONE, "f")
    row = study["lmm"].calibration([{key: uniform}, {key: uniform}]).iloc[0]
    assert row["below_0.01"] == pytest.approx(0.01)
    assert row["lambda_se"] == 0
    line = study["lmm"].calibration_table(pd.DataFrame([row])).splitlines()[2]
    assert line == ("| none: least squares | F | 20,000 | 1.000 (0.000) | 1.00 (0.00) | 1.00 (0.00) | 1.00 (0.00) |")


def test_intervals_are_counted_where_they_hold(study):
    rows = pd.DataFrame({
        "samples": "siblings", "truth": 0.5, "h_sq": [0.5, 0.6, 0.9, 1.0], "se": [0.1, 0.1, 0.1, np.nan],
    })  # fmt: skip
    line = study["lmm"].heritability_table(rows).splitlines()[2]
    assert line == "| siblings | 0.5 | 4 | 0.750 | 0.238 | 0.100 | 1 | 66.7 % (27.2) |"


def test_plink_files_of_the_benchmark_hold_what_they_say(tmp_path):
    write_bed(tmp_path / "g", variants=5_000, samples=40, missing=0.1)
    with open_bed(tmp_path / "g.bed") as bed:
        assert bed.shape == (40, 5_000)
        genotypes = bed.read(dtype="float32")
    assert np.isnan(genotypes).mean() == pytest.approx(0.1, abs=0.01)
    frequency = np.nanmean(genotypes, 0) / 2
    assert 0.03 < np.median(frequency[:4_096]) < 0.97
    assert set(np.unique(genotypes[~np.isnan(genotypes)])) == {0, 1, 2}


def test_the_cohort_of_the_benchmark_comes_back(tmp_path):
    prepare(tmp_path, samples=60, markers=80)
    given = load(tmp_path)
    vectors, values = given.spectrum.vectors, given.spectrum.eigenvalues
    np.testing.assert_allclose(vectors.T @ (values[:, None] * vectors), given.kinship, atol=1e-10)
    assert np.trace(given.kinship) / 60 == pytest.approx(1)
    assert given.one().traits == ("trait1",)
    assert load(tmp_path, markers=False).dosages.shape == (0, 60)


def test_times_of_gemma_are_read_in_seconds():
    log = "##      time on eigen-decomposition = 0.02 min \n##      time on optimization = 1.5e-1 min \n"
    assert minutes(log, "time on optimization") == pytest.approx(9)
    assert minutes(log, "time on eigen-decomposition") == pytest.approx(1.2)


def test_differences_are_relative_and_of_what_is_large_enough():
    assert largest_difference(np.array([1.1, 5.0]), np.array([1.0, 1e-9]), above=1e-3) == pytest.approx(0.1)
