"""`deepmr lmm`: from genotypes and phenotypes to a table of associations that `deepmr mr` reads, by mixed models."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from deepmr import checks
from deepmr.cohort import Cohort
from deepmr.commands.lmm_files import Outputs, genotype_files, outputs_of, trait_record, write_beside
from deepmr.commands.lmm_scan import ScanOptions, scan_cohort, scanned_trait
from deepmr.commands.lmm_spectra import CohortSpectra, SpectrumOptions
from deepmr.commands.progress import meter
from deepmr.commands.shared_samples import RECORDED
from deepmr.errors import InputError
from deepmr.io.associations import association_writer
from deepmr.io.cohort import read_cohort
from deepmr.io.files import check_writable
from deepmr.io.genotypes import open_genotypes
from deepmr.io.genotypes_vcf import Field
from deepmr.io.phenotypes import Order
from deepmr.io.provenance import provenance
from deepmr.population import transformation
from deepmr.population.association import Gamma, Precision
from deepmr.population.marker_statistics import MarkerTest
from deepmr.population.null_model import OnBoundary
from deepmr.population.scaled_markers import Kind
from deepmr.report.association import AssociationRun, ScannedTrait

log = logging.getLogger(__name__)

DATA, MODEL = Parameter(group="Data"), Parameter(group="Model")
RELATION, OUTPUT = Parameter(group="Relationship matrix"), Parameter(group="Output")
TESTS = {"f": "F test", "wald": "Wald test", "lrt": "likelihood-ratio test", "score": "score test"}


def lmm(
    *,
    pheno: Annotated[Path, DATA],
    trait: Annotated[list[str], DATA],
    out: Annotated[Path, OUTPUT],
    bfile: Annotated[Path | None, DATA] = None,
    vcf: Annotated[Path | None, DATA] = None,
    genotypes: Annotated[Path | None, DATA] = None,
    annotation: Annotated[Path | None, DATA] = None,
    vcf_field: Annotated[Field, DATA] = "auto",
    covariates: Annotated[list[str] | None, DATA] = None,
    covariate_file: Annotated[Path | None, DATA] = None,
    categorical: Annotated[list[str] | None, DATA] = None,
    sample_id: Annotated[str | None, DATA] = None,
    sample_order: Annotated[Order, DATA] = "id",
    standardise_trait: Annotated[bool, DATA] = False,
    inverse_normal: Annotated[bool, DATA] = False,
    loco: Annotated[bool, RELATION] = False,
    kinship: Annotated[Path | None, RELATION] = None,
    kinship_kind: Annotated[Kind, RELATION] = "centred",
    kinship_min_maf: Annotated[float, RELATION] = 0.01,
    rank: Annotated[int | None, RELATION] = None,
    seed: Annotated[int, RELATION] = 0,
    spectra: Annotated[Path | None, RELATION] = None,
    test: Annotated[MarkerTest, MODEL] = "f",
    gamma: Annotated[Gamma, MODEL] = "null",
    on_boundary: Annotated[OnBoundary, MODEL] = "ols",
    precision: Annotated[Precision, MODEL] = "float64",
    min_mac: Annotated[float, MODEL] = 5.0,
    max_missing: Annotated[float, MODEL] = 0.1,
    block: Annotated[int, MODEL] = 1024,
    threads: Annotated[int, MODEL] = 1,
    locus_kb: Annotated[float, OUTPUT] = 1000.0,
    figures: Annotated[Literal["png", "svg", "none"], OUTPUT] = "png",
    page: Annotated[bool, OUTPUT] = True,
    overwrite: Annotated[bool, OUTPUT] = False,
) -> dict[str, object]:
    """Test every variant for association with traits of related samples, by a linear mixed model.

    Writes a table with a row a variant and trait, which `deepmr mr` reads as it is; a record of how it was made; a
    Manhattan plot and quantiles of P values for each trait; and a page with all of it.

    Parameters
    ----------
    pheno
        Table with a row a sample and a header: identifiers, traits, and covariates unless --covariate-file has them.
    trait
        Columns to test, or patterns such as "bmi*"; samples may lack some of them.
    out
        Table to write, .tsv or .tsv.gz. With "{trait}" in its name there is a table a trait; otherwise one for all.
    bfile
        PLINK data set (.bed, .bim, .fam), its path without suffix.
    vcf
        VCF or BCF file.
    genotypes
        Genotypes in any format that can be read: those two, BIMBAM mean genotypes, or NPZ.
    annotation
        Chromosomes and positions of the variants of BIMBAM genotypes.
    vcf_field
        What is read of a VCF: dosages (DS), genotypes (GT), or dosages where it has them.
    covariates
        Columns of covariates; words become indicators of categories. An intercept is always in the model.
    covariate_file
        Table with the covariates, where it is another one; all its columns, unless --covariates names some.
    categorical
        Covariates whose numbers are names of categories.
    sample_id
        Column with the samples' identifiers; by default IID, ID or the like.
    sample_order
        Join samples by identifier, or take the rows of tables without identifiers in the order of the genotypes.
    standardise_trait
        Divide traits by their standard deviation.
    inverse_normal
        Map the ranks of each trait to the normal distribution.
    loco
        Test each chromosome with a relationship matrix made without it.
    kinship
        Relationship matrix to use, in place of one made from the genotypes.
    kinship_kind
        Markers of the matrix centred, or also standardised, which gives rare ones more weight.
    kinship_min_maf
        Least frequency of the rarer allele of markers in the matrix.
    rank
        Keep so many eigenvalues of the matrix, by a randomised decomposition of the genotypes.
    seed
        Of that decomposition.
    spectra
        Folder that keeps the decomposed matrices: made there if need be, and used again where samples, genotypes and
        options are the same.
    test
        F, Wald, likelihood-ratio or score test.
    gamma
        Ratio of variances: that of the model without variants, or estimated anew for every variant.
    on_boundary
        Where heritability is at a bound: leave the matrix out if it is 0 (ols), stay at the bound, or stop.
    precision
        Of the products with genotypes; float32 takes half the time.
    min_mac
        Least copies of the rarer allele; variants with fewer have status low_mac.
    max_missing
        Largest share of missing genotypes; variants with more have status too_missing.
    block
        Variants read at a time.
    threads
        Blocks worked on at a time, each by one core; with 1, a block by all cores that the linear algebra takes.
    locus_kb
        Significant variants within this distance of a stronger one, in 1,000 bases, are one locus.
    figures
        Format of the figures beside the table.
    page
        Write a page with figures and tables.
    overwrite
        Replace results that are there.

    Returns
    -------
    dict
        Warnings; a row a trait with samples, h2 and its standard error, lambda GC, hits and loci; variants by status;
        samples left out; files.

    Raises
    ------
    InputError
        When a file, a column or an option cannot be used, or no sample is in all of the files.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    source, inputs = genotype_files(bfile=bfile, vcf=vcf, genotypes=genotypes)
    beside = {"pheno": pheno, "covariate_file": covariate_file, "kinship": kinship, "annotation": annotation}
    inputs |= {name: path for name, path in beside.items() if path is not None}
    _check(options)
    check_writable(out, overwrite=overwrite)
    opened = open_genotypes(source, annotation=annotation, field=vcf_field)
    read = read_cohort(
        opened,
        phenotypes=pheno,
        traits=trait,
        covariates=covariate_file,
        covariate_names=covariates,
        categorical=categorical or (),
        order=sample_order,
        id_column=sample_id,
    )
    outputs = outputs_of(out, read.cohort.traits, figures=figures, page=page)
    for path in outputs.all():
        check_writable(path, overwrite=overwrite)
    cohort = transformed(read.cohort, standardised=standardise_trait, normal=inverse_normal)
    record = provenance("lmm", options=options, inputs=inputs, seed=seed if rank is not None else None)
    checksums = {
        name: one["sha256"] for name, one in record["inputs"].items() if name not in ("pheno", "covariate_file")
    }
    how = SpectrumOptions(
        loco=loco, kinship=kinship, kind=kinship_kind, min_maf=kinship_min_maf, rank=rank, seed=seed, block=block,
        folder=spectra,
    )  # fmt: skip
    spectrum_of = CohortSpectra(cohort, how, genotyped=opened.samples, checksums=checksums)
    tests = ScanOptions(**{one.name: options[one.name] for one in fields(ScanOptions)})
    with ExitStack() as stack:  # what is interrupted leaves nothing: all files get their names at the end
        writers = {path: stack.enter_context(association_writer(path)) for path in outputs.tables()}
        groups = len(np.unique(np.isnan(cohort.phenotypes), axis=1).T)  # traits measured in the same samples
        total = len(cohort.genotypes.variants) * groups
        with meter(description="association", total=total, unit="variants") as advance:
            by_trait = {name: writers[outputs.of_trait[name]] for name in cohort.traits}
            scanned = scan_cohort(cohort, spectrum_of, by_trait, tests, advance=advance)
        traits = tuple(scanned_trait(name, scanned, locus_kb=locus_kb) for name in cohort.traits)
        record |= _numbers(cohort, traits, spectrum_of.source, read.counts, read.notes, loco=loco)
        if scanned.correlation is not None:
            record[RECORDED] = scanned.correlation.to_dict()
        run = AssociationRun(
            traits=traits,
            axis=scanned.axis,
            model=_sentences(cohort, options, spectrum_of.source),
            lost=_lost(read.counts),
            notes=(*read.notes, *_warnings(traits, options)),
            table_name=out.name,
            provenance={out.name: record},
        )
        write_beside(stack, run, outputs, record)
    return _summary(run, outputs)


