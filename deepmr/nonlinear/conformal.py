"""Bands that hold outcomes of new samples, by split conformal prediction: never a band of the response."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import DoseResponse, IVData
from deepmr.nonlinear import fit_response
from deepmr.nonlinear.basis import SplineBasis, fit_splines

Scale = Literal["constant", "modelled"]
_FUNCTIONS = 6  # splines of every variable that the scale of residuals may depend on
_LEAST = 0.2  # smallest scale that is believed, relative to the mean one


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeBand:
    """Where the outcome of a new sample is expected, a row a point.

    Attributes
    ----------
    centre : the response.
    outcome_low, outcome_high : bounds that hold the outcome itself, noise included, at `level`.
    """

    centre: Float[np.ndarray, "points"]
    outcome_low: Float[np.ndarray, "points"]
    outcome_high: Float[np.ndarray, "points"]
    level: float

    def to_frame(self) -> pd.DataFrame:
        """Return one row a point."""
        names = ("centre", "outcome_low", "outcome_high")
        return pd.DataFrame({name: getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualScale:
    """The mean size of residuals as a sum of splines of exposure and covariates.

    Attributes
    ----------
    splines : of the exposure and of every covariate.
    coefficients : of their functions, the constant first.
    least : smallest size that is returned.
    """

    splines: tuple[SplineBasis, ...]
    coefficients: Float[np.ndarray, "functions"]
    least: float

    def __call__(
        self, x: Float[np.ndarray, "points"], covars: Float[np.ndarray, "points covariates"]
    ) -> Float[np.ndarray, "points"]:
        """Return the size at points."""
        return np.maximum(_columns(self.splines, x, covars) @ self.coefficients, self.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformalBand:
    """A response with what outcomes keep to around it.

    Attributes
    ----------
    response : any fitted one.
    factor : size of a residual, relative to its scale, that a share `level` of outcomes does not exceed.
    scale : of residuals, or None where it is taken to be 1 everywhere.
    level : share of outcomes that the band holds.
    n_calibration : samples that `factor` comes from.
    """

    response: DoseResponse
    factor: float
    scale: ResidualScale | None
    level: float
    n_calibration: int

    def interval(
        self, x: Float[np.ndarray, "points"], covars: Float[np.ndarray, "points covariates"] | None = None
    ) -> OutcomeBand:
        """Return bounds of the outcomes of new samples.

        Parameters
        ----------
        x : exposures.
        covars : a row a point; needed where the fit has covariates.
        """
        centre = self.response.iv_reg_function(x, covars).estimate
        given = np.empty((len(x), 0)) if covars is None else covars
        half = np.full(len(x), self.factor) if self.scale is None else self.factor * self.scale(x, given)
        return OutcomeBand(centre=centre, outcome_low=centre - half, outcome_high=centre + half, level=self.level)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all but the response, by name; `band_from_arrays` takes it back."""
        found = {name: np.array(getattr(self, name)) for name in ("factor", "level", "n_calibration")}
        if self.scale is not None:
            found |= {"scale.coefficients": self.scale.coefficients, "scale.least": np.array(self.scale.least)}
            for k, one in enumerate(self.scale.splines):
                found |= {f"scale.{k}.{part}": getattr(one, part) for part in _PARTS}
        return found


_PARTS = ("knots", "transform", "roughness")


def band_from_arrays(response: DoseResponse, arrays: Mapping[str, np.ndarray]) -> ConformalBand:
    """Make a band again from its response and what its `arrays` returned.

    Parameters
    ----------
    response : the one that it was around.
    arrays : by name.
    """
    scale = None
    if "scale.least" in arrays:
        count = sum(name.startswith("scale.") and name.endswith(".knots") for name in arrays)
        scale = ResidualScale(
            splines=tuple(SplineBasis(**{part: arrays[f"scale.{k}.{part}"] for part in _PARTS}) for k in range(count)),
            coefficients=arrays["scale.coefficients"],
            least=float(arrays["scale.least"]),
        )
    return ConformalBand(
        response=response,
        factor=float(arrays["factor"]),
        scale=scale,
        level=float(arrays["level"]),
        n_calibration=int(arrays["n_calibration"]),
    )


def conformal_band(
    response: DoseResponse, calibration: IVData, *, level: float = 0.9, scale_data: IVData | None = None
) -> ConformalBand:
    """Find the band around a response that holds a given share of the outcomes of new samples.

    Parameters
    ----------
    response : a fitted one.
    calibration : samples with exposure and outcome that took no part in the fit, not in stopping it either.
    level : share of outcomes.
    scale_data : samples, none of them of the calibration, from which to learn how the size of residuals depends on
        exposure and covariates; they may be those of the fit. None keeps the band equally wide everywhere.

    Raises
    ------
    InputError
        For a binary outcome, or too few samples for the level.

    Notes
    -----
    Split conformal: with r_i = |y_i - h(x_i, c_i)| / s(x_i, c_i), the factor is the r of rank ceil((n + 1) level), so
    that the outcome of a new sample of the same distribution is inside with a probability between level and
    level + 1 / (n + 1), whatever the response and the scale are. That is on average over samples as they are observed,
    with the exposure they chose; not at every exposure, nor where exposures are set. With weights, samples count by
    them, and the new one as one of the population that the weights stand for (Tibshirani et al.).

    The band says nothing of how well the response itself is known: it does not narrow as samples become more.

    References
    ----------
    Lei et al. (2018) doi:10.1080/01621459.2017.1307116; Tibshirani et al. (2019) doi:10.48550/arXiv.1904.06019.
    """
    checks.level(level)
    scale = None if scale_data is None else _fit_scale(response, scale_data)
    x, size = _residuals(response, calibration, "calibration")
    if scale is not None:
        size = size / scale(x, calibration.covariates)
    return ConformalBand(
        response=response,
        factor=_factor(size, calibration.scaled_weights, level),
        scale=scale,
        level=level,
        n_calibration=len(calibration),
    )


