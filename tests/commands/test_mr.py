"""`deepmr mr` and `deepmr meta`, from effects whose causal slopes are known to tables."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

from deepmr.cli import execute
from deepmr.commands.ism import ism
from deepmr.commands.meta import meta
from deepmr.commands.mr import mr
from deepmr.errors import InputError, TooFewInstruments
from deepmr.io.calibration import read_calibration, write_calibration
from deepmr.io.fasta import read_fasta
from deepmr.io.tables import read_estimates
from deepmr.ism.calibration import Calibration, sequence_digests
from deepmr.mr import METHODS
from deepmr.schema import ESTIMATES
from tests.commands.linear import SITES, SLOPE, write_fasta, write_linear
from tests.ism.test_members import interval_calibration

N = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An ensemble of five, its effects at 20 loci, and those of one member."""
    folder = tmp_path_factory.mktemp("linear")
    write_fasta(folder / "peaks.fa", N, seed=0)
    write_linear(folder / "ensemble")
    common = {"fasta": folder / "peaks.fa", "trust_code": True, "device": "cpu"}
    ism(model=folder / "ensemble", out=folder / "effects.h5", **common)
    write_linear(folder / "single", n_members=1)
    ism(model=folder / "single", out=folder / "single.h5", **common)
    return folder


def run(folder, tmp_path, **options):
    return mr(folder / "effects.h5", out=tmp_path / "mr.tsv", **options)


