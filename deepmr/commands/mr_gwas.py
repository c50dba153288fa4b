"""`deepmr mr` on files of GWAS results: instruments, alleles, clumps, and an estimate a pair and method."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Literal

import pandas as pd

from deepmr import checks, schema
from deepmr.commands.gwas_instruments import GwasOptions, Prepared, prepare_all, significance
from deepmr.errors import InputError, TooFewInstruments
from deepmr.io.plink import read_plink
from deepmr.io.provenance import provenance
from deepmr.io.sumstats import Gwas, read_sumstats
from deepmr.io.sumstats_columns import Role, parse_columns
from deepmr.io.tables import skipped_path, write_estimates, write_table
from deepmr.mr import estimate_effects
from deepmr.mr.multivariable import PREFERRED as PREFERRED_DIRECT
from deepmr.mr.multivariable import estimate_direct_effects
from deepmr.mr.multivariable.strength import weak_instruments
from deepmr.mr.sensitivity import usual_methods
from deepmr.mr.sensitivity.strength import weak_pairs
from deepmr.schema import GENOME
from deepmr.types import Estimates, Instruments, concat_estimates

SHOWN = ("exposure", "outcome", "read", "significant", "in_outcome", "swapped", "other_strand", "instruments", "mean_f")
DROPPED = ("variant_id", "exposure", "outcome", "file", "reason", "detail")
TWOSAMPLEMR = {
    "id.exposure": "exposure",
    "id.outcome": "outcome",
    "outcome": "outcome",
    "exposure": "exposure",
    "method": "method",
    "nsnp": "n",
    "b": "beta",
    "se": "se",
    "pval": "pvalue",
}


def mr_gwas(
    *,
    exposure: Sequence[str],
    outcome: Sequence[str],
    out: Path,
    gwas: GwasOptions,
    exposure_columns: Sequence[str],
    outcome_columns: Sequence[str],
    methods: Sequence[str],
    to: Literal["deepmr", "twosamplemr"],
    min_instruments: int,
    level: float,
    save_instruments: Path,
    options: Mapping[str, object],
) -> dict[str, object]:
    """Estimate the effects of exposures on outcomes from files of GWAS results.

    Parameters
    ----------
    exposure, outcome
        Files, or NAME=FILE.
    out
        Table to write.
    gwas
        How instruments are made.
    exposure_columns, outcome_columns
        `field=COLUMN` words.
    methods
        Estimators; empty for the usual ones.
    to
        Names of the columns that are written.
    min_instruments, level, save_instruments
        As in `deepmr mr`.
    options
        All options as given, for the record.
    """
    panel = None if gwas.panel is None else read_plink(gwas.panel)
    if panel is None and (gwas.clump == "ld" or gwas.correlation == "panel"):
        raise InputError("linkage disequilibrium needs a panel: --panel PREFIX of PLINK files")
    causes = _read(exposure, "exposure", parse_columns(exposure_columns, option="--exposure-columns"))
    effects = _read(outcome, "outcome", parse_columns(outcome_columns, option="--outcome-columns"))
    if gwas.multivariable and len(causes) < 2:
        raise InputError(f"--multivariable needs at least two exposures; got {len(causes)}: {causes[0].trait}")
    groups = [causes] if gwas.multivariable else [[cause] for cause in causes]
    prepared, failed = prepare_all(_questions(groups, effects), gwas, panel)
    instruments = [one.instruments for one in prepared]
    if gwas.multivariable:
        estimates = concat_estimates(
            estimate_direct_effects(
                one, methods=methods or PREFERRED_DIRECT, min_instruments=min_instruments, level=level
            )
            for one in instruments
        )
    else:
        estimates = _estimates(instruments, methods, min_instruments, level)
    run = list(dict.fromkeys([*estimates.table["method"], *estimates.skipped["method"]]))
    estimates = _with_failed(estimates, failed, run)
    given = [one for one in (*causes, *effects) if len(one.dropped)]
    unread = [one.dropped.assign(exposure="", outcome="", file=one.trait, detail="") for one in given]
    dropped = pd.concat([*unread, *(one.dropped for one in prepared)], ignore_index=True)
    dropped = dropped[list(DROPPED)] if len(dropped) else _no_drops()
    inputs = {f"exposure_{k}": named_file(word)[1] for k, word in enumerate(exposure, 1)}
    inputs |= {f"outcome_{k}": named_file(word)[1] for k, word in enumerate(outcome, 1)}
    record = provenance("mr", options=options, inputs=inputs)
    record["traits"] = [_record(one, "exposure") for one in causes] + [_record(one, "outcome") for one in effects]
    record["variants"] = [one.counts for one in prepared]
    write_table(pd.concat([one.to_frame() for one in instruments], ignore_index=True), save_instruments)
    write_table(dropped, dropped_path(out))
    write_estimates(estimates, out, provenance=record)
    if to == "twosamplemr":
        write_table(twosamplemr_table(estimates), out)
    if not len(estimates):
        raise TooFewInstruments(_why_none(estimates, prepared, dropped, gwas, out))
    why = dropped.groupby(["file", "reason"], sort=False).size().reset_index(name="variants")
    shown = ["exposure", "outcome", "method", "n", "beta", "se", "pvalue"]
    if gwas.multivariable:
        shown.append("conditional_f")
    return {
        "columns": _columns((*causes, *effects)),
        "variants": _variants(prepared),
        "dropped": why.to_dict(orient="records"),
        "effects": estimates.table[shown].to_dict(orient="records"),
        "strength": [weak_instruments(one)[1] for one in instruments]
        if gwas.multivariable
        else list(weak_pairs(instruments, run)),
        "skipped": estimates.skipped.drop(columns="locus").to_dict(orient="records"),
        "estimand": str(estimates.table["estimand"].iloc[0]),
        "estimates": str(out),
        "dropped_variants": str(dropped_path(out)),
        "instruments": str(save_instruments),
    }


def _columns(files: Sequence[Gwas]) -> list[dict[str, str]]:
    """Say once of each file how its columns were read; those that have our names already are only named."""
    traits: dict[tuple[Path, str], list[str]] = {}
    for one in files:
        read = ", ".join(field if field == column else f"{field} <- {column}" for field, column in one.columns.items())
        traits.setdefault((one.path, read), []).append(one.trait)
    return [{"trait": ", ".join(dict.fromkeys(names)), "read_as": read} for (_, read), names in traits.items()]


def _variants(prepared: Sequence[Prepared]) -> list[dict[str, object]]:
    """Return counts of each question, and how errors of exposure and outcome correlate where that is known."""
    rows = [{name: one.counts[name] for name in SHOWN if name in one.counts} for one in prepared]
    known = [corr for one in prepared if (corr := one.instruments.error_corr) is not None and len(corr) == 2]
    if len(known) == len(rows):  # a table has the same columns in all rows
        for row, corr in zip(rows, known, strict=True):
            row["error_corr"] = float(corr[0, 1])
    return rows


def _why_none(
    estimates: Estimates, prepared: Sequence[Prepared], dropped: pd.DataFrame, gwas: GwasOptions, out: Path
) -> str:
    """Say in a line why there is no estimate: the first method's reason, and where its variants were lost."""
    first = estimates.skipped.iloc[0]
    what = f"no pair has an estimate: {first['exposure']} and {first['outcome']}, {first['method']}: {first['reason']}"
    counts = prepared[0].counts
    many = counts["significant"]
    verb = "has" if many == 1 else "have"
    what += f"; {many} of {counts['read']} variants of {counts['exposure']} {verb} {significance(gwas)}"
    lost = prepared[0].dropped["reason"].value_counts()
    if len(lost):
        what += f", and {lost.iloc[0]} of these were dropped: {lost.index[0]}"
    names = skipped_path(out).name + (f" and {dropped_path(out).name} have" if len(dropped) else " has")
    return f"{what} ({names} all)"


