"""Genotypes, phenotypes and covariates of a population: the core types of association."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError

VARIANT_COLUMNS = ("variant_id", "chrom", "pos", "effect_allele", "other_allele")
INTERCEPT = "intercept"


@runtime_checkable
class Genotypes(Protocol):
    """Genotypes that are read a block of variants at a time, from a file or from memory."""

    @property
    def variants(self) -> pd.DataFrame:
        """variant_id, chrom, pos, effect_allele and other_allele, a row a variant, in the order of reading."""

    @property
    def samples(self) -> pd.Index:
        """Identifiers of the samples, as text."""

    def read(self, start: int, stop: int) -> Float[np.ndarray, "variants samples"]:
        """Return copies of the effect allele of variants start to stop, NaN where missing; each variant contiguous."""

    def take(self, rows: Int[np.ndarray, "chosen"]) -> "Genotypes":
        """Return the same variants of these samples alone, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayGenotypes:
    """Genotypes in memory.

    Attributes
    ----------
    variants : as in `Genotypes`.
    samples : identifiers, each once.
    dosages : copies of the effect allele, 0 to 2 or any other number; NaN where missing.
    """

    variants: pd.DataFrame
    samples: pd.Index
    dosages: Float[np.ndarray, "variants samples"]

    def __post_init__(self) -> None:
        checks.columns("variants", self.variants.columns, VARIANT_COLUMNS)
        checks.shape("dosages", self.dosages, (len(self.variants), len(self.samples)))
        checks.unique("samples", self.samples)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "variants samples"]:
        """Return copies of the effect allele of variants start to stop."""
        return self.dosages[start:stop]

    def take(self, rows: Int[np.ndarray, "chosen"]) -> "ArrayGenotypes":
        """Return the same variants of these samples alone, in this order."""
        return replace(self, samples=self.samples[rows], dosages=np.ascontiguousarray(self.dosages[:, rows]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Samples with genotypes, phenotypes and covariates, in one order.

    Attributes
    ----------
    genotypes : of these samples, in this order.
    phenotypes : a column a trait; NaN where not measured.
    traits : their names.
    covariates : a column a covariate, finite; the intercept is not among them.
    covariate_names : their names.
    """

    genotypes: Genotypes
    phenotypes: Float[np.ndarray, "samples traits"]
    traits: tuple[str, ...]
    covariates: Float[np.ndarray, "samples covariates"]
    covariate_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.genotypes.samples)
        checks.shape("phenotypes", self.phenotypes, (n, len(self.traits)))
        checks.shape("covariates", self.covariates, (n, len(self.covariate_names)))
        checks.finite("covariates", self.covariates)
        if np.isinf(self.phenotypes).any():
            raise InputError("phenotypes must be finite, or missing; some are infinite")
        if not self.traits:
            raise InputError("at least one trait is needed; got none")
        checks.unique("names of traits and covariates", (*self.traits, *self.covariate_names))

    def __len__(self) -> int:
        return len(self.phenotypes)

    @property
    def samples(self) -> pd.Index:
        """Identifiers of the samples."""
        return self.genotypes.samples

    @property
    def design(self) -> Float[np.ndarray, "samples columns"]:
        """Covariates after a column of ones."""
        return np.column_stack([np.ones(len(self)), self.covariates])

    @property
    def design_names(self) -> tuple[str, ...]:
        """Names of the columns of `design`."""
        return (INTERCEPT, *self.covariate_names)

    def take(self, rows: Any) -> "Cohort":
        """Return the samples that a slice, a boolean mask or an array of positions selects."""
        at = np.arange(len(self))[rows]
        return replace(
            self,
            genotypes=self.genotypes.take(at),
            phenotypes=self.phenotypes[at],
            covariates=self.covariates[at],
        )

    def select(self, traits: Sequence[str]) -> "Cohort":
        """Return the same samples with these traits alone."""
        for trait in traits:
            checks.one_of("trait", trait, self.traits)
        columns = [self.traits.index(trait) for trait in traits]
        return replace(self, traits=tuple(traits), phenotypes=self.phenotypes[:, columns])

    def complete(self) -> "list[Cohort]":
        """Return the traits by who has them: cohorts without missing phenotypes, in the order of their first traits."""
        groups: dict[bytes, list[str]] = {}
        there = ~np.isnan(self.phenotypes)
        for k, trait in enumerate(self.traits):
            groups.setdefault(there[:, k].tobytes(), []).append(trait)
        found = []
        for traits in groups.values():
            mask = there[:, self.traits.index(traits[0])]
            if not mask.any():
                raise InputError(f"no sample with genotypes and covariates has {traits[0]}")
            part = self.select(traits)
            found.append(part if mask.all() else part.take(mask))
        return found