def table_of_members(folder, path, *, seed=0, members=5):
    """The same kind of effects as a TSV table: outcome = SLOPE x exposure in every member, up to noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for locus in ("a", "b"):
        for v, dx in enumerate([3.0, -2.0, 4.0, 0.001]):
            for member in range(members):
                for task, beta in (("X", dx), ("Y", SLOPE * dx)):
                    rows.append((locus, f"{locus}{v}", task, member, beta + 0.01 * rng.normal()))
    frame = pd.DataFrame(rows, columns=["locus", "variant_id", "task", "member", "beta"])
    frame.to_csv(path, sep="\t", index=False)
    return frame


def test_both_directions_from_effects(folder, tmp_path):
    summary = run(folder, tmp_path, save_instruments=tmp_path / "instruments.tsv")
    assert summary["instruments"] == str(tmp_path / "instruments.tsv")
    assert "an error that all its members share is in none of them; nor were standard errors checked" in summary["note"]
    assert [(r["exposure"], r["outcome"]) for r in summary["pairs"]] == [("X", "Y")] * 3 + [("Y", "X")] * 3
    assert [r["method"] for r in summary["pairs"]] == ["ivw", "egger", "wald"] * 2
    for row in summary["pairs"]:
        assert (row["loci"], row["used"], row["skipped"]) == (N, N, 0)
        expected = SLOPE if row["exposure"] == "X" else 1 / SLOPE
        assert row["median_beta"] == pytest.approx(expected, rel=0.05)
    estimates = read_estimates(tmp_path / "mr.tsv")
    assert set(ESTIMATES) <= set(estimates.table.columns)
    assert set(estimates.table["estimand"]) == {"model"}
    assert estimates.error_factors.shape == (5, 6 * N)
    ivw = estimates.table[estimates.table["method"] == "ivw"]
    truth = np.where(ivw["exposure"] == "X", SLOPE, 1 / SLOPE)
    assert np.mean((ivw["ci_low"] <= truth) & (truth <= ivw["ci_high"])) > 0.5
    record = json.loads((tmp_path / "mr.tsv.json").read_text())
    assert record["command"] == "mr"
    assert record["options"]["rule"] == "relative"
    assert set(record["inputs"]) == {"effects"}
    instruments = pd.read_csv(tmp_path / "instruments.tsv", sep="\t")
    assert set(instruments["pos"]) <= set(range(SITES.start + 1, SITES.stop + 1))
    counts = instruments[instruments["exposure"] == "X"].groupby("locus").size()
    assert counts.tolist() == ivw[ivw["exposure"] == "X"].set_index("locus").loc[counts.index, "n"].tolist()


def test_pooled(folder, tmp_path):
    run(folder, tmp_path)
    summary = meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv")
    assert len(summary["pooled"]) == 6
    for row in summary["pooled"]:
        expected = SLOPE if row["exposure"] == "X" else 1 / SLOPE
        assert row["ci_low"] < expected < row["ci_high"]
        assert row["n"] == N
        assert row["beta"] == pytest.approx(expected, rel=0.05)
    pooled = read_estimates(tmp_path / "meta.tsv")
    assert set(pooled.table["locus"]) == {"*"}
    assert json.loads((tmp_path / "meta.tsv.json").read_text())["options"]["tau2"] == "REML"
    with pytest.raises(InputError, match="exists"):
        meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv")
    normal = meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv", tau2="DL", ci="normal", level=0.5, overwrite=True)
    for narrow, wide in zip(normal["pooled"], summary["pooled"], strict=True):
        assert narrow["ci_high"] - narrow["ci_low"] < wide["ci_high"] - wide["ci_low"]


def test_chosen_pair_methods_and_rule(folder, tmp_path):
    summary = run(folder, tmp_path, exposure=["Y"], outcome=["X"], method=["ivw"], rule="f", threshold=20.0)
    (row,) = summary["pairs"]
    assert (row["exposure"], row["outcome"], row["method"]) == ("Y", "X", "ivw")
    loose = run(folder, tmp_path, exposure=["Y"], method=["ivw"], rule="zscore", threshold=0.1, overwrite=True)
    assert loose["pairs"][0]["median_instruments"] >= row["median_instruments"]


def test_a_method_named_twice_is_used_once(folder, tmp_path):
    summary = run(folder, tmp_path, exposure=["X"], outcome=["Y"], method=["ivw", "ivw"])
    assert len(summary["pairs"]) == 1
    assert read_estimates(tmp_path / "mr.tsv").table["locus"].is_unique


def test_an_unknown_method_names_them_all(folder, tmp_path):
    with pytest.raises(InputError, match="method must be one of " + ", ".join(METHODS)):
        run(folder, tmp_path, method=["ivwx"])


def test_what_was_probably_meant_is_told(folder, tmp_path):
    with pytest.raises(InputError, match="; did you mean 'egger'"):
        run(folder, tmp_path, method=["MR-Egger"])
    with pytest.raises(InputError, match="there is no task 'x'; the effects have X, Y; did you mean 'X'"):
        run(folder, tmp_path, exposure=["x"])
    with pytest.raises(InputError, match="method 'mv_ivw' is for several exposures in one model: add --multivariable"):
        run(folder, tmp_path, method=["mv_ivw"])


def test_the_help_keeps_the_options_of_gwas_results_apart(capsys):
    execute(["mr", "--help"])
    effects, gwas = capsys.readouterr().out.split("For files of GWAS results")
    assert "--calibration" in effects
    assert "--p-threshold" in gwas
    assert "r.instruments.tsv beside" in " ".join(effects.replace("│", " ").split())


def test_calibration_widens_and_leaves_the_estimates(folder, tmp_path):
    calibration = Calibration(
        tasks=tuple(interval_calibration(t, raw_scale=9.0, stretch=2.0) for t in "XY"), n_members=5
    )
    write_calibration(calibration, tmp_path / "calibration.json")
    # without the significance test, so that the instruments stay the same
    common = {"significance": 1.0, "method": ["ivw"]}
    run(folder, tmp_path, **common)
    plain = read_estimates(tmp_path / "mr.tsv").table
    for scaling, factor in (("variance", 3.0), ("isotonic", 2.0)):
        mr(
            folder / "effects.h5", out=tmp_path / f"{scaling}.tsv", calibration=[tmp_path / "calibration.json"],
            scaling=scaling, **common,
        )  # fmt: skip
        scaled = read_estimates(tmp_path / f"{scaling}.tsv").table
        np.testing.assert_allclose(scaled["beta"], plain["beta"])
        np.testing.assert_allclose(scaled["se_member"], factor * plain["se_member"], rtol=1e-5)
        assert "calibration" in json.loads((tmp_path / f"{scaling}.tsv.json").read_text())["inputs"]


def test_calibration_of_the_loci_analysed_is_refused(folder, tmp_path):
    sequences = read_fasta(folder / "peaks.fa")
    calibration = Calibration(
        tasks=(),
        n_members=5,
        skipped={"X": "nothing known"},
        loci=("other",) * 3,
        digests=sequence_digests(sequences)[:3],
    )
    path = tmp_path / "calibration.json"
    write_calibration(calibration, path)
    with pytest.raises(InputError, match="3 of 20 loci were used for the calibration, first s0_0"):
        run(folder, tmp_path, calibration=[path])
    assert not (tmp_path / "mr.tsv").exists()
    assert run(folder, tmp_path, calibration=[path], allow_overlap=True)["pairs"]


def test_same_names_of_other_sequences_are_no_overlap(folder, tmp_path, caplog):
    names = tuple(read_fasta(folder / "peaks.fa").loci["locus"])
    calibration = Calibration(tasks=(), n_members=5, skipped={"X": "nothing known"}, loci=names, digests=("0",) * N)
    write_calibration(calibration, tmp_path / "calibration.json")
    with caplog.at_level(logging.WARNING):
        run(folder, tmp_path, calibration=[tmp_path / "calibration.json"])
    assert "task X are the ensemble's own: nothing known" in caplog.text
    assert "task Y are the ensemble's own: it is not in the calibration" in caplog.text
    table_of_members(folder, tmp_path / "effects.tsv")
    known = Calibration(tasks=(), n_members=5, loci=("b",), digests=("0",))
    write_calibration(known, tmp_path / "known.json")
    with pytest.raises(InputError, match="1 of 2 loci were used for the calibration, first b"):
        mr(tmp_path / "effects.tsv", out=tmp_path / "t.tsv", calibration=[tmp_path / "known.json"])


def test_calibration_of_another_ensemble_is_refused(folder, tmp_path):
    write_calibration(Calibration(tasks=(), n_members=5, members=("0" * 64,)), tmp_path / "calibration.json")
    assert read_calibration(tmp_path / "calibration.json").members
    with pytest.raises(InputError, match="another ensemble"):
        run(folder, tmp_path, calibration=[tmp_path / "calibration.json"])


def test_table_of_members(folder, tmp_path):
    frame = table_of_members(folder, tmp_path / "effects.tsv")
    summary = mr(tmp_path / "effects.tsv", out=tmp_path / "mr.tsv", method=["ivw"])
    assert [r["median_instruments"] for r in summary["pairs"]] == [3, 3]  # the fourth is too small
    mean = frame.pivot_table(index=["locus", "variant_id"], columns="task", values="beta", aggfunc="mean")
    a = mean.loc["a"].iloc[:3]
    found = read_estimates(tmp_path / "mr.tsv").table.iloc[0]
    assert (found["locus"], found["exposure"]) == ("a", "X")
    assert found["beta"] == pytest.approx((a["X"] * a["Y"]).sum() / (a["X"] ** 2).sum())


def test_table_of_means(folder, tmp_path):
    frame = table_of_members(folder, tmp_path / "members.tsv")
    grouped = frame.groupby(["locus", "variant_id", "task"])["beta"]
    means = grouped.mean().to_frame().assign(se=grouped.std()).reset_index()
    means.to_csv(tmp_path / "effects.tsv", sep="\t", index=False)
    summary = mr(tmp_path / "effects.tsv", out=tmp_path / "mr.tsv")
    assert summary["pairs"][0]["median_beta"] == pytest.approx(SLOPE, rel=0.05)
    assert read_estimates(tmp_path / "mr.tsv").error_factors is None
    write_calibration(Calibration(tasks=(), n_members=5), tmp_path / "calibration.json")
    with pytest.raises(InputError, match="has no members"):
        mr(tmp_path / "effects.tsv", out=tmp_path / "x.tsv", calibration=[tmp_path / "calibration.json"])


def test_a_reason_that_holds_for_several_methods_is_told_once(tmp_path):
    rng = np.random.default_rng(0)
    dx = rng.normal(size=(1, 40, 1)) * np.repeat([5.0, 0.1], 20)[None, :, None]
    effect = np.concatenate([dx, SLOPE * dx], axis=2) + 0.01 * rng.normal(size=(5, 40, 2))
    np.savez(tmp_path / "effects.npz", effect=effect, locus=np.repeat(["a", "b"], 20), tasks=["X", "Y"])
    summary = mr(tmp_path / "effects.npz", out=tmp_path / "mr.tsv", exposure=["X"], method=["ivw", "wald"])
    ((why),) = summary["loci_skipped"]
    assert (why["method"], why["loci"]) == ("ivw, wald", 1)


def test_archive_of_members(tmp_path):
    rng = np.random.default_rng(0)
    dx = rng.normal(size=(1, 40, 1)) * np.repeat([5.0, 0.1], 20)[None, :, None]
    effect = np.concatenate([dx, SLOPE * dx], axis=2) + 0.01 * rng.normal(size=(5, 40, 2))
    np.savez(tmp_path / "effects.npz", effect=effect, locus=np.repeat(["a", "b"], 20), tasks=["X", "Y"])
    summary = mr(tmp_path / "effects.npz", out=tmp_path / "mr.tsv", exposure=["X"], method=["ivw"])
    (row,) = summary["pairs"]
    assert (row["used"], row["skipped"]) == (1, 1)
    assert row["median_beta"] == pytest.approx(SLOPE, rel=0.01)
    ((why),) = summary["loci_skipped"]
    assert (why["method"], why["loci"]) == ("ivw", 1)
    assert "instrument" in why["reason"]


def test_no_locus_has_an_estimate(folder, tmp_path):
    with pytest.raises(TooFewInstruments, match=r"none of 20 loci has an estimate for any of 2 pairs.*skipped\.tsv"):
        run(folder, tmp_path, min_instruments=100)
    assert len(read_estimates(tmp_path / "mr.tsv")) == 0
    skipped = pd.read_csv(tmp_path / "mr.skipped.tsv", sep="\t")
    assert len(skipped) == 6 * N
    assert skipped["reason"].str.contains("instrument").all()
    with pytest.raises(InputError, match="holds no estimates"):
        meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exposure": ["Z"]}, "no task 'Z'; the effects have X, Y"),
        ({"exposure": ["X"], "outcome": ["X"]}, "two different tasks"),
        ({"level": 1.5}, "level must be between 0 and 1"),
        ({"threshold": 0.0}, "threshold of rule 'relative' must be above 0"),
        ({"significance": 2.0}, "significance"),
        ({"method": ["median"]}, "method"),
    ],
)
def test_bad_options_write_nothing(folder, tmp_path, options, message):
    with pytest.raises(Exception, match=message):
        run(folder, tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_instruments_never_take_the_place_of_estimates(folder, tmp_path):
    with pytest.raises(InputError, match="estimates and instruments need two files"):
        run(folder, tmp_path, save_instruments=tmp_path / "mr.tsv")
    assert not list(tmp_path.iterdir())


def test_a_single_member_is_refused_with_the_reason(folder, tmp_path):
    with pytest.raises(InputError, match=r"1 ensemble member.*spread"):
        mr(folder / "single.h5", out=tmp_path / "mr.tsv")
    assert not list(tmp_path.iterdir())


def test_existing_results_are_kept(folder, tmp_path):
    (tmp_path / "mr.tsv").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        run(folder, tmp_path)
    assert (tmp_path / "mr.tsv").read_text() == "mine"


def test_level_of_meta(folder, tmp_path):
    with pytest.raises(InputError, match="level must be between"):
        meta(tmp_path / "none.tsv", out=tmp_path / "meta.tsv", level=0.0)
