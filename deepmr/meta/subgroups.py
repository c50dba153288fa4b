"""Subgroups of loci: each pooled by itself, and a test of whether they differ."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from deepmr.errors import InputError
from deepmr.inference import chi2_tail
from deepmr.meta.evidence import Weighting
from deepmr.meta.grouping import GROUP
from deepmr.meta.kernel import Interval, Prediction
from deepmr.meta.pooling import pool_estimates
from deepmr.meta.tau2 import Tau2
from deepmr.types import Estimates, concat_estimates


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgroups:
    """Pooled effects of subgroups and what they differ by.

    Attributes
    ----------
    estimates : rows of all subgroups; `locus` is the subgroup.
    differences : per method, pair and estimand: `subgroups`, `q`, `q_df`, `q_pvalue` of their means being equal.
    """

    estimates: Estimates
    differences: pd.DataFrame


def pool_subgroups(
    estimates: Estimates,
    subgroup: Mapping[str, str],
    *,
    tau2: Tau2 = "REML",
    ci: Interval = "HK",
    weights: Weighting = "auto",
    prediction: Prediction = "auto",
    level: float = 0.95,
) -> Subgroups:
    """Pool subgroups of loci and test whether their means differ.

    Parameters
    ----------
    subgroup : locus -> its subgroup; every locus needs one.
    estimates, tau2, ci, weights, prediction, level : as for `pool_estimates`; every subgroup has its own tau2.

    Notes
    -----
    The test is Wald's, m' C' (C V C')^-1 C m against chi-square, C the differences between subgroups and V the
    covariance of their means: sampling variances on the diagonal and, everywhere, what members share. An error common
    to all loci moves no difference.
    """
    label = estimates.table["locus"].map(dict(subgroup))
    if label.isna().any():
        first = estimates.table["locus"][label.isna()].iloc[0]
        raise InputError(f"locus {first!r} has no subgroup; every locus needs one")
    parts = []
    for name in dict.fromkeys(label):
        part = replace(estimates.take((label == name).to_numpy()), skipped=estimates.skipped.iloc[:0])
        pooled = pool_estimates(part, tau2=tau2, ci=ci, weights=weights, prediction=prediction, level=level)
        parts.append(replace(pooled, table=pooled.table.assign(locus=str(name))))
    stacked = concat_estimates(parts)
    rows = []
    for key, index in stacked.table.groupby(GROUP, sort=False).indices.items():
        q, df = _difference(stacked, np.asarray(index))
        rows.append(
            (*np.atleast_1d(np.asarray(key, dtype=object)), len(index), q, df, float(chi2_tail(np.array(q), float(df))))
        )
    names = [*GROUP, "subgroups", "q", "q_df", "q_pvalue"]
    return Subgroups(estimates=stacked, differences=pd.DataFrame(rows, columns=names))


def _difference(pooled: Estimates, index: np.ndarray) -> tuple[float, int]:
    table = pooled.table.iloc[index]
    mean = table["beta"].to_numpy(float)
    shared = pooled.error_factors
    sampling = table["se" if shared is None else "se_sampling"].to_numpy(float) ** 2
    covariance = np.diag(sampling)
    if shared is not None:
        covariance = covariance + shared[:, index].T @ shared[:, index]
    contrast = np.eye(len(mean))[1:] - np.eye(len(mean))[0]
    moved = contrast @ mean
    inverse = np.linalg.pinv(contrast @ covariance @ contrast.T, hermitian=True)
    return float(moved @ inverse @ moved), len(mean) - 1
