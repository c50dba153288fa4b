"""A few functions of context that a Gaussian process is nearly made of, for many rows and many coefficients at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist

_PLACES = 60  # at most, of the functions
_FUNCTIONS = 40  # at most, of those kept
_SHARE = 1e-4  # of the largest eigenvalue, below which a function is left out
_FAR = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothBasis:
    """Constant, linear and smooth functions of context: coefficients of the last have prior variance 1 each.

    Attributes
    ----------
    lengths : length scale of each context.
    places : where the smooth functions are anchored.
    root : turns kernels with the places into functions.
    """

    lengths: Float[np.ndarray, "contexts"]
    places: Float[np.ndarray, "places contexts"]
    root: Float[np.ndarray, "places functions"]

    @property
    def linear(self) -> int:
        """How many functions are linear."""
        return len(self.lengths)

    @property
    def size(self) -> int:
        """How many functions there are: the constant, the linear ones, the smooth ones."""
        return 1 + len(self.lengths) + self.root.shape[1]

    def __call__(self, z: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points functions"]:
        """Return every function at standardised contexts."""
        scaled = z / self.lengths
        return np.column_stack([np.ones(len(z)), scaled, _kernel(scaled, self.places / self.lengths) @ self.root])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it as arrays; `from_arrays` takes them back."""
        return {"basis_lengths": self.lengths, "basis_places": self.places, "basis_root": self.root}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "SmoothBasis":
        """Make it again from what `arrays` returned.

        Parameters
        ----------
        arrays : as they were, among others.
        """
        return cls(lengths=arrays["basis_lengths"], places=arrays["basis_places"], root=arrays["basis_root"])


def choose_places(z: Float[np.ndarray, "samples contexts"], *, seed: int) -> Float[np.ndarray, "places contexts"]:
    """Return places that cover the contexts: each of them where they are few, else centres of their clusters.

    Parameters
    ----------
    z : standardised contexts.
    seed : of the clusters.
    """
    known = np.unique(z, axis=0)
    if len(known) <= _PLACES or not z.shape[1]:
        return known
    if z.shape[1] == 1:
        return np.quantile(known, np.linspace(0, 1, _PLACES))[:, None]
    centres, _ = kmeans2(known, _PLACES, minit="++", seed=seed)
    return np.unique(centres, axis=0)


def make_basis(places: Float[np.ndarray, "places contexts"], lengths: Float[np.ndarray, "contexts"]) -> SmoothBasis:
    """Make the functions for some length scales.

    Parameters
    ----------
    places : as `choose_places` returns them.
    lengths : length scale of each context.

    Notes
    -----
    With K the Matern kernel (5/2) of the places and K = U S U', the functions k(z) U S^{-1/2} with independent
    coefficients of variance 1 have the process's covariance at the places, and near it elsewhere (Nystrom). Those with
    the smallest eigenvalues are left out. Of this kernel, whose paths bend more freely than those of the
    squared-exponential one, intervals cover better at the same error.

    References
    ----------
    Williams CKI, Seeger M (2001). Advances in Neural Information Processing Systems 13:682.
    """
    scaled = places / lengths
    values, vectors = np.linalg.eigh(_kernel(scaled, scaled))
    keep = np.flatnonzero(values > _SHARE * values.max(initial=_FAR))[::-1][:_FUNCTIONS]
    if not places.shape[1]:
        keep = keep[:0]
    return SmoothBasis(lengths=lengths, places=places, root=vectors[:, keep] / np.sqrt(values[keep]))


def _kernel(one: Float[np.ndarray, "a contexts"], two: Float[np.ndarray, "b contexts"]) -> Float[np.ndarray, "a b"]:
    if not one.shape[1]:
        return np.ones((len(one), len(two)))
    apart = np.sqrt(5) * cdist(one, two)
    return (1 + apart + apart**2 / 3) * np.exp(-apart)
