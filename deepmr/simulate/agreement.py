"""Estimates beside the truths of the very loci that they are of: joined by locus and direction, never by row."""

import pandas as pd

from deepmr import checks
from deepmr.errors import InputError

_KEY = ["exposure", "outcome", "locus"]
_ESTIMATED = ("method", *_KEY, "beta", "ci_low", "ci_high")
_TRUE = (*_KEY, "beta", "kind", "definition")


def join_truth(estimates: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Put the true effect beside every local estimate.

    Parameters
    ----------
    estimates : one row a locus and method, such as `Estimates.table`; no rows that are pooled over loci.
    truth : `true_effects`, of one or of both directions, of one definition; or `truth.tsv`.

    Returns
    -------
    The estimates in their order, with `truth`, `kind` and `definition` of their locus.

    Raises
    ------
    InputError : when a locus has two truths in one direction, or an estimate has none.
    """
    checks.columns("estimates", estimates.columns, _ESTIMATED)
    checks.columns("truth", truth.columns, _TRUE)
    keys = pd.MultiIndex.from_frame(truth[_KEY].astype(str))
    if keys.has_duplicates:
        exposure, outcome, locus = keys[keys.duplicated()][0]
        raise InputError(
            f"locus {locus!r} has several true effects of {exposure} on {outcome}; truths must be of one run"
        )
    wanted = pd.MultiIndex.from_frame(estimates[_KEY].astype(str))
    row = keys.get_indexer(wanted)
    if (row < 0).any():
        exposure, outcome, locus = wanted[row < 0][0]
        raise InputError(
            f"{int((row < 0).sum())} of {len(row)} estimates have no true effect, first that of {exposure} on "
            f"{outcome} at locus {locus!r}: estimates and truth must be of the same loci"
        )
    found = truth.iloc[row]
    return estimates.assign(
        truth=found["beta"].to_numpy(float),
        kind=found["kind"].to_numpy(object),
        definition=found["definition"].to_numpy(object),
    )


def summarise_agreement(estimates: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Compare the mean estimate with the mean truth of the same loci, by method, direction and kind of locus.

    Parameters
    ----------
    estimates, truth : as in `join_truth`; each method at most once a locus and direction.

    Returns
    -------
    One row a method, direction and kind: `n_loci` estimated, `n_left_out` that have a truth and no estimate; `beta` and
    `truth`, means over the loci estimated, `difference`; `truth_all`, the mean over all loci, which is another
    quantity where loci drop out; `rmse` and `coverage` of the local intervals.

    Raises
    ------
    InputError : as `join_truth`, or when a method has two estimates of one locus and direction.
    """
    joined = join_truth(estimates, truth)
    twice = joined.duplicated(["method", *_KEY])
    if twice.any():
        row = joined[twice].iloc[0]
        raise InputError(f"method {row['method']} has several estimates of locus {row['locus']!r}")
    names = ["exposure", "outcome", "kind"]
    every = {str(key): group["beta"] for key, group in truth.astype(dict.fromkeys(names, str)).groupby(names)}
    rows = []
    grouped = joined.astype(dict.fromkeys(("method", *names), str)).groupby(["method", *names], sort=False)
    for key, group in grouped:
        method, exposure, outcome, kind = key
        whole = every[str((exposure, outcome, kind))]
        error = group["beta"] - group["truth"]
        rows.append(
            {
                **{"method": method, "exposure": exposure, "outcome": outcome, "kind": kind},
                "definition": group["definition"].iloc[0],
                "n_loci": len(group),
                "n_left_out": len(whole) - len(group),
                "beta": group["beta"].mean(),
                "truth": group["truth"].mean(),
                "difference": error.mean(),
                "truth_all": whole.mean(),
                "rmse": (error**2).mean() ** 0.5,
                "coverage": group["truth"].between(group["ci_low"], group["ci_high"]).mean(),
            }
        )
    return pd.DataFrame(rows)
