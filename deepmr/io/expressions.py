"""Functions of one variable x as text: parsed arithmetic, never executed; or a function in a Python file, which is."""

import ast
import importlib.util
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from deepmr.errors import InputError

Function = Callable[[Float[np.ndarray, "points"]], Float[np.ndarray, "points"]]
_Node = Callable[[Float[np.ndarray, "points"]], Any]

CONSTANTS = {"pi": np.pi, "e": np.e}
FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {  # number of arguments, and what is done with them
    "abs": (1, np.abs),
    "arctan": (1, np.arctan),
    "cos": (1, np.cos),
    "cosh": (1, np.cosh),
    "exp": (1, np.exp),
    "expit": (1, expit),
    "expm1": (1, np.expm1),
    "log": (1, np.log),
    "log10": (1, np.log10),
    "log1p": (1, np.log1p),
    "log2": (1, np.log2),
    "max": (2, np.maximum),
    "min": (2, np.minimum),
    "sign": (1, np.sign),
    "sin": (1, np.sin),
    "sinh": (1, np.sinh),
    "sqrt": (1, np.sqrt),
    "tan": (1, np.tan),
    "tanh": (1, np.tanh),
    "where": (3, np.where),
}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_LONGEST = 2000  # characters
_SHOWN = 80  # of them that a message quotes
_IN_FILE = re.compile(r"(.+\.py):([A-Za-z_]\w*)")


def read_function(text: str) -> Function:
    """Return the function of x that a text says.

    Parameters
    ----------
    text
        Arithmetic in x, as for `parse_function`, or `file.py:name`: the function of that name, whose file is executed.

    Raises
    ------
    InputError
        When it is neither.
    """
    in_file = _IN_FILE.fullmatch(text.strip())
    return parse_function(text) if in_file is None else load_function(Path(in_file[1]), in_file[2])


def parse_function(text: str) -> Function:
    """Return the function of x that an arithmetic expression says; nothing of it is executed as code.

    Parameters
    ----------
    text
        Numbers, x, pi, e, + - * / **, comparisons and the functions of `FUNCTIONS`.

    Raises
    ------
    InputError
        For anything else; the function raises it where its value is not finite.
    """
    if len(text) > _LONGEST:
        raise InputError(f"an expression has at most {_LONGEST} characters; this one has {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        made = _made(tree.body, text)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        told = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InputError(f"{_short(text)} is not arithmetic in x: {told}") from error

    def function(x: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points"]:
        with np.errstate(all="ignore"):
            values = np.broadcast_to(np.asarray(made(np.asarray(x, dtype=float)), dtype=float), x.shape)
        return _finite(values, x, text)

    return function


def load_function(path: Path, name: str) -> Function:
    """Return a function of a Python file, which is executed.

    Parameters
    ----------
    path
        The file.
    name
        Of a function that takes an array of exposures and returns as many values.

    Raises
    ------
    InputError
        When the file does not run or has no such function; the function raises it for other values.
    """
    if not path.is_file():
        raise InputError(f"{path}: cannot be read: there is no such file")
    spec = importlib.util.spec_from_file_location(f"deepmr_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"{path}: does not run: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise InputError(f"{path}: has no function {name!r}; it has {', '.join(known) or 'none'}")

    def function(x: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points"]:
        try:
            values = np.asarray(found(x), dtype=float)
        except Exception as error:
            raise InputError(f"{path}: {name} fails for an array: {type(error).__name__}: {error}") from error
        if values.size == len(x):
            values = values.reshape(len(x))
        if values.shape not in ((), x.shape):
            raise InputError(f"{path}: {name} must return {len(x)} values for {len(x)} exposures; got {values.shape}")
        return _finite(np.broadcast_to(values, x.shape), x, f"{path}:{name}")

    return function


def _finite(
    values: Float[np.ndarray, "points"], x: Float[np.ndarray, "points"], text: str
) -> Float[np.ndarray, "points"]:
    bad = ~np.isfinite(values)
    if bad.any():
        at = x[int(np.argmax(bad))]
        raise InputError(
            f"{_short(text)} must be finite; it is not at {int(bad.sum())} of {len(x)} points, first x = {at:g}"
        )
    return values


def _made(node: ast.expr, text: str) -> _Node:
    """Turn a node into a function of x; only what is listed in this file passes."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        number = np.float64(node.value)  # type: ignore[arg-type]  # never an int: 9**9**9 would not end
        return lambda x: number
    if isinstance(node, ast.Name):
        return _name(node.id, text)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        do, left, right = _BINARY[type(node.op)], _made(node.left, text), _made(node.right, text)
        return lambda x: do(left(x), right(x))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        change, of = _UNARY[type(node.op)], _made(node.operand, text)
        return lambda x: change(of(x))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
        compare, one, other = _COMPARE[type(node.ops[0])], _made(node.left, text), _made(node.comparators[0], text)
        return lambda x: compare(one(x), other(x))
    if isinstance(node, ast.Call):
        return _call(node, text)
    part = ast.get_source_segment(text.strip(), node) or type(node).__name__
    hint = "; powers are written **" if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor) else ""
    raise InputError(f"{_short(text)} is not arithmetic in x: {_short(part)} is not allowed{hint}")


def _name(name: str, text: str) -> _Node:
    if name == "x":
        return lambda x: x
    if name in CONSTANTS:
        number = np.float64(CONSTANTS[name])
        return lambda x: number
    raise InputError(f"{_short(text)} is not arithmetic in x: the name {name!r} is unknown; there are x, pi and e")


def _call(node: ast.Call, text: str) -> _Node:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.get_source_segment(text.strip(), node.func)
    if name not in FUNCTIONS or not isinstance(node.func, ast.Name):
        raise InputError(
            f"{_short(text)} is not arithmetic in x: there is no function {name!r}; there are {', '.join(FUNCTIONS)}"
        )
    needed, do = FUNCTIONS[name]
    if node.keywords or len(node.args) != needed or any(isinstance(arg, ast.Starred) for arg in node.args):
        got = len(node.args) + len(node.keywords)
        raise InputError(f"{_short(text)}: {name} takes {needed} argument{'s' if needed > 1 else ''}; got {got}")
    arguments = [_made(arg, text) for arg in node.args]
    return lambda x: do(*(argument(x) for argument in arguments))


def _short(text: str) -> str:
    """Quote a text, or its beginning where it is long: an error is one line."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ...")
