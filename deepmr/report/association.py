"""What a page shows of a scan for associations, and its answers in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from deepmr.population.inflation import Spread
from deepmr.report import words
from deepmr.report.content import Cell, Drawing, Grid, Section, count_cell, number_cell
from deepmr.report.genome import GenomeAxis
from deepmr.report.manhattan import manhattan
from deepmr.report.qq import qq

SHOWN = 50  # lead variants in a table of the page
READING = {
    "manhattan": "Each point is one variant: where it lies, and how small its P value is. Chromosomes alternate in "
    "colour. Towers are loci: neighbours that are inherited together rise with the variant that matters. The upper "
    "line is P = 5e−8, the usual level for a million independent tests, the dotted one 1e−5. Named: the strongest "
    "variant of each locus.",
    "qq": "The P values in order, against those that chance alone would give. On the dotted line: as many small P "
    "values as expected. Points that leave the grey band at the right end are associations; a whole curve that lies "
    "above the line from the left on means that relatedness or a batch effect is not accounted for, or that very many "
    "variants matter. λ GC is 1 without either.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heritability:
    """How much of a trait's variance the relationship matrix explains.

    Attributes
    ----------
    h_sq, se : with the matrix divided by its mean diagonal; `se` is NaN at a bound.
    raw, raw_se : with the matrix as it is.
    boundary : `lower` or `upper` where the optimum lies at a bound; otherwise empty.
    """

    h_sq: float
    se: float
    raw: float
    raw_se: float
    boundary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedTrait:
    """One trait's scan, as far as figures and tables need it.

    Attributes
    ----------
    n : samples.
    whole : heritability by all chromosomes; None where the scan used none but leave-one-out matrices from files.
    left_out : the same without each chromosome, where each was tested so.
    spread : its P values.
    codes, place, log10p : of the points to draw: chromosome, place on the axis, height.
    statuses : variants by status.
    n_hits : variants at P < 5e-8.
    leads : those that are the strongest of their locus, the strongest first, with `place`.
    """

    name: str
    n: int
    whole: Heritability | None
    left_out: Mapping[str, Heritability]
    spread: Spread
    codes: Int[np.ndarray, "points"]
    place: Float[np.ndarray, "points"]
    log10p: Float[np.ndarray, "points"]
    statuses: Mapping[str, int]
    n_hits: int
    leads: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRun:
    """Everything that a page on a scan shows.

    Attributes
    ----------
    traits : each one's scan.
    axis : of the genome.
    model : what was fitted, a sentence each.
    lost : samples that are in no analysis, by the reason.
    notes : what is odd, a sentence each.
    table_name : of the file.
    provenance : how every file was made, by its name.
    """

    traits: tuple[ScannedTrait, ...]
    axis: GenomeAxis
    model: tuple[str, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    table_name: str = "associations"
    provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def manhattan_of(run: AssociationRun, trait: ScannedTrait) -> Figure:
    """Return the Manhattan plot of a trait."""
    return manhattan(run.axis, trait.codes, trait.place, trait.log10p, title=trait.name, leads=trait.leads)


def qq_of(trait: ScannedTrait) -> Figure:
    """Return the quantiles of a trait's P values."""
    return qq(trait.spread, title=trait.name)


def question(run: AssociationRun) -> str:
    """Return what was asked, for the head of the page."""
    names = [trait.name for trait in run.traits]
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more traits" if len(names) > 4 else "")
    return f"Which variants are associated with {shown}?"


def answers(run: AssociationRun) -> list[str]:
    """Return what was found, a sentence a trait."""
    return [_answer(trait) for trait in run.traits]


def _answer(trait: ScannedTrait) -> str:
    hits = f"{words.count(trait.n_hits, 'variant')} below P = 5e−8"
    if trait.n_hits and len(trait.leads):
        lead = trait.leads.iloc[0]
        hits += f" at {words.count(len(trait.leads), 'locus')}, the strongest {lead['variant_id']}"
        hits += f" (chromosome {lead['chrom']}, −log10 P {words.number(float(lead['log10p']))})"
    return f"{trait.name}, {words.count(trait.n, 'sample')}: {hits}. {_explained(trait)}"


def _explained(trait: ScannedTrait) -> str:
    inflation = f"λ GC is {words.number(trait.spread.inflation(), 3)}"
    if trait.whole is None:
        return f"{inflation}."
    if trait.whole.boundary == "lower":
        return f"The relationship matrix explains none of its variance; {inflation}."
    return f"The relationship matrix explains {_share(trait.whole.h_sq, trait.whole.se)} of its variance; {inflation}."


