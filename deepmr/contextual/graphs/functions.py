"""Functions of context that weights of edges are sums of, the constant first, whichever kind they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from deepmr.contextual.bases import Basis, find_basis
from deepmr.contextual.graphs.smooth_basis import SmoothBasis, choose_places, make_basis

FunctionKind = Literal["constant", "polynomial", "splines", "smooth", "clusters", "encoder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """One function a cluster: 1 at contexts nearest to its centre, 0 at others."""

    centres: Float[np.ndarray, "clusters contexts"]

    def __call__(self, z: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points clusters"]:
        """Evaluate every function."""
        return np.eye(len(self.centres))[self.nearest(z)]

    def nearest(self, z: Float[np.ndarray, "points contexts"]) -> Int[np.ndarray, "points"]:
        """Return the cluster of each point."""
        if len(self.centres) == 1:  # no context may vary, and a tree needs one
            return np.zeros(len(z), dtype=int)
        return np.asarray(cKDTree(self.centres).query(z)[1], dtype=int)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it as arrays; `from_arrays` takes them back."""
        return {"basis_centres": self.centres}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "Clusters":
        """Make it again from what `arrays` returned.

        Parameters
        ----------
        arrays : as they were, among others.
        """
        return cls(centres=arrays["basis_centres"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A perceptron of contexts with one hidden layer, whose outputs are the functions.

    Attributes
    ----------
    first, first_bias : of the hidden units, tanh of what they give.
    second, second_bias : of the outputs.
    """

    first: Float[np.ndarray, "contexts hidden"]
    first_bias: Float[np.ndarray, "hidden"]
    second: Float[np.ndarray, "hidden functions"]
    second_bias: Float[np.ndarray, "functions"]

    def __call__(self, z: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points functions"]:
        """Evaluate every function."""
        return np.tanh(z @ self.first + self.first_bias) @ self.second + self.second_bias

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it as arrays; `from_arrays` takes them back."""
        return {f"basis_{name}": getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "Encoder":
        """Make it again from what `arrays` returned.

        Parameters
        ----------
        arrays : as they were, among others.
        """
        return cls(**{name: arrays[f"basis_{name}"] for name in cls.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """Functions of standardised contexts.

    Attributes
    ----------
    kind : which.
    basis : all of them, for polynomials and splines less the constant.
    """

    kind: FunctionKind
    basis: Basis | SmoothBasis | Clusters | Encoder

    def __call__(self, z: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points functions"]:
        """Evaluate every function, the constant first except for clusters and encoders, which have none."""
        made = self.basis(z)
        return np.column_stack([np.ones(len(z)), made]) if isinstance(self.basis, Basis) else made

    @property
    def parts(self) -> Int[np.ndarray, "functions"]:
        """What each function is: 0 constant, 1 linear in context, 2 any other."""
        if isinstance(self.basis, SmoothBasis):
            linear = np.arange(1, self.basis.size) <= self.basis.linear
        elif isinstance(self.basis, Basis):
            linear = np.zeros(self.basis.size, dtype=bool)
            contexts = self.basis.members.shape[1]
            linear[: len(self.basis.terms)] = (self.basis.terms != contexts).sum(axis=1) == 1
        else:
            size = len(self.basis.centres) if isinstance(self.basis, Clusters) else len(self.basis.second_bias)
            return np.full(size, 0 if isinstance(self.basis, Clusters) else 2)
        return np.concatenate([[0], np.where(linear, 1, 2)])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it as arrays; `from_arrays` takes them back."""
        return self.basis.arrays()

    @classmethod
    def from_arrays(cls, kind: FunctionKind, arrays: Mapping[str, Any]) -> "Functions":
        """Make it again from what `arrays` returned.

        Parameters
        ----------
        kind : which.
        arrays : as they were, among others.
        """
        made: dict[str, Any] = {"smooth": SmoothBasis, "clusters": Clusters, "encoder": Encoder}
        return cls(kind=kind, basis=made.get(kind, Basis).from_arrays(arrays))


def choose_functions(
    z: Float[np.ndarray, "samples contexts"],
    counts: Float[np.ndarray, "samples"],
    *,
    kind: FunctionKind,
    degree: int = 2,
    length: float = 1.0,
    seed: int = 0,
) -> Functions:
    """Choose functions for the contexts of a fit.

    Parameters
    ----------
    z : standardised contexts.
    counts : how many rows each stands for.
    kind : `constant`; `polynomial`, products of contexts up to a degree; `splines`, of one context each; `smooth`, what
        a Gaussian process with a squared-exponential kernel is nearly made of.
    degree : of polynomials.
    length : scale of smooth functions, in standard deviations of a context times the root of their number.
    seed : of the places that smooth functions are anchored at.
    """
    if kind == "smooth" and z.shape[1]:
        lengths = np.full(z.shape[1], length * np.sqrt(z.shape[1]))
        return Functions(kind=kind, basis=make_basis(choose_places(z, seed=seed), lengths))
    if kind == "splines":
        return Functions(kind=kind, basis=find_basis(z, counts, kind="splines", degree=2))
    basis = find_basis(z, counts, kind="polynomial", degree=degree if kind == "polynomial" else 0)
    return Functions(kind="polynomial" if kind == "polynomial" else "constant", basis=basis)
