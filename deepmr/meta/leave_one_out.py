"""Every pooled effect again without one locus: which locus it hangs on."""

from dataclasses import replace

import numpy as np
import pandas as pd

from deepmr import schema
from deepmr.meta.evidence import Packed, Weighting, whole
from deepmr.meta.grouping import GROUP, grouped
from deepmr.meta.kernel import Interval, Pooled, Prediction, check_options, pool_groups
from deepmr.meta.tau2 import Tau2
from deepmr.types import Estimates

_CELLS = 300_000  # loci times left-out loci that are pooled at once


def leave_one_out(
    estimates: Estimates,
    *,
    tau2: Tau2 = "REML",
    ci: Interval = "HK",
    weights: Weighting = "inverse_variance",
    prediction: Prediction = "HTS",
    level: float = 0.95,
) -> Estimates:
    """Pool the effects of all loci but one, for every locus in turn.

    Parameters
    ----------
    estimates, tau2, ci, weights, prediction, level : as for `pool_estimates`.

    Returns
    -------
    Estimates
        One row a locus left out, named in `locus`, with the columns of `pool_estimates`; errors that members share are
        carried on as there. Groups of fewer than three loci are listed in `skipped`.

    Notes
    -----
    Everything is estimated anew, tau2 too. The work grows with the square of the number of loci: 2,000 take seconds.
    """
    check_options(tau2=tau2, ci=ci, weights=weights, prediction=prediction)
    groups = grouped(estimates)
    frames, factors, skipped = [], [], []
    for i, (a, b) in enumerate(zip(groups.offsets[:-1], groups.offsets[1:], strict=True)):
        key, k = dict(zip(GROUP, map(str, groups.keys.iloc[i]), strict=True)), int(b - a)
        names = estimates.table["locus"].to_numpy(object)[groups.order[a:b]]
        if k < 3:
            rows = [(*(key[c] for c in GROUP[:3]), name, f"needs at least 3 loci; has {k}") for name in names]
            skipped.append(pd.DataFrame(rows, columns=list(schema.SKIPPED)))
            continue
        at_once = max(1, _CELLS // k)
        for start in range(0, k, at_once):
            out = np.arange(start, min(start + at_once, k))
            part = pool_groups(
                whole(_without(groups.studies_of(np.arange(len(groups.keys)) == i), out)),
                tau2=tau2,
                ci=ci,
                weights=weights,
                prediction=prediction,
                level=level,
            )
            frames.append(_frame(part, key, names[out], k - 1, level))
            factors.append(part.factors)
    lost = pd.concat(skipped, ignore_index=True) if skipped else estimates.skipped.iloc[:0]
    table = pd.concat(frames, ignore_index=True) if frames else estimates.table.iloc[:0][list(schema.ESTIMATES)]
    shared = np.concatenate(factors, axis=1) if frames and estimates.error_factors is not None else None
    return replace(estimates, table=table, skipped=lost, error_factors=shared)


def _without(loci: Packed, out: np.ndarray) -> Packed:
    """Return one group a left-out locus."""
    k = len(loci.beta)
    rows = np.arange(k - 1) + (np.arange(k - 1) >= out[:, None])
    flat = rows.ravel()
    offsets = np.arange(len(out) + 1) * (k - 1)
    return Packed(beta=loci.beta[flat], se=loci.se[flat], factors=loci.factors[:, flat], offsets=offsets)


def _frame(part: Pooled, key: dict[str, str], names: np.ndarray, n: int, level: float) -> pd.DataFrame:
    frame = pd.DataFrame(part.columns).assign(**key, locus=names, n=n, level=level)
    extras = [name for name in schema.EXTRA if name in frame and not frame[name].isna().all()]
    return frame[[*schema.ESTIMATES, *extras]]
