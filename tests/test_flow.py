"""The whole chain on a small simulation, as a flow, and a smaller one from an installed wheel."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deepmr.commands.demo import compare
from deepmr.commands.run import run
from deepmr.io.tables import read_estimates, read_table

ROOT = Path(__file__).resolve().parents[1]


def write_flow(folder, **numbers):
    """Write the demo's own flow with other numbers, fewer than its own."""
    text = (ROOT / "deepmr" / "commands" / "demo.toml").read_text()
    for key, value in numbers.items():
        text, found = re.subn(rf"^{key} = \d+$", f"{key} = {value}", text, flags=re.M)
        assert found == 1, key
    (folder / "flow.toml").write_text(text)
    return folder / "flow.toml"


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flow")
    run(write_flow(folder, n_train=3000, n_test=160, calibration_split=100, members=3, epochs=20))
    return folder


def test_the_effect_is_found_and_its_interval_is_not_absurd(chain):
    forward, reverse = compare(chain)
    assert forward["effect"] == "GATA on TAL1"
    assert forward["beta"] == pytest.approx(forward["true_beta"], rel=0.2)
    assert forward["ci_low"] < forward["beta"] < forward["ci_high"]
    assert forward["ci_high"] - forward["ci_low"] > 0.01
    assert abs(reverse["true_beta"]) < 0.05


def test_every_locus_is_estimated_or_listed_with_its_reason(chain):
    estimates = read_estimates(chain / "mr.tsv")
    loci = set(read_table(chain / "simulation" / "test.tsv")["locus"])
    for (_, _), rows in estimates.table.groupby(["exposure", "method"]):
        pair = rows.iloc[0][["exposure", "method"]]
        skipped = estimates.skipped[
            (estimates.skipped["exposure"] == pair["exposure"]) & (estimates.skipped["method"] == pair["method"])
        ]
        assert set(rows["locus"]) | set(skipped["locus"]) == loci
        assert not set(rows["locus"]) & set(skipped["locus"])
        assert skipped["reason"].str.len().gt(5).all()


def test_the_report_opens_offline(chain):
    page = (chain / "report.html").read_text()
    assert "GATA" in page
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)


def test_an_installed_wheel_runs_the_chain(tmp_path):
    def call(*argv, **environment):
        done = subprocess.run(
            argv, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(ROOT))
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    site = tmp_path / "site"
    call(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel))
    where = call(sys.executable, "-c", "import deepmr; print(deepmr.__file__)", PYTHONPATH=str(site)).strip()
    assert Path(where).is_relative_to(site)
    write_flow(tmp_path, n_train=1500, n_test=80, calibration_split=60, members=2, epochs=8)
    call(sys.executable, "-m", "deepmr", "run", "flow.toml", PYTHONPATH=str(site))
    assert (tmp_path / "report.html").is_file()
