"""Hail's functions around `LinearMixedModel`, on arrays: a model from genotypes, and tests of rows of genotypes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.io.matrix_rows import MatrixRows, open_rows
from deepmr.lmm.alternatives import block_columns
from deepmr.lmm.arrays import Refused, check_dof
from deepmr.lmm.errors import ModelInputError
from deepmr.lmm.model import LinearMixedModel
from deepmr.population import markers as prepared
from deepmr.population.marker_statistics import MarkerTest
from deepmr.population.markers import prepare_markers
from deepmr.population.null_model import NullModel, OnBoundary, fit_null
from deepmr.population.projection import project

ROWS = 1024  # of genotypes at a time
ANY = -np.inf  # copies of an allele: values may be standardised, and then have none


def linear_mixed_model(
    y: np.ndarray,
    x: np.ndarray | Sequence[np.ndarray | int | float],
    z_t: np.ndarray | None = None,
    k: np.ndarray | None = None,
    p_path: str | Path | None = None,
    overwrite: bool = False,
    standardize: bool = True,
    mean_impute: bool = True,
    *,
    on_boundary: OnBoundary = "raise",
    names: Sequence[str] = (),
) -> tuple[LinearMixedModel, np.ndarray]:
    """Return a model with the relationship matrix given, or made from genotypes; and P.

    Parameters
    ----------
    y
        Response.
    x
        Fixed effects: a matrix, or a list of columns and of numbers, as 1 for the intercept.
    z_t
        Random effects, a row each, as copies of an allele; NaN where missing. Either this or `k`.
    k
        Relationship matrix, samples in the order of `y`.
    p_path, overwrite
        As in `LinearMixedModel.from_kinship`.
    standardize
        Bring each row of `z_t` to mean 0 and variance 1 / m, m rows being left: K then has mean diagonal 1. Rows that
        do not vary are left out.
    mean_impute
        Fill missing values of `z_t` by the mean of the row; otherwise refuse them.
    on_boundary, names
        As in `LinearMixedModel`.
    """
    if (z_t is None) == (k is None):
        raise ModelInputError("linear_mixed_model: set exactly one of 'z_t' and 'k'")
    design = _design(x, len(y))
    if k is not None:
        return LinearMixedModel.from_kinship(y, design, k, p_path, overwrite, on_boundary=on_boundary, names=names)
    if z_t is None:  # refused above
        raise ModelInputError("linear_mixed_model: 'z_t' is missing")
    ready = prepare_markers(np.asarray(z_t, dtype=float), min_mac=ANY, max_missing=1.0 if mean_impute else 0.0)
    bad = np.isin(ready.status, (prepared.NOT_FINITE, prepared.ALL_MISSING, prepared.TOO_MISSING))
    if bad.any():
        raise ModelInputError(
            f"linear_mixed_model: 'z_t' has missing or infinite values, first in row {int(np.argmax(bad))}"
        )
    z = ready.centred + ready.mean[:, None]
    if standardize:
        z = ready.centred[ready.status == prepared.OK]
        z = z / (z.std(1, keepdims=True) * np.sqrt(max(len(z), 1)))
    return LinearMixedModel.from_random_effects(
        y, design, np.ascontiguousarray(z.T), p_path, overwrite, on_boundary=on_boundary, names=names
    )


def linear_mixed_regression_rows(
    genotypes: np.ndarray | str | Path,
    model: LinearMixedModel,
    *,
    mean_impute: bool = True,
    partition_size: int | None = None,
    pass_through: pd.DataFrame | None = None,
    test: MarkerTest = "lrt",
) -> pd.DataFrame:
    """Test every row of genotypes as one more fixed effect of a fitted model that has its P in a file.

    Parameters
    ----------
    genotypes
        A row a marker, NaN where missing, samples in the order of the model; or a file of them
        (`deepmr.io.matrix_rows`).
    model
        Fitted, with `p_path`.
    mean_impute
        Fill missing values by the mean of the row; otherwise the row is `too_missing`.
    partition_size
        Rows at a time. Changes nothing but memory and time.
    pass_through
        A row a marker: columns to put before the results.
    test
        As in `deepmr.population.marker_statistics`.

    Returns
    -------
    table
        Columns of `Alternatives.table`, then n, eaf and mac of each marker.
    """
    if model.p_path is None:
        raise ModelInputError("linear_mixed_regression_rows: 'model' property 'p_path' was not set at initialization")
    if partition_size is not None and partition_size <= 0:
        raise ModelInputError(f"partition_size must be positive, found {partition_size}")
    check_dof(model.n, model.f + 1, Refused(model.compat))
    weighted, gamma = model.null()
    with open_rows(Path(model.p_path)) as stored:
        p = stored.read(0, stored.shape[0])
    parts = []
    for block in _genotype_blocks(genotypes, partition_size, model.n):
        ready = prepare_markers(block, min_mac=ANY, max_missing=1.0 if mean_impute else 0.0)
        # As given but for what is missing: a model without an intercept is not that of centred markers.
        whole = np.where((ready.status == prepared.OK)[:, None], ready.centred + ready.mean[:, None], 0.0)
        found = block_columns(weighted, gamma, whole @ p.T, whole if model.low_rank else None, test=test)
        found["status"] = np.where(ready.status == prepared.OK, found["status"], ready.status)
        copies = ready.mac >= 0  # otherwise the values count no alleles
        eaf, mac = (np.where(copies, values, np.nan) for values in (ready.eaf, ready.mac))
        parts.append(pd.DataFrame({**found, "n": ready.n, "eaf": eaf, "mac": mac}))
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "idx", np.arange(len(table)))
    if pass_through is None:
        return table
    if len(pass_through) != len(table):
        raise ModelInputError(f"pass_through must have a row a marker, {len(table)}; it has {len(pass_through)}")
    return pd.concat([pass_through.reset_index(drop=True), table], axis=1)


def fit_many(
    py: Float[np.ndarray, "rank traits"],
    px: Float[np.ndarray, "rank fixed"],
    s: Float[np.ndarray, "rank"],
    y: Float[np.ndarray, "samples traits"] | None = None,
    x: Float[np.ndarray, "samples fixed"] | None = None,
    *,
    bounds: tuple[float, float] = (-8.0, 8.0),
    tol: float = 1e-8,
    on_boundary: OnBoundary = "clamp",
) -> NullModel:
    """Fit many responses with the same relationship matrix and fixed effects at once, each with a gamma of its own.

    Parameters
    ----------
    py, px, s, y, x
        As in `LinearMixedModel`, but for a column a response in `py` and `y`.
    bounds, tol, on_boundary
        As in `deepmr.population.fit_null`.

    Notes
    -----
    The results of `LinearMixedModel.fit` of each response. `deepmr.population.associate_variants` tests markers
    for all of them on one rotation.
    """
    return fit_null(project(py, px, np.maximum(s, 0.0), y=y, x=x), bounds=bounds, tol=tol, on_boundary=on_boundary)


def _design(x: np.ndarray | Sequence[np.ndarray | int | float], n: int) -> np.ndarray:
    if len(x) == 0:
        raise ModelInputError("linear_mixed_model: 'x' must include at least one fixed effect")
    if isinstance(x, np.ndarray):
        return x
    return np.column_stack([np.broadcast_to(np.asarray(column, dtype=float), n) for column in x])


def _genotype_blocks(genotypes: np.ndarray | str | Path, rows: int | None, n: int) -> Iterator[np.ndarray]:
    if isinstance(genotypes, np.ndarray):
        if genotypes.ndim != 2:
            raise ModelInputError(f"genotypes must have 2 dimensions; they have {genotypes.ndim}")
        source = MatrixRows(source=genotypes, shape=(genotypes.shape[0], genotypes.shape[1]), rows=ROWS)
        _check_samples(source, n)
        yield from source.blocks(rows)
        return
    with open_rows(Path(genotypes)) as stored:
        _check_samples(stored, n)
        yield from stored.blocks(rows)


def _check_samples(source: MatrixRows, n: int) -> None:
    if source.shape[1] != n:
        raise ModelInputError(
            f"linear_mixed_regression_rows: linear mixed model expects {n} samples, but genotypes have "
            f"{source.shape[1]} columns."
        )
