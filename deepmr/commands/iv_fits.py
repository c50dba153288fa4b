"""Fits on disk as `deepmr iv evaluate` names them: folders and patterns, points to evaluate them at, conditions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import DoseResponse, FitRecord
from deepmr.io.responses import META, read_meta, read_response

_WILD = "*?["
_PARTS = ("options", "diagnostics", "losses", "settings", "data", "provenance")  # where a key is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A fit on disk.

    Attributes
    ----------
    name : of its folder, as it was found.
    response : what it predicts.
    meta : its description.
    """

    name: str
    response: DoseResponse
    meta: Mapping[str, Any]


def find_fits(words: Sequence[Path]) -> list[Path]:
    """Return the folders of fits that words stand for, each once, in order.

    Parameters
    ----------
    words : folders, folders of folders, and patterns with * such as runs/*.

    Raises
    ------
    InputError
        When a word stands for no fit.
    """
    found: dict[Path, None] = {}
    for path in words:
        word = str(path)
        if any(mark in word for mark in _WILD) and not path.exists():
            below = Path(path.anchor)  # empty for a relative path
            found_here = below.glob(str(path.relative_to(below))) if path.anchor else Path().glob(word)
            matches = sorted(found_here, key=_by_number)
            matches = [one.parent if one.name == META else one for one in matches]
            fits = [one for one in matches if (one / META).is_file()]
            if not fits:
                what = f"{len(matches)} files or folders, but no fit" if matches else "nothing"
                raise InputError(f"{word}: matches {what}")
        elif (path / META).is_file():
            fits = [path]
        elif path.is_dir():
            fits = sorted((one.parent for one in path.glob(f"*/{META}")), key=_by_number)
            if not fits:
                raise InputError(f"{path}: not a fit of deepmr iv, nor a folder of fits: there is no {META}")
        elif path.name == META and path.is_file():
            fits = [path.parent]
        else:
            raise InputError(f"{path}: there is no such folder")
        found |= dict.fromkeys(fits)
    if not found:
        raise InputError("needed at least one fit; got none")
    return list(found)


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Order runs/2 before runs/10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def read_fits(words: Sequence[Path]) -> list[Fit]:
    """Read the fits that words stand for.

    Parameters
    ----------
    words : as in `find_fits`.
    """
    return [Fit(name=str(path), response=read_response(path), meta=read_meta(path)) for path in find_fits(words)]


def parse_pair(name: str, text: str) -> tuple[float, float]:
    """Return the two numbers of "a,b".

    Parameters
    ----------
    name : of the option, for the message.
    text : what was given.
    """
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        first = second = np.nan
    if not (np.isfinite(first) and np.isfinite(second)):
        raise InputError(f"{name} must be two numbers, such as -1,2; got {text!r}")
    return first, second


def domain_of(record: FitRecord, text: str) -> tuple[float, float]:
    """Return where a fit is evaluated.

    Parameters
    ----------
    record : of the fit.
    text : "95" for the central 95 % of its exposures (all of them where those are one value), "full" for all of them,
        "a,b" for a range.

    Raises
    ------
    InputError
        When it is none of these, or the range is empty.
    """
    if text == "95":
        return record.central if record.central[0] < record.central[1] else record.domain
    if text == "full":
        return record.domain
    if "," not in text:
        raise InputError(f"domain must be 95, full or two numbers, such as -1,2; got {text!r}")
    low, high = parse_pair("domain", text)
    if not low < high:
        raise InputError(f"domain must go from a lower to a higher number; got {text}")
    return low, high


def parse_conditions(words: Sequence[str]) -> list[dict[str, float]]:
    """Return the conditions that words say; a name that occurs again begins a new one.

    Parameters
    ----------
    words : of name=value pairs with commas between them: "sex=0,sex=1" and "age=50,sex=0" "age=50,sex=1" are two each.

    Raises
    ------
    InputError
        For a pair of another form.
    """
    conditions: list[dict[str, float]] = []
    for word in words:
        condition: dict[str, float] = {}
        for pair in word.split(","):
            name, equals, value = pair.partition("=")
            try:
                number = float(value)
            except ValueError:
                number = np.nan
            if not equals or not name.strip() or not np.isfinite(number):
                raise InputError(f"conditions are NAME=NUMBER pairs, such as sex=0,sex=1; got {word!r}")
            if name.strip() in condition:
                conditions.append(condition)
                condition = {}
            condition[name.strip()] = number
        conditions.append(condition)
    return conditions


def condition_text(condition: Mapping[str, float]) -> str:
    """Return "age=50, sex=1".

    Parameters
    ----------
    condition : values by covariate.
    """
    return ", ".join(f"{name}={value:g}" for name, value in condition.items())


def covariates_at(fit: Fit, condition: Mapping[str, float], n_points: int) -> Float[np.ndarray, "points covariates"]:
    """Return the covariates of points under a condition; what it does not say is at the mean of the fit's samples.

    Parameters
    ----------
    fit : whose covariates.
    condition : values by name.
    n_points : rows.

    Raises
    ------
    InputError
        For a covariate that the fit does not have, or one without a value where the fit does not know the mean.
    """
    names = fit.response.record.covariates
    for name in condition:
        if not names:
            raise InputError(f"{fit.name}: the fit has no covariates; a condition on {name!r} needs them")
        if name not in names:
            told = ", ".join(names)
            raise InputError(f"{fit.name}: the fit has no covariate {name!r}{checks.meant(name, names)}; it has {told}")
    values = {**fit.meta.get("data", {}).get("covariate_means", {}), **condition}
    absent = [name for name in names if name not in values]
    if absent:
        raise InputError(f"{fit.name}: a condition needs a value of {', '.join(absent)}: the fit knows no mean of it")
    return np.tile(np.array([float(values[name]) for name in names]), (n_points, 1))


def meta_value(meta: Mapping[str, Any], key: str) -> Any:
    """Return what a fit's description says under a key; None where it has no such key.

    Parameters
    ----------
    meta : the description.
    key : of it, of its options, diagnostics, losses or others; or a path such as options.n_functions.
    """
    for start in (meta, *(meta.get(part, {}) for part in _PARTS)):
        value: Any = start
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            return ",".join(map(str, value)) if isinstance(value, list) else value
    return None
