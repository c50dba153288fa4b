"""Who learns from what: splits, folds and bootstrap weights."""

import numpy as np
import pytest
import torch

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.nonlinear.networks.members import fold_members, fold_replicates, member_weights, split_members


def sample(n=40, **more):
    rng = np.random.default_rng(0)
    return IVData(
        instruments=rng.standard_normal((n, 1)),
        exposure=rng.standard_normal(n),
        outcome=None,
        covariates=np.empty((n, 0)),
        instrument_names=("z",),
        **more,
    )


def test_no_sample_is_on_both_sides():
    split = split_members(sample(), n_members=3, seed=1, share=0.25)
    for k in range(3):
        one, two = set(split.training[k].tolist()), set(split.validation[k].tolist())
        assert not one & two
        assert one | two == set(range(40))
        assert len(two) == 10
    assert (split.validation_weights == 1).all()  # bootstrap draws are for training alone
    assert split.training_weights.unique().numel() == 90


def test_a_member_is_the_same_in_any_company():
    few, many = (split_members(sample(), n_members=n, seed=1, bootstrap=True) for n in (2, 5))
    for name in ("training", "training_weights", "validation"):
        assert (getattr(few, name) == getattr(many, name)[:2]).all()


def test_one_member_has_the_weights_of_the_data():
    weights = np.arange(1.0, 41.0)
    split = split_members(sample(weights=weights), n_members=1, seed=0)
    expected = torch.tensor(weights / weights.mean(), dtype=torch.float32)
    assert (split.training_weights[0] == expected[split.training[0]]).all()


def test_clusters_stay_together_and_weigh_together():
    clusters = np.arange(40) // 4
    data = sample(clusters=clusters)
    split = split_members(data, n_members=3, seed=1)
    for k in range(3):
        rows = split.training[k][split.training_weights[k] > 0]
        assert not set(clusters[rows]) & set(clusters[split.validation[k]])
    weights = member_weights(data, n_members=2, seed=1, bootstrap=True).reshape(2, 10, 4)
    assert (weights == weights[..., :1]).all()
    assert len(np.unique(weights)) == 20


def test_bootstrap_weights_have_mean_and_variance_one():
    weights = member_weights(sample(n=4000), n_members=3, seed=0, bootstrap=True)
    assert weights.mean() == pytest.approx(1, abs=0.03)
    assert weights.var() == pytest.approx(1, abs=0.1)


def test_folds_hold_every_sample_once():
    split, folds = fold_replicates(sample(n=41), n_replicates=2, n_folds=4, seed=0)
    assert len(split) == 8
    for replicate in range(2):
        held = []
        for fold in range(4):
            member = 4 * replicate + fold
            rows = split.validation[member][split.validation_weights[member] > 0].numpy()
            assert (folds[replicate, rows] == fold).all()
            held += rows.tolist()
        assert sorted(held) == list(range(41))
    plain = fold_members(sample(n=41), folds[0])
    assert (plain.validation == split.validation[:4]).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_split_needs_both_sides(share):
    with pytest.raises(InputError, match="some of 40 samples or clusters but not all"):
        split_members(sample(), n_members=1, seed=0, share=share)


def test_more_folds_than_samples_are_refused():
    with pytest.raises(InputError, match="from 2 to the 40 samples or clusters there are; got 41"):
        fold_replicates(sample(), n_replicates=1, n_folds=41, seed=0)
