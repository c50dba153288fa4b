import numpy as np
import pytest

from deepmr.individual import IVData
from deepmr.nonlinear.basis import CovariateBasis, fit_splines
from deepmr.nonlinear.first_stage import fit_first_stage, fit_folds, make_folds, predict_folds

NONE = CovariateBasis(splines=(), products=np.empty((0, 2), int))


def data(n=2000, n_instruments=5, strength=0.5, seed=0, clusters=None):
    rng = np.random.default_rng(seed)
    z = rng.binomial(2, 0.3, (n, n_instruments)).astype(float)
    x = strength * z.sum(axis=1) + rng.standard_normal(n)
    return IVData(
        instruments=z,
        exposure=x,
        outcome=x + rng.standard_normal(n),
        covariates=np.empty((n, 0)),
        instrument_names=tuple(f"v{k}" for k in range(n_instruments)),
        clusters=clusters,
    )


def test_folds_are_of_equal_size_and_keep_clusters_together():
    folds = make_folds(103, seed=1)
    assert sorted(np.bincount(folds)) == [20, 20, 21, 21, 21]
    clusters = np.repeat(np.arange(50), 3)
    folds = make_folds(150, seed=0, clusters=clusters)
    assert all(len(set(folds[clusters == k])) == 1 for k in range(50))


def test_fits_without_a_fold_are_those_of_the_other_samples():
    rng = np.random.default_rng(0)
    x, y = np.c_[np.ones(200), rng.standard_normal((200, 2))], rng.standard_normal((200, 2))
    folds, weights = make_folds(200, seed=0), rng.uniform(0.5, 2, 200)
    level = np.average(y, axis=0, weights=weights)
    fit = fit_folds(lambda rows: x[rows], y, folds=folds, weights=weights)
    predicted = predict_folds(fit, lambda rows: x[rows], folds, 200)
    scale = np.diag((x**2 * weights[:, None]).sum(axis=0) / weights.sum())  # shrunk by one sample's worth
    for k in range(5):
        rest = folds != k
        gram = (x[rest] * weights[rest, None]).T @ x[rest] + scale
        b = np.linalg.solve(gram, (x[rest] * weights[rest, None]).T @ (y[rest] - level))
        np.testing.assert_allclose(predicted[~rest], level + x[~rest] @ b, rtol=1e-9)


def test_a_samples_own_exposure_is_not_in_its_prediction():
    one = data()
    functions = fit_splines(one.exposure, n_functions=3)
    before = fit_first_stage(one, one, functions=functions, covariates=NONE, seed=0)
    changed = one.exposure.copy()
    changed[7] += 0.5
    other = IVData(
        instruments=one.instruments,
        exposure=changed,
        outcome=one.outcome,
        covariates=one.covariates,
        instrument_names=one.instrument_names,
    )
    after = fit_first_stage(other, other, functions=functions, covariates=NONE, seed=0)
    assert after.score[7] == pytest.approx(before.score[7], abs=1e-6)  # how much to shrink is learned from all
    elsewhere = before.folds != before.folds[7]
    assert np.abs(after.score - before.score)[elsewhere].max() > 1e-5


def test_instruments_that_say_nothing_predict_nothing():
    """The in-sample fit of 200 instruments of noise would correlate with the exposure by 0.3."""
    one = data(n_instruments=200, strength=0.0)
    functions = fit_splines(one.exposure, n_functions=3)
    stage = fit_first_stage(one, one, functions=functions, covariates=NONE, seed=0)
    assert np.corrcoef(stage.fitted[:, 1], one.exposure)[0, 1] < 0.08


def test_another_sample_is_predicted_by_the_whole_fit():
    one, two = data(), data(seed=5)
    functions = fit_splines(one.exposure, n_functions=4)
    stage = fit_first_stage(one, two, functions=functions, covariates=NONE, seed=0)
    assert stage.second is not None
    expected = functions(two.exposure)[:, 1]
    assert np.corrcoef(stage.second[:, 1], expected)[0, 1] > 0.5
    assert fit_first_stage(one, one, functions=functions, covariates=NONE, seed=0).second is None
