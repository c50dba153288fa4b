"""`deepmr mr` on two files of GWAS results: other column names, other coding, every dropped variant with its reason."""

import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from deepmr.cli import execute
from deepmr.commands.mr import mr
from deepmr.commands.report import report
from deepmr.commands.sensitivity import sensitivity
from deepmr.errors import InputError, TooFewInstruments
from deepmr.instruments.alleles import align_alleles
from deepmr.io.sumstats import read_sumstats
from deepmr.io.tables import read_estimates
from deepmr.mr.multivariable import METHODS as MULTIVARIABLE
from deepmr.report.words import with_names
from tests.instruments.test_clumping import write_plink

N = 60


@pytest.fixture
def mr_data(shared_data):
    """Tables of TwoSampleMR."""
    return shared_data / "mr"


def studies(folder, *, slope=0.5, seed=0, noise=0.01):
    """A GWAS-SSF exposure and a PLINK-like outcome, half of it coded for the other allele, some on the other strand."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.2, 0.05, N)
    eaf = rng.uniform(0.1, 0.35, N)
    pairs = [("A", "G"), ("C", "A"), ("T", "G"), ("A", "T")]
    alleles = [pairs[i % 4] for i in range(N)]
    base = {"chromosome": 1 + np.arange(N) // 10, "base_pair_location": (1 + np.arange(N) % 10) * 5_000_000}
    exposure = pd.DataFrame(
        {
            **base,
            "effect_allele": [a for a, _ in alleles],
            "other_allele": [b for _, b in alleles],
            "beta": x,
            "standard_error": 0.01,
            "effect_allele_frequency": eaf,
            "p_value": 1e-20,
            "rsid": [f"rs{i}" for i in range(N)],
            "n": 50_000,
        }
    )
    y = slope * x + rng.normal(0, noise, N)
    swap = np.arange(N) % 2 == 0
    strand = dict(zip("ACGT", "TGCA", strict=True))
    ea = [b if s else a for (a, b), s in zip(alleles, swap, strict=True)]
    oa = [a if s else b for (a, b), s in zip(alleles, swap, strict=True)]
    flip = np.arange(N) % 5 == 0
    ea, oa = ([strand[a] if f else a for a, f in zip(col, flip, strict=True)] for col in (ea, oa))
    outcome = pd.DataFrame(
        {
            "SNP": exposure["rsid"], "A1": ea, "A2": oa, "OR": np.exp(np.where(swap, -y, y)), "SE": noise,
            "FRQ": np.where(swap, 1 - eaf, eaf), "NMISS": 9000,
        }
    )  # fmt: skip
    exposure.to_csv(folder / "x.tsv.gz", sep="\t", index=False)
    outcome.to_csv(folder / "y.txt", sep=" ", index=False)
    return exposure, outcome


def run(folder, **options):
    return mr(exposure=[str(folder / "x.tsv.gz")], outcome=[str(folder / "y.txt")], out=folder / "r.tsv", **options)


def test_two_files_to_an_answer(tmp_path):
    studies(tmp_path)
    summary = run(tmp_path, method=["ivw_random", "egger"], save_instruments=tmp_path / "i.tsv")
    estimates = read_estimates(tmp_path / "r.tsv").table
    assert estimates["beta"][0] == pytest.approx(0.5, abs=0.03)
    assert (estimates["n"] == N).all()
    assert set(estimates["estimand"]) == {"population"}
    assert (estimates["exposure"][0], estimates["outcome"][0]) == ("x", "y")
    used = pd.read_csv(tmp_path / "i.tsv", sep="\t")
    assert ((used["beta_outcome"] > 0) == (used["beta_exposure"] > 0)).mean() > 0.95
    record = json.loads((tmp_path / "r.tsv.json").read_text())
    assert [one["trait"] for one in record["traits"]] == ["x", "y"]
    assert record["traits"][1]["columns"]["odds_ratio"] == "OR"
    assert set(record["inputs"]) == {"exposure_1", "outcome_1"}
    assert summary["variants"][0]["instruments"] == N


def test_every_dropped_variant_has_its_reason(tmp_path):
    exposure, outcome = studies(tmp_path)
    exposure.loc[0, "standard_error"] = 0.0
    exposure.loc[1, "p_value"] = 1e-3  # not a candidate, hence not dropped
    exposure.loc[4, "effect_allele_frequency"] = np.nan
    exposure.loc[3, "effect_allele_frequency"] = 0.48  # palindromic
    exposure.loc[12, "base_pair_location"] = exposure.loc[11, "base_pair_location"] + 1_000
    exposure.loc[12, "p_value"] = 1e-10
    exposure.to_csv(tmp_path / "x.tsv.gz", sep="\t", index=False)
    outcome = outcome.drop(index=2)
    outcome.loc[5, "SE"] = -1
    outcome.loc[6, ["A1", "A2"]] = ["A", "G"]
    outcome.to_csv(tmp_path / "y.txt", sep=" ", index=False)
    run(tmp_path, method=["ivw_random"])
    dropped = pd.read_csv(tmp_path / "r.dropped.tsv", sep="\t").set_index("variant_id")
    expected = {
        "rs0": ("x", "the standard error is zero"),
        "rs5": ("y", "in the file, but the standard error is negative"),
        "rs2": ("y", "not in y"),
        "rs3": ("y", "palindromic, and the frequencies do not tell the strand"),
        "rs6": ("y", "alleles differ"),
        "rs12": ("x", "near a stronger variant"),
    }
    for name, (file, reason) in expected.items():
        rows = dropped.loc[[name]]
        assert (file, reason) in list(zip(rows["file"], rows["reason"], strict=True)), name
    whole = dropped.loc[["rs5"]]
    assert whole["reason"].tolist() == [
        "the standard error is negative",
        "in the file, but the standard error is negative",
    ]
    assert read_estimates(tmp_path / "r.tsv").table["n"][0] == N - len(expected) - 1


def test_names_of_twosamplemr_and_the_command_line(tmp_path, capsys):
    studies(tmp_path)
    words = ["mr", "--exposure", tmp_path / "x.tsv.gz", "--outcome", tmp_path / "y.txt", "--out", tmp_path / "r.tsv"]
    assert execute([*map(str, words), "--to", "twosamplemr", "--method", "ivw_random"]) == 0
    table = pd.read_csv(tmp_path / "r.tsv", sep="\t")
    assert table.columns.tolist() == [
        "id.exposure", "id.outcome", "outcome", "exposure", "method", "nsnp", "b", "se", "pval",
    ]  # fmt: skip
    assert "dropped variants" in capsys.readouterr().out


def test_clumped_by_a_panel_or_given_its_correlations(tmp_path):
    exposure, _ = studies(tmp_path)
    rng = np.random.default_rng(0)
    dosage = rng.binomial(2, 0.3, size=(300, 40)).astype(float)
    dosage[:, 1] = dosage[:, 0]
    write_plink(tmp_path / "panel", dosage)
    clumped = run(tmp_path, panel=tmp_path / "panel", r2=0.9, kb=1e6, method=["ivw_random"])
    assert clumped["variants"][0]["instruments"] == 39  # 60 less 20 that are not in the panel, less one
    why = {row["reason"]: row["variants"] for row in clumped["dropped"]}
    assert why == {"correlated with a stronger variant": 1, "not in the LD panel": 20}
    bim = pd.read_csv(tmp_path / "panel.bim", sep="\t", header=None)
    bim[4], bim[5] = exposure["effect_allele"][:40], exposure["other_allele"][:40]
    bim.to_csv(tmp_path / "panel.bim", sep="\t", header=False, index=False)
    kept = run(
        tmp_path, panel=tmp_path / "panel", clump="none", correlation="panel", method=["ivw_random"], overwrite=True
    )
    assert kept["variants"][0]["instruments"] == 40
    words = ["mr", "--exposure", tmp_path / "x.tsv.gz", "--outcome", tmp_path / "y.txt", "--out", tmp_path / "c.tsv"]
    words += ["--panel", tmp_path / "panel", "--clump", "none", "--correlation", "panel", "--method", "ivw_random"]
    assert execute(list(map(str, words))) == 0
    assert (read_estimates(tmp_path / "c.tsv").table["n"] == 40).all()
    names = exposure["rsid"].tolist()
    order = rng.permutation(N)
    pd.DataFrame(np.eye(N), columns=np.array(names)[order]).to_csv(tmp_path / "ld.tsv", sep="\t", index=False)
    run(tmp_path, correlation=tmp_path / "ld.tsv", method=["ivw_random"], overwrite=True)
    pd.DataFrame(np.eye(N - 1), columns=names[1:]).to_csv(tmp_path / "ld.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="the LD matrix lacks 1 of 60 instruments, first rs0"):
        run(tmp_path, correlation=tmp_path / "ld.tsv", method=["ivw_random"], overwrite=True)


def test_all_equal_effects_and_too_few(tmp_path):
    exposure, _ = studies(tmp_path)
    exposure.assign(beta=0.2).to_csv(tmp_path / "x.tsv.gz", sep="\t", index=False)
    run(tmp_path)  # Egger may be skipped, with its reason
    exposure[:2].to_csv(tmp_path / "x.tsv.gz", sep="\t", index=False)
    with pytest.raises(TooFewInstruments, match="x and y, ivw_random: needs at least 3 instruments; has 2"):
        run(tmp_path, overwrite=True)
    assert pd.read_csv(tmp_path / "r.skipped.tsv", sep="\t")["reason"].str.contains("instruments").all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rule": "f"}, "--rule is for an effects file"),
        ({"clump": "ld"}, "needs a panel"),
        ({"p_threshold": 1e-30}, "no variant is significant for x: none of 60 has P below 1e-30"),
        ({"error_corr": 1.5}, "between -1 and 1"),
        ({"error_corr": "estimate"}, "needs at least 100"),
        ({"outcome_columns": ["beta=nothing"]}, "no column 'nothing' for beta"),
        ({"method": ["ivwx"]}, "method must be one of"),
    ],
)
def test_bad_options_are_told(tmp_path, options, says):
    studies(tmp_path)
    with pytest.raises(InputError, match=says):
        run(tmp_path, **options)
    assert not (tmp_path / "r.tsv").exists()


def test_no_overlap_and_options_of_the_other_kind(tmp_path):
    _, outcome = studies(tmp_path)
    outcome.assign(SNP=outcome["SNP"] + "x").to_csv(tmp_path / "y.txt", sep=" ", index=False)
    with pytest.raises(InputError, match="x and y have no variant in common"):
        run(tmp_path)
    with pytest.raises(InputError, match="needed a file of effects, or files of GWAS results"):
        mr(out=tmp_path / "r.tsv")
    with pytest.raises(InputError, match="--panel is for files of GWAS results"):
        mr(tmp_path / "effects.h5", out=tmp_path / "r.tsv", panel=tmp_path / "panel")


def test_traits_can_be_named(tmp_path):
    studies(tmp_path)
    files = {"exposure": [f"LDL={tmp_path / 'x.tsv.gz'}"], "outcome": [f"heart disease={tmp_path / 'y.txt'}"]}
    mr(**files, out=tmp_path / "r.tsv", method=["ivw_random"])
    table = read_estimates(tmp_path / "r.tsv").table
    assert (table["exposure"][0], table["outcome"][0]) == ("LDL", "heart disease")
    assert set(json.loads((tmp_path / "r.tsv.json").read_text())["inputs"]) == {"exposure_1", "outcome_1"}
    (tmp_path / "a=b.tsv").write_bytes((tmp_path / "y.txt").read_bytes())
    mr(exposure=files["exposure"], outcome=[str(tmp_path / "a=b.tsv")], out=tmp_path / "s.tsv", method=["ivw_random"])
    (tmp_path / "two.txt").write_text("Phenotype SNP beta se effect_allele\nBMI rs1 1 1 A\nLDL rs1 2 1 A\n")
    with pytest.raises(InputError, match=r"two\.txt: has several traits \(BMI, LDL\), none of which is 'x'"):
        mr(exposure=[f"x={tmp_path / 'two.txt'}"], outcome=files["outcome"], out=tmp_path / "t.tsv")


def test_a_pair_without_instruments_does_not_stop_the_others(tmp_path):
    exposure, outcome = studies(tmp_path)
    exposure.assign(p_value=0.5).to_csv(tmp_path / "weak.tsv", sep="\t", index=False)
    outcome.assign(SNP=outcome["SNP"] + "x").to_csv(tmp_path / "z.txt", sep=" ", index=False)
    files = {"exposure": [str(tmp_path / name) for name in ("x.tsv.gz", "weak.tsv")]}
    files["outcome"] = [str(tmp_path / name) for name in ("y.txt", "z.txt")]
    summary = mr(**files, out=tmp_path / "r.tsv", method=["ivw_random"])
    assert [(row["exposure"], row["outcome"]) for row in summary["effects"]] == [("x", "y")]
    why = {(row["exposure"], row["outcome"]): row["reason"] for row in summary["skipped"]}
    assert set(why) == {("x", "z"), ("weak", "y"), ("weak", "z")}
    assert "no variant in common" in why["x", "z"]
    assert "no variant is significant" in why["weak", "y"]


def test_a_variant_that_only_one_of_several_exposures_has_is_listed(tmp_path):
    exposure, _ = studies(tmp_path)
    other = exposure.assign(beta=np.random.default_rng(5).normal(0.2, 0.05, N))
    other.loc[:9, "p_value"] = 0.5
    other[1:].to_csv(tmp_path / "z.tsv", sep="\t", index=False)
    exposure.loc[40:, "p_value"] = 0.5
    exposure[:-2].to_csv(tmp_path / "x.tsv.gz", sep="\t", index=False)
    both = [str(tmp_path / "x.tsv.gz"), str(tmp_path / "z.tsv")]
    mr(exposure=both, outcome=[str(tmp_path / "y.txt")], out=tmp_path / "mv.tsv", multivariable=True)
    dropped = pd.read_csv(tmp_path / "mv.dropped.tsv", sep="\t")
    rows = {(row["variant_id"], row["file"], row["reason"]) for _, row in dropped.iterrows()}
    assert {("rs0", "z", "not in z"), ("rs58", "x", "not in x"), ("rs59", "x", "not in x")} == rows


def test_several_exposures_in_one_model(tmp_path):
    exposure, _ = studies(tmp_path)
    other = exposure.assign(beta=np.random.default_rng(5).normal(0.2, 0.05, N))
    other.to_csv(tmp_path / "z.tsv", sep="\t", index=False)
    from deepmr.commands.gwas_instruments import GwasOptions, prepare

    x, z, y = (read_sumstats(tmp_path / name)[0] for name in ("x.tsv.gz", "z.tsv", "y.txt"))
    found = prepare([x, z], y, gwas=GwasOptions(multivariable=True)).instruments
    assert (found.exposures, found.outcome, found.beta_exposure.shape) == (("x", "z"), "y", (N, 2))
    both = {"exposure": [str(tmp_path / "x.tsv.gz"), str(tmp_path / "z.tsv")], "outcome": [str(tmp_path / "y.txt")]}
    summary = mr(**both, out=tmp_path / "mv.tsv", multivariable=True)
    rows = [(row["method"], row["exposure"]) for row in summary["effects"]]
    assert rows == [(f"mv_{name}", x) for name in ("ivw", "median", "debiased", "raps") for x in ("x", "z")]
    assert "strong for every exposure" in summary["strength"][0]
    every = list(MULTIVARIABLE)
    effects = mr(**both, out=tmp_path / "mv.tsv", multivariable=True, method=every, overwrite=True)["effects"]
    assert [row["method"] for row in effects] == [name for name in every for _ in "xz"]
    with pytest.raises(InputError, match=r"method must be one of mv_ivw, .*; got 'ivw'"):
        mr(**both, out=tmp_path / "o.tsv", multivariable=True, method=["ivw"])
    with pytest.raises(InputError, match="--multivariable needs at least two exposures; got 1: x"):
        mr(exposure=both["exposure"][:1], outcome=both["outcome"], out=tmp_path / "o.tsv", multivariable=True)


def test_clumped_by_the_positions_of_the_outcome(tmp_path):
    exposure, outcome = studies(tmp_path)
    places = exposure[["chromosome", "base_pair_location"]].rename(columns={"chromosome": "CHR"})
    places.loc[12, "base_pair_location"] = places.loc[11, "base_pair_location"] + 1_000
    outcome.assign(CHR=places["CHR"], BP=places["base_pair_location"]).to_csv(tmp_path / "y.txt", sep=" ", index=False)
    bare = exposure.drop(columns=["chromosome", "base_pair_location"])
    bare.to_csv(tmp_path / "x.tsv.gz", sep="\t", index=False)
    other = bare.assign(beta=np.random.default_rng(5).normal(0.2, 0.05, N))
    other.to_csv(tmp_path / "z.tsv", sep="\t", index=False)
    both = [str(tmp_path / "x.tsv.gz"), str(tmp_path / "z.tsv")]
    for multivariable in (False, True):
        exposures = both if multivariable else both[:1]
        summary = mr(
            exposure=exposures, outcome=[str(tmp_path / "y.txt")], out=tmp_path / "r.tsv", multivariable=multivariable,
            overwrite=True,
        )  # fmt: skip
        assert summary["variants"][0]["instruments"] == N - 1
        assert [row["reason"] for row in summary["dropped"]] == ["near a stronger variant"]


def test_by_default_clumped_by_distance_though_some_positions_are_unknown(tmp_path, caplog):
    exposure, _ = studies(tmp_path)
    exposure.loc[12, "base_pair_location"] = exposure.loc[11, "base_pair_location"] + 1_000
    exposure.loc[[3, 4], "base_pair_location"] = 0
    exposure.to_csv(tmp_path / "x.tsv.gz", sep="\t", index=False)
    files = {"exposure": [str(tmp_path / "x.tsv.gz")], "outcome": [str(tmp_path / "y.txt")]}
    summary = mr(**files, out=tmp_path / "r.tsv")
    assert summary["variants"][0]["instruments"] == N - 3
    why = {row["reason"]: row["variants"] for row in summary["dropped"]}
    assert why == {"near a stronger variant": 1, "of unknown position": 2}
    dropped = pd.read_csv(tmp_path / "r.dropped.tsv", sep="\t")
    assert dropped.loc[dropped["reason"] == "of unknown position", "variant_id"].tolist() == ["rs3", "rs4"]
    exposure["base_pair_location"] = 0
    exposure.to_csv(tmp_path / "x.tsv.gz", sep="\t", index=False)
    assert mr(**files, out=tmp_path / "n.tsv")["variants"][0]["instruments"] == N
    assert "not clumped: there is no panel and positions are unknown" in caplog.text
    with pytest.raises(InputError, match=f"clumping needs positions; all {N} are unknown"):
        mr(**files, out=tmp_path / "d.tsv", clump="distance")


def test_what_several_exposures_drop_is_counted_on_screen_and_listed_in_the_file(tmp_path):
    exposure, _ = studies(tmp_path)
    other = exposure.assign(beta=np.random.default_rng(5).normal(0.2, 0.05, N))
    other[20:].to_csv(tmp_path / "z.tsv", sep="\t", index=False)
    files = {"exposure": [str(tmp_path / "x.tsv.gz"), str(tmp_path / "z.tsv")], "outcome": [str(tmp_path / "y.txt")]}
    summary = mr(**files, out=tmp_path / "mv.tsv", multivariable=True)
    assert summary["dropped"] == [{"file": "z", "reason": "not in z", "variants": 20}]
    dropped = pd.read_csv(tmp_path / "mv.dropped.tsv", sep="\t")
    assert dropped["variant_id"].tolist() == [f"rs{i}" for i in range(20)]


def test_harmonisation_is_that_of_twosamplemr(mr_data, tmp_path):
    exposure = read_sumstats(mr_data / "TwoSampleMR_bmi_exposure.csv")[0]
    outcome = read_sumstats(mr_data / "TwoSampleMR_chd_outcome.csv", role="outcome")[0]
    for name in ("TwoSampleMR_bmi_chd_harmonised.csv", "TwoSampleMR_dat2_harmonised.csv"):
        theirs = pd.read_csv(mr_data / name)
        theirs = theirs[(theirs["id.exposure"] == "ieu-a-2") & (theirs["id.outcome"] == "ieu-a-7")].set_index("SNP")
        ours = align_alleles(exposure.stats, outcome.stats, palindromes="keep")  # action 1, as in these tables
        ids = ours.stats.variants["variant_id"]
        assert set(ids) == set(theirs.index[theirs["mr_keep"]])
        np.testing.assert_array_equal(ours.stats.beta[:, 1], theirs.loc[ids, "beta.outcome"])
        infer = align_alleles(exposure.stats, outcome.stats).stats  # action 2 drops what they call ambiguous
        assert set(infer.variants["variant_id"]) == set(theirs.index[theirs["mr_keep"] & ~theirs["ambiguous"]])


@pytest.mark.parametrize("palindromes", ["keep", "infer"])
def test_ambiguous_palindromes_are_those_of_twosamplemr(mr_data, tmp_path, palindromes):
    whole = pd.read_csv(mr_data / "TwoSampleMR_dat2_harmonised.csv")
    for pair, theirs in whole.groupby(["id.exposure", "id.outcome"]):
        theirs.to_csv(tmp_path / "pair.csv", index=False)
        x = read_sumstats(tmp_path / "pair.csv")[0].stats
        y = read_sumstats(tmp_path / "pair.csv", role="outcome")[0].stats
        found = align_alleles(x, y, palindromes=palindromes).stats
        keep = theirs["mr_keep"] & (~theirs["ambiguous"] | (palindromes == "keep"))
        theirs = theirs[keep].set_index("SNP")
        assert set(found.variants["variant_id"]) == set(theirs.index), pair
        np.testing.assert_array_equal(found.beta[:, 1], theirs.loc[found.variants["variant_id"], "beta.outcome"])


def test_bmi_to_coronary_disease_under_other_names_and_coding(mr_data, tmp_path):
    x = pd.read_csv(mr_data / "TwoSampleMR_bmi_exposure.csv")
    y = pd.read_csv(mr_data / "TwoSampleMR_chd_outcome.csv")
    swap = np.arange(len(y)) % 2 == 0
    coded = pd.DataFrame(
        {
            "MarkerName": y["SNP"],
            "Allele1": np.where(swap, y["other_allele.outcome"], y["effect_allele.outcome"]),
            "Allele2": np.where(swap, y["effect_allele.outcome"], y["other_allele.outcome"]),
            "Freq1": np.where(swap, 1 - y["eaf.outcome"], y["eaf.outcome"]),
            "Effect": np.where(swap, -1, 1) * y["beta.outcome"],
            "StdErr": y["se.outcome"],
            "P-value": y["pval.outcome"],
        }
    )
    coded.sample(frac=1, random_state=1).to_csv(tmp_path / "chd.tsv", sep="\t", index=False)
    regenie = x[["chr.exposure", "pos.exposure", "SNP", "other_allele.exposure", "effect_allele.exposure"]].copy()
    regenie.columns = ["CHROM", "GENPOS", "ID", "ALLELE0", "ALLELE1"]
    regenie = regenie.assign(BETA=x["beta.exposure"], SE=x["se.exposure"], LOG10P=-np.log10(x["pval.exposure"]))
    regenie["A1FREQ"] = x["eaf.exposure"]
    (tmp_path / "bmi.gz").write_bytes(gzip.compress(regenie.to_csv(sep=" ", index=False).encode()))
    mr(
        exposure=[str(tmp_path / "bmi.gz")], outcome=[str(tmp_path / "chd.tsv")], out=tmp_path / "r.tsv",
        method=["ivw_random", "egger"], clump="none",
    )  # fmt: skip
    table = read_estimates(tmp_path / "r.tsv").table.set_index("method")
    assert (table["n"] == 79).all()
    # There are no fits of R for this pair: plain least squares on the table that TwoSampleMR harmonised.
    theirs = pd.read_csv(mr_data / "TwoSampleMR_bmi_chd_harmonised.csv").query("mr_keep")
    bx, by, se = (theirs[name].to_numpy() for name in ("beta.exposure", "beta.outcome", "se.outcome"))
    ivw = np.sum(bx * by / se**2) / np.sum(bx**2 / se**2)
    slope, _ = np.polyfit(np.abs(bx), by * np.sign(bx), 1, w=1 / se)
    assert table["beta"]["ivw_random"] == pytest.approx(ivw, rel=1e-9)
    assert table["beta"]["egger"] == pytest.approx(slope, rel=1e-9)


def weak_studies(folder, *, n=200, slope=0.4, seed=0):
    """Two tables of variants with a mean F of about 4, none of them chosen in these data."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(0, 0.017, n)
    for name, truth in (("x", effect), ("y", slope * effect)):
        beta = truth + rng.normal(0, 0.01, n)
        pd.DataFrame(
            {
                "SNP": [f"rs{i}" for i in range(n)], "effect_allele": "A", "other_allele": "G", "eaf": 0.3,
                "beta": beta, "se": 0.01, "pval": 2 * stats.norm.sf(np.abs(beta) / 0.01),
            }
        ).to_csv(folder / f"{name}.tsv", sep="\t", index=False)  # fmt: skip
    files = {"exposure": [str(folder / "x.tsv")], "outcome": [str(folder / "y.tsv")], "out": folder / "r.tsv"}
    return files | {"p_threshold": 1.0}


