"""Read tables of edits whose effects were measured: `docs/labelled_edits.md` describes the formats."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr.anscombe import anscombe
from deepmr.errors import InputError
from deepmr.io.tables import numbers, read_table, whole_numbers
from deepmr.labelled.edits import LabelledEdits

QUANTITIES = ("difference", "value", "count")
KEY = ["locus", "place", "effect_allele"]
SHARE = 0.5  # share of a difference's variance that is its reference's: edited and reference measured equally well


def read_labelled_edits(
    path: Path,
    *,
    tasks: Sequence[str],
    references: Path | None = None,
    reference_share: float = SHARE,
    where: str | None = None,
) -> LabelledEdits:
    """Read measured effects of edits.

    Parameters
    ----------
    path
        TSV, plain or gzip, a row an edit and task: locus, pos or offset, other_allele (optional), effect_allele, task,
        and one of: difference; value with reference_value; count with reference_count. Or, in place of the reference_
        column, rows of the reference itself, whose effect_allele is empty. se is the standard error of difference or
        value (1 for counts, after Anscombe's transform); se_reference that of the reference. Rows that differ by a
        column replicate are averaged; without se their scatter tells it. Or, without a column task, a row an edit and a
        column of counts a task, as `deepmr simulate` writes.
    tasks
        Names that a task may have, in the order wanted.
    references
        Table of the references' counts, for the last form: locus and a column a task.
    reference_share
        Share of the variance of a difference that is its reference's, where se_reference is not given.
    where
        COLUMN=VALUE: use only rows in which that column has that value.

    Returns
    -------
    LabelledEdits
        One row an edit, columns locus, `place_column` (pos or offset), other_allele ("" where not given),
        effect_allele and line (of the file, the first of the edit). Tasks are those that occur.

    Raises
    ------
    InputError
        When the table cannot be read as one of these, a task is unknown, a standard error is not positive, an edit is
        there twice, or a reference is missing.

    Notes
    -----
    All edits of a locus are compared with one reference, whose noise they share: measured once, it is half of the
    variance of every difference (the default share), however many edits there are.
    """
    if not 0 <= reference_share < 1:
        raise InputError(f"reference_share must be at least 0 and below 1; got {reference_share:g}")
    frame = _chosen(path, read_table(path), where)
    if "task" not in frame.columns:
        frame = _from_wide(path, frame, tasks, references)
    elif references is not None:
        raise InputError(f"{path}: has a column 'task', so its references are in it too; --targets goes without it")
    rows = _checked(path, frame, tasks)
    edits = rows[~rows["is_reference"]]
    if edits.empty:
        raise InputError(f"{path}: has references only, no edit")
    measured = _averaged(edits, [*KEY, "task"])
    if measured["variance"].isna().any():
        raise InputError(f"{path}: the replicates are no more than one a cell: their scatter cannot tell se; needed se")
    shared = _shared(path, rows, measured, reference_share)
    return _pivot(edits, measured.assign(**shared), tasks)


def _chosen(path: Path, frame: pd.DataFrame, where: str | None) -> pd.DataFrame:
    """Return the rows asked for, with their line numbers."""
    frame = frame.assign(line=np.arange(len(frame)) + 2)
    if where is not None:
        column, equals, value = where.partition("=")
        if not equals or column not in frame.columns:
            raise InputError(f"{path}: --where needs COLUMN=VALUE with a column of the table; got {where!r}")
        frame = frame[frame[column] == value].reset_index(drop=True)
    if frame.empty:
        raise InputError(f"{path}: no labelled edit" + ("" if where is None else f" has {where}"))
    return frame


def _from_wide(path: Path, frame: pd.DataFrame, tasks: Sequence[str], references: Path | None) -> pd.DataFrame:
    """Turn a column of counts a task into a row an edit and task."""
    found = [task for task in tasks if task in frame.columns]
    if not found:
        raise InputError(f"{path}: needed a column 'task', or columns of counts named {', '.join(tasks)}")
    if references is None:
        raise InputError(f"{path}: holds counts of edits; needed those of their references too: --targets")
    table = read_table(references)
    missing = [name for name in ("locus", *found) if name not in table.columns]
    if missing:
        raise InputError(f"{references}: the column(s) {', '.join(missing)} are missing")
    if table["locus"].duplicated().any():
        raise InputError(
            f"{references}: the locus {table['locus'][table['locus'].duplicated()].iloc[0]!r} occurs twice"
        )
    place = frame["locus"].map(pd.Series(np.arange(len(table)), index=table["locus"])) if "locus" in frame else None
    if place is not None and place.isna().any():
        row = frame[place.isna()].iloc[0]
        raise InputError(
            f"{path}: line {row['line']}: the locus {row['locus']!r} is not in {references} ({int(place.isna().sum())} "
            f"of {len(frame)} rows)"
        )
    parts = []
    for task in found:
        reference = table[task].iloc[place.astype(int)].to_numpy() if place is not None else ""
        parts.append(frame.assign(task=task, count=frame[task], reference_count=reference))
    whole = pd.concat(parts, ignore_index=True)
    whole = whole[(whole["count"] != "") & (whole["reference_count"] != "")].reset_index(drop=True)
    return whole.drop(columns=[*found, *(name for name in ("se", "se_reference") if name in whole)])


def _checked(path: Path, frame: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """Return a row a measurement: place, task, value on the effects' scale, its variance (NaN: unknown), reference."""
    place = "offset" if "offset" in frame.columns else "pos"
    missing = [name for name in ("locus", place, "effect_allele", "task") if name not in frame.columns]
    if missing:
        raise InputError(f"{path}: not a table of labelled edits: the column(s) {', '.join(missing)} are missing")
    given = [name for name in QUANTITIES if name in frame.columns]
    if len(given) != 1:
        raise InputError(
            f"{path}: needed one of the columns {', '.join(QUANTITIES)}; it has {' and '.join(given) or 'none'}"
        )
    quantity = given[0]
    allele = frame["effect_allele"].astype(str).str.strip().str.upper()
    rows = pd.DataFrame({"locus": frame["locus"].astype(str), "task": frame["task"].astype(str)})
    rows = rows.assign(line=frame["line"], effect_allele=allele, is_reference=allele == "", place_column=place)
    rows["other_allele"] = frame["other_allele"].astype(str).str.upper() if "other_allele" in frame.columns else ""
    rows["replicate"] = frame["replicate"].astype(str) if "replicate" in frame.columns else ""
    rows["place"] = -1
    edited = ~rows["is_reference"].to_numpy(bool)
    rows.loc[edited, "place"] = whole_numbers(path, frame.assign(**{place: frame[place].where(edited, "0")}), place)[
        edited
    ]
    _refuse(path, rows, ~rows["task"].isin(tasks), "task", f"one of {', '.join(tasks)}")
    _refuse(path, rows, rows["is_reference"] & (quantity == "difference"), "effect_allele", "the new base")
    rows["value"] = _quantity(path, frame, quantity)
    rows["variance"] = _squared(path, frame, "se", 1.0 if quantity == "count" else None)
    unknown = rows["variance"].isna().to_numpy()
    if unknown.any() and not unknown.all() and "replicate" not in frame.columns:
        line = rows["line"].iloc[int(np.argmax(unknown))]
        raise InputError(f"{path}: line {line}: se is empty ({int(unknown.sum())} of {len(rows)} rows)")
    if unknown.any() and "replicate" not in frame.columns:
        raise InputError(f"{path}: needed se, the standard error of {quantity}, or a column replicate that tells it")
    level = f"reference_{quantity}"
    rows["reference"] = np.nan if level not in frame.columns else _quantity(path, frame, level, quantity)
    rows["reference_variance"] = _squared(path, frame, "se_reference", 1.0 if quantity == "count" else None)
    rows["is_difference"] = quantity == "difference"
    key = [*KEY, "task", "replicate"]
    twice = rows.duplicated(key)
    _refuse(path, rows, twice, "effect_allele", "there once (a column replicate tells repeated measurements apart)")
    return rows


def _quantity(path: Path, frame: pd.DataFrame, column: str, kind: str = "") -> Float[np.ndarray, "rows"]:
    """Return a measured quantity on the scale of the effects."""
    values = numbers(path, frame, column)
    if "count" in (column, kind):
        bad = values < 0
        if bad.any():
            line = frame["line"].iloc[int(np.argmax(bad))]
            raise InputError(f"{path}: line {line}, column {column!r}: a count must not be negative")
        return anscombe(values)
    return values


def _squared(path: Path, frame: pd.DataFrame, column: str, otherwise: float | None) -> Float[np.ndarray, "rows"]:
    """Return variances from a column of standard errors, which must be positive; NaN, or what else holds, without."""
    if column not in frame.columns:
        return np.full(len(frame), np.nan if otherwise is None else otherwise)
    values = numbers(path, frame, column, missing="not known")
    bad = ~np.isnan(values) & ~(values > 0)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{path}: line {frame['line'].iloc[row]}, column {column!r}: a standard error must be above 0; "
            f"got {values[row]:g}"
        )
    variance = values**2
    return variance if otherwise is None else np.where(np.isnan(variance), otherwise, variance)


