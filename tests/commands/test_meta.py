"""`deepmr meta` beside pooling: subgroups, moderators, the t model, one locus less, asymmetry and the forest."""

import json

import numpy as np
import pandas as pd
import pytest

from deepmr.cli import execute
from deepmr.commands.meta import meta
from deepmr.errors import InputError
from deepmr.io.tables import read_estimates, write_estimates
from deepmr.meta import leave_one_out, pool_estimates, pool_robust, pool_subgroups, regress_estimates
from deepmr.types import concat_estimates
from tests.meta.builders import studies

N = 24


@pytest.fixture
def loci(tmp_path):
    """Effects that rise with gc by 2 and are 1 higher where chromatin is open; one locus is alone in its kind."""
    rng = np.random.default_rng(0)
    gc, width = rng.uniform(0.3, 0.7, N), rng.uniform(0.1, 0.4, N)
    chromatin = np.array(["open", "shut"] * (N // 2), dtype=object)
    chromatin[5] = "lone"
    beta = 2 * gc + (chromatin == "open") + 0.1 * rng.normal(size=N) + width * rng.normal(size=N)
    given = studies(beta, width, level=0.95)
    write_estimates(given, tmp_path / "mr.tsv", provenance={})
    frame = pd.DataFrame({"locus": given.table["locus"], "chromatin": chromatin, "gc": gc, "twice": 2 * gc})
    frame = frame.assign(open=(chromatin == "open").astype(int), flat=1, tss=[""] + ["9"] * (N - 1), text="AT")
    frame.to_csv(tmp_path / "loci.tsv", sep="\t", index=False)
    return given, frame.set_index("locus")


def run(folder, *arguments):
    return execute(["--json", "meta", str(folder / "mr.tsv"), "--out", str(folder / "pooled.tsv"), *arguments])


def with_loci(folder, *arguments):
    return run(folder, "--loci-table", str(folder / "loci.tsv"), *arguments)


def test_subgroups(loci, tmp_path, capsys):
    given, frame = loci
    assert with_loci(tmp_path, "--by", "chromatin") == 0
    summary = json.loads(capsys.readouterr().out)
    expected = pool_subgroups(given, frame["chromatin"].to_dict())
    written = read_estimates(tmp_path / "pooled.subgroups.tsv").table
    assert written["locus"].tolist() == ["open", "shut", "lone"]
    assert written["beta"].tolist() == pytest.approx(expected.estimates.table["beta"].tolist())
    differences = pd.read_csv(tmp_path / "pooled.differences.tsv", sep="\t")
    assert differences["q"].tolist() == pytest.approx(expected.differences["q"].tolist())
    assert [row["chromatin"] for row in summary["subgroups"]] == ["open", "shut", "lone"]
    assert "the 3 subgroups of chromatin differ (Q = " in summary["findings"][0]
    assert (
        summary["findings"][1] == "a → b, ivw: subgroup lone is one locus, whose own effect and interval stand for it."
    )
    lone = written.iloc[2]
    assert (lone["n"], lone["beta"], lone["se"]) == pytest.approx((1, *given.table.loc[5, ["beta", "se"]]))
    assert np.isnan(lone["tau2"])


def test_moderators(loci, tmp_path, capsys):
    given, frame = loci
    assert with_loci(tmp_path, "--moderators", "gc", "open", "--tau2", "DL") == 0
    summary = json.loads(capsys.readouterr().out)
    expected = regress_estimates(given, frame[["gc", "open"]], tau2="DL")
    written = pd.read_csv(tmp_path / "pooled.regression.tsv", sep="\t")
    assert written["term"].tolist() == ["intercept", "gc", "open"]
    assert written["beta"].to_numpy() == pytest.approx(expected.terms["beta"].to_numpy())
    assert pd.read_csv(tmp_path / "pooled.models.tsv", sep="\t")["r2"][0] == pytest.approx(expected.models["r2"][0])
    assert [row["term"] for row in summary["coefficients"]] == ["intercept", "gc", "open"]
    assert "per unit of open the effect changes by 0.869 (0.596 to 1.14)" in summary["findings"][1]
    assert "of the variance between loci" in summary["findings"][2]
    assert json.loads((tmp_path / "pooled.tsv.json").read_text())["inputs"].keys() == {"estimates", "loci_table"}


def test_the_t_model(loci, tmp_path, capsys):
    assert run(tmp_path, "--model", "t") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["pooled"][0]["beta"] == pytest.approx(pool_robust(loci[0]).table["beta"][0])
    assert "effects scatter as" in summary["findings"][0]
    assert "df_effects" in read_estimates(tmp_path / "pooled.tsv").table


def test_one_locus_less(loci, tmp_path, capsys):
    assert run(tmp_path, "--save-leave-one-out", str(tmp_path / "less.tsv")) == 0
    written = read_estimates(tmp_path / "less.tsv").table
    assert written["beta"].tolist() == pytest.approx(leave_one_out(loci[0]).table["beta"].tolist())
    said = json.loads(capsys.readouterr().out)["findings"][0]
    lowest = written["locus"][written["beta"].idxmin()]
    assert f"without any one locus the mean stays between {written['beta'].min():.2f} (without {lowest})" in said


def test_asymmetry(loci, tmp_path, capsys):
    assert run(tmp_path, "--asymmetry") == 0
    row = pd.read_csv(tmp_path / "pooled.asymmetry.tsv", sep="\t").iloc[0]
    assert {"kendall_tau", "rank_pvalue", "slope", "slope_pvalue", "limit", "n_filled", "beta_filled"} <= set(row.index)
    assert "with their standard errors (regression P = " in json.loads(capsys.readouterr().out)["findings"][0]


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
@pytest.mark.parametrize("model", ["normal", "t"])
def test_the_forest_is_a_file(loci, tmp_path, ending, start, model):
    assert run(tmp_path, "--save-figure", str(tmp_path / f"forest.{ending}"), "--model", model) == 0
    assert (tmp_path / f"forest.{ending}").read_bytes().startswith(start)


def test_several_pairs_get_a_forest_each(loci, tmp_path):
    both = concat_estimates([loci[0], studies([1.0, 2, 3], [1, 1, 1], exposure="H3K4me3/x")])
    write_estimates(both, tmp_path / "mr.tsv", provenance={})
    assert run(tmp_path, "--save-figure", str(tmp_path / "forest.svg")) == 0
    assert {p.name for p in tmp_path.glob("*.svg")} == {"forest_a_b_ivw.svg", "forest_H3K4me3-x_b_ivw.svg"}
    assert run(tmp_path, "--save-figure", str(tmp_path / "forest.svg")) == 3  # they are there


BAD = {
    "unknown column": (["--by", "chrom"], r"no column 'chrom'; it has locus, chromatin, gc"),
    "unknown moderator": (["--moderators", "gcc"], r"no column 'gcc'"),
    "text": (["--moderators", "gc", "text"], r"line 2, column 'text': 'AT' is not a finite number"),
    "empty moderator": (["--moderators", "tss"], r"locus 'l0' has no tss"),
    "empty subgroup": (["--by", "tss"], r"locus 'l0' has no tss; every locus needs a subgroup"),
    "collinear": (["--moderators", "gc", "twice"], r"'twice' follows from those before it: leave one out"),
    "constant": (["--moderators", "flat"], r"'flat' is the same at every locus"),
    "twice": (["--moderators", "gc", "gc"], r"moderators"),
    "t": (["--by", "chromatin", "--model", "t"], r"subgroups go with model normal"),
    "no columns": ([], r"name its columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_columns_that_cannot_be_used_write_nothing(loci, tmp_path, caplog, capsys, name):
    arguments, message = BAD[name]
    before = {p.name for p in tmp_path.iterdir()}
    assert with_loci(tmp_path, *arguments) == 3
    assert pd.Series([capsys.readouterr().err]).str.contains(message).all()
    assert {p.name for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "chromatin"}, "give it as --loci-table"),
        ({"asymmetry": True, "model": "t"}, "asymmetry go with model normal"),
        ({"save_leave_one_out": "less.tsv", "model": "t"}, "leaving one locus out goes with model normal"),
        ({"save_figure": "forest.gif"}, r"figures are \.png, \.svg, \.pdf; got \.gif"),
    ],
)
def test_options_that_do_not_go_together(loci, tmp_path, options, message):
    paths = {k: tmp_path / v if k.startswith("save") else v for k, v in options.items()}
    with pytest.raises(InputError, match=message):
        meta(tmp_path / "mr.tsv", out=tmp_path / "pooled.tsv", **paths)


def test_a_table_of_other_loci(loci, tmp_path):
    table = tmp_path / "loci.tsv"
    frame = loci[1].reset_index()
    frame.iloc[1:].to_csv(table, sep="\t", index=False)
    options = {"out": tmp_path / "pooled.tsv", "by": "chromatin", "loci_table": table}
    with pytest.raises(InputError, match="there is no locus 'l0'; every locus with an estimate needs a row"):
        meta(tmp_path / "mr.tsv", **options)
    pd.concat([frame, frame]).to_csv(table, sep="\t", index=False)
    with pytest.raises(InputError, match="locus 'l0' has more than one row"):
        meta(tmp_path / "mr.tsv", **options)


def test_two_loci_have_no_asymmetry(tmp_path):
    write_estimates(studies([1.0, 2], [1, 1]), tmp_path / "mr.tsv", provenance={})
    with pytest.raises(InputError, match="cannot be tested: needs at least 3 loci; has 2"):
        meta(tmp_path / "mr.tsv", out=tmp_path / "pooled.tsv", asymmetry=True)


def test_in_a_flow_file(loci, tmp_path):
    (tmp_path / "flow.toml").write_text(
        '[meta]\nestimates = "mr.tsv"\nout = "pooled.tsv"\nloci_table = "loci.tsv"\nmoderators = ["gc", "open"]\n'
    )
    assert execute(["run", str(tmp_path / "flow.toml")]) == 0
    assert (tmp_path / "pooled.models.tsv").exists()


def test_effects_and_standard_errors_are_enough(tmp_path, capsys):
    rows = [("peak1", 0.31, 0.1), ("peak2", 0.52, 0.2), ("peak3", 0.24, 0.12)]
    pd.DataFrame(rows, columns=["locus", "beta", "se"]).assign(note="x").to_csv(tmp_path / "mr.tsv", sep="\t")
    assert run(tmp_path) == 0
    given = studies(np.array([0.31, 0.52, 0.24]), np.array([0.1, 0.2, 0.12]))
    pooled, expected = read_estimates(tmp_path / "pooled.tsv").table, pool_estimates(given).table
    assert pooled["beta"][0] == pytest.approx(expected["beta"][0])
    assert pooled["se"][0] == pytest.approx(expected["se"][0])
    assert (pooled["method"][0], pooled["estimand"][0]) == ("given", "population")
    with pytest.raises(InputError, match=r"not a table of estimates: method, exposure, .* are missing; it has"):
        read_estimates(str(tmp_path / "mr.tsv"))
    pd.DataFrame({"locus": ["a"], "beta": [1.0]}).to_csv(tmp_path / "mr.tsv", sep="\t")
    assert run(tmp_path, "--overwrite") == InputError.exit_code
    assert "se is missing; it has" in capsys.readouterr().err


def test_one_locus_is_said_to_be_one_and_all_files_are_named(loci, tmp_path, capsys):
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "mr.tsv").write_text("locus\tbeta\tse\nonly\t0.3\t0.1\n")
    assert run(folder) == 0
    assert "one locus, so nothing was pooled" in capsys.readouterr().out
    assert with_loci(tmp_path, "--by", "chromatin", "--save-figure", str(tmp_path / "f.png")) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["also_written"] == [
        str(tmp_path / f) for f in ("pooled.subgroups.tsv", "pooled.differences.tsv", "f.png")
    ]
    assert {"tau2", "i2"} <= set(summary["pooled"][0])


def test_a_moderator_in_words_is_sent_to_by(loci, tmp_path, capsys):
    assert with_loci(tmp_path, "--moderators", "text") == InputError.exit_code
    assert "'AT' is not a finite number (empty: unknown); kinds of loci go to --by" in capsys.readouterr().err
