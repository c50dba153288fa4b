"""Correlation of the errors that a variant's effects on two traits have when samples are shared or related."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.cohort import Cohort, Genotypes
from deepmr.errors import InputError
from deepmr.population.markers import OK, prepare_markers
from deepmr.population.null_model import NullModel
from deepmr.population.spectrum import Spectrum

Tested = Literal["in_matrix", "left_out"]
LEAST_ERROR = 0.05  # of a squared standard error: below, there are too few markers to tell error from effect


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitScores:
    """Traits of the same samples, as their null models leave them.

    Attributes
    ----------
    traits : names.
    samples : identifiers.
    spectrum : of their relationship matrix.
    gamma : ratio of variances.
    weights : 1 / (1 + gamma s) of each eigenvector.
    scores : V^-1 (y - X b), in units of V = I + gamma K.
    tau_sq : residual variances.
    """

    traits: tuple[str, ...]
    samples: pd.Index
    spectrum: Spectrum
    gamma: Float[np.ndarray, "traits"]
    weights: Float[np.ndarray, "traits rank"]
    scores: Float[np.ndarray, "samples traits"]
    tau_sq: Float[np.ndarray, "traits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossTraitCorrelation:
    """Correlation of errors of a variant's effects on several traits.

    Attributes
    ----------
    traits : names.
    matrix : in their order.
    n_shared : samples that two traits share; on the diagonal, all of a trait.
    n_markers : of which the relationship matrix was taken to be made.
    """

    traits: tuple[str, ...]
    matrix: Float[np.ndarray, "traits traits"]
    n_shared: Int[np.ndarray, "traits traits"]
    n_markers: float

    def to_dict(self) -> dict[str, object]:
        """Return it as the record of a table has it."""
        return {
            "traits": list(self.traits),
            "matrix": [[round(float(value), 6) for value in row] for row in self.matrix],
            "n_shared": self.n_shared.tolist(),
            "n_markers": round(self.n_markers, 1) if np.isfinite(self.n_markers) else None,
        }


def score_traits(cohort: Cohort, spectrum: Spectrum, null: NullModel) -> TraitScores:
    """Return what correlations of errors need of a cohort's null models.

    Parameters
    ----------
    cohort : without missing phenotypes.
    spectrum, null : of these samples and traits (`Scan.null`).
    """
    left = cohort.phenotypes - cohort.design @ null.beta
    gamma = np.exp(null.log_gamma)
    weights = 1.0 / (1.0 + gamma[:, None] * spectrum.eigenvalues)
    along = (1.0 - weights).T * (spectrum.vectors @ left)
    return TraitScores(
        traits=cohort.traits,
        samples=pd.Index(cohort.samples).astype(str),
        spectrum=spectrum,
        gamma=gamma,
        weights=weights,
        scores=left - spectrum.vectors.T @ along,
        tau_sq=null.tau_sq,
    )


def cross_trait_correlation(
    parts: Sequence[TraitScores], *, n_markers: int | float, tested: Tested = "in_matrix"
) -> CrossTraitCorrelation:
    """Estimate the correlation of errors of a variant's effects on traits, from their null models.

    Parameters
    ----------
    parts
        Traits by the samples that have them (`Cohort.complete`), with relationship matrices made from the same
        markers.
    n_markers
        Independent markers that the relationship matrix is made of (`independent_markers`); infinite leaves the term
        below out.
    tested
        Whether the variants whose errors are meant are in the relationship matrix, or were left out of it with their
        chromosome.

    Returns
    -------
    CrossTraitCorrelation
        Of all traits, in the order of the parts.

    Raises
    ------
    InputError
        When two traits have the same name, or markers are so few that errors cannot be told from effects: at least
        95 % of a marker's squared standard error is its own share.

    Notes
    -----
    Given genotypes, beta_k = a'P_k y_k / a'P_k a, so errors have correlation
    a'P_1 C P_2 a / sqrt(t_1 t_2 a'P_1 a a'P_2 a), where C is the covariance of the traits without the marker's own
    share and t the residual variances. With C = g K + r I (I: the same sample), u_k = P_k y_k and markers like those of
    K, whose mean square is K, the mean of the numerator is u_1'K u_2 less g tr(K P_1) tr(K P_2) / m: in a matrix of m
    markers, each also has a share of its own, which is effect and not error, and matters where genetic correlation is
    far from that of residuals and m no more than some times n. g and r follow from u_1'K u_2 and u_1'u_2. With OLS, of
    unrelated samples, it is the correlation of traits times n_shared / sqrt(n_1 n_2).

    The result is a covariance of errors in units of standard errors as reported. Those of a marker in the matrix count
    its own share as error, and are too large by d_k^-1/2, d_k = 1 - gamma_k tr(K P_k) / m; where markers are left out
    they are right, and the result is larger by (d_1 d_2)^-1/2.

    Where traits have other samples, relationships between a sample of the one alone and a sample of the other alone are
    taken to be 0.

    In simulated pairs of traits of the same samples (1,400, unrelated or in families of 7; h2 0.5; genetic and residual
    correlation 0 and 0.6, 0 and -0.5, 0.4 and 0, 0.8 and -0.5, 0.8 and 0.6; two sets of 4,000 markers, 24 pairs each)
    its mean was within 0.01 of the mean product of errors of markers in the matrix, and of 1,000 markers beside 3,000
    in the matrix where samples were unrelated; in families, these were larger than it says by up to 0.045, at a genetic
    correlation of 0.8. A single pair was off by up to 0.05 and 0.15. The correlation of whitened residuals
    V^-1/2 (y - X b) was off by up to 0.12 on average, as it weighs eigenvectors otherwise than markers do; that of
    z-scores of variants with P > 0.05 for both traits by up to 0.13: they are cut off, and in polygenic traits have
    effects too, which are correlated.

    References
    ----------
    Bulik-Sullivan et al. (2015), doi:10.1038/ng.3406; Burgess, Davies, Thompson (2016), doi:10.1002/gepi.21998.
    """
    checks.one_of("tested", tested, get_args(Tested))
    if not n_markers > 0:
        raise InputError(f"n_markers must be positive; got {n_markers:g}")
    traits = tuple(trait for part in parts for trait in part.traits)
    checks.unique("traits", traits)
    honest = np.empty(0)
    matrix, shared = np.eye(len(traits)), np.zeros((len(traits), len(traits)), dtype=int)
    edges = np.cumsum([0, *(len(part.traits) for part in parts)])
    for k, part in enumerate(parts):
        at = slice(edges[k], edges[k + 1])
        matrix[at, at] = _within(part, n_markers)
        honest = np.concatenate([honest, _error_share(part, n_markers)])
        shared[at, at] = len(part.samples)
    for k, j in combinations(range(len(parts)), 2):
        rows, columns = slice(edges[k], edges[k + 1]), slice(edges[j], edges[j + 1])
        matrix[rows, columns], count = _between(parts[k], parts[j], n_markers)
        matrix[columns, rows] = matrix[rows, columns].T
        shared[rows, columns] = shared[columns, rows] = count
    if len(traits) > 1 and (honest <= LEAST_ERROR).any():
        raise InputError(
            f"errors cannot be told from effects of {traits[int(np.argmin(honest))]}: the relationship matrix has "
            f"{n_markers:.0f} independent markers, too few beside {len(parts[0].samples)} samples"
        )
    if tested == "left_out":
        matrix /= np.sqrt(np.outer(honest, honest))
    np.fill_diagonal(matrix, 1.0)
    return CrossTraitCorrelation(
        traits=traits, matrix=np.clip(matrix, -1.0, 1.0), n_shared=shared, n_markers=float(n_markers)
    )


def independent_markers(
    genotypes: Genotypes,
    *,
    n_sampled: int = 200,
    window: int = 200,
    n_variants: int | None = None,
    min_maf: float = 0.0,
    seed: int = 0,
) -> float:
    """Estimate how many independent markers there are: markers over their mean linkage disequilibrium score.

    Parameters
    ----------
    genotypes
        Of the samples.
    n_sampled
        Markers whose scores are taken, at random.
    window
        Markers on either side of each, on its chromosome, that may be linked to it.
    n_variants
        How many markers the relationship matrix is made of; by default all that vary, as the sample has them.
    min_maf
        Least frequency of the rarer allele of markers in the matrix; others do not count.
    seed
        Of the draw.

    Notes
    -----
    The score of a marker is the sum of r^2 over its window, itself included, each less what unlinked markers have: the
    mean r^2 of sampled markers on other chromosomes or further apart than the window, or 1 / (n - 1) without any.
    """
    checks.at_least("n_sampled", n_sampled, 1)
    total = len(genotypes.variants)
    chrom = genotypes.variants["chrom"].astype(str).to_numpy(object)
    chosen = np.sort(np.random.default_rng(seed).choice(total, min(n_sampled, total), replace=False))
    centre, sizes, places = [], [], []
    for at in chosen.tolist():
        start, stop = max(at - window, 0), min(at + window + 1, total)
        ready = prepare_markers(genotypes.read(start, stop))
        used = (ready.status == OK) & ~(np.minimum(ready.eaf, 1 - ready.eaf) < min_maf)
        if not used[at - start]:
            continue
        near = ready.centred[(chrom[start:stop] == chrom[at]) & used]
        own = ready.centred[at - start]
        r_sq = np.square(near @ own) / (np.square(near).sum(1) * (own @ own))
        centre.append(own / np.sqrt(own @ own))
        sizes.append((float(r_sq.sum()), len(r_sq)))
        places.append(at)
    if not centre:
        raise InputError("none of the sampled markers varies enough: there is no linkage disequilibrium to take")
    across = np.not_equal.outer(chrom[places], chrom[places])
    across |= np.abs(np.subtract.outer(places, places)) > window
    r_sq = np.square(np.array(centre) @ np.array(centre).T)
    unlinked = float(r_sq[across].mean()) if across.any() else 1.0 / (len(genotypes.samples) - 1)
    score = float(np.mean([1.0 + max(sum_sq - 1.0 - (count - 1) * unlinked, 0.0) for sum_sq, count in sizes]))
    return (total * len(places) / len(chosen) if n_variants is None else float(n_variants)) / score


def _within(part: TraitScores, n_markers: int | float) -> Float[np.ndarray, "traits traits"]:
    """Return correlations of traits of the same samples, where matrices are diagonal in the eigenvectors."""
    s, w = part.spectrum.eigenvalues, part.weights
    outside = part.spectrum.n - part.spectrum.rank
    turned = part.spectrum.vectors @ part.scores
    by_k, by_one = (turned * s[:, None]).T @ turned, part.scores.T @ part.scores
    products = w[:, None, :] * w[None, :, :]
    kk, ki, ii = products @ s**2, products @ s, products.sum(2) + outside
    shared = _genetic(by_k, by_one, kk, ki, ii)
    traces = np.outer(w @ s, w @ s)
    return (by_k - shared * traces / n_markers) / np.sqrt(np.outer(part.tau_sq, part.tau_sq) * traces)


def _error_share(part: TraitScores, n_markers: int | float) -> Float[np.ndarray, "traits"]:
    """Return which share of the squared standard error of a marker in the matrix is error, d of each trait."""
    return np.maximum(1.0 - part.gamma * (part.weights @ part.spectrum.eigenvalues) / n_markers, LEAST_ERROR)


def _between(
    one: TraitScores, other: TraitScores, n_markers: int | float
) -> tuple[Float[np.ndarray, "ones others"], int]:
    """Return correlations of traits of other samples, and how many samples they share."""
    same = np.equal.outer(one.samples.to_numpy(object), other.samples.to_numpy(object))
    count = int(same.sum())
    relationship = _relationship(one, other)
    identity = same.astype(float)
    by_k, by_one = one.scores.T @ relationship @ other.scores, one.scores.T @ identity @ other.scores
    kk, ki, ii = (np.zeros_like(by_k) for _ in range(3))
    for i in range(len(one.traits)):
        left_k, left_i = _solved(one, i, relationship), _solved(one, i, identity)
        for j in range(len(other.traits)):
            right_k = _solved(other, j, relationship.T).T
            kk[i, j], ki[i, j] = np.vdot(left_k, right_k), np.vdot(left_i, right_k)
            ii[i, j] = np.vdot(left_i, _solved(other, j, identity.T).T)
    shared = _genetic(by_k, by_one, kk, ki, ii)
    ours, theirs = _traces(one), _traces(other)
    apart = np.outer(ours[:, ~same.any(1)].sum(1), theirs[:, ~same.any(0)].sum(1))  # of pairs that are left out of K
    traces = np.outer(ours.sum(1), theirs.sum(1))
    number = by_k - shared * (traces - apart) / n_markers
    return number / np.sqrt(np.outer(one.tau_sq, other.tau_sq) * traces), count


def _traces(part: TraitScores) -> Float[np.ndarray, "traits samples"]:
    """Return the diagonal of V^-1 K of each trait, in the markers' units."""
    return (part.weights * part.spectrum.eigenvalues * part.spectrum.scale) @ part.spectrum.vectors**2


