"""Responses that are linear in learned features of exposure and covariates."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from deepmr.individual import Curve, FitRecord, State
from deepmr.nonlinear.linear import band, covariates_of, pointwise
from deepmr.perceptrons.stack import Stack
from deepmr.perceptrons.training import TrainingLog

_DISTINCT = 1e-6  # least variance of a direction of features, relative to the largest, that is one of its own
_GRID = 301  # points that curvature is measured at
_EDGE = 0.005  # share of samples beyond the grid at either end


@dataclass(frozen=True, slots=True)
class Basis:
    """Variables, and learned features of them made orthonormal to each other and to 1 and the variables.

    Attributes
    ----------
    stack : one network.
    centre, spread : of the variables, which the network sees standardised.
    straight : coefficients of the features on 1 and the variables, which are taken off.
    transform : of what is left.
    """

    stack: Stack
    centre: Float[np.ndarray, "variables"]
    spread: Float[np.ndarray, "variables"]
    straight: Float[np.ndarray, "one_and_variables features"]
    transform: Float[np.ndarray, "features kept"]

    def standardised(self, values: Float[np.ndarray, "points variables"]) -> Float[np.ndarray, "points variables"]:
        """Return the variables as the network sees them."""
        return (values - self.centre) / self.spread

    def __call__(self, values: Float[np.ndarray, "points variables"]) -> Float[np.ndarray, "points functions"]:
        """Return variables, standardised, and then the features."""
        variables = self.standardised(values)
        left = _learned(self.stack, variables) - _with_one(variables) @ self.straight
        return np.hstack([variables, left @ self.transform])


def _learned(stack: Stack, variables: Float[np.ndarray, "points variables"]) -> Float[np.ndarray, "points features"]:
    with torch.no_grad():
        return stack(torch.from_numpy(variables.astype(np.float32)))[0].numpy().astype(float)


def _with_one(variables: Float[np.ndarray, "points variables"]) -> Float[np.ndarray, "points one_and_variables"]:
    return np.hstack([np.ones((len(variables), 1)), variables])


def make_basis(
    stack: Stack,
    values: Float[np.ndarray, "samples variables"],
    *,
    centre: Float[np.ndarray, "variables"],
    spread: Float[np.ndarray, "variables"],
    weights: Float[np.ndarray, "samples"],
) -> tuple[Basis, Float[np.ndarray, "kept"]]:
    """Make the features of a network orthonormal over a sample, and measure how curved each is.

    Parameters
    ----------
    stack : one network.
    values : the sample.
    centre, spread : that the network has learned with.
    weights : of samples.

    Returns
    -------
    The functions, the straightest first, and the mean squared second derivative of each relative to the least; 1 for
    functions of several variables.

    Notes
    -----
    Directions that samples cannot tell apart are left out. For one variable the rest diagonalises curvature, as the
    Demmler-Reinsch basis of splines does, so that a prior for smooth curves is one for small coefficients.
    """
    variables = (values - centre) / spread
    learned, base = _learned(stack, variables), _with_one(variables)
    root = np.sqrt(weights / weights.sum())[:, None]
    straight = np.linalg.lstsq(base * root, learned * root, rcond=None)[0]
    left = (learned - base @ straight) * root
    size, directions = np.linalg.eigh(left.T @ left)
    kept = size > max(_DISTINCT * size[-1], 1e-12)
    transform = directions[:, kept] / np.sqrt(size[kept])
    curved = np.ones(int(kept.sum()))
    if values.shape[1] == 1 and kept.any():
        low, high = np.quantile(variables, [_EDGE, 1 - _EDGE])
        grid = np.linspace(low, high, _GRID)
        second = np.diff(_learned(stack, grid[:, None]), n=2, axis=0) / (grid[1] - grid[0]) ** 2
        found, turned = np.linalg.eigh(transform.T @ (second.T @ second) @ transform / len(second))
        transform = transform @ turned
        curved = np.maximum(found, 1e-12) / max(float(found[0]), 1e-12)
    return Basis(stack, centre, spread, straight, transform), curved


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureResponse:
    """A response linear in products of functions of the exposure and functions of covariates, which were learned.

    Attributes
    ----------
    exposure : 1 apart, the exposure and its features.
    covariates : covariates and their features, or None where there are no covariates.
    pairs : of each column, the number of a function of the exposure and of one of the covariates; 0 is the constant.
    coefficients : a number a column.
    covariance : of the coefficients, the features being given.
    mean_functions : of the covariates' functions over the sample, the constant first.
    record : what it was made of.
    logs : losses of the training; not in a file.
    """

    kind: ClassVar[str] = "features"

    exposure: Basis
    covariates: Basis | None
    pairs: Int[np.ndarray, "terms two"]
    coefficients: Float[np.ndarray, "terms"]
    covariance: Float[np.ndarray, "terms terms"]
    mean_functions: Float[np.ndarray, "functions"]
    record: FitRecord
    logs: tuple[TrainingLog, ...] = ()

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
        return self._curve(self._given(x, covars), level)

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
        return self._curve(self._given(x1, covars) - self._given(x0, covars), level)

    def uniform_band(
        self, x: Float[np.ndarray, "points"], *, level: float = 0.95, seed: int = 0, reference: float | None = None
    ) -> Curve:
        """Return the average response with a band that holds all of the curve at once, the features being given.

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

    def _given(
        self, x: Float[np.ndarray, "points"], covars: Float[np.ndarray, "points covariates"] | None
    ) -> Float[np.ndarray, "points terms"]:
        given = covariates_of(self.record, covars, len(x))
        return products(_with_one(self.exposure(x[:, None])), covariate_functions(self.covariates, given), self.pairs)

    def _average(self, x: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points terms"]:
        mean = np.broadcast_to(self.mean_functions, (len(x), len(self.mean_functions)))
        return products(_with_one(self.exposure(x[:, None])), mean, self.pairs)

    def _curve(self, design: Float[np.ndarray, "points terms"], level: float) -> Curve:
        return pointwise(design, self.coefficients, self.covariance, level=level)

    def training_log(self) -> pd.DataFrame:
        """Return a row an epoch; none where the response comes from a file."""
        columns = ["stage", "member", "epoch", "training_loss", "validation_loss"]
        return pd.DataFrame([asdict(row) for row in self.logs], columns=columns)

    def state(self) -> State:
        """Return all of it as arrays and plain values."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        settings = {}
        for name in ("exposure", "covariates"):
            basis = getattr(self, name)
            if basis is not None:
                arrays |= {f"{name}.{part}": getattr(basis, part) for part in _PARTS}
                arrays |= basis.stack.state(f"{name}.")
                settings[name] = basis.stack.settings()
        return State(kind=self.kind, arrays=arrays, settings=settings, record=self.record)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any], record: FitRecord
    ) -> "FeatureResponse":
        """Make a response from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as in `State`.
        """
        bases = {
            name: Basis(Stack.from_state(arrays, settings[name], f"{name}."), *(arrays[f"{name}.{p}"] for p in _PARTS))
            for name in settings
        }
        return cls(
            exposure=bases["exposure"],
            covariates=bases.get("covariates"),
            pairs=arrays["pairs"],
            coefficients=arrays["coefficients"],
            covariance=arrays["covariance"],
            mean_functions=arrays["mean_functions"],
            record=record,
        )


_ARRAYS = ("pairs", "coefficients", "covariance", "mean_functions")
_PARTS = ("centre", "spread", "straight", "transform")


def covariate_functions(
    basis: Basis | None, covars: Float[np.ndarray, "points covariates"]
) -> Float[np.ndarray, "points functions"]:
    """Return 1, covariates and their features.

    Parameters
    ----------
    basis : of covariates, or None where there are none.
    covars : a row a point.
    """
    return np.ones((len(covars), 1)) if basis is None else _with_one(basis(covars))


def products(
    of_exposure: Float[np.ndarray, "points _"],
    of_covariates: Float[np.ndarray, "points _"],
    pairs: Int[np.ndarray, "terms two"],
) -> Float[np.ndarray, "points terms"]:
    """Multiply functions of the exposure and of covariates.

    Parameters
    ----------
    of_exposure, of_covariates : a row a point, the constant first.
    pairs : number of the one and of the other, a row a column.
    """
    return of_exposure[:, pairs[:, 0]] * of_covariates[:, pairs[:, 1]]
