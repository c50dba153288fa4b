"""Alternatives: each marker in turn as one more fixed effect, at the gamma of the null model."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.io.matrix_rows import open_rows
from deepmr.lmm.arrays import Refused
from deepmr.population import markers as prepared
from deepmr.population.marker_moments import Moments, Weighted, rotated_moments
from deepmr.population.marker_statistics import MarkerTest, marker_statistics

COLUMNS = ("idx", "beta", "sigma_sq", "chi_sq", "p_value", "se", "log10p", "status")
UNROTATED = ("markers", "matrix")  # names of A' in HDF5: as in stores of rotated markers, or in a file of its own
COLUMNS_AT_ONCE = 2048  # of an array with a column a marker

Blocks = tuple[np.ndarray, np.ndarray | None]  # rotated markers, and markers before rotation in a model of low rank


class Alternative(NamedTuple):
    """Test of one marker, as `Alternatives.table` has it."""

    idx: int
    beta: float
    sigma_sq: float
    chi_sq: float
    p_value: float
    se: float
    log10p: float
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternatives:
    """Tests of markers, in place of Hail's Table.

    Attributes
    ----------
    table : idx, beta, sigma_sq, chi_sq and p_value as Hail has them; then se, log10p (-log10 P) and status, `ok` or why
        a marker was not tested, where the numbers are missing.
    """

    table: pd.DataFrame

    def to_pandas(self) -> pd.DataFrame:
        """Return a table that the caller may change."""
        return self.table.copy()

    def collect(self) -> list[Alternative]:
        """Return a row a marker, its values as attributes."""
        return [Alternative(*row) for row in self.table[list(COLUMNS)].itertuples(index=False, name=None)]

    def __len__(self) -> int:
        return len(self.table)


def alternatives_of_blocks(
    weighted: Weighted,
    gamma: float,
    blocks: Iterable[Blocks],
    *,
    test: MarkerTest = "lrt",
) -> Alternatives:
    """Test blocks of rotated markers.

    Parameters
    ----------
    weighted : the null model.
    gamma : of the null model.
    blocks : pairs of rotated markers, (variants, rank), and the markers before rotation, (variants, samples), or None
        in a model of full rank.
    test : as in `marker_statistics`.
    """
    columns = [block_columns(weighted, gamma, rotated, whole, test=test) for rotated, whole in blocks]
    names = COLUMNS[1:]
    joined = {name: np.concatenate([part[name] for part in columns]) if columns else np.empty(0) for name in names}
    return Alternatives(table=pd.DataFrame({"idx": np.arange(len(joined["beta"])), **joined}))


def block_columns(
    weighted: Weighted,
    gamma: float,
    rotated: Float[np.ndarray, "variants rank"],
    whole: Float[np.ndarray, "variants samples"] | None,
    *,
    test: MarkerTest = "lrt",
) -> dict[str, np.ndarray]:
    """Test one block of rotated markers: columns of `Alternatives.table` but `idx`.

    Parameters
    ----------
    weighted, gamma, test : as in `alternatives_of_blocks`.
    rotated, whole : one block.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        moments = rotated_moments(weighted, rotated, whole)
        size = moments.own[:, 0] + np.abs(moments.covariates).sum((1, 2)) + np.abs(moments.residual[:, 0])
    status = _status(~np.isfinite(size), whole)
    usable = status == prepared.OK
    found = marker_statistics(_only(moments, usable), weighted.rss, n=weighted.n, fixed=weighted.fixed, test=test)
    for row in np.flatnonzero(usable & found.collinear[:, 0]):
        constant = not rotated[row].any() if whole is None else bool((whole[row] == whole[row, 0]).all())
        status[row] = prepared.MONOMORPHIC if constant else prepared.COLLINEAR
    status[(status == prepared.OK) & found.no_variance[:, 0]] = prepared.NO_VARIANCE
    values = {
        "beta": found.beta,
        "sigma_sq": gamma * found.sigma_sq,
        "chi_sq": found.chi_sq,
        "p_value": np.exp(found.log_p),
        "se": found.se,
        "log10p": -found.log_p / np.log(10.0),
    }
    tested = status == prepared.OK
    return {name: np.where(tested, column[:, 0], np.nan) for name, column in values.items()} | {"status": status}


def _status(bad: np.ndarray, whole: np.ndarray | None) -> np.ndarray:
    """Return `ok`, or what is wrong with markers whose products are not finite; rotation spreads one gap over all."""
    status = np.full(len(bad), prepared.OK, dtype=object)
    status[bad] = prepared.NOT_FINITE
    if whole is not None:
        status[bad & np.isnan(whole).all(1)] = prepared.ALL_MISSING
    return status


def _only(moments: Moments, usable: np.ndarray) -> Moments:
    """Return the moments with those of other markers at zero."""
    if usable.all():
        return moments
    return Moments(
        own=np.where(usable[:, None], moments.own, 0.0),
        covariates=np.where(usable[:, None, None], moments.covariates, 0.0),
        residual=np.where(usable[:, None], moments.residual, 0.0),
    )


@contextmanager
def row_blocks(
    pa_t: Path, a_t: Path | None, shape: tuple[int, int], step: int | None, refused: Refused
) -> Iterator[Iterator[Blocks]]:
    """Open files of markers, a row each, to read them block by block.

    Parameters
    ----------
    pa_t : of rotated markers.
    a_t : of markers before rotation, in a model of low rank.
    shape : eigenvalues and samples.
    step : rows a block; None for as many as are best read at a time.
    refused : how to raise where the shapes do not fit.
    """
    with ExitStack() as files:
        pa = files.enter_context(open_rows(pa_t))
        refused.unless(
            pa.shape[1] == shape[0], f"{pa_t}: {shape[0]} columns are needed, one an eigenvalue; it has {pa.shape[1]}"
        )
        rows = pa.rows if step is None else step
        if a_t is None:
            yield ((block, None) for block in pa.blocks(rows))
            return
        a = files.enter_context(open_rows(a_t, names=UNROTATED))
        needed = pa.shape[0], shape[1]
        refused.unless(a.shape == needed, f"{a_t}: shape {needed} is needed, markers by samples; it has {a.shape}")
        yield zip(pa.blocks(rows), a.blocks(rows), strict=True)


def column_blocks(pa: np.ndarray, a: np.ndarray | None) -> Iterator[Blocks]:
    """Cut arrays with a column a marker into blocks with a row a marker.

    Parameters
    ----------
    pa : rotated markers.
    a : markers before rotation, or None.
    """
    for start in range(0, pa.shape[1], COLUMNS_AT_ONCE):
        part = slice(start, start + COLUMNS_AT_ONCE)
        yield pa[:, part].T.astype(float, copy=False), None if a is None else a[:, part].T.astype(float, copy=False)
