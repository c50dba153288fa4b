"""Effects that share the error of a shift: one factor a labelled locus, the same at all loci analysed."""

import numpy as np
import pytest

from deepmr.meta import leave_one_out, pool_estimates, pool_robust
from deepmr.types import Estimates
from tests.meta.builders import studies

LABELLED, LOCI = 150, 60


@pytest.fixture
def calibrated():
    rng = np.random.default_rng(5)
    e, local = 0.1 + 0.4 * rng.normal(size=LABELLED), rng.uniform(0.1, 0.3, LOCI)
    shift = (e - e.mean()) / np.sqrt(LABELLED * (LABELLED - 1))
    factors = np.repeat(shift[:, None], LOCI, axis=1)
    whole = np.sqrt(local**2 + np.var(e, ddof=1) / LABELLED)
    given = studies(2 + local * rng.normal(size=LOCI), whole, factors=factors, se_sampling=local, se_member=0.0)
    table = given.table.assign(estimand="calibrated")
    return Estimates(table=table, error_factors=factors), np.var(e, ddof=1) / LABELLED, local


def test_the_shift_counts_once_and_explains_no_scatter(calibrated):
    given, shift, local = calibrated
    row = pool_estimates(given, tau2="EE", ci="normal").table.iloc[0]
    assert row["estimand"] == "calibrated"
    assert row["beta"] == pytest.approx(given.table["beta"].mean())  # equal weights
    assert row["se_member"] ** 2 == pytest.approx(shift)
    assert row["se_sampling"] ** 2 == pytest.approx(np.mean(local**2) / LOCI)
    assert row["df"] == pytest.approx(row["se"] ** 4 / (shift**2 / (LABELLED - 1)))  # Welch-Satterthwaite
    alone = Estimates(table=given.table.assign(se=local))
    for name in ("tau2", "q", "i2"):
        assert pool_estimates(given).table[name][0] == pytest.approx(pool_estimates(alone).table[name][0])


def test_only_a_shift_has_its_degrees_of_freedom(calibrated):
    given, shift, _ = calibrated
    same = Estimates(
        table=given.table.assign(beta=2.0, se=np.sqrt(shift), se_sampling=0.0), error_factors=given.error_factors
    )
    row = pool_estimates(same).table.iloc[0]
    assert row["se"] ** 2 == pytest.approx(shift)
    assert row["df"] == pytest.approx(LABELLED - 1, rel=1e-6)


def test_every_other_pooling_takes_many_factors(calibrated):
    given, shift, _ = calibrated
    for found in (pool_robust(given), leave_one_out(given)):
        np.testing.assert_allclose(found.table["se_member"] ** 2, shift)
        assert found.error_factors.shape[0] == LABELLED


def test_moderated_errors_of_loci_do_not_reach_the_mean():
    """`se_sampling` is the sampling part; what factors leave of a moderated se is none."""
    factors = np.outer([0.3, -0.3, 0.0], np.ones(20))
    beta = np.linspace(1, 2, 20)
    plain = studies(beta, np.full(20, np.sqrt(0.18 + 0.01)), factors=factors)
    moderated = studies(beta, np.linspace(0.2, 2, 20), factors=factors, se_sampling=0.1, se_member=0.5)
    for name in ("beta", "se", "tau2", "q"):
        assert pool_estimates(moderated).table[name][0] == pytest.approx(pool_estimates(plain).table[name][0]), name


def test_weights_by_estimand():
    beta, se = np.array([0.0, 4.0]), np.array([0.1, 1.0])
    given = studies(beta, se)
    weighted = {}
    for estimand in ("model", "calibrated", "population"):
        weighted[estimand] = pool_estimates(
            Estimates(table=given.table.assign(estimand=estimand)), tau2="EE", ci="normal"
        ).table["beta"][0]
    assert weighted["model"] == weighted["calibrated"] == 2
    assert weighted["population"] == pytest.approx(4 / 101)
    row = pool_estimates(Estimates(table=given.table.assign(estimand="model")), ci="KR").table.iloc[0]
    assert row["beta"] < 2  # an interval that needs inverse variances gets them
