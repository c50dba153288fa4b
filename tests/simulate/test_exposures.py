import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.exposures import SCENARIOS, simulate_exposures

SLOPES = np.array([0.4, 0.2])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_outcomes_scatter_about_the_plane_as_their_errors_say(scenario):
    given = simulate_exposures(scenario, n_loci=400)
    weights = np.array([-0.4, -0.2, 1.0]) * np.column_stack([given.se_exposure, given.se_outcome])
    corr = np.eye(3) if given.error_corr is None else given.error_corr
    z = (given.beta_outcome - given.beta_exposure @ SLOPES) / np.sqrt(np.einsum("ri,ij,rj->r", weights, corr, weights))
    if scenario in ("balanced", "directional"):
        assert np.mean(z**2) > 2
        assert np.mean(z) == pytest.approx(0 if scenario == "balanced" else 1.1, abs=0.06)
    else:
        assert np.mean(z**2) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("scenario", "mean_f", "rho"), [("valid", 80, 0.49), ("weak", 6, 0.42), ("alike", 40, 0.93)])
def test_strength_and_likeness_are_as_stated(scenario, mean_f, rho):
    given = simulate_exposures(scenario, n_loci=400)
    scores = given.beta_exposure / given.se_exposure
    assert np.mean(scores**2, axis=0) == pytest.approx([mean_f, mean_f], rel=0.03)
    assert np.mean(scores[:, 0] * scores[:, 1]) / mean_f == pytest.approx(rho, abs=0.02)


def test_replicates_differ_and_repeat():
    one, again = (simulate_exposures("weak", n_loci=2, seed=3) for _ in range(2))
    assert np.array_equal(one.beta_outcome, again.beta_outcome)
    assert not np.array_equal(one.beta_outcome[:50], one.beta_outcome[50:])
    with pytest.raises(InputError, match="n_instruments must be at least 1; got 0"):
        simulate_exposures("weak", n_instruments=0)
