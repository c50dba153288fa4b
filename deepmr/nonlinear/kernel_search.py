"""The search for bandwidths: steps of half an octave from the median distance between samples."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from deepmr.nonlinear.nystroem import KernelBlock, fit_block

_NARROWEST, _WIDEST = -8, 6  # half octaves about the median
_SEPARATE = 3  # most variables that have a bandwidth each
_ROWS = 500  # samples whose distances are compared


@dataclass(slots=True, kw_only=True)
class Blocks:
    """Blocks of functions of some variables, one for each choice of bandwidths; made once each.

    Attributes
    ----------
    values, weights : of the sample.
    n_landmarks, n_curves, seed : as in `fit_block`.
    """

    values: Float[np.ndarray, "samples variables"]
    weights: Float[np.ndarray, "samples"]
    n_landmarks: int
    n_curves: int
    seed: int
    made: dict[tuple[int, ...], tuple[KernelBlock, Float[np.ndarray, "samples functions"]]] = field(
        default_factory=dict
    )

    @property
    def dimensions(self) -> int:
        """How many bandwidths are chosen: one each for a few variables, one for all of many."""
        count = self.values.shape[1]
        return count if count <= _SEPARATE else 1

    def bandwidth(self, place: tuple[int, ...]) -> Float[np.ndarray, "variables"]:
        """Return bandwidths, half an octave wider than the median distance for each 1 of the place."""
        return median_bandwidth(self.values, seed=self.seed) * 2.0 ** (np.array(place, dtype=float) / 2)

    def at(self, place: tuple[int, ...]) -> tuple[KernelBlock, Float[np.ndarray, "samples functions"]]:
        """Return the block with these bandwidths, and its functions of the sample."""
        if place not in self.made:
            block = fit_block(
                self.values,
                bandwidth=self.bandwidth(place),
                n_landmarks=self.n_landmarks,
                n_curves=self.n_curves,
                seed=self.seed,
                weights=self.weights,
            )
            self.made[place] = block, block(self.values)
        return self.made[place]


def median_bandwidth(values: Float[np.ndarray, "samples variables"], *, seed: int) -> Float[np.ndarray, "variables"]:
    """Return the median distance between samples in every variable, in its spread, times the root of their number.

    Parameters
    ----------
    values : the sample.
    seed : of the samples that are compared.
    """
    rows = np.random.default_rng(seed).permutation(len(values))[:_ROWS]
    spread = values.std(axis=0)
    some = values[rows] / np.where(spread > 0, spread, 1.0)
    upper = np.triu_indices(len(some), 1)
    median = np.array([max(float(np.median(np.abs(v[:, None] - v)[upper])), 0.2) for v in some.T])
    return median * np.sqrt(values.shape[1])


def climb(score: Callable[[tuple[int, ...]], float], start: tuple[int, ...], *, n_tries: int) -> tuple[int, ...]:
    """Return where a score is lowest, found by steps of two and then of one along each dimension.

    Parameters
    ----------
    score : of a place.
    start : where the search starts.
    n_tries : most places that are looked at.
    """
    found: dict[tuple[int, ...], float] = {}

    def at(place: tuple[int, ...]) -> float:
        if place not in found:
            found[place] = score(place)
        return found[place]

    best, step = start, 2
    at(best)
    while step:
        moved = False
        for dimension in range(len(start)):
            for change in (-step, step):
                place = (*best[:dimension], best[dimension] + change, *best[dimension + 1 :])
                inside = _NARROWEST <= place[dimension] <= _WIDEST
                if inside and (place in found or len(found) < n_tries) and at(place) < at(best):
                    best, moved = place, True
                    break
        if not moved:
            step //= 2
    return best
