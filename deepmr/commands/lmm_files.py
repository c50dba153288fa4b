"""Files of `deepmr lmm`: which are read, which are written, and what they hold."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deepmr.errors import InputError
from deepmr.io.files import atomic_path
from deepmr.io.plink import SUFFIXES
from deepmr.report.association import AssociationRun, Heritability, ScannedTrait, manhattan_of, qq_of
from deepmr.report.style import DPI

TRAIT = "{trait}"
ENDINGS = (".tsv.gz", ".txt.gz", ".tsv", ".txt")
Figures = Literal["png", "svg", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where everything goes.

    Attributes
    ----------
    of_trait : the table of each trait, the same one for all unless its name has the trait in it.
    drawn : Manhattan plot and quantiles of each trait; empty without figures.
    page : None without a page.
    """

    of_trait: Mapping[str, Path]
    drawn: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)
    page: Path | None = None

    def tables(self) -> list[Path]:
        """Return the tables, each once."""
        return list(dict.fromkeys(self.of_trait.values()))

    def records(self) -> list[Path]:
        """Return the record beside each table."""
        return [table.with_name(table.name + ".json") for table in self.tables()]

    def all(self) -> list[Path]:
        """Return all files."""
        figures = [path for pair in self.drawn.values() for path in pair]
        return [*self.tables(), *self.records(), *figures, *([] if self.page is None else [self.page])]


def outputs_of(out: Path, traits: Sequence[str], *, figures: Figures, page: bool) -> Outputs:
    """Return where everything goes, beside the table.

    Parameters
    ----------
    out : the table, as the user named it.
    traits : names.
    figures, page : as in `deepmr lmm`.

    Raises
    ------
    InputError
        When the table's name does not end in .tsv or .tsv.gz, or two traits would have one file.
    """
    ending = next((one for one in ENDINGS if out.name.endswith(one)), None)
    if ending is None:
        raise InputError(f"{out}: the table of associations is text; needed a name that ends in .tsv or .tsv.gz")
    stem = out.name.removesuffix(ending)
    plain = {trait: re.sub(r"[^\w.+-]+", "_", trait) for trait in traits}
    apart = TRAIT in out.name
    if len(set(plain.values())) < len(traits):
        raise InputError(f"traits {', '.join(traits)} would share files: needed names that differ in letters or digits")
    beside = {trait: stem.replace(TRAIT, name) for trait, name in plain.items()}
    if not apart and len(traits) > 1:
        beside = {trait: f"{stem}.{name}" for trait, name in plain.items()}
    whole = re.sub(r"^[._-]+|[._-]+$", "", stem.replace(TRAIT, "")) or "associations"
    return Outputs(
        of_trait={trait: out.with_name((beside[trait] if apart else stem) + ending) for trait in traits},
        drawn={}
        if figures == "none"
        else {
            trait: (out.with_name(f"{name}.manhattan.{figures}"), out.with_name(f"{name}.qq.{figures}"))
            for trait, name in beside.items()
        },
        page=out.with_name(f"{whole}.html") if page else None,
    )


def genotype_files(*, bfile: Path | None, vcf: Path | None, genotypes: Path | None) -> tuple[Path, dict[str, Path]]:
    """Return what to open, and the files it consists of.

    Parameters
    ----------
    bfile, vcf, genotypes : as in `deepmr lmm`; one of them is given.

    Raises
    ------
    InputError
        When none or several are given.
    """
    given = {"--bfile": bfile, "--vcf": vcf, "--genotypes": genotypes}
    named = {name: path for name, path in given.items() if path is not None}
    if len(named) != 1:
        raise InputError(f"needed genotypes as one of {', '.join(given)}; got {', '.join(named) or 'none'}")
    [(name, path)] = named.items()
    if name == "--vcf" or (path.is_file() and path.suffix not in SUFFIXES):
        return path, {name[2:]: path}
    stem = path.with_suffix("") if path.suffix in SUFFIXES else path
    trio = {f"{name[2:]}{suffix}": stem.with_name(stem.name + suffix) for suffix in SUFFIXES}
    absent = [str(one) for one in trio.values() if not one.is_file()]
    if absent:
        raise InputError(f"{name} {path}: there is no {absent[0]}; needed {', '.join(SUFFIXES)} beside each other")
    return path, trio


def write_beside(stack: ExitStack, run: AssociationRun, outputs: Outputs, record: Mapping[str, Any]) -> None:
    """Write figures, page and records under temporary names, which the end of the stack makes final.

    Parameters
    ----------
    stack : that the tables are on; files entered later are renamed earlier, so where a table is, all is.
    run : what to show.
    outputs : where.
    record : how it was made.
    """
    for trait in run.traits:
        if trait.name in outputs.drawn:
            upper, lower = outputs.drawn[trait.name]
            manhattan_of(run, trait).savefig(stack.enter_context(atomic_path(upper)), dpi=DPI)
            if trait.spread.n:
                qq_of(trait).savefig(stack.enter_context(atomic_path(lower)), dpi=DPI)
    if outputs.page is not None:
        from deepmr.report.page import render_association_page  # imports every part of every page

        text = render_association_page(run)
        stack.enter_context(atomic_path(outputs.page)).write_text(text, encoding="utf-8")
    for path in outputs.records():
        text = json.dumps(record, indent=2, default=str)
        stack.enter_context(atomic_path(path)).write_text(text + "\n", encoding="utf-8")


def trait_record(trait: ScannedTrait, *, complete: bool = True) -> dict[str, Any]:
    """Return what is recorded of a trait: all numbers as JSON can hold them.

    Parameters
    ----------
    trait : its scan.
    complete : whether it is of all variants, not of a shard, which has no inflation and no loci of its own.
    """
    return {
        "trait": trait.name,
        "n": trait.n,
        "h_sq": None if trait.whole is None else _plain(trait.whole),
        "h_sq_without": {chrom: _plain(one) for chrom, one in trait.left_out.items()},
        "lambda_gc": _number(trait.spread.inflation()) if complete else None,
        "tested": trait.spread.n,
        "hits": trait.n_hits,
        "loci": len(trait.leads) if complete else None,
        "statuses": dict(trait.statuses),
    }


def recorded_heritability(one: Mapping[str, Any]) -> Heritability:
    """Return what `trait_record` made JSON of.

    Parameters
    ----------
    one : as in a record.
    """
    numbers = {name: np.nan if one[name] is None else float(one[name]) for name in ("h_sq", "se", "raw", "raw_se")}
    return Heritability(**numbers, boundary=str(one["boundary"]))


def _plain(one: Heritability) -> dict[str, Any]:
    return {name: _number(v) if isinstance(v, float) else v for name, v in asdict(one).items()}


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
