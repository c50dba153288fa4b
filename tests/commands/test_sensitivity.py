"""`deepmr sensitivity`: from a table of instruments to a folder."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepmr import schema
from deepmr.cli import execute
from deepmr.commands.sensitivity import sensitivity
from deepmr.errors import InputError, TooFewInstruments
from deepmr.io.tables import read_estimates, write_table
from tests.mr.builders import pack, simulated


@pytest.fixture
def one(tmp_path):
    """Instruments of one locus in a population, with sizes and frequencies."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 0.3, 12)
    given = pack(x, 0.5 * x + 0.01 * rng.normal(size=12), 0.005, 0.01, n=(1e5, 1e5))
    given = replace(given, estimand="population", variants=given.variants.assign(eaf=0.3))
    write_table(given.to_frame(), tmp_path / "one.tsv")
    return tmp_path / "one.tsv"


def test_a_folder_of_tables_figures_and_words(one, tmp_path):
    out = tmp_path / "out"
    summary = sensitivity(one, out=out, method=["ivw_random", "egger"])
    tables = {path.stem for path in out.glob("*.tsv")}
    assert tables == {*schema.SENSITIVITY, "estimates", "estimates.skipped", "skipped"}
    for name, columns in schema.SENSITIVITY.items():
        assert set(pd.read_csv(out / f"{name}.tsv", sep="\t")) <= set(columns)
    assert len(read_estimates(out / "estimates.tsv")) == 2
    drawn = {path.name for path in (out / "figures").iterdir()}
    kinds = ("scatter", "radial", "single", "funnel", "density", "leave_one_out")
    assert drawn == {f"{kind}_exposure_outcome.png" for kind in kinds}
    assert summary["figures"] == 6
    assert (out / "verdict.txt").read_text().splitlines() == summary["verdict"]
    assert "ivw_random estimates the effect of exposure on outcome" in summary["verdict"][0]
    assert any("The direction holds" in sentence for sentence in summary["verdict"])


@pytest.mark.parametrize(("figures", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("none", None)])
def test_formats(one, tmp_path, figures, start):
    out = tmp_path / "out"
    sensitivity(one, out=out, method=["ivw_random"], figures=figures)
    files = list((out / "figures").iterdir()) if start else []
    assert (out / "figures").exists() == (start is not None)
    assert all(path.read_bytes().startswith(start) for path in files)


def test_many_loci_get_a_forest_and_the_named_ones_their_figures(tmp_path):
    path = tmp_path / "many.tsv"
    write_table(simulated(counts=(5, 9, 20, 2), members=4).to_frame(), path)
    sensitivity(path, out=tmp_path / "out", method=["ivw"], locus=["locus1", "locus3"], figures="svg")
    names = {p.stem for p in (tmp_path / "out" / "figures").iterdir()}
    assert "loci_exposure_outcome" in names
    assert {"scatter_exposure_outcome_locus1", "leave_one_out_exposure_outcome_locus1"} <= names
    assert "scatter_exposure_outcome_locus3" in names
    assert "leave_one_out_exposure_outcome_locus3" not in names  # two instruments: nothing to leave out
    assert not any("locus2" in name for name in names)


def test_both_directions_are_compared(tmp_path):
    forward = simulated(counts=(20,))
    backward = replace(simulated(counts=(20,), seed=1), exposures=("outcome",), outcome="exposure")
    write_table(pd.concat([forward.to_frame(), backward.to_frame()]), tmp_path / "i.tsv")
    said = sensitivity(tmp_path / "i.tsv", out=tmp_path / "out", method=["ivw"], figures="none")["verdict"]
    assert any(line.startswith("exposure ⇄ outcome: ivw: exposure on outcome 0.") for line in said)
    assert any(line.startswith("outcome → exposure: ivw estimates") for line in said)


def test_a_binary_outcome(one, tmp_path):
    common = {"method": ["ivw_random"], "figures": "none"}
    sensitivity(one, out=tmp_path / "a", **common)
    sensitivity(one, out=tmp_path / "b", cases=100.0, controls=900.0, prevalence=0.1, **common)
    shares = [pd.read_csv(tmp_path / name / "steiger.tsv", sep="\t") for name in "ab"]
    assert shares[0]["r2_exposure"].equals(shares[1]["r2_exposure"])
    assert not shares[0]["r2_outcome"].equals(shares[1]["r2_outcome"])
    with pytest.raises(InputError, match="needs all of --cases, --controls and --prevalence"):
        sensitivity(one, out=tmp_path / "c", cases=100.0)
    bare = pd.read_csv(one, sep="\t").drop(columns="eaf")
    write_table(bare, tmp_path / "bare.tsv")
    with pytest.raises(InputError, match="a column eaf"):
        sensitivity(tmp_path / "bare.tsv", out=tmp_path / "c", cases=1.0, controls=1.0, prevalence=0.1)


def test_what_it_refuses(one, tmp_path):
    for options, message in (
        ({"method": ["egg"]}, "method must be one of"),
        ({"method": ["ivw", "ivw"]}, "must be unique"),
        ({"level": 1.0}, "level must be between 0 and 1"),
        ({"locus": ["elsewhere"]}, "there is no locus 'elsewhere'"),
        ({"n_loci": -1}, "n_loci must be at least 0"),
    ):
        with pytest.raises(InputError, match=message):
            sensitivity(one, out=tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()


def test_a_folder_is_replaced_only_when_asked_and_only_one_of_ours(one, tmp_path):
    out = tmp_path / "out"
    options = {"out": out, "method": ["ivw_random"], "figures": "none"}
    sensitivity(one, **options)
    with pytest.raises(InputError, match="exists"):
        sensitivity(one, **options)
    sensitivity(one, **options, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="left alone"):
        sensitivity(one, **(options | {"out": tmp_path / "mine"}), overwrite=True)


def test_no_estimate_leaves_the_reasons(tmp_path, capsys):
    write_table(simulated(counts=(2,)).to_frame(), tmp_path / "few.tsv")
    with pytest.raises(TooFewInstruments, match="has an estimate"):
        sensitivity(tmp_path / "few.tsv", out=tmp_path / "out")
    assert "needs at least 3 instruments; has 2" in (tmp_path / "out" / "estimates.skipped.tsv").read_text()
    assert execute(["sensitivity", str(tmp_path / "few.tsv"), "--out", str(tmp_path / "new")]) == 1
    assert execute(["sensitivity", str(tmp_path / "gone.tsv"), "--out", str(tmp_path / "new2")]) == 3
    assert "gone.tsv: cannot be read" in capsys.readouterr().err
