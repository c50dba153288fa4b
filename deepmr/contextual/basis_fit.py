"""Coefficients of one outcome as sums of functions of context: values, errors and draws at any context."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from deepmr.contextual.bases import Basis
from deepmr.contextual.units import Units


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeFit:
    """Coefficients of one outcome, in standardised units.

    Attributes
    ----------
    basis : functions of context.
    units : of predictors and outcome.
    coefficient : constants of mu and of each predictor, then functions times mu, functions times each predictor.
    covariance : of these.
    prior : variance of each coefficient of a function before data; 0 where it had no prior.
    measures : numbers by name.
    """

    basis: Basis
    units: Units
    coefficient: Float[np.ndarray, "coefficients"]
    covariance: Float[np.ndarray, "coefficients coefficients"]
    prior: float
    measures: Mapping[str, float]

    def loads(self, z: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points functions"]:
        """Return 1 and the functions at points: what a column's coefficients are multiplied by."""
        return np.column_stack([np.ones(len(z)), self.basis(z)])

    def _index(self) -> Int[np.ndarray, "columns functions"]:
        """Return positions of each column's coefficients, its constant first."""
        columns = len(self.units.size) + 1
        rest = columns + np.arange(columns * self.basis.size).reshape(columns, self.basis.size)
        return np.column_stack([np.arange(columns), rest])

    def mean(self, z: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points columns"]:
        """Return mu and beta at points, in the units of the input."""
        return self.units.coefficients(self.loads(z) @ self.coefficient[self._index()].T)

    def variance(
        self, z: Float[np.ndarray, "points contexts"]
    ) -> tuple[Float[np.ndarray, "points columns"], Float[np.ndarray, "points"] | None]:
        """Return variances of mu and beta at points, and the share that is left of the prior variance."""
        loads, index = self.loads(z), self._index()
        columns = len(index)
        joint = np.empty((len(z), columns, columns))
        left = np.zeros(len(z))
        for j in range(columns):
            for k in range(columns):
                block = self.covariance[np.ix_(index[j], index[k])]
                joint[:, j, k] = np.einsum("pf,pf->p", loads @ block, loads)
            inner = self.covariance[np.ix_(index[j, 1:], index[j, 1:])]
            left += np.einsum("pf,pf->p", loads[:, 1:] @ inner, loads[:, 1:])
        made = np.diagonal(self.units.covariance(joint), axis1=1, axis2=2)
        before = columns * self.prior * (loads[:, 1:] ** 2).sum(axis=1)
        share = np.clip(np.divide(left, before, out=np.zeros(len(z)), where=before > 0), 0.0, 1.0)
        return np.maximum(made, 0.0), share if self.prior > 0 else None

    def draws(
        self, z: Float[np.ndarray, "points contexts"], n_draws: int, rng: np.random.Generator
    ) -> Float[np.ndarray, "draws points columns"]:
        """Draw mu and beta jointly over points."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        drawn = self.coefficient + rng.standard_normal((n_draws, len(values))) @ root.T
        return self.units.coefficients(np.einsum("pf,djf->dpj", self.loads(z), drawn[:, self._index()]))

    def relevance(self) -> Float[np.ndarray, "contexts"]:
        """Return by context the share of the outcome's variance in terms that change with it, at most 1."""
        square = (self.coefficient[self._index()][:, 1:] ** 2).sum(axis=0)
        return np.minimum(square @ self.basis.members.astype(float), 1.0)
