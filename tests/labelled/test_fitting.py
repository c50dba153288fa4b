"""Calibration on labelled edits: toy cases, and what it finds and covers in simulations."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.labelled import apply_labelled, fit_labelled, with_calibrated
from deepmr.labelled.components import fit_components
from deepmr.labelled.worth import recommend, worth_of_labels
from deepmr.meta import pool_estimates
from tests.labelled.planted import plant


def study(seed=0, **options):
    planted = plant(np.random.default_rng([7, seed]), **options)
    return planted, fit_labelled(planted.labels, planted.predicted, planted.labelled, levels=planted.levels)


def test_shared_bias_is_found_by_labels_and_not_by_the_spread():
    planted, calibration = study(bias=0.4, n_lab=100)
    (pair,) = calibration.pairs
    assert pair.shift == pytest.approx(0.4, abs=3 * pair.se)
    assert pair.shift > 5 * pair.se
    truth = planted.truth.mean()
    model = pool_estimates(planted.target).table.iloc[0]
    assert not model["ci_low"] <= truth <= model["ci_high"]
    calibrated = pool_estimates(apply_labelled(planted.target, calibration)).table.iloc[0]
    assert calibrated["ci_low"] <= truth <= calibrated["ci_high"]


def test_calibrated_rows():
    planted, calibration = study()
    (pair,) = calibration.pairs
    calibrated = apply_labelled(planted.target, calibration)
    table = calibrated.table
    assert set(table["estimand"]) == {"calibrated"}
    assert table["beta"].to_numpy() == pytest.approx(planted.target.table["beta"] + pair.shrink * pair.shift)
    assert table["beta_raw"].tolist() == planted.target.table["beta"].tolist()
    local = table["se_sampling"].to_numpy() ** 2
    assert table["se"].to_numpy() ** 2 == pytest.approx(local + pair.shrink * pair.se**2)
    squares = np.sum(calibrated.error_factors**2, axis=0)
    assert squares == pytest.approx(np.full(len(table), pair.applied_se**2))
    assert np.ptp(calibrated.error_factors, axis=1).max() == 0


def test_both_estimands_pool_as_each_does_alone():
    planted, calibration = study(n_lab=30)
    calibrated = apply_labelled(planted.target, calibration)
    both = with_calibrated(planted.target, calibrated)
    assert both.error_factors.shape == (30, 2 * len(planted.target))
    together = pool_estimates(both).table.set_index("estimand")
    for alone, name in ((planted.target, "model"), (calibrated, "calibrated")):
        row = pool_estimates(alone).table.iloc[0]
        for column in ("beta", "se", "df", "ci_low", "ci_high", "tau2", "pi_low"):
            assert together.loc[name, column] == pytest.approx(row[column])
    assert together.loc["model", "df"] < together.loc["calibrated", "df"]


def test_many_labelled_loci_are_folded_without_losing_variance():
    planted, calibration = study(n_lab=150)
    factors = apply_labelled(planted.target, calibration).error_factors
    assert len(factors) == 60
    assert np.sum(factors[:, 0] ** 2) == pytest.approx(calibration.pairs[0].applied_se ** 2)


def test_order_of_edits_and_loci_does_not_matter():
    planted, calibration = study(n_lab=20)
    order = np.random.default_rng(0).permutation(len(planted.labels))
    other = fit_labelled(
        planted.labels.take(order), planted.predicted[order], planted.labelled, levels=planted.levels[order]
    )
    assert other.pairs[0].shift == pytest.approx(calibration.pairs[0].shift)
    assert other.pairs[0].floor == pytest.approx(calibration.pairs[0].floor)


def test_other_methods_are_calibrated_against_the_slope_that_labels_measure():
    planted, calibration = study(n_lab=40)
    table = planted.labelled.table
    egger = table.assign(method="egger", beta=table["beta"] + 0.5)
    factors = np.tile(planted.labelled.error_factors, 2)
    both = replace(planted.labelled, table=pd.concat([table, egger], ignore_index=True), error_factors=factors)
    found = fit_labelled(planted.labels, planted.predicted, both, levels=planted.levels)
    assert found.find("egger", "X", "Y").shift == pytest.approx(calibration.pairs[0].shift - 0.5)


def test_few_labels_are_shrunk_and_clear_ones_are_not():
    few = study(n_lab=10, n_edits=2, noise=4.0, bias=0.1)[1].pairs[0]
    many = study(n_lab=100, bias=0.1)[1].pairs[0]
    clear = study(n_lab=10, bias=2.0)[1].pairs[0]  # far more than was expected of a shared error
    assert few.shrink < 0.8 < many.shrink
    assert clear.shrink > 0.95


def test_bootstrap_members_set_the_prior():
    planted, calibration = study(n_lab=25)
    wide = replace(planted.labelled, error_factors=10 * planted.labelled.error_factors)
    found = fit_labelled(planted.labels, planted.predicted, planted.labelled, bootstrap=wide)
    assert found.pairs[0].prior > calibration.pairs[0].prior
    assert found.pairs[0].shrink > calibration.pairs[0].shrink


def test_instruments_alone_count():
    planted, _ = study(n_lab=10)
    none = {("X", "Y"): np.zeros(len(planted.predicted), dtype=bool)}
    with pytest.raises(InputError, match="edits measured for both tasks that are instruments for X; at least 5"):
        fit_labelled(planted.labels, planted.predicted, planted.labelled, instrument=none)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_lab": 4}, "4 labelled loci have an estimate .*; at least 5 needed"),
        ({"n_lab": 20, "dose": 0.0}, "measured changes of X do not follow the predicted ones"),
    ],
)
def test_labels_that_cannot_calibrate(change, message):
    with pytest.raises(InputError, match=message):
        study(**change)


def test_estimates_without_members_are_refused():
    planted, _ = study(n_lab=10)
    with pytest.raises(InputError, match="the estimates carry no shared errors"):
        fit_labelled(planted.labels, planted.predicted, replace(planted.labelled, error_factors=None))


def test_components_find_a_scale_and_a_floor():
    rng = np.random.default_rng(3)
    member = rng.uniform(0.01, 1.0, size=3000)
    noise = np.full(3000, 0.02)
    miss = rng.normal(size=3000) * np.sqrt(noise + 0.25 * member + 0.3**2)
    found = fit_components(miss, noise, member)
    assert found.scale == pytest.approx(0.5, abs=0.05)
    assert found.floor == pytest.approx(0.3, abs=0.03)
    assert fit_components(np.zeros(5), np.ones(5), np.ones(5)).floor == 0


def test_worth_of_more_labels():
    _, calibration = study(n_lab=50)
    (pair,) = calibration.pairs
    table = worth_of_labels(pair).set_index(["n_loci", "n_edits", "repeats"])["half_width"]
    assert table[100, 5, 1] < table[50, 5, 1] < table[50, 1, 1]
    assert table[50, 5, 4] < table[50, 5, 1]
    # the reference's noise is shared: ten times the edits gain less than twice the loci
    assert table[100, 1, 1] < table[50, 10, 1] * 1.05
    now = pool_estimates(apply_labelled(study(n_lab=50)[0].target, calibration)).table.iloc[0]
    half = (now["ci_high"] - now["ci_low"]) / 2
    assert float(worth_of_labels(pair, loci=[50], edits=[5], repeats=[1], n_target=150)["half_width"].iloc[0]) == (
        pytest.approx(half, rel=0.25)
    )
    assert "50 labelled loci of about 5 edits" in recommend(pair)


@pytest.mark.slow
@pytest.mark.parametrize(("n_lab", "rounds"), [(25, 150), (50, 150), (100, 100)])
def test_coverage_global_and_local(n_lab, rounds):
    held, local = [], []
    for seed in range(rounds):
        planted, calibration = study(1000 + seed, n_lab=n_lab, uneven=0.2, n_target=100)
        calibrated = apply_labelled(planted.target, calibration)
        mean, truth = pool_estimates(calibrated).table.iloc[0], planted.truth
        held.append(mean["ci_low"] <= truth.mean() <= mean["ci_high"])
        local.append(np.mean((calibrated.table["ci_low"] <= truth) & (truth <= calibrated.table["ci_high"])))
    assert 0.90 <= np.mean(held) <= 1.0  # standard error of such a share: about 0.02
    assert 0.92 <= np.mean(local) <= 0.99
