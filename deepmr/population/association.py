"""Association of every variant with every trait, in a linear mixed model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.cohort import Cohort
from deepmr.errors import InputError
from deepmr.population.marker_statistics import MarkerTest, Precision
from deepmr.population.markers import OK
from deepmr.population.null_model import NullModel, OnBoundary
from deepmr.population.scan import (
    COLUMNS,
    VARIANT,
    Gamma,
    Scan,
    ToDevice,
    block_table,
    prepare_scan,
    scan_block,
    scan_rotated,
)
from deepmr.population.spectrum import Spectrum
from deepmr.schema import GENOME
from deepmr.types import SummaryStats

__all__ = [
    "ALL",
    "COLUMNS",
    "Associations",
    "Gamma",
    "Precision",
    "Progress",
    "Scan",
    "associate_variants",
    "block_table",
    "cut_blocks",
    "prepare_scan",
    "scan_block",
    "scan_rotated",
]

Progress = Callable[[int, int], None]  # variants done, variants in all
ALL = ""  # key of the spectrum that every chromosome uses


@dataclass(frozen=True, slots=True, kw_only=True)
class Associations:
    """Effects of variants on traits.

    Attributes
    ----------
    table : a row a variant and trait, `COLUMNS`; `beta` is per copy of the effect allele, `log10p` is -log10 P. Where
        `status` is not `ok`, what the test would give is missing.
    nulls : of each chromosome, or of `ALL`, the model without markers.
    trait_sd : standard deviation of each trait, by name.
    """

    table: pd.DataFrame
    nulls: dict[str, NullModel]
    trait_sd: dict[str, float]

    def to_sumstats(self, *, standardised: bool = False) -> SummaryStats:
        """Return effects and standard errors as Mendelian randomization takes them, a trait a column.

        Parameters
        ----------
        standardised : in standard deviations of each trait, not in its unit.

        Notes
        -----
        Variants that could not be tested for some trait are left out. `variants` has `eaf` and `<trait>_pvalue`.
        """
        traits = tuple(self.trait_sd)
        table = self.table
        wide = (len(table) // len(traits), len(traits))
        kept = (table["status"].to_numpy() == OK).reshape(wide).all(1)

        def column(name: str) -> np.ndarray:
            return table[name].to_numpy(float).reshape(wide)[kept]

        unit = np.array(list(self.trait_sd.values())) if standardised else np.ones(len(traits))
        variants = table.loc[:: len(traits), [*VARIANT, "eaf"]].loc[kept].reset_index(drop=True)
        variants.insert(1, "locus", GENOME)
        for name, values in zip(traits, column("pvalue").T, strict=True):
            variants[f"{name}_pvalue"] = values
        return SummaryStats(
            variants=variants,
            traits=traits,
            beta=column("beta") / unit,
            se=column("se") / unit,
            n=column("n"),
            estimand="population",
        )


def associate_variants(
    cohort: Cohort,
    spectra: Spectrum | Callable[[str], Spectrum],
    *,
    test: MarkerTest = "f",
    gamma: Gamma = "null",
    precision: Precision = "float64",
    on_boundary: OnBoundary = "ols",
    min_mac: int | float = 0.0,
    max_missing: int | float = 1.0,
    block: int = 1024,
    to_device: ToDevice | None = None,
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
    gamma
        `null`: of the model without the marker.
    precision
        Of rotated markers; sums are in double precision.
    on_boundary
        As in `fit_null`.
    min_mac, max_missing
        As in `prepare_markers`.
    block
        Variants read at a time. Changes memory and time, and results by rounding alone.
    to_device
        From an array of numpy to one of any array-API namespace, in the same precision and where products are to be
        made, such as `lambda block: torch.from_numpy(block).to("cuda")`; that device must have double precision.
    progress
        Called after every block.

    Notes
    -----
    Single precision rounds P, the marker and P a to u = 2^-24 each. Let e be the error that this leaves in P a as a
    share of its length (a'V^-1 a)^1/2: a few u, up to the square root of the ratio between a'a, weighted alike in all
    directions, and a'V^-1 a. With k = (a'V^-1 a / a'Pa)^1/2, which is 1 where covariates explain nothing of a marker,
    and d = n - f - 1, z = beta / se is then off by at most e k (d^1/2 + |z|) (1 + z^2 / d)^1/2, to first order;
    commonly by n^1/2 times less, as rounding has no part in the direction of the trait. TF32 is never asked for.

    With the same blocks and threads, results are the same to the last bit; otherwise z differs by rounding of this kind
    in double precision, less than 1e-12 in units of the largest z where k is moderate.
    """
    tables, nulls, done = [], {}, 0
    genotypes = cohort.genotypes
    variants = genotypes.variants
    for chrom, pieces in cut_blocks(variants, block, by_chromosome=not isinstance(spectra, Spectrum)):
        spectrum = spectra if isinstance(spectra, Spectrum) else spectra(chrom)
        scan = prepare_scan(
            cohort,
            spectrum,
            test=test,
            gamma=gamma,
            precision=precision,
            on_boundary=on_boundary,
            n_markers=sum(stop - start for start, stop in pieces),
            to_device=to_device,
        )
        nulls[chrom] = scan.null
        for start, stop in pieces:
            columns = scan_block(scan, genotypes.read(start, stop), min_mac=min_mac, max_missing=max_missing)
            tables.append(block_table(variants.iloc[start:stop], cohort.traits, columns))
            done += stop - start
            if progress is not None:
                progress(done, len(variants))
    sd = cohort.phenotypes.std(0, ddof=1)
    return Associations(
        table=pd.concat(tables, ignore_index=True),
        nulls=nulls,
        trait_sd=dict(zip(cohort.traits, sd.tolist(), strict=True)),
    )


def cut_blocks(
    variants: pd.DataFrame, block: int, *, by_chromosome: bool
) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Return the stretches of variants that share a spectrum, cut into blocks: the grid that results depend on.

    Parameters
    ----------
    variants : in the order of reading.
    block : variants in a block.
    by_chromosome : whether each chromosome has its own spectrum; otherwise there is one stretch, `ALL`.
    """
    checks.at_least("block", block, 1)
    if not len(variants):
        raise InputError("there must be variants to test; the genotypes have none")
    chrom = variants["chrom"].astype(str).to_numpy(object)
    cuts = np.flatnonzero(chrom[1:] != chrom[:-1]) + 1 if by_chromosome else np.zeros(0, dtype=int)
    for start, stop in pairwise([0, *cuts.tolist(), len(chrom)]):
        name = chrom[start] if by_chromosome else ALL
        yield name, [(a, min(a + block, stop)) for a in range(start, stop, block)]
