"""Rounds of the study of linear mixed models: cohorts of siblings, scanned in every way, beside the truth."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.population import Spectrum, associate_variants, fit_null, project
from deepmr.population.leave_out import leave_one_out
from deepmr.population.relationship import relationship_of, spectrum_of_relationship
from deepmr.simulate.cohorts import CohortDesign, SimulatedCohort, simulate_cohort

TESTS = ("f", "wald", "lrt", "score")
LAST = "4"  # the chromosome that is tested; polygenic effects are on the others
OTHERS = ("1", "2", "3")
WITHOUT, WITH, NONE = "without its chromosome", "of all chromosomes", "none: least squares"  # relationship matrices
SIZES = {"null": 20_000, "small": 4_000, "power": 20_000, "heritability": 4_000}
DESIGNS: dict[str, CohortDesign] = {
    "null": CohortDesign(n_samples=1_000, n_traits=10, n_covariates=4, polygenic_chroms=OTHERS),
    "small": CohortDesign(n_samples=100, n_traits=10, n_covariates=4, polygenic_chroms=OTHERS),
    "power": CohortDesign(
        n_samples=1_000,
        n_traits=10,
        n_covariates=4,
        polygenic_chroms=OTHERS,
        n_causal=10,
        causal_share=0.1,
        causal_chroms=(LAST,),
    ),
    "heritability": CohortDesign(n_samples=1_000, n_traits=50, n_covariates=4),
}
ROUNDS = {"null": 20, "small": 40, "power": 5, "heritability": 4}
H_SQ = (0.0, 0.2, 0.5, 0.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a round found.

    Attributes
    ----------
    pvalues : of variants without effect: by relationship matrix and test.
    rows : other findings, a row each.
    """

    pvalues: dict[tuple[str, str], np.ndarray]
    rows: pd.DataFrame


def run_round(arm: str, seed: int, *, variants: int | None = None) -> Round:
    """Simulate a cohort and scan it.

    Parameters
    ----------
    arm : a key of `DESIGNS`.
    seed : of the round.
    variants : fewer than the arm has, for a try.
    """
    design = replace(DESIGNS[arm], n_variants=variants or SIZES[arm])
    if arm == "heritability":
        return Round(pvalues={}, rows=heritabilities(design, seed))
    found = simulate_cohort(design, seed=seed)
    tables = scans(found, tests=TESTS if arm != "power" else ("f",))
    variant_ids = found.cohort.genotypes.variants["variant_id"].to_numpy()
    if arm == "power":
        return Round(pvalues={}, rows=causal_rows(found, tables, variant_ids).assign(seed=seed))
    # In small cohorts some variants have one genotype alone, which no test is made of.
    pvalues = {key: table["pvalue"].dropna().to_numpy() for key, table in tables.items()}
    return Round(pvalues=pvalues, rows=pd.DataFrame())


def scans(found: SimulatedCohort, *, tests: tuple[str, ...]) -> dict[tuple[str, str], pd.DataFrame]:
    """Test the last chromosome with relationship matrices with it, without it, and without any."""
    cohort = found.cohort
    left_out = leave_one_out(cohort.genotypes)
    tested = chromosome(cohort, LAST)
    spectra = {WITHOUT: left_out(LAST), WITH: spectrum_of_relationship(left_out.whole)}
    tables = {
        (matrix, test): associate_variants(tested, spectrum, test=test).table
        for matrix, spectrum in spectra.items()
        for test in tests
    }
    tables[(NONE, "f")] = least_squares(tested, spectra[WITHOUT])
    return tables


def chromosome(cohort: Cohort, chrom: str) -> Cohort:
    """Return the cohort with the variants of one chromosome alone."""
    genotypes = cohort.genotypes
    at = (genotypes.variants["chrom"] == chrom).to_numpy()
    part = ArrayGenotypes(
        variants=genotypes.variants[at].reset_index(drop=True),
        samples=genotypes.samples,
        dosages=genotypes.read(0, len(at))[at],
    )
    return replace(cohort, genotypes=part)


def least_squares(cohort: Cohort, like: Spectrum) -> pd.DataFrame:
    """Test without a relationship matrix: one whose eigenvalues, all 0, leave every sample independent."""
    none = replace(like, eigenvalues=np.zeros_like(like.eigenvalues))
    return associate_variants(cohort, none, on_boundary="clamp").table


def causal_rows(
    found: SimulatedCohort, tables: dict[tuple[str, str], pd.DataFrame], variant_ids: np.ndarray
) -> pd.DataFrame:
    """Return a row a causal variant and relationship matrix: chi-square, P and whether the interval holds the truth."""
    where, traits = np.nonzero(found.causal)
    truth = pd.DataFrame({
        "variant_id": variant_ids[where],
        "trait": np.array(found.cohort.traits)[traits],
        "truth": found.effects[where, traits],
    })  # fmt: skip
    rows = []
    for (matrix, _), table in tables.items():
        mine = truth.merge(table, on=["variant_id", "trait"], validate="one_to_one")
        dof = len(found.cohort) - found.cohort.design.shape[1] - 1
        reach = stats.t.ppf(0.975, dof) * mine["se"]
        held = (mine["beta"] - mine["truth"]).abs() <= reach
        rows.append(mine[["chi_sq", "pvalue", "beta", "se", "truth"]].assign(matrix=matrix, held=held))
    return pd.concat(rows, ignore_index=True)


def heritabilities(design: CohortDesign, seed: int) -> pd.DataFrame:
    """Return a row a trait: h2, its error and whether the interval holds the truth, for siblings and for strangers."""
    rows: list[dict[str, Any]] = []
    for samples, family_size in (("siblings", 4), ("not related", 1)):
        for h_sq in H_SQ:
            cohort = simulate_cohort(replace(design, family_size=family_size, h_sq=h_sq), seed=seed).cohort
            if h_sq == H_SQ[0]:  # the same seed draws the same genotypes
                spectrum = spectrum_of_relationship(relationship_of(cohort.genotypes))
            p = spectrum.vectors
            null = fit_null(project(p @ cohort.phenotypes, p @ cohort.design, spectrum.eigenvalues), on_boundary="ols")
            for k in range(len(null.h_sq)):
                rows.append({
                    "samples": samples, "truth": h_sq, "h_sq": null.h_sq[k], "se": null.h_sq_se[k],
                    "boundary": null.boundary[k], "seed": seed,
                })  # fmt: skip
    return pd.DataFrame(rows)
