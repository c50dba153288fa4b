"""Every pooled effect again without one locus: which locus it hangs on."""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr import schema
from deepmr.linalg import segment_sum
from deepmr.meta.evidence import Packed, Weighting, Whole, Within, whole, within_variances
from deepmr.meta.grouping import GROUP, grouped
from deepmr.meta.kernel import (
    Interval,
    Pooled,
    Prediction,
    check_options,
    chosen_prediction,
    chosen_weights,
    pool_groups,
)
from deepmr.meta.left_out import left_out
from deepmr.meta.tau2 import Tau2
from deepmr.types import Estimates

_CELLS = 300_000  # loci times left-out loci that are pooled at once
_FEW = 50  # up to so many loci, all the long way
_SOME = 2000  # the same where one locus has nearly all the weight: the quick way then loses digits of DL's tau2_se
_ALL_BUT = 1e-5


def leave_one_out(
    estimates: Estimates,
    *,
    tau2: Tau2 = "REML",
    ci: Interval = "HK",
    weights: Weighting = "auto",
    prediction: Prediction = "auto",
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
    a sum or lie farthest out, are pooled the long way; so are up to 2,000 where one has all the weight but 1e-5.
    """
    check_options(tau2=tau2, ci=ci, weights=weights, prediction=prediction)
    weights = chosen_weights(weights, estimates, ci=ci, prediction=prediction)
    prediction = chosen_prediction(prediction, estimates)
    groups = grouped(estimates)
    enough = groups.counts > 2
    loci = groups.studies_of(enough)
    part = _pool_without(loci, tau2=tau2, ci=ci, weights=weights, prediction=prediction, level=level)
    home = np.repeat(np.arange(len(groups.keys)), groups.counts)
    names = estimates.table["locus"].to_numpy(object)[groups.order]
    used = enough[home]
    table = pd.DataFrame(part.columns)
    for name in GROUP:
        table[name] = groups.keys[name].to_numpy(object)[home[used]]
    table = table.assign(locus=names[used], n=groups.counts[home[used]] - 1, level=level)
    extras = [name for name in schema.EXTRA if name in table and not (len(table) and table[name].isna().all())]
    few = groups.keys.iloc[home[~used]].reset_index(drop=True).assign(locus=names[~used])
    few["reason"] = [f"needs at least 3 loci; has {n}" for n in groups.counts[home[~used]]]
    return Estimates(
        table=table[[*schema.ESTIMATES, *extras]],
        skipped=few[list(schema.SKIPPED)].astype(str),
        error_factors=part.factors if estimates.error_factors is not None and len(table) else None,
    )


def _pool_without(
    loci: Packed, *, tau2: Tau2, ci: Interval, weights: Weighting, prediction: Prediction, level: float
) -> Pooled:
    """Pool every group without each of its loci, in the order of the loci."""
    within, counts = within_variances(loci), np.diff(loci.offsets)
    short = counts <= np.where(_heaviest(within, loci.offsets) > 1 - _ALL_BUT, _SOME, _FEW)
    long_way = [np.flatnonzero(np.repeat(short, counts))]
    parts, order = [], []
    for a, b in zip(loci.offsets[:-1][~short], loci.offsets[1:][~short], strict=True):
        one = Packed(beta=loci.beta[a:b], se=loci.se[a:b], factors=loci.factors[:, a:b], offsets=np.array([0, b - a]))
        its = Within(sampling=within.sampling[a:b], total=within.total[a:b])
        evidence, apart = left_out(one, its, level=level)
        parts.append(pool_groups(evidence, tau2=tau2, ci=ci, weights=weights, prediction=prediction, level=level))
        order.append(a + evidence.out)
        long_way.append(a + apart)
    rest = np.concatenate(long_way)
    block = np.cumsum(np.repeat(counts, counts)[rest]) // _CELLS
    for out in np.split(rest, np.flatnonzero(np.diff(block)) + 1):
        each = without(loci, within, out)
        parts.append(pool_groups(each, tau2=tau2, ci=ci, weights=weights, prediction=prediction, level=level))
        order.append(out)
    back = np.argsort(np.concatenate(order))
    return Pooled(
        columns={name: np.concatenate([part.columns[name] for part in parts])[back] for name in parts[0].columns},
        factors=np.concatenate([part.factors for part in parts], axis=1)[:, back],
    )


def _heaviest(within: Within, offsets: Int[np.ndarray, "groups_plus_one"]) -> Float[np.ndarray, "groups"]:
    """Return the largest share of the weight in every group, tau2 being 0."""
    weights = 1 / within.total
    largest = np.maximum.reduceat(weights, offsets[:-1]) if len(weights) else np.zeros(0)
    return largest / segment_sum(weights, offsets)


def without(loci: Packed, within: Within, out: Int[np.ndarray, "out"]) -> Whole:
    """Return one group a left-out locus, the long way: every other locus of its group is there again.

    Parameters
    ----------
    within : variances of the loci.
    out : rows to leave out.
    """
    home = np.searchsorted(loci.offsets, out, side="right") - 1
    others = np.diff(loci.offsets)[home] - 1
    offsets = np.concatenate([[0], np.cumsum(others)])
    place = np.arange(offsets[-1]) + np.repeat(loci.offsets[home] - offsets[:-1], others)
    rows = place + (place >= np.repeat(out, others))
    packed = Packed(beta=loci.beta[rows], se=loci.se[rows], factors=loci.factors[:, rows], offsets=offsets)
    return whole(packed, Within(sampling=within.sampling[rows], total=within.total[rows]))
