"""Errors of effects of loci that ensemble members share, apart from what is each locus's own."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.inference import moderate_variances

_FLOOR = 1e-12  # smallest error variance, as a share of the largest, or of the scatter of effects


def split_errors(
    table: pd.DataFrame, factors: Float[np.ndarray, "factors loci"] | None, contexts: Float[np.ndarray, "loci contexts"]
) -> tuple[Float[np.ndarray, "loci"], Float[np.ndarray, "_ loci"] | None]:
    """Return standard errors of what is a locus's own, and factors of what loci share (`locus_effects_from` says how).

    Parameters
    ----------
    table : of estimates.
    factors : of their shared errors.
    contexts : of the loci.
    """
    beta, whole = table["beta"].to_numpy(float), table["se"].to_numpy(float) ** 2
    shared = None
    variance = whole
    if factors is not None and factors.any():
        sampling = (
            table["se_sampling"].to_numpy(float) ** 2 if "se_sampling" in table.columns else np.full(len(beta), np.nan)
        )
        sampling = np.where(np.isfinite(sampling), sampling, np.maximum(whole - (factors**2).sum(axis=0), 0.0))
        trend, shared = _trend(factors, contexts)
        rest = ((factors - trend) ** 2).sum(axis=0)
        rest[rest <= 1e-24 * (factors**2).sum(axis=0)] = 0.0
        variance = sampling + moderate_variances(rest, float(max(len(factors) - 1, 1)))
    floor = _FLOOR * max(float(variance.max()), float(beta.var()))
    return np.sqrt(np.maximum(variance, floor if floor > 0 else 1.0)), shared


def _trend(
    factors: Float[np.ndarray, "factors loci"], contexts: Float[np.ndarray, "loci contexts"]
) -> tuple[Float[np.ndarray, "factors loci"], Float[np.ndarray, "_ loci"]]:
    """Return the part of members' errors that all loci have alike or, of enough loci, linear in contexts.

    And factors of its covariance with the directions taken as independent: a few members tell the size of the error
    along each, and no correlation between them.
    """
    n, p = contexts.shape
    spread = contexts.std(axis=0)
    use = spread > _FLOOR * np.maximum(np.abs(contexts).max(axis=0), 1e-300)
    columns = (contexts[:, use] - contexts[:, use].mean(axis=0)) / spread[use]
    basis = np.full((n, 1), 1 / np.sqrt(n))
    if n > 5 * (p + 1) and columns.shape[1]:
        left, size, _ = np.linalg.svd(columns, full_matrices=False)
        basis = np.column_stack([basis, left[:, size > 1e-8 * size[0]]])
    trend: np.ndarray = factors @ basis
    return trend @ basis.T, np.sqrt((trend**2).sum(axis=0))[:, None] * basis.T


def factor_df(factors: Float[np.ndarray, "factors loci"]) -> float:
    """Return members less one; a factor of 0 only fills up a table in which others have more.

    Parameters
    ----------
    factors : a row a member.
    """
    return float(max(int(np.any(factors != 0, axis=1).sum()) - 1, 1))
