"""What a sweep varies: parameters with samplers, and the runs that follow from them."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from deepmr import checks
from deepmr.errors import InputError
from deepmr.nonlinear import make_method, method_class

Value = bool | int | float | str
Kind = Literal["values", "integer", "float"]
SAMPLERS = {  # the keys that each takes beside name, sampler and methods
    "grid": ("start", "stop", "n_values", "step", "log"),
    "list": ("values",),
    "literal": ("value",),
    "integer": ("low", "high", "log"),
    "float": ("low", "high", "log"),
}
ALIASES = {"random_uniform_int": "integer", "random_uniform": "float"}  # as ml-mr names them
RESERVED = ("method", "seed")  # parameters of a run that are no options of a method
_INSIDE = 0.381966  # of a range: no whole number of most


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepParameter:
    """Something that runs differ by.

    Attributes
    ----------
    name : of an option, or "method" or "seed".
    kind : a list of values, or whole or other numbers drawn at random.
    values : where it is a list.
    low, high : where they are drawn; both may be drawn.
    log : whether their logarithm is drawn uniformly.
    methods : that it applies to; empty for all that have the option.
    """

    name: str
    kind: Kind
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    methods: tuple[str, ...] = ()

    @property
    def drawn(self) -> bool:
        """Whether values are drawn at random."""
        return self.kind != "values"


def read_parameter(section: Mapping[str, Any], *, where: str) -> SweepParameter:
    """Read one section of a configuration.

    Parameters
    ----------
    section : its keys and values.
    where : of which file and section it is, for messages.

    Raises
    ------
    InputError
        For a sampler or a key that there is not, or values that make no sense.
    """
    name = section.get("name")
    if not isinstance(name, str) or not name:
        raise InputError(f"{where} needs a name, that of an option of the method")
    where = f"{where}, {name}"
    said = section.get("sampler")
    if said is None:
        raise InputError(f"{where}: needs a sampler, one of {', '.join(SAMPLERS)}")
    sampler = ALIASES.get(str(said), str(said))
    if sampler not in SAMPLERS:
        raise InputError(
            f"{where}: sampler must be one of {', '.join([*SAMPLERS, *ALIASES])}; "
            f"got {said!r}{checks.meant(str(said), [*SAMPLERS, *ALIASES])}"
        )
    for key in section:
        if key not in ("name", "sampler", "methods", *SAMPLERS[sampler]):
            known = SAMPLERS[sampler]
            raise InputError(
                f"{where}: sampler {sampler} has no {key!r}{checks.meant(key, known)}; it has {', '.join(known)}"
            )
    methods = section.get("methods", [])
    if not (isinstance(methods, list) and all(isinstance(one, str) for one in methods)):
        raise InputError(f"{where}: methods must be a list of names; got {methods!r}")
    if sampler in ("integer", "float"):
        return _drawn(name, section, sampler, tuple(methods), where)
    return SweepParameter(name=name, kind="values", values=_listed(section, sampler, where), methods=tuple(methods))


def _drawn(name: str, section: Mapping[str, Any], sampler: str, methods: tuple[str, ...], where: str) -> SweepParameter:
    low, high = (_number(section, key, where) for key in ("low", "high"))
    log = _flag(section, where)
    if not low < high:
        raise InputError(f"{where}: low must be below high; got {low:g} and {high:g}")
    if log and low <= 0:
        raise InputError(f"{where}: low must be positive on a log scale; got {low:g}")
    if sampler == "integer":
        for value in (low, high):
            if value != int(value):
                raise InputError(f"{where}: low and high must be whole numbers; got {value:g}")
        return SweepParameter(name=name, kind="integer", low=low, high=high, log=log, methods=methods)
    return SweepParameter(name=name, kind="float", low=low, high=high, log=log, methods=methods)


def _listed(section: Mapping[str, Any], sampler: str, where: str) -> tuple[Value, ...]:
    if sampler == "grid":
        return _grid(section, where)
    key = "values" if sampler == "list" else "value"
    if key not in section:
        raise InputError(f"{where}: sampler {sampler} needs {key}")
    found = section[key] if sampler == "list" else [section[key]]
    if not isinstance(found, list) or not found:
        raise InputError(f"{where}: values must be a list with at least one; got {found!r}")
    values = tuple(_plain(one, where) for one in found)
    checks.unique(f"{where}: values", values)
    return values


def _plain(value: Any, where: str) -> Value:
    """Return a value as a run holds it: sizes of layers, [128, 64], as the text "128,64"."""
    if value is None:
        return "none"
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list) and all(isinstance(one, int | float | str) for one in value):
        return ",".join(map(str, value))
    raise InputError(f"{where}: a value must be a number, text, true, false or a list of them; got {value!r}")


def _grid(section: Mapping[str, Any], where: str) -> tuple[Value, ...]:
    start, stop = (_number(section, key, where) for key in ("start", "stop"))
    log = _flag(section, where)
    if ("n_values" in section) == ("step" in section):
        raise InputError(f"{where}: a grid needs n_values or step, and not both")
    if log and min(start, stop) <= 0:
        raise InputError(f"{where}: start and stop must be positive on a log scale; got {start:g} and {stop:g}")
    if "step" in section:
        step = _number(section, "step", where)
        if log or step <= 0 or stop < start:
            raise InputError(f"{where}: step must be positive, from start up to stop, and not on a log scale")
        values = start + step * np.arange(math.floor((stop - start) / step + 1e-9) + 1)
    else:
        count = _number(section, "n_values", where)
        if count != int(count) or count < 1:
            raise InputError(f"{where}: n_values must be a whole number from 1 on; got {count:g}")
        values = (np.geomspace if log else np.linspace)(start, stop, int(count))
    whole = np.round(values)
    if isinstance(section["start"], int) and np.allclose(values, whole, rtol=0, atol=1e-9):
        return tuple(int(one) for one in whole)
    return tuple(float(f"{one:.12g}") for one in values)


def _number(section: Mapping[str, Any], key: str, where: str) -> float:
    value = section.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        got = "nothing" if value is None else repr(value)
        raise InputError(f"{where}: {key} must be a number; got {got}")
    return float(value)


def _flag(section: Mapping[str, Any], where: str) -> bool:
    value = section.get("log", False)
    if not isinstance(value, bool):
        raise InputError(f"{where}: log must be true or false; got {value!r}")
    return value


def applies(parameter: SweepParameter, method: str) -> bool:
    """Return whether runs of a method differ by a parameter.

    Parameters
    ----------
    parameter : any.
    method : as in `nonlinear.METHODS`.
    """
    if parameter.name in RESERVED:
        return True
    if parameter.methods and method not in parameter.methods:
        return False
    return parameter.name in {field.name for field in fields(method_class(method))}


def check_parameters(parameters: Sequence[SweepParameter], methods: Sequence[str], *, where: str) -> None:
    """Raise `InputError` unless every value is one that the methods' options can take.

    Parameters
    ----------
    parameters : all of a sweep.
    methods : that it fits.
    where : the file, for messages.
    """
    checks.unique(f"{where}: names of parameters", [one.name for one in parameters])
    for parameter in parameters:
        for method in parameter.methods:
            if method not in methods:
                raise InputError(
                    f"{where}: {parameter.name} is for method {method!r}{checks.meant(method, methods)}, "
                    f"but the sweep has {', '.join(methods)}"
                )
        chosen = [method for method in methods if applies(parameter, method)]
        try:
            if parameter.name == "method":
                raise InputError("methods are given by method = [...] in [sweep]")
            if parameter.name == "seed":
                _check_seeds(parameter)
            for method in chosen or parameter.methods or methods:
                for value in _probes(parameter):
                    make_method(method, {} if parameter.name == "seed" else {parameter.name: value})
        except InputError as error:
            raise InputError(f"{where}: {parameter.name}: {error}") from error


def _check_seeds(parameter: SweepParameter) -> None:
    for value in _probes(parameter):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InputError(f"a seed is a whole number from 0 on; got {value!r}")


def _probes(parameter: SweepParameter) -> list[Value]:
    """Return values to check: all of a list; of a range its ends and, where it is not of whole numbers, one inside."""
    if parameter.kind == "values":
        return list(parameter.values)
    if parameter.kind == "integer":
        return [int(parameter.low), int(parameter.high)]
    return [parameter.low, parameter.low + _INSIDE * (parameter.high - parameter.low), parameter.high]


def make_runs(
    parameters: Sequence[SweepParameter], methods: Sequence[str], *, max_runs: int, seed: int
) -> list[dict[str, Value]]:
    """Return the parameters of every run.

    Parameters
    ----------
    parameters : all of a sweep.
    methods : that it fits; where there are several, they are a parameter too.
    max_runs : most runs, and exactly so many where a value is drawn at random.
    seed : of the draws.

    Notes
    -----
    Where all parameters are lists, the runs are their product, the last one varying fastest. Otherwise they are joint
    draws: numbers uniform on their scale, values of lists equally often, in random order. A parameter that a method has
    not is left out of its runs, and no product has a run twice.
    """
    every = list(parameters)
    if len(methods) > 1:
        every.insert(0, SweepParameter(name="method", kind="values", values=tuple(methods)))
    if any(one.drawn for one in every):
        rng = np.random.default_rng(seed)
        columns = [_draw(one, max_runs, rng) for one in every]
        return [_applied(every, values, methods) for values in zip(*columns, strict=True)]
    found: dict[tuple[tuple[str, type, Value], ...], dict[str, Value]] = {}
    for values in itertools.product(*(one.values for one in every)):
        run = _applied(every, values, methods)
        found.setdefault(tuple((name, type(value), value) for name, value in run.items()), run)
        if len(found) == max_runs:
            break
    return list(found.values())


def _applied(parameters: Sequence[SweepParameter], values: Sequence[Value], methods: Sequence[str]) -> dict[str, Value]:
    chosen = {one.name: value for one, value in zip(parameters, values, strict=True) if one.name == "method"}
    method = str(chosen.get("method", methods[0]))
    return {one.name: value for one, value in zip(parameters, values, strict=True) if applies(one, method)}


def _draw(parameter: SweepParameter, n: int, rng: np.random.Generator) -> list[Value]:
    if not parameter.drawn:
        cycled = [parameter.values[k % len(parameter.values)] for k in range(n)]
        return [cycled[k] for k in rng.permutation(n)]
    low, high = parameter.low, parameter.high
    if parameter.kind == "integer":  # on a log scale, too, every whole number gets the room about it
        low, high = (low - 0.5, high + 0.5) if parameter.log else (low, high + 1)
    drawn = np.exp(rng.uniform(np.log(low), np.log(high), n)) if parameter.log else rng.uniform(low, high, n)
    if parameter.kind == "float":
        return [float(one) for one in drawn]
    whole = np.round(drawn) if parameter.log else np.floor(drawn)
    return [int(one) for one in np.clip(whole, parameter.low, parameter.high)]
