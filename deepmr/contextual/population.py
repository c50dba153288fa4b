"""One set of coefficients for every context: what varying ones have to beat."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from deepmr.contexts import Coefficients, ContextData, ContextRecord, ContextState, measures_by_outcome, record_of
from deepmr.contextual.least_squares import solve, unmodelled
from deepmr.contextual.scaling import Scaling, check_contexts, constant_contexts, scale_contexts


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Weighted least squares, or logistic regression, of outcomes on predictors alone."""

    def fit(self, data: ContextData, *, seed: int = 0) -> "PopulationFit":
        """Fit coefficients that context does not change.

        Parameters
        ----------
        data : samples.
        seed : nothing here is random.

        Raises
        ------
        InputError
            When predictors repeat each other, or there are fewer samples than coefficients.
        """
        scaling = scale_contexts(data)
        flat, said = constant_contexts(data, scaling)
        solved = [solve(data.pick_outcome(k)) for k in range(len(data.outcome_names))]
        record = record_of(
            data,
            method="population",
            options=asdict(self),
            seed=seed,
            constant=flat,
            measures=measures_by_outcome(data.outcome_names, [one.measures for one in solved]),
            warnings=(*said, *unmodelled(data)),
        )
        return PopulationFit(
            coefficient=np.stack([one.coefficient for one in solved]),
            covariance=np.stack([one.covariance for one in solved]),
            scaling=scaling,
            record=record,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationFit:
    """Coefficients that are the same everywhere, mu first.

    Attributes
    ----------
    coefficient, covariance : of mu and beta, an outcome at a time.
    scaling : of contexts, for which points lie outside.
    record : what it was made of.
    """

    kind: ClassVar[str] = "population"

    coefficient: Float[np.ndarray, "outcomes columns"]
    covariance: Float[np.ndarray, "outcomes columns columns"]
    scaling: Scaling = field(repr=False)
    record: ContextRecord

    def coefficients(self, contexts: Float[np.ndarray, "points contexts"]) -> Coefficients:
        """Return the same coefficients for every point.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        check_contexts(contexts, self.record.context_names)
        se = np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

        def spread(values: np.ndarray) -> np.ndarray:
            return np.broadcast_to(values, (len(contexts), *values.shape)).copy()

        return Coefficients(
            beta=spread(self.coefficient[:, 1:]),
            mu=spread(self.coefficient[:, 0]),
            se_beta=spread(se[:, 1:]),
            se_mu=spread(se[:, 0]),
            outside=self.scaling.outside(contexts),
        )

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 1000, seed: int = 0
    ) -> Float[np.ndarray, "draws points outcomes columns"]:
        """Draw coefficients from their normal limit; in a draw they are the same for every point.

        Parameters
        ----------
        contexts : in the unit of the fit.
        n_draws : how many.
        seed : of the draws.
        """
        check_contexts(contexts, self.record.context_names)
        rng = np.random.default_rng(seed)
        # Correlations rather than covariances: coefficients may be of any size next to each other.
        size = np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))
        unit = np.where(size > 0, size, 1.0)
        values, vectors = np.linalg.eigh(self.covariance / unit[:, :, None] / unit[:, None, :])
        root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        drawn = self.coefficient + size * np.einsum("oij,doj->doi", root, rng.standard_normal((n_draws, *size.shape)))
        return np.broadcast_to(drawn[:, None], (n_draws, len(contexts), *drawn.shape[1:]))

    def state(self) -> ContextState:
        """Return all of it as arrays and plain values."""
        arrays = {"coefficient": self.coefficient, "covariance": self.covariance, **self.scaling.arrays()}
        return ContextState(kind=self.kind, arrays=arrays, settings={}, record=self.record)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: ContextRecord
    ) -> "PopulationFit":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        return cls(
            coefficient=arrays["coefficient"],
            covariance=arrays["covariance"],
            scaling=Scaling.from_arrays(arrays),
            record=record,
        )
