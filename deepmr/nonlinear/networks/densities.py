"""Densities of the exposure given instruments: what a network's outputs stand for, and their likelihood."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Density = Literal["mixture", "gaussian", "ridge"]
_LEAST = 1e-3  # least standard deviation of a component, in those of the exposure


@dataclass(frozen=True, slots=True)
class Components:
    """Mixtures of normal distributions, (..., components).

    Attributes
    ----------
    log_shares : logarithms of the shares of the components.
    means, sds : of the components.
    """

    log_shares: Tensor
    means: Tensor
    sds: Tensor


def n_outputs(density: Density, n_components: int) -> int:
    """Return how many outputs a network needs.

    Parameters
    ----------
    density : its kind.
    n_components : of a mixture.
    """
    return 3 * n_components if density == "mixture" else 2


def read_components(outputs: Tensor, centre: Tensor, density: Density) -> Components:
    """Return what a network's outputs stand for.

    Parameters
    ----------
    outputs : (..., outputs); logits of the shares, means, and standard deviations before a softplus.
    centre : (...,), what the means are counted from.
    density : its kind.
    """
    if density == "mixture":
        logits, means, raw = outputs.chunk(3, dim=-1)
        log_shares = torch.log_softmax(logits, dim=-1)
    else:
        means, raw = outputs.chunk(2, dim=-1)
        log_shares = torch.zeros_like(means)
    apart = torch.linspace(-1, 1, means.shape[-1] + 2)[1:-1]  # components start apart, or they would stay the same
    return Components(log_shares, apart + centre[..., None] + means, functional.softplus(raw) + _LEAST)


def minus_log_density(x: Tensor, components: Components) -> Tensor:
    """Return minus the logarithm of the density of every value: one number a row.

    Parameters
    ----------
    x : (...,) values.
    components : of the rows' mixtures.
    """
    standardised = (x[..., None] - components.means) / components.sds
    log_normal = -0.5 * standardised**2 - torch.log(components.sds) - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(components.log_shares + log_normal, dim=-1)
