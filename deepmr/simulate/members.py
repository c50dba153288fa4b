"""Effects as the members of an ensemble would have them, around a truth that is known: for the study of intervals."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.simulate.instruments import variant_frame
from deepmr.types import Instruments


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
