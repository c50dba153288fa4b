"""Functions as text: arithmetic is parsed and never executed; only a named file is."""

import math

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.io.expressions import FUNCTIONS, parse_function, read_function

X = np.array([-1.0, 0.0, 0.5, 2.0])


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("0.2*(x-1)**2 + 0.4", lambda x: 0.2 * (x - 1) ** 2 + 0.4),
        (" -x + +x / 2 ", lambda x: -x / 2),
        ("2**-x", lambda x: 2**-x),
        ("exp(-x) * sin(pi*x) + e", lambda x: math.exp(-x) * math.sin(math.pi * x) + math.e),
        ("where(x > 0, x, -2*x)", lambda x: x if x > 0 else -2 * x),
        ("max(x, 0) + min(x, 1) + abs(x)", lambda x: max(x, 0) + min(x, 1) + abs(x)),
        ("3", lambda x: 3.0),
        ("(x >= 0.5) * 2", lambda x: 2.0 * (x >= 0.5)),
    ],
)
def test_arithmetic(text, function):
    assert np.allclose(parse_function(text)(X), [function(x) for x in X], rtol=1e-14)


def test_every_function_is_there():
    for name, (n, _) in FUNCTIONS.items():
        assert np.isfinite(parse_function(f"{name}({', '.join(['x + 2'] * n)})")(X)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('true')", "there is no function"),
        ("().__class__", "is not allowed"),
        ("x.real", "'x.real' is not allowed"),
        ("x[0]", "is not allowed"),
        ("lambda x: x", "is not allowed"),
        ("[x for x in x]", "is not allowed"),
        ("x if x else 1", "is not allowed"),
        ("(y := x)", "is not allowed"),
        ("f'{x}'", "is not allowed"),
        ("1 < x < 2", "is not allowed"),
        ("True", "is not allowed"),
        ("1j", "is not allowed"),
        ("'a' * 3", "is not allowed"),
        ("x // 2", "is not allowed"),
        ("x ^ 2", "powers are written \\*\\*"),
        ("y + 1", "the name 'y' is unknown; there are x, pi and e"),
        ("sin", "the name 'sin' is unknown"),
        ("sin(x, 2)", "sin takes 1 argument; got 2"),
        ("sin(*x)", "sin takes 1 argument"),
        ("where(x > 0, 1, y=2)", "where takes 3 arguments; got 3"),
        ("exec('1')", "there is no function 'exec'"),
        ("x +", "is not arithmetic in x: invalid syntax"),
        ("", "is not arithmetic in x"),
        ("import os", "is not arithmetic in x"),
        ("(" * 500 + "x" + ")" * 500, "is not arithmetic in x"),
        ("-" * 1900 + "x", "is not arithmetic in x"),
        ("x" * 3000, "at most 2000 characters"),
    ],
)
def test_anything_else_is_an_error_of_one_line(text, message):
    with pytest.raises(InputError, match=message) as error:
        read_function(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("text", ["log(x)", "1/x", "9**9**9**9", "1e999", "x**0.5"])
def test_a_value_that_is_not_finite_is_an_error(text):
    with pytest.raises(InputError, match="must be finite; it is not at"):
        parse_function(text)(X)


def test_a_function_in_a_file(tmp_path):
    path = tmp_path / "truth.py"
    path.write_text(
        "import numpy as np\ndef curve(x):\n    return np.sin(x)[:, None]\n"
        "def level(x):\n    return 2\ndef pairs(x):\n    return np.c_[x, x]\ndef bad(x):\n    return x.nothing\n"
    )
    assert np.array_equal(read_function(f"{path}:curve")(X), np.sin(X))
    assert read_function(f"{path}:level")(X).tolist() == [2] * 4
    for name, message in (("pairs", "must return 4 values"), ("bad", "fails for an array: AttributeError")):
        with pytest.raises(InputError, match=message):
            read_function(f"{path}:{name}")(X)
    with pytest.raises(InputError, match="has no function 'nothing'; it has curve, level"):
        read_function(f"{path}:nothing")
    with pytest.raises(InputError, match="there is no such file"):
        read_function(f"{tmp_path}/other.py:curve")
    path.write_text("1 / 0\n")
    with pytest.raises(InputError, match="does not run: ZeroDivisionError"):
        read_function(f"{path}:curve")
