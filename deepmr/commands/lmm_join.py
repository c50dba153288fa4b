"""`deepmr lmm-join`: the tables of all shards of a scan as one, with the figures and the page of the whole."""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from cyclopts import Parameter

from deepmr import checks
from deepmr.cluster import shard_numbers
from deepmr.commands.lmm_files import TRAIT, outputs_of, recorded_heritability, write_beside
from deepmr.commands.lmm_scan import Digest, Scanned, scanned_trait
from deepmr.commands.lmm_words import FORMAT, doubts, lost_samples, recorded_numbers, sentences, summary_of
from deepmr.commands.record import record_beside
from deepmr.commands.shared_samples import RECORDED
from deepmr.errors import InputError
from deepmr.io.associations import open_associations, packed_text, read_associations
from deepmr.io.files import atomic_path, check_writable
from deepmr.io.provenance import provenance
from deepmr.population.association import ALL
from deepmr.report.association import AssociationRun
from deepmr.report.genome import genome_axis

log = logging.getLogger(__name__)

OUTPUT = Parameter(group="Output")
# Options that may differ between shards: they change no number of the table.
FREE = {"shard", "out", "figures", "page", "locus_kb", "threads", "dask", "spectra"}

PATHS = {"bfile", "vcf", "genotypes", "pheno", "covariate_file", "kinship", "annotation"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A table of some of the variants, and its record."""

    path: Path
    record: Mapping[str, Any]
    i: int
    n: int


def lmm_join(
    shards: list[Path],
    *,
    out: Annotated[Path, OUTPUT],
    locus_kb: Annotated[float, OUTPUT] = 1000.0,
    figures: Annotated[Literal["png", "svg", "none"], OUTPUT] = "png",
    page: Annotated[bool, OUTPUT] = True,
    overwrite: Annotated[bool, OUTPUT] = False,
) -> dict[str, object]:
    """Join the tables of all shards of `deepmr lmm`, and make the figures and the page of the whole.

    Parameters
    ----------
    shards
        Tables of `deepmr lmm --shard`, in any order, each with its record beside it.
    out
        Table to write, .tsv or .tsv.gz; its lines are those of the shards.
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
        As that of `deepmr lmm`.

    Raises
    ------
    InputError
        When a shard is missing, twice there, of another scan, or has other rows than its record says.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    checks.at_least("--locus-kb", locus_kb, 0)
    if TRAIT in out.name:
        raise InputError(f"{out}: one table is written; needed a name without {TRAIT}")
    parts = _sorted(shards)
    first = parts[0].record
    columns = _columns(parts)
    found, places = _traits_and_places(parts)
    outputs = outputs_of(out, found, figures=figures, page=page)
    for path in outputs.all():
        check_writable(path, overwrite=overwrite)
    record = provenance("lmm-join", options=options, inputs={f"shard_{one.i}": one.path for one in parts})
    with ExitStack() as stack:
        _write(parts, stack.enter_context(atomic_path(out)))
        scanned = _scanned(parts, found, columns, places)
        traits = tuple(scanned_trait(name, scanned, locus_kb=locus_kb) for name in found)
        record |= {"scan": {name: first[name] for name in ("options", "inputs", "deepmr_version", "versions")}}
        record |= recorded_numbers(
            traits, loco=first["loco"], relationship=first["relationship"], samples=first["samples"],
            counts=first["counts"], covariates=first["covariates"], notes=first["notes"],
        )  # fmt: skip
        if RECORDED in first:
            record[RECORDED] = first[RECORDED]
        run = AssociationRun(
            traits=traits,
            axis=scanned.axis,
            model=sentences(first["covariates"], first["options"], first["relationship"]),
            lost=lost_samples(first["counts"]),
            notes=(*first["notes"], *doubts(traits, first["options"])),
            table_name=out.name,
            provenance={out.name: record},
        )
        write_beside(stack, run, outputs, record)
    return summary_of(run, outputs)


def _sorted(paths: Sequence[Path]) -> list[Shard]:
    """Return the shards in order, each of which is there once."""
    found: dict[int, Shard] = {}
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
        record = record_beside(path)
        shard = record.get("options", {}).get("shard")
        if record.get("format") != FORMAT or shard is None:
            raise InputError(f"{path}: its record, {path.name}.json, is not that of deepmr lmm with --shard")
        i, n = shard_numbers(shard)
        if i in found:
            raise InputError(f"{path} and {found[i].path} are both shard {shard}")
        found[i] = Shard(path=path, record=record, i=i, n=n)
    parts = [found[i] for i in sorted(found)]
    if not parts:
        raise InputError("needed the tables of all shards; got none")
    for one in parts[1:]:
        _check_of_one_scan(parts[0], one)
    missing = [str(i) for i in range(1, parts[0].n + 1) if i not in found]
    if missing:
        many = ", ".join(missing[:5]) + (" and more" if len(missing) > 5 else "")
        raise InputError(f"needed the tables of all {parts[0].n} shards; {len(missing)} missing: {many}")
    return parts


def _check_of_one_scan(one: Shard, other: Shard) -> None:
    """Raise `InputError` where two tables cannot be of one scan, with what differs."""
    mine, theirs = _told(one), _told(other)
    for name in dict.fromkeys((*mine, *theirs)):
        if mine.get(name) != theirs.get(name):
            raise InputError(
                f"{one.path} and {other.path} are not of one scan: {name} is {mine.get(name)!r} in the one and "
                f"{theirs.get(name)!r} in the other"
            )


def _told(shard: Shard) -> dict[str, Any]:
    """Return what shards of one scan have in common: paths of files may differ, but not what is in them."""
    record = shard.record
    common = {name: value for name, value in record["options"].items() if name not in FREE | PATHS}
    options = {f"--{name.replace('_', '-')}": value for name, value in common.items()}
    files = {f"the file of --{name.replace('_', '-')}": one["sha256"] for name, one in record["inputs"].items()}
    about = {name: record[name] for name in ("deepmr_version", "samples")}
    return {"the number of shards": shard.n, **options, **files, **about}


def _columns(parts: Sequence[Shard]) -> list[str]:
    """Return the columns of the tables; one that has no variant of its traits is empty."""
    found: dict[tuple[str, ...], Path] = {}
    for part in parts:
        with open_associations(part.path) as handle:
            header = handle.readline().decode().rstrip("\n")
        if header:
            found.setdefault(tuple(header.split("\t")), part.path)
    if len(found) != 1:
        names = ", ".join(map(str, found.values()))
        raise InputError(
            f"the tables have different columns: {names}" if found else "the tables of all shards are empty"
        )
    return list(next(iter(found)))


def _traits_and_places(parts: Sequence[Shard]) -> tuple[tuple[str, ...], pd.DataFrame]:
    """Return the traits of the tables, as the records order them, and where all variants lie."""
    there: dict[str, None] = {}
    places = []
    for part in parts:
        for rows in read_associations(part.path, ["trait", "chrom", "pos"]):
            there |= dict.fromkeys(rows["trait"].unique())
            places.append(rows.loc[rows["trait"] == next(iter(there)), ["chrom", "pos"]])
    traits = tuple(one["trait"] for one in parts[0].record["traits"] if one["trait"] in there)
    return traits, pd.concat(places, ignore_index=True)


def _write(parts: Sequence[Shard], path: Path) -> None:
    """Write the lines of all tables, with one header."""
    with packed_text(path) as out:
        headed = False
        for part in parts:
            with open_associations(part.path) as handle:
                header = handle.readline()
                if header and not headed:
                    out.write(header)
                    headed = True
                shutil.copyfileobj(handle, out, 1 << 20)


def _scanned(parts: Sequence[Shard], traits: Sequence[str], columns: Sequence[str], places: pd.DataFrame) -> Scanned:
    """Return what figures and summary need, from tables and records."""
    axis, codes, place = genome_axis(places)
    digests: dict[str, Digest] = {}
    for trait in traits:
        said = [next(t for t in part.record["traits"] if t["trait"] == trait) for part in parts]
        digests[trait] = Digest(n=said[0]["n"])
        for one in said:
            named = {ALL: one["h_sq"], **one["h_sq_without"]}
            known = {chrom: recorded_heritability(value) for chrom, value in named.items() if value is not None}
            digests[trait].heritability.update(known)
    for part in parts:
        before = {trait: digests[trait].statuses.total() for trait in traits}
        for rows in read_associations(part.path, columns):
            for trait, mine in _by_trait(rows, traits):
                start = digests[trait].statuses.total()
                index = np.arange(start, start + len(mine))
                if index[-1] >= len(place):
                    raise InputError(f"{part.path}: {trait} has more than the {len(place)} variants that there are")
                digests[trait].add(mine, index, place[index])
        for one in part.record["traits"]:
            if one["trait"] in before:
                _check_rows(part, one, digests[one["trait"]].statuses.total() - before[one["trait"]])
    return Scanned(digests=digests, correlation=None, axis=axis, codes=codes, place=place)


def _check_rows(part: Shard, recorded: Mapping[str, Any], there: int) -> None:
    """Raise `InputError` where a table was cut short, or is not the one that the record is of."""
    wanted = sum(recorded["statuses"].values())
    if there != wanted:
        raise InputError(f"{part.path}: {there} rows of {recorded['trait']} are there; its record has {wanted}")


def _by_trait(rows: pd.DataFrame, traits: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    names = rows["trait"].to_numpy(object)
    for trait in traits:
        mine = names == trait
        if mine.any():
            yield trait, rows[mine].reset_index(drop=True)
