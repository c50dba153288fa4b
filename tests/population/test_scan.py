import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from deepmr.errors import InputError
from deepmr.population import (
    associate_variants,
    block_table,
    prepare_scan,
    scan_block,
    scan_rotated,
    spectrum_of_effects,
)
from deepmr.population.marker_moments import rotated_moments, triangular_factor, turn_markers
from deepmr.population.markers import prepare_markers
from tests.population.cohorts import make_cohort, make_spectrum, standardised

NUMBERS = ["beta", "se", "sigma_sq", "chi_sq", "log10p"]


def z_of(columns):
    return columns["beta"] / columns["se"]


@pytest.mark.parametrize("traits", [1, 3])
@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_tensors_give_what_arrays_give(traits, low, precision):
    cohort = make_cohort(traits=traits)
    spectrum = spectrum_of_effects(standardised(cohort)[:, :30]) if low else make_spectrum(cohort)
    ours = associate_variants(cohort, spectrum, precision=precision, block=17).table
    theirs = associate_variants(cohort, spectrum, precision=precision, block=17, to_device=torch.from_numpy).table
    rtol = 1e-9 if precision == "float64" else 1e-4
    np.testing.assert_allclose(z_of(theirs), z_of(ours), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(theirs["se"], ours["se"], rtol=rtol)
    assert theirs["status"].equals(ours["status"])


def to_cuda(block):
    return torch.from_numpy(block).to("cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_cuda_gives_what_arrays_give(precision):
    cohort = make_cohort(traits=3, samples=500, variants=300)
    spectrum = make_spectrum(cohort)
    ours = associate_variants(cohort, spectrum, precision="float64").table
    theirs = associate_variants(cohort, spectrum, precision=precision, to_device=to_cuda).table
    # In single precision about 1e-5; TF32 would be off by more than 1e-3.
    atol = 1e-9 if precision == "float64" else 2e-4
    np.testing.assert_allclose(z_of(theirs), z_of(ours), atol=atol)


@pytest.mark.parametrize("low", [False, True])
def test_markers_rotated_before_give_what_blocks_give(low):
    cohort = make_cohort()
    spectrum = spectrum_of_effects(standardised(cohort)[:, :30]) if low else make_spectrum(cohort)
    scan = prepare_scan(cohort, spectrum)
    ready = prepare_markers(cohort.genotypes.dosages)
    about = {"n": ready.n, "eaf": ready.eaf, "mac": ready.mac, "status": ready.status}
    rotated = ready.centred @ spectrum.vectors.T
    found = scan_rotated(scan, rotated, about, markers=ready.centred if low else None)
    wanted = scan_block(scan, cohort.genotypes.dosages)
    for name in NUMBERS:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-10)
    if low:
        with pytest.raises(InputError, match="needs markers before rotation"):
            scan_rotated(scan, rotated, about)


@pytest.mark.parametrize("traits", [1, 2])
def test_a_scan_survives_pickling(traits):
    cohort = make_cohort(traits=traits)
    scan = prepare_scan(cohort, make_spectrum(cohort))
    again = pickle.loads(pickle.dumps(scan))
    dosages = cohort.genotypes.dosages
    for name, values in scan_block(scan, dosages).items():
        np.testing.assert_array_equal(scan_block(again, dosages)[name], values)


@pytest.mark.parametrize("traits", [1, 3])
def test_blocks_and_threads_change_nothing(traits):
    cohort = make_cohort(traits=traits, samples=350, variants=800)
    spectrum = make_spectrum(cohort)
    scan, dosages = prepare_scan(cohort, spectrum), cohort.genotypes.dosages
    whole = scan_block(scan, dosages)
    again = scan_block(scan, dosages.copy())
    for name, values in whole.items():
        np.testing.assert_array_equal(again[name], values)
    for cuts in ((0, 800), (0, 1, 257, 800)):
        with threadpool_limits(2):
            pieces = [scan_block(scan, dosages[a:b]) for a, b in pairwise(cuts)]
        for name in NUMBERS:
            values = np.concatenate([piece[name] for piece in pieces])
            unit = whole["se"] if name == "beta" else whole[name].max()
            assert (np.abs(values - whole[name]) <= 1e-12 * unit).all(), name


@pytest.mark.parametrize("triangular", [False, True])
def test_single_precision_keeps_to_its_bound(triangular):
    cohort = make_cohort(1, traits=1, samples=600, variants=400)
    spectrum = make_spectrum(cohort)
    many = None if triangular else 0
    scan = prepare_scan(cohort, spectrum, n_markers=many)
    single = prepare_scan(cohort, spectrum, n_markers=many, precision="float32")
    exact, rough = scan_block(scan, cohort.genotypes.dosages), scan_block(single, cohort.genotypes.dosages)
    moved = np.abs(z_of(rough) - z_of(exact))
    # The bound, with the error of the turned markers as it is.
    ready, ready_single = (prepare_markers(cohort.genotypes.dosages, dtype=t) for t in (np.float64, np.float32))
    factor, turned = triangular_factor(scan.weighted[0], spectrum.vectors)
    a = ready.centred @ factor.T
    if triangular:
        near = turn_markers(factor.astype(np.float32, order="F"), ready_single.centred)
        error = np.linalg.norm(near - a, axis=1)
    else:
        near = ready_single.centred @ spectrum.vectors.astype(np.float32).T
        off = near - ready.centred @ spectrum.vectors.T
        error = np.sqrt(off**2 @ scan.weighted[0].weights[:, 0])
    e = error / np.linalg.norm(a, axis=1)
    assert e.max() < 16 * 2**-24
    moments = rotated_moments(turned, a)
    left = moments.own[:, 0] - (moments.covariates[:, 0] ** 2).sum(1)
    k = np.sqrt(moments.own[:, 0] / left)
    z, dof = z_of(exact)[:, 0], len(cohort) - 3
    bound = e * k * (np.sqrt(dof) + np.abs(z)) * np.sqrt(1 + z**2 / dof)
    assert (moved[:, 0] <= bound).all()
    assert moved.max() < 1e-5
    assert rough["beta"].dtype == np.float64


def test_a_table_has_a_row_a_variant_and_trait():
    cohort = make_cohort()
    columns = scan_block(prepare_scan(cohort, make_spectrum(cohort)), cohort.genotypes.dosages)
    table = block_table(cohort.genotypes.variants, cohort.traits, columns | {"log_gamma": columns["beta"]})
    assert table["variant_id"].tolist()[:4] == ["v0", "v0", "v1", "v1"]
    assert table["trait"].tolist()[:3] == ["trait_0", "trait_1", "trait_0"]
    assert table.columns[-1] == "log_gamma"
    assert table["beta"][3] == columns["beta"][1, 1]
    assert table["eaf"][3] == columns["eaf"][1]


@pytest.mark.parametrize("traits", [1, 3])
def test_markers_side_by_side_give_what_markers_in_rows_give(traits):
    cohort = make_cohort(traits=traits)
    weighted = prepare_scan(cohort, make_spectrum(cohort), n_markers=0).weighted[0]
    rng = np.random.default_rng(1)
    rotated = rng.normal(size=(2100, len(cohort)))  # more than one piece of either kind
    rows = rotated_moments(weighted, rotated)
    side = rotated_moments(weighted, np.asfortranarray(rotated))
    for name in ("own", "covariates", "residual"):
        np.testing.assert_allclose(getattr(side, name), getattr(rows, name), rtol=1e-10, atol=1e-12)
