"""What every method of `nonlinear.METHODS` keeps to: seeds, reloading, the command line, bad input."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepmr.cli import execute
from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.io.responses import read_response, write_response
from deepmr.nonlinear import METHODS, fit_response, make_method

SHORT = {"exposure_epochs": 8, "outcome_epochs": 8}
OPTIONS = {
    "quantile_iv": {**SHORT, "n_folds": 2},
    "deep_iv": {**SHORT, "n_folds": 2},
    "delivr": {"outcome_epochs": 8, "n_folds": 2},
    "dfiv": {"epochs": 4},
    "kernel_iv": {"n_landmarks": 60, "n_tuning": 300, "n_tries": 4},
    "kernel_mmr": {"n_landmarks": 60, "n_tuning": 300, "n_tries": 4},
}
BINARY = {"logistic_control_function"}  # of a binary outcome alone
ONE_SAMPLE = {"kernel_mmr", "liml", "doubly_ranked", "residual_strata", "control_function", "logistic_control_function"}
NETWORKS = {"quantile_iv", "deep_iv", "delivr", "dfiv"}
EVERY = [pytest.param(name, id=name) for name in METHODS]
CONTINUOUS = [pytest.param(name, id=name) for name in METHODS if name not in BINARY]


def simulate(n=1200, seed=0, slope=-0.8, noise=1.0, covariate=False, binary=False):
    rng = np.random.default_rng(seed)
    z = rng.binomial(2, 0.3, (n, 6)).astype(float)
    u, c = rng.standard_normal(n), rng.standard_normal(n)
    x = 0.5 * (z - 0.6).sum(axis=1) + 0.4 * u + 0.6 * rng.standard_normal(n) + 0.2 * c * covariate
    y = 1.5 + slope * x + 0.3 * c * covariate + noise * (0.5 * u + rng.standard_normal(n))
    if binary:
        y = (y > np.median(y)).astype(float)
    return IVData(
        instruments=z,
        exposure=x,
        outcome=y,
        covariates=c[:, None] if covariate else np.empty((n, 0)),
        instrument_names=tuple(f"v{k + 1}" for k in range(6)),
        covariate_names=("c",) if covariate else (),
        exposure_name="x",
        outcome_name="y",
        outcome_type="binary" if binary else "continuous",
    )


def fit(name, data, **more):
    return fit_response(data, method=name, options=OPTIONS.get(name), **more)


def usual(name, **more):
    return simulate(binary=name in BINARY, **more)


GRID = np.linspace(-1.0, 1.0, 9)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_without_noise_a_line_is_found(name):
    found = fit_response(simulate(noise=0.0, n=2000), method=name)  # with the defaults: networks need their epochs
    effect = found.ate(np.array([-0.5]), np.array([0.5])).estimate[0]
    assert effect == pytest.approx(-0.8, abs=0.1 if name in NETWORKS else 0.02)
    level = found.avg_iv_reg_function(np.array([0.0])).estimate[0]
    assert level == pytest.approx(1.5, abs=0.1 if name in NETWORKS else 0.03)


@pytest.mark.parametrize("name", EVERY)
def test_the_seed_decides_and_a_reloaded_fit_is_the_same(name, tmp_path):
    data = usual(name, covariate=True)
    one, two = fit(name, data, seed=3), fit(name, data, seed=3)
    curve = one.avg_iv_reg_function(GRID)
    np.testing.assert_array_equal(curve.estimate, two.avg_iv_reg_function(GRID).estimate)
    write_response(one, tmp_path / "fit", {})
    back = read_response(tmp_path / "fit")
    covars = np.linspace(-1, 1, 9)[:, None]
    for asked in (
        lambda r: r.avg_iv_reg_function(GRID),
        lambda r: r.iv_reg_function(GRID, covars),
        lambda r: r.ate(GRID, GRID + 1),
        lambda r: r.cate(GRID, GRID + 1, covars),
    ):
        before, after = asked(one), asked(back)
        np.testing.assert_array_equal(before.estimate, after.estimate)
        assert np.isfinite(before.estimate).all()
        if before.low is not None:
            np.testing.assert_array_equal(before.low, after.low)
            assert (before.low <= before.high).all()
    assert back.record == one.record


@pytest.mark.parametrize("name", [name for name in CONTINUOUS if name.values[0] not in NETWORKS])
def test_units_and_zeros_of_the_variables_do_not_matter(name):
    data = simulate(n=600, covariate=True)
    data = replace(data, clusters=np.arange(600) % 40)  # folds are not of one size
    method = make_method(name)
    before = method.fit(data).avg_iv_reg_function(GRID)
    moved = replace(data, outcome=1e6 + 10 * data.outcome, exposure=1e4 + 2 * data.exposure)
    moved = replace(moved, covariates=1e3 + data.covariates, weights=np.full(600, 3.0))
    after = method.fit(moved).avg_iv_reg_function(1e4 + 2 * GRID)
    np.testing.assert_allclose((after.estimate - 1e6) / 10, before.estimate, atol=1e-4)
    np.testing.assert_allclose(after.se / 10, before.se, rtol=1e-3)


@pytest.mark.parametrize("name", EVERY)
def test_effects_are_differences_of_curves(name):
    found = fit(name, usual(name, covariate=True))
    x0, x1, covars = np.full(3, -0.5), np.full(3, 0.75), np.array([[-1.0], [0.0], [1.0]])
    average = found.avg_iv_reg_function(x1).estimate - found.avg_iv_reg_function(x0).estimate
    np.testing.assert_allclose(found.ate(x0, x1).estimate, average, atol=1e-5)
    given = found.iv_reg_function(x1, covars).estimate - found.iv_reg_function(x0, covars).estimate
    np.testing.assert_allclose(found.cate(x0, x1, covars).estimate, given, atol=1e-5)
    with pytest.raises(InputError, match=r"covars|covariates"):
        found.iv_reg_function(x1)


@pytest.mark.parametrize("name", EVERY)
def test_the_command_line_says_the_same(name, tmp_path, capsys):
    data = usual(name)
    data.to_frame().to_csv(tmp_path / "d.tsv", sep="\t", index=False)
    words = ["iv", "fit", "--data", str(tmp_path / "d.tsv"), "--exposure", "x", "--outcome", "y", "--method", name]
    words += ["--instruments", "v{1..6}", "--seed", "2", "--out", str(tmp_path / "fit"), "--no-figures"]
    words += ["--outcome-type", data.outcome_type]
    for option, value in OPTIONS.get(name, {}).items():
        words += ["--options", f"{option}={value}"]
    assert execute(words) == 0
    by_hand = fit(name, data, seed=2)
    table = pd.read_csv(tmp_path / "fit" / "causal_estimates.csv")
    expected = by_hand.avg_iv_reg_function(table["x"].to_numpy()).estimate
    np.testing.assert_allclose(table["estimate"], expected, rtol=1e-6, atol=1e-9)
    meta = json.loads((tmp_path / "fit" / "meta.json").read_text())
    assert meta["method"] == name
    assert {"domain", "central", "options", "losses", "diagnostics"} <= set(meta)
    capsys.readouterr()
    assert execute(["iv", "evaluate", str(tmp_path / "fit"), "--true-function", "1.5 - 0.8*x"]) == 0
    assert "mse" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize("name", EVERY)
def test_a_binary_outcome_stays_near_probabilities(name):
    found = fit(name, simulate(binary=True))
    curve = found.avg_iv_reg_function(GRID).estimate
    assert (curve > -0.1).all()
    assert (curve < 1.1).all()
    assert curve[0] > curve[-1]


@pytest.mark.parametrize("name", EVERY)
def test_two_samples_or_one_line_that_says_no(name):
    one = replace(usual(name, n=1500), outcome=None)
    two = replace(usual(name, n=1500, seed=1), exposure=None)
    if name in ONE_SAMPLE:
        with pytest.raises(InputError, match=r"^[^\n]*sample[^\n]*$"):
            fit(name, one, outcome_data=two)
        return
    found = fit(name, one, outcome_data=two)
    assert found.record.n == found.record.n_outcome == 1500
    assert found.ate(np.array([-0.5]), np.array([0.5])).estimate[0] < 0


@pytest.mark.parametrize("name", EVERY)
def test_collinear_and_constant_instruments_are_named(name):
    data = usual(name)
    z = np.c_[data.instruments, data.instruments[:, 0] * 2, np.ones(len(data))]
    more = replace(data, instruments=z, instrument_names=(*data.instrument_names, "twice", "constant"))
    found = fit(name, more)
    said = " ".join(found.record.warnings)
    assert "constant" in said
    assert "twice" in said or "v1" in said
    assert len(found.record.instruments) == 6


@pytest.mark.parametrize("name", EVERY)
def test_instruments_weaker_than_noise_are_told(name):
    data = usual(name)
    noise = np.random.default_rng(5).binomial(2, 0.3, data.instruments.shape).astype(float)
    found = fit(name, replace(data, instruments=noise))
    assert any("noise" in one or "weak" in one for one in found.record.warnings)
    assert np.isfinite(found.avg_iv_reg_function(GRID).estimate).all()


@pytest.mark.parametrize("name", EVERY)
def test_a_seed_below_0_and_too_few_samples_are_refused(name):
    with pytest.raises(InputError, match="seed must be at least 0; got -1"):
        fit(name, usual(name, n=100), seed=-1)
    with pytest.raises(InputError, match=r"^[^\n]*(sample|strata|tell y exactly|fold)[^\n]*$"):
        fit(name, usual(name, n=7))


@pytest.mark.parametrize("name", EVERY)
def test_every_option_has_a_default_and_a_meaning(name):
    method = make_method(name)
    described = type(method).__doc__ or ""
    assert "Attributes" in described
    assert Path(f"deepmr/{METHODS[name].partition(':')[0].removeprefix('deepmr.').replace('.', '/')}.py").exists()
