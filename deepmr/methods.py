"""Tables of methods, name -> "module:Class": a method is a frozen dataclass of its options, imported only when used."""

import types
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from deepmr import checks
from deepmr.errors import InputError


def load(path: str) -> Any:
    """Import what "module:name" names.

    Parameters
    ----------
    path : of a table, never of a user.
    """
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def method_class(name: str, table: Mapping[str, str]) -> Any:
    """Return the class whose fields are the options of a method.

    Parameters
    ----------
    name : of the method.
    table : of all.

    Raises
    ------
    InputError
        When there is no such method.
    """
    checks.one_of("method", name, table)
    return load(table[name])


def make_method(name: str, table: Mapping[str, str], options: Mapping[str, Any] | None = None) -> Any:
    """Make a method with some options other than its defaults.

    Parameters
    ----------
    name : of the method.
    table : of all.
    options : values, or text that says them ("128,64" for a tuple), by the names of the method's fields.

    Raises
    ------
    InputError
        When there is no such method or option, or a value is of another type.
    """
    chosen = method_class(name, table)
    hints = get_type_hints(chosen)
    known = [field.name for field in fields(chosen)]
    for option in options or {}:
        if option not in known:
            raise InputError(f"{name} has no option {option!r}{checks.meant(option, known)}; it has {', '.join(known)}")
    return chosen(**{key: _typed(name, key, value, hints[key]) for key, value in (options or {}).items()})


def _typed(method: str, option: str, value: Any, hint: Any) -> Any:
    """Return a value as the type of an option; text is read as that type."""
    origin, inner = get_origin(hint), get_args(hint)
    try:
        if origin in (Union, types.UnionType):
            if value is None or (isinstance(value, str) and value.lower() == "none"):
                return None
            return _typed(method, option, value, next(one for one in inner if one is not type(None)))
        if origin is Literal:
            checks.one_of(option, str(value), inner)
            return str(value)
        if origin is tuple:
            items = [part for part in value.split(",") if part] if isinstance(value, str) else list(value)
            return tuple(_typed(method, option, item, inner[0]) for item in items)
        if hint is bool:
            words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            return words[str(value).lower()]
        if hint is int:
            if float(value) != int(float(value)):
                raise ValueError
            return int(float(value))
        return hint(value)
    except (ValueError, KeyError, TypeError) as error:
        needed = getattr(hint, "__name__", str(hint))
        raise InputError(f"option {option} of {method} must be {needed}; got {value!r}") from error
