"""Gaussian kernels as few columns: 1, straight lines and eigenfunctions on landmarks; products of two such blocks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import eigh

_ROWS = 20_000  # most samples that a block is made orthonormal over
_ONE_LANDMARKS = 60  # of a single variable, whose kernel has few eigenfunctions that count
_SMALLEST = 1e-7  # eigenvalue, relative to the largest, of the last function kept
_CONSTANT, _LINE, _CURVE = 0, 1, 2  # kinds of columns


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelBlock:
    """Functions of some variables, orthonormal over the sample: 1, each variable, eigenfunctions of a Gaussian kernel.

    Attributes
    ----------
    center, spread : of the variables; landmarks and bandwidths are in units of the spread.
    bandwidth : of each variable.
    landmarks : points that the kernel is spanned by.
    lines : from 1 and the standardised variables to orthonormal functions.
    curves : from kernels at the landmarks to eigenfunctions.
    straight : what is subtracted of every eigenfunction, in the orthonormal straight functions.
    variance : eigenvalues, relative to the largest: prior variances of the eigenfunctions' coefficients.
    """

    center: Float[np.ndarray, "variables"]
    spread: Float[np.ndarray, "variables"]
    bandwidth: Float[np.ndarray, "variables"]
    landmarks: Float[np.ndarray, "landmarks variables"]
    lines: Float[np.ndarray, "plain straights"]
    curves: Float[np.ndarray, "landmarks curves"]
    straight: Float[np.ndarray, "straights curves"]
    variance: Float[np.ndarray, "curves"]

    @property
    def kinds(self) -> Int[np.ndarray, "functions"]:
        """Kind of every function: constant, line or curve."""
        return np.repeat([_CONSTANT, _LINE, _CURVE], [1, self.lines.shape[1] - 1, len(self.variance)])

    @property
    def variances(self) -> Float[np.ndarray, "functions"]:
        """Prior variance of every function, 1 for the straight ones."""
        return np.concatenate([np.ones(self.lines.shape[1]), self.variance])

    def __call__(self, values: Float[np.ndarray, "points variables"]) -> Float[np.ndarray, "points functions"]:
        """Evaluate every function."""
        standard = (values - self.center) / self.spread
        straight = np.hstack([np.ones((len(values), 1)), standard]) @ self.lines
        kernel = gaussian(standard / self.bandwidth, self.landmarks / self.bandwidth)
        return np.hstack([straight, kernel @ self.curves - straight @ self.straight])


def gaussian(
    one: Float[np.ndarray, "points variables"], two: Float[np.ndarray, "others variables"]
) -> Float[np.ndarray, "points others"]:
    """Return exp(-|a - b|^2 / 2) of all pairs.

    Parameters
    ----------
    one, two : points, in units of the bandwidth.
    """
    squares = (one**2).sum(axis=1)[:, None] + (two**2).sum(axis=1) - 2 * one @ two.T
    return np.exp(-np.maximum(squares, 0.0) / 2)


def fit_block(
    values: Float[np.ndarray, "samples variables"],
    *,
    bandwidth: Float[np.ndarray, "variables"],
    n_landmarks: int,
    n_curves: int,
    seed: int,
    weights: Float[np.ndarray, "samples"] | None = None,
) -> KernelBlock:
    """Choose landmarks and make functions orthonormal over the sample.

    Parameters
    ----------
    values : the sample; no columns for a block that is the constant alone.
    bandwidth : of each variable, in units of its spread.
    n_landmarks : how many points of several variables; a single variable needs fewer, at its quantiles.
    n_curves : most eigenfunctions.
    seed : of the landmarks, and of the samples where there are more than needed.
    weights : of the samples.

    Notes
    -----
    The Nystroem approximation k(a, b) = k(a, L) k(L, L)^-1 k(L, b), less its projection on the straight functions and
    rotated to functions of mean square 1 that are orthogonal over the sample; a coefficient's variance under the
    kernel's prior is then the eigenvalue.

    References
    ----------
    Williams & Seeger (2001), Advances in Neural Information Processing Systems 13, 682-688.
    """
    if not values.shape[1]:
        return _constant()
    rng = np.random.default_rng(seed)
    rows = np.arange(len(values)) if len(values) <= _ROWS else np.sort(rng.permutation(len(values))[:_ROWS])
    some = values[rows]
    share = np.ones(len(rows)) if weights is None else weights[rows]
    share = share / share.sum()
    center = share @ some
    spread = np.sqrt(share @ (some - center) ** 2)
    spread = np.where(spread > 0, spread, 1.0)
    standard = (some - center) / spread
    plain = np.hstack([np.ones((len(rows), 1)), standard])
    lines = _orthonormal(plain, share)
    straight = plain @ lines
    landmarks = _landmarks(standard, n_landmarks, rng)
    kernel = gaussian(standard / bandwidth, landmarks / bandwidth)
    values_l, vectors_l = eigh(gaussian(landmarks / bandwidth, landmarks / bandwidth))
    kept = values_l > 1e-10 * values_l[-1]
    root = vectors_l[:, kept] / np.sqrt(values_l[kept])
    features = kernel @ root
    taken = straight.T @ (features * share[:, None])
    features = features - straight @ taken
    variance, rotation = eigh(features.T @ (features * share[:, None]))
    order = np.argsort(-variance)[:n_curves]
    order = order[variance[order] > _SMALLEST * max(float(variance[-1]), 1e-6)]
    scaled = rotation[:, order] / np.sqrt(variance[order])
    return KernelBlock(
        center=center,
        spread=spread,
        bandwidth=bandwidth,
        landmarks=landmarks,
        lines=lines,
        curves=root @ scaled,
        straight=taken @ scaled,
        variance=variance[order] / variance[order[0]] if len(order) else np.zeros(0),
    )


def _constant() -> KernelBlock:
    none = np.zeros(0)
    return KernelBlock(
        center=none,
        spread=none,
        bandwidth=none,
        landmarks=np.zeros((1, 0)),
        lines=np.ones((1, 1)),
        curves=np.zeros((1, 0)),
        straight=np.zeros((1, 0)),
        variance=none,
    )


def _landmarks(
    standard: Float[np.ndarray, "samples variables"], n_landmarks: int, rng: np.random.Generator
) -> Float[np.ndarray, "landmarks variables"]:
    if standard.shape[1] == 1:
        return np.unique(np.quantile(standard[:, 0], np.linspace(0, 1, min(n_landmarks, _ONE_LANDMARKS))))[:, None]
    distinct = np.unique(standard, axis=0)
    return distinct[np.sort(rng.permutation(len(distinct))[:n_landmarks])]


def _orthonormal(
    plain: Float[np.ndarray, "samples plain"], share: Float[np.ndarray, "samples"]
) -> Float[np.ndarray, "plain straights"]:
    """Return what makes 1 and the variables orthonormal, the constant first; what adds nothing is left out."""
    gram = plain.T @ (plain * share[:, None])
    kept = [np.eye(len(gram))[0]]
    values, vectors = eigh(gram[1:, 1:])  # the variables have mean 0
    for value, vector in zip(values[::-1], vectors.T[::-1], strict=True):
        if value > 1e-9:
            kept.append(np.concatenate([[0.0], vector / np.sqrt(value)]))
    return np.array(kept).T


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTerms:
    """Products of functions of one block and of another: the columns of a product kernel that vary most.

    Attributes
    ----------
    main : functions of the exposure, or of instruments.
    covariates : functions of the covariates; the constant alone where there are none.
    pairs : number of the one and of the other, a row a column.
    """

    main: KernelBlock
    covariates: KernelBlock
    pairs: Int[np.ndarray, "terms two"]

    def __call__(
        self, values: Float[np.ndarray, "points variables"], covars: Float[np.ndarray, "points covariates"]
    ) -> Float[np.ndarray, "points terms"]:
        """Evaluate every column."""
        return self.combine(self.main(values), self.covariates(covars))

    def average(
        self, values: Float[np.ndarray, "points variables"], mean: Float[np.ndarray, "functions"]
    ) -> Float[np.ndarray, "points terms"]:
        """Evaluate every column, averaged over covariates whose functions have these means."""
        return self.main(values)[:, self.pairs[:, 0]] * mean[self.pairs[:, 1]]

    def combine(
        self, of_main: Float[np.ndarray, "points _"], of_covariates: Float[np.ndarray, "points _"]
    ) -> Float[np.ndarray, "points terms"]:
        """Multiply functions that are evaluated already."""
        if len(self.pairs) == of_main.shape[1] and not self.pairs[:, 1].any():
            return of_main[:, self.pairs[:, 0]]
        return of_main[:, self.pairs[:, 0]] * of_covariates[:, self.pairs[:, 1]]

    @property
    def variances(self) -> Float[np.ndarray, "terms"]:
        """Prior variance of every column."""
        return self.main.variances[self.pairs[:, 0]] * self.covariates.variances[self.pairs[:, 1]]

    @property
    def straight(self) -> Bool[np.ndarray, "terms"]:
        """Whether a column is the constant or a line, which no penalty shrinks."""
        return self.main.kinds[self.pairs[:, 0]] + self.covariates.kinds[self.pairs[:, 1]] <= _LINE

    @property
    def kinds(self) -> Int[np.ndarray, "terms"]:
        """Kind of every column: three times that of the main function plus that of the covariates' function."""
        return 3 * self.main.kinds[self.pairs[:, 0]] + self.covariates.kinds[self.pairs[:, 1]]


