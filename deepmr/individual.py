"""Individual-level data and dose responses: the core types of nonlinear instrumental-variable estimation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError

OutcomeType = Literal["continuous", "binary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IVData:
    """Instruments, exposure, outcome and covariates of samples, complete cases.

    In a two-sample analysis the sample of the first stage needs no outcome, and that of the second no exposure.

    Attributes
    ----------
    instruments : a column an instrument; of genotypes, copies of the effect allele.
    exposure : None in a sample that has the outcome alone.
    outcome : 0 and 1 where it is binary; None in a sample that has the exposure alone.
    covariates : a column a covariate, used in both stages; no columns where there are none.
    weights : positive, of any scale; None where every sample counts alike.
    clusters : number of the cluster of each sample, errors within which correlate; None where samples are independent.
    """

    instruments: Float[np.ndarray, "samples instruments"]
    exposure: Float[np.ndarray, "samples"] | None
    outcome: Float[np.ndarray, "samples"] | None
    covariates: Float[np.ndarray, "samples covariates"]
    instrument_names: tuple[str, ...]
    covariate_names: tuple[str, ...] = ()
    exposure_name: str = "exposure"
    outcome_name: str = "outcome"
    outcome_type: OutcomeType = "continuous"
    weights: Float[np.ndarray, "samples"] | None = None
    clusters: Int[np.ndarray, "samples"] | None = None

    def __post_init__(self) -> None:
        n = len(self.instruments)
        if self.exposure is None and self.outcome is None:
            raise InputError("data need an exposure, an outcome or both; they have neither")
        checks.shape("instruments", self.instruments, (n, len(self.instrument_names)))
        checks.shape("covariates", self.covariates, (n, len(self.covariate_names)))
        if not self.instrument_names:
            raise InputError("at least one instrument is needed; got none")
        checks.unique("names of instruments and covariates", (*self.instrument_names, *self.covariate_names))
        checks.finite("instruments", self.instruments)
        checks.finite("covariates", self.covariates)
        checks.one_of("outcome_type", self.outcome_type, get_args(OutcomeType))
        for name, values in ((self.exposure_name, self.exposure), (self.outcome_name, self.outcome)):
            if values is not None:
                checks.shape(name, values, (n,))
                checks.finite(name, values)
                _vary(name, values)
        if self.outcome is not None and self.outcome_type == "binary":
            _zero_one(self.outcome_name, self.outcome)
        if self.weights is not None:
            checks.shape("weights", self.weights, (n,))
            checks.positive("weights", self.weights)
        if self.clusters is not None:
            checks.shape("clusters", self.clusters, (n,))

    def __len__(self) -> int:
        return len(self.instruments)

    @property
    def scaled_weights(self) -> Float[np.ndarray, "samples"]:
        """Weights with mean 1; all 1 where there are none."""
        return np.ones(len(self)) if self.weights is None else self.weights / self.weights.mean()

    def take(self, index: Any) -> "IVData":
        """Return the samples that a slice, a boolean mask or an array of positions selects."""
        return replace(
            self,
            instruments=self.instruments[index],
            exposure=None if self.exposure is None else self.exposure[index],
            outcome=None if self.outcome is None else self.outcome[index],
            covariates=self.covariates[index],
            weights=None if self.weights is None else self.weights[index],
            clusters=None if self.clusters is None else self.clusters[index],
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row a sample."""
        columns: dict[str, Any] = {}
        for name, values in ((self.exposure_name, self.exposure), (self.outcome_name, self.outcome)):
            if values is not None:
                columns[name] = values
        columns |= dict(zip(self.instrument_names, self.instruments.T, strict=True))
        columns |= dict(zip(self.covariate_names, self.covariates.T, strict=True))
        for name, values in (("weight", self.weights), ("cluster", self.clusters)):
            if values is not None:
                columns[name] = values
        return pd.DataFrame(columns)


def _vary(name: str, values: Float[np.ndarray, "samples"]) -> None:
    if len(values) and np.ptp(values) <= 1e-12 * max(1.0, np.abs(values).max()):
        raise InputError(f"{name} must vary; all {len(values)} samples have {values[0]:g}")


