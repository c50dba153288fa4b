"""From what every ensemble member says of an edit to one effect with its standard error."""

from typing import Literal

import numpy as np

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
