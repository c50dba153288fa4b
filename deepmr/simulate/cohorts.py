"""Cohorts of which the truth is known: relatives, linkage disequilibrium, heritable traits, variants that matter."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import special

from deepmr import checks
from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.errors import InputError

_BASES = np.array(list("ACGT"), dtype=object)
_SPACING = 10_000  # bases from a variant to the next
_CROSSOVERS = 1.0  # of a chromosome in a meiosis, on average


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortDesign:
    """What a cohort is like.

    Attributes
    ----------
    n_samples, n_variants, n_traits, n_covariates : counts; covariates are standard normal.
    trait_names : trait1, trait2, ... unless given.
    n_sites : places that families belong to, in turn, which are covariates too, indicators of all but the first;
        none with 0.
    n_chromosomes : named 1, 2, ...; variants are shared out evenly.
    ld : correlation of the normal variables behind neighbouring variants of a haplotype; 0 to below 1.
    min_maf : frequencies of the effect allele are uniform between this and 1 less this.
    family_size : full siblings in a row, their parents not sampled; 1 for samples that are not related.
    n_populations, fst : families are shared out over as many populations, of that differentiation.
    h_sq : share of the variance of each trait that polygenic effects explain.
    polygenic_chroms : chromosomes whose variants all have a small effect; all of them where empty.
    n_causal, causal_share : variants with a large effect on each trait, others for every trait; the share of its
        variance that they explain together.
    causal_chroms : chromosomes with them, where they are spaced out evenly; all of them where empty.
    shared_environment : share of the variance that siblings have in common for other reasons.
    trait_corr : of polygenic effects, of shared environments and of residuals, between any two traits; 0 to below 1.
    environment_corr : the same of shared environments and of residuals, where it is another: a confounder that no
        variant shows.
    slope : causal effect of the first trait on the others; a number for each, or one for all of them.
    missing, missing_phenotypes : shares of genotypes and of phenotypes that are lost, at random.
    """

    n_samples: int = 400
    n_variants: int = 1000
    n_traits: int = 1
    n_covariates: int = 1
    trait_names: tuple[str, ...] = ()
    n_sites: int = 0
    n_chromosomes: int = 4
    ld: float = 0.5
    min_maf: float = 0.05
    family_size: int = 4
    n_populations: int = 1
    fst: float = 0.05
    h_sq: float = 0.5
    polygenic_chroms: tuple[str, ...] = ()
    n_causal: int = 0
    causal_share: float = 0.0
    causal_chroms: tuple[str, ...] = ()
    shared_environment: float = 0.0
    trait_corr: float = 0.0
    environment_corr: float | None = None
    slope: float | tuple[float, ...] = 0.0
    missing: float = 0.0
    missing_phenotypes: float = 0.0

    def __post_init__(self) -> None:
        for name in ("n_samples", "n_variants", "n_traits", "n_chromosomes", "family_size", "n_populations"):
            checks.at_least(name, getattr(self, name), 1)
        for name in ("h_sq", "causal_share", "shared_environment", "missing", "missing_phenotypes", "n_sites"):
            checks.at_least(name, getattr(self, name), 0)
        for name in ("ld", "trait_corr", "environment_corr"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise InputError(f"{name} must be 0 or more and below 1; got {value!r}")
        for name, given, needed in (
            ("trait_names", self.trait_names, self.n_traits),
            ("slope", self.slope if isinstance(self.slope, tuple) else (), self.n_traits - 1),
        ):
            if given and len(given) != needed:
                raise InputError(f"{name} of {self.n_traits} traits must be {needed}; got {len(given)}: {given}")
        explained = self.h_sq + self.causal_share + self.shared_environment
        if explained > 1:
            raise InputError(f"h_sq, causal_share and shared_environment must not exceed 1 together; got {explained:g}")
        for name in ("polygenic_chroms", "causal_chroms"):
            for chrom in getattr(self, name):
                checks.one_of(f"a chromosome of {name}", chrom, self.chroms)

    @property
    def chroms(self) -> tuple[str, ...]:
        """Names of the chromosomes."""
        return tuple(str(k + 1) for k in range(self.n_chromosomes))

    @property
    def traits(self) -> tuple[str, ...]:
        """Names of the traits."""
        return self.trait_names or tuple(f"trait{k + 1}" for k in range(self.n_traits))

    @property
    def slopes(self) -> Float[np.ndarray, "traits"]:
        """Causal effects of the first trait on every trait, 0 on itself."""
        found = np.zeros(self.n_traits)
        found[1:] = self.slope
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedCohort:
    """A cohort, and what is true of it.

    Attributes
    ----------
    cohort : as an analysis gets it.
    families, populations, sites : of each sample, from 0.
    effects : total effect on each trait, per copy of the effect allele; those that pass through the first trait too.
    causal : which variants have a large effect on each trait that passes through no other.
    covariate_effects : on each trait.
    genetic : what all variants contribute to each trait, less its mean.
    """

    cohort: Cohort
    families: Int[np.ndarray, "samples"]
    populations: Int[np.ndarray, "samples"]
    sites: Int[np.ndarray, "samples"]
    effects: Float[np.ndarray, "variants traits"]
    causal: Bool[np.ndarray, "variants traits"]
    covariate_effects: Float[np.ndarray, "covariates traits"]
    genetic: Float[np.ndarray, "samples traits"]


def simulate_cohort(design: CohortDesign | None = None, *, seed: int = 0) -> SimulatedCohort:
    """Simulate the genotypes, traits and covariates of a cohort.

    Parameters
    ----------
    design : what it is like; a cohort of siblings in families of four, unless given.
    seed : of the random stream.

    Raises
    ------
    InputError : when there are fewer variants than causal ones are asked for.

    Notes
    -----
    Alleles of a haplotype are 1 where a stationary autoregressive normal sequence along its chromosome lies below the
    quantile of the allele's frequency, which differs between populations by the model of Balding and Nichols. Siblings
    inherit from two parents with one crossover a chromosome on average. Polygenic effects per allele are normal with
    one variance, so that genetic values have covariance h_sq K / mean diagonal of K given genotypes, K the relationship
    matrix of the centred genotypes of these chromosomes. Before `slope`, a trait's variance given covariates is 1.

    References
    ----------
    Balding & Nichols (1995) doi:10.1007/BF01441146.

    Examples
    --------
    >>> found = simulate_cohort(CohortDesign(n_samples=6, n_variants=20, n_traits=2))
    >>> found.cohort.traits, found.families.tolist()
    (('trait1', 'trait2'), [0, 0, 0, 0, 1, 1])
    """
    design = CohortDesign() if design is None else design
    rng = np.random.default_rng(seed)
    chrom = np.array(design.chroms, dtype=object)[
        np.arange(design.n_variants) * design.n_chromosomes // design.n_variants
    ]
    families = np.arange(design.n_samples) // design.family_size
    n_families = int(families[-1]) + 1
    of_family = np.arange(n_families) * design.n_populations // n_families
    dosages = _dosages(design, chrom, families, of_family, rng)
    effects, causal = _effects(design, chrom, dosages, rng)
    sites = families % max(design.n_sites, 1)
    at_site = (sites[:, None] == np.arange(1, design.n_sites)).astype(float)
    covariates = np.hstack([rng.standard_normal((design.n_samples, design.n_covariates)), at_site])
    covariate_effects = 0.3 * rng.standard_normal((covariates.shape[1], design.n_traits))
    corr = design.trait_corr if design.environment_corr is None else design.environment_corr
    environment = _correlated(rng, n_families, design, corr)[families] * np.sqrt(design.shared_environment)
    rest = 1.0 - design.h_sq - design.causal_share * bool(design.n_causal) - design.shared_environment
    residual = _correlated(rng, design.n_samples, design, corr) * np.sqrt(max(rest, 0.0))
    genetic = dosages.T @ effects - dosages.mean(1) @ effects
    phenotypes = genetic + covariates @ covariate_effects + environment + residual
    phenotypes, effects, covariate_effects, genetic = (
        own + own[:, :1] * design.slopes for own in (phenotypes, effects, covariate_effects, genetic)
    )
    if design.missing:
        dosages[rng.random(dosages.shape) < design.missing] = np.nan
    if design.missing_phenotypes:
        phenotypes[rng.random(phenotypes.shape) < design.missing_phenotypes] = np.nan
    cohort = Cohort(
        genotypes=ArrayGenotypes(
            variants=_variants(chrom, rng),
            samples=pd.Index([f"s{k + 1}" for k in range(design.n_samples)]),
            dosages=dosages,
        ),
        phenotypes=phenotypes,
        traits=design.traits,
        covariates=covariates,
        covariate_names=(
            *(f"covariate{k + 1}" for k in range(design.n_covariates)),
            *(f"site{k + 1}" for k in range(1, design.n_sites)),
        ),
    )
    return SimulatedCohort(
        cohort=cohort,
        families=families,
        populations=of_family[families],
        sites=sites,
        effects=effects,
        causal=causal,
        covariate_effects=covariate_effects,
        genetic=genetic,
    )


def _dosages(
    design: CohortDesign,
    chrom: np.ndarray,
    families: Int[np.ndarray, "samples"],
    of_family: Int[np.ndarray, "families"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "variants samples"]:
    """Draw parents' haplotypes along each chromosome, and what their children inherit, a variant at a time."""
    threshold = special.ndtri(_frequencies(design, rng))
    of_haplotype = of_family.repeat(4)
    # Four haplotypes a family: two of one parent, then two of the other.
    home = 4 * families + np.array([[0], [2]])
    changing = min(0.5, _CROSSOVERS * design.n_chromosomes / design.n_variants)
    fresh = np.sqrt(1.0 - design.ld**2)
    dosages = np.empty((design.n_variants, design.n_samples))
    for k in range(design.n_variants):
        noise = rng.standard_normal(len(of_haplotype))
        if k == 0 or chrom[k] != chrom[k - 1]:
            z, grandparent = noise, rng.integers(0, 2, home.shape)
        else:
            z, grandparent = design.ld * z + fresh * noise, grandparent ^ (rng.random(home.shape) < changing)
        dosages[k] = (z < threshold[k, of_haplotype])[home + grandparent].sum(0)
    return dosages