def _zero_one(name: str, values: Float[np.ndarray, "samples"]) -> None:
    other = values[(values != 0) & (values != 1)]
    if len(other):
        raise InputError(
            f"{name} must be 0 or 1, as it is binary; {len(other)} of {len(values)} are not, as {other[0]:g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Values of a response, or of an effect, at points, with intervals where the method has them.

    Attributes
    ----------
    estimate : in the unit of the outcome; the probability, where it is binary.
    se, low, high : standard errors and bounds at `level`, or None.
    level : of the intervals.
    """

    estimate: Float[np.ndarray, "points"]
    se: Float[np.ndarray, "points"] | None = None
    low: Float[np.ndarray, "points"] | None = None
    high: Float[np.ndarray, "points"] | None = None
    level: float = 0.95

    def __len__(self) -> int:
        return len(self.estimate)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a point; columns of what there is."""
        found = {"estimate": self.estimate, "se": self.se, "low": self.low, "high": self.high}
        return pd.DataFrame({name: values for name, values in found.items() if values is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecord:
    """What a fitted response was made of, and what is to be known of it.

    Attributes
    ----------
    method : as in `nonlinear.METHODS`.
    options : every option of the method.
    seed : of everything random.
    n, n_outcome : samples of the first stage and of the second, which are the same unless there are two samples.
    domain : smallest and largest exposure.
    central : what 2.5 and 97.5 % of exposures lie below.
    quartiles : the same of 25, 50 and 75 %.
    losses : on validation samples, by name, where the method has such samples.
    diagnostics : numbers by name, of `nonlinear.diagnostics` and of the method.
    warnings : what a reader has to know, in sentences.
    """

    method: str
    options: Mapping[str, Any]
    seed: int
    exposure: str
    outcome: str
    instruments: tuple[str, ...]
    covariates: tuple[str, ...]
    outcome_type: OutcomeType
    n: int
    n_outcome: int
    domain: tuple[float, float]
    central: tuple[float, float]
    quartiles: tuple[float, float, float]
    losses: Mapping[str, float] = field(default_factory=dict)
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@runtime_checkable
class DoseResponse(Protocol):
    """A fitted response: E[outcome | do(exposure = x)], of given covariates or on average over those of the sample."""

    @property
    def record(self) -> FitRecord:
        """What it was made of."""

    def iv_reg_function(
        self,
        x: Float[np.ndarray, "points"],
        covars: Float[np.ndarray, "points covariates"] | None = None,
        *,
        level: float = 0.95,
    ) -> Curve:
        """Return the response at x, given covariates."""

    def avg_iv_reg_function(self, x: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the response at x, averaged over the covariates of the sample."""

    def ate(self, x0: Float[np.ndarray, "points"], x1: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the average effect of moving the exposure from x0 to x1."""

    def cate(
        self,
        x0: Float[np.ndarray, "points"],
        x1: Float[np.ndarray, "points"],
        covars: Float[np.ndarray, "points covariates"],
        *,
        level: float = 0.95,
    ) -> Curve:
        """Return the same effect, given covariates."""

    def state(self) -> "State":
        """Return all of it as arrays and plain values; `from_state` of its class takes them back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A fitted response as a file can hold it: `kind` names its class in `nonlinear.RESPONSES`."""

    kind: str
    arrays: Mapping[str, np.ndarray]
    settings: Mapping[str, Any]
    record: FitRecord


def record_of(
    data: IVData,
    outcome_data: IVData,
    *,
    method: str,
    options: Mapping[str, Any],
    seed: int,
    losses: Mapping[str, float] | None = None,
    diagnostics: Mapping[str, float] | None = None,
    warnings: Sequence[str] = (),
) -> FitRecord:
    """Describe a fit to these data.

    Parameters
    ----------
    data : of the first stage, with the exposure.
    outcome_data : of the second stage; the same where there is one sample.
    method, options, seed, losses, diagnostics, warnings : as in `FitRecord`.
    """
    assert data.exposure is not None
    q = [float(v) for v in np.quantile(data.exposure, [0, 0.025, 0.25, 0.5, 0.75, 0.975, 1])]
    return FitRecord(
        method=method,
        options=dict(options),
        seed=seed,
        exposure=data.exposure_name,
        outcome=outcome_data.outcome_name,
        instruments=data.instrument_names,
        covariates=data.covariate_names,
        outcome_type=outcome_data.outcome_type,
        n=len(data),
        n_outcome=len(outcome_data),
        domain=(q[0], q[6]),
        central=(q[1], q[5]),
        quartiles=(q[2], q[3], q[4]),
        losses=dict(losses or {}),
        diagnostics=dict(diagnostics or {}),
        warnings=tuple(warnings),
    )


def two_samples(data: IVData, outcome_data: IVData | None) -> tuple[IVData, IVData]:
    """Return the samples of both stages, after a check that they fit together.

    Parameters
    ----------
    data : of the first stage.
    outcome_data : of the second, or None where it is the same.

    Raises
    ------
    InputError
        When the first has no exposure, the second no outcome, or their instruments or covariates differ.
    """
    second = data if outcome_data is None else outcome_data
    if data.exposure is None:
        raise InputError("the first stage needs the exposure; its sample has none")
    if second.outcome is None:
        raise InputError("the second stage needs the outcome; its sample has none")
    for what in ("instrument_names", "covariate_names"):
        one, two = getattr(data, what), getattr(second, what)
        if one != two:
            raise InputError(f"{what} of both samples must be the same; got {', '.join(one)} and {', '.join(two)}")
    return data, second
