"""`deepmr thresholds` against `deepmr mr` and `deepmr meta`, one choice of instruments at a time."""

import json

import numpy as np
import pandas as pd
import pytest

from deepmr.commands.meta import meta
from deepmr.commands.mr import mr
from deepmr.commands.thresholds import thresholds
from deepmr.errors import InputError, TooFewInstruments
from deepmr.io.tables import read_estimates
from deepmr.schema import THRESHOLDS

GRID = ["relative=0.05,0.5", "f=3", "zscore=1.0"]


@pytest.fixture(scope="module")
def effects(tmp_path_factory):
    """A table of effects of 5 members on three tasks at 6 loci, some of them weak."""
    rng = np.random.default_rng(0)
    rows = []
    for locus in range(6):
        size = 0.3 if locus == 5 else 2.0
        signs = rng.choice([-1.0, 1.0], size=8)
        for v in range(30):
            dx = size * signs[v] * (1 + 0.1 * rng.normal()) if v < 8 else 0.02 * rng.normal()
            for member in range(5):
                for task, beta in (("X", dx), ("Y", 2 * dx), ("Z", 0.0)):
                    rows.append((f"l{locus}", f"l{locus}v{v}", v + 1, task, member, beta + 0.02 * rng.normal()))
    path = tmp_path_factory.mktemp("thresholds") / "effects.tsv"
    columns = ["locus", "variant_id", "pos", "task", "member", "beta"]
    pd.DataFrame(rows, columns=columns).to_csv(path, sep="\t", index=False)
    return path


def read(path):
    return pd.read_csv(path, sep="\t")


def test_each_row_is_what_mr_and_meta_give(effects, tmp_path):
    out = tmp_path / "thresholds.tsv"
    thresholds(effects, out=out, exposure=["X"], grid=GRID, method="ivw")
    table = read(out)
    assert list(table.columns) == list(THRESHOLDS)
    assert len(table) == 4 * 2
    for rule, threshold in (("relative", 0.05), ("relative", 0.5), ("f", 3.0), ("zscore", 1.0)):
        one = {"rule": rule, "threshold": threshold, "method": ["ivw"], "exposure": ["X"], "overwrite": True}
        mr(effects, out=tmp_path / "mr.tsv", **one)
        meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv", overwrite=True)
        pooled, local = (read_estimates(tmp_path / f"{name}.tsv").table for name in ("meta", "mr"))
        mine = table[(table["rule"] == rule) & (table["threshold"] == threshold)]
        for name in ("beta", "ci_low", "ci_high"):
            np.testing.assert_allclose(mine[name], pooled[name], rtol=1e-9)
        assert mine["outcome"].tolist() == pooled["outcome"].tolist() == ["Y", "Z"]
        assert mine["n_loci"].tolist() == pooled["n"].tolist()
        assert mine["n_instruments"].tolist() == local.groupby("outcome")["n"].sum().tolist()
        assert set(mine["estimand"]) == {"model"}
    record = json.loads((tmp_path / "thresholds.tsv.json").read_text())
    assert record["command"] == "thresholds"
    assert set(record["inputs"]) == {"effects"}


def test_loci_without_an_estimate_are_counted_and_loci_in_common_are_the_same(effects, tmp_path):
    options = {"exposure": ["X"], "outcome": ["Y"], "grid": ["relative=0.02,0.5"]}
    thresholds(effects, out=tmp_path / "own.tsv", **options)
    own = read(tmp_path / "own.tsv")
    assert own["n_loci"].tolist() == [6, 5]
    gone = read(tmp_path / "own.skipped.tsv")
    assert gone[["threshold", "loci"]].to_numpy().tolist() == [[0.5, 1]]
    assert "needs at least 3 instruments" in gone["reason"].iloc[0]
    thresholds(effects, out=tmp_path / "common.tsv", loci="common", **options)
    common = read(tmp_path / "common.tsv")
    assert common["n_loci"].tolist() == [5, 5]
    assert common["beta"].iloc[1] == own["beta"].iloc[1]


def test_spans_add_the_motif_rule_and_figures_are_drawn(effects, tmp_path):
    spans = tmp_path / "hits.bed"
    spans.write_text("".join(f"l{i}\t0\t5\tX_1\nl{i}\t5\t30\tother\n" for i in range(6)))
    summary = thresholds(
        effects, out=tmp_path / "t.tsv", exposure=["X"], spans=spans, motif=["X=X_*"], save_figure=tmp_path / "t.png"
    )
    table = read(tmp_path / "t.tsv")
    assert list(table["rule"].unique()) == ["relative", "f", "zscore", "motif"]
    most = table.groupby("rule", sort=False)["n_instruments"].max()
    assert most["motif"] <= 6 * 5 < most["f"]
    assert [path.rsplit("/", 1)[1] for path in summary["figures"]] == ["t_X_Y.png", "t_X_Z.png"]
    assert all((tmp_path / name).is_file() for name in ("t_X_Y.png", "t_X_Z.png"))


def test_bad_options(effects, tmp_path):
    out = tmp_path / "t.tsv"
    for options, message in (
        ({"grid": ["best=1"]}, "rule of --grid must be one of relative, f, zscore, motif"),
        ({"grid": ["f=x"]}, "--grid must be a rule and its thresholds"),
        ({"grid": ["f=3", "f=3,5"]}, "points of --grid must be unique"),
        ({"grid": ["motif=0.1"]}, "rule motif needs --spans"),
        ({"grid": ["f=0"]}, "threshold of rule 'f' must be above 0"),
        ({"method": "best"}, "method must be one of"),
        ({"save_figure": tmp_path / "t.doc"}, "figures are .png"),
        ({"exposure": ["Q"]}, "there is no task 'Q'"),
    ):
        with pytest.raises(InputError, match=message):
            thresholds(effects, out=out, **options)
    with pytest.raises(TooFewInstruments, match="no choice of instruments gives an estimate by ivw"):
        thresholds(effects, out=out, min_instruments=100)
    assert not list(tmp_path.iterdir())
