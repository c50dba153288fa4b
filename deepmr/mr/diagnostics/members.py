"""Members of the ensemble one by one: validation quality, the pooled slope by each and without each."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks
from deepmr.inference import two_sided
from deepmr.linalg import divide, segment_sum
from deepmr.mr.diagnostics.declared import declared
from deepmr.mr.lines import exposure_of
from deepmr.types import Instruments

SIGNIFICANT = 0.05
APART = 0.1  # share of the slope by which a member must differ to be flagged, however sure it is
METRICS = ("task", "member", "r2", "auroc")


def compare_members(
    instruments: Instruments,
    *,
    members: tuple[str, ...] | None = None,
    metrics: pd.DataFrame | None = None,
    se_factors: tuple[float, float] = (1.0, 1.0),
) -> pd.DataFrame:
    """Estimate the pooled slope by every member alone and without it, and flag the members that stand out.

    Parameters
    ----------
    instruments : of one exposure, with errors that at least two members share.
    members : their names; by default member_0, member_1, ...
    metrics : validation metrics, columns task, member, r2 and auroc, as `metrics.tsv` of an ensemble directory has
        them; rows of others than `members` are left out.
    se_factors : by which a calibration multiplied the errors of exposure and outcome.

    Returns
    -------
    Table "members" of `schema.DIAGNOSTICS`, a row a member; empty without shared errors.

    Notes
    -----
    Effects of member k are the mean plus its deviation, F_k / sqrt((1 + 1/K) / (K - 1)) / se_factor; the instruments
    stay those of the mean. A member *disagrees* when (b_k - mean of the others) / (s sqrt(1 + 1 / (K - 1))), s over the
    others, is beyond t(K - 2) at 0.05 / K, and the difference more than 10 % of the slope: one ensemble in twenty has
    such a member by chance, at most. With 3 members or fewer there is no such test. It is *behind* when a validation
    metric is below m - max(0.05, min(m, 1 - m) / 4), m the median member: the rule by which training gives a member a
    second attempt.
    """
    factors = instruments.error_factors
    if factors is None or len(factors) < 2:
        return declared("members", pd.DataFrame(columns=_columns()))
    names = tuple(f"member_{k}" for k in range(len(factors))) if members is None else members
    checks.shape("members", np.asarray(names, dtype=object), (len(factors),))
    k = len(factors)
    scale = np.sqrt((1 + 1 / k) / (k - 1)) * np.asarray(se_factors)
    deviation = np.asarray(factors, dtype=float)[:, :, [0, -1]] / scale
    alone, without = (_pooled(instruments, part) for part in (deviation, -deviation / (k - 1)))
    pvalue, differs = _apart(alone)
    quality = {side: _quality(metrics, task, names) for side, task in
               (("exposure", instruments.exposure), ("outcome", instruments.outcome))}  # fmt: skip
    flagged = [["disagrees with the other members"] if differs[i] else [] for i in range(k)]
    for task, values in ((instruments.exposure, quality["exposure"]), (instruments.outcome, quality["outcome"])):
        middle = float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan
        behind = values < middle - max(0.05, min(middle, 1 - middle) / 4)
        for i in np.flatnonzero(behind):
            flagged[i].append(f"is behind in {task}: {values[i]:.3f}, the median member {middle:.3f}")
    frame = pd.DataFrame(
        {
            "exposure": instruments.exposure,
            "outcome": instruments.outcome,
            "member": names,
            "beta": alone,
            "beta_without": without,
            "pvalue": pvalue,
            "metric_exposure": quality["exposure"],
            "metric_outcome": quality["outcome"],
            "flagged": ["; ".join(why) for why in flagged],
        }
    )
    return declared("members", frame)


def _columns() -> list[str]:
    return ["exposure", "outcome", "member", "beta", "beta_without", "pvalue", "metric_exposure", "metric_outcome",
            "flagged"]  # fmt: skip


def _pooled(instruments: Instruments, shift: Float[np.ndarray, "members rows 2"]) -> Float[np.ndarray, "members"]:
    """Return the mean over loci of the slopes of shifted effects."""
    mean, _ = exposure_of(instruments)
    x, y = mean + shift[:, :, 0], instruments.beta_outcome + shift[:, :, 1]
    known = instruments.counts > 0
    slope = divide(segment_sum(x * y, instruments.offsets), segment_sum(x**2, instruments.offsets), otherwise=0.0)
    return slope[:, known].mean(axis=1) if known.any() else np.zeros(len(shift))


def _apart(alone: Float[np.ndarray, "members"]) -> tuple[Float[np.ndarray, "members"], np.ndarray]:
    """Return the P value of every member against the others, and whether it differs."""
    k = len(alone)
    if k < 4:
        return np.ones(k), np.zeros(k, dtype=bool)
    others = (alone.sum() - alone) / (k - 1)
    rest = alone[None, :] - others[:, None]
    rest[np.arange(k), np.arange(k)] = 0.0
    spread = np.sqrt(np.sum(rest**2, axis=1) / (k - 2)) * np.sqrt(1 + 1 / (k - 1))
    pvalue = two_sided(alone - others, spread, df=k - 2.0)
    return pvalue, (pvalue < SIGNIFICANT / k) & (np.abs(alone - others) > APART * np.abs(others))


def _quality(metrics: pd.DataFrame | None, task: str, names: tuple[str, ...]) -> Float[np.ndarray, "members"]:
    """Return the validation metric of every member, NaN where it is unknown."""
    unknown = np.full(len(names), np.nan)
    if metrics is None:
        return unknown
    checks.columns("metrics", metrics.columns, METRICS)
    here = metrics[metrics["task"] == task].drop_duplicates("member").set_index("member")
    for name in ("r2", "auroc"):
        values = pd.to_numeric(here[name], errors="coerce").reindex(list(names)).to_numpy(float)
        if np.isfinite(values).any():
            return values
    return unknown
