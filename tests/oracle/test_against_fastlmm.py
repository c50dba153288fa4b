import numpy as np
import pandas as pd
import pytest

from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.population import associate_variants, spectrum_of_kinship
from tests.oracle.reference import HERE


@pytest.fixture(scope="module")
def cohort(shared_data):
    bed_reader = pytest.importorskip("bed_reader")
    folder = shared_data / "lmm" / "fastlmm_synth250"
    with bed_reader.open_bed(folder / "fastlmmTest.bed", num_threads=1) as bed:
        dosages = np.ascontiguousarray(bed.read(dtype="float64").T)
        variants = pd.DataFrame({
            "variant_id": bed.sid, "chrom": bed.chromosome, "pos": bed.bp_position,
            "effect_allele": bed.allele_1, "other_allele": bed.allele_2,
        })  # fmt: skip
        samples = pd.Index(bed.iid)
    trait, covariate = (np.loadtxt(folder / f"fastlmm{name}.txt", usecols=[2], ndmin=2) for name in ("Pheno", "Cov"))
    return Cohort(
        genotypes=ArrayGenotypes(variants=variants, samples=samples, dosages=dosages),
        phenotypes=trait, traits=("trait",), covariates=covariate, covariate_names=("covariate",),
    )  # fmt: skip


@pytest.mark.parametrize("design", ["all", "loco"])
def test_fixed_gamma_is_that_of_fastlmm(cohort, design):
    expected = pd.read_csv(HERE / "fastlmm.csv", dtype={"variant_id": str}).query("design == @design")
    dosages, chrom = cohort.genotypes.dosages, cohort.genotypes.variants["chrom"].to_numpy()
    sd = dosages.std(1)
    z = ((dosages - dosages.mean(1, keepdims=True)) / sd[:, None]).T

    def without(name):
        kept = z[:, chrom != name]
        return spectrum_of_kinship(kept @ kept.T / kept.shape[1])

    spectra = without if design == "loco" else without("")
    done = associate_variants(cohort, spectra)
    found, nulls = done.table.assign(sd=sd).set_index("variant_id").loc[expected["variant_id"]], done.nulls
    h_sq = [nulls[name if design == "loco" else ""].h_sq[0] for name in found["chrom"]]
    np.testing.assert_allclose(h_sq, expected["h_sq"], rtol=1e-6)
    np.testing.assert_allclose(found["pvalue"], expected["pvalue"], rtol=1e-6)
    np.testing.assert_allclose(found["beta"] * found["sd"], expected["beta_sd"], rtol=1e-5)
    np.testing.assert_allclose(found["se"] * found["sd"], expected["se_sd"], rtol=1e-6)
