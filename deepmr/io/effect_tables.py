"""Effects of variants made elsewhere: a long TSV table or an NPZ archive."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

import numpy as np
import pandas as pd

from deepmr import checks, schema
from deepmr.errors import InputError
from deepmr.io.tables import numbers, read_table, whole_numbers
from deepmr.types import Estimand, MemberEffects, SummaryStats, Task

KEY = ["locus", "variant_id"]
WHOLE = {"pos", "offset"}


def read_effect_table(path: Path) -> tuple[MemberEffects | SummaryStats, tuple[str, ...]]:
    """Read effects per member, or mean effects with standard errors.

    Parameters
    ----------
    path
        A TSV (plain or gzip) with the columns locus, variant_id, task, beta, and either member or se; or an NPZ with
        the arrays locus, tasks, and either effect (members, variants, tasks) or beta and se (variants, tasks). Of both,
        chrom, pos, effect_allele, other_allele and offset are kept where they are there. Means with standard errors are
        taken to be of a population, as GWAS results are; a column (or single text of an NPZ) `estimand` can say model.

    Returns
    -------
    tuple
        The effects, variants of a locus next to each other; the loci in the order of the file.

    Raises
    ------
    InputError
        When the file is no such table, a combination of variant, task and member is missing or there twice, or a value
        is no finite number.
    """
    return _read_npz(path) if path.suffix == ".npz" else _read_tsv(path)


def _read_tsv(path: Path) -> tuple[MemberEffects | SummaryStats, tuple[str, ...]]:
    frame = read_table(path)
    missing = [name for name in (*KEY, "task", "beta") if name not in frame.columns]
    if missing:
        raise InputError(f"{path}: not an effect table: the column(s) {', '.join(missing)} are missing")
    if ("member" in frame.columns) == ("se" in frame.columns):
        raise InputError(f"{path}: needed either a column 'member' (effects per member) or 'se' (mean effects)")
    if frame.empty:
        raise InputError(f"{path}: the table has no rows")
    given = ["beta"] if "member" in frame.columns else ["beta", "se"]
    for name in given:
        frame[name] = numbers(path, frame, name)
    for name in WHOLE & set(frame.columns):
        frame[name] = whole_numbers(path, frame, name)
    _check_variants(path, frame)
    axes = [_ids(frame), frame["task"].astype(str)]
    if "member" in frame.columns:
        axes.insert(0, frame["member"].astype(str))
    codes, levels = zip(*(pd.factorize(axis) for axis in axes), strict=True)
    shape = tuple(len(level) for level in levels)
    cell = np.ravel_multi_index(codes, shape)
    count = np.bincount(cell, minlength=int(np.prod(shape)))
    if np.any(count != 1):
        first = int(np.argmax(count != 1))
        what = ", ".join(str(level[i]) for level, i in zip(levels, np.unravel_index(first, shape), strict=True))
        raise InputError(f"{path}: {what}: {'is missing' if count[first] == 0 else 'occurs more than once'}")
    order = np.argsort(cell)
    arrays = [frame[name].to_numpy(dtype=float)[order].reshape(shape) for name in given]
    variants = frame.drop_duplicates(KEY).reset_index(drop=True)
    estimands = list(dict.fromkeys(frame["estimand"].astype(str))) if "estimand" in frame.columns else []
    return _build(path, variants, [str(task) for task in levels[-1]], arrays, estimands)


def _check_variants(path: Path, frame: pd.DataFrame) -> None:
    """Raise `InputError` unless all rows of a variant say the same of it: effects of two alleles have two signs."""
    variant, names = pd.factorize(_ids(frame))
    first = np.unique(variant, return_index=True)[1]
    for name in [name for name in (*schema.VARIANTS, "offset") if name in frame.columns and name not in KEY]:
        values = frame[name].astype(str).to_numpy()
        odd = values != values[first][variant]
        if odd.any():
            which = names[variant[int(np.argmax(odd))]]
            raise InputError(f"{path}: {which} has more than one {name}; needed the same in all its rows")


def _estimand(named: Sequence[str]) -> Estimand:
    """Return what means and standard errors are of: what the file says, else a population."""
    if not named:
        return "population"
    if len(named) > 1:
        raise InputError(f"estimand must be the same for all effects; got {', '.join(named)}")
    checks.one_of("estimand", named[0], get_args(Estimand))
    return cast(Estimand, named[0])


def _ids(frame: pd.DataFrame) -> pd.Series:
    return frame["locus"].astype(str) + " " + frame["variant_id"].astype(str)


def _read_npz(path: Path) -> tuple[MemberEffects | SummaryStats, tuple[str, ...]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        # AttributeError, TypeError: a single array (NPY) has neither names nor a context
        raise InputError(f"{path}: not a readable NPZ archive: {' '.join(str(error).split())}") from error
    given = ["effect"] if "effect" in content else ["beta", "se"]
    columns = [name for name in (*schema.VARIANTS, "offset") if name in content]
    _check_arrays(path, content, given=given, columns=columns)
    variants = pd.DataFrame({name: content[name] for name in columns})
    variants["locus"] = variants["locus"].astype(str)
    if "variant_id" in columns:
        variants["variant_id"] = variants["variant_id"].astype(str)
    else:
        number = variants.groupby("locus", sort=False).cumcount() + 1
        variants["variant_id"] = variants["locus"] + ":" + number.astype(str)
    twice = variants[variants.duplicated(KEY)]
    if len(twice):
        locus, variant = twice["locus"].iloc[0], twice["variant_id"].iloc[0]
        raise InputError(f"{path}: {locus} {variant} occurs more than once")
    arrays = [content[name].astype(float) for name in given]
    estimands = np.unique(content["estimand"].astype(str)).tolist() if "estimand" in content else []
    return _build(path, variants, content["tasks"].astype(str).tolist(), arrays, estimands)


def _check_arrays(path: Path, content: dict[str, np.ndarray], *, given: list[str], columns: list[str]) -> None:
    missing = [name for name in ("locus", "tasks", *given) if name not in content]
    if missing:
        raise InputError(f"{path}: the array(s) {', '.join(missing)} are missing; it has {', '.join(content)}")
    for name in ("locus", "tasks"):
        if content[name].ndim != 1 or not content[name].size:
            raise InputError(f"{path}: {name} must be a list of names; its shape is {content[name].shape}")
    n_variants, n_tasks = len(content["locus"]), len(content["tasks"])
    for name in given:
        array = content[name]
        if array.dtype.kind not in "fiu":
            raise InputError(f"{path}: {name} must hold numbers; it holds {array.dtype}")
        if array.ndim != (3 if name == "effect" else 2) or array.shape[-2:] != (n_variants, n_tasks):
            axes = "(members, variants, tasks)" if name == "effect" else "(variants, tasks)"
            raise InputError(
                f"{path}: {name} must be {axes} with {n_variants} variants and {n_tasks} tasks; it is {array.shape}"
            )
    for name in columns:
        if content[name].shape != (n_variants,):
            raise InputError(
                f"{path}: {name} must have one value a variant, {n_variants}; its shape is {content[name].shape}"
            )


def _build(
    path: Path, given: pd.DataFrame, tasks: list[str], arrays: list[np.ndarray], estimands: Sequence[str]
) -> tuple[MemberEffects | SummaryStats, tuple[str, ...]]:
    """Put the variants of a locus next to each other and make the type that the arrays allow."""
    locus, loci = pd.factorize(given["locus"].astype(str))
    order = np.argsort(locus, kind="stable")
    absent: dict[str, str | int] = {"chrom": "", "pos": 0, "effect_allele": "", "other_allele": "", "offset": -1}
    variants = given.iloc[order].reset_index(drop=True)
    for name in absent.keys() - set(variants.columns):
        variants[name] = absent[name]
    variants = variants[[*schema.VARIANTS, "offset"]]
    try:
        checks.unique("tasks", tasks)
        if len(arrays) == 1:
            delta = arrays[0][:, order].astype(np.float32)
            return MemberEffects(variants=variants, tasks=tuple(Task(name=t) for t in tasks), delta=delta), tuple(loci)
        beta, se = (array[order] for array in arrays)
        stats = SummaryStats(variants=variants, traits=tuple(tasks), beta=beta, se=se, estimand=_estimand(estimands))
        return stats, tuple(loci)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
