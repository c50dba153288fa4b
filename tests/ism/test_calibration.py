"""Calibration of ensembles whose true miscalibration is known."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from scipy import stats
from scipy.special import expit

from deepmr.anscombe import anscombe, anscombe_mean
from deepmr.errors import InputError
from deepmr.ism.calibration import fit_calibration
from deepmr.ism.coverage import IntervalCalibration, fit_intervals, poisson_noise
from deepmr.ism.reliability import ProbabilityCalibration, fit_temperature, measure
from deepmr.types import Task

TASK = (Task(name="mark"),)
K, N = 5, 4000


def ensemble(*, overconfident=1.0, noise_sd=0.0, n=N, seed=0, spread=None):
    """Members and truth exchangeable around a centre, members' spread too small by a factor."""
    rng = np.random.default_rng(seed)
    sd = rng.uniform(0.5, 2, n) if spread is None else np.full(n, spread)
    centre = rng.normal(0, 10, n)
    members = centre + sd / overconfident * rng.normal(size=(K, n))
    # the mean of K members misses the centre by sd^2 / K / overconfident^2: give truth what makes (1 + 1/K) exact
    extra = np.sqrt(1 + (1 - overconfident**-2) / K)
    truth = centre + sd * extra * rng.normal(size=n)
    return members[:, :, None], (truth + noise_sd * rng.normal(size=n))[:, None]


def fit(predictions, targets, **options) -> IntervalCalibration:
    (fitted,) = fit_calibration(predictions, targets, tasks=TASK, **options).tasks
    assert isinstance(fitted, IntervalCalibration)
    return fitted


def coverage(fitted, curve, level):
    return float(np.interp(level, fitted.levels, getattr(fitted, curve)))


@pytest.mark.parametrize("noise_sd", [0.0, 0.7, 3.0])
def test_calibrated_ensemble_keeps_its_intervals(noise_sd):
    fitted = fit(*ensemble(noise_sd=noise_sd), noise={"mark": noise_sd**2})
    assert fitted.raw_scale == pytest.approx(1, abs=4 * fitted.raw_scale_se)
    assert fitted.raw_scale_se < 0.15
    for level in (0.5, 0.8, 0.9, 0.95):
        tolerance = 4 * np.sqrt(level * (1 - level) / N)
        for curve in ("before", "variance", "isotonic"):
            assert coverage(fitted, curve, level) == pytest.approx(level, abs=tolerance), curve


def test_overconfident_by_two_gives_four():
    fitted = fit(*ensemble(overconfident=2.0))
    assert fitted.raw_scale == pytest.approx(4, abs=4 * fitted.raw_scale_se)
    assert fitted.scale == fitted.raw_scale
    assert coverage(fitted, "before", 0.95) < 0.80
    for level in (0.5, 0.8, 0.9, 0.95):
        for curve in ("variance", "isotonic"):
            assert coverage(fitted, curve, level) == pytest.approx(level, abs=0.025), curve
        assert fitted.isotonic_factor(level, K - 1.0) == pytest.approx(2, rel=0.1)


def test_underconfident_is_reported_but_not_applied():
    fitted = fit(*ensemble(overconfident=0.5))
    assert fitted.raw_scale == pytest.approx(0.25, abs=0.03)
    assert fitted.scale == 1
    assert fitted.isotonic_factor(0.95, K - 1.0) == 1
    assert coverage(fitted, "before", 0.8) > 0.95
    assert coverage(fitted, "isotonic", 0.8) == pytest.approx(0.8, abs=0.03)


def test_the_sign_of_residuals_changes_nothing():
    # One-sided quantiles would shift every prediction of an over-confident ensemble upwards.
    predictions, targets = ensemble(overconfident=3.0)
    mean = predictions.mean(axis=0)
    for mirrored in (2 * mean - targets, mean + np.abs(targets - mean)):
        a, b = fit(predictions, targets), fit(predictions, mirrored)
        np.testing.assert_allclose(a.scores, b.scores, rtol=1e-9)
        assert a.raw_scale == pytest.approx(b.raw_scale)
        np.testing.assert_array_equal(a.isotonic, b.isotonic)


