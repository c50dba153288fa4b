"""Simulated instruments of two exposures."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.exposures import SCENARIOS, simulate_exposures


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_effects_have_the_stated_sizes(scenario):
    given = simulate_exposures(scenario, n_loci=400)
    f = ((given.beta_exposure / given.se_exposure) ** 2).mean()
    expected = float(SCENARIOS[scenario].split("mean F ")[1].split(")")[0])
    assert f == pytest.approx(expected, rel=0.03)
    rest = given.beta_outcome - given.beta_exposure @ [0.4, -0.2]
    # What the errors of the exposures and of the outcome leave, and other paths.
    plain = 0.02**2 * (1 + 0.4**2 + 0.2**2)
    if scenario in ("valid", "weak", "alike"):
        assert rest.var() == pytest.approx(plain, rel=0.03)
    elif scenario != "overlap":
        assert rest.var() > 1.5 * plain


def test_overlap_is_known_and_seeds_repeat():
    given = simulate_exposures("overlap", n_loci=200, effects=(0.0, 0.0))
    assert given.error_corr[0, 2] == 0.5
    assert np.corrcoef(given.beta_exposure[:, 0], given.beta_outcome)[0, 1] > 0.2
    one, again = (simulate_exposures("weak", n_loci=2, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.beta_outcome, again.beta_outcome)
    with pytest.raises(InputError, match="n_loci must be at least 1"):
        simulate_exposures("weak", n_loci=0)
