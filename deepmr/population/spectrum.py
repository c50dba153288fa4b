"""The eigenvalues and eigenvectors of a relationship matrix, in which samples are independent."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import linalg

from deepmr import checks
from deepmr.errors import InputError

NEGATIVE = 1e-8  # of the largest eigenvalue: below minus this, a matrix is no relationship matrix but indefinite
LEAST = 1e-10  # of the largest eigenvalue: random effects below this have no part in a spectrum of low rank
STRIP = 512  # rows of a matrix compared at a time

Scaling = Literal["none", "mean_diagonal"]
Negative = Literal["raise", "cut"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """K = vectors' diag(eigenvalues) vectors, of samples by samples.

    Attributes
    ----------
    eigenvalues : from the largest, zero or positive.
    vectors : a row an eigenvector; orthonormal. Fewer than samples in a spectrum of low rank, whose other eigenvalues
        are zero.
    mean_diagonal : of the centred matrix before scaling, (I - 11'/n) K (I - 11'/n): the variance that K gives a sample.
    scale : what the matrix was divided by; 1 where it is as given.
    source : what it was made from, in words.
    kept : share of the trace of the matrix that the eigenvalues hold; below 1 where some were left out and count as 0.
    """

    eigenvalues: Float[np.ndarray, "rank"]
    vectors: Float[np.ndarray, "rank samples"]
    mean_diagonal: float
    scale: float = 1.0
    source: str = "kinship"
    kept: float = 1.0

    def __post_init__(self) -> None:
        checks.shape("eigenvalues", self.eigenvalues, (len(self.vectors),))
        checks.non_negative("eigenvalues", self.eigenvalues)
        if len(self.vectors) > self.n:
            raise InputError(f"a spectrum of {self.n} samples has at most {self.n} vectors; got {len(self.vectors)}")

    @property
    def n(self) -> int:
        """How many samples."""
        return int(self.vectors.shape[1])

    @property
    def rank(self) -> int:
        """How many eigenvectors."""
        return len(self.eigenvalues)

    @property
    def low_rank(self) -> bool:
        """Whether there are fewer eigenvectors than samples."""
        return self.rank < self.n

    @property
    def unit(self) -> float:
        """Variance that the scaled matrix gives a sample; 1 where it gives none."""
        unit = self.mean_diagonal / self.scale
        return unit if unit > 0 else 1.0

    def truncate(self, rank: int) -> "Spectrum":
        """Return the largest eigenvalues alone; the others are taken for zero, and `kept` says what that leaves out.

        Parameters
        ----------
        rank : how many.
        """
        checks.at_least("rank", rank, 1)
        trace = float(self.eigenvalues.sum())
        share = float(self.eigenvalues[:rank].sum()) / trace if trace > 0 else 1.0
        return replace(self, eigenvalues=self.eigenvalues[:rank], vectors=self.vectors[:rank], kept=self.kept * share)


def spectrum_of_kinship(
    kinship: Float[np.ndarray, "samples samples"],
    *,
    scaling: Scaling = "none",
    source: str = "kinship",
    rounding: float = 0.0,
    negative: Negative = "raise",
) -> Spectrum:
    """Decompose a relationship matrix.

    Parameters
    ----------
    kinship
        Symmetric and positive semidefinite; only its lower triangle is read.
    scaling
        `mean_diagonal` divides it by the mean diagonal of the centred matrix, so that h2 is a share of the variance of
        a sample whatever the units of the matrix.
    source
        What it was made from, for the record.
    rounding
        Largest relative error of an entry, where the matrix went through few digits or single precision.
    negative
        What to do about eigenvalues below -1e-8 of the largest that rounding does not explain: `raise`, or `cut` them,
        which leaves the nearest positive semidefinite matrix in the Frobenius norm; `source` then names the smallest.

    Raises
    ------
    InputError
        When the matrix is not square, not symmetric, not finite, or, unless they are cut, has such eigenvalues.

    Notes
    -----
    Eigenvalues from there to zero are set to zero. Rounding moves no eigenvalue by more than the Frobenius norm of
    the errors (Weyl), here `rounding` times that of the matrix.
    """
    n = len(kinship)
    checks.shape("kinship", kinship, (n, n))
    checks.finite("kinship", kinship)
    size, gap = _asymmetry(kinship)
    if gap > max(1e-6, 2 * rounding) * size:
        raise InputError(f"kinship must be symmetric; entries across the diagonal differ by up to {gap:.3g}")
    mean_diagonal = centred_mean_diagonal(kinship)
    scale = divisor(mean_diagonal, scaling)
    values, vectors = linalg.eigh(kinship, lower=True)
    values, vectors = values[::-1], np.ascontiguousarray(vectors[:, ::-1].T)
    allowed = rounding * float(linalg.norm(kinship)) if rounding else 0.0
    if n and values[-1] < -max(NEGATIVE * values[0], allowed, 0.0):
        if negative == "raise" or values[0] <= 0:
            raise InputError(
                f"kinship must be positive semidefinite; its smallest eigenvalue is {values[-1]:.6g}, where the "
                f"largest is {values[0]:.6g}"
            )
        source = f"{source}, negative eigenvalues to {values[-1]:.6g} cut"
    return Spectrum(
        eigenvalues=np.maximum(values, 0.0) / scale,
        vectors=vectors,
        mean_diagonal=mean_diagonal,
        scale=scale,
        source=source,
    )


def spectrum_of_effects(
    design: Float[np.ndarray, "samples effects"],
    *,
    scaling: Scaling = "none",
    source: str = "random effects",
    least: float = LEAST,
) -> Spectrum:
    """Decompose K = Z Z' by the singular vectors of Z; of low rank where Z has fewer columns than rows.

    Parameters
    ----------
    design
        Z, a column a random effect of variance 1.
    scaling, source
        As in `spectrum_of_kinship`.
    least
        Of the largest eigenvalue: those up to this are left out of a spectrum of low rank.

    Raises
    ------
    InputError
        When Z is not finite or all zero.
    """
    checks.finite("design", design)
    n, effects = design.shape  # vectors are n by n, or n by effects where these are fewer
    if not design.any():
        raise InputError("random effects must not all be zero; they are")
    mean_diagonal = float(np.square(design - design.mean(0)).sum() / n)
    scale = divisor(mean_diagonal, scaling)
    vectors, roots, _ = linalg.svd(design, full_matrices=False, lapack_driver="gesdd")
    values = np.zeros(vectors.shape[1])
    values[: len(roots)] = roots**2
    if n > effects:
        kept = values > least * values[0]
        values, vectors = values[kept], vectors[:, kept]
    return Spectrum(
        eigenvalues=values / scale,
        vectors=np.ascontiguousarray(vectors.T),
        mean_diagonal=mean_diagonal,
        scale=scale,
        source=source,
    )


def centred_mean_diagonal(kinship: Float[np.ndarray, "samples samples"]) -> float:
    """Return the mean diagonal of (I - 11'/n) K (I - 11'/n): mean diagonal less mean of K."""
    return float(np.trace(kinship) / len(kinship) - kinship.mean()) if len(kinship) else 0.0


def _asymmetry(matrix: Float[np.ndarray, "samples samples"]) -> tuple[float, float]:
    """Return the largest entry and the largest difference across the diagonal, without a copy of the matrix."""
    size = gap = 0.0
    for start in range(0, len(matrix), STRIP):
        rows = matrix[start : start + STRIP]
        size = max(size, float(np.abs(rows).max(initial=0.0)))
        gap = max(gap, float(np.abs(rows - matrix[:, start : start + STRIP].T).max(initial=0.0)))
    return size, gap


def divisor(mean_diagonal: float, scaling: Scaling) -> float:
    """Return what a relationship matrix is divided by.

    Parameters
    ----------
    mean_diagonal : of the centred matrix.
    scaling : as in `spectrum_of_kinship`.
    """
    if scaling == "none":
        return 1.0
    if not mean_diagonal > 0:
        raise InputError(f"the mean diagonal must be positive to divide by it; it is {mean_diagonal:g}")
    return mean_diagonal
