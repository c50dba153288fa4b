"""Scores of a profile: a network's logits over the positions of one or more strands, as one number a task.

A profile is (batch, strands, positions). The softmax is over all strands and positions of a task, as BPNet is trained.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import nn

from deepmr.errors import InputError
from deepmr.types import Scale

Start = int | Int[torch.Tensor, "edits"]


SMALL = 20.0  # change of a logit whose exponential is far from overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What the effects on a profile score need of the reference profiles, v being the logits minus their maximum.

    Attributes
    ----------
    v : logits minus the maximum of their group.
    weights, offset : e^v, and v minus the level of its task.
    mass, level : sum of e^v, and mean of v under the softmax.
    mass_left, mass_right : log of the sum of e^v left of a position, and from it on; strands together.
    moment_left, moment_right : the same of -v e^v.
    """

    v: Float[torch.Tensor, "loci strands positions"]
    weights: Float[torch.Tensor, "loci strands positions"]
    offset: Float[torch.Tensor, "loci strands positions"]
    mass: Float[torch.Tensor, "loci tasks"]
    level: Float[torch.Tensor, "loci tasks"]
    mass_left: Float[torch.Tensor, "loci tasks edges"]
    mass_right: Float[torch.Tensor, "loci tasks edges"]
    moment_left: Float[torch.Tensor, "loci tasks edges"]
    moment_right: Float[torch.Tensor, "loci tasks edges"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weight of every logit of the reference profiles in a fixed profile score."""

    weights: Float[torch.Tensor, "loci strands positions"]


class ProfileScore(nn.Module):
    """The profile score of BPNet: centred logits weighted by their softmax; high where reads pile up at few positions.

    Parameters
    ----------
    output : number of the output that is read.
    strands_per_task : strands that make one task; by default all.

    Notes
    -----
    S = sum_i p_i (z_i - mean z) with p = softmax(z). With v = z - max z, E = sum e^v, level V = sum v e^v / E, and
    z + d the logits of the edited sequence, the effect is

        sum_w e^v (d + (e^d - 1) (v - V + d)) / E' - sum_w d / n,

    E' = E + sum_w e^v (e^d - 1), both sums over the window w where d is not zero: small effects keep their digits. All
    is relative to the larger of the maxima before and after, so that logits of any size do. Where an edit takes away
    more than half of E, E' would lose digits: the level of the edited profile is then computed by itself, from the
    window and running sums over what is outside it.

    References
    ----------
    Avsec Z, Weilert M, Shrikumar A, et al. (2021). Base-resolution models of transcription-factor binding reveal soft
    motif syntax. Nat Genet 53:354-366. doi:10.1038/s41588-021-00782-6
    """

    relative: ClassVar[bool] = False
    scale: ClassVar[Scale] = "identity"

    def __init__(self, output: int = 0, strands_per_task: int | None = None) -> None:
        super().__init__()
        self.output, self.strands_per_task = output, _checked(strands_per_task)

    def forward(
        self, value: Float[torch.Tensor, "batch ..."], reference: Float[torch.Tensor, "batch ..."]
    ) -> Float[torch.Tensor, "batch tasks"]:
        """Return the scores."""
        z = _groups(value, self.strands_per_task).flatten(2)
        return (torch.softmax(z, dim=2) * (z - z.mean(dim=2, keepdim=True))).sum(dim=2)

    def prepare(self, reference: Float[torch.Tensor, "loci strands positions"]) -> References:
        """Compute once what depends on the reference."""
        z = _groups(reference, self.strands_per_task)
        v = z - z.amax(dim=(2, 3), keepdim=True)
        weights = torch.exp(v)
        mass = weights.sum(dim=(2, 3))
        log_mass = torch.logsumexp(v, dim=2)
        log_moment = torch.logsumexp(v + torch.log(-v), dim=2)
        level = (weights * v).sum(dim=(2, 3)) / mass
        return References(
            v=v.flatten(1, 2),
            weights=weights.flatten(1, 2),
            offset=(v - level[..., None, None]).flatten(1, 2),
            mass=mass,
            level=level,
            mass_left=_running(log_mass),
            mass_right=_running(log_mass.flip(2)).flip(2),
            moment_left=_running(log_moment),
            moment_right=_running(log_moment.flip(2)).flip(2),
        )

    def effect(
        self,
        reference: Float[torch.Tensor, "loci strands positions"] | References,
        delta: Float[torch.Tensor, "loci edits strands width"],
        start: Start,
    ) -> Float[torch.Tensor, "loci edits tasks"]:
        """Return the change of the scores.

        Parameters
        ----------
        reference : logits of the unedited sequences, or what `prepare` made of them.
        delta : change of the logits in a window, outside of which they do not change.
        start : first position of the window: of all edits, or of each.
        """
        known = reference if isinstance(reference, References) else self.prepare(reference)
        d = _tasks_of(delta, known.v.shape[1], self.strands_per_task)
        if d.shape[3] == 0:
            return d.new_zeros(d.shape[:3])
        mean = d.sum(dim=3) / (known.v.shape[1] * known.v.shape[2] / d.shape[2])
        small = self._small_change(known, d, start, delta.shape[3]) if d.device.type == "cpu" else None
        if small is not None:
            return small - mean
        stop = start + delta.shape[3]
        v = _tasks_of(_window(known.v, start, delta.shape[3]), known.v.shape[1], self.strands_per_task)
        log_mass = torch.logaddexp(_at(known.mass_left, start), _at(known.mass_right, stop))
        log_moment = torch.logaddexp(_at(known.moment_left, start), _at(known.moment_right, stop))
        # The level of the edited profile by itself, relative to its own maximum c.
        z = v + d
        c = torch.maximum(log_mass, z.amax(dim=3))
        new = torch.exp(z - c[..., None])
        level = (new * z).sum(dim=3) - torch.exp(log_moment - c)
        level = level / (new.sum(dim=3) + torch.exp(log_mass - c))
        # The difference of the levels, relative to the larger maximum of the two profiles.
        top = c.clamp(min=0)
        old = torch.exp(v - top[..., None])
        new *= torch.exp(c - top)[..., None]
        # e^(v + d) - e^v, for d > 0 as e^(v + d) (1 - e^-d): neither overflows.
        moved = torch.where(d > 0, new, old) * torch.expm1(-d.abs()) * -torch.sign(d)
        before, old_level = known.mass[:, None] * torch.exp(-top), known.level[:, None]
        mass = before + moved.sum(dim=3)
        change = (old * d + moved * (z - old_level[..., None])).sum(dim=3) / mass
        return torch.where(mass >= before / 2, change, level - old_level) - mean

    def _small_change(
        self, known: References, d: Float[torch.Tensor, "loci edits tasks width"], start: Start, width: int
    ) -> Float[torch.Tensor, "loci edits tasks"] | None:
        """Return the change of the levels by half the passes; None where an edit moves too much for that.

        On a GPU the question alone would make the host wait, so it is not asked there.
        """
        if not d.abs().amax() < SMALL:
            return None
        n_strands = known.v.shape[1]
        weights = _tasks_of(_window(known.weights, start, width), n_strands, self.strands_per_task)
        offset = _tasks_of(_window(known.offset, start, width), n_strands, self.strands_per_task)
        moved = torch.expm1(d).mul_(weights)
        before = known.mass[:, None]
        mass = before + moved.sum(dim=3)
        if not (mass >= before / 2).all():
            return None
        change = (moved + weights).mul_(d).addcmul_(moved, offset)
        return change.sum(dim=3) / mass

    def extra_repr(self) -> str:
        """Name the options."""
        return f"output={self.output}, strands_per_task={self.strands_per_task}"


class FixedProfileScore(nn.Module):
    """The profile score with the weights of the unedited sequence, which makes an effect linear in the logits' change.

    Parameters
    ----------
    output : number of the output that is read.
    strands_per_task : strands that make one task; by default all.

    Notes
    -----
    S = sum_i p_i (z_i - mean z) with p = softmax(reference), as contribution scores of BPNet take the softmax for a
    constant (cited in `ProfileScore`). An effect is sum_w (p - 1/n) d over the window w where the change d is not zero.
    """

    relative: ClassVar[bool] = True
    scale: ClassVar[Scale] = "identity"

    def __init__(self, output: int = 0, strands_per_task: int | None = None) -> None:
        super().__init__()
        self.output, self.strands_per_task = output, _checked(strands_per_task)

    def forward(
        self, value: Float[torch.Tensor, "batch ..."], reference: Float[torch.Tensor, "batch ..."]
    ) -> Float[torch.Tensor, "batch tasks"]:
        """Return the scores."""
        z = _groups(value, self.strands_per_task).flatten(2)
        weights = torch.softmax(_groups(reference, self.strands_per_task).flatten(2), dim=2)
        return (weights * (z - z.mean(dim=2, keepdim=True))).sum(dim=2)

    def prepare(self, reference: Float[torch.Tensor, "loci strands positions"]) -> Weights:
        """Compute the weight of every logit once."""
        z = _groups(reference, self.strands_per_task).flatten(2)
        weights = torch.softmax(z, dim=2) - 1 / z.shape[2]
        return Weights(weights=weights.reshape(reference.shape))

    def effect(
        self,
        reference: Float[torch.Tensor, "loci strands positions"] | Weights,
        delta: Float[torch.Tensor, "loci edits strands width"],
        start: Start,
    ) -> Float[torch.Tensor, "loci edits tasks"]:
        """Return the change of the scores.

        Parameters
        ----------
        reference : logits of the unedited sequences, or what `prepare` made of them.
        delta : change of the logits in a window, outside of which they do not change.
        start : first position of the window: of all edits, or of each.
        """
        known = (reference if isinstance(reference, Weights) else self.prepare(reference)).weights
        weights = _tasks_of(_window(known, start, delta.shape[3]), known.shape[1], self.strands_per_task)
        d = _tasks_of(delta, known.shape[1], self.strands_per_task)
        if weights.shape[1] == 1:  # one window for all edits
            return torch.einsum("ltw,letw->let", weights[:, 0], d)
        return (weights * d).sum(dim=3)

    def extra_repr(self) -> str:
        """Name the options."""
        return f"output={self.output}, strands_per_task={self.strands_per_task}"


def _checked(strands_per_task: int | None) -> int | None:
    """Return the option if it is a number from 1 or none."""
    if strands_per_task is not None and (type(strands_per_task) is not int or strands_per_task < 1):
        raise InputError(f"strands_per_task must be a number from 1; got {strands_per_task!r}")
    return strands_per_task


def _groups(profile: torch.Tensor, strands_per_task: int | None) -> torch.Tensor:
    """Return profiles as (batch, tasks, strands of a task, positions)."""
    if profile.ndim != 3:
        raise InputError(f"a profile score reads an output (batch, strands, positions); got {tuple(profile.shape)}")
    size = strands_per_task or profile.shape[1]
    if profile.shape[1] % size:
        raise InputError(f"strands_per_task must divide the number of strands, {profile.shape[1]}; got {size}")
    return profile.reshape(len(profile), -1, size, profile.shape[2])


def _tasks_of(window: torch.Tensor, n_strands: int, strands_per_task: int | None) -> torch.Tensor:
    """Return (loci, edits, strands, width) as (loci, edits, tasks, strands of a task x width)."""
    n_tasks = n_strands // (strands_per_task or n_strands)
    return window.reshape(*window.shape[:2], n_tasks, window.shape[2] // n_tasks * window.shape[3])


def _window(profile: torch.Tensor, start: Start, width: int) -> torch.Tensor:
    """Return (loci, edits or 1, strands, width) of (loci, strands, positions)."""
    if isinstance(start, int):
        return profile[:, None, :, start : start + width]
    positions = start[:, None] + torch.arange(width, device=start.device)
    return profile[:, :, positions].transpose(1, 2)


def _at(running: torch.Tensor, edge: Start) -> torch.Tensor:
    """Return (loci, edits or 1, tasks) of (loci, tasks, edges)."""
    return running[:, None, :, edge] if isinstance(edge, int) else running[:, :, edge].transpose(1, 2)


def _running(log_values: torch.Tensor) -> torch.Tensor:
    """Return the log of the sum of everything before each edge: (..., positions) -> (..., positions + 1)."""
    return nn.functional.pad(torch.logcumsumexp(log_values, dim=-1), (1, 0), value=-math.inf)