def test_weak_instruments_get_methods_that_allow_for_them_and_advice_to_read_these(tmp_path):
    files = weak_studies(tmp_path)
    summary = mr(**files, clump="none")
    assert summary["variants"][0]["mean_f"] < 10
    by = {row["method"]: row for row in summary["effects"]}
    assert list(by) == ["raps", "debiased_ivw", "ivw_random", "egger", "median_weighted", "mode_weighted"]
    assert abs(by["raps"]["beta"] - 0.4) < 2 * by["raps"]["se"]
    assert by["ivw_random"]["beta"] < 0.35
    (said,) = summary["strength"]
    assert re.fullmatch(
        r"x and y: instruments are weak, mean F [\d.]+ \(below 10\): read raps and debiased_ivw in place of ivw_random",
        said,
    )
    mr(**files | {"out": tmp_path / "i.tsv"}, clump="none", method=["ivw_random", "egger"])
    page = report(estimates=files["out"], out=tmp_path / "r.html")
    assert page["effects"][0]["method"] == "raps"
    assert page["verdict"][0].startswith("RAPS estimates the effect of x on y as 0.")
    assert "instruments are weak" in page["verdict"][-1]
    assert "Read RAPS and IVW (debiased) in place of IVW (random)" in page["verdict"][-1]
    alone = report(estimates=tmp_path / "i.tsv", out=tmp_path / "i.html")["verdict"]
    assert "Read RAPS or IVW (debiased), which were not run, in place of IVW (random)" in alone[-1]


def test_report_and_sensitivity_give_one_advice(tmp_path, mr_data):
    harmonised = {"exposure": [f"BMI={mr_data}/TwoSampleMR_bmi_exposure.csv"], "clump": "none"}
    mr(**harmonised, outcome=[f"CHD={mr_data}/TwoSampleMR_chd_outcome.csv"], out=tmp_path / "r.tsv")
    weak = tmp_path / "weak"
    weak.mkdir()
    files = weak_studies(weak)
    mr(**files, clump="none")
    for folder in (tmp_path, weak):
        told = report(estimates=folder / "r.tsv", out=folder / "r.html")["verdict"]
        found = sensitivity(folder / "r.instruments.tsv", out=folder / "s", figures="none")["verdict"]
        assert list(map(with_names, found)) == told
    assert (
        "Read ivw_random only beside median_weighted and mode_weighted."
        in sensitivity(tmp_path / "r.instruments.tsv", out=tmp_path / "again", figures="none")["verdict"][-1]
    )