def transformed(cohort: Cohort, *, standardised: bool, normal: bool) -> Cohort:
    """Return a cohort whose traits are standardised, or have their ranks mapped to the normal distribution.

    Parameters
    ----------
    cohort : traits as measured.
    standardised, normal : which; one of them at most.
    """
    change = transformation.standardise if standardised else transformation.inverse_normal if normal else None
    if change is None:
        return cohort
    columns = [change(cohort.phenotypes[:, k], name=name) for k, name in enumerate(cohort.traits)]
    return replace(cohort, phenotypes=np.column_stack(columns))


def _check(options: Mapping[str, Any]) -> None:
    """Raise `InputError` for options that cannot go together, before anything long is read."""
    if options["standardise_trait"] and options["inverse_normal"]:
        raise InputError(
            "--standardise-trait and --inverse-normal exclude each other: normal quantiles have variance 1"
        )
    if options["kinship"] is not None:
        for name in ("loco", "rank"):
            if options[name]:
                raise InputError(f"--{name} makes matrices from the genotypes: it cannot be used with --kinship")
    checks.unique("--trait", options["trait"])
    checks.at_least("--min-mac", options["min_mac"], 0)
    checks.at_least("--rank", options["rank"], 1)
    checks.at_least("--block", options["block"], 1)
    checks.at_least("--threads", options["threads"], 1)
    checks.at_least("--locus-kb", options["locus_kb"], 0)
    if not 0 <= options["max_missing"] <= 1:
        raise InputError(f"--max-missing is a share, 0 to 1; got {options['max_missing']:g}")


