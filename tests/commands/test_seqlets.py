"""`deepmr seqlets`: from effects of edits to tables and figures."""

import json

import numpy as np
import pandas as pd
import pytest

from deepmr import schema
from deepmr.cli import execute
from deepmr.commands.seqlets import seqlets
from deepmr.errors import InputError, TooFewInstruments
from deepmr.io.tables import read_estimates
from tests.instruments.seqlets import two_seqlets

SECOND = [True, True, False, False, True, False, True, False]


def write_effects(path, effects):
    """Write member effects as a table that `deepmr` reads."""
    frame = effects.to_frame().melt(
        id_vars=[*schema.VARIANTS, "offset", "member"], value_vars=["X", "Y"], var_name="task", value_name="beta"
    )
    frame.drop(columns="chrom").to_csv(path, sep="\t", index=False)
    return path


@pytest.fixture(scope="module")
def effects(tmp_path_factory):
    """Eight loci, four of them with a second seqlet that acts on Y more than by way of X."""
    folder = tmp_path_factory.mktemp("seqlets")
    return write_effects(folder / "effects.tsv", two_seqlets(loci=8, slopes=(2.0, 5.0), second=SECOND))


def test_tables_name_what_carries_and_what_contradicts(effects, tmp_path):
    summary = seqlets(effects, exposure="X", outcome="Y", out=tmp_path / "s.tsv")
    table = pd.read_csv(tmp_path / "s.tsv", sep="\t")
    assert list(table) == list(schema.SEQLET_EFFECTS)
    by = dict(zip(table["sequence"], table["verdict"], strict=True))
    assert by["TGACTC"] == "contradicts"
    assert set(table.loc[table["sequence"] == "GATAAG", "verdict"]) == {"carries", "alone"}
    np.testing.assert_allclose(table.loc[table["sequence"] == "TGACTC", "beta"], 5.0, atol=0.1)
    families = pd.read_csv(tmp_path / "s.families.tsv", sep="\t")
    assert list(families) == list(schema.SEQLET_FAMILIES)
    assert families["verdict"].tolist() == ["leads", "contradicts"]
    found = read_estimates(tmp_path / "s.estimates.tsv")
    plurality = found.table[found.table["method"] == "seqlet_plurality"]
    np.testing.assert_allclose(plurality["beta"], 2.0, atol=0.1)
    assert summary["heterogeneous"] == summary["loci_with_several"] == 4
    assert "4 contradicts" in summary["verdicts"]
    assert summary["estimand"] == "model"
    assert "warning" not in summary
    assert json.loads((tmp_path / "s.tsv.json").read_text())["command"] == "seqlets"


def test_where_no_locus_has_two_sites_the_summary_says_what_was_not_seen(tmp_path):
    given = two_seqlets(loci=4, second=[False] * 4)
    summary = seqlets(write_effects(tmp_path / "e.tsv", given), exposure="X", outcome="Y", out=tmp_path / "s.tsv")
    assert summary["loci_with_several"] == 0
    assert summary["warning"] == "No locus has two sites: a second pathway could not have been seen."


def test_figures_are_drawn(effects, tmp_path):
    options = {"exposure": "X", "outcome": "Y", "out": tmp_path / "s.tsv", "overwrite": True}
    seqlets(effects, figure=tmp_path / "l.svg", family_figure=tmp_path / "f.svg", **options)
    locus, family = (tmp_path / "l.svg").read_text(), (tmp_path / "f.svg").read_text()
    assert "contradicts" in locus
    assert "TGACTC" in locus
    assert "4 loci, contradicts" in family
    seqlets(effects, figure=tmp_path / "l.svg", locus="locus2", **options)
    assert "locus2" in (tmp_path / "l.svg").read_text()


def test_bad_input_is_refused_in_one_line(effects, tmp_path):
    options = {"exposure": "X", "outcome": "Y", "out": tmp_path / "s.tsv"}
    for changed, message in (
        ({"exposure": "Z"}, "no task 'Z'"),
        ({"outcome": "X"}, "two tasks"),
        ({"locus": "nowhere"}, "no locus 'nowhere'"),
        ({"max_width": 5}, "twice min_width"),
        ({"figure": tmp_path / "s.tsv"}, "files to write"),
        ({"out": tmp_path / "none" / "s.tsv"}, "folder"),
    ):
        with pytest.raises(InputError, match=message):
            seqlets(effects, **options | changed)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(effects, tmp_path):
    (tmp_path / "s.families.tsv").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        seqlets(effects, exposure="X", outcome="Y", out=tmp_path / "s.tsv")


def test_no_seqlet_is_a_failure_with_tables(tmp_path):
    given = two_seqlets(loci=2)
    given.delta[:, :, 0] *= (np.arange(given.delta.shape[0]) - 2.0)[:, None]  # members do not agree
    path = write_effects(tmp_path / "e.tsv", given)
    with pytest.raises(TooFewInstruments, match="none of 2 loci"):
        seqlets(path, exposure="X", outcome="Y", out=tmp_path / "s.tsv")
    assert len(pd.read_csv(tmp_path / "s.tsv", sep="\t")) == 0
    assert set(read_estimates(tmp_path / "s.estimates.tsv").skipped["reason"]) == {"no seqlet holds an instrument"}


def test_command_line(effects, tmp_path, capsys):
    out = tmp_path / "s.tsv"
    code = execute(["seqlets", str(effects), "--exposure", "X", "--outcome", "Y", "--out", str(out)])
    assert code == 0
    assert "contradicts" in capsys.readouterr().out
