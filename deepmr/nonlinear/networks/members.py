"""Which samples the members of a stack learn from and are watched on, and weights in place of resampled rows."""

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.perceptrons.split import Split, member_seeds, split_held


def member_weights(data: IVData, *, n_members: int, seed: int, bootstrap: bool) -> Float[np.ndarray, "members samples"]:
    """Return the weights of the samples in every member.

    Parameters
    ----------
    data : the samples.
    n_members : how many members.
    seed : of the draws; a member's are the same however many there are.
    bootstrap : whether to multiply the weight of every sample, or cluster, by a draw of its own.

    Notes
    -----
    Draws are from the standard exponential distribution: the Bayesian bootstrap. A sample stays one row.

    References
    ----------
    Rubin (1981) doi:10.1214/aos/1176345338.
    """
    weights = np.tile(data.scaled_weights, (n_members, 1))
    if bootstrap:
        units = _units(data)
        for k, one in enumerate(member_seeds(n_members, seed=seed, stage=_BOOTSTRAP)):
            weights[k] *= np.random.default_rng(one).standard_exponential(units.max() + 1)[units]
    return weights


def split_members(
    data: IVData, *, n_members: int, seed: int, share: float = 0.2, bootstrap: bool | None = None
) -> Split:
    """Deal the samples of every member to training and validation at random, whole clusters where there are any.

    Parameters
    ----------
    data : the samples.
    n_members : how many members.
    seed : of deals and weights; a member's are the same however many there are.
    share : of the samples, or clusters, that a member validates on.
    bootstrap : whether members weigh samples at random (`member_weights`); None is yes where there are several members.
    """
    units = _units(data)
    n_units = int(units.max()) + 1
    n_held = round(share * n_units)
    if not 0 < n_held < n_units:
        raise InputError(
            f"validation needs some of {n_units} samples or clusters but not all; got a share of {share:g}"
        )
    held = np.zeros((n_members, n_units), dtype=bool)
    for k, one in enumerate(member_seeds(n_members, seed=seed, stage=_DEAL)):
        held[k, np.random.default_rng(one).permutation(n_units)[:n_held]] = True
    drawn = n_members > 1 if bootstrap is None else bootstrap
    return _split(data, held[:, units], member_weights(data, n_members=n_members, seed=seed, bootstrap=drawn))


def fold_members(data: IVData, folds: Int[np.ndarray, "samples"]) -> Split:
    """Make a member a fold: it learns from the samples of all others and is watched on those of its fold.

    Parameters
    ----------
    data : the samples.
    folds : number of the fold of every sample.
    """
    held = folds == np.arange(folds.max() + 1)[:, None]
    return _split(data, held, np.tile(data.scaled_weights, (len(held), 1)))


def fold_replicates(
    data: IVData, *, n_replicates: int, n_folds: int, seed: int
) -> tuple[Split, Int[np.ndarray, "replicates samples"]]:
    """Deal the samples of every replicate to folds; return a member a fold, fold by fold in replicates, and the folds.

    Parameters
    ----------
    data : the samples.
    n_replicates : how many; where several, each weighs samples at random, as `split_members` does.
    n_folds : how many folds; that of a member is its validation.
    seed : of deals and weights; a replicate's are the same however many there are.
    """
    units = _units(data)
    n_units = int(units.max()) + 1
    if not 2 <= n_folds <= n_units:
        raise InputError(f"n_folds must be from 2 to the {n_units} samples or clusters there are; got {n_folds}")
    deals = [
        (np.random.default_rng(one).permutation(n_units) % n_folds)[units]
        for one in member_seeds(n_replicates, seed=seed, stage=_DEAL)
    ]
    folds = np.stack(deals)
    held = (folds[:, None, :] == np.arange(n_folds)[:, None]).reshape(-1, len(data))
    weights = member_weights(data, n_members=n_replicates, seed=seed, bootstrap=n_replicates > 1)
    return _split(data, held, np.repeat(weights, n_folds, axis=0)), folds


_BOOTSTRAP, _DEAL = 1000, 1001  # stages of no network


def _units(data: IVData) -> Int[np.ndarray, "samples"]:
    """Number what is dealt and weighed together: samples, or clusters."""
    if data.clusters is None:
        return np.arange(len(data))
    return np.unique(data.clusters, return_inverse=True)[1].reshape(-1)


def _split(
    data: IVData, held: Bool[np.ndarray, "members samples"], weights: Float[np.ndarray, "members samples"]
) -> Split:
    """Split samples; validation counts each by its own weight, as what bootstrap draws add to a loss is noise."""
    return split_held(held, weights, np.broadcast_to(data.scaled_weights, held.shape))
