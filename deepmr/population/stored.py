"""Association of markers that were rotated before, so that further traits cost no rotation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.cohort import Cohort
from deepmr.errors import InputError
from deepmr.population.association import Associations, Precision, Progress, cut_blocks
from deepmr.population.marker_statistics import MarkerTest
from deepmr.population.null_model import OnBoundary
from deepmr.population.scan import Gamma, Scan, block_table, prepare_scan, scan_rotated
from deepmr.population.spectrum import Spectrum


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlock:
    """A block of rotated markers.

    Attributes
    ----------
    rotated : P a of each centred marker.
    markers : before rotation, where the spectrum has low rank; otherwise None.
    about : mean, n, eaf, mac and status of each marker.
    """

    rotated: Float[np.ndarray, "variants rank"]
    markers: Float[np.ndarray, "variants samples"] | None
    about: dict[str, np.ndarray]


@runtime_checkable
class RotatedMarkers(Protocol):
    """Rotated markers that are read a block at a time, such as `deepmr.io.marker_store.MarkerStore`."""

    @property
    def variants(self) -> pd.DataFrame:
        """As in `Genotypes`."""

    @property
    def samples(self) -> pd.Index:
        """As in `Genotypes`."""

    @property
    def block(self) -> int:
        """Variants that were rotated together."""

    @property
    def precision(self) -> Precision:
        """Of the rotation."""

    def read(self, start: int, stop: int) -> StoredBlock:
        """Return variants start to stop."""

    def check_spectrum(self, chrom: str, spectrum: Spectrum) -> None:
        """Raise `InputError` unless a chromosome's markers were rotated by this spectrum."""


def associate_stored(
    store: RotatedMarkers,
    cohort: Cohort,
    spectra: Spectrum | Callable[[str], Spectrum],
    *,
    test: MarkerTest = "f",
    gamma: Gamma = "null",
    on_boundary: OnBoundary = "ols",
    progress: Progress | None = None,
) -> Associations:
    """Test every stored variant for association with every trait.

    Parameters
    ----------
    store
        Of these samples, in this order, rotated by these spectra. Its precision and its limits of missing genotypes and
        rare alleles hold.
    cohort
        Without missing phenotypes (`Cohort.complete`); its genotypes are not read.
    spectra
        With which the store was written.
    test, gamma, on_boundary, progress
        As in `associate_variants`.

    Notes
    -----
    The results are those of `associate_variants` with the same blocks and precision, to the last bit where there are
    several traits or the spectrum is of low rank; for one trait that function takes a shorter way to the same numbers,
    which rounds otherwise.
    """
    check_stored_samples(store, cohort)
    variants, done = store.variants, 0
    tables, nulls = [], {}
    for chrom, pieces in cut_blocks(variants, store.block, by_chromosome=not isinstance(spectra, Spectrum)):
        spectrum = spectra if isinstance(spectra, Spectrum) else spectra(chrom)
        store.check_spectrum(chrom, spectrum)
        scan = prepare_scan(
            cohort,
            spectrum,
            test=test,
            gamma=gamma,
            precision=store.precision,
            on_boundary=on_boundary,
            n_markers=0,  # no triangular factor: markers are rotated
        )
        nulls[chrom] = scan.null
        for start, stop in pieces:
            tables.append(block_table(variants.iloc[start:stop], cohort.traits, scan_stored(scan, store, start, stop)))
            done += stop - start
            if progress is not None:
                progress(done, len(variants))
    sd = cohort.phenotypes.std(0, ddof=1)
    return Associations(
        table=pd.concat(tables, ignore_index=True),
        nulls=nulls,
        trait_sd=dict(zip(cohort.traits, sd.tolist(), strict=True)),
    )


def scan_stored(scan: Scan, store: RotatedMarkers, start: int, stop: int) -> dict[str, np.ndarray]:
    """Test a block of stored markers; the columns of `scan_block`.

    Parameters
    ----------
    scan : of `prepare_scan`.
    store : rotated by the scan's spectrum.
    start, stop : variants.
    """
    part = store.read(start, stop)
    return scan_rotated(scan, part.rotated, part.about, markers=part.markers)


def check_stored_samples(store: RotatedMarkers, cohort: Cohort) -> None:
    """Raise `InputError` unless store and cohort have the same samples in the same order.

    Parameters
    ----------
    store, cohort : to compare.
    """
    theirs, ours = (pd.Index(one.samples).astype(str) for one in (store, cohort))
    if len(theirs) == len(ours) and bool((theirs == ours).all()):
        return
    same = "the same samples in another order" if set(theirs) == set(ours) else f"{len(theirs)} samples"
    raise InputError(f"rotated markers must be of the cohort's {len(ours)} samples in its order; they are of {same}")