def fit_with_conformal(
    data: IVData,
    *,
    method: str = "auto",
    options: Mapping[str, Any] | None = None,
    outcome_data: IVData | None = None,
    seed: int = 0,
    level: float = 0.9,
    share: float = 0.2,
    scale: Scale = "modelled",
) -> ConformalBand:
    """Hold samples out, fit a response to the others, and find the band of outcomes from those held out.

    Parameters
    ----------
    data, method, options, outcome_data, seed : as in `nonlinear.fit_response`; the seed is that of the split, too.
    level : share of outcomes that the band holds.
    share : of samples that are held out; clusters stay together.
    scale : whether the band is as wide as residuals are large ("modelled"), or equally wide everywhere ("constant").

    Raises
    ------
    InputError
        When there are two samples and that of the outcome has no exposure.
    """
    if not 0 < share < 1:
        raise InputError(f"share of samples held out must be between 0 and 1; got {share:g}")
    whole = data if outcome_data is None else outcome_data
    held = hold_out(whole, share=share, seed=seed)
    rest, calibration = whole.take(~held), whole.take(held)
    first, second = (rest, None) if outcome_data is None else (data, rest)
    response = fit_response(first, method=method, options=options, outcome_data=second, seed=seed)
    return conformal_band(response, calibration, level=level, scale_data=rest if scale == "modelled" else None)


def hold_out(data: IVData, *, share: float, seed: int) -> Bool[np.ndarray, "samples"]:
    """Return which samples are held out, a given share of them at random; clusters stay together.

    Parameters
    ----------
    data : the samples.
    share : of them.
    seed : of the draw.
    """
    rng = np.random.default_rng(seed)
    if data.clusters is None:
        return rng.permutation(len(data)) < round(share * len(data))
    _, number = np.unique(data.clusters, return_inverse=True)
    count = int(number.max()) + 1
    return (rng.permutation(count) < round(share * count))[number]


def _residuals(
    response: DoseResponse, data: IVData, what: str
) -> tuple[Float[np.ndarray, "samples"], Float[np.ndarray, "samples"]]:
    """Return the exposures of samples and the sizes of their residuals."""
    if data.exposure is None or data.outcome is None:
        raise InputError(f"a band of outcomes needs exposure and outcome of the same samples; the {what} lacks one")
    if data.outcome_type == "binary":
        raise InputError(f"a band of outcomes needs a continuous outcome; {data.outcome_name} is binary")
    covars = data.covariates if data.covariates.shape[1] else None
    return data.exposure, np.abs(data.outcome - response.iv_reg_function(data.exposure, covars).estimate)


def _fit_scale(response: DoseResponse, data: IVData) -> ResidualScale:
    x, size = _residuals(response, data, "sample of the scale")
    for name, column in zip(data.covariate_names, data.covariates.T, strict=True):
        if np.ptp(column) == 0:
            raise InputError(f"covariate {name} must vary; all {len(column)} samples have {column[0]:g}")
    splines = tuple(
        fit_splines(column, n_functions=_FUNCTIONS, order=2, weights=data.weights) for column in (x, *data.covariates.T)
    )
    columns, weights = _columns(splines, x, data.covariates), data.scaled_weights[:, None]
    gram = (columns * weights).T @ columns + np.diag([0.0] + [1.0] * (columns.shape[1] - 1))
    coefficients = np.linalg.solve(gram, (columns * weights).T @ size)
    mean = float(np.average(size, weights=data.scaled_weights))
    return ResidualScale(splines=splines, coefficients=coefficients, least=max(_LEAST * mean, 1e-300))


def _columns(
    splines: tuple[SplineBasis, ...],
    x: Float[np.ndarray, "points"],
    covars: Float[np.ndarray, "points covariates"],
) -> Float[np.ndarray, "points functions"]:
    parts = [one(column)[:, 1:] for one, column in zip(splines, (x, *covars.T), strict=True)]
    return np.hstack([np.ones((len(x), 1)), *parts])


def _factor(size: Float[np.ndarray, "samples"], weights: Float[np.ndarray, "samples"], level: float) -> float:
    """Return the least size that a share `level` of samples is within, with the new one counted as the largest."""
    order = np.argsort(size)
    new = float(np.sum(weights**2) / np.sum(weights))  # mean weight of a sample of the weighted population
    reached = np.cumsum(weights[order]) / (weights.sum() + new)
    inside = np.flatnonzero(reached >= level * (1 - 1e-12))
    if not len(inside):
        needed = int(np.ceil(level / (1 - level) - 1e-9))
        raise InputError(f"a band at level {level:g} needs {needed} samples of calibration at least; got {len(size)}")
    return float(size[order][inside[0]])
