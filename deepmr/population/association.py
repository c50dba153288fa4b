"""Association of every variant with every trait, in a linear mixed model."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.cohort import Cohort
from deepmr.errors import InputError
from deepmr.population import markers as prepared
from deepmr.population.marker_moments import (
    Moments,
    Weighted,
    rotated_moments,
    triangular_factor,
    triangular_moments,
    weigh,
)
from deepmr.population.marker_statistics import MarkerTest, Tested, marker_statistics
from deepmr.population.markers import Markers, prepare_markers
from deepmr.population.null_model import NullModel, OnBoundary, fit_null
from deepmr.population.projection import project
from deepmr.population.spectrum import Spectrum

Gamma = Literal["null", "exact"]
Precision = Literal["float64", "float32"]
Progress = Callable[[int, int], None]  # variants done, variants in all
ALL = ""  # key of the spectrum that every chromosome uses
COLUMNS = (
    *("variant_id", "chrom", "pos", "effect_allele", "other_allele", "trait", "beta", "se", "sigma_sq", "chi_sq"),
    *("pvalue", "log10p", "n", "eaf", "mac", "status"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Associations:
    """Effects of variants on traits.

    Attributes
    ----------
    table : a row a variant and trait, `COLUMNS`; `beta` is per copy of the effect allele, `log10p` is -log10 P. Where
        `status` is not `ok`, what the test would give is missing.
    nulls : of each chromosome, or of `ALL`, the model without markers.
    """

    table: pd.DataFrame
    nulls: dict[str, NullModel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """All that tests of one chromosome's markers need: made once, used for every block, never changed."""

    null: NullModel
    weighted: Weighted
    spectrum: Spectrum
    factor: np.ndarray | None  # triangular, for one trait of full rank
    columns: np.ndarray | None
    test: MarkerTest
    dtype: type[np.floating]
    vectors: np.ndarray


def prepare_scan(
    cohort: Cohort,
    spectrum: Spectrum,
    *,
    test: MarkerTest = "f",
    precision: Precision = "float64",
    on_boundary: OnBoundary = "ols",
) -> Scan:
    """Fit the null model of every trait, and make it ready for blocks of markers.

    Parameters
    ----------
    cohort : without missing phenotypes (`Cohort.complete`).
    spectrum : of the relationship matrix of these samples, in this order.
    test, precision, on_boundary : as in `associate_variants`.
    """
    if spectrum.n != len(cohort):
        raise InputError(f"the spectrum is of {spectrum.n} samples, the cohort has {len(cohort)}")
    checks.finite("phenotypes", cohort.phenotypes)
    y, x, p = cohort.phenotypes, cohort.design, spectrum.vectors
    whole = {"y": y, "x": x} if spectrum.low_rank else {}
    model = project(p @ y, p @ x, spectrum.eigenvalues, names=cohort.design_names, **whole)
    null = fit_null(model, on_boundary=on_boundary)
    weighted = weigh(null, **whole)
    dtype = np.float64 if precision == "float64" else np.float32
    factor = columns = None
    if not spectrum.low_rank and len(cohort.traits) == 1:
        factor, columns = (part.astype(dtype, copy=False) for part in triangular_factor(weighted, p))
    return Scan(
        null=null,
        weighted=weighted,
        spectrum=spectrum,
        factor=factor,
        columns=columns,
        test=test,
        dtype=dtype,
        vectors=p.astype(dtype, copy=False),
    )


def scan_block(
    scan: Scan, dosages: np.ndarray, *, min_mac: float = 0.0, max_missing: float = 1.0
) -> dict[str, np.ndarray]:
    """Test a block of markers: columns of variants by traits, or of variants.

    Parameters
    ----------
    scan : of `prepare_scan`.
    dosages : (variants, samples), NaN where missing.
    min_mac, max_missing : as in `prepare_markers`.
    """
    ready = prepare_markers(dosages, min_mac=min_mac, max_missing=max_missing, dtype=scan.dtype)
    moments = _moments(scan, ready)
    found = marker_statistics(moments, scan.weighted.rss, n=scan.weighted.n, fixed=scan.weighted.fixed, test=scan.test)
    return _columns(ready, found)


