import pickle
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.errors import InputError
from deepmr.io.marker_store import open_marker_store, spectrum_sha256, write_marker_store
from deepmr.population import associate_variants, spectrum_of_effects, spectrum_of_kinship
from deepmr.population.markers import prepare_markers
from deepmr.population.stored import associate_stored

SAMPLES, VARIANTS = 60, 50


def make_cohort(seed=0, *, traits=3):
    rng = np.random.default_rng(seed)
    dosages = rng.binomial(2, rng.uniform(0.1, 0.5, VARIANTS)[:, None], (VARIANTS, SAMPLES)).astype(float)
    dosages[3, :5] = np.nan
    dosages[4] = 1.0
    dosages[5] = np.nan
    variants = pd.DataFrame({
        "variant_id": [f"v{k}" for k in range(VARIANTS)], "chrom": np.repeat(["1", "2"], [20, 30]),
        "pos": np.arange(VARIANTS) + 1, "effect_allele": "A", "other_allele": "C",
    })  # fmt: skip
    return Cohort(
        genotypes=ArrayGenotypes(
            variants=variants, samples=pd.Index([f"s{k}" for k in range(SAMPLES)]), dosages=dosages
        ),
        phenotypes=rng.normal(size=(SAMPLES, traits)) + 5,
        traits=tuple("abcdefgh"[:traits]),
        covariates=rng.normal(size=(SAMPLES, 1)),
        covariate_names=("age",),
    )


def make_spectrum(seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(SAMPLES, 90))
    return spectrum_of_kinship(z @ z.T / 90)


def by_chromosome(chrom):
    return make_spectrum(int(chrom))


def low_rank():
    return spectrum_of_effects(np.random.default_rng(1).normal(size=(SAMPLES, 12)))


def test_markers_come_back_as_they_were_rotated(tmp_path):
    cohort, spectrum = make_cohort(), make_spectrum()
    seen = []
    store = write_marker_store(
        cohort.genotypes, spectrum, tmp_path / "m.h5", block=16, progress=lambda *d: seen.append(d)
    )
    ready = prepare_markers(cohort.genotypes.read(16, 32))
    block = store.read(16, 32)
    np.testing.assert_array_equal(block.rotated, ready.centred @ spectrum.vectors.T)
    assert block.markers is None
    assert [d for d, _ in seen] == [16, 32, 48, 50]
    whole = prepare_markers(cohort.genotypes.dosages)
    for name in ("mean", "n", "eaf", "mac", "status"):
        np.testing.assert_array_equal(store.about[name].to_numpy(), getattr(whole, name))
    pd.testing.assert_frame_equal(store.variants, cohort.genotypes.variants, check_dtype=False)
    assert list(store.samples) == list(cohort.samples)
    assert sum(len(part.rotated) for part in store.blocks()) == VARIANTS
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.read(0, 5).rotated, store.read(0, 5).rotated)
    with h5py.File(store.path) as file:  # whatever reads a matrix from HDF5 finds the rotated markers by this name
        assert file["matrix"].shape == (VARIANTS, SAMPLES)
        assert file["matrix"].chunks[1] == SAMPLES


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("spectra", [make_spectrum(), by_chromosome, low_rank()], ids=["full", "loco", "low"])
def test_several_traits_are_those_of_associate_variants_to_the_last_bit(tmp_path, spectra, precision):
    cohort = make_cohort()
    store = write_marker_store(
        cohort.genotypes, spectra, tmp_path / "m.h5", block=16, precision=precision, min_mac=20, max_missing=0.05
    )
    assert store.precision == precision
    for traits in (cohort, cohort.select(["c", "a"])):
        found = associate_stored(store, traits, spectra)
        wanted = associate_variants(traits, spectra, block=16, precision=precision, min_mac=20, max_missing=0.05)
        pd.testing.assert_frame_equal(found.table, wanted.table, check_exact=True)
        assert found.trait_sd == wanted.trait_sd
    assert set(found.table["status"]) >= {"ok", "monomorphic", "all_missing", "too_missing"}


def test_one_trait_equals_the_triangular_way(tmp_path):
    cohort, spectrum = make_cohort(), make_spectrum()
    store = write_marker_store(cohort.genotypes, spectrum, tmp_path / "m.h5")
    one = cohort.select(["b"])
    found = associate_stored(store, one, spectrum, test="lrt").table
    big = replace(one.genotypes, variants=pd.concat([one.genotypes.variants] * 3, ignore_index=True),
                  dosages=np.vstack([one.genotypes.dosages] * 3))  # fmt: skip
    wanted = associate_variants(replace(one, genotypes=big), spectrum, test="lrt").table.iloc[:VARIANTS]
    for name in ("beta", "se", "chi_sq", "log10p"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-10, atol=1e-13)


def test_another_spectrum_other_samples_or_another_chromosome_are_refused(tmp_path):
    cohort, spectrum = make_cohort(), make_spectrum()
    store = write_marker_store(cohort.genotypes, spectrum, tmp_path / "m.h5")
    with pytest.raises(InputError, match="rotated by another spectrum"):
        associate_stored(store, cohort, make_spectrum(3))
    flipped = replace(spectrum, vectors=-spectrum.vectors)
    assert spectrum_sha256(flipped) != spectrum_sha256(spectrum)
    with pytest.raises(InputError, match="for all chromosomes, and none for '1'"):
        associate_stored(store, cohort, by_chromosome)
    with pytest.raises(InputError, match="the same samples in another order"):
        associate_stored(store, cohort.take(np.arange(SAMPLES)[::-1]), spectrum)
    with pytest.raises(InputError, match="one rank"):
        write_marker_store(
            cohort.genotypes, lambda c: make_spectrum().truncate(10 * int(c)), tmp_path / "two.h5", block=16
        )
    assert not (tmp_path / "two.h5").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["m.h5"]


def test_foreign_cut_and_damaged_files_are_refused_in_one_line(tmp_path):
    cohort, spectrum = make_cohort(), make_spectrum()
    path = tmp_path / "m.h5"
    store = write_marker_store(cohort.genotypes, spectrum, path)
    content = path.read_bytes()

    def refused(name, match):
        with pytest.raises(InputError, match=match) as caught:
            open_marker_store(tmp_path / name)
        assert "\n" not in str(caught.value)

    refused("absent.h5", "no such file")
    (tmp_path / "text.h5").write_text("not HDF5")
    refused("text.h5", "cannot be read")
    (tmp_path / "cut.h5").write_bytes(content[: len(content) // 2])
    refused("cut.h5", "cannot be read")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = np.zeros(3)
    refused("foreign.h5", "not a store of rotated markers")
    (tmp_path / "newer.h5").write_bytes(content)
    with h5py.File(tmp_path / "newer.h5", "r+") as file:
        file.attrs["format_version"] = "2.0"
    refused("newer.h5", "format version 2.0")
    (tmp_path / "shape.h5").write_bytes(content)
    with h5py.File(tmp_path / "shape.h5", "r+") as file:
        file.attrs["n_variants"] = 7
    refused("shape.h5", "shapes")
    (tmp_path / "lacks.h5").write_bytes(content)
    with h5py.File(tmp_path / "lacks.h5", "r+") as file:
        del file["about"]
    refused("lacks.h5", "damaged")
    at = content.index(store.read(0, 1).rotated.tobytes())
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(InputError, match="cannot be read"):
        open_marker_store(path).read(0, 1)