def _share(h_sq: float, se: float) -> str:
    return f"{100 * h_sq:.1f} %" + (f" (standard error {100 * se:.1f} %)" if np.isfinite(se) else "")


def overview(run: AssociationRun) -> Grid:
    """Return a row a trait: heritability, inflation, what was tested and found."""
    columns = ["trait", "samples", "h2", "SE", "h2, matrix as it is", "its SE", "λ GC", "tested", "P < 5e−8", "loci"]
    rows = []
    for trait in run.traits:
        h = trait.whole
        cells = [Cell(text="–")] * 4 if h is None else [_decimal(v) for v in (h.h_sq, h.se, h.raw, h.raw_se)]
        found = [count_cell(k) for k in (trait.spread.n, trait.n_hits, len(trait.leads))]
        inflation = _decimal(trait.spread.inflation(), 3)
        rows.append([Cell(text=trait.name), count_cell(trait.n), *cells, inflation, *found])
    return Grid(caption="Traits.", columns=columns, rows=rows)


def left_out_table(run: AssociationRun) -> Grid | None:
    """Return heritability by all chromosomes but one, a row a chromosome and trait; None unless each was left out."""
    rows = [
        [Cell(text=trait.name), Cell(text=chrom), *(_decimal(v) for v in (h.h_sq, h.se, h.raw, h.raw_se))]
        for trait in run.traits
        for chrom, h in trait.left_out.items()
    ]
    columns = ["trait", "without chromosome", "h2", "SE", "h2, matrix as it is", "its SE"]
    caption = "Heritability by all chromosomes but one: the model of that chromosome's variants."
    return Grid(caption=caption, columns=columns, rows=rows) if rows else None


def status_table(run: AssociationRun) -> Grid:
    """Return how many variants had each status, a row a trait."""
    names = list(dict.fromkeys(name for trait in run.traits for name in trait.statuses))
    rows = [
        [Cell(text=trait.name), *(count_cell(int(trait.statuses.get(name, 0))) for name in names)]
        for trait in run.traits
    ]
    return Grid(caption="Variants by status.", columns=["trait", *(n.replace("_", " ") for n in names)], rows=rows)


def lost_sentence(run: AssociationRun) -> str:
    """Return how many samples are in no analysis, and why; nothing where all are."""
    said = [f"{n:,} {reason}" for reason, n in run.lost.items() if n]
    return f"Samples left out: {'; '.join(said)}." if said else ""


def lead_table(trait: ScannedTrait) -> Grid | None:
    """Return the lead variant of each locus; None where there is none."""
    if not len(trait.leads):
        return None
    rows = [_lead(row) for row in trait.leads.head(SHOWN).to_dict("records")]
    cut = f" The strongest {SHOWN} of {len(trait.leads)}." if len(trait.leads) > SHOWN else ""
    columns = ["variant", "chromosome", "position", "alleles", "frequency", "beta", "SE", "−log10 P"]
    return Grid(caption=f"Lead variants of {trait.name}.{cut}", columns=columns, rows=rows)


def _lead(row: Mapping[Any, Any]) -> Sequence[Cell]:
    alleles = f"{row['effect_allele']} (other {row['other_allele']})"
    numbers = [number_cell(float(row[name])) for name in ("eaf", "beta", "se", "log10p")]
    return [
        Cell(text=str(row["variant_id"])), Cell(text=str(row["chrom"])), count_cell(int(row["pos"])),
        Cell(text=alleles), *numbers,
    ]  # fmt: skip


def trait_section(run: AssociationRun, trait: ScannedTrait, number: int) -> Section:
    """Return a trait's part of the page: both figures, and its lead variants.

    Parameters
    ----------
    run : the scan.
    trait : which.
    number : of the trait, from 1.
    """
    drawings = [
        Drawing(
            figure=manhattan_of(run, trait),
            alt=f"Manhattan plot of {trait.name}: {_answer(trait)}",
            caption=f"{trait.name} along the genome.",
            reading=READING["manhattan"],
        )
    ]
    if trait.spread.n:
        drawings.append(
            Drawing(
                figure=qq_of(trait),
                alt=f"Quantiles of the P values of {trait.name}. {_explained(trait)}",
                caption=f"P values of {trait.name} against chance.",
                detail="The band holds 95 % of each quantile, were all variants independent.",
                reading=READING["qq"],
            )
        )
    table = lead_table(trait)
    return Section(
        anchor=f"trait-{number}",
        title=trait.name,
        drawings=tuple(drawings),
        tables=() if table is None else (table,),
    )


def _decimal(value: float, decimals: int = 4) -> Cell:
    return number_cell(float(value), lambda v: words.number(v, decimals))