def named_file(word: str, folder: Path = Path()) -> tuple[str | None, Path]:
    """Return the name that the user gives a trait in NAME=FILE, and the file.

    Parameters
    ----------
    word : FILE or NAME=FILE.
    folder : that the file is relative to.
    """
    name, equals, file = word.partition("=")
    if equals and name and file and not (folder / word).exists():
        return name, folder / file
    return None, folder / word


def dropped_path(out: Path) -> Path:
    """Return where the dropped variants of a table of estimates are listed."""
    return out.with_name(f"{out.stem}.dropped.tsv")


def instruments_path(out: Path) -> Path:
    """Return where the instruments of a table of estimates are, unless told otherwise."""
    return out.with_name(f"{out.stem}.instruments.tsv")


def twosamplemr_table(estimates: Estimates) -> pd.DataFrame:
    """Return estimates with the column names of TwoSampleMR's mr().

    Parameters
    ----------
    estimates : of genome-wide analyses.
    """
    return pd.DataFrame({theirs: estimates.table[ours].to_numpy() for theirs, ours in TWOSAMPLEMR.items()})


def _with_failed(estimates: Estimates, failed: pd.DataFrame, methods: Sequence[str]) -> Estimates:
    """Add the pairs that have no instruments to what was skipped."""
    if failed.empty:
        return estimates
    rows = pd.concat([failed.assign(method=method, locus=GENOME) for method in methods])[list(schema.SKIPPED)]
    return replace(estimates, skipped=pd.concat([estimates.skipped, rows], ignore_index=True))


def _questions(groups: Sequence[list[Gwas]], effects: Sequence[Gwas]) -> list[tuple[list[Gwas], Gwas]]:
    """Return what is asked: every outcome of every group, but of no trait whether it causes itself."""
    asked = [
        (group, effect)
        for group, effect in product(groups, effects)
        if not any(one.trait == effect.trait and one.path == effect.path for one in group)
    ]
    if not asked:
        raise InputError(f"{effects[0].trait!r} is both exposure and outcome; needed two traits")
    return asked


def _read(files: Sequence[str], role: Role, columns: Mapping[str, str]) -> list[Gwas]:
    named = [named_file(word) for word in files]
    read = [one for name, path in named for one in read_sumstats(path, role=role, columns=columns, trait=name)]
    checks.unique(f"traits of the {role}s", [one.trait for one in read])
    return read


def _record(one: Gwas, role: Role) -> dict[str, object]:
    """Return what was read of a trait, for the record."""
    used = len(one.stats.variants)
    return {
        "trait": one.trait,
        "role": role,
        "file": str(one.path),
        "rows": used + len(one.dropped),
        "used": used,
        "columns": one.columns,
        "notes": list(one.notes),
    }


def _estimates(
    instruments: Sequence[Instruments], methods: Sequence[str], min_instruments: int, level: float
) -> Estimates:
    """Run the methods asked for, or of each pair the usual ones, which depend on how strong its instruments are."""
    return concat_estimates(
        estimate_effects(one, methods=methods or usual_methods(one), min_instruments=min_instruments, level=level)
        for one in instruments
    )


def _no_drops() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=str) for name in DROPPED})
