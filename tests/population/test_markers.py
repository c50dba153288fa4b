import numpy as np
import pytest

from deepmr.population.markers import prepare_markers

NAN = np.nan


def test_by_hand():
    dosages = np.array([[0.0, 1.0, 2.0, 1.0], [0.0, NAN, 1.0, 2.0], [2.0, 2.0, 2.0, 1.0]])
    found = prepare_markers(dosages)
    np.testing.assert_allclose(found.centred, [[-1, 0, 1, 0], [-1, 0, 0, 1], [0.25, 0.25, 0.25, -0.75]])
    assert found.n.tolist() == [4, 3, 4]
    assert found.eaf.tolist() == [0.5, 0.5, 0.875]
    assert found.mac.tolist() == [4, 3, 1]
    assert found.status.tolist() == ["ok"] * 3
    assert np.isnan(dosages[1, 1])  # the input stays as it is


def test_the_first_reason_that_applies_is_said():
    cases = {
        "not_finite": [np.inf, NAN, 0.0, 0.0],
        "all_missing": [NAN] * 4,
        "too_missing": [1.0, NAN, NAN, NAN],
        "monomorphic": [0.0, 0.0, 0.0, NAN],
        "low_mac": [0.0, 0.0, 1.0, 0.0],
        "ok": [0.0, 1.0, 1.0, NAN],
    }
    found = prepare_markers(np.array(list(cases.values())), min_mac=2, max_missing=0.5)
    assert found.status.tolist() == list(cases)
    assert not found.centred[:-1].any()
    assert np.isfinite(found.centred).all()
    assert np.isnan(found.eaf[:2]).all()


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_integers_have_a_code_for_missing(dtype):
    found = prepare_markers(np.array([[0, 1, 2, -127], [-127, -127, -127, -127]], dtype=dtype))
    assert found.centred.tolist() == [[-1, 0, 1, 0], [0, 0, 0, 0]]
    assert found.n.tolist() == [3, 0]
    assert found.status.tolist() == ["ok", "all_missing"]
    unsigned = prepare_markers(np.array([[0, 1, 2, 129]], dtype=np.uint8))
    assert unsigned.mean.tolist() == [33]


def test_dosages_that_are_no_copies_have_no_frequency():
    found = prepare_markers(np.array([[-1.0, 3.0, 0.5], [0.0, 2.0000001, 1.0], [0.0, 2.1, 1.0]]), min_mac=100)
    np.testing.assert_array_equal(np.isnan(found.eaf), [True, False, True])
    np.testing.assert_array_equal(np.isnan(found.mac), [True, False, True])
    assert found.status.tolist() == ["ok", "low_mac", "ok"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rounding_is_no_variation(dtype):
    third = np.full((1, 30), 1 / 3)
    third[0, 3] = np.nextafter(1 / 3, 1)
    far = 1e7 + np.arange(30.0)[None] / (1 if dtype == np.float64 else 1e-2)
    found = prepare_markers(np.vstack([third, far]), dtype=dtype)
    assert found.status.tolist() == ["monomorphic", "ok"]
    assert found.centred.dtype == dtype


def test_markers_of_any_number_are_each_as_alone():
    rng = np.random.default_rng(0)
    dosages = rng.binomial(2, 0.3, (70, 5000)).astype(float)
    dosages[rng.uniform(size=dosages.shape) < 0.01] = NAN
    together = prepare_markers(dosages)
    filled = np.where(np.isnan(dosages), np.nanmean(dosages, axis=1)[:, None], dosages)
    np.testing.assert_allclose(together.centred, filled - filled.mean(1, keepdims=True), atol=1e-12)
    alone = prepare_markers(dosages[41:42])
    np.testing.assert_array_equal(alone.centred[0], together.centred[41])
    assert alone.mac[0] == together.mac[41]
    assert prepare_markers(dosages[:0]).centred.shape == (0, 5000)


def test_dosages_just_above_two_have_no_copies_of_the_other_allele():
    ready = prepare_markers(np.array([[2.0, 2.0, 2.0, 2.0 + 5e-7]]))
    assert ready.status.tolist() == ["ok"]
    assert ready.mac.tolist() == [0.0]
