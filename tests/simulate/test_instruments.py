import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.instruments import SCENARIOS, simulate_instruments


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_effects_scatter_about_the_line_as_their_errors_say(scenario):
    given = simulate_instruments(scenario, n_loci=400, slope=0.4)
    x, y = given.beta_exposure[:, 0], given.beta_outcome
    rho = 0.0 if given.error_corr is None else 0.6
    variance = given.se_outcome**2 + 0.16 * given.se_exposure[:, 0] ** 2
    variance = variance - 0.8 * rho * given.se_outcome * given.se_exposure[:, 0]
    z = (y - 0.4 * x) / np.sqrt(variance)
    if scenario in ("valid", "weak", "overlap", "shared_errors", "linked"):
        assert np.mean(z**2) == pytest.approx(1, abs=0.03)
    else:
        assert np.mean(z**2) > 2
        assert np.median(np.abs(z)) == pytest.approx(0.6745 / 0.7, rel=0.25)  # most are valid


@pytest.mark.parametrize(
    ("scenario", "mean_f"), [("valid", 80), ("weak", 4), ("overlap", 10), ("shared_errors", 3.2), ("linked", 20)]
)
def test_strength_is_as_stated(scenario, mean_f):
    given = simulate_instruments(scenario, n_loci=400)
    assert np.mean((given.beta_exposure / given.se_exposure) ** 2) == pytest.approx(mean_f, rel=0.03)


def test_direct_effects_lean_where_they_should():
    lean = {}
    for scenario in ("balanced", "directional", "inside_violated"):
        given = simulate_instruments(scenario, n_loci=400)
        side = np.sign(given.beta_exposure[:, 0])
        lean[scenario] = np.mean(side * (given.beta_outcome - 0.4 * given.beta_exposure[:, 0])) / 0.02
    assert lean["balanced"] == pytest.approx(0, abs=0.05)
    assert lean["directional"] == pytest.approx(0.3 * 4, rel=0.1)
    assert lean["inside_violated"] > 1


def test_errors_correlate_as_stated():
    given = simulate_instruments("shared_errors", n_loci=3, n_instruments=4000)
    shared = np.einsum("krt,krt->rt", given.error_factors, given.error_factors)
    both = np.einsum("kr,kr->r", given.error_factors[..., 0], given.error_factors[..., 1])
    assert shared[:, 0] == pytest.approx(given.se_exposure[:, 0] ** 2 / 2)
    assert both == pytest.approx(0.6 * np.sqrt(shared[:, 0] * shared[:, 1]))


def test_linked_instruments_err_together_as_their_correlation_says():
    given = simulate_instruments("linked", n_loci=4000, n_instruments=6)
    z = (given.beta_outcome - 0.4 * given.beta_exposure[:, 0]) / np.hypot(
        given.se_outcome, 0.4 * given.se_exposure[:, 0]
    )
    found = np.corrcoef(z.reshape(4000, 6), rowvar=False)
    assert given.correlation is not None
    assert found == pytest.approx(given.correlation[7], abs=0.06)


def test_replicates_differ_and_repeat():
    one, again = (simulate_instruments("weak", n_loci=2, seed=3) for _ in range(2))
    assert np.array_equal(one.beta_outcome, again.beta_outcome)
    assert not np.array_equal(one.beta_outcome[:50], one.beta_outcome[50:])
    with pytest.raises(InputError, match="n_loci must be at least 1; got 0"):
        simulate_instruments("weak", n_loci=0)
