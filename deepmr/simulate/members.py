"""Effects as the members of an ensemble would have them, around a truth that is known: for studies of intervals."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.simulate.instruments import variant_frame
from deepmr.types import Instruments

WIDTH = 6.0  # positions over which a member's error stays alike (standard deviation of the kernel)
RELATIVE, COMMON, FLOOR = 0.05, 0.02, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRun:
    """One ensemble's effects at many loci, and what its intervals may be asked to hold.

    Attributes
    ----------
    instruments : mean effects with the members' deviations as `error_factors`.
    limit : slope at every locus that endlessly many such networks would show on average.
    another : slope at every locus that one more network shows at the same instruments; drawn as the members are.
    """

    instruments: Instruments
    limit: Float[np.ndarray, "loci"]
    another: Float[np.ndarray, "loci"]


def simulate_members(
    *,
    n_loci: int = 100,
    n_instruments: int = 15,
    n_members: int = 5,
    beta: float = 0.5,
    error: float = 0.1,
    across: float = 0.3,
    within: float = 0.4,
    uneven: float = 0.3,
    seed: int = 0,
) -> MemberRun:
    """Draw what members say of the instruments of many loci: the truth, and errors that edits and loci share.

    Parameters
    ----------
    n_loci, n_instruments, n_members : how many; the members are those of the ensemble, one more is drawn beside.
    beta : causal effect, the same at every locus.
    error : standard deviation over members of an effect of size 1, exposure and outcome alike.
    across, within : shares of its variance that a member makes at all loci alike, and at all instruments of a locus;
        both grow with the size of the effect, the rest is of each instrument.
    uneven : standard deviation of the logarithm of how large errors are at a locus.
    seed : of the draws.

    Notes
    -----
    Member k has x (1 + gain) + noise on the exposure and beta x (1 + ...) + noise on the outcome, its errors drawn
    anew for both traits; there is no error that all members share, so that the mean of endlessly many is the truth.
    """
    checks.at_least("n_members", n_members, 2)
    for name, value in (("n_loci", n_loci), ("n_instruments", n_instruments)):
        checks.at_least(name, value, 1)
    if min(across, within) < 0 or across + within > 1:
        raise InputError(f"across and within are shares of one variance; got {across:g} and {within:g}")
    rng = np.random.default_rng(seed)
    shape = (n_members + 1, n_loci, n_instruments, 2)
    size = rng.lognormal(0.0, 0.3, (n_loci, n_instruments)) * rng.choice([-1.0, 1.0], (n_loci, n_instruments))
    gain = np.sqrt(across) * rng.normal(size=(n_members + 1, 1, 1, 2))
    gain = gain + np.sqrt(within) * rng.normal(size=(n_members + 1, n_loci, 1, 2))
    noise = gain * size[..., None] + np.sqrt(max(1 - across - within, 0.0)) * rng.normal(size=shape)
    scale = error * rng.lognormal(0.0, uneven, (n_loci, 1, 1))
    each = np.stack([size, beta * size], axis=-1) + scale * noise
    flat = each[:-1].reshape(n_members, -1, 2)
    mean = flat.mean(axis=0)
    factors = (flat - mean) * np.sqrt((1 + 1 / n_members) / max(n_members - 1, 1))
    se = np.sqrt(np.sum(factors**2, axis=0))
    loci = tuple(f"locus{i}" for i in range(n_loci))
    return MemberRun(
        instruments=Instruments(
            loci=loci,
            offsets=np.arange(n_loci + 1) * n_instruments,
            exposures=("exposure",),
            outcome="outcome",
            variants=variant_frame(loci, n_instruments),
            beta_exposure=mean[:, :1],
            se_exposure=se[:, :1],
            beta_outcome=mean[:, 1],
            se_outcome=se[:, 1],
            error_factors=factors,
        ),
        limit=np.full(n_loci, float(beta)),
        another=np.sum(each[-1, ..., 0] * each[-1, ..., 1], axis=1) / np.sum(each[-1, ..., 0] ** 2, axis=1),
    )


def add_member_errors(
    exact: Float[np.ndarray, "edits tasks"],
    *,
    locus: Int[np.ndarray, "edits"],
    offset: Int[np.ndarray, "edits"],
    n_members: int = 5,
    relative: float = RELATIVE,
    common: float = COMMON,
    floor: float = FLOOR,
    seed: int = 0,
) -> Float[np.ndarray, "members edits tasks"]:
    """Make an ensemble of true effects: smooth errors of every member, and one such error that all of them share.

    Parameters
    ----------
    exact : true effects.
    locus, offset : number of each edit's locus, and its 0-based position there.
    n_members : networks; at least 1.
    relative : standard deviation of an error in proportion to the effect, by locus and position.
    common : the same of an error that a member makes at all loci alike.
    floor : standard deviation of an error that is added, in units of the root mean square effect on the task.
    seed : of the errors.

    Notes
    -----
    An error of the effect d of an edit at position p on task t is d (relative u(p) + common c) + floor s v(p): u and v
    are standard normal and smooth over positions, drawn for each locus and task; c is drawn for each task; s is the
    root mean square effect. One error is drawn for all members together and one for each, all of one size, so that the
    truth is to the members as one more of them is, and the mean of K misses it by (1 + 1/K) of a member's variance.

    Examples
    --------
    >>> exact = np.ones((2, 1))
    >>> where = {"locus": np.zeros(2, dtype=int), "offset": np.arange(2)}
    >>> add_member_errors(exact, n_members=3, **where).shape
    (3, 2, 1)
    """
    checks.at_least("n_members", n_members, 1)
    for name, value in (("relative", relative), ("common", common), ("floor", floor)):
        checks.non_negative(name, np.array([value]))
    if not len(exact):
        return np.zeros((n_members, *exact.shape))
    rng = np.random.default_rng([seed, 7])
    tasks = exact.shape[1]
    size = (n_members + 1, int(locus.max()) + 1, int(offset.max()) + 1, tasks)
    in_proportion, added = (_smooth(rng.normal(size=size))[:, locus, offset] for _ in range(2))
    everywhere = rng.normal(size=(n_members + 1, 1, tasks))
    scale = np.sqrt(np.mean(exact**2, axis=0))
    errors = exact * (relative * in_proportion + common * everywhere) + floor * scale * added
    return exact + errors[0] + errors[1:]


def _smooth(values: Float[np.ndarray, "members loci length tasks"]) -> Float[np.ndarray, "members loci length tasks"]:
    """Smooth normal numbers over positions to the same variance at all positions."""
    length = values.shape[2]
    lag = np.arange(length)[:, None] - np.arange(length)
    kernel = np.exp(-0.5 * (lag / WIDTH) ** 2)
    kernel /= np.sqrt(np.sum(kernel**2, axis=1, keepdims=True))
    return np.einsum("pq,mlqt->mlpt", kernel, values, optimize=True)
