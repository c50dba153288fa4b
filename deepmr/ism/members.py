"""From what every ensemble member says of an edit to one effect with its standard error."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Int

from deepmr.errors import InputError
from deepmr.ism.calibration import Calibration
from deepmr.types import MemberEffects, SummaryStats


def pool_members(
    effects: MemberEffects,
    *,
    calibration: Calibration | None = None,
    scaling: Literal["variance", "isotonic"] = "variance",
    level: float = 0.95,
) -> SummaryStats:
    """Pool the members of an ensemble: their mean effects, and the errors that they share.

    Parameters
    ----------
    effects : paired differences of at least two members.
    calibration : corrects the standard errors of tasks it holds, and the unit of binary tasks; None leaves both as
        they are.
    scaling : how the calibration corrects: one variance factor, or the isotonic factor at `level`.
    level : level of the intervals that will be made, for the isotonic factor alone; between 0 and 1.

    Returns
    -------
    SummaryStats
        One trait a task, estimand "model", in float64.

    Raises
    ------
    InputError
        With a single member, which has no spread, hence no uncertainty; or when the calibration cannot serve `level`.

    Notes
    -----
    With K members, their deviations e_k from the mean and B = sum e_k^2 / (K - 1),

        se^2 = c (1 + 1/K) B,  F_k = e_k sqrt(c (1 + 1/K) / (K - 1)),  so that sum_k F_k^2 = se^2,

    where c is the calibration's factor or 1, and the reference distribution is Student's t with K - 1 degrees of
    freedom. (1 + 1/K) B, not B / K: if the function that was learned from is exchangeable with what another training
    run would give, the mean of K misses it by that variance. An error that all members share is in none of this
    (`docs/calibration.md`). An edit outside the receptive field has effect and standard error exactly 0.
    Effects of a binary task with a temperature T are divided by T, on the logit scale.

    Examples
    --------
    >>> import pandas as pd
    >>> from deepmr.types import Task
    >>> site = pd.DataFrame([["s", "s", "", 1, "A", "C", 0]], columns=[
    ...     "variant_id", "locus", "chrom", "pos", "effect_allele", "other_allele", "offset"])
    >>> delta = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    >>> stats = pool_members(MemberEffects(variants=site, tasks=(Task(name="CTCF"),), delta=delta))
    >>> float(stats.beta[0, 0]), round(float(stats.se[0, 0]), 4)
    (2.0, 1.1547)
    """
    n_members = effects.delta.shape[0]
    if n_members < 2:
        raise InputError(
            f"the effects come from {n_members} ensemble member(s); the standard error of an effect is the spread "
            "over members, so at least 2 are needed (5 are usual)"
        )
    delta = np.asarray(effects.delta, dtype=np.float64)
    factor = np.ones(len(effects.tasks))
    if calibration is not None:
        names = [task.name for task in effects.tasks]
        delta = delta / np.array([calibration.temperature(name) for name in names])
        df = float(n_members - 1)
        factor = np.array([calibration.se_factor(name, scaling=scaling, level=level, df=df) for name in names])
    beta = delta.mean(axis=0)
    deviation = delta - beta
    sum_of_squares = np.einsum("kvt,kvt->vt", deviation, deviation)
    inflation = (1 + 1 / n_members) / (n_members - 1)
    return SummaryStats(
        variants=effects.variants,
        traits=tuple(task.name for task in effects.tasks),
        beta=beta,
        se=np.sqrt(sum_of_squares * inflation) * factor,
        spread=np.sqrt(sum_of_squares / (n_members - 1)),
        error_factors=deviation * (np.sqrt(inflation) * factor),
        estimand="model",
    )


def same_effects(effects: MemberEffects) -> Int[np.ndarray, "members"]:
    """Number members so that two have one number when their effects are the same, bit by bit.

    Parameters
    ----------
    effects : of some loci; where no edit has any effect every member keeps a number of its own.

    Examples
    --------
    >>> import pandas as pd
    >>> from deepmr.types import Task
    >>> site = pd.DataFrame([["s", "s", "", 1, "A", "C", 0]], columns=[
    ...     "variant_id", "locus", "chrom", "pos", "effect_allele", "other_allele", "offset"])
    >>> delta = np.array([1.0, 2.0, 1.0]).reshape(3, 1, 1)
    >>> same_effects(MemberEffects(variants=site, tasks=(Task(name="CTCF"),), delta=delta)).tolist()
    [0, 1, 0]
    """
    n = len(effects.delta)
    number = np.arange(n)
    for i in range(n):
        for j in range(i):
            if number[i] == i and np.any(effects.delta[i]) and np.array_equal(effects.delta[i], effects.delta[j]):
                number[i] = number[j]
    return np.unique(number, return_inverse=True)[1]


def merge_members(effects: MemberEffects, network: Int[np.ndarray, "members"]) -> MemberEffects:
    """Average the members that are one network, so that each network counts once.

    Parameters
    ----------
    effects : of every member.
    network : number of each member's network, 0, 1, ... .

    Notes
    -----
    For masks of Monte Carlo dropout. With the effect of network g under mask m, d_gm = mu + a_g + w_gm, the mean over M
    masks has the variance A + W / M, of which A, the difference between trainings, does not fall with more masks. The
    spread of these means over G networks, (1 + 1/G) B with G - 1 degrees of freedom, is the error of the mean over
    masks of one more training. All G M members taken for independent would give (1 + 1 / (G M)) (A + W) with
    G M - 1 degrees of freedom: a mean that seems to rest on G M trainings.
    """
    n = int(network.max()) + 1
    delta = np.stack([effects.delta[network == g].mean(axis=0, dtype=np.float64) for g in range(n)])
    return replace(effects, delta=delta.astype(np.float32))


def split_members(effects: MemberEffects) -> Sequence[MemberEffects]:
    """Part an ensemble into two halves: every other member, so that an order of theirs has no part in it.

    Parameters
    ----------
    effects : of at least four members.

    Raises
    ------
    InputError
        With fewer than four: a half needs two for a standard error.
    """
    n = len(effects.delta)
    if n < 4:
        raise InputError(f"splitting the members needs at least 4, two for each half; the effects come from {n}")
    return [replace(effects, delta=effects.delta[start::2]) for start in (0, 1)]
