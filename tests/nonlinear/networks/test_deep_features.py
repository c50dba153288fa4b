"""Deep feature instrumental variables: known slopes first, then stages that never share samples."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear import make_method, response_from_state
from deepmr.nonlinear.networks.deep_features import DeepFeatureIV
from deepmr.nonlinear.networks.feature_samples import make_deal, make_frame, standardised_samples

QUICK = {"epochs": 4, "instrument_hidden": (16,), "exposure_hidden": (8,), "covariate_hidden": (8,)}


def samples(n=1200, seed=0, *, noise=1.0, curve=0.0, n_covariates=1, binary=False):
    rng = np.random.default_rng(seed)
    z, c, u = rng.normal(size=(n, 3)), rng.normal(size=(n, n_covariates)), rng.normal(size=n)
    x = z @ [0.6, 0.4, 0.3] + 0.3 * c.sum(axis=1) + noise * (0.5 * u + 0.4 * rng.normal(size=n))
    y = 1 + 0.5 * x + curve * x**2 + 0.4 * c.sum(axis=1) + noise * (-0.7 * u + 0.5 * rng.normal(size=n))
    if binary:
        y = (rng.random(n) < 1 / (1 + np.exp(-(y - 1)))).astype(float)
    return IVData(
        instruments=z,
        exposure=x,
        outcome=y,
        covariates=c,
        instrument_names=("z1", "z2", "z3"),
        covariate_names=tuple(f"c{k}" for k in range(n_covariates)),
        outcome_type="binary" if binary else "continuous",
    )


X = np.linspace(-1, 1, 5)


def fit(data, **options):
    more = {key: options.pop(key) for key in ("outcome_data", "seed") if key in options}
    return DeepFeatureIV(**{**QUICK, **options}).fit(data, **more)


@pytest.mark.parametrize("n_covariates", [0, 1])
def test_without_noise_a_line_is_found(n_covariates):
    curve = fit(samples(noise=1e-3, n_covariates=n_covariates)).avg_iv_reg_function(X)
    assert np.diff(curve.estimate) / np.diff(X) == pytest.approx(np.full(4, 0.5), abs=0.01)


def test_confounding_is_taken_out_and_intervals_hold_the_slope():
    data = samples(4000, 1)
    got = fit(data).ate(np.array([0.0]), np.array([1.0]))
    plain = np.linalg.lstsq(np.c_[np.ones(4000), data.exposure, data.covariates], data.outcome, rcond=None)[0][1]
    assert plain < 0.35
    assert got.estimate[0] == pytest.approx(0.5, abs=0.06)
    assert got.low[0] < 0.5 < got.high[0]


def test_a_curve_is_found():
    response = DeepFeatureIV(epochs=15).fit(samples(4000, 2, curve=0.5))
    truth = 1 + 0.5 * X + 0.5 * X**2
    assert response.avg_iv_reg_function(X).estimate == pytest.approx(truth, abs=0.2)
    band = response.uniform_band(X)
    assert ((band.low < truth) & (truth < band.high)).all()


def test_no_member_predicts_a_sample_that_it_learns_from():
    data = replace(samples(), clusters=np.arange(1200) // 4)
    roles = make_deal(data, data, share=0.2, seed=0).roles
    for k in (0, 1):
        parts = []
        for rows in (roles.first, roles.second, roles.validation):
            parts.append(set(rows.index[k][rows.weights[k] > 0].tolist()))
        clusters = [{row // 4 for row in part} for part in parts]
        for a, b in ((0, 1), (0, 2), (1, 2)):
            assert not clusters[a] & clusters[b]
    first, second = ({*roles.first.index[k].tolist()} for k in (0, 1))
    assert not first & second


def test_scores_are_of_the_other_half():
    data = samples()
    deal = make_deal(data, data, share=0.2, seed=0)
    changed = replace(data, exposure=np.where(deal.folds == 0, data.exposure[::-1], data.exposure))
    frame = make_frame(data, data)
    one, two = (standardised_samples(d, d, frame, deal)[0].scores.numpy() for d in (data, changed))
    assert np.corrcoef(one[0], two[0])[0, 1] > 0.999  # of fold 0, member 0 knows how much to shrink and no more
    assert np.corrcoef(one[1], two[1])[0, 1] < 0.9


@pytest.mark.parametrize("n_covariates", [0, 2])
def test_reloaded_response_is_identical(n_covariates):
    response = fit(samples(n_covariates=n_covariates))
    assert response.training_log().epoch.tolist() == [1, 2, 3, 4]
    state = response.state()
    again = response_from_state(state.kind, state.arrays, state.settings, state.record)
    covars = np.linspace(-1, 1, 5 * n_covariates).reshape(5, n_covariates) if n_covariates else None
    for one, two in (
        (response.avg_iv_reg_function(X), again.avg_iv_reg_function(X)),
        (response.iv_reg_function(X, covars), again.iv_reg_function(X, covars)),
        (response.uniform_band(X, reference=0.0), again.uniform_band(X, reference=0.0)),
    ):
        assert one.to_frame().equals(two.to_frame())


def test_the_seed_decides():
    data = samples()
    curves = [fit(data, seed=seed).avg_iv_reg_function(X).estimate for seed in (1, 1, 2)]
    assert np.array_equal(curves[0], curves[1])
    assert not np.array_equal(curves[0], curves[2])


def test_effect_that_covariates_modify():
    rng = np.random.default_rng(5)
    data = samples(5000, 5)
    data = replace(data, outcome=data.exposure * (0.5 + 0.5 * data.covariates[:, 0]) + 0.3 * rng.normal(size=5000))
    got = fit(data).cate(np.zeros(3), np.ones(3), np.array([[-1.0], [0.0], [1.0]]))
    assert got.estimate == pytest.approx([0.0, 0.5, 1.0], abs=0.08)


def test_binary_outcome_is_a_probability():
    curve = fit(samples(5000, 3, binary=True)).avg_iv_reg_function(np.array([-1.0, 0.0, 1.0]))
    assert curve.estimate[1] == pytest.approx(0.5, abs=0.05)
    assert 0.05 < curve.estimate[2] - curve.estimate[1] < 0.2


def test_many_useless_instruments_do_not_pull_towards_regression():
    data = samples(1500, 4)
    more = np.random.default_rng(4).normal(size=(1500, 200))
    names = (*data.instrument_names, *(f"noise{k}" for k in range(200)))
    data = replace(data, instruments=np.hstack([data.instruments, more]), instrument_names=names)
    got = fit(data).ate(np.array([0.0]), np.array([1.0]))
    assert got.low[0] < 0.5 < got.high[0]
    assert got.estimate[0] > 0.35  # ordinary regression has about 0.2
    assert got.se[0] < 0.15


def test_two_samples_find_the_slope():
    first, second = replace(samples(3000, 6), outcome=None), replace(samples(3000, 7), exposure=None)
    got = fit(first, outcome_data=second).ate(np.array([0.0]), np.array([1.0]))
    assert got.estimate[0] == pytest.approx(0.5, abs=0.1)
    assert got.low[0] < 0.5 < got.high[0]


def test_weights_and_clusters_are_used():
    data = samples(2000, 8)
    half = np.arange(2000) < 1000
    wrong = replace(data, outcome=np.where(half, data.outcome, data.outcome + 3 * data.exposure))
    down = replace(wrong, weights=np.where(half, 1.0, 1e-4))
    assert fit(down).ate(np.array([0.0]), np.array([1.0])).estimate[0] == pytest.approx(0.5, abs=0.15)
    one = fit(data).ate(np.array([0.0]), np.array([1.0]))
    own = fit(replace(data, clusters=np.arange(2000))).ate(np.array([0.0]), np.array([1.0]))
    assert own.estimate[0] == one.estimate[0]
    assert 1 < own.se[0] / one.se[0] < 1.001  # n / (n - 1) of n clusters


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"exposure_rate": 0.0}, "exposure_rate must be positive; got 0"),
        ({"n_exposure_features": 0}, "n_exposure_features must be at least 1"),
        ({"validation_share": 1.0}, "validation_share must be between 0 and 1; got 1"),
        ({"instrument_rate": 1e30}, "smaller learning rate"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(options, said):
    with pytest.raises(InputError, match=said):
        fit(samples(400), **options)


def test_few_samples_are_refused_and_options_are_read_from_text():
    with pytest.raises(InputError, match="dfiv needs 100 samples at least; got 50"):
        fit(samples(50))
    assert make_method("dfiv", {"instrument_hidden": "16,8"}).instrument_hidden == (16, 8)
