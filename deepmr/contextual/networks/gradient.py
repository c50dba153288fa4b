"""Perceptrons of contexts and predictors at once: an effect is the slope of their output along a predictor.

Nothing says that they are linear in predictors, so that an effect depends on where it is asked for: a baseline for
models whose coefficients context alone makes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import expit
from torch import Tensor

from deepmr import checks
from deepmr.contexts import ContextData, ContextRecord, ContextState, record_of
from deepmr.contextual.networks.fitted import standardised, units_from
from deepmr.contextual.networks.resampling import RESAMPLINGS, Resampling, deal
from deepmr.contextual.networks.samples import Samples, losses, make_samples, outcome_units
from deepmr.contextual.networks.teaching import Lessons, Optimizer, history, teach
from deepmr.contextual.scaling import Scaling, check_contexts, constant_contexts, scale_contexts
from deepmr.contextual.units import Units
from deepmr.errors import InputError
from deepmr.perceptrons.split import member_seeds
from deepmr.perceptrons.stack import Activation, Architecture, Stack
from deepmr.perceptrons.training import Batch, Objective, weighted_mean

_BLOCK = 1 << 14  # rows of all members at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientNetwork:
    """Perceptrons y = f(c, x), whose mean is the fit.

    Attributes
    ----------
    stack : all members, of standardised contexts and predictors.
    units : of each outcome.
    scaling : of contexts.
    history : member, epoch, training loss and validation loss, a row an epoch of a member, in standardised units.
    record : what they were made of.
    """

    kind: ClassVar[str] = "gradient"

    stack: Stack
    units: tuple[Units, ...]
    scaling: Scaling
    history: Float[np.ndarray, "entries 4"]
    record: ContextRecord

    def predict(
        self,
        contexts: Float[np.ndarray, "points contexts"],
        predictors: Float[np.ndarray, "points predictors"],
        *,
        offset: Float[np.ndarray, "points outcomes"] | None = None,
    ) -> Float[np.ndarray, "points outcomes"]:
        """Predict outcomes, probabilities where they are binary.

        Parameters
        ----------
        contexts, predictors : in the units of the fit, a row a point.
        offset : as in the data of the fit, on the scale of the link.
        """
        inputs = self._inputs(contexts, predictors)
        width = max(1, _BLOCK // len(self.stack))
        with torch.no_grad():
            made = torch.cat([self.stack(part).mean(dim=0) for part in torch.split(inputs, width)]).numpy()
        eta = made * self._size + np.array([unit.outcome_centre for unit in self.units])
        if offset is not None:
            eta = eta + offset
        return expit(eta) if self.record.outcome_type == "binary" else eta

    def effects(
        self, contexts: Float[np.ndarray, "points contexts"], predictors: Float[np.ndarray, "points predictors"]
    ) -> Float[np.ndarray, "points outcomes predictors"]:
        """Return the slope along each predictor at each point, of log odds where outcomes are binary.

        Parameters
        ----------
        contexts, predictors : in the units of the fit, a row a point.

        Notes
        -----
        One backward pass an outcome gives the slopes at all points of a block, as a point's output has no part in
        another's.
        """
        first = self.scaling.used.size or 1
        width = max(1, _BLOCK // len(self.stack))
        slopes = [self._slopes(part)[..., first:] for part in torch.split(self._inputs(contexts, predictors), width)]
        return torch.cat(slopes).numpy() * self._size[:, None] / self.units[0].size

    def state(self) -> ContextState:
        """Return all of it as arrays and plain values."""
        arrays = {**self.scaling.arrays(), **self.stack.state(), "history": self.history}
        for k, unit in enumerate(self.units):
            arrays |= {f"{k}_{name}": value for name, value in unit.arrays().items()}
        settings = {"architecture": self.stack.settings()}
        return ContextState(kind=self.kind, arrays=arrays, settings=settings, record=self.record)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: ContextRecord
    ) -> "GradientNetwork":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        return cls(
            stack=Stack.from_state(arrays, settings["architecture"]),
            units=units_from(arrays, len(record.outcome_names)),
            scaling=Scaling.from_arrays(arrays),
            history=np.asarray(arrays["history"]),
            record=record,
        )

    @property
    def _size(self) -> Float[np.ndarray, "outcomes"]:
        return np.array([unit.outcome_size for unit in self.units])

    def _inputs(self, contexts: np.ndarray, predictors: np.ndarray) -> Tensor:
        check_contexts(contexts, self.record.context_names)
        checks.shape("predictors", predictors, (len(contexts), len(self.record.predictor_names)))
        unit = self.units[0]
        made = np.column_stack([standardised(self.scaling, contexts), (predictors - unit.centre) / unit.size])
        return torch.from_numpy(made)

    def _slopes(self, inputs: Tensor) -> Tensor:
        inputs = inputs.clone().requires_grad_()
        made = self.stack(inputs).mean(dim=0)
        each = [
            torch.autograd.grad(made[:, k].sum(), inputs, retain_graph=k + 1 < made.shape[1])[0]
            for k in range(made.shape[1])
        ]
        return torch.stack(each, dim=1)


def fit_gradient_network(
    data: ContextData,
    *,
    hidden: tuple[int, ...] = (50, 50),
    activation: Activation = "SiLU",
    optimizer: Optimizer = "auto",
    learning_rate: float = 3e-3,
    batch_size: int | None = None,
    epochs: int = 1000,
    patience: int | None = None,
    weight_decay: float = 3e-5,
    n_members: int = 10,
    resampling: Resampling = "split",
    validation: float = 0.2,
    seed: int = 0,
) -> GradientNetwork:
    """Train perceptrons of contexts and predictors to predict outcomes.

    Parameters
    ----------
    data : samples, with a predictor at least.
    hidden, activation : of the perceptrons.
    optimizer, learning_rate, batch_size, epochs, patience, weight_decay, n_members, resampling, validation : as in
        `ContextNetworks`.
    seed : of weights, of samples drawn and of their order.

    Raises
    ------
    InputError
        When there is no predictor.
    """
    checks.one_of("resampling", resampling, RESAMPLINGS)
    checks.at_least("n_members", n_members, 1)
    if not data.predictor_names:
        raise InputError("effects need a predictor; the data have none")
    lessons = Lessons(
        optimizer=optimizer,
        learning_rate=learning_rate,
        batch_size=batch_size,
        epochs=epochs,
        patience=patience,
        weight_decay=weight_decay,
    )
    scaling, units = scale_contexts(data), outcome_units(data)
    flat, said = constant_contexts(data, scaling)
    samples = make_samples(data, scaling(data.contexts), units)
    architecture = Architecture(
        n_inputs=samples.z.shape[1] + len(data.predictor_names),
        n_outputs=len(data.outcome_names),
        hidden=hidden,
        activation=activation,
    )
    seeds = member_seeds(n_members, seed=seed)
    trained = teach(
        Stack.fresh(architecture, seeds),
        lambda kind: _objective(samples.to(kind)),
        split=deal(data, resampling=resampling, validation=validation, n_members=n_members, seed=seed),
        lessons=lessons,
        n=len(data),
        seeds=seeds,
        stage="outcomes",
    )
    record = record_of(
        data,
        method="gradient",
        options={
            **asdict(lessons),
            "hidden": hidden,
            "activation": activation,
            "n_members": n_members,
            "resampling": resampling,
            "validation": validation,
        },
        seed=seed,
        constant=flat,
        measures={
            "validation_loss": float(trained.losses.mean()),
            "epochs": float(trained.epochs.double().mean()),
        },
        warnings=said,
    )
    return GradientNetwork(
        stack=trained.stack, units=units, scaling=scaling, history=history(trained.logs), record=record
    )


def _objective(samples: Samples) -> Objective[Stack]:
    inputs = torch.cat([samples.z, samples.x[:, 1:]], dim=1)

    def objective(stack: Stack, batch: Batch) -> Tensor:
        predicted = stack(inputs[batch.rows], training=batch.training)
        return weighted_mean(losses(predicted, samples, batch.rows), batch.weights)

    return objective
