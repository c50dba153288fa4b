"""The scan of `deepmr lmm`: block by block into tables, and into what figures and summary need of them."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from deepmr.cluster import Run, backend, cut_tasks, scan_tasks, take_shard
from deepmr.cohort import Cohort
from deepmr.commands.progress import meter
from deepmr.errors import InputError
from deepmr.instruments.clumping import clump_by_distance, has_position
from deepmr.io.associations import AssociationWriter
from deepmr.population.association import ALL, Gamma, Precision, Scan, block_table, cut_blocks, prepare_scan
from deepmr.population.error_correlation import (
    CrossTraitCorrelation,
    TraitScores,
    cross_trait_correlation,
    independent_markers,
    score_traits,
)
from deepmr.population.inflation import Spread
from deepmr.population.marker_statistics import MarkerTest
from deepmr.population.null_model import NullModel, OnBoundary
from deepmr.population.projection import project
from deepmr.population.scan import fit_cohort
from deepmr.population.spectrum import Spectrum
from deepmr.report.association import Heritability, ScannedTrait
from deepmr.report.genome import GenomeAxis, genome_axis
from deepmr.report.manhattan import GENOME_WIDE, Thinned

log = logging.getLogger(__name__)

BLOCKS = 4  # that a worker of a cluster gets at once
RETRIES = 2  # of tasks whose worker on a cluster is lost
SETS = 8  # sets of samples up to which errors are correlated: each keeps its eigenvectors

SpectrumOf = Callable[[Int[np.ndarray, "rows"], str], Spectrum]  # of these samples, without this chromosome


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How markers are tested; the options of `deepmr lmm`."""

    test: MarkerTest = "f"
    gamma: Gamma = "null"
    precision: Precision = "float64"
    on_boundary: OnBoundary = "ols"
    min_mac: float = 0.0
    max_missing: float = 1.0
    block: int = 1024
    loco: bool = False
    kinship_min_maf: float = 0.01
    threads: int = 1
    dask: str | None = None
    shard: str | None = None

    @property
    def where(self) -> str:
        """Where blocks are tested, as `cluster.backend` has it."""
        if self.dask is not None:
            return self.dask
        return "threads" if self.threads > 1 else "synchronous"

    @property
    def n_threads(self) -> int | None:
        """Threads of linear algebra: all that there are for one block at a time, otherwise one a block."""
        return None if self.where == "synchronous" else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Variants that are tested with one null model: of which set of samples, and how many, in this shard or not."""

    part: int
    chrom: str
    n_markers: int


Blocks = tuple[Stretch, list[tuple[int, int]]]


@dataclass(slots=True, kw_only=True)
class Digest:
    """What is kept of one trait's scan.

    Attributes
    ----------
    n : samples with the trait.
    heritability : by the chromosome that was left out, `ALL` for none.
    hits : rows of the table at P < 5e-8, with the variant's row as `index`.
    """

    n: int
    heritability: dict[str, Heritability] = field(default_factory=dict)
    spread: Spread = field(default_factory=Spread)
    thinned: Thinned = field(default_factory=Thinned)
    statuses: Counter[str] = field(default_factory=Counter)
    hits: list[pd.DataFrame] = field(default_factory=list)

    def add(self, rows: pd.DataFrame, index: Int[np.ndarray, "variants"], place: Float[np.ndarray, "variants"]) -> None:
        """Take in a block.

        Parameters
        ----------
        rows : of the table, this trait's.
        index : rows of the variants.
        place : of the variants on the axis of the genome.
        """
        log10p = rows["log10p"].to_numpy(float)
        self.spread.add(log10p)
        self.thinned.add(index, place, log10p)
        self.statuses.update(rows["status"].tolist())
        hit = log10p > -np.log10(GENOME_WIDE)
        if hit.any():
            self.hits.append(rows[hit].assign(index=index[hit], place=place[hit]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """The digests of all traits, by name, on one axis; the correlation of their effects' errors.

    It is None of one trait, and of traits measured in more than eight different sets of samples.
    """

    digests: dict[str, Digest]
    correlation: CrossTraitCorrelation | None
    axis: GenomeAxis
    codes: Int[np.ndarray, "variants"]
    place: Float[np.ndarray, "variants"]


def scan_cohort(
    cohort: Cohort,
    spectrum_of: SpectrumOf,
    writers: Mapping[str, AssociationWriter],
    options: ScanOptions,
) -> Scanned:
    """Test every variant with every trait, those measured in the same samples together.

    Parameters
    ----------
    cohort : phenotypes may be missing.
    spectrum_of : samples, as rows of the cohort, and a chromosome to their spectrum.
    writers : of each trait, where its rows go.
    options : of the tests.

    Notes
    -----
    Shards are parts of all blocks in the order of the table. The one that begins it has the correlation of errors.
    """
    axis, codes, place = genome_axis(cohort.genotypes.variants)
    parts = cohort.complete()
    _check(parts)
    chosen, begins = _chosen(cohort, len(parts), options)
    several = len(cohort.traits) > 1 and len(parts) <= SETS and begins
    total = sum(stop - start for _, pieces in chosen for start, stop in pieces)
    digests: dict[str, Digest] = {}
    scores: list[TraitScores] = []
    with (
        meter(description="association", total=total, unit="variants") as advance,
        backend(options.where, options.threads, RETRIES) as run,
    ):
        for k, part in enumerate(parts):
            mine = {trait: Digest(n=len(part)) for trait in part.traits}
            digests |= mine
            stretches = [one for one in chosen if one[0].part == k]
            rows = cohort.samples.get_indexer(part.samples)
            spectrum: Spectrum | None = None
            if several or (options.loco and stretches):
                spectrum = spectrum_of(rows, ALL)
                # It tests nothing and is only reported, so that no bound stops the scan.
                bounded = "ols" if options.on_boundary == "raise" else options.on_boundary
                null = fit_cohort(part, spectrum, on_boundary=bounded)
                _note(mine, null, spectrum, ALL)
                if several:
                    scores.append(score_traits(part, spectrum, null))
            for stretch, pieces in stretches:
                if options.loco or spectrum is None:
                    spectrum = None  # the next one needs its memory
                    spectrum = spectrum_of(rows, stretch.chrom)
                with threadpool_limits(options.n_threads):
                    scan = _prepared(part, spectrum, stretch.n_markers, options)
                    _note(mine, scan.null, spectrum, stretch.chrom)
                    for start, stop, table in _tables(run, scan, part, pieces, options):
                        _take_in(table, mine, writers, np.arange(start, stop), place[start:stop])
                        advance(stop - start)
    return Scanned(
        digests={trait: digests[trait] for trait in cohort.traits},
        correlation=_correlation(cohort, scores, options) if several else None,
        axis=axis,
        codes=codes,
        place=place,
    )


def heritabilities(null: NullModel, spectrum: Spectrum) -> list[Heritability]:
    """Return each trait's heritability, with the matrix divided by its mean diagonal and as it is.

    Parameters
    ----------
    null : the model without markers.
    spectrum : with which it was fitted.
    """
    scaled = null.scaled_h_sq(spectrum.mean_diagonal / spectrum.scale)
    raw = null.scaled_h_sq(1 / spectrum.scale)
    numbers = zip(*scaled, *raw, null.boundary, strict=True)
    return [
        Heritability(h_sq=float(h), se=float(se), raw=float(r), raw_se=float(r_se), boundary=side)
        for h, se, r, r_se, side in numbers
    ]


def scanned_trait(name: str, scanned: Scanned, *, locus_kb: float) -> ScannedTrait:
    """Return what figures and tables need of a trait.

    Parameters
    ----------
    name : of the trait.
    scanned : all of them.
    locus_kb : distance within which significant variants are one locus.
    """
    digest = scanned.digests[name]
    index, log10p = digest.thinned.points()
    hits = pd.concat(digest.hits, ignore_index=True) if digest.hits else pd.DataFrame(columns=["log10p"])
    return ScannedTrait(
        name=name,
        n=digest.n,
        whole=digest.heritability.get(ALL),
        left_out={chrom: one for chrom, one in digest.heritability.items() if chrom != ALL},
        spread=digest.spread,
        codes=scanned.codes[index],
        place=scanned.place[index],
        log10p=log10p,
        statuses=dict(digest.statuses),
        n_hits=len(hits),
        leads=lead_variants(hits, kb=locus_kb),
    )


def lead_variants(hits: pd.DataFrame, *, kb: float) -> pd.DataFrame:
    """Return the strongest variant of each locus, the strongest locus first; those of unknown position are in none.

    Parameters
    ----------
    hits : rows of the table.
    kb : distance within which a stronger variant takes in weaker ones, in 1,000 bases.
    """
    if not len(hits) or not has_position(hits).any():
        return hits.iloc[:0]
    kept = clump_by_distance(hits, hits["log10p"].to_numpy(float), kb=kb).kept
    return hits[kept].sort_values("log10p", ascending=False, kind="stable").reset_index(drop=True)


def _chosen(cohort: Cohort, n_parts: int, options: ScanOptions) -> tuple[list[Blocks], bool]:
    """Return the blocks of this shard in the order of the table, and whether they begin it."""
    whole: list[Blocks] = []
    for k in range(n_parts):
        for chrom, pieces in cut_blocks(cohort.genotypes.variants, options.block, by_chromosome=options.loco):
            whole.append((Stretch(part=k, chrom=chrom, n_markers=pieces[-1][1] - pieces[0][0]), pieces))
    chosen = whole if options.shard is None else take_shard(whole, options.shard)
    return chosen, chosen[0][0] is whole[0][0] and chosen[0][1][0] == whole[0][1][0]


def _prepared(part: Cohort, spectrum: Spectrum, n_markers: int, options: ScanOptions) -> Scan:
    return prepare_scan(
        part,
        spectrum,
        test=options.test,
        gamma=options.gamma,
        n_markers=n_markers,
        precision=options.precision,
        on_boundary=options.on_boundary,
    )


def _tables(
    run: Run, scan: Scan, part: Cohort, pieces: Sequence[tuple[int, int]], options: ScanOptions
) -> Iterator[tuple[int, int, pd.DataFrame]]:
    """Yield the rows of each block, in order, wherever it is tested."""
    tasks = cut_tasks(
        part.genotypes,
        pieces,
        blocks_per_task=1 if options.dask is None else BLOCKS,
        min_mac=options.min_mac,
        max_missing=options.max_missing,
        n_threads=options.n_threads,
    )
    variants = part.genotypes.variants
    with closing(scan_tasks(run, scan, tasks)) as found:
        for start, stop, columns in found:
            yield start, stop, block_table(variants.iloc[start:stop], part.traits, columns)


def _check(parts: Sequence[Cohort]) -> None:
    """Raise `InputError` where a model cannot be fitted, naming the traits, before anything long is done."""
    for part in parts:
        try:
            project(part.phenotypes, part.design, np.zeros(len(part)), names=part.design_names)
        except InputError as error:
            some = ", ".join(part.traits[:3]) + (", ..." if len(part.traits) > 3 else "")
            raise InputError(f"{len(part)} samples with {some}: {error}") from error


def _correlation(cohort: Cohort, scores: Sequence[TraitScores], options: ScanOptions) -> CrossTraitCorrelation | None:
    """Return the correlation of errors of the traits' effects, for methods that heed samples in common."""
    try:
        n_markers = independent_markers(cohort.genotypes, min_maf=options.kinship_min_maf)
        return cross_trait_correlation(scores, n_markers=n_markers, tested="left_out" if options.loco else "in_matrix")
    except InputError as error:
        log.warning("the record has no correlation of errors: %s", error)
        return None


def _note(digests: Mapping[str, Digest], null: NullModel, spectrum: Spectrum, chrom: str) -> None:
    for digest, one in zip(digests.values(), heritabilities(null, spectrum), strict=True):
        digest.heritability[chrom] = one


def _take_in(
    table: pd.DataFrame,
    digests: Mapping[str, Digest],
    writers: Mapping[str, AssociationWriter],
    index: Int[np.ndarray, "variants"],
    place: Float[np.ndarray, "variants"],
) -> None:
    """Write a block, and keep what is needed of it; rows of a variant follow each other, a trait each."""
    times = len(digests)
    which = np.arange(len(table)) % times
    for writer in {id(writers[trait]): writers[trait] for trait in digests}.values():
        mine = [k for k, trait in enumerate(digests) if writers[trait] is writer]
        writer.add(table if len(mine) == times else table[np.isin(which, mine)])
    for k, digest in enumerate(digests.values()):
        digest.add(table.iloc[k::times], index, place)
