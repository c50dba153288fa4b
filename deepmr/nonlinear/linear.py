"""Responses that are linear in their coefficients: intervals in closed form, bands for the whole curve."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from deepmr import checks, inference
from deepmr.errors import InputError
from deepmr.individual import Curve, FitRecord, State
from deepmr.nonlinear.basis import Terms, pack_terms, unpack_terms

_DRAWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearResponse:
    """A response with the value terms(x, covars) @ coefficients.

    Attributes
    ----------
    terms : its columns.
    coefficients : a number a column.
    covariance : of the coefficients; what smoothing may have taken away is in it where the method says so.
    mean_functions : of the covariates' functions over the sample.
    record : what it was made of.
    """

    kind: ClassVar[str] = "linear"

    terms: Terms
    coefficients: Float[np.ndarray, "terms"]
    covariance: Float[np.ndarray, "terms terms"]
    mean_functions: Float[np.ndarray, "functions"]
    record: FitRecord

    def iv_reg_function(
        self,
        x: Float[np.ndarray, "points"],
        covars: Float[np.ndarray, "points covariates"] | None = None,
        *,
        level: float = 0.95,
    ) -> Curve:
        """Return the response at x, given covariates.

        Parameters
        ----------
        x : exposures.
        covars : a row a point; needed where the fit has covariates.
        level : of the intervals, each for its point alone.
        """
        return self._curve(self.terms(x, covariates_of(self.record, covars, len(x))), level)

    def avg_iv_reg_function(self, x: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the response at x, averaged over the covariates of the sample.

        Parameters
        ----------
        x : exposures.
        level : of the intervals, each for its point alone.
        """
        return self._curve(self.terms.average(x, self.mean_functions), level)

    def ate(self, x0: Float[np.ndarray, "points"], x1: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the average effect of moving the exposure from x0 to x1.

        Parameters
        ----------
        x0, x1 : exposures before and after.
        level : of the intervals.
        """
        average = self.terms.average
        return self._curve(average(x1, self.mean_functions) - average(x0, self.mean_functions), level)

    def cate(
        self,
        x0: Float[np.ndarray, "points"],
        x1: Float[np.ndarray, "points"],
        covars: Float[np.ndarray, "points covariates"],
        *,
        level: float = 0.95,
    ) -> Curve:
        """Return the effect of moving the exposure from x0 to x1, given covariates.

        Parameters
        ----------
        x0, x1 : exposures before and after.
        covars : a row a point.
        level : of the intervals.
        """
        given = covariates_of(self.record, covars, len(x0))
        return self._curve(self.terms(x1, given) - self.terms(x0, given), level)

    def uniform_band(
        self, x: Float[np.ndarray, "points"], *, level: float = 0.95, seed: int = 0, reference: float | None = None
    ) -> Curve:
        """Return the average response with a band that holds all of the curve at once.

        Parameters
        ----------
        x : exposures that the band spans.
        level : with which the whole curve is inside.
        seed : of the draws that give its critical value.
        reference : where given, of the curve's difference from its value there.

        Notes
        -----
        The critical value is the quantile of max |t(x)| over draws of normal coefficients (sup-t).
        """
        design = self.terms.average(x, self.mean_functions)
        if reference is not None:
            design = design - self.terms.average(np.array([reference]), self.mean_functions)
        return band(design, self.coefficients, self.covariance, level=level, seed=seed)

    def _curve(self, design: Float[np.ndarray, "points terms"], level: float) -> Curve:
        return pointwise(design, self.coefficients, self.covariance, level=level)

    def state(self) -> State:
        """Return all of it as arrays and plain values."""
        arrays = {
            **pack_terms(self.terms),
            "coefficients": self.coefficients,
            "covariance": self.covariance,
            "mean_functions": self.mean_functions,
        }
        return State(kind=self.kind, arrays=arrays, settings={}, record=self.record)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any], record: FitRecord
    ) -> "LinearResponse":
        """Make a response from what `state` returned."""
        return cls(
            terms=unpack_terms(arrays),
            coefficients=arrays["coefficients"],
            covariance=arrays["covariance"],
            mean_functions=arrays["mean_functions"],
            record=record,
        )


def covariates_of(
    record: FitRecord, covars: Float[np.ndarray, "points covariates"] | None, n_points: int
) -> Float[np.ndarray, "points covariates"]:
    """Return the covariates of points, checked against what a fit was given.

    Parameters
    ----------
    record : of the fit.
    covars : a row a point, or None where the fit has no covariates.
    n_points : how many there must be.
    """
    if covars is None and not record.covariates:
        return np.empty((n_points, 0))
    if covars is None:
        raise InputError(f"the response needs values of its covariates: {', '.join(record.covariates)}; got none")
    checks.shape("covars", covars, (n_points, len(record.covariates)))
    return covars


def pointwise(
    design: Float[np.ndarray, "points terms"],
    coefficients: Float[np.ndarray, "terms"],
    covariance: Float[np.ndarray, "terms terms"],
    *,
    level: float,
) -> Curve:
    """Return combinations of coefficients with normal intervals.

    Parameters
    ----------
    design : a row a combination.
    coefficients, covariance : of the fit.
    level : of each interval.
    """
    checks.level(level)
    estimate, se = design @ coefficients, _errors(design, covariance)
    low, high = inference.interval(estimate, se, level=level)
    return Curve(estimate=estimate, se=se, low=low, high=high, level=level)


def band(
    design: Float[np.ndarray, "points terms"],
    coefficients: Float[np.ndarray, "terms"],
    covariance: Float[np.ndarray, "terms terms"],
    *,
    level: float,
    seed: int,
) -> Curve:
    """Return combinations of coefficients with a band that holds all of them at once.

    Parameters
    ----------
    design : a row a combination.
    coefficients, covariance : of the fit.
    level : of the band.
    seed : of the draws.
    """
    checks.level(level)
    estimate, se = design @ coefficients, _errors(design, covariance)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    known = se > 0
    draws = np.random.default_rng(seed).standard_normal((_DRAWS, len(values))) @ (design[known] @ root).T
    critical = float(np.quantile(np.abs(draws / se[known]).max(axis=1), level)) if known.any() else 0.0
    return Curve(estimate=estimate, se=se, low=estimate - critical * se, high=estimate + critical * se, level=level)


def _errors(
    design: Float[np.ndarray, "points terms"], covariance: Float[np.ndarray, "terms terms"]
) -> Float[np.ndarray, "points"]:
    return np.sqrt(np.clip(np.einsum("ij,jk,ik->i", design, covariance, design), 0, None))
