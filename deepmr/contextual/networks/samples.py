"""Samples as tensors in units of their own spread, the loss that networks lower on them, and where they start from."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from deepmr.contexts import ContextData
from deepmr.contextual.networks.surface import Surface
from deepmr.contextual.units import Units, find_units
from deepmr.perceptrons.split import Split
from deepmr.perceptrons.training import Batch, Objective, weighted_mean

_CORNER = 1e-6  # squared size of a coefficient below which the absolute value is rounded off
_NEWTON, _RIDGE = 25, 1e-3  # steps, and penalty a sample, of the logistic regression that networks start from


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of all outcomes.

    Attributes
    ----------
    z : standardised contexts.
    x : ones and standardised predictors.
    y : standardised outcomes less their offset, or 0 and 1.
    offset : of log odds; 0 where outcomes are continuous.
    precision : of each outcome of each sample, on average 1 an outcome.
    binary : whether outcomes are 0 and 1.
    """

    z: Tensor
    x: Tensor
    y: Tensor
    offset: Tensor
    precision: Tensor
    binary: bool

    def to(self, kind: torch.dtype) -> "Samples":
        """Return the same as another type of number."""
        return replace(
            self,
            z=self.z.to(kind),
            x=self.x.to(kind),
            y=self.y.to(kind),
            offset=self.offset.to(kind),
            precision=self.precision.to(kind),
        )


def outcome_units(data: ContextData) -> tuple[Units, ...]:
    """Return the units of each outcome; binary ones have no centre or size, as coefficients are log odds.

    Parameters
    ----------
    data : samples.
    """
    found = [find_units(data.pick_outcome(k)) for k in range(len(data.outcome_names))]
    if data.outcome_type == "binary":
        found = [replace(unit, outcome_centre=0.0, outcome_size=1.0) for unit in found]
    return tuple(found)


def make_samples(data: ContextData, z: Float[np.ndarray, "samples used"], units: tuple[Units, ...]) -> Samples:
    """Return samples as tensors in float64.

    Parameters
    ----------
    data : samples.
    z : their standardised contexts; a column of zeros stands for none.
    units : of each outcome.
    """
    binary = data.outcome_type == "binary"
    still = np.zeros_like(data.outcomes)
    y = data.outcomes
    if not binary:
        y = np.column_stack([unit.outcome(data.pick_outcome(k)) for k, unit in enumerate(units)])
    precision = np.ones_like(y) if data.se_outcome is None else data.se_outcome**-2.0
    precision = precision / (data.counts @ precision / data.counts.sum())
    return Samples(
        z=torch.from_numpy(z if z.shape[1] else np.zeros((len(z), 1))),
        x=torch.from_numpy(units[0].design(data)),
        y=torch.from_numpy(np.ascontiguousarray(y)),
        offset=torch.from_numpy(data.offset if binary and data.offset is not None else still),
        precision=torch.from_numpy(precision),
        binary=binary,
    )


def losses(predicted: Tensor, samples: Samples, rows: Tensor) -> Tensor:
    """Return squared error, or cross-entropy of log odds, (members, samples): the mean over outcomes.

    Parameters
    ----------
    predicted : (members, samples, outcomes).
    samples : all.
    rows : which samples these are.
    """
    y = samples.y[rows]
    if samples.binary:
        each = functional.binary_cross_entropy_with_logits(predicted + samples.offset[rows], y, reduction="none")
    else:
        each = (predicted - y) ** 2
    return (each * samples.precision[rows]).mean(dim=2)


def make_objective(samples: Samples, *, penalty: float, l1_share: float) -> Objective[Surface]:
    """Return the loss that surfaces are trained by.

    Parameters
    ----------
    samples : to learn from.
    penalty, l1_share : of slopes in these units, a sample and outcome: penalty times the sum over predictors of
        l1_share |b| + (1 - l1_share) b^2 / 2, averaged over samples as the loss is; in validation too, so that stopping
        early does not undo it.
    """

    def objective(surface: Surface, batch: Batch) -> Tensor:
        made = surface(samples.z[batch.rows])
        loss = losses((made * samples.x[batch.rows].unsqueeze(2)).sum(dim=3), samples, batch.rows)
        if penalty:
            slopes = made[..., 1:]
            size = torch.sqrt(slopes**2 + _CORNER)
            loss = loss + penalty * (l1_share * size + 0.5 * (1 - l1_share) * slopes**2).sum(dim=3).mean(dim=2)
        return weighted_mean(loss, batch.weights)

    return objective


def constant_start(samples: Samples, split: Split) -> Float[np.ndarray, "members outcomes columns"]:
    """Return the coefficients that fit a member's samples best where context changes nothing.

    Parameters
    ----------
    samples : all.
    split : of the members.
    """
    x, y = samples.x.numpy(), samples.y.numpy()
    precision, offset = samples.precision.numpy(), samples.offset.numpy()
    made = []
    for rows, weights in zip(split.training.numpy(), split.training_weights.double().numpy(), strict=True):
        own = []
        for k in range(y.shape[1]):
            w = weights * precision[rows, k]
            if samples.binary:
                own.append(_log_odds(x[rows], y[rows, k], w, offset[rows, k]))
            else:
                root = np.sqrt(w)
                own.append(np.linalg.lstsq(root[:, None] * x[rows], root * y[rows, k], rcond=1e-10)[0])
        made.append(own)
    return np.array(made)


def _log_odds(x: np.ndarray, y: np.ndarray, w: np.ndarray, offset: np.ndarray) -> Float[np.ndarray, "columns"]:
    """Return coefficients of a logistic regression that a small ridge keeps finite."""
    b = np.zeros(x.shape[1])
    ridge = _RIDGE * w.sum() * np.eye(len(b))
    for _ in range(_NEWTON):
        p = 1 / (1 + np.exp(-np.clip(x @ b + offset, -30.0, 30.0)))
        b = b + np.linalg.solve((x.T * (w * p * (1 - p))) @ x + ridge, x.T @ (w * (y - p)) - ridge @ b)
    return b
