"""How well members and their mean predict: R2, Pearson correlation, AUROC, AUPRC."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.metrics import average_precision_score, roc_auc_score

from deepmr.anscombe import anscombe, anscombe_mean
from deepmr.sequence.losses import TaskSpec

ENSEMBLE = "ensemble"  # the row of the mean over members


def measure(
    predictions: Float[np.ndarray, "members loci tasks"],
    learned: Float[np.ndarray, "loci tasks"],
    *,
    tasks: Sequence[TaskSpec],
    names: Sequence[str],
) -> pd.DataFrame:
    """Compare predictions with targets, for every member and for the mean over members.

    Parameters
    ----------
    predictions : in the unit of each task's scale.
    learned : targets on the scale that is learned; NaN where unknown.
    tasks : last axis of both.
    names : of the members.

    Returns
    -------
    pandas.DataFrame
        One row a task and member: task, member, n (known targets), r2 and pearson, or auroc and auprc for a binary
        task. A measure is NaN where the targets do not determine it.

    Notes
    -----
    R2 is about the identity, 1 - sum (y - f)^2 / sum (y - mean y)^2. Counts are compared as 2 sqrt(y + 3/8), for a
    Poisson task with its expectation at the predicted rate.
    """
    rows = []
    for k, spec in enumerate(tasks):
        known = ~np.isnan(learned[:, k])
        target = learned[known, k].astype(np.float64)
        members = predictions[:, known, k].astype(np.float64)
        for name, values in [*zip(names, members, strict=True), (ENSEMBLE, members.mean(axis=0))]:
            rows.append({"task": spec.name, "member": name, "n": int(known.sum()), **_scores(spec, values, target)})
    columns = ["task", "member", "n", "r2", "pearson", "auroc", "auprc"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _scores(spec: TaskSpec, values: Float[np.ndarray, "known"], target: Float[np.ndarray, "known"]) -> dict[str, float]:
    if len(target) < 2 or target.min() == target.max():
        return {}
    if spec.kind == "binary":
        return {"auroc": float(roc_auc_score(target, values)), "auprc": float(average_precision_score(target, values))}
    if spec.kind == "poisson":
        values, target = anscombe_mean(np.exp(values)), anscombe(target)
    residual = np.sum((target - values) ** 2) / np.sum((target - target.mean()) ** 2)
    pearson = float(np.corrcoef(values, target)[0, 1]) if values.min() < values.max() else np.nan
    return {"r2": float(1 - residual), "pearson": pearson}
