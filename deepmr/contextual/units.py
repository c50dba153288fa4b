"""One outcome and its predictors in units of their own spread, and coefficients back in the units they came in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from deepmr.contexts import ContextData


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Centres and sizes of one outcome and of the predictors.

    Attributes
    ----------
    centre, size : of the predictors.
    outcome_centre, outcome_size : of the outcome, less its offset.
    """

    centre: Float[np.ndarray, "predictors"]
    size: Float[np.ndarray, "predictors"]
    outcome_centre: float
    outcome_size: float

    def design(self, data: ContextData) -> Float[np.ndarray, "samples columns"]:
        """Return ones and standardised predictors."""
        return np.column_stack([np.ones(len(data)), (data.predictors - self.centre) / self.size])

    def outcome(self, data: ContextData) -> Float[np.ndarray, "samples"]:
        """Return the standardised outcome, less its offset; a binary one as it is."""
        if data.outcome_type == "binary":
            return data.outcomes[:, 0]
        return (_less_offset(data) - self.outcome_centre) / self.outcome_size

    def variance(self, data: ContextData) -> Float[np.ndarray, "samples"]:
        """Return known error variances in these units, 0 where there are none."""
        if data.se_outcome is None:
            return np.zeros(len(data))
        return (data.se_outcome[:, 0] / self.outcome_size) ** 2

    @property
    def _back(self) -> Float[np.ndarray, "columns columns"]:
        """The matrix that turns coefficients of these units into those of the input, mu first."""
        turn = np.diag(np.concatenate([[1.0], 1 / self.size]))
        turn[0, 1:] = -self.centre / self.size
        return self.outcome_size * turn

    def coefficients(self, values: Float[np.ndarray, "*points columns"]) -> Float[np.ndarray, "*points columns"]:
        """Return coefficients, mu first, in the units of the input."""
        made = values @ self._back.T
        made[..., 0] += self.outcome_centre
        return made

    def covariance(
        self, values: Float[np.ndarray, "*points columns columns"]
    ) -> Float[np.ndarray, "*points columns columns"]:
        """Return covariances of coefficients in the units of the input."""
        return self._back @ values @ self._back.T

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it as arrays; `from_arrays` takes them back."""
        return {
            "unit_centre": self.centre,
            "unit_size": self.size,
            "unit_outcome": np.array([self.outcome_centre, self.outcome_size]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "Units":
        """Make it again from what `arrays` returned.

        Parameters
        ----------
        arrays : as they were, among others.
        """
        centre, size = (float(value) for value in arrays["unit_outcome"])
        return cls(centre=arrays["unit_centre"], size=arrays["unit_size"], outcome_centre=centre, outcome_size=size)


def find_units(data: ContextData) -> Units:
    """Return means and standard deviations, each row as often as its weight says; 1 where nothing varies.

    Parameters
    ----------
    data : samples of one outcome; a binary one keeps its scale, which is that of the link.
    """
    share = data.counts / data.counts.sum()

    def spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        centre = share @ values
        size = np.sqrt(share @ (values - centre) ** 2)
        return centre, np.where(size > 1e-12 * np.maximum(np.abs(centre), 1e-300), size, 1.0)

    centre, size = spread(data.predictors)
    if data.outcome_type == "binary":
        return Units(centre=centre, size=size, outcome_centre=0.0, outcome_size=1.0)
    middle, scale = spread(_less_offset(data)[:, None])
    return Units(centre=centre, size=size, outcome_centre=float(middle[0]), outcome_size=float(scale[0]))


def _less_offset(data: ContextData) -> Float[np.ndarray, "samples"]:
    return data.outcomes[:, 0] - (0.0 if data.offset is None else data.offset[:, 0])
