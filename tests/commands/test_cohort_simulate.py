"""`deepmr cohort simulate`: what is written, that it is what was drawn, and that lmm and mr find the truth in it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepmr.cli import execute
from deepmr.commands.cohort_simulate import cohort_simulate, design_of
from deepmr.commands.lmm import lmm
from deepmr.commands.mr import mr
from deepmr.errors import InputError
from deepmr.io.genotypes import open_genotypes
from deepmr.simulate.cohort_designs import DESIGNS
from deepmr.simulate.cohorts import simulate_cohort

SMALL = {"samples": 60, "variants": 300}


def table(path):
    return pd.read_csv(path, sep="\t")


def test_files_hold_what_was_drawn(tmp_path):
    out = tmp_path / "people"
    summary = cohort_simulate(out=out, seed=3, **SMALL)
    drawn = simulate_cohort(replace(DESIGNS["families"][0], n_samples=60, n_variants=300), seed=3)
    genotypes = open_genotypes(out / "geno")
    np.testing.assert_array_equal(genotypes.read(0, 300), drawn.cohort.genotypes.dosages)
    assert genotypes.panel.samples["family"].tolist() == [f"f{k + 1}" for k in drawn.families]
    traits = table(out / "traits.tsv").set_index("IID")
    assert traits.index.tolist() == genotypes.samples.tolist()
    there = traits["x"].notna().to_numpy()
    np.testing.assert_allclose(traits[["x", "y", "z"]][there], drawn.cohort.phenotypes[there], atol=1e-6)
    assert (~there).sum() == traits["age"].isna().sum() == 1  # two percent, each of other samples
    assert not (traits["age"].isna() & ~there).any()
    np.testing.assert_allclose(
        (traits["age"] - 50) / 10, np.where(traits["age"].isna(), np.nan, drawn.cohort.covariates[:, 0]), atol=1e-5
    )
    assert set(traits["site"]) == {"site1", "site2", "site3"}
    truth = table(out / "truth_effects.tsv").set_index(["exposure", "outcome"])["effect"]
    assert len(truth) == 6
    assert truth[truth != 0].to_dict() == {("x", "y"): 0.4}
    causal = table(out / "truth_variants.tsv")
    np.testing.assert_array_equal(
        causal["variant_id"], drawn.cohort.genotypes.variants["variant_id"][drawn.causal.any(1)]
    )
    np.testing.assert_allclose(causal["effect_y"], drawn.effects[drawn.causal.any(1), 1], atol=1e-12)
    record = json.loads((out / "cohort.json").read_text())
    assert (record["command"], record["seed"], record["design"]["n_samples"]) == ("cohort simulate", 3, 60)
    assert sorted(summary["files"]) == sorted(map(str, out.iterdir()))


def test_a_seed_gives_the_same_files_and_another_others(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        cohort_simulate(out=tmp_path / name, seed=seed, **SMALL)
    for file in ("geno.bed", "traits.tsv", "truth_variants.tsv"):
        one, same, other = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert one == same != other


def test_heritabilities_are_those_of_the_cohort(tmp_path):
    found = cohort_simulate(out=tmp_path / "people", samples=2000, variants=300, design="unrelated")["traits"]
    assert [row["n_large"] for row in found] == [10, 10, 10]
    x, y, z = ((row["h2"], row["h2_large"], row["sd"]) for row in found)
    assert x == pytest.approx((0.6, 0.4, 1.0), abs=0.1)
    assert z == pytest.approx((0.6, 0.4, 1.0), abs=0.1)
    assert y[2] == pytest.approx(np.sqrt(1 + 0.16 + 2 * 0.4 * 0.2), abs=0.05)


def test_names_and_effects_are_as_asked():
    design, _ = design_of("families", traits=["bmi", "bp", "ldl", "hdl"], effects=[0.1, -0.2, 0.0])
    assert design.traits == ("bmi", "bp", "ldl", "hdl")
    assert design.slopes.tolist() == [0, 0.1, -0.2, 0]
    assert design_of("families", traits=["bmi", "bp"])[0].slopes.tolist() == [0, 0.4]
    assert design_of("families", traits=list("abcd"))[0].slopes.tolist() == [0, 0.4, 0, 0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"design": "clans"}, "design must be one of"),
        ({"traits": ["x"]}, "two names or more"),
        ({"traits": ["x", "age"]}, "none of them IID"),
        ({"traits": ["x", "x"]}, "--traits"),
        ({"effects": [0.1]}, "a number for each of y, z"),
        ({"missing": 0.5}, "missing is a share"),
        ({"variants": 20}, "causal variants"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_left(tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        cohort_simulate(out=tmp_path / "people", **{**SMALL, **options})
    assert list(tmp_path.iterdir()) == []


def test_only_a_simulated_cohort_is_replaced_and_when_told(tmp_path):
    out = tmp_path / "people"
    cohort_simulate(out=out, **SMALL)
    with pytest.raises(InputError, match="--overwrite"):
        cohort_simulate(out=out, **SMALL)
    cohort_simulate(out=out, design="null", overwrite=True, **SMALL)
    assert (table(out / "truth_effects.tsv")["effect"] == 0).all()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data.txt").touch()
    with pytest.raises(InputError, match="left alone"):
        cohort_simulate(out=tmp_path / "mine", overwrite=True, **SMALL)


def test_the_command_line_makes_one(tmp_path, capsys):
    words = f"cohort simulate --out {tmp_path}/people --samples 40 --variants 100 --traits x y --effects -0.3 --quiet"
    assert execute(words.split()) == 0
    assert "-0.3" in capsys.readouterr().out
    assert (tmp_path / "people" / "geno.bed").exists()


def test_lmm_and_mr_find_the_truth(tmp_path):
    out = tmp_path / "people"
    cohort_simulate(out=out, samples=600, variants=3000, seed=1)
    lmm(
        bfile=out / "geno", pheno=out / "traits.tsv", trait=["x", "y", "z"], covariates=["age", "site"],
        loco=True, out=out / "assoc.tsv", figures="none", page=False,
    )  # fmt: skip
    found = mr(
        exposure=[str(out / "assoc.tsv")], outcome=[str(out / "assoc.tsv")], panel=out / "geno", p_threshold=1e-5,
        out=out / "effects.tsv",
    )  # fmt: skip
    assert len(found["columns"]) == 1  # one file, however many traits and roles
    assert found["variants"][0]["error_corr"] > 0.3  # x and y share a confounder
    effects = table(out / "effects.tsv").query("exposure == 'x'").set_index(["outcome", "method"])
    y, z = effects.loc[("y", "raps")], effects.loc[("z", "raps")]
    assert y["ci_low"] < 0.4 < y["ci_high"]
    assert y["ci_low"] > 0
    assert z["ci_low"] < 0 < z["ci_high"]