def test_noise_left_in_inflates_and_noise_taken_out_does_not():
    predictions, targets = ensemble(noise_sd=2.0, spread=1.0)
    assert fit(predictions, targets).raw_scale == pytest.approx(1 + 4 / 1.2, rel=0.1)
    assert fit(predictions, targets, noise={"mark": 4.0}).raw_scale == pytest.approx(1, abs=0.25)
    assert fit(predictions, targets, noise={"mark": 100.0}).raw_scale == 0


@pytest.mark.parametrize("rate", [0.3, 1.0, 3.0, 200.0])
@pytest.mark.parametrize("scale", ["identity", "log"])
def test_poisson_noise_is_removed_at_every_rate(rate, scale):
    # Members that know the rate up to a small exchangeable error; all other scatter is the counts' own.
    rng = np.random.default_rng(int(10 * rate))
    n = 20_000
    log_rate = np.log(rate) + 0.3 * rng.normal(size=n)
    error = 0.3
    members = log_rate + error * rng.normal(size=(K, n))
    truth = log_rate + error * rng.normal(size=n)
    targets = rng.poisson(np.exp(truth)).astype(float)[:, None]
    predictions = members if scale == "log" else anscombe_mean(np.exp(members))
    options = {"counts": ["mark"]} if scale == "identity" else {}
    task = (Task(name="mark", scale=scale),)
    (fitted,) = fit_calibration(predictions[:, :, None], targets, tasks=task, **options).tasks
    assert fitted.targets == "counts"
    assert fitted.noise == "poisson"
    # Averaging over members in a curved scale and Var at the mean leave a little: 0.15 is far below the 1 / s^2 of
    # taking no noise out, and of taking out a variance of 1 at small rates.
    assert fitted.raw_scale == pytest.approx(1, abs=4 * fitted.raw_scale_se + 0.15)
    if rate <= 1:
        (naive,) = fit_calibration(predictions[:, :, None], targets, tasks=task, noise={"mark": 1.0}, **options).tasks
        assert naive.raw_scale == 0


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.37, 1.234, 5.0, 50.5, 99.9, 150.0, 1e4])
def test_poisson_noise_against_sums(rate):
    counts = np.arange(0, int(rate + 40 * np.sqrt(rate) + 30))
    probability = stats.poisson.pmf(counts, rate)
    mean = probability @ anscombe(counts.astype(float))
    variance = probability @ (anscombe(counts.astype(float)) - mean) ** 2
    assert float(poisson_noise(np.array([mean]))[0]) == pytest.approx(variance, abs=1e-5)


def test_predictions_below_the_smallest_count_have_no_noise():
    assert poisson_noise(np.array([-3.0, 0.0, 1.2])).max() < 1e-9


def logits(*, temperature, n=N, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, n)
    labels = (rng.random(n) < expit(true)).astype(float)
    members = temperature * true + 0.05 * rng.normal(size=(K, n))
    return members[:, :, None], labels[:, None]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_found(temperature):
    members, labels = logits(temperature=temperature)
    calibration = fit_calibration(members, labels, tasks=(Task(name="mark", scale="logit"),))
    (fitted,) = calibration.tasks
    assert isinstance(fitted, ProbabilityCalibration)
    assert fitted.temperature == pytest.approx(temperature, rel=0.08)
    assert calibration.temperature("mark") == fitted.temperature
    assert calibration.se_factor("mark", df=4.0) == 1
    before, tempered, mapped = fitted.curves
    assert [c.method for c in fitted.curves] == ["before", "temperature", "isotonic"]
    assert tempered.ece < 0.03
    assert mapped.ece < 0.03
    if temperature == 3:
        assert before.ece > 0.08
        assert tempered.log_loss < before.log_loss - 0.05
        assert tempered.brier < before.brier
        assert mapped.brier < before.brier
    assert np.all(np.diff(fitted.isotonic) >= 0)
    assert 0 < fitted.isotonic[0] < fitted.isotonic[-1] < 1
    assert (fitted.n, fitted.n_positive) == (N, labels.sum())
    assert sum(before.n) == N


