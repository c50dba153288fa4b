"""Which samples members learn from."""

import numpy as np

from deepmr.contexts import ContextData
from deepmr.contextual.networks.resampling import deal


def sample(n=40, **more):
    rng = np.random.default_rng(0)
    return ContextData(
        contexts=rng.standard_normal((n, 1)),
        predictors=rng.standard_normal((n, 1)),
        outcomes=rng.standard_normal((n, 1)),
        context_names=("c",),
        predictor_names=("x",),
        **more,
    )


def counts_of(split, member, n=40):
    made = np.zeros(n)
    np.add.at(made, split.training[member].numpy(), split.training_weights[member].numpy())
    return made


def test_a_bootstrap_draws_as_many_and_watches_those_it_left():
    split = deal(sample(), resampling="bootstrap", validation=0.2, n_members=3, seed=1)
    for k in range(3):
        counts = counts_of(split, k)
        assert counts.sum() == 40
        assert set(counts) <= {0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0}
        left = split.validation[k][split.validation_weights[k] > 0].tolist()
        assert left == np.flatnonzero(counts == 0).tolist()
    few = deal(sample(), resampling="bootstrap", validation=0.2, n_members=2, seed=1)
    assert (counts_of(few, 1) == counts_of(split, 1)).all()


def test_groups_are_drawn_whole():
    groups = np.arange(40) // 4
    split = deal(sample(groups=groups), resampling="bootstrap", validation=0.2, n_members=2, seed=1)
    counts = counts_of(split, 0).reshape(10, 4)
    assert (counts == counts[:, :1]).all()
    assert len(np.unique(counts)) > 1


def test_splits_and_weights():
    weights = np.arange(1.0, 41.0)
    split = deal(sample(weights=weights), resampling="split", validation=0.25, n_members=2, seed=1)
    counts = counts_of(split, 0)
    assert (counts > 0).sum() == 30
    np.testing.assert_allclose(counts[counts > 0], (weights / weights.mean())[counts > 0], rtol=1e-6)
    whole = deal(sample(), resampling="split", validation=0.0, n_members=2, seed=1)
    assert (whole.training == whole.validation).all()