def _solved(part: TraitScores, k: int, values: np.ndarray) -> np.ndarray:
    """Return V^-1 of a trait times a matrix."""
    vectors = part.spectrum.vectors
    return values - vectors.T @ ((1.0 - part.weights[k])[:, None] * (vectors @ values))


def _relationship(one: TraitScores, other: TraitScores) -> Float[np.ndarray, "ones others"]:
    """Return the relationship matrix between samples of two parts, as far as either knows it, in the markers' units."""
    found = np.zeros((len(one.samples), len(other.samples)))
    for part, samples, turn in ((one, other.samples, False), (other, one.samples, True)):
        at = part.samples.get_indexer(samples)
        there = at >= 0
        scaled = part.spectrum.eigenvalues[:, None] * part.spectrum.vectors[:, at[there]] * part.spectrum.scale
        known = part.spectrum.vectors.T @ scaled
        if turn:
            found[there] = known.T
        else:
            found[:, there] = known
    return found


def _genetic(
    by_k: np.ndarray, by_one: np.ndarray, kk: np.ndarray, ki: np.ndarray, ii: np.ndarray
) -> Float[np.ndarray, "ones others"]:
    """Return g of C = g K + r I, from u_1'K u_2 = g tr(P_1 K P_2 K') + r tr(P_1 I P_2 K') and the same of u_1'u_2."""
    determinant = kk * ii - ki**2
    told = determinant > 1e-8 * kk * ii  # otherwise K is as good as I, and the two cannot be told apart
    return np.where(told, by_k * ii - by_one * ki, 0.0) / np.where(told, determinant, 1.0)
