"""Two traits of one cohort, from a table as `deepmr lmm` writes it to effects that allow for the samples they share."""

import json

import numpy as np
import pandas as pd
import pytest

from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.commands.mr import mr
from deepmr.errors import InputError, TooFewInstruments
from deepmr.io.sumstats import read_sumstats
from deepmr.population import associate_variants, spectrum_of_kinship
from deepmr.population.error_correlation import cross_trait_correlation, score_traits

SAMPLES, VARIANTS = 300, 150


@pytest.fixture(scope="module")
def scanned():
    rng = np.random.default_rng(3)
    dosages = rng.binomial(2, rng.uniform(0.2, 0.5, VARIANTS)[:, None], (VARIANTS, SAMPLES)).astype(float)
    dosages[0], dosages[1] = 1.0, np.nan  # monomorphic, all missing
    variants = pd.DataFrame({
        "variant_id": [f"v{k}" for k in range(VARIANTS)], "chrom": np.repeat(["1", "2"], VARIANTS // 2),
        "pos": (np.arange(VARIANTS) + 1) * 3_000_000, "effect_allele": "A", "other_allele": "C",
    })  # fmt: skip
    shared = rng.normal(size=SAMPLES)
    x = dosages[2:12].T @ np.full(10, 0.7) + shared + rng.normal(size=SAMPLES)
    y = shared + rng.normal(size=SAMPLES)
    cohort = Cohort(
        genotypes=ArrayGenotypes(
            variants=variants, samples=pd.Index([f"s{k}" for k in range(SAMPLES)]), dosages=dosages
        ),
        phenotypes=np.column_stack([x, y]), traits=("bmi", "bp"), covariates=np.zeros((SAMPLES, 0)),
    )  # fmt: skip
    z = np.nan_to_num(dosages[2:] - dosages[2:].mean(1, keepdims=True)).T
    spectrum = spectrum_of_kinship(z @ z.T / VARIANTS)
    found = associate_variants(cohort, spectrum, min_mac=5)
    corr = cross_trait_correlation([score_traits(cohort, spectrum, found.nulls[""])], n_markers=VARIANTS)
    return found.table, corr.to_dict()


def write_tables(folder, scanned):
    table, corr = scanned
    paths = {}
    for name, rows in {"both": table, "bmi": table.query("trait == 'bmi'"), "bp": table.query("trait == 'bp'")}.items():
        paths[name] = folder / f"{name}.tsv.gz"
        rows.to_csv(paths[name], sep="\t", index=False)
        (folder / f"{name}.tsv.gz.json").write_text(json.dumps({"command": "lmm", "error_correlation": corr}))
    return paths


def run(folder, exposure, outcome, **options):
    mr(
        exposure=[exposure],
        outcome=[outcome],
        out=folder / "mr.tsv",
        method=["raps"],
        p_threshold=1e-3,
        overwrite=True,
        **options,
    )
    record = json.loads((folder / "mr.tsv.json").read_text())
    return pd.read_table(folder / "mr.tsv").iloc[0], record["variants"][0]


def test_a_table_of_lmm_is_read_as_it_is(tmp_path, scanned):
    paths = write_tables(tmp_path, scanned)
    both = read_sumstats(paths["both"])
    assert [one.trait for one in both] == ["bmi", "bp"]
    for one in both:
        ok = scanned[0].query("trait == @one.trait and status == 'ok'")
        np.testing.assert_allclose(one.stats.beta[:, 0], ok["beta"], rtol=1e-12)
        np.testing.assert_allclose(one.stats.se[:, 0], ok["se"], rtol=1e-12)
        np.testing.assert_allclose(one.stats.variants[f"{one.trait}_pvalue"], ok["pvalue"], rtol=1e-12)
        np.testing.assert_array_equal(one.stats.n[:, 0], ok["n"])
        np.testing.assert_array_equal(one.stats.variants["eaf"], ok["eaf"])
        assert one.dropped["variant_id"].tolist() == ["v0", "v1"]
        assert set(one.dropped["reason"]) == {"the effect is missing"}
        assert one.columns["effect_allele"] == "effect_allele"
        assert not one.notes
    [bp] = read_sumstats(paths["both"], trait="bp")
    assert bp.trait == "bp"
    np.testing.assert_array_equal(bp.stats.beta, both[1].stats.beta)
    with pytest.raises(InputError, match=r"several traits \(bmi, bp\), none of which is 'height'"):
        read_sumstats(paths["both"], trait="height")
    empty = scanned[0].query("trait == 'bp'").assign(beta=np.nan, se=np.nan)
    empty.to_csv(tmp_path / "none.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="none of 150 rows can be used: the effect is missing"):
        read_sumstats(tmp_path / "none.tsv")


def test_effects_allow_for_the_samples_that_traits_share(tmp_path, scanned):
    paths = write_tables(tmp_path, scanned)
    rho = scanned[1]["matrix"][0][1]
    assert 0.1 < rho < 0.6
    said, counts = run(tmp_path, str(paths["bmi"]), str(paths["bp"]))
    assert counts["error_corr_from"] == "record"
    assert counts["error_corr"] == [[1.0, rho], [rho, 1.0]]
    given, counts = run(tmp_path, str(paths["bmi"]), str(paths["bp"]), error_corr=rho)
    assert counts["error_corr_from"] == "given"
    untold, counts = run(tmp_path, str(paths["bmi"]), str(paths["bp"]), error_corr="none")
    assert (counts["error_corr"], counts["error_corr_from"]) == (None, "none")
    assert said["beta"] == pytest.approx(given["beta"], rel=1e-12)
    assert said["beta"] < untold["beta"]  # a shared environment that raises both traits looks like an effect
    for exposure, outcome in ((f"bmi={paths['both']}", f"bp={paths['both']}"), (f"mass={paths['bmi']}", paths["bp"])):
        again, counts = run(tmp_path, str(exposure), str(outcome), error_corr="record")
        assert counts["error_corr_from"] == "record"
        assert again["beta"] == pytest.approx(said["beta"], rel=1e-12)


def test_alleles_of_the_same_genotypes_are_of_one_strand(tmp_path, scanned):
    unclear = scanned[0].assign(other_allele="T", eaf=0.5), scanned[1]  # A/T, and no frequency tells the strand
    paths = write_tables(tmp_path, unclear)
    with pytest.raises(TooFewInstruments, match="do not tell the strand"):
        run(tmp_path, str(paths["bmi"]), str(paths["bp"]))
    for name, genotypes, pheno in (("bmi", "a", "b"), ("bp", "a", "c")):  # of two runs
        sums = {"bfile.bed": {"sha256": genotypes}, "pheno": {"sha256": pheno}}
        record = {"format": "deepmr-associations", "inputs": sums}
        (tmp_path / f"{name}.tsv.gz.json").write_text(json.dumps(record))
    kept, counts = run(tmp_path, str(paths["bmi"]), str(paths["bp"]))
    assert kept["n"] == counts["instruments"] > 2
    assert counts["error_corr_from"] == "estimate"  # the records have none, and the samples are the same
    assert 0 < counts["error_corr"][0][1] < 0.9
    with pytest.raises(TooFewInstruments, match="palindromic"):
        run(tmp_path, str(paths["bmi"]), str(paths["bp"]), palindromes="drop")


def test_records_of_two_runs_or_of_none_say_nothing(tmp_path, scanned):
    paths = write_tables(tmp_path, scanned)
    record = tmp_path / "bp.tsv.gz.json"
    other = json.loads(record.read_text())
    other["error_correlation"]["matrix"][0][1] = other["error_correlation"]["matrix"][1][0] = 0.1
    for text in (json.dumps(other), "{}", "not JSON"):
        record.write_text(text)
        assert run(tmp_path, str(paths["bmi"]), str(paths["bp"]))[1]["error_corr_from"] == "none"
        with pytest.raises(InputError, match="record needs tables of one run of deepmr lmm"):
            run(tmp_path, str(paths["bmi"]), str(paths["bp"]), error_corr="record")
    other["error_correlation"]["matrix"] = [[1, 2], [2, 1]]
    for name in ("bmi", "bp"):
        (tmp_path / f"{name}.tsv.gz.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match="must be a correlation matrix of 2 traits"):
        run(tmp_path, str(paths["bmi"]), str(paths["bp"]))
