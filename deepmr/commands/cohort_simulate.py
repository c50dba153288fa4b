"""`deepmr cohort simulate`: genotypes, traits and covariates of a cohort whose truth is known, as files."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.directories import atomic_directory, check_directory
from deepmr.io.files import atomic_path
from deepmr.io.genotypes_plink import write_plink
from deepmr.io.provenance import provenance
from deepmr.io.tables import write_table
from deepmr.simulate.cohort_designs import DESIGNS
from deepmr.simulate.cohorts import CohortDesign, SimulatedCohort, simulate_cohort

DESCRIPTION = "cohort.json"
_AGE = 50.0, 10.0  # mean and standard deviation


def cohort_simulate(
    *,
    out: Path,
    design: str = "families",
    samples: int | None = None,
    variants: int | None = None,
    traits: list[str] | None = None,
    effects: list[float] | None = None,
    missing: float = 0.02,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, object]:
    """Simulate genotypes, traits and covariates of related samples, whose causal effects are known.

    Writes PLINK files (geno.bed, .bim, .fam), traits.tsv with identifiers, traits and covariates (age, site), the
    truth (truth_effects.tsv between traits, truth_traits.tsv, truth_variants.tsv) and how it was made (cohort.json).

    Parameters
    ----------
    out
        Directory to make.
    design
        Name of a ready design; an unknown name lists what there is.
    samples, variants
        How many; those of the design by default.
    traits
        Names; x, y and z by default. Each has variants of its own with a large effect.
    effects
        Causal effects of the first trait on each of the others, in their order; those of the design by default.
    missing
        Share of samples without traits, and of samples without age.
    seed
        Seed; the same options and seed give the same data.
    overwrite
        Replace a simulated cohort that is there.

    Returns
    -------
    dict
        Sizes, true effects between traits, heritabilities, and the files.

    Raises
    ------
    InputError
        For an unknown design, an option that is out of range, or a directory that may not be made.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    check_directory(out, marker=DESCRIPTION, overwrite=overwrite)
    checks.at_least("seed", seed, 0)
    if not 0 <= missing < 0.5:
        raise InputError(f"missing is a share, from 0 to below 0.5; got {missing:g}")
    chosen, says = design_of(design, samples=samples, variants=variants, traits=traits, effects=effects)
    drawn = simulate_cohort(chosen, seed=seed)
    tables = {
        "traits.tsv": traits_table(drawn, missing=missing, seed=seed),
        "truth_effects.tsv": effects_table(drawn, chosen),
        "truth_traits.tsv": heritability_table(drawn),
        "truth_variants.tsv": variants_table(drawn),
    }
    record = provenance("cohort simulate", options=options, inputs={}, seed=seed)
    record |= {"design": asdict(chosen), "says": says}
    with atomic_directory(out) as folder:
        names = [f"f{family + 1}" for family in drawn.families]
        written = [path.name for path in write_plink(drawn.cohort.genotypes, folder / "geno", families=names)]
        for name, table in tables.items():
            write_table(table, folder / name)
        with atomic_path(folder / DESCRIPTION) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return {
        "design": f"{design}: {says}",
        "samples": len(drawn.cohort),
        "families": int(drawn.families[-1]) + 1,
        "variants": len(drawn.effects),
        "effects": tables["truth_effects.tsv"].to_dict(orient="records"),
        "traits": tables["truth_traits.tsv"].to_dict(orient="records"),
        "files": [str(out / name) for name in (*written, *tables, DESCRIPTION)],
    }


def design_of(
    name: str,
    *,
    samples: int | None = None,
    variants: int | None = None,
    traits: list[str] | None = None,
    effects: list[float] | None = None,
) -> tuple[CohortDesign, str]:
    """Return a ready design with what the user changed in it, and what it is in words.

    Parameters
    ----------
    name : of the design.
    samples, variants, traits, effects : as in `cohort_simulate`.

    Raises
    ------
    InputError
        For an unknown name, or effects that are not one for each trait but the first.
    """
    checks.one_of("design", name, DESIGNS)
    base, says = DESIGNS[name]
    names = base.traits if traits is None else tuple(traits)
    checks.unique("--traits", names)
    taken = {"IID", "FID", "age", "site"} & set(names)
    if taken or len(names) < 2:
        raise InputError(
            f"--traits needs two names or more, none of them IID, FID, age or site; got {', '.join(names)}"
        )
    slopes = tuple(base.slopes[1:].tolist()) if effects is None else tuple(float(one) for one in effects)
    if effects is None:
        slopes = (*slopes, *([0.0] * len(names)))[: len(names) - 1]
    elif len(slopes) != len(names) - 1:
        raise InputError(
            f"--effects needs a number for each of {', '.join(names[1:])}: what {names[0]} does to it; "
            f"got {len(slopes)}"
        )
    design = replace(
        base,
        n_samples=base.n_samples if samples is None else samples,
        n_variants=base.n_variants if variants is None else variants,
        n_traits=len(names),
        trait_names=names,
        slope=slopes,
    )
    return design, says