def test_scores_by_hand():
    measured = measure("before", np.array([0.25, 0.25, 0.85, 1.0]), np.array([0.0, 1.0, 1.0, 1.0]))
    np.testing.assert_allclose(measured.predicted, [0.25, 0.85, 1.0])
    np.testing.assert_allclose(measured.observed, [0.5, 1.0, 1.0])
    np.testing.assert_array_equal(measured.n, [2, 1, 1])
    assert measured.ece == pytest.approx((2 * 0.25 + 0.15) / 4)
    assert measured.brier == pytest.approx((0.0625 + 0.5625 + 0.0225) / 4)
    assert measured.log_loss == pytest.approx(-np.log(0.75 * 0.25 * 0.85) / 4, rel=1e-6)


def test_temperature_minimises_the_log_loss():
    members, labels = logits(temperature=2.0, n=500)
    mean, y = members.mean(axis=0)[:, 0], labels[:, 0]
    best = fit_temperature(mean, y)
    losses = [measure("before", expit(mean / t), y).log_loss for t in (best * 0.97, best, best * 1.03)]
    assert losses[1] == min(losses)


def test_separable_labels_bring_a_warning():
    members = np.linspace(-4, 4, 80) + np.zeros((K, 1))
    labels = (members[0] > 0).astype(float)[:, None]
    calibration = fit_calibration(members[:, :, None], labels, tasks=(Task(name="mark", scale="logit"),))
    assert any("ran to its limit" in line for line in calibration.warnings)


def test_tasks_that_cannot_be_calibrated_are_listed():
    predictions, targets = ensemble(n=100)
    predictions = np.repeat(predictions, 6, axis=2)
    predictions[:, :, 4] = 1.0
    targets = np.repeat(targets, 6, axis=1)
    targets[:, 1] = np.nan
    targets[9:, 2] = np.nan
    targets[:, 3] = 0
    targets[40:, 5] = np.nan
    tasks = [Task(name=name) for name in ("good", "unknown", "few")]
    tasks += [Task(name="one-sided", scale="logit"), Task(name="agreed"), Task(name="rough")]
    calibration = fit_calibration(predictions, targets, tasks=tasks)
    assert [c.task for c in calibration.tasks] == ["good", "rough"]
    assert set(calibration.skipped) == {"unknown", "few", "one-sided", "agreed"}
    assert "unknown" in calibration.skipped["unknown"]
    assert "9 known targets" in calibration.skipped["few"]
    assert "0 labels of the rarer class" in calibration.skipped["one-sided"]
    assert "agree exactly" in calibration.skipped["agreed"]
    assert calibration.warnings == ("task 'rough' has 40 known targets; below 50 a calibration is rough",)
    assert calibration.find("few") is None
    assert calibration.temperature("few") == calibration.se_factor("few", df=4.0) == 1


def test_a_factor_that_one_residual_decides_brings_a_warning():
    predictions, targets = ensemble(n=200)
    targets[3] += 200
    calibration = fit_calibration(predictions, targets, tasks=TASK)
    (warning,) = calibration.warnings
    assert "a few large residuals decide it; the isotonic factor is steadier" in warning
    (fitted,) = calibration.tasks
    assert fitted.raw_scale > 50
    assert fitted.isotonic_factor(0.95, K - 1.0) < 1.4


def test_members_that_sometimes_agree_are_no_obstacle():
    predictions, targets = ensemble(n=200)
    predictions[:, :50] = targets[:50] + 0.5  # no spread, a residual: outside every interval
    predictions[:, 50:60] = targets[50:60]  # no spread, no residual: inside every interval
    fitted = fit(predictions, targets)
    assert fitted.before[-1] == pytest.approx(0.75, abs=0.03)
    assert fitted.before[0] >= 0.05


