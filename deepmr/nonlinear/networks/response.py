"""Responses that are outcome networks side by side, with averages over the covariates of the sample."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from deepmr.individual import Curve, FitRecord, IVData, State
from deepmr.nonlinear.ensemble import over_members
from deepmr.nonlinear.linear import covariates_of
from deepmr.perceptrons.stack import Stack
from deepmr.perceptrons.training import TrainingLog

_ROWS, _FEWEST = 10_000, 1000  # most and fewest covariate rows that averages are over
_EVALUATIONS = 50_000  # rows times networks a point
_BLOCK = 1 << 16  # rows times networks at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Means and standard deviations by which networks see the data.

    Attributes
    ----------
    exposure, outcome : mean and sd; those of a binary outcome are 0 and 1.
    covariates : a row of means and one of sds.
    """

    exposure: Float[np.ndarray, "2"]
    outcome: Float[np.ndarray, "2"]
    covariates: Float[np.ndarray, "2 covariates"]

    @classmethod
    def of(cls, data: IVData, outcome_data: IVData) -> "Scaling":
        """Take them from samples of the two stages.

        Parameters
        ----------
        data : with the exposure.
        outcome_data : with the outcome.
        """
        assert data.exposure is not None
        assert outcome_data.outcome is not None
        outcome = outcome_data.outcome
        return cls(
            exposure=np.array([data.exposure.mean(), data.exposure.std()]),
            outcome=np.array([0.0, 1.0] if _binary(outcome_data) else [outcome.mean(), outcome.std()]),
            covariates=_moments(outcome_data.covariates),
        )

    def covariates_in(self, covariates: Float[np.ndarray, "_ covariates"]) -> Tensor:
        """Return covariates as networks see them.

        Parameters
        ----------
        covariates : a row a sample.
        """
        return as_tensor((covariates - self.covariates[0]) / self.covariates[1])

    def exposure_in(self, x: Float[np.ndarray, "_"]) -> Tensor:
        """Return exposures as networks see them.

        Parameters
        ----------
        x : exposures.
        """
        return as_tensor((x - self.exposure[0]) / self.exposure[1])


def as_tensor(values: Float[np.ndarray, "..."]) -> Tensor:
    """Return a float32 copy for networks.

    Parameters
    ----------
    values : numbers.
    """
    return torch.tensor(values, dtype=torch.float32)


def standardised(values: Float[np.ndarray, "_ columns"], like: Float[np.ndarray, "_ columns"]) -> Tensor:
    """Return columns less their mean, in units of their standard deviation.

    Parameters
    ----------
    values : a row a sample.
    like : samples from which both are taken.
    """
    mean, sd = _moments(like)
    return as_tensor((values - mean) / sd)


def _moments(values: Float[np.ndarray, "_ columns"]) -> Float[np.ndarray, "2 columns"]:
    sd = values.std(axis=0)
    return np.stack([values.mean(axis=0), np.where(sd > 0, sd, 1.0)])


def _binary(data: IVData) -> bool:
    return data.outcome_type == "binary"


