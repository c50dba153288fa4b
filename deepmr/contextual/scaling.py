"""Contexts on one scale, whatever their units: what varies, standardised, and which points lie outside of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from deepmr.contexts import ContextData
from deepmr.errors import InputError

_FLAT = 1e-12  # spread, against the size of its values, below which a context is constant to working precision
_BEYOND = 0.99  # share of the fit's own contexts that are as near to the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How contexts of the input become those of a method: the ones that vary, with mean 0 and variance 1.

    Attributes
    ----------
    used : positions of the contexts that vary.
    centre, scale : of these, in their units.
    known : standardised contexts of the fit, each once.
    reach : distance to the nearest of `known`, over the square root of the number of contexts, from which on a point is
        outside.
    """

    used: Int[np.ndarray, "used"]
    centre: Float[np.ndarray, "used"]
    scale: Float[np.ndarray, "used"]
    known: Float[np.ndarray, "places used"]
    reach: float

    def __call__(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points used"]:
        """Return what varies, standardised."""
        return (contexts[:, self.used] - self.centre) / self.scale

    def outside(self, contexts: Float[np.ndarray, "points contexts"]) -> Bool[np.ndarray, "points"]:
        """Return which points are farther from every context of the fit than `reach`, or beyond the range of one.

        A method extrapolates there, and its errors rest on its assumptions alone.
        """
        z = self(contexts)
        if not len(self.used):
            return np.zeros(len(z), dtype=bool)
        distance, _ = cKDTree(self.known).query(z)
        slack = 1e-9 + self.reach
        beyond = (z < self.known.min(axis=0) - slack) | (z > self.known.max(axis=0) + slack)
        return (distance > slack * np.sqrt(len(self.used))) | beyond.any(axis=1)

    def weighted(self, weights: Float[np.ndarray, "used"]) -> "Scaling":
        """Return the scaling to contexts times weights, in whose distances one with a small weight counts little."""
        least = np.maximum(weights, 1e-9)
        known = self.known * least
        return replace(self, scale=self.scale / least, known=known, reach=_reach(known))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it as arrays; `from_arrays` takes them back."""
        return {
            "scaling_used": self.used,
            "scaling_centre": self.centre,
            "scaling_scale": self.scale,
            "scaling_known": self.known,
            "scaling_reach": np.array([self.reach]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "Scaling":
        """Make it again from what `arrays` returned.

        Parameters
        ----------
        arrays : as they were, among others.
        """
        return cls(
            used=arrays["scaling_used"],
            centre=arrays["scaling_centre"],
            scale=arrays["scaling_scale"],
            known=arrays["scaling_known"],
            reach=float(arrays["scaling_reach"][0]),
        )


def scale_contexts(data: ContextData) -> Scaling:
    """Find which contexts vary, and their means and standard deviations, each row as often as its weight says.

    Parameters
    ----------
    data : samples of a fit.

    Notes
    -----
    A mean of values near the largest number overflows; each context is therefore divided by its largest size first.
    """
    share = data.counts / data.counts.sum()
    largest = np.abs(data.contexts).max(axis=0, initial=0.0)
    unit = np.where(largest > 0, largest, 1.0)
    relative = data.contexts / unit
    centre = share @ relative
    scale = np.asarray(np.sqrt(share @ (relative - centre) ** 2))
    used = np.flatnonzero(scale > _FLAT)
    middle, size = centre[used] * unit[used], scale[used] * unit[used]
    known = np.unique((data.contexts[:, used] - middle) / size, axis=0)
    return Scaling(used=used, centre=middle, scale=size, known=known, reach=_reach(known))


def _reach(known: Float[np.ndarray, "places used"]) -> float:
    """Return how far nearly every context of the fit is from its nearest other, a context."""
    if known.shape[1] == 0 or len(known) < 2:
        return 0.0
    nearest = np.asarray(cKDTree(known).query(known, k=2)[0])
    return float(np.quantile(nearest[:, 1], _BEYOND) / np.sqrt(known.shape[1]))


def constant_contexts(data: ContextData, scaling: Scaling) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return names of contexts that do not vary, and the sentence that says so.

    Parameters
    ----------
    data : samples of a fit.
    scaling : of their contexts.
    """
    flat = tuple(name for k, name in enumerate(data.context_names) if k not in set(scaling.used.tolist()))
    if not flat:
        return (), ()
    return flat, (f"Contexts that do not vary are left out: {', '.join(flat)}.",)


def check_contexts(contexts: Float[np.ndarray, "points contexts"], names: tuple[str, ...]) -> None:
    """Refuse contexts that are not those of a fit.

    Parameters
    ----------
    contexts : where coefficients are asked for.
    names : of the fit's contexts.

    Raises
    ------
    InputError
        When they are no matrix, there are more or fewer, or one is missing.
    """
    if not isinstance(contexts, np.ndarray) or contexts.ndim != 2:
        got = f"shape {contexts.shape}" if isinstance(contexts, np.ndarray) else f"a {type(contexts).__name__}"
        raise InputError(f"contexts must be a numpy array, a row a point and a column a context; got {got}")
    if contexts.shape[1] != len(names):
        raise InputError(f"the fit has {len(names)} contexts ({', '.join(names)}); got {contexts.shape[1]}")
    bad = np.argwhere(~np.isfinite(contexts))
    if len(bad):
        row, column = bad[0]
        raise InputError(f"contexts must be finite; {len(bad)} are not, first {names[column]!r} at row {row}")
