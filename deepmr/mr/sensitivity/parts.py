"""Instruments taken apart: each by itself, or all but one, as loci of their own."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Int

from deepmr import schema
from deepmr.mr.sensitivity.findings import home
from deepmr.types import Estimates, Instruments

_ROWS = 1_000_000  # instruments of one batch of refits


def each_alone(instruments: Instruments) -> Instruments:
    """Return every instrument as a locus of its own, named by its row number."""
    rows = len(instruments.variants)
    return replace(
        instruments,
        loci=tuple(map(str, range(rows))),
        offsets=np.arange(rows + 1),
        correlation=None if instruments.correlation is None else (np.ones((1, 1)),) * rows,
    )


def without_each(instruments: Instruments, rows: Int[np.ndarray, "left_out"]) -> Iterator[Instruments]:
    """Yield, for each of these instruments, the others of its locus as a locus named by its row number; in batches."""
    place = home(instruments)[rows]
    starts, kept = instruments.offsets[place], instruments.counts[place] - 1
    batch = np.concatenate([[0], np.cumsum(kept)]) // _ROWS
    for number in np.unique(batch[:-1]):
        chosen = np.flatnonzero(batch[:-1] == number)
        sizes = kept[chosen]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
        index = np.repeat(starts[chosen], sizes) + within
        index += index >= np.repeat(rows[chosen], sizes)
        yield _others(instruments, rows[chosen], place[chosen], index, offsets)


def _others(
    instruments: Instruments,
    rows: Int[np.ndarray, "left_out"],
    place: Int[np.ndarray, "left_out"],
    index: Int[np.ndarray, "kept"],
    offsets: Int[np.ndarray, "_"],
) -> Instruments:
    matrices = instruments.correlation
    if matrices is not None:
        within = rows - instruments.offsets[place]
        matrices = tuple(
            np.delete(np.delete(matrices[i], j, axis=0), j, axis=1) for i, j in zip(place, within, strict=True)
        )
    return replace(
        instruments,
        loci=tuple(map(str, rows)),
        offsets=offsets,
        variants=instruments.variants.iloc[index].reset_index(drop=True),
        beta_exposure=instruments.beta_exposure[index],
        se_exposure=instruments.se_exposure[index],
        beta_outcome=instruments.beta_outcome[index],
        se_outcome=instruments.se_outcome[index],
        error_factors=None if instruments.error_factors is None else instruments.error_factors[:, index],
        correlation=matrices,
        n=None if instruments.n is None else instruments.n[index],
    )


def as_rows(estimates: Estimates, instruments: Instruments, *, column: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return estimates of loci that are named by row numbers as rows of the instruments' loci, and the skipped ones.

    Parameters
    ----------
    column : that gets the variant.
    """
    table, skipped = estimates.table, estimates.skipped
    found = _named(table, instruments, column)
    gone = _named(skipped, instruments, column)
    gone["reason"] = [f"{variant}: {why}" for variant, why in zip(gone[column], gone["reason"], strict=True)]
    return found, gone[list(schema.SKIPPED)]


def _named(frame: pd.DataFrame, instruments: Instruments, column: str) -> pd.DataFrame:
    rows = frame["locus"].to_numpy(str).astype(int) if len(frame) else np.zeros(0, dtype=int)
    loci = np.asarray(instruments.loci, dtype=object)
    variants = instruments.variants["variant_id"].to_numpy(object)
    named = frame.assign(locus=loci[home(instruments)[rows]], row=rows)
    named[column] = variants[rows]
    return named


def whole_last(
    parts: pd.DataFrame, wholes: pd.DataFrame, instruments: Instruments, *, column: str, analysis: str
) -> pd.DataFrame:
    """Return the rows of each locus in the order of its instruments, then those of all of them, marked '*'."""
    wholes = wholes.assign(row=len(instruments.variants))
    wholes[column] = "*"
    both = pd.concat([parts, wholes], ignore_index=True) if len(parts) else wholes
    place = {locus: i for i, locus in enumerate(instruments.loci)}
    order = np.lexsort((both["row"].to_numpy(int), both["locus"].map(place).to_numpy(int)))
    names = [name for name in schema.SENSITIVITY[analysis] if name in both]
    return both.iloc[order].reset_index(drop=True)[names]