def _numbers(
    cohort: Cohort,
    traits: Sequence[ScannedTrait],
    source: str,
    counts: Mapping[str, int],
    notes: Sequence[str],
    *,
    loco: bool,
) -> dict[str, Any]:
    """Return what is recorded beside options and checksums."""
    return {
        "format": "deepmr-associations",
        "loco": loco,
        "relationship": source,
        "samples": len(cohort),
        "counts": dict(counts),
        "covariates": list(cohort.covariate_names),
        "traits": [trait_record(one) for one in traits],
        "notes": list(notes),
    }


def _sentences(cohort: Cohort, options: Mapping[str, Any], source: str) -> tuple[str, ...]:
    """Say what was fitted."""
    fixed = f" Covariates: {', '.join(cohort.covariate_names)}." if cohort.covariate_names else ""
    ratio = "of the model without variants" if options["gamma"] == "null" else "estimated anew for every variant"
    loco = " Each chromosome was tested with a matrix made without it." if options["loco"] else ""
    trait = (
        " Traits are in standard deviations." if options["standardise_trait"]
        else " Traits are normal quantiles of their ranks." if options["inverse_normal"] else ""
    )  # fmt: skip
    return (
        f"Linear mixed model, {TESTS[options['test']]}, ratio of variances {ratio}. Relationship matrix: {source}."
        f"{loco}{fixed}{trait}",
    )


def _lost(counts: Mapping[str, int]) -> dict[str, int]:
    """Return samples that are in no analysis, by the reason."""
    return {reason.replace("_", " "): n for reason, n in counts.items() if reason not in ("genotyped", "used")}


def _warnings(traits: Sequence[ScannedTrait], options: Mapping[str, Any]) -> list[str]:
    """Return what a reader should know before believing the table."""
    said = []
    for trait in traits:
        every = [one for one in (trait.whole, *trait.left_out.values()) if one is not None]
        for side, what in (("lower", "0"), ("upper", "1")):
            at = [chrom for chrom, one in trait.left_out.items() if one is not None and one.boundary == side]
            where = f" without chromosome {', '.join(map(str, at))}" if at else ""
            if any(one.boundary == side for one in every):
                how = "ordinary least squares" if side == "lower" and options["on_boundary"] == "ols" else "that bound"
                said.append(
                    f"{trait.name}: heritability is at its bound, {what}{where}; its variants were tested at {how}."
                )
        if not trait.spread.n:
            said.append(f"{trait.name}: no variant could be tested; the column status says why.")
    return said


def _summary(run: AssociationRun, outputs: Outputs) -> dict[str, object]:
    rows = []
    for trait in run.traits:
        whole = trait.whole
        rows.append(
            {
                "trait": trait.name,
                "n": trait.n,
                "h2": whole.h_sq if whole else float("nan"),
                "se_h2": whole.se if whole else float("nan"),
                "h2_raw": whole.raw if whole else float("nan"),
                "lambda_gc": trait.spread.inflation(),
                "tested": trait.spread.n,
                "hits": trait.n_hits,
                "loci": len(trait.leads),
            }
        )
    statuses = [
        {"trait": trait.name, "status": status, "variants": n}
        for trait in run.traits
        for status, n in trait.statuses.items()
    ]
    files = {"figures": [str(p) for pair in outputs.drawn.values() for p in pair]} if outputs.drawn else {}
    report = {} if outputs.page is None else {"report": str(outputs.page)}
    return {
        "warnings": list(run.notes),
        "traits": rows,
        "variants": statuses,
        "left_out": [{"samples": n, "reason": reason} for reason, n in run.lost.items() if n],
        "associations": [str(path) for path in outputs.tables()],
        **files,
        **report,
    }
