"""The largest eigenvalues of a relationship matrix that is never formed, for more samples than memory has squares."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import linalg

from deepmr import checks
from deepmr.cohort import Genotypes
from deepmr.errors import InputError
from deepmr.population.relationship import check_left, chosen_spans
from deepmr.population.scaled_markers import Kind, MarkerChoice, MarkerCounts, Progress, scaled_blocks
from deepmr.population.spectrum import LEAST, Scaling, Spectrum, divisor


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """K times a few columns, and what the same pass over the markers tells.

    Attributes
    ----------
    columns : K B.
    trace : of K.
    n_markers : how many it is made of.
    """

    columns: Float[np.ndarray, "samples columns"]
    trace: float
    n_markers: int


def randomized_spectrum(
    genotypes: Genotypes,
    *,
    rank: int,
    seed: int,
    oversample: int = 20,
    n_iter: int = 2,
    kind: Kind = "centred",
    chroms: Sequence[str] | None = None,
    min_maf: float = 0.01,
    max_missing: float = 0.05,
    counted: Int[np.ndarray, "counted"] | None = None,
    scaling: Scaling = "mean_diagonal",
    block: int = 512,
    progress: Progress | None = None,
) -> Spectrum:
    """Find the largest eigenvalues of the relationship matrix of genotypes, in n_iter + 2 passes over them.

    Parameters
    ----------
    genotypes
        Copies of the effect allele, of the samples to analyse.
    rank
        How many eigenvalues.
    seed
        Of the random start.
    oversample
        Columns beside `rank`: the more, the more accurate the last eigenvalues.
    n_iter
        Passes that sharpen the subspace. None does where eigenvalues fall steeply; two or three where they do not.
    kind, chroms, min_maf, max_missing, counted, block
        As in `relationship_of`; missing genotypes get the mean.
    scaling
        `mean_diagonal` divides by that of the whole matrix, tail included, so that the eigenvalues are those that a
        full decomposition gives.
    progress
        Called after every block with the variants read and those to read, of all passes.

    Returns
    -------
    Spectrum
        Of low rank: **all other eigenvalues are taken for zero**. The trace of K is known without its eigenvalues, and
        `kept` is the share of it that is left. What K gives a sample beyond that, 1 - kept on average, is not
        modelled, and h2 refers to the part kept. Relationship matrices of unrelated samples have flat spectra, of
        which a low rank keeps population structure and close relatives, and little else.

    Raises
    ------
    InputError
        When the rank exceeds what samples or markers allow, or no marker is left.

    Notes
    -----
    Subspace iteration Q <- orth(K Q), then the Nystroem approximation (K Q)(Q'K Q)^-1 (K Q)', which lies below K and
    is never further from it than Q Q'K Q Q'. A shift of rounding size makes its Cholesky factor safe. Memory is
    a few times samples x (rank + oversample), and a block.

    References
    ----------
    Halko N, Martinsson PG, Tropp JA. Finding structure with randomness. SIAM Rev 2011;53:217. doi:10.1137/090771806
    Tropp JA, Yurtsever A, Udell M, Cevher V. Fixed-rank approximation of a positive-semidefinite matrix from streaming
    data. NIPS 2017. doi:10.48550/arXiv.1706.05736
    """
    n = len(genotypes.samples)
    for name, value, least in (("rank", rank, 1), ("oversample", oversample, 0), ("n_iter", n_iter, 0)):
        checks.at_least(name, value, least)
    if rank >= n:
        raise InputError(f"rank must be below the number of samples, {n}; got {rank}")
    choice = MarkerChoice(kind=kind, min_maf=min_maf, max_missing=max_missing, counted=counted, block=block)
    spans = chosen_spans(genotypes, chroms)
    each = sum(stop - start for start, stop in spans)
    passes = n_iter + 2
    basis = np.random.default_rng(seed).standard_normal((n, min(rank + oversample, n)))
    product = _multiply(genotypes, choice, spans, basis, _in_passes(progress, 0, passes, each))
    for k in range(1, passes):
        basis = np.linalg.qr(product.columns)[0]
        product = _multiply(genotypes, choice, spans, basis, _in_passes(progress, k, passes, each))
    if product.n_markers < rank:
        raise InputError(f"rank must be at most the number of markers, {product.n_markers}; got {rank}")
    values, vectors = _nystroem(product.columns, basis)
    kept = values[:rank] > LEAST * values[0]
    values, vectors = values[:rank][kept], vectors[:, :rank][:, kept]
    mean_diagonal = product.trace / n  # markers are centred, hence so is K
    scale = divisor(mean_diagonal, scaling)
    return Spectrum(
        eigenvalues=values / scale,
        vectors=np.ascontiguousarray(vectors.T),
        mean_diagonal=mean_diagonal,
        scale=scale,
        source=f"{product.n_markers} {kind} markers, randomized, seed {seed}",
        kept=min(float(values.sum()) / product.trace, 1.0),
    )


def _multiply(
    genotypes: Genotypes,
    choice: MarkerChoice,
    spans: Sequence[tuple[int, int]],
    basis: Float[np.ndarray, "samples columns"],
    progress: Progress | None,
) -> Product:
    counts = MarkerCounts()
    columns, trace = np.zeros_like(basis), 0.0
    for z, _ in scaled_blocks(genotypes, choice, spans, counts, progress=progress):
        columns += z.T @ (z @ basis)
        trace += float(np.vdot(z, z))
    check_left(counts)
    return Product(columns=columns / counts.taken, trace=trace / counts.taken, n_markers=counts.taken)


def _nystroem(
    columns: Float[np.ndarray, "samples columns"], basis: Float[np.ndarray, "samples columns"]
) -> tuple[Float[np.ndarray, "columns"], Float[np.ndarray, "samples columns"]]:
    """Return eigenvalues and eigenvectors of (K Q)(Q'K Q)^-1 (K Q)'."""
    shift = np.sqrt(len(basis)) * np.finfo(float).eps * float(linalg.norm(columns))
    shifted = columns + shift * basis
    inner = basis.T @ shifted
    factor = linalg.cholesky(0.5 * (inner + inner.T), lower=True)
    half = linalg.solve_triangular(factor, shifted.T, lower=True).T
    vectors, roots, _ = linalg.svd(half, full_matrices=False)
    return np.maximum(roots**2 - shift, 0.0), vectors


def _in_passes(progress: Progress | None, k: int, passes: int, each: int) -> Progress | None:
    """Return a report of progress for pass k of several."""
    return None if progress is None else lambda done, _: progress(k * each + done, passes * each)
