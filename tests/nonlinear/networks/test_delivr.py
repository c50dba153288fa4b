"""DeLIVR on data whose response is known."""

import numpy as np
import pytest

from deepmr.individual import IVData
from deepmr.nonlinear.networks.delivr import Delivr

FAST = {"outcome_hidden": (16,), "outcome_epochs": 60, "n_folds": 2, "outcome_learning_rate": 0.01}


def sample(n=3000, *, curved=False, noise=1.0):
    rng = np.random.default_rng(0)
    z, u = rng.standard_normal((n, 2)), rng.standard_normal(n)
    x = 5 + z.sum(axis=1) + noise * u
    y = (x - 5) ** 2 if curved else 2 * x
    return IVData(
        instruments=z,
        exposure=x,
        outcome=y - noise * u,
        covariates=np.empty((n, 0)),
        instrument_names=("z1", "z2"),
    )


def test_noiseless_linear_data_give_the_slope():
    response = Delivr(**FAST).fit(sample(noise=0.0))
    curve = response.avg_iv_reg_function(np.array([4.0, 6.0])).estimate
    assert curve == pytest.approx([8.0, 12.0], rel=0.01)


def test_a_curve_is_biased_as_published_and_right_with_nodes():
    """E[y|z] is E[x|z]^2 + var(u), so the published curve is too high by the variance of the residual, 1."""
    x = np.linspace(4, 6, 5)
    truth = (x - 5) ** 2
    plain, corrected = Delivr(**FAST).fit(sample(curved=True)), Delivr(**FAST, n_nodes=7).fit(sample(curved=True))
    assert np.mean(plain.avg_iv_reg_function(x).estimate - truth) == pytest.approx(1.0, abs=0.25)
    assert np.mean(corrected.avg_iv_reg_function(x).estimate - truth) == pytest.approx(0.0, abs=0.25)
    assert "h(E[x|z]) = E[y|z]" in plain.record.warnings[0]
    assert "one distribution" in corrected.record.warnings[0]


def test_replicates_give_intervals():
    curve = Delivr(**FAST, n_boot=4).fit(sample(n=500)).avg_iv_reg_function(np.array([4.0, 6.0]))
    assert (curve.low < curve.high).all()
