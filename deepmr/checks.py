"""Checks that turn a bad value into one line: what came, what was needed, where."""

import difflib
from collections.abc import Collection, Iterable

import numpy as np

from deepmr.errors import InputError


def _report(name: str, needed: str, bad: np.ndarray) -> None:
    if bad.any():
        first = np.unravel_index(int(np.argmax(bad)), bad.shape)
        where = f"row {first[0]}" if bad.ndim == 1 else f"index {tuple(int(i) for i in first)}"
        verb = "is" if bad.sum() == 1 else "are"
        raise InputError(f"{name} must be {needed}; {int(bad.sum())} of {bad.size} {verb} not, first at {where}")


def finite(name: str, values: np.ndarray) -> None:
    """Raise `InputError` unless every value is finite."""
    _report(name, "finite", ~np.isfinite(values))


def positive(name: str, values: np.ndarray) -> None:
    """Raise `InputError` unless every value is finite and above zero."""
    _report(name, "positive", ~(np.isfinite(values) & (values > 0)))


def non_negative(name: str, values: np.ndarray) -> None:
    """Raise `InputError` unless every value is finite and at least zero."""
    _report(name, "zero or positive", ~(np.isfinite(values) & (values >= 0)))


def at_least(name: str, value: int | float | None, least: int | float) -> None:
    """Raise `InputError` when an option is below its least value; None is one that was not given."""
    if value is not None and not value >= least:
        raise InputError(f"{name} must be at least {least:g}; got {value:g}")


def level(value: float) -> None:
    """Raise `InputError` unless a confidence level lies between 0 and 1."""
    if not 0 < value < 1:
        raise InputError(f"level must be between 0 and 1; got {value:g}")


def shape(name: str, values: np.ndarray, expected: tuple[int, ...]) -> None:
    """Raise `InputError` unless `values` is an array of the expected shape."""
    if not hasattr(values, "shape"):
        raise InputError(f"{name} must be an array of shape {expected}; got {type(values).__name__}")
    if values.shape != expected:
        raise InputError(f"{name} must have shape {expected}; got {values.shape}")


def correlation(name: str, values: np.ndarray, size: int) -> None:
    """Raise `InputError` unless `values` is a symmetric matrix of this size, 1 on the diagonal and within -1 to 1."""
    shape(name, values, (size, size))
    finite(name, values)
    if not np.allclose(values, values.T, atol=1e-8):
        raise InputError(f"{name} must be symmetric; it is not")
    if not np.allclose(np.diagonal(values), 1.0, atol=1e-6):
        raise InputError(f"{name} must be 1 on its diagonal; it has {np.diagonal(values).min():g}")
    if size and np.abs(values).max() > 1 + 1e-6:
        raise InputError(f"{name} must lie between -1 and 1; it has {values.flat[np.abs(values).argmax()]:g}")


def one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    """Raise `InputError` unless `value` is among `allowed`."""
    choices = list(allowed)
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}; got {value!r}{meant(value, choices)}")


def meant(value: str, allowed: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the most similar allowed value, in whatever case, or nothing."""
    lower = {choice.lower(): choice for choice in allowed}
    plain = value.lower().replace("-", "_")
    near = difflib.get_close_matches(plain, lower, n=1) or [w for w in plain.split("_")[::-1] if w in lower]
    return f"; did you mean {lower[near[0]]!r}?" if near else ""


def unique(name: str, values: Collection[object]) -> None:
    """Raise `InputError` naming the first value that occurs twice."""
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise InputError(f"{name} must be unique; {value!r} occurs more than once")
        seen.add(value)


def columns(name: str, present: Iterable[str], needed: Iterable[str]) -> None:
    """Raise `InputError` when a needed column is missing."""
    have = list(present)
    missing = [c for c in needed if c not in have]
    if missing:
        raise InputError(f"{name} needs the column(s) {', '.join(missing)}; it has {', '.join(have)}")
