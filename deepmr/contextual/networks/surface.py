"""Surfaces of coefficients over context: an encoder, and archetypes that it weighs, of every member at once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from deepmr import checks
from deepmr.contextual.networks.encoders import Encoder, EncoderKind, one_hot
from deepmr.perceptrons.split import member_seeds
from deepmr.perceptrons.stack import Activation

Form = Literal["naive", "subtype", "multitask", "tasksplit"]
Link = Literal["identity", "softmax"]
FORMS = ("naive", "subtype", "multitask", "tasksplit")
LINKS = ("identity", "softmax")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How coefficients are made of context: B(c) = B_0 + what the form says.

    Attributes
    ----------
    form : naive, the encoder's outputs are the coefficients; subtype, sum_k w_k(c) A_k over archetypes of all
        coefficients; multitask, coefficient t is sum_k w_k(c, t) a_k; tasksplit, it is u(c)' A v(t). A task t is one
        coefficient of one outcome.
    encoder : of context (`encoders`).
    link : of what weighs archetypes: as it is, or shares that add to 1.
    n_contexts, n_outcomes, n_columns : of the data; columns are mu's and the predictors'.
    n_archetypes : the K of the sums.
    hidden, activation : of the encoders.
    """

    form: Form
    encoder: EncoderKind
    link: Link
    n_contexts: int
    n_outcomes: int
    n_columns: int
    n_archetypes: int
    hidden: tuple[int, ...]
    activation: Activation

    def __post_init__(self) -> None:
        checks.one_of("form", self.form, FORMS)
        checks.one_of("link", self.link, LINKS)
        checks.at_least("n_archetypes", self.n_archetypes, 1)

    @property
    def tasks(self) -> int:
        """Coefficients of all outcomes."""
        return self.n_outcomes * self.n_columns

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        """The encoder of context, and that of tasks where there is one."""
        inputs = self.n_contexts + (self.tasks if self.form == "multitask" else 0)
        outputs = self.tasks if self.form == "naive" else self.n_archetypes
        first = Encoder(
            kind=self.encoder, n_inputs=inputs, n_outputs=outputs, hidden=self.hidden, activation=self.activation
        )
        if self.form != "tasksplit":
            return (first,)
        return first, replace(first, kind="linear" if self.encoder == "linear" else "mlp", n_inputs=self.tasks)

    @property
    def n_linear(self) -> int:
        """Parameters of archetypes, which coefficients are linear in."""
        k = self.n_archetypes
        return {"naive": 0, "subtype": k * self.tasks, "multitask": k, "tasksplit": k * k}[self.form]

    @property
    def sizes(self) -> list[int]:
        """Parameters of each encoder, of the archetypes and of B_0, in this order."""
        return [*(encoder.size for encoder in self.encoders), self.n_linear, self.tasks]

    def weights(self, parts: Sequence[Tensor], z: Tensor) -> tuple[Tensor, ...]:
        """Return what weighs archetypes (naive: coefficients themselves), by the encoders' parameters.

        Parameters
        ----------
        parts : parameters of each encoder.
        z : contexts, (members, rows, contexts).
        """
        n, rows, tasks = len(z), z.shape[1], self.tasks
        if self.form == "multitask":
            told = torch.cat(
                [
                    z.unsqueeze(2).expand(-1, -1, tasks, -1),
                    one_hot(tasks, z).expand(n, rows, -1, -1),
                ],
                dim=3,
            )
            made = [self.encoders[0](parts[0], told.flatten(1, 2)).view(n, rows, tasks, -1)]
        else:
            made = [self.encoders[0](parts[0], z)]
        if self.form == "tasksplit":
            made.append(self.encoders[1](parts[1], one_hot(tasks, z).expand(n, -1, -1)))
        if self.link == "softmax" and self.form != "naive":
            made = [torch.softmax(one, dim=-1) for one in made]
        return tuple(made)

    def contract(self, weights: tuple[Tensor, ...], archetypes: Tensor) -> Tensor:
        """Return what archetypes add to the coefficients, (members, rows, tasks).

        Parameters
        ----------
        weights : what `weights` returned.
        archetypes : (members, `n_linear`).
        """
        n, k = len(archetypes), self.n_archetypes
        if self.form == "naive":
            return weights[0]
        if self.form == "subtype":
            return weights[0] @ archetypes.view(n, k, self.tasks)
        if self.form == "multitask":
            return (weights[0] @ archetypes.view(n, 1, k, 1)).squeeze(-1)
        return weights[0] @ archetypes.view(n, k, k) @ weights[1].transpose(1, 2)


@dataclass(frozen=True, slots=True)
class Surface:
    """Members of one plan; member k's parameters are row k. It is what `perceptrons.training` trains.

    Attributes
    ----------
    plan : of every member.
    parameters : (members, all parameters of one).
    """

    plan: Plan
    parameters: Tensor

    @classmethod
    def fresh(cls, plan: Plan, seeds: Sequence[int], constant: np.ndarray) -> "Surface":
        """Draw encoders; archetypes are 0, so that coefficients start the same in every context.

        Parameters
        ----------
        plan : of every member.
        seeds : one a member.
        constant : B_0, (members, outcomes, columns).
        """
        own = [
            encoder.fresh([member_seeds(1, seed=seed, stage=k)[0] for seed in seeds])
            for k, encoder in enumerate(plan.encoders)
        ]
        if plan.form == "naive":
            own = [plan.encoders[0].silenced(own[0])]
        flat = torch.from_numpy(np.asarray(constant, dtype=np.float32).reshape(len(seeds), -1))
        return cls(plan, torch.cat([*own, torch.zeros(len(seeds), plan.n_linear), flat], dim=1))

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def buffers(self) -> Tensor:
        """Nothing, as there are no batch norms."""
        return self.parameters.detach().new_empty(len(self), 0)

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Parameters of each encoder, of the archetypes, and of B_0."""
        return torch.split(self.parameters, self.plan.sizes, dim=1)

    def __call__(self, z: Tensor) -> Tensor:
        """Return coefficients, (members, rows, outcomes, columns).

        Parameters
        ----------
        z : contexts, (rows, contexts), or (members, rows, contexts) of their own.
        """
        plan, (*own, archetypes, constant) = self.plan, self.parts
        z = z.expand(len(self), -1, -1) if z.ndim == 2 else z
        varying = plan.contract(plan.weights(own, z), archetypes)
        return (constant.unsqueeze(1) + varying).view(len(self), -1, plan.n_outcomes, plan.n_columns)

    def take(self, members: Tensor) -> "Surface":
        """Return copies of some members.

        Parameters
        ----------
        members : positions.
        """
        return replace(self, parameters=self.parameters.detach()[members])

    def with_parameters(self, parameters: Tensor) -> "Surface":
        """Return the same members with other parameters.

        Parameters
        ----------
        parameters : as many.
        """
        return replace(self, parameters=parameters)

    def settings(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return {**asdict(self.plan), "hidden": list(self.plan.hidden)}

    @classmethod
    def from_state(cls, parameters: np.ndarray, settings: Mapping[str, Any]) -> "Surface":
        """Make it again.

        Parameters
        ----------
        parameters : of all members.
        settings : what `settings` returned.
        """
        plan = Plan(**{**settings, "hidden": tuple(settings["hidden"])})
        return cls(plan, torch.from_numpy(np.array(parameters)))
