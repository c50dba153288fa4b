"""A block of markers made ready: missing genotypes filled, columns centred, and what cannot be tested named."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real

OK = "ok"
MONOMORPHIC = "monomorphic"
ALL_MISSING = "all_missing"
COLLINEAR = "collinear"  # a sum of covariates
LOW_MAC = "low_mac"
TOO_MISSING = "too_missing"
NOT_FINITE = "not_finite"
NO_VARIANCE = "no_variance"  # nothing is left of the trait after marker and covariates

MISSING = -127  # what a missing genotype is in arrays of integers, as PLINK readers write it
CACHE = 1 << 18  # bytes of markers that are made ready together, so that each is read from memory once
CONSTANT = 16  # rounding errors of the largest dosage: those of a monomorphic marker differ by no more
EDGE = 1e-6  # beyond 0 and 2, where imputed dosages of a diploid genotype may still lie


@dataclass(frozen=True, slots=True, kw_only=True)
class Markers:
    """Genotypes of a block without missing values.

    Attributes
    ----------
    centred : less the mean of each marker, which is also what a missing genotype gets; 0 where `status` is not ok.
    mean : of each marker.
    n : samples with a genotype.
    eaf : frequency of the effect allele, mean / 2; NaN where dosages are not all between 0 and 2.
    mac : copies of the rarer allele; NaN where `eaf` is.
    status : `ok`, or why a marker cannot be tested: the first that applies of `not_finite`, `all_missing`,
        `too_missing`, `monomorphic` and `low_mac`.
    """

    centred: Float[np.ndarray, "variants samples"]
    mean: Float[np.ndarray, "variants"]
    n: Float[np.ndarray, "variants"]
    eaf: Float[np.ndarray, "variants"]
    mac: Float[np.ndarray, "variants"]
    status: np.ndarray


def prepare_markers(
    dosages: Real[np.ndarray, "variants samples"],
    *,
    min_mac: int | float = 0.0,
    max_missing: int | float = 1.0,
    dtype: type[np.floating] = np.float64,
) -> Markers:
    """Fill, centre and check a block of markers.

    Parameters
    ----------
    dosages
        Copies of the effect allele, NaN where missing; in an array of integers, -127.
    min_mac
        Least copies of the rarer allele; markers with fewer are `low_mac`. Markers whose dosages are not copies of an
        allele, between 0 and 2, are not held to it.
    max_missing
        Largest share of missing genotypes; markers with more are `too_missing`.
    dtype
        Of the centred genotypes.
    """
    variants, samples = dosages.shape
    centred = np.empty((variants, samples), dtype=dtype)
    mean, n, low, high = (np.zeros(variants) for _ in range(4))
    infinite = np.zeros(variants, dtype=bool)
    rows = max(1, CACHE // (centred.itemsize * max(samples, 1)))
    for start in range(0, variants, rows):
        at = slice(start, start + rows)
        _fill(dosages[at], centred[at], mean[at], n[at], low[at], high[at], infinite[at])
    copies = (low >= -EDGE) & (high <= 2 + EDGE) & (n > 0) & ~infinite
    mac = np.where(copies, n * np.maximum(np.minimum(mean, 2 - mean), 0.0), np.nan)
    same = high - low <= CONSTANT * np.finfo(dtype).eps * np.maximum(np.abs(low), np.abs(high))
    status = np.full(variants, OK, dtype=object)
    status[mac < min_mac] = LOW_MAC
    status[same] = MONOMORPHIC
    status[samples - n > max_missing * samples] = TOO_MISSING
    status[n == 0] = ALL_MISSING
    status[infinite] = NOT_FINITE
    centred[status != OK] = 0.0
    mean[n == 0] = np.nan
    return Markers(
        centred=centred,
        mean=mean,
        n=n,
        eaf=np.where(copies, np.clip(mean / 2, 0.0, 1.0), np.nan),
        mac=mac,
        status=status,
    )


def _fill(
    dosages: np.ndarray,
    centred: np.ndarray,
    mean: np.ndarray,
    n: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    infinite: np.ndarray,
) -> None:
    """Write the centred dosages of a few markers, their means, counts, least and largest values."""
    samples = dosages.shape[1]
    centred[...] = dosages
    if dosages.dtype.kind == "i" and np.iinfo(dosages.dtype).min <= MISSING:
        centred[dosages == MISSING] = np.nan
    total = centred.sum(1, dtype=float)
    n[:] = samples
    low[:], high[:] = centred.min(1, initial=np.inf), centred.max(1, initial=-np.inf)
    gaps = np.flatnonzero(~np.isfinite(total))
    if len(gaps):
        some = centred[gaps]
        there = np.isfinite(some)
        n[gaps] = there.sum(1)
        infinite[gaps] = np.isinf(some).any(1)
        total[gaps] = np.where(there, some, 0.0).sum(1, dtype=float)
        infinite[gaps] |= ~np.isfinite(total[gaps])
        low[gaps], high[gaps] = (
            np.where(there, some, np.inf).min(1, initial=np.inf),
            np.where(there, some, -np.inf).max(1, initial=-np.inf),
        )
    mean[:] = np.where(infinite, 0.0, total) / np.maximum(n, 1)
    centred -= mean[:, None].astype(centred.dtype)
    if len(gaps):
        centred[gaps] = np.where(there, centred[gaps], 0.0)
