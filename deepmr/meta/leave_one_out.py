"""Every pooled effect again without one locus: which locus it hangs on."""

from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Int

from deepmr import schema
from deepmr.meta.evidence import Packed, Weighting, Whole, Within, whole, within_variances
from deepmr.meta.grouping import GROUP, grouped
from deepmr.meta.kernel import Interval, Pooled, Prediction, check_options, pool_groups
from deepmr.meta.left_out import left_out
from deepmr.meta.tau2 import Tau2
from deepmr.types import Estimates

_CELLS = 300_000  # loci times left-out loci that are pooled at once
_FEW = 50  # up to so many loci, all the long way


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
    Everything is estimated anew, tau2 too; but what members do at single loci is moderated over all loci once (see
    `pool_estimates`), and variances within loci are then those of the whole.

    The work grows with the number of loci, not its square, for every estimator of tau2: sums without a locus are the
    sums over all loci less its own term, and the sums over all loci, at whatever tau2 the search asks for, are read
    off polynomials (`deepmr.meta.curves`) that are exact to rounding. Up to 50 loci, and loci that make up most of
    a sum or lie farthest out, are pooled the long way.
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
        loci = groups.studies_of(np.arange(len(groups.keys)) == i)
        part = _pool_without(loci, tau2=tau2, ci=ci, weights=weights, prediction=prediction, level=level)
        frames.append(_frame(part, key, names, k - 1, level))
        factors.append(part.factors)
    lost = pd.concat(skipped, ignore_index=True) if skipped else estimates.skipped.iloc[:0]
    table = pd.concat(frames, ignore_index=True) if frames else estimates.table.iloc[:0][list(schema.ESTIMATES)]
    shared = np.concatenate(factors, axis=1) if frames and estimates.error_factors is not None else None
    return replace(estimates, table=table, skipped=lost, error_factors=shared)


def _pool_without(
    loci: Packed, *, tau2: Tau2, ci: Interval, weights: Weighting, prediction: Prediction, level: float
) -> Pooled:
    """Pool one group of loci without each of them."""
    k, within = len(loci.beta), within_variances(loci)
    parts, order = [], []
    long_way = np.arange(k)
    if k > _FEW:
        evidence, long_way = left_out(loci, within, level=level)
        parts.append(pool_groups(evidence, tau2=tau2, ci=ci, weights=weights, prediction=prediction, level=level))
        order.append(evidence.out)
    at_once = max(1, _CELLS // k)
    for start in range(0, len(long_way), at_once):
        out = long_way[start : start + at_once]
        parts.append(
            pool_groups(
                without(loci, within, out), tau2=tau2, ci=ci, weights=weights, prediction=prediction, level=level
            )
        )
        order.append(out)
    back = np.argsort(np.concatenate(order))
    return Pooled(
        columns={name: np.concatenate([part.columns[name] for part in parts])[back] for name in parts[0].columns},
        factors=np.concatenate([part.factors for part in parts], axis=1)[:, back],
    )


def without(loci: Packed, within: Within, out: Int[np.ndarray, "out"]) -> Whole:
    """Return one group a left-out locus, the long way: every other locus is there again.

    Parameters
    ----------
    loci : one group.
    within : variances of its loci.
    out : loci to leave out.
    """
    k = len(loci.beta)
    rows = np.arange(k - 1) + (np.arange(k - 1) >= out[:, None])
    flat = rows.ravel()
    packed = Packed(
        beta=loci.beta[flat], se=loci.se[flat], factors=loci.factors[:, flat], offsets=np.arange(len(out) + 1) * (k - 1)
    )
    return whole(packed, Within(sampling=within.sampling[flat], total=within.total[flat]))


def _frame(part: Pooled, key: dict[str, str], names: np.ndarray, n: int, level: float) -> pd.DataFrame:
    frame = pd.DataFrame(part.columns).assign(**key, locus=names, n=n, level=level)
    extras = [name for name in schema.EXTRA if name in frame and not frame[name].isna().all()]
    return frame[[*schema.ESTIMATES, *extras]]
