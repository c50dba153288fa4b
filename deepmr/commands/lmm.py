"""`deepmr lmm`: from genotypes and phenotypes to a table of associations that `deepmr mr` reads, by mixed models."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from deepmr import checks
from deepmr.cluster import shard_numbers
from deepmr.cohort import Cohort
from deepmr.commands.lmm_files import genotype_files, outputs_of, write_beside
from deepmr.commands.lmm_scan import ScanOptions, scan_cohort, scanned_trait
from deepmr.commands.lmm_spectra import CohortSpectra, SpectrumOptions
from deepmr.commands.lmm_words import doubts, lost_samples, recorded_numbers, sentences, summary_of
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
from deepmr.report.association import AssociationRun

log = logging.getLogger(__name__)

DATA, MODEL = Parameter(group="Data"), Parameter(group="Model")
RELATION, OUTPUT = Parameter(group="Relationship matrix"), Parameter(group="Output")
PLACE = Parameter(group="Cores and machines")


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
    threads: Annotated[int, PLACE] = 1,
    dask: Annotated[str | None, PLACE] = None,
    shard: Annotated[str | None, PLACE] = None,
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
    dask
        Dask cluster whose workers test the blocks: the address of its scheduler, or its file, .json.
    shard
        Part of the blocks to test, such as 2/8: for jobs that know nothing of each other; `deepmr lmm-join` puts their
        tables together, and makes figures and page.
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
        Notes; a row a trait with samples, h2 and its standard error, lambda GC, hits and loci; variants by status;
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
    complete = shard is None
    outputs = outputs_of(out, read.cohort.traits, figures=figures if complete else "none", page=page and complete)
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
        by_trait = {name: writers[outputs.of_trait[name]] for name in cohort.traits}
        scanned = scan_cohort(cohort, spectrum_of, by_trait, tests)
        traits = tuple(scanned_trait(name, scanned, locus_kb=locus_kb) for name in cohort.traits)
        record |= recorded_numbers(
            traits, loco=loco, relationship=spectrum_of.source, samples=len(cohort), counts=read.counts,
            covariates=cohort.covariate_names, notes=read.notes, complete=complete,
        )  # fmt: skip
        if scanned.correlation is not None:
            record[RECORDED] = scanned.correlation.to_dict()
        run = AssociationRun(
            traits=traits,
            axis=scanned.axis,
            model=sentences(cohort.covariate_names, options, spectrum_of.source),
            lost=lost_samples(read.counts),
            notes=(*read.notes, *doubts(traits, options)),
            table_name=out.name,
            provenance={out.name: record},
        )
        write_beside(stack, run, outputs, record)
    return summary_of(run, outputs, complete=complete)


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
    if options["threads"] > 1 and options["dask"] is not None:
        raise InputError("--threads is for this machine and --dask for others; got both")
    if options["shard"] is not None:
        shard_numbers(options["shard"])
    checks.at_least("--locus-kb", options["locus_kb"], 0)
    if not 0 <= options["max_missing"] <= 1:
        raise InputError(f"--max-missing is a share, 0 to 1; got {options['max_missing']:g}")