def product_terms(main: KernelBlock, covariates: KernelBlock, *, n_terms: int) -> KernelTerms:
    """Choose the products with the largest prior variances; those of straight functions come first.

    Parameters
    ----------
    main, covariates : blocks.
    n_terms : most products.
    """
    variance = np.outer(main.variances, covariates.variances)
    first, second = np.divmod(np.argsort(-variance, axis=None, kind="stable"), variance.shape[1])
    free = (main.kinds[first] + covariates.kinds[second]) <= _LINE  # 1 and every straight line
    chosen = np.concatenate([np.flatnonzero(free), np.flatnonzero(~free)])[:n_terms]
    return KernelTerms(main=main, covariates=covariates, pairs=np.stack([first[chosen], second[chosen]], axis=1))


_PARTS = ("center", "spread", "bandwidth", "landmarks", "lines", "curves", "straight", "variance")


def pack_kernel(terms: KernelTerms) -> dict[str, np.ndarray]:
    """Return the arrays that make up the columns, by name."""
    found = {"pairs": terms.pairs}
    for name, block in (("main", terms.main), ("covariates", terms.covariates)):
        found |= {f"{name}.{part}": getattr(block, part) for part in _PARTS}
    return found


def unpack_kernel(arrays: Mapping[str, np.ndarray]) -> KernelTerms:
    """Make columns from what `pack_kernel` returned."""
    main, covariates = (
        KernelBlock(**{part: arrays[f"{name}.{part}"] for part in _PARTS}) for name in ("main", "covariates")
    )
    return KernelTerms(main=main, covariates=covariates, pairs=arrays["pairs"])
