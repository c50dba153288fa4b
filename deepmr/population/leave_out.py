"""Relationship matrices without one chromosome each, so that a marker is not tested against a matrix that holds it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import lapack

from deepmr import checks
from deepmr.cohort import Genotypes
from deepmr.errors import InputError
from deepmr.population.relationship import (
    Relationship,
    add_blocks,
    check_left,
    mirror,
    spectrum_of_relationship,
)
from deepmr.population.scaled_markers import (
    Kind,
    MarkerChoice,
    MarkerCounts,
    Progress,
    chromosome_spans,
    plain_chromosome,
)
from deepmr.population.spectrum import Scaling, Spectrum

Spans = list[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOut:
    """Spectra of relationship matrices without the markers of a chromosome; call it with the chromosome.

    Attributes
    ----------
    whole : the matrix of all chromosomes used.
    markers : of each chromosome, how many markers it gave.
    shares : lower triangles, packed, of the sums of products of chromosomes that were kept.
    genotypes, choice, spans : from which the others are summed again.
    scaling : of the spectra.
    rows : positions of the samples of the spectra.
    """

    whole: Relationship
    markers: Mapping[str, int]
    shares: Mapping[str, Float[np.ndarray, "packed"]]
    genotypes: Genotypes
    choice: MarkerChoice
    spans: Mapping[str, Spans]
    scaling: Scaling
    rows: Int[np.ndarray, "chosen"]

    def __call__(self, chrom: str) -> Spectrum:
        """Return the spectrum of the matrix made without a chromosome.

        Parameters
        ----------
        chrom : a name; a leading "chr" is ignored. The whole matrix is used for one that is not part of it.
        """
        return spectrum_of_relationship(self.relationship(chrom), scaling=self.scaling)

    def take(self, rows: Int[np.ndarray, "chosen"]) -> "LeaveOneOut":
        """Return the same for some of the samples, from the same sums.

        Parameters
        ----------
        rows : positions among the present samples.
        """
        return replace(self, rows=self.rows[rows])

    def relationship(self, chrom: str) -> Relationship:
        """Return the matrix of the samples, made without a chromosome.

        Parameters
        ----------
        chrom : as in a call.

        Raises
        ------
        InputError
            When no other chromosome has a marker.
        """
        name = plain_chromosome(chrom)
        removed = self.markers.get(name, 0)
        if not removed:
            return self.whole.take(self.rows)
        total = sum(self.markers.values())
        if removed == total:
            raise InputError(
                f"all {total} markers of the relationship matrix lie on chromosome {chrom}; "
                "needed another to leave it out"
            )
        share, whole = self._share(name), self.whole.matrix
        if not np.array_equal(self.rows, np.arange(self.whole.n)):
            part = np.ix_(self.rows, self.rows)
            share, whole = share[part], whole[part]
        matrix = whole * (total / (total - removed))
        share /= total - removed
        matrix -= share
        return replace(
            self.whole,
            matrix=matrix,
            samples=self.whole.samples[self.rows],
            n_markers=total - removed,
            source=f"{total - removed} {self.choice.kind} markers, none of chromosome {name}",
        )

    def _share(self, name: str) -> Float[np.ndarray, "samples samples"]:
        """Return the sum of products of a chromosome's markers."""
        n = self.whole.n
        if name in self.shares:
            share, _ = lapack.dtpttr(n, self.shares[name], uplo="L")
        else:
            share = np.zeros((n, n), order="F")
            add_blocks(share, self.genotypes, self.choice, self.spans[name], MarkerCounts())
        mirror(share)
        return share


def leave_one_out(
    genotypes: Genotypes,
    *,
    kind: Kind = "centred",
    chroms: Sequence[str] | None = None,
    min_maf: float = 0.01,
    max_missing: float = 0.05,
    counted: Int[np.ndarray, "counted"] | None = None,
    scaling: Scaling = "mean_diagonal",
    block: int = 512,
    max_bytes: int = 1 << 30,
    progress: Progress | None = None,
) -> LeaveOneOut:
    """Sum a relationship matrix by chromosome, from which any one of them can be taken out again.

    Parameters
    ----------
    genotypes
        Copies of the effect allele.
    kind, min_maf, max_missing, counted, block
        As in `relationship_of`; missing genotypes get the mean.
    chroms
        Chromosomes the matrix is made of; all, unless given.
    scaling
        Of the spectra.
    max_bytes
        Memory for the shares of chromosomes, each n (n + 1) / 2 numbers; those that do not fit are summed again from
        the genotypes when asked for. 2,000 samples and 20 chromosomes need 320 MB; of 20,000 samples, 1.6 GB each,
        none is kept, unless more is allowed.
    progress
        Called after every block.

    Raises
    ------
    InputError
        As `relationship_of`.

    Notes
    -----
    K_-c = (m K - m_c K_c) / (m - m_c). While shares are summed, two matrices of samples by samples are in memory
    beside the shares that are kept; while one spectrum is made, five. A spectrum is as large as a matrix, and is not
    kept here.

    References
    ----------
    Yang J, Zaitlen NA, Goddard ME, Visscher PM, Price AL. Advantages and pitfalls in the application of mixed-model
    association methods. Nat Genet 2014;46:100. doi:10.1038/ng.2876
    """
    choice = MarkerChoice(kind=kind, min_maf=min_maf, max_missing=max_missing, counted=counted, block=block)
    spans = chromosome_spans(genotypes)
    used = list(spans) if chroms is None else list(dict.fromkeys(map(plain_chromosome, chroms)))
    for name in used:
        checks.one_of("chroms", name, spans)
    n = len(genotypes.samples)
    room = max_bytes // (4 * n * (n + 1))
    counts = MarkerCounts()
    shares: dict[str, np.ndarray] = {}
    markers: dict[str, int] = {}
    whole = np.zeros((n, n), order="F")
    done, to_read = 0, sum(_length(spans[name]) for name in used)
    for name in used:
        before = counts.taken
        share = np.zeros((n, n), order="F")
        add_blocks(share, genotypes, choice, spans[name], counts, progress=_later(progress, done, to_read))
        done += _length(spans[name])
        markers[name] = counts.taken - before
        whole += share
        if markers[name] and len(shares) < room and len(used) > 1:
            shares[name], _ = lapack.dtrttp(share, uplo="L")
    check_left(counts)
    mirror(whole)
    whole /= counts.taken
    return LeaveOneOut(
        whole=Relationship(
            matrix=whole.T,
            samples=genotypes.samples,
            n_markers=counts.taken,
            kind=kind,
            dropped=counts.dropped,
            source=f"{counts.taken} {kind} markers",
        ),
        markers=markers,
        shares=shares,
        genotypes=genotypes,
        choice=choice,
        spans={name: spans[name] for name in used},
        scaling=scaling,
        rows=np.arange(n),
    )


def _length(spans: Spans) -> int:
    return sum(stop - start for start, stop in spans)


def _later(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Return a report of progress that counts on from what was done before."""
    return None if progress is None else lambda done, _: progress(before + done, total)
