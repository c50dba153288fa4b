"""Estimates from halves of an ensemble put together: instruments selected by one half, effects from the other."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import linalg

from deepmr import inference, schema
from deepmr.errors import InputError
from deepmr.types import Estimates

KEY = ["method", "exposure", "outcome", "locus"]


def average_halves(parts: Sequence[Estimates], *, level: float = 0.95) -> Estimates:
    """Average estimates whose effects are from different members of one ensemble.

    Parameters
    ----------
    parts : the same methods and pairs by each part, with the error factors of that part's members alone: K_p of K.
    level : of the confidence intervals.

    Returns
    -------
    Estimates
        Rows are joined by method, pair and locus; a locus that a part has no estimate for is skipped with that part's
        reason. `n` is the mean number of instruments, rounded.

    Raises
    ------
    InputError
        Without error factors, or for confidence sets that are no estimate with a standard error.

    Notes
    -----
    The mean of P parts rests on all K members, each in one part. The parts' means are of different members, so with the
    variance B between members its error as that of one more member's effect has the variance

        (1 + sum_p 1 / (P^2 K_p)) B,   (1 + 1 / K) B for parts of one size,

    and B is estimated by the deviations within the parts, with K - P degrees of freedom. The factors of the result have
    these squares and products: each part's own are rescaled from their (1 + 1 / K_p) / (K_p - 1), freed of the
    direction that is 0 in each part, and turned so that there is one more of them than degrees of freedom, as for any
    ensemble. Selection cost degrees of freedom: 3 of 5 members instead of 4.

    The scatter of instruments about the line is taken as common to the parts: its standard error is the mean of theirs,
    which is never too small. Its degrees of freedom are those of the part with fewer instruments, less 2.
    """
    count = len(parts)
    for part in parts:
        if part.error_factors is None:
            raise InputError("estimates of halves need the errors of their members: they have none")
        sets = part.table["method"][part.table.get("n_intervals", pd.Series(np.nan, part.table.index)).notna()]
        if len(sets):
            raise InputError(f"{sets.iloc[0]} gives confidence sets, which cannot be averaged over halves")
    joined = _joined(parts)
    rows = [joined[f"row_{p}"].to_numpy(int) for p in range(count)]
    tables = [part.table.iloc[row].reset_index(drop=True) for part, row in zip(parts, rows, strict=True)]
    factors = _shared(
        [part.error_factors[:, row] for part, row in zip(parts, rows, strict=True) if part.error_factors is not None]
    )
    beta, sampling, n = (
        np.mean([table[name].to_numpy(float) for table in tables], axis=0) for name in ("beta", "se_sampling", "n")
    )
    fewest = np.min([table["n"].to_numpy(float) for table in tables], axis=0)
    error = inference.total_error(sampling**2, np.maximum(fewest - 2, 1.0), factors)
    low, high = inference.interval(beta, error.se, df=error.df, level=level)
    table = tables[0][[*KEY, "estimand"]].assign(
        beta=beta,
        se=error.se,
        ci_low=low,
        ci_high=high,
        pvalue=inference.two_sided(beta, error.se, df=error.df),
        n=np.rint(n).astype(int),
        df=error.df,
        level=level,
        se_sampling=error.sampling,
        se_member=error.member,
    )
    order = [name for name in (*schema.ESTIMATES, *schema.EXTRA) if name in table]
    return Estimates(table=table[order], skipped=_skipped(parts), error_factors=factors)


def _joined(parts: Sequence[Estimates]) -> pd.DataFrame:
    """Return the row numbers in every part of what all of them have, in the order of the first."""
    joined: pd.DataFrame | None = None
    for p, part in enumerate(parts):
        here = part.table[KEY].assign(**{f"row_{p}": np.arange(len(part.table))})
        joined = here if joined is None else joined.merge(here, on=KEY, validate="one_to_one")
    assert joined is not None
    return joined


def _skipped(parts: Sequence[Estimates]) -> pd.DataFrame:
    """Return a row for everything that some part has no estimate of, with the first part's reason."""
    gone = [
        part.skipped.assign(reason=f"half {p} of the members: " + part.skipped["reason"].astype(str))
        for p, part in enumerate(parts, 1)
    ]
    frame = pd.concat(gone, ignore_index=True)
    return frame.drop_duplicates(KEY, ignore_index=True)[list(schema.SKIPPED)]


def _shared(parts: Sequence[Float[np.ndarray, "_ rows"]]) -> Float[np.ndarray, "factors rows"]:
    """Return factors whose squares add up to the members' variance of the mean over parts."""
    sizes = np.array([len(part) for part in parts])
    spare = int((sizes - 1).sum())
    inflation = 1 + float(np.sum(1 / sizes)) / len(parts) ** 2
    contrasts = [
        np.sqrt(inflation / spare * (k - 1) / (1 + 1 / k)) * (linalg.helmert(k) @ part)
        for k, part in zip(sizes.tolist(), parts, strict=True)
    ]
    turned: np.ndarray = linalg.helmert(spare + 1).T @ np.concatenate(contrasts)
    return turned
