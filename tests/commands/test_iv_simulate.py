"""`deepmr iv simulate`: what is written, that it is the design's, and models of one's own."""

import json

import numpy as np
import pandas as pd
import pytest

from deepmr.cli import execute
from deepmr.commands.iv_simulate import instruments_text, iv_simulate
from deepmr.errors import InputError
from deepmr.io.simulated_models import read_model, read_parameters, write_sample
from deepmr.simulate.iv_designs import DESIGNS, simulate_iv
from deepmr.simulate.iv_models import polygenic_model
from deepmr.simulate.sampling import draw_sample

MINE = """
from deepmr.simulate.distributions import Normal, Variant
from deepmr.simulate.models import Model

mine = Model(
    name="mine",
    parameters={"effect": 0.5},
    variables={
        "g": Variant(frequency=0.3, columns=2),
        "u": Normal(),
        "x": lambda g, u: g.sum(axis=1) + u,
        "y": lambda x, u, effect: effect * x - u,
    },
    exposure="x", outcome="y", instruments=("g",), response=lambda x, effect: effect * x,
)
"""


def table(path):
    return pd.read_csv(path, sep="\t")


@pytest.mark.parametrize("design", ["poly20", "effect_mod", "demand", "tian_c2"])
def test_files_hold_the_design(tmp_path, design):
    summary = iv_simulate(design=design, n=50, seed=3, out=tmp_path / "d.tsv.gz")
    drawn = simulate_iv(design, n=50, seed=3)
    pd.testing.assert_frame_equal(table(tmp_path / "d.tsv.gz"), drawn.data.to_frame(), rtol=1e-12)
    truth = table(tmp_path / "d.truth.tsv")
    x = truth[drawn.data.exposure_name].to_numpy()
    np.testing.assert_allclose(truth["truth"], drawn.truth(x))
    assert (x[0], x[-1]) == pytest.approx((drawn.data.exposure.min(), drawn.data.exposure.max()))
    given = tmp_path / "d.truth_given.tsv"
    assert given.exists() == bool(drawn.data.covariate_names)
    if given.exists():
        rows = table(given)
        expected = drawn.truth_given(rows.iloc[:, 0].to_numpy(), rows.iloc[:, 1:-1].to_numpy())
        np.testing.assert_allclose(rows["truth"], expected)
        assert not rows.duplicated().any()
    record = json.loads((tmp_path / "d.tsv.gz.json").read_text())
    assert (record["seed"], record["options"]["design"]) == (3, design)
    assert {path.name for path in tmp_path.iterdir()} == {path.rpartition("/")[2] for path in summary["files"]}


def test_the_command_line_gives_the_same(tmp_path, capsys):
    line = ["iv", "simulate", "--design", "sine", "--n", "40", "--seed", "1", "--out", str(tmp_path / "a.tsv")]
    assert execute(line) == 0
    assert "a wave" in capsys.readouterr().out
    pd.testing.assert_frame_equal(
        table(tmp_path / "a.tsv"), simulate_iv("sine", n=40, seed=1).data.to_frame(), rtol=1e-12
    )
    assert execute(line) == 3
    assert "exists" in capsys.readouterr().err
    assert execute([*line, "--overwrite"]) == 0


def test_a_design_without_covariates_leaves_no_truth_of_an_earlier_one(tmp_path):
    iv_simulate(design="effect_mod", n=20, out=tmp_path / "d.tsv")
    iv_simulate(design="sine", n=20, out=tmp_path / "d.tsv", overwrite=True)
    assert not (tmp_path / "d.truth_given.tsv").exists()


def test_a_model_of_ones_own(tmp_path):
    (tmp_path / "my.py").write_text(MINE)
    where = f"{tmp_path / 'my.py'}:mine"
    iv_simulate(design=where, n=30, hidden=True, out=tmp_path / "d.tsv")
    assert list(table(tmp_path / "d.tsv")) == ["g1", "g2", "u", "x", "y"]
    truth = table(tmp_path / "d.truth.tsv")
    np.testing.assert_allclose(truth["truth"], 0.5 * truth["x"])
    assert json.loads((tmp_path / "d.tsv.json").read_text())["parameters"] == {"effect": 0.5}
    iv_simulate(design=where, n=30, out=tmp_path / "e.tsv")
    assert list(table(tmp_path / "e.tsv")) == ["x", "y", "g1", "g2"]


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        (MINE, "my.py:mina", "did you mean 'mine'"),
        (MINE, "other.py:mine", "no such file"),
        (MINE, "my.txt:mine", r"FILE.py:NAME"),
        ("1 / 0", "my.py:mine", "cannot be run: ZeroDivisionError"),
        ("mine = 1", "my.py:mine", "defines none"),
    ],
)
def test_a_model_that_cannot_be_read_is_one_line(tmp_path, text, where, said):
    (tmp_path / "my.py").write_text(text)
    with pytest.raises(InputError, match=said):
        read_model(str(tmp_path / where))


def test_bad_options_are_one_line(tmp_path):
    with pytest.raises(InputError, match="did you mean 'poly20'"):
        iv_simulate(design="poly_20", n=20, out=tmp_path / "d.tsv")
    with pytest.raises(InputError, match=r"\.tsv\.gz or \.parquet"):
        iv_simulate(n=20, out=tmp_path / "d.csv")
    with pytest.raises(InputError, match="hidden is for models"):
        iv_simulate(n=20, hidden=True, out=tmp_path / "d.tsv")
    assert list(tmp_path.iterdir()) == []


def test_a_saved_sample_can_be_drawn_again(tmp_path):
    model = polygenic_model(n_variants=4)
    sample = draw_sample(model, 25, seed=2)
    write_sample(sample, tmp_path / "run.1")
    again = draw_sample(model, 25, seed=2, parameters=read_parameters(tmp_path / "run.1.json"))
    frame = pd.read_csv(tmp_path / "run.1.csv.gz")
    pd.testing.assert_frame_equal(frame, sample.to_frame(), rtol=1e-12)
    pd.testing.assert_frame_equal(again.to_frame(), sample.to_frame())
    first = (tmp_path / "run.1.csv.gz").read_bytes()
    write_sample(again, tmp_path / "run.2")
    assert (tmp_path / "run.2.csv.gz").read_bytes() == first
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match="is not the record"):
        read_parameters(tmp_path / "x.json")


def test_the_help_names_no_design_that_is_not_there():
    assert {"poly20", "effect_mod", "burgess_j", "sine", "het20", "demand", "linear20"} <= set(DESIGNS)


def test_instruments_are_named_as_fits_take_them():
    assert instruments_text(["v1", "v2", "v3"]) == "v{1..3}"
    assert instruments_text(["z"]) == "z"
    assert instruments_text(["v1"]) == "v1"
    assert instruments_text(["v1", "v3"]) == "v1 v3"
    assert instruments_text(["cost", "t"]) == "cost t"
