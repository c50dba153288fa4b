"""Responses in the span of kernels: as linear responses, with columns of a product kernel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from deepmr.individual import Curve, FitRecord, State
from deepmr.nonlinear.linear import band, covariates_of, pointwise
from deepmr.nonlinear.nystroem import KernelTerms, pack_kernel, unpack_kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelResponse:
    """A response with the value terms(x, covars) @ coefficients.

    Attributes
    ----------
    terms : its columns.
    coefficients : a number a column.
    covariance : of the coefficients, with the expected squared bias of shrinkage.
    mean_functions : of the covariates' functions over the sample: averages are exact.
    record : what it was made of.
    """

    kind: ClassVar[str] = "kernel"

    terms: KernelTerms
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
        return self._curve(self.terms(x[:, None], covariates_of(self.record, covars, len(x))), level)

    def avg_iv_reg_function(self, x: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the response at x, averaged over the covariates of the sample.

        Parameters
        ----------
        x : exposures.
        level : of the intervals, each for its point alone.
        """
        return self._curve(self._average(x), level)

    def ate(self, x0: Float[np.ndarray, "points"], x1: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the average effect of moving the exposure from x0 to x1.

        Parameters
        ----------
        x0, x1 : exposures before and after.
        level : of the intervals.
        """
        return self._curve(self._average(x1) - self._average(x0), level)

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
        return self._curve(self.terms(x1[:, None], given) - self.terms(x0[:, None], given), level)

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
        """
        design = self._average(x)
        if reference is not None:
            design = design - self._average(np.array([reference]))
        return band(design, self.coefficients, self.covariance, level=level, seed=seed)

    def _average(self, x: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points terms"]:
        return self.terms.average(x[:, None], self.mean_functions)

    def _curve(self, design: Float[np.ndarray, "points terms"], level: float) -> Curve:
        return pointwise(design, self.coefficients, self.covariance, level=level)

    def state(self) -> State:
        """Return all of it as arrays and plain values."""
        arrays = {
            **pack_kernel(self.terms),
            "coefficients": self.coefficients,
            "covariance": self.covariance,
            "mean_functions": self.mean_functions,
        }
        return State(kind=self.kind, arrays=arrays, settings={}, record=self.record)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any], record: FitRecord
    ) -> "KernelResponse":
        """Make a response from what `state` returned."""
        return cls(
            terms=unpack_kernel(arrays),
            coefficients=arrays["coefficients"],
            covariance=arrays["covariance"],
            mean_functions=arrays["mean_functions"],
            record=record,
        )