def _refuse(
    path: Path, rows: pd.DataFrame, bad: "pd.Series[bool] | Bool[np.ndarray, 'rows']", column: str, needed: str
) -> None:
    wrong = np.flatnonzero(np.asarray(bad))
    if wrong.size:
        row = rows.iloc[wrong[0]]
        raise InputError(
            f"{path}: line {row['line']}, {row['locus']}: {column} {row[column]!r}; needed {needed} "
            f"({wrong.size} of {len(rows)} rows)"
        )


def _averaged(rows: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Return the mean of the replicates of each cell, and the variance of its error."""
    cells = rows.groupby(key, sort=False)
    table = cells.agg(
        value=("value", "mean"), n=("value", "size"), stated=("variance", "mean"), within=("value", "var"),
        reference=("reference", "mean"), reference_variance=("reference_variance", "mean"),
        is_difference=("is_difference", "first"),
    ).reset_index()  # fmt: skip
    df = table["n"] - 1
    squares = (table["within"].fillna(0.0) * df).groupby(table["task"]).sum()
    pooled = squares / df.groupby(table["task"]).sum().where(lambda total: total > 0)
    single = table["stated"].where(table["stated"].notna(), table["task"].map(pooled))
    return table.assign(single=single, variance=single / table["n"])


def _shared(
    path: Path, rows: pd.DataFrame, measured: pd.DataFrame, share: float
) -> dict[str, "pd.Series[float] | Float[np.ndarray, 'cells']"]:
    """Return differences, their variances and the part that is the reference's, and the level of the reference."""
    where = [measured["locus"], measured["task"]]
    if measured["is_difference"].all():
        known = measured["reference_variance"] / measured["n"]
        shared = known.where(known.notna(), share * measured["variance"].groupby(where).transform("min"))
        bad = shared >= measured["variance"]
        if bad.any():
            first = measured[bad].iloc[0]
            raise InputError(
                f"{path}: {first['locus']}, task {first['task']}: se_reference must be below se, which is that of the "
                "whole difference"
            )
        return {"difference": measured["value"], "shared": shared, "level": np.full(len(measured), np.nan)}
    level, variance = _references(path, rows, measured)
    # A reference without a standard error of its own counts as measured like the edits of its locus.
    alike = measured["variance"].groupby(where).transform("mean")
    shared = variance.where(variance.notna(), alike)
    return {
        "difference": measured["value"] - level,
        "variance": measured["variance"] + shared,
        "shared": shared,
        "level": level,
    }


def _references(
    path: Path, rows: pd.DataFrame, measured: pd.DataFrame
) -> tuple["pd.Series[float]", "pd.Series[float]"]:
    """Return level and variance of the reference of every cell, from rows or from a column."""
    own = rows[rows["is_reference"]]
    if len(own):
        if rows["reference"].notna().any():
            raise InputError(f"{path}: references are rows (effect_allele empty) and a column as well; needed one way")
        table = _averaged(own, ["locus", "task"]).set_index(["locus", "task"])
    else:
        edits = rows[rows["reference"].notna()]
        cells = edits.groupby(["locus", "task", "replicate"])
        differ = cells["reference"].agg(lambda values: values.max() - values.min()) > 0
        if differ.any():
            locus, task, _ = differ.index[int(np.argmax(differ))]
            raise InputError(
                f"{path}: {locus}, task {task}: the edits of a locus have one reference; got several levels"
            )
        single = cells.agg(value=("reference", "first"), variance=("reference_variance", "mean")).reset_index()
        single = single.assign(reference=np.nan, reference_variance=np.nan, is_difference=False)
        table = _averaged(single, ["locus", "task"]).set_index(["locus", "task"])
    at = pd.MultiIndex.from_frame(measured[["locus", "task"]])
    found = table[["value", "variance"]].reindex(at).reset_index(drop=True)
    lacking = found["value"].isna()
    if lacking.any():
        first = measured[lacking.to_numpy()].iloc[0]
        raise InputError(
            f"{path}: {first['locus']}, task {first['task']}: has no reference; needed a reference_ column or a row "
            "with an empty effect_allele"
        )
    return found["value"], found["variance"]


def _pivot(edits: pd.DataFrame, measured: pd.DataFrame, tasks: Sequence[str]) -> LabelledEdits:
    """Lay cells out as edits by tasks."""
    number, index = pd.factorize(pd.MultiIndex.from_frame(measured[KEY]))
    names = tuple(task for task in tasks if (measured["task"] == task).any())
    column = pd.Index(names).get_indexer(pd.Index(measured["task"]))
    arrays = {}
    for name in ("difference", "variance", "shared", "level"):
        arrays[name] = np.full((len(index), len(names)), np.nan)
        arrays[name][number, column] = measured[name].to_numpy(float)
    first = edits.drop_duplicates(KEY).set_index(KEY).loc[index]
    variants = pd.DataFrame(
        {
            "locus": index.get_level_values(0).astype(str),
            str(edits["place_column"].iloc[0]): index.get_level_values(1).astype(int),
            "other_allele": first["other_allele"].to_numpy(),
            "effect_allele": index.get_level_values(2).astype(str),
            "line": first["line"].to_numpy(),
        }
    )
    return LabelledEdits(
        variants=variants,
        tasks=names,
        difference=arrays["difference"],
        variance=arrays["variance"],
        shared_variance=arrays["shared"],
        reference=None if np.isnan(arrays["level"]).all() else arrays["level"],
    )
