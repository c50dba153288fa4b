"""The exposure predicted, against least squares."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear import exposure_fit


def samples(n=200, **changes):
    rng = np.random.default_rng(2)
    z, c = rng.normal(size=(n, 3)), rng.normal(size=(n, 1))
    z[:, 2] = z[:, 0] + z[:, 1]  # collinear
    parts = {
        "instruments": 5 + 3 * z,
        "exposure": z @ [1.0, 0.5, 0] + c[:, 0] + rng.normal(size=n),
        "outcome": rng.normal(size=n),
        "covariates": c,
        "instrument_names": ("a", "b", "d"),
        "covariate_names": ("c",),
        "weights": rng.uniform(0.5, 2, n),
    }
    return IVData(**parts | changes)


def test_predictions_are_those_of_weighted_least_squares(monkeypatch):
    data = samples()
    design = np.hstack([np.ones((len(data), 1)), data.instruments, data.covariates])
    root = np.sqrt(data.weights)
    expected = design @ np.linalg.lstsq(design * root[:, None], data.exposure * root, rcond=None)[0]
    assert np.allclose(exposure_fit.predict_exposure(data), expected, atol=1e-8)
    monkeypatch.setattr(exposure_fit, "_BLOCK", 64)
    assert np.allclose(exposure_fit.predict_exposure(data), expected, atol=1e-8)


def test_a_sample_without_exposure_has_no_first_stage():
    with pytest.raises(InputError, match="needs the exposure"):
        exposure_fit.predict_exposure(samples(exposure=None))