def associate_variants(
    cohort: Cohort,
    spectra: Spectrum | Callable[[str], Spectrum],
    *,
    test: MarkerTest = "f",
    precision: Precision = "float64",
    on_boundary: OnBoundary = "ols",
    min_mac: float = 0.0,
    max_missing: float = 1.0,
    block: int = 1024,
    progress: Progress | None = None,
) -> Associations:
    """Test every variant for association with every trait.

    Parameters
    ----------
    cohort
        Without missing phenotypes (`Cohort.complete`).
    spectra
        Of the relationship matrix; or a function from a chromosome to the one for its variants, made without them.
    test
        As in `marker_statistics`.
    precision
        Of the products with genotypes; sums are in double precision.
    on_boundary
        As in `fit_null`.
    min_mac, max_missing
        As in `prepare_markers`.
    block
        Variants read at a time. Changes nothing but memory and time.
    progress
        Called after every block.
    """
    tables, nulls, done = [], {}, 0
    variants = cohort.genotypes.variants
    for chrom, pieces in _pieces(variants, block, by_chromosome=not isinstance(spectra, Spectrum)):
        spectrum = spectra if isinstance(spectra, Spectrum) else spectra(chrom)
        scan = prepare_scan(cohort, spectrum, test=test, precision=precision, on_boundary=on_boundary)
        nulls[chrom] = scan.null
        for start, stop in pieces:
            columns = scan_block(scan, cohort.genotypes.read(start, stop), min_mac=min_mac, max_missing=max_missing)
            tables.append(block_table(variants.iloc[start:stop], cohort.traits, columns))
            done += stop - start
            if progress is not None:
                progress(done, len(variants))
    return Associations(table=pd.concat(tables, ignore_index=True), nulls=nulls)


def block_table(variants: pd.DataFrame, traits: tuple[str, ...], columns: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the tests of a block as a table, a row a variant and trait.

    Parameters
    ----------
    variants : of the block.
    traits : names.
    columns : of `scan_block`.
    """
    times = len(traits)
    rows = variants.loc[variants.index.repeat(times), list(COLUMNS[:5])].reset_index(drop=True)
    rows["trait"] = np.tile(np.array(traits, dtype=object), len(variants))
    for name in COLUMNS[6:]:
        values = columns[name]
        rows[name] = values.ravel() if values.ndim == 2 else np.repeat(values, times)
    return rows


def _pieces(variants: pd.DataFrame, block: int, *, by_chromosome: bool) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Return the stretches of a chromosome each, cut into blocks."""
    checks.at_least("block", block, 1)
    chrom = variants["chrom"].astype(str).to_numpy(object)
    if by_chromosome:
        cuts = np.flatnonzero(chrom[1:] != chrom[:-1]) + 1
        edges = [0, *cuts.tolist(), len(chrom)] if len(chrom) else [0]
    else:
        edges = [0, len(chrom)]
    for start, stop in pairwise(edges):
        name = chrom[start] if by_chromosome else ALL
        yield name, [(a, min(a + block, stop)) for a in range(start, stop, block)]


def _moments(scan: Scan, ready: Markers) -> Moments:
    if scan.factor is not None and scan.columns is not None:
        return triangular_moments(scan.weighted, scan.factor, scan.columns, ready.centred)
    rotated = ready.centred @ scan.vectors.T
    return rotated_moments(scan.weighted, rotated, ready.centred if scan.spectrum.low_rank else None)


def _columns(ready: Markers, found: Tested) -> dict[str, np.ndarray]:
    traits = found.beta.shape[1]
    status = np.repeat(ready.status[:, None], traits, axis=1)
    status[found.collinear & (status == prepared.OK)] = prepared.COLLINEAR
    tested = status == prepared.OK
    values = {
        "beta": found.beta,
        "se": found.se,
        "sigma_sq": found.sigma_sq,
        "chi_sq": found.chi_sq,
        "pvalue": np.exp(found.log_p),
        "log10p": -found.log_p / np.log(10.0),
    }
    return {name: np.where(tested, column, np.nan) for name, column in values.items()} | {
        "n": ready.n,
        "eaf": ready.eaf,
        "mac": ready.mac,
        "status": status,
    }
