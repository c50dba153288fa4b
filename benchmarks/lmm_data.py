"""What `benchmarks/lmm.py` works on: a cohort and its spectrum, made once in a folder; PLINK files of any size."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.population import Spectrum
from deepmr.population.relationship import relationship_of, spectrum_of_relationship
from deepmr.simulate.cohorts import CohortDesign, simulate_cohort

SAMPLES, MARKERS, TRAITS = 2_000, 4_096, 100
COVARIATES = 4  # with the intercept, 5 fixed effects


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A cohort, its relationship matrix of mean diagonal 1, and that matrix' spectrum."""

    cohort: Cohort
    kinship: np.ndarray
    spectrum: Spectrum

    @property
    def dosages(self) -> np.ndarray:
        """Of all markers, without missing ones."""
        return self.cohort.genotypes.read(0, len(self.cohort.genotypes.variants))

    def one(self) -> Cohort:
        """Return the cohort with its first trait alone."""
        return self.cohort.select(self.cohort.traits[:1])


def prepare(scratch: Path, *, samples: int = SAMPLES, markers: int = MARKERS) -> None:
    """Write the cohort and its spectrum.

    Parameters
    ----------
    scratch : folder.
    samples, markers : how many.
    """
    design = CohortDesign(n_samples=samples, n_variants=markers, n_traits=TRAITS, n_covariates=COVARIATES)
    cohort = simulate_cohort(design, seed=1).cohort
    relationship = relationship_of(cohort.genotypes).centred()
    spectrum = spectrum_of_relationship(relationship)
    np.savez(
        scratch / "given.npz",
        dosages=cohort.genotypes.read(0, markers),
        phenotypes=cohort.phenotypes,
        covariates=cohort.covariates,
        kinship=relationship.matrix / spectrum.scale,
        eigenvalues=spectrum.eigenvalues,
        vectors=spectrum.vectors,
    )


def load(scratch: Path, *, markers: bool = True) -> Given:
    """Read what `prepare` wrote.

    Parameters
    ----------
    scratch : folder.
    markers : whether the genotypes and the relationship matrix too, or none of them.
    """
    with np.load(scratch / "given.npz") as file:
        stored = {name: file[name] for name in file.files if markers or name not in ("dosages", "kinship")}
    samples = len(stored["phenotypes"])
    stored = {"dosages": np.empty((0, samples)), "kinship": np.empty((0, 0))} | stored
    variants = len(stored["dosages"])
    cohort = Cohort(
        genotypes=ArrayGenotypes(
            variants=variant_frame(variants),
            samples=pd.Index([f"s{k + 1}" for k in range(samples)]),
            dosages=stored["dosages"],
        ),
        phenotypes=stored["phenotypes"],
        traits=tuple(f"trait{k + 1}" for k in range(stored["phenotypes"].shape[1])),
        covariates=stored["covariates"],
        covariate_names=tuple(f"covariate{k + 1}" for k in range(stored["covariates"].shape[1])),
    )
    spectrum = Spectrum(eigenvalues=stored["eigenvalues"], vectors=stored["vectors"], mean_diagonal=1.0)
    return Given(cohort=cohort, kinship=stored["kinship"], spectrum=spectrum)


def variant_frame(variants: int) -> pd.DataFrame:
    """Return names and places of variants.

    Parameters
    ----------
    variants : how many.
    """
    names = np.char.add("v", np.arange(variants).astype(str)).astype(object)
    frame = pd.DataFrame({"variant_id": names, "chrom": "1", "pos": np.arange(1, variants + 1)})
    return frame.assign(effect_allele="A", other_allele="C")


def write_bed(prefix: Path, *, variants: int, samples: int = SAMPLES, missing: float = 0.0) -> None:
    """Write PLINK files of random genotypes, of allele frequencies of all sizes.

    Parameters
    ----------
    prefix : of the three files.
    variants, samples : how many; samples a multiple of 4.
    missing : share of missing genotypes.
    """
    rng = np.random.default_rng(2)
    codes = np.array([0, 2, 3], dtype=np.uint8)  # two, one and no copies; 1 is missing
    with prefix.with_suffix(".bed").open("wb") as file:
        file.write(bytes([0x6C, 0x1B, 0x01]))
        for start in range(0, variants, 4_096):
            rows = min(4_096, variants - start)
            # A pool of bytes for the block, of its allele frequency: a variant is drawn from the pool.
            p = rng.uniform(0.05, 0.95)
            drawn = codes[rng.binomial(2, 1 - p, (4_096, 4))]
            drawn[rng.random(drawn.shape) < missing] = 1
            pool = (drawn << np.array([0, 2, 4, 6], dtype=np.uint8)).sum(1, dtype=np.uint8)
            file.write(pool[rng.integers(0, len(pool), (rows, samples // 4), dtype=np.uint16)].tobytes())
    frame = pd.DataFrame({
        "chrom": np.arange(variants) * 22 // variants + 1, "name": np.char.add("v", np.arange(variants).astype(str)),
        "cm": 0, "pos": np.arange(1, variants + 1), "a1": "A", "a2": "C",
    })  # fmt: skip
    frame.to_csv(prefix.with_suffix(".bim"), sep="\t", header=False, index=False)
    lines = [f"s{k + 1} s{k + 1} 0 0 0 -9" for k in range(samples)]
    prefix.with_suffix(".fam").write_text("\n".join(lines) + "\n")
