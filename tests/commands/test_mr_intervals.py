"""`deepmr mr --interval` and `--bootstrap`: which intervals a table has, and what is refused."""

import json

import numpy as np
import pytest

from deepmr.commands.ism import ism
from deepmr.commands.meta import meta
from deepmr.commands.mr import mr
from deepmr.errors import InputError
from deepmr.io.tables import read_estimates
from deepmr.mr.intervals import MEANINGS
from tests.commands.linear import TASKS, write_fasta, write_linear
from tests.commands.test_mr import table_of_members

N = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Effects of an ensemble; of a second one that errs more, at the same loci; and of others that do not match."""
    folder = tmp_path_factory.mktemp("intervals")
    write_fasta(folder / "peaks.fa", N, seed=0)
    write_fasta(folder / "others.fa", N, seed=1)
    write_fasta(folder / "fewer.fa", N - 2, seed=0)
    for name, fasta, options in (
        ("effects", "peaks", {}),
        ("bootstrap", "peaks", {"seed": 7, "error": 0.3}),
        ("others", "others", {"seed": 7}),
        ("fewer", "fewer", {"seed": 7}),
        ("three", "peaks", {"seed": 7, "n_members": 3}),
        ("one_task", "peaks", {"seed": 7, "tasks": TASKS[:1]}),
    ):
        write_linear(folder / name, **options)
        ism(model=folder / name, fasta=folder / f"{fasta}.fa", out=folder / f"{name}.h5", trust_code=True, device="cpu")
    return folder


def run(folder, tmp_path, **options):
    return mr(folder / "effects.h5", out=tmp_path / "mr.tsv", **{"exposure": ["X"], "method": ["ivw"], **options})


def test_every_kind_says_what_it_holds(folder, tmp_path):
    width = {}
    for kind in MEANINGS:
        method = ["ivw_gls"] if kind == "gls" else ["ivw"]
        summary = run(folder, tmp_path, interval=kind, method=method, overwrite=True)
        assert summary["interval"] == f"{kind}: 95 % intervals {MEANINGS[kind]}"
        assert "effect in the model" in summary["note"]
        assert summary["pairs"][0]["estimand"] == "model"
        assert json.loads((tmp_path / "mr.tsv.json").read_text())["options"]["interval"] == kind
        found = read_estimates(tmp_path / "mr.tsv")
        assert (found.error_factors is None) == (kind == "paired_sd")
        pooled = meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv", overwrite=True)
        assert pooled["weights"] == "equal"
        assert pooled["pooled"][0]["estimand"] == "model"
        width[kind] = pooled["pooled"][0]["ci_high"] - pooled["pooled"][0]["ci_low"]
    assert width["members"] > 1.2 * width["mean"]
    assert width["moderated"] == pytest.approx(width["rubin"])


def test_gls_starts_from_its_own_methods(folder, tmp_path):
    summary = run(folder, tmp_path, interval="gls", method=None)
    assert [row["method"] for row in summary["pairs"]] == ["ivw_gls", "debiased_gls"]
    with pytest.raises(InputError, match=r"interval gls goes with the methods ivw_gls, egger_gls, .*; got wald"):
        run(folder, tmp_path, interval="gls", method=["wald"], overwrite=True)


def test_resampled_members_are_used_where_they_spread_more(folder, tmp_path):
    run(folder, tmp_path)
    plain = read_estimates(tmp_path / "mr.tsv")
    summary = run(folder, tmp_path, bootstrap=folder / "bootstrap.h5", overwrite=True)
    (choice,) = summary["bootstrap"]
    assert choice["used"] == "bootstrap"
    assert choice["se_bootstrap"] > choice["se_seeds"]
    found = read_estimates(tmp_path / "mr.tsv")
    np.testing.assert_allclose(found.table["beta"], plain.table["beta"])
    np.testing.assert_allclose(found.table["se_seeds"] ** 2, np.sum(plain.error_factors**2, axis=0))
    np.testing.assert_allclose(found.table["se_bootstrap"] ** 2, np.sum(found.error_factors**2, axis=0))
    assert set(json.loads((tmp_path / "mr.tsv.json").read_text())["inputs"]) == {"effects", "bootstrap"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("others", "needed the loci of the effects in their order; they differ, first at s0_0"),
        ("fewer", "needed the loci of the effects in their order; they differ, first at their number"),
        ("three", "has 3 members; needed 5, as many as the ensemble has"),
        ("one_task", "has no task 'Y'; it has X"),
        ("effects", "holds networks of the ensemble itself"),
    ],
)
def test_resampled_members_must_match(folder, tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        run(folder, tmp_path, bootstrap=folder / f"{name}.h5")
    assert not (tmp_path / "mr.tsv").exists()


def test_what_does_not_go_together(folder, tmp_path):
    with pytest.raises(InputError, match="--bootstrap goes with the intervals moderated, members, rubin; got mean"):
        run(folder, tmp_path, interval="mean", bootstrap=folder / "bootstrap.h5")
    frame = table_of_members(folder, tmp_path / "members.tsv")
    means = frame.groupby(["locus", "variant_id", "task"], as_index=False)["beta"].mean().assign(se=0.1)
    means.to_csv(tmp_path / "means.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="has no members, and interval rubin is made from them"):
        mr(tmp_path / "means.tsv", out=tmp_path / "t.tsv", interval="rubin")
    assert "interval" not in mr(tmp_path / "means.tsv", out=tmp_path / "t.tsv", significance=1.0, method=["ivw"])
