"""Distributions of the variables and parameters of a model."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from deepmr import checks
from deepmr.errors import InputError

Value = float | int | str | tuple[float, ...] | np.ndarray  # text is the name of a parameter or variable


@runtime_checkable
class Distribution(Protocol):
    """What a variable or parameter can be drawn from."""

    __slots__: tuple[str, ...]

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n values, or rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Copies of an allele: binomial, of 2.

    Attributes
    ----------
    frequency : of the allele, one or one a column.
    columns : independent variants of that kind.
    """

    frequency: Value = 0.3
    columns: int = 1

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n values, or rows."""
        frequency = _shaped(self.frequency, n, self.columns)
        if not ((frequency >= 0) & (frequency <= 1)).all():
            raise InputError(f"the frequency of a variant must be between 0 and 1; got {self.frequency}")
        return _flat(rng.binomial(2, frequency, (n, self.columns)).astype(float))


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Normal with this mean and standard deviation."""

    mean: Value = 0.0
    sd: Value = 1.0
    columns: int = 1

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n values, or rows."""
        sd = _positive("sd", self.sd, n, self.columns)
        return _flat(_shaped(self.mean, n, self.columns) + sd * rng.standard_normal((n, self.columns)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Uniform between two bounds."""

    low: Value = 0.0
    high: Value = 1.0
    columns: int = 1

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n values, or rows."""
        low, high = _shaped(self.low, n, self.columns), _shaped(self.high, n, self.columns)
        if (low > high).any():
            raise InputError(f"low must not be above high in a uniform distribution; got {self.low} and {self.high}")
        return _flat(low + (high - low) * rng.random((n, self.columns)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Beta:
    """Beta with these two shapes."""

    a: Value
    b: Value
    columns: int = 1

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n values, or rows."""
        a, b = _positive("a", self.a, n, self.columns), _positive("b", self.b, n, self.columns)
        return _flat(rng.beta(a, b, (n, self.columns)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """Exponential with this mean."""

    mean: Value = 1.0
    columns: int = 1

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n values, or rows."""
        return _flat(_positive("mean", self.mean, n, self.columns) * rng.standard_exponential((n, self.columns)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MultivariateNormal:
    """Jointly normal columns.

    Attributes
    ----------
    mean : a number a column.
    covariance : a matrix.
    """

    mean: Value
    covariance: Value

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n rows."""
        mean, covariance = np.asarray(self.mean, dtype=float), np.asarray(self.covariance, dtype=float)
        checks.shape("covariance", covariance, (len(mean), len(mean)))
        values, vectors = np.linalg.eigh(covariance)
        if not np.allclose(covariance, covariance.T) or values[0] < -1e-8 * abs(values[-1]):
            raise InputError("the covariance of a multivariate normal must be symmetric and positive semi-definite")
        return mean + rng.standard_normal((n, len(mean))) @ (vectors * np.sqrt(np.clip(values, 0, None))).T


def with_values(
    distribution: Any, *, parameters: Mapping[str, Any], variables: Mapping[str, np.ndarray]
) -> Distribution:
    """Put values in the place of names.

    Parameters
    ----------
    distribution : whose parameters may be names.
    parameters : one value, or one a column.
    variables : one value a sample.
    """
    found: dict[str, Any] = {}
    for one in fields(distribution):
        name = getattr(distribution, one.name)
        if isinstance(name, str):
            values = variables[name] if name in variables else np.asarray(parameters[name], dtype=float)
            found[one.name] = values[:, None] if name in variables and values.ndim == 1 else values
    return replace(distribution, **found) if found else distribution


def _shaped(value: Value, n: int, columns: int) -> np.ndarray:
    values = np.asarray(value, dtype=float)
    try:
        return np.broadcast_to(values, (n, columns))
    except ValueError as error:
        raise InputError(
            f"a parameter of a distribution must be one number or one of {columns} columns; got {values.shape}"
        ) from error


def _positive(name: str, value: Value, n: int, columns: int) -> np.ndarray:
    values = _shaped(value, n, columns)
    if not (values >= 0).all():
        raise InputError(f"{name} of a distribution must not be negative; got {value}")
    return values


def _flat(values: np.ndarray) -> np.ndarray:
    return values[:, 0] if values.shape[1] == 1 else values
