"""Python that the pages show runs as it is pasted."""

import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from deepmr.commands.cohort_simulate import cohort_simulate
from deepmr.commands.mr import mr

ROOT = Path(__file__).parents[1]
LDL, CHD = "LDL.tsv.gz", "CHD.csv"


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), flags=re.DOTALL)


@pytest.fixture
def example(tmp_path, monkeypatch):
    for name in (LDL, CHD):
        shutil.copy(ROOT / "docs" / "gwas_example" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_gwas_from_python_gives_what_the_command_gives(example):
    names: dict = {}
    whole, by_hand = blocks("gwas.md")
    exec(whole, names)
    mr(exposure=[LDL], outcome=[CHD], out=example / "mr.tsv", method=["ivw_random"])
    command = np.genfromtxt(example / "mr.tsv", names=True, delimiter="\t", dtype=None, encoding=None)
    python = names["estimate_effects"](names["instruments"], methods=["ivw_random"]).table["beta"][0]
    assert python == pytest.approx(float(command["beta"]), rel=1e-9)
    assert names["tukey"].table["method"].tolist() == ["raps"]
    exec(by_hand, names)
    assert names["by_hand"].outcome == "CHD"


def test_sensitivity_from_python(example):
    mr(exposure=[LDL], outcome=[CHD], out=example / "mr.tsv", save_instruments=example / "instruments.tsv")
    names: dict = {}
    for block in blocks("sensitivity.md"):
        exec(block, names)
    assert len(names["found"].sentences) > 3


def test_effects_that_vary_with_context(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for block in blocks("context_python.md"):
            exec(block, names)
    assert names["fit"].kind == "gp"
    assert np.abs(names["told"].beta[:, 0, 0] - [-1, -0.5, 0, 0.5, 1]).max() < 0.2
    assert names["read"].missing == {"gc": 1}
    assert np.abs(names["dag"].graphs(names["drawn"].contexts[:1])[0, 2, 1] - 1) < 0.2


def test_a_model_of_ones_own():
    names: dict = {}
    for block in blocks("iv.md"):
        exec(block, names)
    assert names["sample"].data.covariate_names == ("age",)
    assert np.mean((names["found"].estimate - names["truth"]) ** 2) < 0.05
    assert len(names["replicates"]) == 3
    assert names["at_age"][-1] - names["truth"][-1] == pytest.approx(0.2 * 4, abs=0.05)


def test_mixed_models_from_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cohort_simulate(out=tmp_path / "people", samples=240, variants=300)
    names: dict = {}
    for block in blocks("lmm_python.md"):
        exec(block, names)
    assert names["table"]["status"].eq("ok").all()
    assert 0 < names["model"].h_sq < 1
    assert set(names["stats"].traits) <= {"x", "y"}
    beta = names["associate_variants"](names["cohort"], names["spectrum"]).table["beta"].to_numpy()
    np.testing.assert_allclose(names["again"].table["beta"], beta, rtol=1e-8)
    np.testing.assert_allclose(names["spread"].table["beta"], beta, rtol=1e-8)  # other threads of linear algebra
    assert np.isfinite(names["exact"].table["log_gamma"]).any()
