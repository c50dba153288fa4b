import numpy as np
import pytest
from scipy import stats

from deepmr.population.marker_moments import Moments
from deepmr.population.marker_statistics import marker_statistics

N, FIXED, RSS = 50, 2, 30.0


def make_moments(own, covariates, residual):
    """One trait; a marker a number."""
    covariates = np.asarray(covariates, dtype=float).reshape(len(own), 1, -1)
    return Moments(own=np.array(own)[:, None], covariates=covariates, residual=np.array(residual)[:, None])


def statistics_of(residual, test, own=5.0, covariates=(1.0, 0.0), **options):
    moments = make_moments([own], [covariates], [residual])
    return marker_statistics(moments, np.array([RSS]), n=N, fixed=FIXED, test=test, **options)


def test_by_hand():
    found = statistics_of(2.0, "f")  # a'Pa = 5 - 1, beta = 2 / 4, rss_1 = 30 - 1
    assert found.beta[0, 0] == 0.5
    assert found.sigma_sq[0, 0] == pytest.approx(29 / 47)
    assert found.se[0, 0] == pytest.approx((29 / 47 / 4) ** 0.5)
    assert found.chi_sq[0, 0] == pytest.approx(47 / 29)
    assert found.log_p[0, 0] == pytest.approx(np.log(stats.f.sf(47 / 29, 1, 47)))
    assert statistics_of(2.0, "wald").log_p[0, 0] == pytest.approx(np.log(stats.chi2.sf(47 / 29, 1)))
    assert statistics_of(2.0, "lrt").chi_sq[0, 0] == pytest.approx(50 * np.log(30 / 29))
    score = statistics_of(2.0, "score")
    assert score.chi_sq[0, 0] == pytest.approx(50 / 30)
    assert score.log_p[0, 0] == pytest.approx(np.log(stats.f.sf(50 / 30, 1, 47)))


def test_a_likelihood_ratio_near_zero_keeps_its_digits():
    residual = 1e-9
    explained = residual**2 / 4 / RSS
    assert statistics_of(residual, "lrt").chi_sq[0, 0] == pytest.approx(N * explained, rel=1e-14)


@pytest.mark.parametrize("test", ["f", "wald", "lrt", "score"])
def test_what_means_nothing_is_said_and_finite(test):
    all_of_it = (4 * RSS) ** 0.5
    assert statistics_of(all_of_it, test).no_variance.item()
    assert statistics_of(0.0, test, own=1.0).collinear.item()
    assert statistics_of(0.0, test, own=0.0, covariates=(0.0, 0.0)).collinear.item()
    assert statistics_of(np.nan, test, own=np.nan).collinear.item()
    nearly = (1 - 1e-9) ** 0.5 * all_of_it
    assert not statistics_of(nearly, test).no_variance.item()
    assert statistics_of(nearly, test, precision="float32").no_variance.item()
    for found in (statistics_of(all_of_it, test), statistics_of(0.0, test, own=1.0), statistics_of(nearly, test)):
        assert np.isfinite([found.beta, found.se, found.chi_sq, found.log_p]).all()
