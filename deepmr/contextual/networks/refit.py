"""Archetypes solved for: given what weighs them, coefficients are linear in archetypes, so that ridge finds them."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deepmr.contextual.networks.samples import Samples
from deepmr.contextual.networks.surface import Surface
from deepmr.perceptrons.split import Split
from deepmr.perceptrons.training import Batch, Objective, Trained

_RIDGES = 10.0 ** np.arange(-12, 2)  # a sample, of what archetypes change from what training left
_LARGEST = 5e7  # numbers in the design of a member beyond which archetypes stay as trained


def refit_archetypes(
    trained: Trained[Surface], samples: Samples, split: Split, objective: Objective[Surface]
) -> Trained[Surface]:
    """Solve for archetypes and B_0 of every member on its samples; keep what its validation loss says is better.

    Parameters
    ----------
    trained : surfaces of continuous outcomes in float64, with archetypes.
    samples : all.
    split : of the members.
    objective : of the training.

    Notes
    -----
    Ridge is towards the trained archetypes, and as strong as the validation loss likes best. Where the error is small
    this ends what is left of a descent in the directions in which the loss is flat: the last step of variable
    projection.

    References
    ----------
    Golub and Pereyra (2003) doi:10.1088/0266-5611/19/2/201.
    """
    surface = trained.stack
    n_free = surface.plan.n_linear + surface.plan.tasks
    if split.training.shape[1] * surface.plan.n_outcomes * n_free > _LARGEST:
        return trained
    parameters, best = surface.parameters.clone(), trained.losses.clone()
    for k in range(len(surface)):
        member = torch.tensor([k])
        own, part = surface.take(member), split.take(member)
        watching = Batch(member, part.validation, part.validation_weights, False)
        for change in _changes(own, samples, part.training[0], part.training_weights[0].to(samples.y)):
            moved = own.parameters.clone()
            moved[0, -n_free:] += torch.from_numpy(change)
            judged = objective(own.with_parameters(moved), watching)[0]
            if judged < best[k]:
                best[k], parameters[k] = judged, moved[0]
    return replace(trained, stack=surface.with_parameters(parameters), losses=best)


def _changes(own: Surface, samples: Samples, rows: Tensor, weights: Tensor) -> Float[np.ndarray, "ridges free"]:
    """Return what ridge of each strength adds to archetypes and B_0 of one member."""
    x, plan = samples.x[rows], own.plan
    parts = own.parts
    root = torch.sqrt(weights.unsqueeze(1) * samples.precision[rows])
    with torch.no_grad():
        weighed = plan.weights(parts[:-2], samples.z[rows].unsqueeze(0))

        def column(archetypes: Tensor) -> Tensor:
            made = plan.contract(weighed, archetypes).view(len(rows), plan.n_outcomes, plan.n_columns)
            return (root * (made * x.unsqueeze(1)).sum(dim=2)).reshape(-1)

        columns = [column(unit.unsqueeze(0)) for unit in torch.eye(plan.n_linear, dtype=x.dtype)]
        for outcome in range(plan.n_outcomes):
            flat = x.new_zeros(len(rows), plan.n_outcomes, plan.n_columns)
            flat[:, outcome] = x
            columns += list((root.unsqueeze(2) * flat).reshape(-1, plan.n_columns).T)
        left = root * (samples.y[rows] - (own(samples.z[rows])[0] * x.unsqueeze(1)).sum(dim=2))
    design = torch.stack(columns, dim=1).numpy()
    u, s, vt = np.linalg.svd(design, full_matrices=False)
    along = u.T @ left.reshape(-1).numpy()
    strengths = _RIDGES[:, None] * float(weights.sum())
    return (s * along / (s**2 + strengths)) @ vt
