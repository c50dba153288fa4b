"""Relationship matrices of samples, K = Z Z' / m, summed over blocks of markers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.linalg import blas

from deepmr import checks
from deepmr.cohort import Genotypes
from deepmr.errors import InputError
from deepmr.population.scaled_markers import (
    Kind,
    MarkerChoice,
    MarkerCounts,
    Progress,
    chromosome_spans,
    plain_chromosome,
    scaled_blocks,
)
from deepmr.population.spectrum import Negative, Scaling, Spectrum, spectrum_of_kinship

STRIP = 512  # rows of a matrix moved at a time

Missing = Literal["mean", "pairwise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationship:
    """How alike samples are.

    Attributes
    ----------
    matrix : K, symmetric.
    samples : identifiers, in its order.
    n_markers : how many markers it is the mean of; None where that is not known.
    kind : `centred` or `standardised` markers; `given` where the matrix came ready made.
    dropped : markers left out, by the reason.
    source : what it was made from, in words.
    rounding : largest relative error of an entry, where the matrix was read from a file of few digits.
    """

    matrix: Float[np.ndarray, "samples samples"]
    samples: pd.Index
    n_markers: int | None
    kind: Literal["centred", "standardised", "given"]
    dropped: Mapping[str, int] = field(default_factory=dict)
    source: str = "genotypes"
    rounding: float = 0.0

    def __post_init__(self) -> None:
        checks.shape("matrix", self.matrix, (len(self.samples), len(self.samples)))
        checks.unique("samples", self.samples)

    @property
    def n(self) -> int:
        """How many samples."""
        return len(self.samples)

    def take(self, rows: Int[np.ndarray, "chosen"]) -> "Relationship":
        """Return the matrix of these samples alone, in this order; markers stay centred in all samples.

        Parameters
        ----------
        rows : positions.
        """
        return replace(self, matrix=self.matrix[np.ix_(rows, rows)], samples=self.samples[rows])

    def select(self, samples: Sequence[str] | pd.Index) -> "Relationship":
        """Return the matrix of these samples alone, in this order, found by their identifiers.

        Parameters
        ----------
        samples : identifiers.
        """
        rows = self.samples.get_indexer(pd.Index(samples))
        if (rows < 0).any():
            absent = [sample for sample, row in zip(samples, rows, strict=True) if row < 0]
            raise InputError(
                f"{len(absent)} of {len(rows)} samples are not in the relationship matrix, first {absent[0]!r}"
            )
        return self if np.array_equal(rows, np.arange(self.n)) else self.take(rows)

    def centred(self) -> "Relationship":
        """Return (I - 11'/n) K (I - 11'/n): effects of markers are then deviations from the mean of these samples."""
        means = self.matrix.mean(0)
        matrix = self.matrix - means[:, None]
        matrix -= means[None, :] - means.mean()
        return replace(self, matrix=matrix)


def relationship_of(
    genotypes: Genotypes,
    *,
    kind: Kind = "centred",
    chroms: Sequence[str] | None = None,
    min_maf: float = 0.01,
    max_missing: float = 0.05,
    missing: Missing = "mean",
    counted: Int[np.ndarray, "counted"] | None = None,
    block: int = 512,
    progress: Progress | None = None,
) -> Relationship:
    """Sum the relationship matrix of all samples over blocks of markers.

    Parameters
    ----------
    genotypes
        Copies of the effect allele; which allele that is changes nothing.
    kind
        `centred` weighs markers by their variance (GEMMA's -gk 1), `standardised` all alike (-gk 2).
    chroms
        Chromosomes to use; all, unless given. A leading "chr" is ignored.
    min_maf, max_missing
        Markers with a rarer allele, or a larger share of missing genotypes, are left out and counted.
    missing
        `mean` gives a missing genotype the mean of its marker: K stays positive semidefinite, and samples with many
        gaps seem less related to all, themselves included (to 0.7 with 30 % missing). `pairwise` divides each entry by
        the markers that both samples have: no such bias, but the matrix is as a rule no longer positive semidefinite,
        and `spectrum_of_relationship` needs `negative="cut"`. It costs a second matrix and twice the time.
    counted
        Positions of samples in which frequency and missingness are counted for the filters; all, unless given. GEMMA
        counts in those with a phenotype, while means and K are of all.
    block
        Variants read at a time. Changes nothing but memory and time.
    progress
        Called after every block with the variants read and those to read.

    Raises
    ------
    InputError
        When a chromosome is not there, or no marker is left; with `pairwise`, when two samples share no marker.

    Notes
    -----
    K = sum_k z_k z_k' / m, one symmetric rank-k update a block, which costs half a matrix product; memory is one
    matrix (two with `pairwise`) and a block. Both kinds agree with GEMMA 0.98.5 to the 10 digits it writes, its filters
    being those here (frequency below 0.01, missing above 0.05, monomorphic) in samples with the phenotype analysed;
    with covariates it also leaves out markers that they explain to r2 > 0.9999, which is not done here.

    References
    ----------
    Zhou X, Stephens M. Genome-wide efficient mixed-model analysis for association studies. Nat Genet 2012;44:821.
    doi:10.1038/ng.2310
    """
    choice = MarkerChoice(kind=kind, min_maf=min_maf, max_missing=max_missing, counted=counted, block=block)
    spans = chosen_spans(genotypes, chroms)
    counts = MarkerCounts()
    n = len(genotypes.samples)
    total = np.zeros((n, n), order="F")
    shared = np.zeros((n, n), order="F") if missing == "pairwise" else None
    add_blocks(total, genotypes, choice, spans, counts, shared=shared, progress=progress)
    check_left(counts)
    mirror(total)
    if shared is None:
        total /= counts.taken
    else:
        mirror(shared)
        if not shared.all():
            i, j = (genotypes.samples[k] for k in np.argwhere(shared == 0)[0])
            raise InputError(f"samples {i} and {j} have no marker in common; needed one for pairwise relationships")
        total /= shared
    return Relationship(
        matrix=total.T,  # of itself, but contiguous by rows
        samples=genotypes.samples,
        n_markers=counts.taken,
        kind=kind,
        dropped=counts.dropped,
        source=_source(kind, missing, chroms, counts),
    )


def spectrum_of_relationship(
    relationship: Relationship,
    *,
    scaling: Scaling = "mean_diagonal",
    rank: int | None = None,
    centre: bool = True,
    negative: Negative = "raise",
) -> Spectrum:
    """Decompose a relationship matrix.

    Parameters
    ----------
    relationship
        Of the samples to analyse: `take` or `select` them first.
    scaling
        `mean_diagonal` makes h2 a share of the variance of these samples; `scale` of the result is what it was
        divided by, and with it h2 of the matrix as it was follows.
    rank
        How many of the largest eigenvalues to keep; all, unless given. The others become zero: `kept` says what
        share of the trace is left.
    centre
        Take the means of these samples out first, which matters to no REML fit with an intercept.
    negative
        As in `spectrum_of_kinship`; a pairwise matrix may need `cut`.

    Raises
    ------
    InputError
        As `spectrum_of_kinship`.
    """
    used = relationship.centred() if centre else relationship
    spectrum = spectrum_of_kinship(
        used.matrix,
        scaling=scaling,
        source=relationship.source,
        rounding=relationship.rounding,
        negative=negative,
    )
    return spectrum if rank is None else spectrum.truncate(rank)


def add_blocks(
    total: Float[np.ndarray, "samples samples"],
    genotypes: Genotypes,
    choice: MarkerChoice,
    spans: Sequence[tuple[int, int]],
    counts: MarkerCounts,
    *,
    shared: Float[np.ndarray, "samples samples"] | None = None,
    progress: Progress | None = None,
) -> None:
    """Add the products of chosen markers to the lower triangle of a sum, in place.

    Parameters
    ----------
    total : contiguous by columns; its upper triangle is left alone.
    genotypes, choice, spans, counts, progress : as in `scaled_blocks`.
    shared : to its lower triangle the number of markers that two samples both have is added.
    """
    gaps = shared is not None
    for z, there in scaled_blocks(genotypes, choice, spans, counts, gaps=gaps, progress=progress):
        _add_products(total, z)
        if shared is not None and there is not None:
            _add_products(shared, there.astype(float))


def mirror(matrix: Float[np.ndarray, "samples samples"]) -> None:
    """Copy the lower triangle of a matrix onto the upper one, in place.

    Parameters
    ----------
    matrix : square.
    """
    for start in range(0, len(matrix), STRIP):
        stop = min(start + STRIP, len(matrix))
        corner = matrix[start:stop, start:stop]
        corner[...] = np.tril(corner) + np.tril(corner, -1).T
        matrix[start:stop, stop:] = matrix[stop:, start:stop].T


def chosen_spans(genotypes: Genotypes, chroms: Sequence[str] | None) -> list[tuple[int, int]]:
    """Return the stretches of variants to read.

    Parameters
    ----------
    genotypes : all variants.
    chroms : chromosomes to use; all, unless given.
    """
    if chroms is None:
        return [(0, len(genotypes.variants))]
    spans = chromosome_spans(genotypes)
    for chrom in chroms:
        checks.one_of("chroms", plain_chromosome(chrom), spans)
    return [span for chrom in dict.fromkeys(map(plain_chromosome, chroms)) for span in spans[chrom]]


def check_left(counts: MarkerCounts) -> None:
    """Raise `InputError` where no marker is left, saying what became of them.

    Parameters
    ----------
    counts : of markers.
    """
    if not counts.taken:
        why = ", ".join(f"{n} {reason}" for reason, n in counts.dropped.items()) or "none was read"
        raise InputError(f"no marker is left for the relationship matrix; needed one at least: {why}")


def _add_products(total: Float[np.ndarray, "samples samples"], z: Float[np.ndarray, "variants samples"]) -> None:
    if len(z):
        blas.dsyrk(1.0, z.T, beta=1.0, c=total, lower=1, overwrite_c=1)


def _source(kind: Kind, missing: Missing, chroms: Sequence[str] | None, counts: MarkerCounts) -> str:
    where = "" if chroms is None else f" of chromosomes {', '.join(chroms)}"
    gaps = "" if missing == "mean" else ", pairwise"
    return f"{counts.taken} {kind} markers{where}{gaps}"
