"""`deepmr lmm`: PLINK files and a table of traits to associations, figures, a page, and on to `deepmr mr`."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from bed_reader import to_bed
from scipy import stats

from deepmr.cli import execute
from deepmr.cluster import tasks
from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.commands import lmm_scan, lmm_spectra
from deepmr.commands.lmm import lmm
from deepmr.commands.mr import mr
from deepmr.commands.run import run
from deepmr.errors import InputError
from deepmr.population.association import associate_variants
from deepmr.population.inflation import genomic_inflation
from deepmr.population.leave_out import leave_one_out

N, EACH, CHROMS = 240, 40, 4
CAUSAL = (10, 50, 90, 130)


def simulated(seed=3):
    """Genotypes of siblings, a trait that four variants and the family move, one that the first moves, covariates."""
    rng = np.random.default_rng(seed)
    m = EACH * CHROMS
    parents = rng.binomial(1, rng.uniform(0.2, 0.5, m)[None, None, :], (N // 4, 4, m))
    dosages = np.zeros((N, m))
    for child in range(N):
        family = parents[child // 4]
        for pair in ((0, 1), (2, 3)):
            dosages[child] += np.where(rng.random(m) < 0.5, family[pair[0]], family[pair[1]])
    age, site = rng.normal(50, 8, N), np.array(["north", "south", "west"])[rng.integers(0, 3, N)]
    family = np.repeat(rng.normal(0, 0.5, N // 4), 4)
    x = dosages[:, CAUSAL] @ np.array([1.4, -1.3, 1.5, 1.2]) + 0.03 * age + family + rng.normal(0, 0.7, N)
    y = 0.6 * x + np.repeat(rng.normal(0, 0.3, N // 4), 4) + rng.normal(0, 0.7, N)
    dosages[rng.random((N, m)) < 0.01] = np.nan
    dosages[:, 5] = 0.0
    dosages[:, 6] = np.nan
    return dosages, pd.DataFrame({"IID": [f"p{i}" for i in range(N)], "x": x, "y": y, "age": age, "site": site})


def written(folder, seed=3):
    """The same as files; the table in another order, one sample without genotypes, one with no trait, one with no y."""
    dosages, table = simulated(seed)
    m = dosages.shape[1]
    to_bed(
        folder / "geno.bed",
        dosages,
        properties={
            "iid": table["IID"].tolist(),
            "fid": ["0"] * N,
            "sid": [f"rs{k}" for k in range(m)],
            "chromosome": [str(1 + k // EACH) for k in range(m)],
            "bp_position": [1_000_000 * (1 + 2 * (k % EACH)) for k in range(m)],
            "allele_1": ["A"] * m,
            "allele_2": ["G"] * m,
        },
    )
    table.loc[2, ["x", "y"]] = np.nan
    table.loc[7, "y"] = np.nan
    more = pd.concat(
        [table, pd.DataFrame({"IID": ["stranger"], "x": [1.0], "y": [1.0], "age": [1.0], "site": ["west"]})]
    )
    more.sample(frac=1, random_state=1).to_csv(folder / "p.tsv", sep="\t", index=False)
    return dosages, table


@pytest.fixture
def data(tmp_path):
    return tmp_path, *written(tmp_path)


def scan(folder, **options):
    given = {"bfile": folder / "geno", "pheno": folder / "p.tsv", "trait": ["x"], "out": folder / "assoc.tsv.gz"}
    return lmm(**{**given, "figures": "none", "page": False, **options})


def table_of(path):
    return pd.read_csv(path, sep="\t", dtype={"chrom": str})


def close(found, wanted):
    np.testing.assert_allclose(found.to_numpy(float), wanted.to_numpy(float), rtol=1e-6)


def test_the_table_is_that_of_the_library(data):
    folder, dosages, table = data
    summary = scan(folder, covariates=["age", "site"], loco=True, figures="svg", page=True)
    found = table_of(folder / "assoc.tsv.gz")
    here = table["x"].notna().to_numpy()
    variants = found[["variant_id", "chrom", "pos", "effect_allele", "other_allele"]]
    sites = [(table["site"] == name).to_numpy(float) for name in ("south", "west")]
    cohort = Cohort(
        genotypes=ArrayGenotypes(
            variants=variants, samples=pd.Index(table["IID"][here]), dosages=np.ascontiguousarray(dosages[here].T)
        ),
        phenotypes=table["x"].to_numpy()[here, None],
        traits=("x",),
        covariates=np.column_stack([table["age"], *sites])[here],
        covariate_names=("age", "south", "west"),
    )
    wanted = associate_variants(cohort, leave_one_out(cohort.genotypes), test="f", min_mac=5.0, max_missing=0.1)
    assert found["status"].tolist() == wanted.table["status"].tolist()
    assert set(found["status"]) == {"ok", "monomorphic", "all_missing"}
    for name in ("beta", "se", "sigma_sq", "chi_sq", "log10p", "n", "eaf", "mac"):
        close(found[name], wanted.table[name])
    assert found.loc[found["status"] != "ok", "beta"].isna().all()
    record = json.loads((folder / "assoc.tsv.gz.json").read_text())
    [trait] = record["traits"]
    assert trait["n"] == N - 1
    assert set(trait["h_sq_without"]) == {"1", "2", "3", "4"}
    null = wanted.nulls["2"]
    assert trait["h_sq_without"]["2"]["h_sq"] == pytest.approx(float(null.h_sq[0]), rel=1e-6)
    assert trait["lambda_gc"] == pytest.approx(genomic_inflation(found["log10p"].to_numpy()), rel=2e-3)
    assert record["loco"] is True
    assert record["counts"]["used"] == N - 1
    assert record["inputs"]["bfile.bed"]["sha256"]
    [row] = summary["traits"]
    assert row["hits"] == (found["log10p"] > -np.log10(5e-8)).sum() > 0
    assert row["loci"] <= row["hits"]
    page = (folder / "assoc.html").read_text()
    assert "Which variants are associated with x?" in page
    assert page.count("<svg") == 2
    for name in ("assoc.manhattan.svg", "assoc.qq.svg"):
        assert (folder / name).stat().st_size > 1000


def test_two_traits_in_one_table_go_on_to_mr(data):
    folder, _, _ = data
    scan(folder, trait=["x", "y"], loco=True)
    found = table_of(folder / "assoc.tsv.gz")
    assert found.groupby("trait")["n"].max().to_dict() == {"x": N - 1, "y": N - 2}
    recorded = json.loads((folder / "assoc.tsv.gz.json").read_text())["error_correlation"]
    assert recorded["traits"] == ["x", "y"]
    assert 0.2 < recorded["matrix"][0][1] < 0.9
    options = {"p_threshold": 1e-4, "kb": 10_000.0, "error_corr": "record"}
    path = str(folder / "assoc.tsv.gz")
    mr(exposure=[path], outcome=[path], out=folder / "mr.tsv", method=["ivw_random"], **options)
    estimates = pd.read_csv(folder / "mr.tsv", sep="\t")
    assert set(zip(estimates["exposure"], estimates["outcome"], strict=True)) == {("x", "y"), ("y", "x")}
    effect = estimates.loc[estimates["exposure"] == "x", "beta"].item()
    assert effect == pytest.approx(0.6, abs=0.15)
    scan(folder, trait=["x"], overwrite=True)
    with pytest.raises(InputError, match="is both exposure and outcome"):
        mr(exposure=[path], outcome=[path], out=folder / "self.tsv", **options)


def test_a_table_a_trait_says_the_same(data):
    folder, _, _ = data
    scan(folder, trait=["x", "y"])
    scan(folder, trait=["x", "y"], out=folder / "a.{trait}.tsv", figures="svg", page=True)
    together = table_of(folder / "assoc.tsv.gz")
    for trait in ("x", "y"):
        alone = table_of(folder / f"a.{trait}.tsv")
        pd.testing.assert_frame_equal(alone, together[together["trait"] == trait].reset_index(drop=True))
        assert (folder / f"a.{trait}.tsv.json").is_file()
        assert (folder / f"a.{trait}.manhattan.svg").is_file()
    assert (folder / "a.html").is_file()
    options = {"p_threshold": 1e-4, "kb": 10_000.0, "method": ["ivw_random"]}
    mr(exposure=[str(folder / "a.x.tsv")], outcome=[str(folder / "a.y.tsv")], out=folder / "mr.tsv", **options)
    assert pd.read_csv(folder / "mr.tsv", sep="\t")["beta"].item() == pytest.approx(0.6, abs=0.15)


def test_blocks_and_threads_change_nothing(data):
    folder, _, _ = data
    scan(folder, trait=["x", "y"], loco=True)
    scan(folder, trait=["x", "y"], loco=True, block=7, threads=2, out=folder / "b.tsv")
    pd.testing.assert_frame_equal(table_of(folder / "assoc.tsv.gz"), table_of(folder / "b.tsv"), rtol=1e-8)
    one, two = (json.loads((folder / f"{name}.json").read_text())["traits"] for name in ("assoc.tsv.gz", "b.tsv"))
    assert one[0]["statuses"] == two[0]["statuses"]
    assert one[0]["lambda_gc"] == pytest.approx(two[0]["lambda_gc"], rel=1e-6)


def test_traits_as_ranks_or_in_standard_deviations(data):
    folder, _, table = data
    scan(folder)
    scan(folder, standardise_trait=True, out=folder / "sd.tsv")
    raw, sd = table_of(folder / "assoc.tsv.gz"), table_of(folder / "sd.tsv")
    close(sd["beta"] * table["x"].std(), raw["beta"])
    close(sd["log10p"], raw["log10p"])
    scan(folder, inverse_normal=True, out=folder / "int.tsv")
    ranks = table["x"].rank()
    other = pd.read_csv(folder / "p.tsv", sep="\t")
    other["x"] = other["IID"].map(
        dict(zip(table["IID"], stats.norm.ppf((ranks - 0.375) / (N - 1 + 0.25)), strict=True))
    )
    other.to_csv(folder / "ranked.tsv", sep="\t", index=False)
    scan(folder, pheno=folder / "ranked.tsv", out=folder / "own.tsv")
    close(table_of(folder / "int.tsv")["beta"], table_of(folder / "own.tsv")["beta"])


def test_what_is_interrupted_leaves_nothing(data, monkeypatch):
    folder, _, _ = data
    before = set(folder.iterdir())
    real, calls = tasks.scan_block, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(tasks, "scan_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scan(folder, block=20, figures="svg", page=True)
    assert len(calls) == 3
    assert set(folder.iterdir()) == before


def test_spectra_are_kept(data, monkeypatch):
    folder, _, _ = data
    scan(folder, trait=["x", "y"], loco=True, spectra=folder / "spectra")
    monkeypatch.setattr(lmm_spectra, "spectrum_of_relationship", None)
    monkeypatch.setattr(lmm_spectra, "leave_one_out", None)
    scan(folder, trait=["x", "y"], loco=True, spectra=folder / "spectra", out=folder / "again.tsv.gz")
    assert gzip.decompress((folder / "assoc.tsv.gz").read_bytes()) == gzip.decompress(
        (folder / "again.tsv.gz").read_bytes()
    )
    with pytest.raises(TypeError):  # other markers in the matrix: made anew
        scan(folder, trait=["x", "y"], loco=True, spectra=folder / "spectra", kinship_min_maf=0.2, overwrite=True)


def test_a_given_matrix(data):
    folder, dosages, table = data
    scan(folder)
    z = np.delete(dosages, [5, 6], axis=1)
    z = np.where(np.isnan(z), np.nanmean(z, 0), z)
    z -= z.mean(0)
    np.savetxt(folder / "k.cXX.txt", 7 * z @ z.T)
    summary = scan(folder, kinship=folder / "k.cXX.txt", out=folder / "given.tsv")
    one, two = table_of(folder / "assoc.tsv.gz"), table_of(folder / "given.tsv")
    assert np.nanmax(np.abs(one["log10p"] - two["log10p"])) < 0.1
    [row] = summary["traits"]
    diagonal = np.diag(7 * z @ z.T)[table["x"].notna()].mean()
    odds, raw = (row[name] / (1 - row[name]) for name in ("h2", "h2_raw"))
    assert odds / raw == pytest.approx(diagonal, rel=0.01)
    with pytest.raises(InputError, match="--loco makes matrices from the genotypes"):
        scan(folder, kinship=folder / "k.cXX.txt", loco=True, overwrite=True)


def test_low_rank(data):
    folder, _, _ = data
    scan(folder)
    scan(folder, rank=60, loco=True, out=folder / "low.tsv")
    one, two = table_of(folder / "assoc.tsv.gz"), table_of(folder / "low.tsv")
    assert np.corrcoef(one["log10p"].dropna(), two["log10p"].dropna())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trait": ["X1"]}, "X1"),
        ({"covariates": ["agee"]}, "did you mean 'age'"),
        ({"bfile": None}, "needed genotypes as one of --bfile, --vcf, --genotypes; got none"),
        ({"vcf": "g.vcf"}, "got --bfile, --vcf"),
        ({"bfile": "absent"}, "there is no"),
        ({"out": "a.parquet"}, "ends in .tsv or .tsv.gz"),
        ({"standardise_trait": True, "inverse_normal": True}, "exclude each other"),
        ({"max_missing": 1.5}, "is a share"),
        ({"trait": ["x", "x"]}, "--trait"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(data, options, said):
    folder, _, _ = data
    placed = {k: folder / v if isinstance(v, str) else v for k, v in options.items()}
    with pytest.raises(InputError, match=said) as error:
        scan(folder, **placed)
    assert "\n" not in str(error.value)
    assert not list(folder.glob("assoc*"))


def test_one_chromosome_cannot_be_left_out(tmp_path):
    written(tmp_path)
    bim = pd.read_csv(tmp_path / "geno.bim", sep=r"\s+", header=None)
    bim[0] = 1
    bim.to_csv(tmp_path / "geno.bim", sep="\t", header=False, index=False)
    with pytest.raises(InputError, match="chromosome 1"):
        scan(tmp_path, loco=True)
    assert not list(tmp_path.glob("*assoc*"))


def test_a_trait_that_cannot_be_fitted_is_named_before_another_is_tested(data, monkeypatch):
    folder, _, table = data
    table["z"] = table["x"].where(table["site"] == "west")
    table["w"] = table["x"].where(table["x"].isna(), 1.0)
    table.to_csv(folder / "p.tsv", sep="\t", index=False)
    monkeypatch.setattr(lmm_scan, "prepare_scan", None)
    with pytest.raises(InputError, match=r"^\d+ samples with z: covariates must not be collinear"):
        scan(folder, trait=["x", "z"], covariates=["age", "site"])
    with pytest.raises(InputError, match=r"^\d+ samples with x, w: response 2 of 2 is constant"):
        scan(folder, trait=["x", "w"])
    assert not list(folder.glob("assoc*"))


def test_no_sample_in_common(data):
    folder, _, table = data
    table.assign(IID=[f"q{i}" for i in range(N)]).to_csv(folder / "p.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="no sample"):
        scan(folder)


def test_results_are_not_replaced_unasked(data):
    folder, _, _ = data
    scan(folder)
    with pytest.raises(InputError, match="--overwrite"):
        scan(folder)
    scan(folder, overwrite=True)


def test_from_the_command_line_and_a_flow(data, capsys):
    folder, _, _ = data
    words = ["--bfile", folder / "geno", "--pheno", folder / "p.tsv", "--trait", "x", "--covariates", "age", "--loco"]
    words += ["--out", folder / "assoc.tsv.gz", "--figures", "none", "--no-page", "--inverse-normal", "--test", "lrt"]
    assert execute(["--json", "lmm", *map(str, words)]) == 0
    assert json.loads(capsys.readouterr().out)["traits"][0]["trait"] == "x"
    (folder / "flow.toml").write_text(
        '[lmm]\nbfile = "geno"\npheno = "p.tsv"\ntrait = ["x", "y"]\nout = "t.tsv.gz"\nfigures = "none"\npage = false\n'
        "inverse_normal = true\n"
        '[mr]\nexposure = ["t.tsv.gz"]\noutcome = ["t.tsv.gz"]\nout = "mr.tsv"\np_threshold = 1e-4\nkb = 10000\n'
    )
    assert len(run(folder / "flow.toml")["effects"]) >= 2