def traits_table(drawn: SimulatedCohort, *, missing: float, seed: int) -> pd.DataFrame:
    """Return what a study would have measured: some samples lack all traits, and others their age.

    Parameters
    ----------
    drawn : the cohort.
    missing, seed : as in `cohort_simulate`.
    """
    cohort = drawn.cohort
    mean, sd = _AGE
    age = mean + sd * cohort.covariates[:, 0]
    site = np.array([f"site{k + 1}" for k in drawn.sites], dtype=object)
    lost = np.random.default_rng([seed, 1]).permutation(len(cohort))  # apart from the stream that drew the cohort
    n_lost = round(missing * len(cohort))
    phenotypes = cohort.phenotypes.copy()
    phenotypes[lost[:n_lost]] = np.nan
    age[lost[n_lost : 2 * n_lost]] = np.nan
    measured = pd.DataFrame(phenotypes.round(6), columns=list(cohort.traits))
    return pd.concat(
        [pd.DataFrame({"IID": cohort.samples}), measured, pd.DataFrame({"age": age.round(4), "site": site})], axis=1
    )


def effects_table(drawn: SimulatedCohort, design: CohortDesign) -> pd.DataFrame:
    """Return the causal effect of each trait on each other, and what a regression that knows no confounder finds.

    Parameters
    ----------
    drawn, design : the cohort, and what it was drawn from.
    """
    cohort = drawn.cohort
    adjusted = cohort.phenotypes - cohort.design @ np.linalg.lstsq(cohort.design, cohort.phenotypes)[0]
    products = adjusted.T @ adjusted
    rows = [
        (exposure, outcome, design.slopes[k] if j == 0 else 0.0, products[j, k] / products[j, j])
        for j, exposure in enumerate(cohort.traits)
        for k, outcome in enumerate(cohort.traits)
        if j != k
    ]
    return pd.DataFrame(rows, columns=["exposure", "outcome", "effect", "regression"])


def heritability_table(drawn: SimulatedCohort) -> pd.DataFrame:
    """Return of each trait how much of its variance, given covariates, variants explain.

    Parameters
    ----------
    drawn : the cohort.

    Notes
    -----
    `h2` counts what the trait owes to variants through the first trait; `h2_large` is the share of variants with a
    large effect on the trait itself.
    """
    cohort = drawn.cohort
    rest = cohort.phenotypes - cohort.covariates @ drawn.covariate_effects
    rows = []
    for k, trait in enumerate(cohort.traits):
        at = np.flatnonzero(drawn.causal[:, k])
        dosages = np.stack([cohort.genotypes.read(int(row), int(row) + 1)[0] for row in at], axis=1)
        large = np.where(np.isnan(dosages), np.nanmean(dosages, axis=0), dosages) @ drawn.effects[at, k]
        variance = rest[:, k].var()
        rows.append((trait, drawn.genetic[:, k].var() / variance, large.var() / variance, len(at), np.sqrt(variance)))
    return pd.DataFrame(rows, columns=["trait", "h2", "h2_large", "n_large", "sd"])


def variants_table(drawn: SimulatedCohort) -> pd.DataFrame:
    """Return the variants with a large effect: on which trait, and all that they do to each, per copy.

    Parameters
    ----------
    drawn : the cohort.
    """
    at, of = np.nonzero(drawn.causal)
    table = drawn.cohort.genotypes.variants.iloc[at].reset_index(drop=True)
    table["trait"] = np.array(drawn.cohort.traits, dtype=object)[of]
    return table.assign(**{f"effect_{name}": drawn.effects[at, k] for k, name in enumerate(drawn.cohort.traits)})
