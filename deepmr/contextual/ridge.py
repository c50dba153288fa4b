"""Coefficients as sums of functions of context, by ridge regression in closed form and exact leave-one-out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.contexts import Coefficients, ContextData, ContextRecord, ContextState, measures_by_outcome, record_of
from deepmr.contextual.bases import Basis, BasisKind, basis_size, find_basis
from deepmr.contextual.basis_fit import OutcomeFit
from deepmr.contextual.columns import as_coefficients
from deepmr.contextual.least_squares import check_design, check_spare, unmodelled
from deepmr.contextual.ridge_outcomes import fit_binary, fit_continuous
from deepmr.contextual.scaling import Scaling, check_contexts, constant_contexts, scale_contexts
from deepmr.contextual.units import Units
from deepmr.errors import InputError

_LARGEST = {"continuous": 2000, "binary": 400}  # columns of a design


@dataclass(frozen=True, slots=True, kw_only=True)
class Ridge:
    """Polynomials or splines of context times predictors; degree and penalty by exact leave-one-out.

    Attributes
    ----------
    basis : products of contexts up to a degree, or natural cubic splines of each that add.
    max_degree : highest to try. For splines 0 is none, 1 straight lines, 2 and more splines.
    degree : the only one to use; None to choose.
    penalty : the only one to use; None to choose. It multiplies the sum of squares of the coefficients of standardised
        functions times standardised predictors, beside the weighted sum of squares of standardised errors.
    n_functions : splines of a context.
    """

    basis: BasisKind = "polynomial"
    max_degree: int = 3
    degree: int | None = None
    penalty: float | None = None
    n_functions: int = 8

    def __post_init__(self) -> None:
        for name in ("max_degree", "degree", "penalty"):
            checks.at_least(name, getattr(self, name), 0)
        checks.at_least("n_functions", self.n_functions, 2)

    def fit(self, data: ContextData, *, seed: int = 0) -> "RidgeFit":
        """Fit coefficients of every outcome as functions of context.

        Parameters
        ----------
        data : samples; where they have groups, whole ones are left out.
        seed : nothing here is random.

        Raises
        ------
        InputError
            When predictors repeat each other, there are fewer samples than coefficients, or a penalty of 0 is asked
            for where it has no single solution.

        Notes
        -----
        Binary outcomes are penalised logistic regressions, with the approximate leave-one-out of `ridge_logistic`.
        Known standard errors are taken as they are; `dispersion`, among the measures, is the mean squared error that is
        left in units of them, and far above 1 where rows scatter by more.
        """
        check_design(data.design, data.predictor_names)
        check_spare(data)
        scaling = scale_contexts(data)
        flat, said = constant_contexts(data, scaling)
        bases, too_many = self._bases(data, scaling(data.contexts))
        fit_outcomes = fit_binary if data.outcome_type == "binary" else fit_continuous
        fits = fit_outcomes(data, bases, scaling, self.penalty)
        relevance = np.max([one.relevance() for one in fits], axis=0)
        names = [data.context_names[k] for k in scaling.used]
        record = record_of(
            data,
            method="ridge",
            options=asdict(self),
            seed=seed,
            constant=flat,
            measures=measures_by_outcome(data.outcome_names, [one.measures for one in fits]),
            relevance=dict(zip(names, relevance.tolist(), strict=True)),
            warnings=(*said, *too_many, *unmodelled(data)),
        )
        return RidgeFit(fits=tuple(fits), scaling=scaling, record=record)

    def _bases(
        self, data: ContextData, z: Float[np.ndarray, "samples used"]
    ) -> tuple[dict[int, Basis], tuple[str, ...]]:
        """Return functions of every degree that has not too many, and the sentence about the others."""
        highest = self.max_degree if self.degree is None else self.degree
        highest = min(highest, 2) if self.basis == "splines" else highest
        degrees = range(highest + 1) if self.degree is None else [highest]
        if not z.shape[1]:
            degrees = range(1)
        most, columns = _LARGEST[data.outcome_type], 1 + data.predictors.shape[1]

        def size(degree: int) -> int:
            return columns * (1 + basis_size(self.basis, z.shape[1], degree, self.n_functions))

        over = [degree for degree in degrees if degree and size(degree) > most]
        said: tuple[str, ...] = ()
        if over:
            said = (f"Degree {over[0]} is not tried: it has {size(over[0])} coefficients, more than {most}.",)
            if self.degree is not None:
                raise InputError(
                    f"degree {self.degree} has {size(self.degree)} coefficients; at most {most} are fitted"
                )
        found = {
            degree: find_basis(z, data.counts, kind=self.basis, degree=degree, n_functions=self.n_functions)
            for degree in degrees
            if degree not in over
        }
        return found, said


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeFit:
    """Coefficients as sums of functions of context.

    Attributes
    ----------
    fits : of each outcome.
    scaling : of contexts.
    record : what it was made of.

    Notes
    -----
    Standard errors are of the posterior (Wahba, Nychka): the bias of the penalty is in them on average over contexts of
    the fit, that degree and penalty were chosen is not.
    """

    kind: ClassVar[str] = "ridge"

    fits: tuple[OutcomeFit, ...] = field(repr=False)
    scaling: Scaling = field(repr=False)
    record: ContextRecord

    def coefficients(self, contexts: Float[np.ndarray, "points contexts"]) -> Coefficients:
        """Return beta and mu at contexts with their standard errors.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        check_contexts(contexts, self.record.context_names)
        z = self.scaling(contexts)
        mean = np.stack([one.mean(z) for one in self.fits], axis=1)
        found = [one.variance(z) for one in self.fits]
        se = np.sqrt(np.stack([variance for variance, _ in found], axis=1))
        unlearned = [share for _, share in found if share is not None]
        return as_coefficients(
            mean,
            se,
            outside=self.scaling.outside(contexts),
            unlearned=np.mean(unlearned, axis=0) if unlearned else None,
        )

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 1000, seed: int = 0
    ) -> Float[np.ndarray, "draws points outcomes columns"]:
        """Draw mu and beta jointly over contexts from their normal posterior.

        Parameters
        ----------
        contexts : in the unit of the fit.
        n_draws : how many.
        seed : of the draws.
        """
        check_contexts(contexts, self.record.context_names)
        z, rng = self.scaling(contexts), np.random.default_rng(seed)
        return np.stack([one.draws(z, n_draws, rng) for one in self.fits], axis=2)

    def state(self) -> ContextState:
        """Return all of it as arrays and plain values."""
        arrays, described = self.scaling.arrays(), []
        for k, one in enumerate(self.fits):
            own = {"coefficient": one.coefficient, "covariance": one.covariance}
            own |= one.basis.arrays() | one.units.arrays()
            arrays |= {f"{k}_{name}": value for name, value in own.items()}
            described.append({"prior": one.prior, "measures": dict(one.measures)})
        return ContextState(kind=self.kind, arrays=arrays, settings={"fits": described}, record=self.record)

    @classmethod
    def from_state(cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: ContextRecord) -> "RidgeFit":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        fits = []
        for k, plain in enumerate(settings["fits"]):
            own = {name.removeprefix(f"{k}_"): v for name, v in arrays.items() if name.startswith(f"{k}_")}
            fits.append(
                OutcomeFit(
                    basis=Basis.from_arrays(own),
                    units=Units.from_arrays(own),
                    coefficient=own["coefficient"],
                    covariance=own["covariance"],
                    prior=float(plain["prior"]),
                    measures=plain["measures"],
                )
            )
        return cls(fits=tuple(fits), scaling=Scaling.from_arrays(arrays), record=record)