def predict(
    stack: Stack, linear: Tensor, x: Tensor, covariates: Tensor, *, binary: bool, training: bool = False
) -> Tensor:
    """Return outcomes (members, rows, nodes), or probabilities, as the networks and their linear parts have them.

    Parameters
    ----------
    stack : networks of the exposure and the covariates.
    linear : (members, 2 + covariates), coefficients of 1, exposure and covariates, added to the networks' output.
    x : (members, rows, nodes), exposures in the unit of `Scaling`.
    covariates : (members, rows, covariates), likewise.
    binary : whether the output is a logit.
    training : as in `Stack`.
    """
    inputs = x.unsqueeze(3)
    if covariates.shape[2]:
        inputs = torch.cat([inputs, covariates.unsqueeze(2).expand(-1, -1, x.shape[2], -1)], dim=3)
    value = stack(inputs.flatten(1, 2), training=training).view_as(x)
    rows = torch.baddbmm(linear[:, None, :1], covariates, linear[:, 2:, None])
    value = value + torch.addcmul(rows, x, linear[:, 1, None, None])
    return torch.sigmoid(value) if binary else value


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkResponse:
    """Outcome networks h(x, c): replicates of the whole fit, each the mean of one network or several.

    Attributes
    ----------
    stack : the networks, those of a replicate one after the other.
    linear : (networks, 2 + covariates), the linear part beside each.
    n_replicates : bootstrap replicates; one has no interval.
    scaling : of the data.
    covariates, weights : rows of the sample over which averages are taken, and what each counts.
    record : what it was made of.
    logs : losses of the training; not in a file.
    """

    kind: ClassVar[str] = "network"

    stack: Stack
    linear: Float[np.ndarray, "networks terms"]
    n_replicates: int
    scaling: Scaling
    covariates: Float[np.ndarray, "rows covariates"]
    weights: Float[np.ndarray, "rows"]
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
        level : of the intervals, which there are from two replicates on (`ensemble.over_members`).
        """
        return over_members(self.members(x, covariates_of(self.record, covars, len(x))), level=level)

    def avg_iv_reg_function(self, x: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the response at x, averaged over the covariates of the sample.

        Parameters
        ----------
        x : exposures.
        level : of the intervals.
        """
        return over_members(self.members(x), level=level)

    def ate(self, x0: Float[np.ndarray, "points"], x1: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the average effect of moving the exposure from x0 to x1.

        Parameters
        ----------
        x0, x1 : exposures before and after.
        level : of the intervals.
        """
        return over_members(self.members(x1) - self.members(x0), level=level)

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
        return over_members(self.members(x1, given) - self.members(x0, given), level=level)

    def members(
        self, x: Float[np.ndarray, "points"], covars: Float[np.ndarray, "points covariates"] | None = None
    ) -> Float[np.ndarray, "replicates points"]:
        """Return the curve of every replicate, on average over the sample's covariates where none are given.

        Parameters
        ----------
        x : exposures.
        covars : a row a point, or None.
        """
        if covars is not None or not self.record.covariates:
            given = self.scaling.covariates_in(np.empty((len(x), 0)) if covars is None else covars)
            step = max(1, _BLOCK // len(self.stack))
            parts = [self._networks(x[k : k + step], given[k : k + step]) for k in range(0, len(x), step)]
            networks = np.concatenate(parts, axis=1) if parts else np.empty((len(self.stack), 0))
        else:
            networks = self._averages(x)
        mean = networks.reshape(self.n_replicates, -1, len(x)).mean(axis=1)
        return np.asarray(mean * self.scaling.outcome[1] + self.scaling.outcome[0])

    def _averages(self, x: Float[np.ndarray, "points"]) -> Float[np.ndarray, "networks points"]:
        given, n = self.scaling.covariates_in(self.covariates), len(self.covariates)
        weights, step = self.weights / self.weights.sum(), max(1, _BLOCK // len(self.stack))
        found = np.zeros((len(self.stack), len(x)))
        for point, value in enumerate(x):
            for k in range(0, n, step):
                rows = slice(k, k + step)
                values = self._networks(np.full(len(given[rows]), value), given[rows])
                found[:, point] += values @ weights[rows]
        return found

    def _networks(self, x: Float[np.ndarray, "rows"], covariates: Tensor) -> Float[np.ndarray, "networks rows"]:
        binary = self.record.outcome_type == "binary"
        with torch.no_grad():
            nodes = self.scaling.exposure_in(x).expand(len(self.stack), -1).unsqueeze(2)
            given = covariates.expand(len(self.stack), -1, -1)
            values = predict(self.stack, as_tensor(self.linear), nodes, given, binary=binary)[..., 0]
        return np.asarray(values.numpy().astype(np.float64))

    def training_log(self) -> pd.DataFrame:
        """Return a row a stage, member and epoch; none where the response comes from a file."""
        columns = ["stage", "member", "epoch", "training_loss", "validation_loss"]
        return pd.DataFrame([asdict(row) for row in self.logs], columns=columns)

    def state(self) -> State:
        """Return all of it as arrays and plain values."""
        scaling = {f"{name}_scaling": getattr(self.scaling, name) for name in ("exposure", "outcome", "covariates")}
        arrays = {
            **self.stack.state(),
            **scaling,
            "linear": self.linear,
            "covariates": self.covariates,
            "weights": self.weights,
        }
        settings = {"architecture": self.stack.settings(), "n_replicates": self.n_replicates}
        return State(kind=self.kind, arrays=arrays, settings=settings, record=self.record)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any], record: FitRecord
    ) -> "NetworkResponse":
        """Make a response from what `state` returned."""
        return cls(
            stack=Stack.from_state(arrays, settings["architecture"]),
            linear=arrays["linear"],
            n_replicates=settings["n_replicates"],
            scaling=Scaling(
                exposure=arrays["exposure_scaling"],
                outcome=arrays["outcome_scaling"],
                covariates=arrays["covariates_scaling"],
            ),
            covariates=arrays["covariates"],
            weights=arrays["weights"],
            record=record,
        )


def averaged_rows(
    data: IVData, *, n_networks: int, seed: int
) -> tuple[Float[np.ndarray, "rows covariates"], Float[np.ndarray, "rows"]]:
    """Choose the rows of covariates over which averages are taken, and their weights.

    Parameters
    ----------
    data : the sample.
    n_networks : how many networks there are; the more, the fewer rows, from 10,000 down to 1,000.
    seed : of the choice.
    """
    if not data.covariate_names:
        return np.empty((1, 0)), np.ones(1)
    n = min(len(data), max(_FEWEST, min(_ROWS, _EVALUATIONS // n_networks)))
    rows = np.random.default_rng(seed).permutation(len(data))[:n]
    return data.covariates[rows], data.scaled_weights[rows]
