"""Probabilities under an intervention: a logistic regression averaged over what confounds it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit

from deepmr import checks, inference
from deepmr.individual import Curve, FitRecord, State
from deepmr.nonlinear.basis import Terms, pack_terms, unpack_terms
from deepmr.nonlinear.linear import covariates_of

_POINTS = 64  # at a time
_Parts = Callable[[slice], tuple[np.ndarray, np.ndarray]]
_LEAST = 1e-12  # a probability is no nearer to 0 or 1 where its logit is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticResponse:
    """A response that is the mean over samples of expit(terms(x, covars) @ coefficients + the sample's confounding).

    Attributes
    ----------
    terms : columns of the response on the logit scale.
    coefficients : a number a column, and then one for each function of the residual.
    covariance : of all of them.
    covariates : of the samples averaged over.
    control : functions of their residuals.
    weights : of these samples; they sum to 1.
    n : how many samples these stand for.
    record : what it was made of.
    """

    kind: ClassVar[str] = "logistic"

    terms: Terms
    coefficients: Float[np.ndarray, "columns"]
    covariance: Float[np.ndarray, "columns columns"]
    covariates: Float[np.ndarray, "samples covariates"]
    control: Float[np.ndarray, "samples functions"]
    weights: Float[np.ndarray, "samples"]
    n: int
    record: FitRecord

    def iv_reg_function(
        self,
        x: Float[np.ndarray, "points"],
        covars: Float[np.ndarray, "points covariates"] | None = None,
        *,
        level: float = 0.95,
    ) -> Curve:
        """Return the probability at x, given covariates.

        Parameters
        ----------
        x : exposures.
        covars : a row a point; needed where the fit has covariates.
        level : of the intervals, each for its point alone.
        """
        given = covariates_of(self.record, covars, len(x))
        return self._probabilities(self._given(x, given), len(x), level)

    def avg_iv_reg_function(self, x: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the probability at x, averaged over the covariates of the sample.

        Parameters
        ----------
        x : exposures.
        level : of the intervals, each for its point alone.
        """
        return self._probabilities(self._averaged(x), len(x), level)

    def ate(self, x0: Float[np.ndarray, "points"], x1: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the average difference in probability when the exposure moves from x0 to x1.

        Parameters
        ----------
        x0, x1 : exposures before and after.
        level : of the intervals.
        """
        return self._differences(self._averaged(x0), self._averaged(x1), len(x0), level)

    def cate(
        self,
        x0: Float[np.ndarray, "points"],
        x1: Float[np.ndarray, "points"],
        covars: Float[np.ndarray, "points covariates"],
        *,
        level: float = 0.95,
    ) -> Curve:
        """Return the same difference, given covariates.

        Parameters
        ----------
        x0, x1 : exposures before and after.
        covars : a row a point.
        level : of the intervals.
        """
        given = covariates_of(self.record, covars, len(x0))
        return self._differences(self._given(x0, given), self._given(x1, given), len(x0), level)

    def state(self) -> State:
        """Return all of it as arrays and plain values."""
        names = ("coefficients", "covariance", "covariates", "control", "weights")
        arrays = {**pack_terms(self.terms), **{name: getattr(self, name) for name in names}}
        return State(kind=self.kind, arrays=arrays, settings={"n": self.n}, record=self.record)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any], record: FitRecord
    ) -> "LogisticResponse":
        """Make a response from what `state` returned."""
        names = ("coefficients", "covariance", "covariates", "control", "weights")
        return cls(
            terms=unpack_terms(arrays), n=int(settings["n"]), record=record, **{name: arrays[name] for name in names}
        )

    def _averaged(self, x: Float[np.ndarray, "points"]) -> _Parts:
        """Return a function that gives samples' values and gradients at a block of points, each with its covariates."""
        pairs, size = self.terms.pairs, len(self.terms.pairs)
        of_covariates, confounding = self.terms.covariates(self.covariates), self._confounding()
        table = np.zeros((self.terms.exposure.size, self.terms.covariates.size))
        table[pairs[:, 0], pairs[:, 1]] = self.coefficients[:size]
        given = of_covariates @ table.T

        def at(rows: slice) -> tuple[np.ndarray, np.ndarray]:
            functions = self.terms.exposure(x[rows])
            found = expit(given @ functions.T + confounding)
            slopes = (found * (1 - found) * self.weights[:, None]).T
            response = functions[:, pairs[:, 0]] * (slopes @ of_covariates)[:, pairs[:, 1]]
            return found, np.hstack([response, slopes @ self.control])

        return at

    def _given(self, x: Float[np.ndarray, "points"], covars: Float[np.ndarray, "points covariates"]) -> _Parts:
        """Return the same with every sample's covariates those of the point."""
        size, confounding = len(self.terms.pairs), self._confounding()

        def at(rows: slice) -> tuple[np.ndarray, np.ndarray]:
            terms = self.terms(x[rows], covars[rows])
            found = expit(terms @ self.coefficients[:size] + confounding)
            slopes = (found * (1 - found) * self.weights[:, None]).T
            return found, np.hstack([terms * slopes.sum(axis=1)[:, None], slopes @ self.control])

        return at

    def _confounding(self) -> Float[np.ndarray, "samples one"]:
        return (self.control @ self.coefficients[len(self.terms.pairs) :])[:, None]

    def _probabilities(self, at: _Parts, n_points: int, level: float) -> Curve:
        """Return probabilities with intervals that are symmetric on the logit scale, so that none leaves 0 to 1."""
        checks.level(level)
        estimate, se = self._errors(at, n_points)
        inside = np.clip(estimate, _LEAST, 1 - _LEAST)
        low, high = inference.interval(logit(inside), se / (inside * (1 - inside)), level=level)
        low, high = np.minimum(expit(low), estimate), np.maximum(expit(high), estimate)
        return Curve(estimate=estimate, se=se, low=low, high=high, level=level)

    def _differences(self, before: _Parts, after: _Parts, n_points: int, level: float) -> Curve:
        checks.level(level)

        def at(rows: slice) -> tuple[np.ndarray, np.ndarray]:
            one, two = before(rows), after(rows)
            return two[0] - one[0], two[1] - one[1]

        estimate, se = self._errors(at, n_points)
        low, high = inference.interval(estimate, se, level=level)
        return Curve(estimate=estimate, se=se, low=low, high=high, level=level)

    def _errors(self, at: _Parts, n_points: int) -> tuple[Float[np.ndarray, "points"], Float[np.ndarray, "points"]]:
        """Return means over samples and their errors: of the coefficients, by the delta method, and of sampling."""
        estimate, variance = np.zeros(n_points), np.zeros(n_points)
        for start in range(0, n_points, _POINTS):
            rows = slice(start, min(start + _POINTS, n_points))
            found, gradient = at(rows)
            estimate[rows] = self.weights @ found
            spread = self.weights**2 @ (found - estimate[rows]) ** 2 * (len(self.weights) / self.n)
            variance[rows] = np.einsum("ij,jk,ik->i", gradient, self.covariance, gradient) + spread
        return estimate, np.sqrt(np.maximum(variance, 0))
