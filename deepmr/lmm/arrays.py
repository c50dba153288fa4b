"""Arrays that a model is made of: checked with Hail's exceptions, and kept where nobody writes to them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
from jaxtyping import Float, Shaped

from deepmr.errors import InputError
from deepmr.io.matrix_rows import open_rows
from deepmr.lmm.errors import ModelAssertion, ModelInputError
from deepmr.population.spectrum import NEGATIVE

Compat = Literal["0.2.93", "2018"]
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]  # py, px, s, y, x


class Refused:
    """Raises what Hail raised for a bad input, in one of its versions.

    Parameters
    ----------
    compat : the version: ValueError in `0.2.93`, AssertionError in `2018`.
    """

    def __init__(self, compat: str) -> None:
        self.kind = ModelAssertion if compat == "2018" else ModelInputError

    def __call__(self, message: str) -> NoReturn:
        """Raise."""
        raise self.kind(message)

    def unless(self, holds: bool, message: str) -> None:
        """Raise where something does not hold."""
        if not holds:
            self(message)

    @contextmanager
    def as_own(self) -> Iterator[None]:
        """Turn errors of the kernels into this kind."""
        try:
            yield
        except InputError as error:
            raise self.kind(str(error)) from error


def check_choice(name: str, value: str, allowed: Iterable[str]) -> None:
    """Raise unless an option is one of its values.

    Parameters
    ----------
    name, value, allowed : of the option.
    """
    if value not in allowed:
        raise ModelInputError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def owned(name: str, values: Shaped[np.ndarray, "..."], ndim: int, refused: Refused) -> Float[np.ndarray, "..."]:
    """Return a copy in double precision that cannot be written to.

    Parameters
    ----------
    name : for the message.
    values : of whatever number type.
    ndim : how many dimensions it must have.
    refused : how to raise.
    """
    refused.unless(np.ndim(values) == ndim, f"{name} must have {ndim} dimensions; it has {np.ndim(values)}")
    copy = np.array(values, dtype=float)
    refused.unless(bool(np.isfinite(copy).all()), f"{name} must be finite; it has missing, nan, or infinite values")
    copy.flags.writeable = False
    return copy


def check_shapes(
    py: Float[np.ndarray, "..."],
    px: Float[np.ndarray, "..."],
    s: Float[np.ndarray, "..."],
    whole: tuple[np.ndarray, np.ndarray] | None,
    refused: Refused,
) -> None:
    """Raise unless the arrays of a model go together.

    Parameters
    ----------
    py, px, s : rotated response, rotated fixed effects and eigenvalues.
    whole : y and x in a model of low rank.
    refused : how to raise.
    """
    refused.unless(py.size == s.size, f"py and s must have the same size; got {py.size} and {s.size}")
    refused.unless(len(px) == s.size, f"px must have the same number of rows as the size of s; got {len(px)}, {s.size}")
    if whole is not None:
        y, x = whole
        refused.unless(y.size > s.size, f"size of y must be larger than the size of s; got {y.size} and {s.size}")
        refused.unless(
            len(x) == y.size, f"x must have the same number of rows as the size of y; got {len(x)}, {y.size}"
        )
        columns = px.shape[1], x.shape[1]
        refused.unless(columns[0] == columns[1], f"px and x must have the same number of columns; got {columns}")
    least = float(s.min(initial=0.0))
    refused.unless(
        least >= -NEGATIVE * max(float(s.max(initial=0.0)), 0.0),
        f"s must not be negative; its smallest eigenvalue is {least:.6g}",
    )


def check_dof(n: int, fixed: int, refused: Refused) -> None:
    """Raise unless there are more samples than fixed effects.

    Parameters
    ----------
    n, fixed : how many.
    refused : how to raise.
    """
    refused.unless(
        n > fixed,
        f"{n} observation{'s' * (n != 1)} with {fixed} fixed effect{'s' * (fixed != 1)} "
        f"implies {n - fixed} degree{'s' * (n - fixed != 1)} of freedom. Must be positive.",
    )


def check_same_rows(y: np.ndarray, x: np.ndarray, n: int, where: str, refused: Refused) -> None:
    """Raise unless response and fixed effects have a row a sample.

    Parameters
    ----------
    y, x : response and fixed effects.
    n : samples.
    where : what was called, and what has that many rows, as `from_kinship: 'k'`.
    refused : how to raise.
    """
    caller, other = where.split(": ")
    for name, values in (("y", y), ("x", x)):
        refused.unless(
            len(values) == n,
            f"{caller}: '{name}' and {other} must have the same number of rows; got {len(values)} and {n}",
        )


def check_stored(path: Path, shape: tuple[int, int], refused: Refused) -> None:
    """Raise unless a file has P of this shape.

    Parameters
    ----------
    path : of P.
    shape : eigenvalues and samples.
    refused : how to raise.
    """
    with open_rows(path) as p:
        refused.unless(
            p.shape == shape,
            f"the matrix at 'p_path' must have shape {shape}, eigenvalues by samples; it has {p.shape}",
        )


def same_arrays(one: Arrays, two: Arrays, tol: float, up_to_sign: bool) -> bool:
    """Return whether the arrays of two models are the same.

    Parameters
    ----------
    one, two : py, px, s, y and x of each.
    tol : absolute difference.
    up_to_sign : whether an eigenvector may have turned around.
    """
    shapes = [[None if a is None else a.shape for a in arrays] for arrays in (one, two)]
    if shapes[0] != shapes[1]:
        return False
    rotated = [np.column_stack([arrays[0], arrays[1]]) for arrays in (one, two)]
    near = np.isclose(rotated[0], rotated[1], atol=tol).all(1)
    if up_to_sign:
        near |= np.isclose(rotated[0], -rotated[1], atol=tol).all(1)
    rest = [
        np.allclose(a, b, atol=tol) for a, b in zip(one[2:], two[2:], strict=True) if a is not None and b is not None
    ]
    return bool(near.all()) and all(rest)
