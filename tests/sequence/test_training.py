"""The ensemble's training: what validation and negatives are, which members are trained again, reproducibility."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch

from deepmr.errors import DeepMRError, InputError
from deepmr.sequence import training
from deepmr.sequence.fitting import Epoch, FittedNetwork, TrainOptions
from deepmr.sequence.losses import TaskSpec
from deepmr.sequence.models import PaperCNN
from deepmr.sequence.training import member_seed, planned_epochs, split_data, stragglers, train_ensemble

from .networks import random_sequences

SMALL = {"filters": 6, "width": 3, "hidden": 12, "n_convs": 1}
BINARY, LEVEL = TaskSpec(name="bound", kind="binary"), TaskSpec(name="level", kind="continuous")
CHROMS = ("chr1", "chr2", "chr3", "chr4")


def options(**changes):
    return TrainOptions(**{"arguments": SMALL, "epochs": 2, **changes})


def toy(n=400, length=12):
    """Two tasks: G in the middle, and a level; each unknown for a third of the loci."""
    sequences = random_sequences(n, length, chroms=CHROMS)
    middle = sequences.codes[:, length // 2] == 2
    targets = np.column_stack([middle, 1000 + 50 * middle + 40 * (sequences.codes == 0).sum(axis=1)]).astype(float)
    targets[::3, 0] = np.nan
    targets[1::3, 1] = np.nan
    return sequences, targets


def key(codes):
    return {row.tobytes() for row in codes}


def test_learns_both_tasks_from_partly_known_targets():
    sequences, targets = toy(n=2400)
    done = []
    trained = train_ensemble(
        sequences,
        targets,
        tasks=[BINARY, LEVEL],
        n_members=2,
        seed=3,
        options=options(epochs=20),
        device="cpu",
        n_workers=1,
        progress=done.append,
    )
    scores = trained.metrics.set_index(["task", "member"])
    assert scores.loc[("bound", "ensemble"), "auroc"] > 0.99
    assert scores.loc[("level", "ensemble"), "r2"] > 0.95
    assert set(scores.index.get_level_values("member")) == {"member_0", "member_1", "ensemble"}
    assert [task.scale for task in trained.ensemble.tasks] == ["logit", "identity"]
    assert trained.ensemble.length == 12
    assert trained.n_train + trained.n_validation == 2400
    assert trained.n_validation == 360
    assert sum(done) == 40
    assert trained.history.groupby("member")["epoch"].max().tolist() == [20, 20]
    assert [m.seed for m in trained.ensemble.members] == [member_seed(3, 0), member_seed(3, 1)]
    predicted = trained.ensemble.predict(sequences.codes)[:, :, 1].mean(axis=0)
    assert abs(np.nanmean(predicted - targets[:, 1])) < 5


def states(trained):
    return [{name: t.numpy() for name, t in module.state_dict().items()} for module in trained.ensemble.modules]


def test_same_seed_same_ensemble_whatever_the_number_of_processes():
    sequences, targets = toy()
    runs = [
        train_ensemble(
            sequences,
            targets,
            tasks=[BINARY, LEVEL],
            n_members=2,
            seed=seed,
            options=options(resample=True, negatives=0.5, retries=0),
            device="cpu",
            n_workers=n_workers,
        )
        for seed, n_workers in ((5, 1), (5, 2), (6, 1))
    ]
    one, two, other = (states(run) for run in runs)
    for first, second in zip(one, two, strict=True):
        assert all(np.array_equal(first[name], second[name]) for name in first)
    pd.testing.assert_frame_equal(runs[0].metrics, runs[1].metrics)
    pd.testing.assert_frame_equal(runs[0].history, runs[1].history)
    assert not np.array_equal(one[0]["output.weight"], other[0]["output.weight"])
    assert not np.array_equal(one[0]["output.weight"], one[1]["output.weight"])


def test_validation_share_is_the_same_for_all_members_and_disjoint():
    sequences, targets = toy()
    data = split_data(sequences, targets.astype(np.float32), tasks=[BINARY, LEVEL], options=options(), seed=1)
    assert (len(data.codes), len(data.valid_codes)) == (340, 60)
    assert not key(data.codes) & key(data.valid_codes)
    assert key(data.codes) | key(data.valid_codes) == key(sequences.codes)
    again = split_data(sequences, targets.astype(np.float32), tasks=[BINARY, LEVEL], options=options(), seed=2)
    assert key(again.valid_codes) != key(data.valid_codes)


def test_held_out_chromosomes_are_the_validation_set():
    sequences, targets = toy()
    held_out = options(held_out=("chr2", "chr4"))
    data = split_data(sequences, targets.astype(np.float32), tasks=[BINARY, LEVEL], options=held_out, seed=1)
    np.testing.assert_array_equal(data.valid_codes, sequences.codes[1::2])
    np.testing.assert_array_equal(data.valid_targets, targets[1::2].astype(np.float32))
    trained = train_ensemble(
        sequences, targets, tasks=[BINARY, LEVEL], n_members=1, options=held_out, device="cpu", n_workers=1
    )
    assert trained.ensemble.members[0].held_out == ("chr2", "chr4")
    assert trained.n_validation == 200


@pytest.mark.parametrize("ratio", [0.25, 1.0, 2.5])
def test_negatives_stay_on_the_side_of_their_locus(ratio):
    sequences, targets = toy()
    chosen = options(held_out=("chr1",), negatives=ratio)
    data = split_data(sequences, targets.astype(np.float32), tasks=[BINARY, LEVEL], options=chosen, seed=1)
    for codes, values, n in ((data.codes, data.targets, 300), (data.valid_codes, data.valid_targets, 100)):
        assert len(codes) == n + round(ratio * n)
        assert (values[n:, 0] == 0).all()
        assert np.isnan(values[n:, 1]).all()
        originals = {(*tuple(np.bincount(row, minlength=4)), row[0], row[-1]) for row in codes[:n]}
        assert {(*tuple(np.bincount(row, minlength=4)), row[0], row[-1]) for row in codes[n:]} <= originals
        if ratio == 1:
            np.testing.assert_array_equal(np.bincount(codes[n:].ravel()), np.bincount(codes[:n].ravel()))


def test_peaks_without_negatives_have_nothing_to_be_told_from():
    sequences, targets = toy()
    targets[:, 0] = 1
    given = {"n_members": 1, "device": "cpu", "n_workers": 1}
    with pytest.raises(InputError, match="member_0: all 340 known training targets of task 'bound' are 1"):
        train_ensemble(sequences, targets[:, :1], tasks=[BINARY], options=options(), **given)
    trained = train_ensemble(sequences, targets[:, :1], tasks=[BINARY], options=options(negatives=1.0), **given)
    assert trained.metrics["auroc"].notna().all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"held_out": ("chr9",)}, "held-out chromosome 'chr9' has no locus; chromosomes are chr1, chr2, chr3, chr4"),
        ({"held_out": CHROMS}, "none of the 400 loci is left for training"),
        ({"validation": 1e-6}, "none of the 400 loci is left for validation"),
    ],
)
def test_splits_that_cannot_be_made(changes, said):
    sequences, targets = toy()
    with pytest.raises(InputError, match=said):
        train_ensemble(sequences, targets, tasks=[BINARY, LEVEL], options=options(**changes), device="cpu")


def test_other_refusals():
    sequences, targets = toy()
    nowhere = random_sequences(20, 12)
    with pytest.raises(InputError, match="chromosomes are none, the loci have no coordinates"):
        planned_epochs(nowhere, options=options(held_out=("chr1",)))
    with pytest.raises(InputError, match=r"negatives are shuffled sequences .* there is no binary task"):
        train_ensemble(sequences, targets[:, 1:], tasks=[LEVEL], options=options(negatives=1.0), device="cpu")
    with pytest.raises(InputError, match="at least one member; got 0"):
        train_ensemble(sequences, targets, tasks=[BINARY, LEVEL], n_members=0, device="cpu")
    with pytest.raises(InputError, match="task names must be unique"):
        train_ensemble(sequences, targets, tasks=[LEVEL, LEVEL], device="cpu")


def test_a_task_that_validation_does_not_know_is_mentioned(caplog):
    sequences, targets = toy()
    targets[1::4, 1] = np.nan  # chr2
    given = {"n_members": 2, "options": options(held_out=("chr2",)), "device": "cpu", "n_workers": 1}
    with caplog.at_level(logging.WARNING):
        trained = train_ensemble(sequences, targets, tasks=[BINARY, LEVEL], **given)
    assert "no validation locus has a known target of 'level'" in caplog.text
    assert trained.metrics.set_index("task").loc["level", "n"].tolist() == [0, 0, 0]


def test_planned_epochs_count_training_sequences():
    sequences, _ = toy()
    unset = {"arguments": SMALL}
    assert planned_epochs(sequences, options=TrainOptions(**unset)) == 200
    assert planned_epochs(random_sequences(4000, 12), options=TrainOptions(**unset)) == 38  # 2000 * 64 / 3400
    assert planned_epochs(random_sequences(4000, 12), options=TrainOptions(negatives=1.0, **unset)) == 20
    assert planned_epochs(sequences, options=options()) == 2


def fitted(explained, loss=0.5, seed=0, state=None):
    epoch = Epoch(epoch=1, learning_rate=0.1, train_loss=loss, validation_loss=loss)
    return FittedNetwork(seed=seed, state=state or {}, explained=np.array(explained), history=(epoch,))


@pytest.mark.parametrize(
    ("shares", "behind"),
    [
        ([0.99, 0.985, 0.5], [2]),
        ([0.99, 0.95, 0.94], []),
        ([0.99, 0.985, 0.99, 0.92], [3]),
        ([0.3, 0.28, 0.1], [2]),
        ([0.3, 0.28, 0.24], []),
        ([0.02, -0.02, 0.0], []),
        ([0.9, 0.2], [1]),
        ([0.9], []),
        ([np.nan, np.nan], []),
    ],
)
def test_stragglers_are_far_below_the_median(shares, behind):
    found = stragglers({str(k): fitted([share]) for k, share in enumerate(shares)}, [LEVEL])
    assert sorted(found) == [str(k) for k in behind]


def test_a_member_without_a_finite_loss_is_a_straggler():
    networks = {"a": fitted([0.9, 0.1]), "b": fitted([np.nan, np.nan], loss=np.nan), "c": fitted([0.9, 0.5])}
    found = stragglers(networks, [BINARY, LEVEL])
    assert found == {"b": "its loss is not finite", "a": "it explains 0.100 of 'level', the median member 0.300"}


class Fake:
    """Stands in for `fit_networks`: gives out the losses it was told, and says what it was asked for."""

    def __init__(self, *rounds):
        self.rounds = list(rounds)
        self.asked = []

    def __call__(self, data, tasks, *, seeds, **_):
        self.asked.append(dict(seeds))
        network = PaperCNN(len(tasks), length=data.codes.shape[1], **SMALL)
        state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        losses = self.rounds.pop(0)
        return {
            name: fitted([1 - loss] * len(tasks), loss=loss, seed=seeds[name], state=state)
            for name, loss in zip(seeds, losses, strict=True)
        }


def run_with(monkeypatch, fake):
    sequences, targets = toy()
    monkeypatch.setattr(training, "fit_networks", fake)
    return train_ensemble(
        sequences, targets, tasks=[BINARY, LEVEL], n_members=3, seed=1, options=options(), device="cpu"
    )


def test_a_straggler_is_trained_again_and_the_better_attempt_kept(monkeypatch, caplog):
    fake = Fake([0.01, 0.6, 0.02], [0.02])
    with caplog.at_level(logging.WARNING):
        trained = run_with(monkeypatch, fake)
    assert fake.asked[1] == {"member_1": member_seed(1, 1, 1)}
    assert trained.retrained == ("member_1",)
    assert trained.ensemble.members[1].seed == member_seed(1, 1, 1)
    assert "member_1 is trained again: it explains 0.400 of 'bound', the median member 0.980" in caplog.text
    history = trained.history[trained.history["member"] == "member_1"]
    assert history["kept"].tolist() == [False, True]
    assert history["seed"].tolist() == [member_seed(1, 1), member_seed(1, 1, 1)]


def test_retraining_is_bounded(monkeypatch, caplog):
    fake = Fake([0.01, 0.6, 0.02], [0.7], [0.65])
    with caplog.at_level(logging.WARNING):
        trained = run_with(monkeypatch, fake)
    assert [list(asked) for asked in fake.asked] == [["member_0", "member_1", "member_2"], ["member_1"], ["member_1"]]
    assert trained.ensemble.members[1].seed == member_seed(1, 1)
    assert "member_1 stays behind the others" in caplog.text


def test_no_member_without_a_finite_loss_is_kept(monkeypatch):
    fake = Fake([0.01, np.nan, 0.02], [np.nan], [np.nan])
    with pytest.raises(DeepMRError, match="member_1: the loss is not finite; try a lower learning rate"):
        run_with(monkeypatch, fake)


def test_member_seeds_differ():
    seeds = {member_seed(seed, member, attempt) for seed in range(3) for member in range(5) for attempt in range(3)}
    assert len(seeds) == 45


def test_the_callers_generators_are_left_alone():
    sequences, targets = toy()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    train_ensemble(sequences, targets, tasks=[BINARY, LEVEL], n_members=1, options=options(), device="cpu", n_workers=1)
    assert torch.equal(torch.get_rng_state(), state)
