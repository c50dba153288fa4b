"""`deepmr iv methods`: the estimators of `deepmr iv fit`, and the options of each."""

import ast
import importlib.util
import inspect
import re
import types
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from deepmr import checks
from deepmr.nonlinear import METHODS, method_class


def methods(name: str | None = None) -> dict[str, object]:
    """List the methods of deepmr iv fit, or the options of one.

    Parameters
    ----------
    name
        Of a method.

    Returns
    -------
    dict
        Methods with what they are, or one method's options with types, defaults and meanings.

    Raises
    ------
    InputError
        When there is no such method.
    """
    if name is None:
        first = sorted(METHODS.items(), key=lambda item: item[0] != "auto")  # the default, then the others
        return {"methods": [{"method": key, "meaning": _first_line(target)} for key, target in first]}
    checks.one_of("method", name, METHODS)
    chosen = method_class(name)
    meanings, hints = attribute_meanings(inspect.getdoc(chosen) or ""), get_type_hints(chosen)
    rows = [
        {
            "option": field.name,
            "type": type_text(hints[field.name]),
            "default": _value_text(field.default if field.default is not MISSING else None),
            "meaning": _resolved(meanings.get(field.name, ""), field.name),
        }
        for field in fields(chosen)
    ]
    return {"method": name, "meaning": _first_line(METHODS[name]), "options": rows}


def attribute_meanings(doc: str) -> dict[str, str]:
    """Return what the section Attributes of a docstring says, by name.

    Parameters
    ----------
    doc : cleaned, as `inspect.getdoc` returns it.
    """
    section = re.search(r"^Attributes\n-+\n(.*?)(?=^\w[\w ]*\n-{3,}$|\Z)", doc, re.M | re.S)
    found: dict[str, str] = {}
    names: list[str] = []
    text = re.sub(r"^(\w[\w, ]*,)\n", r"\1 ", section[1], flags=re.M) if section else ""  # names over several lines
    for line in text.splitlines():
        head = re.fullmatch(r"(\w[\w, ]*?) *: *(.*)", line)
        if head is not None:
            names = [name.strip() for name in head[1].split(",")]
            found |= dict.fromkeys(names, head[2].strip())
        elif line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def _resolved(meaning: str, option: str) -> str:
    """Return a meaning, with "as in `Other`" replaced by that of the same option of the method with that class."""
    reference = re.fullmatch(r"as in `(\w+)`(\.|; .*)", meaning)
    other = next((key for key, target in METHODS.items() if reference and target.endswith(f":{reference[1]}")), None)
    if other is None:
        return meaning
    found = attribute_meanings(inspect.getdoc(method_class(other)) or "").get(option)
    return meaning if reference is None or found is None else _resolved(found, option).removesuffix(".") + reference[2]


def type_text(hint: Any) -> str:
    """Return a type as a user writes values of it: int, auto | none | full, int,int,...

    Parameters
    ----------
    hint : of an option.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin in (Union, types.UnionType):
        return " | ".join("none" if one is type(None) else type_text(one) for one in inner)
    if origin is tuple:
        return f"{type_text(inner[0])},..."
    return "true | false" if hint is bool else str(getattr(hint, "__name__", hint))


def _value_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_value_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _first_line(target: str) -> str:
    """Return the first line of a class's docstring without importing its module, which may import torch."""
    module, _, name = target.partition(":")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    found = next((n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == name), None)
    return ((found and ast.get_docstring(found)) or "").partition("\n")[0]
