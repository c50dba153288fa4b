"""A block of markers made ready: missing genotypes filled, columns centred, and what cannot be tested named."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

OK = "ok"
MONOMORPHIC = "monomorphic"
ALL_MISSING = "all_missing"
COLLINEAR = "collinear"
LOW_MAC = "low_mac"
TOO_MISSING = "too_missing"
NOT_FINITE = "not_finite"
NO_VARIANCE = "no_variance"  # nothing is left of the trait after marker and covariates


@dataclass(frozen=True, slots=True, kw_only=True)
class Markers:
    """Genotypes of a block without missing values.

    Attributes
    ----------
    centred : less the mean of each marker, which is also what a missing genotype gets; 0 where `status` is not ok.
    mean : of each marker.
    n : samples with a genotype.
    eaf : frequency of the effect allele, mean / 2; NaN where no genotype is there.
    mac : copies of the rarer allele.
    status : `ok`, or why a marker cannot be tested.
    """

    centred: Float[np.ndarray, "variants samples"]
    mean: Float[np.ndarray, "variants"]
    n: Float[np.ndarray, "variants"]
    eaf: Float[np.ndarray, "variants"]
    mac: Float[np.ndarray, "variants"]
    status: np.ndarray


def prepare_markers(
    dosages: Float[np.ndarray, "variants samples"],
    *,
    min_mac: float = 0.0,
    max_missing: float = 1.0,
    dtype: type[np.floating] = np.float64,
) -> Markers:
    """Fill, centre and check a block of markers.

    Parameters
    ----------
    dosages : copies of the effect allele, NaN where missing.
    min_mac : least copies of the rarer allele; markers with fewer are `low_mac`.
    max_missing : largest share of missing genotypes; markers with more are `too_missing`.
    dtype : of the centred genotypes.
    """
    values = dosages.astype(dtype)  # a copy: inputs stay as they are
    samples = values.shape[1]
    total = values.sum(1, dtype=float)
    n = np.full(len(values), float(samples))
    gaps = ~np.isfinite(total)
    infinite = np.zeros(len(values), dtype=bool)
    if gaps.any():
        rows = np.flatnonzero(gaps)
        infinite[rows] = np.isinf(values[rows]).any(1)
        there = np.isfinite(values[rows])
        n[rows] = there.sum(1)
        total[rows] = np.where(there, values[rows], 0.0).sum(1, dtype=float)
    mean = total / np.maximum(n, 1)
    values -= mean[:, None].astype(dtype)
    if gaps.any():
        values[rows] = np.where(there, values[rows], 0.0)
    largest = np.maximum(values.max(1, initial=0.0), -values.min(1, initial=0.0))
    status = np.full(len(values), OK, dtype=object)
    copies = np.minimum(total, 2 * n - total)
    status[largest <= 16 * np.finfo(dtype).eps * np.abs(mean)] = MONOMORPHIC
    ok = status == OK
    status[ok & (copies < min_mac)] = LOW_MAC
    status[ok & (n < (1 - max_missing) * samples)] = TOO_MISSING
    status[infinite] = NOT_FINITE
    status[(n == 0) & ~infinite] = ALL_MISSING
    values[status != OK] = 0.0
    return Markers(
        centred=values,
        mean=mean,
        n=n,
        eaf=np.where(n > 0, mean / 2, np.nan),
        mac=np.where(n > 0, copies, np.nan),
        status=status,
    )