@pytest.mark.parametrize(
    ("scale", "value", "counts", "message"),
    [
        ("logit", 0.3, (), r"binary task 'mark' must be 0 or 1; 1 of 100 is not, first at row 7: 0\.3"),
        ("log", -1.0, (), r"counts of task 'mark' must be zero or positive; 1 of 100 is not, first at row 7"),
        ("identity", -1.0, ("mark",), r"counts of task 'mark' must be zero or positive"),
        ("identity", np.inf, (), r"targets of task 'mark' must be finite; 1 of 100 is not, first at row 7"),
    ],
)
def test_targets_that_a_task_cannot_have(scale, value, counts, message):
    predictions, targets = ensemble(n=100)
    targets = np.zeros_like(targets)
    targets[3], targets[7] = np.nan, value
    with pytest.raises(InputError, match=message):
        fit_calibration(predictions, targets, tasks=(Task(name="mark", scale=scale),), counts=counts)


def test_other_bad_input():
    predictions, targets = ensemble(n=20)
    with pytest.raises(InputError, match="at least 2 members; got 1"):
        fit_calibration(predictions[:1], targets, tasks=TASK)
    with pytest.raises((InputError, TypeCheckError), match="targets"):
        fit_calibration(predictions, targets[:19], tasks=TASK)
    with pytest.raises(InputError, match="predictions must be finite"):
        fit_calibration(np.full_like(predictions, np.nan), targets, tasks=TASK)
    for noise in ("gauss", -1.0, np.inf):
        with pytest.raises((InputError, TypeCheckError), match="noise"):
            fit_calibration(predictions, targets, tasks=TASK, noise={"mark": noise})


def test_folds_are_reproducible_and_drawn_from_the_seed():
    data = ensemble(n=60, overconfident=2.0)
    assert np.array_equal(fit(*data, seed=1).isotonic, fit(*data, seed=1).isotonic)
    assert not np.array_equal(fit(*data, seed=1).isotonic, fit(*data, seed=2).isotonic)


@pytest.mark.parametrize(
    ("confident", "tails", "noise"),
    [(2.0, False, 9.0), (2.0, False, 0.0), (1.0, True, 0.0)],
    ids=["noise", "plain", "tails"],
)
def test_why_variance_scaling_is_the_default(confident, tails, noise):
    """Isotonic scaling is steadier, but does not see an over-confident ensemble through the noise of the targets."""
    rng = np.random.default_rng(3)
    k, n, new = 5, 400, 2000
    held, factors = [], []
    for _ in range(25):
        size = np.exp(0.5 * rng.normal(size=n + new))
        members = size * rng.normal(size=(k, n + new))
        truth = confident * size * rng.normal(size=n + new)
        truth[rng.random(n + new) < 0.02 * tails] *= 10
        variance = noise * 1.2 * float(np.mean(size**2))
        y = truth + np.sqrt(variance) * rng.normal(size=n + new)
        fit = fit_intervals(
            "t", members[:, :n], y[:n], rng.permutation(n) % 5, kind="value", noise=variance if variance else "none"
        )
        factor = np.array([1.0, np.sqrt(fit.scale), fit.isotonic_factor(0.95, k - 1.0)])
        s = np.sqrt((1 + 1 / k) * members[:, n:].var(axis=0, ddof=1))
        error = np.abs(truth[n:] - members[:, n:].mean(axis=0))
        held.append(np.mean(error <= stats.t.isf(0.025, k - 1) * factor[:, None] * s, axis=1))
        factors.append(factor)
    none, by_variance, isotonic = np.mean(held, axis=0)
    _, spread_variance, spread_isotonic = np.std(np.log(factors), axis=0)
    assert 0.92 < by_variance < 0.985
    if noise:
        assert none < 0.82
        assert isotonic < 0.89
    else:
        assert isotonic == pytest.approx(0.95, abs=0.015)
    if tails:
        assert spread_isotonic < spread_variance
        assert by_variance > isotonic
