"""Linkage disequilibrium: correlations of variants in a panel of genotypes, in the allele coding of the effects."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.instruments.alleles import pair_variants
from deepmr.instruments.matching import Match, match_variants
from deepmr.instruments.strands import Palindromes
from deepmr.types import GenotypePanel, Instruments

CONSTANT = "does not vary in the panel"


@dataclass(frozen=True, slots=True, kw_only=True)
class LdMatrix:
    """Correlations of some variants, for given effect alleles.

    Attributes
    ----------
    variants : variant_id, and effect_allele and other_allele where known: the coding of the correlations.
    correlation : of the numbers of copies of the effect alleles.
    """

    variants: pd.DataFrame
    correlation: Float[np.ndarray, "variants variants"]

    def __post_init__(self) -> None:
        checks.columns("variants", self.variants.columns, ["variant_id"])
        checks.unique("variants of the LD matrix", list(self.variants["variant_id"]))
        checks.correlation("LD matrix", self.correlation, len(self.variants))


def dosage_correlation(
    first: Float[np.ndarray, "samples _"], second: Float[np.ndarray, "samples _"]
) -> Float[np.ndarray, "_ _"]:
    """Return Pearson's correlations of dosages over the samples known in both; 0 where one does not vary.

    Parameters
    ----------
    first, second : dosages, NaN where unknown.
    """
    x, y = np.nan_to_num(first).astype(float), np.nan_to_num(second).astype(float)
    in_x, in_y = (~np.isnan(first)).astype(float), (~np.isnan(second)).astype(float)
    n = in_x.T @ in_y
    sum_x, sum_y = x.T @ in_y, in_x.T @ y
    covariance = n * (x.T @ y) - sum_x * sum_y
    var_x, var_y = n * ((x**2).T @ in_y) - sum_x**2, n * (in_x.T @ y**2) - sum_y**2
    product = np.maximum(var_x, 0) * np.maximum(var_y, 0)
    varies = product > 0
    return np.where(varies, np.clip(covariance / np.sqrt(np.where(varies, product, 1.0)), -1, 1), 0.0)


def ld_matrix(
    panel: GenotypePanel, variants: pd.DataFrame, *, match: Match = "auto", palindromes: Palindromes = "infer"
) -> tuple[LdMatrix, pd.DataFrame]:
    """Measure the correlations of variants in a panel, for the effect alleles of `variants`.

    Parameters
    ----------
    panel : genotypes.
    variants : columns of `schema.VARIANTS`, and `eaf` where known.
    match : how variants are found in the panel, see `match_variants`.
    palindromes : what becomes of A/T and C/G, whose strand in the panel the frequencies tell, see `compare_alleles`.

    Returns
    -------
    tuple
        The matrix of the variants that are in the panel and vary there, in their order; variant_id, reason and detail
        of the others.

    Notes
    -----
    The correlations are those of PLINK's --r for unphased genotypes, over samples where both are known. A matrix of
    more variants than samples is singular, and one over missing genotypes need not be positive definite.
    """
    found = match_variants(variants, panel.variants, match=match, names=("variants", "the LD panel"))
    rows = np.unique(found.right)
    genotypes = panel.dosages(rows)
    there = panel.variants.iloc[rows].reset_index(drop=True).assign(eaf=_frequencies(genotypes))
    pairs = pair_variants(
        variants, there, palindromes=palindromes, match="name" if found.by == "name" else "position",
        names=("variants", "the LD panel"),
    )  # fmt: skip
    frequency = there["eaf"].to_numpy()[pairs.right]
    varies = _varies(genotypes[:, pairs.right])
    kept, lost = pairs.left[varies], pairs.left[~varies]
    sign = pairs.sign[varies].astype(float)
    dosages = genotypes[:, pairs.right[varies]]
    matrix = dosage_correlation(dosages, dosages) * sign[:, None] * sign
    np.fill_diagonal(matrix, 1.0)
    constant = pd.DataFrame(
        {
            "variant_id": variants["variant_id"].to_numpy(object)[lost],
            "reason": CONSTANT,
            "detail": [f"frequency {f:.3g}" for f in frequency[~varies]],
        }
    )
    named = variants.iloc[kept].reset_index(drop=True)[["variant_id", "effect_allele", "other_allele"]]
    return LdMatrix(variants=named, correlation=matrix), pd.concat([pairs.dropped, constant], ignore_index=True)


def add_correlation(instruments: Instruments, ld: LdMatrix) -> Instruments:
    """Give instruments their correlations, in their own order and for their own effect alleles.

    Parameters
    ----------
    instruments : whose variants are all in the matrix.
    ld : correlations; rows in any order. Where it names alleles, the sign of a variant coded the other way is changed;
        where it does not, it must be for the effect alleles of the instruments.

    Raises
    ------
    InputError
        When a variant is not in the matrix, or its alleles there are others.
    """
    variants = instruments.variants
    rows = pd.Index(ld.variants["variant_id"].astype(object)).get_indexer(
        pd.Index(variants["variant_id"].astype(object))
    )
    if np.any(rows < 0):
        absent = variants["variant_id"].to_numpy(object)[rows < 0]
        raise InputError(f"the LD matrix lacks {len(absent)} of {len(rows)} instruments, first {absent[0]}")
    sign = np.ones(len(rows))
    if "effect_allele" in ld.variants:
        own, other = (variants[name].astype(str).to_numpy() for name in ("effect_allele", "other_allele"))
        theirs, theirs_other = (
            ld.variants[name].astype(str).to_numpy()[rows] for name in ("effect_allele", "other_allele")
        )
        swapped = (own == theirs_other) & (other == theirs)
        bad = ~swapped & ~((own == theirs) & (other == theirs_other))
        if bad.any():
            i = int(np.argmax(bad))
            raise InputError(
                f"the LD matrix is for {variants['variant_id'].iloc[i]} {theirs[i]}/{theirs_other[i]}; "
                f"the instruments have {own[i]}/{other[i]}"
            )
        sign[swapped] = -1
    whole = ld.correlation[np.ix_(rows, rows)] * sign[:, None] * sign
    matrices = tuple(whole[a:b, a:b] for a, b in pairwise(instruments.offsets))
    return replace(instruments, correlation=matrices)


def _frequencies(genotypes: Float[np.ndarray, "samples _"]) -> Float[np.ndarray, "_"]:
    known = ~np.isnan(genotypes)
    count = known.sum(axis=0)
    total = np.where(known, genotypes, 0).sum(axis=0, dtype=float)
    return np.where(count > 0, total / (2 * np.maximum(count, 1)), np.nan)


def _varies(genotypes: Float[np.ndarray, "samples _"]) -> Bool[np.ndarray, "_"]:
    low = np.where(np.isnan(genotypes), np.inf, genotypes).min(axis=0, initial=np.inf)
    high = np.where(np.isnan(genotypes), -np.inf, genotypes).max(axis=0, initial=-np.inf)
    return high > low


def ld_names(names: Sequence[str]) -> pd.DataFrame:
    """Return variants named `rs1_A_G` (effect and other allele, as TwoSampleMR names them) with their alleles.

    Parameters
    ----------
    names : of the columns of a matrix; without alleles in every one of them, they are taken as they are.
    """
    whole = pd.Series(list(names), dtype=object)
    parts = whole.str.extract(r"^(.+)_([ACGT]+|[DI-])_([ACGT]+|[DI-])$")
    if parts.isna().to_numpy().any():
        return pd.DataFrame({"variant_id": whole})
    return parts.set_axis(["variant_id", "effect_allele", "other_allele"], axis=1)