def _frequencies(design: CohortDesign, rng: np.random.Generator) -> Float[np.ndarray, "variants populations"]:
    ancestral = rng.uniform(design.min_maf, 1.0 - design.min_maf, (design.n_variants, 1))
    if design.n_populations == 1 or not design.fst:
        return ancestral.repeat(design.n_populations, axis=1)
    spread = 1.0 / design.fst - 1.0
    size = (design.n_variants, design.n_populations)
    return np.clip(rng.beta(ancestral * spread, (1.0 - ancestral) * spread, size), 1e-12, 1.0 - 1e-12)


def _effects(
    design: CohortDesign, chrom: np.ndarray, dosages: Float[np.ndarray, "variants samples"], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "variants traits"], Bool[np.ndarray, "variants traits"]]:
    """Draw the effects of every variant, and place those that are large."""
    variance = dosages.var(1)
    polygenic = np.isin(chrom, design.polygenic_chroms or design.chroms)
    effects = _correlated(rng, design.n_variants, design, design.trait_corr) * polygenic[:, None]
    effects *= np.sqrt(design.h_sq / max(variance[polygenic].sum(), np.finfo(float).tiny))
    causal = np.zeros(effects.shape, dtype=bool)
    if design.n_causal:
        there = np.flatnonzero(np.isin(chrom, design.causal_chroms or design.chroms) & (variance > 0))
        wanted = design.n_causal * design.n_traits
        if wanted > len(there):
            raise InputError(f"{wanted} causal variants are asked for, {len(there)} could be")
        places = there[((np.arange(wanted) + 0.5) * len(there) / wanted).astype(int)]
        places = places.reshape(design.n_causal, design.n_traits)
        for trait in range(design.n_traits):
            at = places[:, trait]
            causal[at, trait] = True
            size = np.sqrt(design.causal_share / design.n_causal / variance[at])
            effects[at, trait] += size * rng.choice([-1.0, 1.0], design.n_causal)
    return effects, causal


def _correlated(
    rng: np.random.Generator, rows: int, design: CohortDesign, corr: float
) -> Float[np.ndarray, "rows traits"]:
    """Draw standard normal columns, a trait each, any two of which correlate alike."""
    own = rng.standard_normal((rows, design.n_traits))
    common = rng.standard_normal((rows, 1))
    return np.sqrt(1.0 - corr) * own + np.sqrt(corr) * common


def _variants(chrom: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    rows = len(chrom)
    effect = rng.integers(0, 4, rows)
    other = (effect + rng.integers(1, 4, rows)) % 4
    return pd.DataFrame(
        {
            "variant_id": [f"rs{k + 1}" for k in range(rows)],
            "chrom": chrom,
            "pos": (pd.Series(chrom).groupby(chrom).cumcount().to_numpy() + 1) * _SPACING,
            "effect_allele": _BASES[effect],
            "other_allele": _BASES[other],
        }
    )
