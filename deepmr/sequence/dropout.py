"""Monte Carlo dropout with masks that stay: a network and a mask are a member, the same for reference and edit."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from deepmr import checks
from deepmr.errors import InputError
from deepmr.sequence.dropout_sites import Site, copy_around, find_sites
from deepmr.sequence.ensemble import Ensemble


class FixedDropout(nn.Module):
    """Dropout that no longer draws: every sequence is multiplied with the same mask.

    Parameters
    ----------
    mask : of one sequence, 0 or 1 / (1 - p); a buffer, so it moves, converts and is saved with the network.
    p : probability with which its zeros were drawn.
    """

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor, *, p: float) -> None:
        super().__init__()
        self.p = p
        self.register_buffer("mask", mask)

    def forward(self, x: Float[torch.Tensor, "batch *sample"]) -> Float[torch.Tensor, "batch *sample"]:
        """Multiply with the mask."""
        return x * self.mask

    def extra_repr(self) -> str:
        """Say how it was drawn."""
        return f"p={self.p}"


def with_fixed_dropout(module: nn.Module, *, length: int, seed: int, n_members: int) -> list[nn.Module]:
    """Copy a network with every dropout module replaced by a mask that is drawn once.

    Parameters
    ----------
    module : network (batch, 4, length) -> (batch, tasks); it is not changed.
    length : bases of the sequences; a mask has the shape of what the dropout saw, hence fits one length.
    seed : of the masks; copy k draws from `mask_seed(seed, k)`.
    n_members : copies to make.

    Returns
    -------
    Copies in evaluation mode. They differ in their masks alone: weights and other buffers are the very tensors of
    `module`, so n copies need the memory of one, and training the network afterwards would change them all.

    Raises
    ------
    InputError
        When no dropout with p > 0 takes part; when one is used more than once in a forward pass (each use would draw
        for itself, and a module cannot tell its uses apart), in another way in evaluation than in training, or on
        tensors without a first axis for the batch; and when training draws random numbers anywhere else, such as by
        F.dropout, in attention or recurrent layers, which nothing outside the network's code can replace.

    Notes
    -----
    Dropout in training multiplies by m / (1 - p), m a Bernoulli(1 - p) variable for every element, or for every channel
    in Dropout1d, Dropout2d and Dropout3d. Drawn anew for every sequence, m would add the noise of two draws to the
    difference of edit and reference, more than most effects. With m fixed the difference is the effect in one thinned
    network, and the thinned networks are draws from the approximate posterior of Gal and Ghahramani.
    Dropout in place (`inplace=True`) is replaced by a product that leaves its input alone.

    References
    ----------
    Gal Y, Ghahramani Z (2016). Dropout as a Bayesian approximation: representing model uncertainty in deep learning.
    Proc ICML 48:1050-1059. arXiv:1506.02142

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(40, 2))
    >>> thinned = with_fixed_dropout(network, length=10, seed=0, n_members=3)
    >>> [copy[2].weight is network[2].weight for copy in thinned]
    [True, True, True]
    """
    checks.at_least("n_members", n_members, 1)
    checks.at_least("seed", seed, 0)
    sites = find_sites(module, length)
    return [_with_masks(module, sites, seed=mask_seed(seed, k)) for k in range(n_members)]


def _with_masks(module: nn.Module, sites: Sequence[Site], *, seed: int) -> nn.Module:
    rng = np.random.default_rng(seed)
    return copy_around(module, {id(site.module): _draw_mask(site, rng) for site in sites}).eval()


def _draw_mask(site: Site, rng: np.random.Generator) -> FixedDropout:
    scale = 1 / (1 - site.p) if site.p < 1 else 0.0
    mask = np.where(rng.random(site.shape) < site.p, 0.0, scale)
    return FixedDropout(torch.tensor(mask, dtype=site.dtype, device=site.device), p=site.p)


def mc_dropout_ensemble(ensemble: Ensemble, *, n_members: int, seed: int, length: int | None = None) -> Ensemble:
    """Make every member of an ensemble into several, each with a dropout mask of its own.

    Parameters
    ----------
    ensemble : networks with dropout; it is not changed.
    n_members : masks for each network.
    seed : of the masks, which differ between networks too.
    length : bases of the sequences; by default what the ensemble reads.

    Returns
    -------
    Members `<member>_mask<k>` in the order of networks, then masks, on the same device and with the same weights in
    memory. `mask_seed` of a member says which mask; `sha256` is of its weights' checksum and its mask, or stays
    empty.

    Raises
    ------
    InputError
        When the length is not known or not the ensemble's, or a network cannot be given masks (`with_fixed_dropout`).

    Notes
    -----
    The masks of one network say how unsure that network is. They share its weights: their errors are not independent
    as those of networks with other seeds are, and a thousand masks of one network are still one network.
    """
    size = ensemble.length if length is None else length
    if size is None:
        raise InputError("masks fit sequences of one length and the ensemble takes any: say which length")
    if ensemble.length not in (None, size):
        raise InputError(f"the ensemble reads sequences of {ensemble.length} bases; got length {size}")
    modules, members = [], []
    for j, (module, member) in enumerate(zip(ensemble.modules, ensemble.members, strict=True)):
        own = mask_seed(seed, j)
        try:
            modules += with_fixed_dropout(module, length=size, seed=own, n_members=n_members)
        except InputError as error:
            raise InputError(f"{member.name}: {error}") from error
        for k in range(n_members):
            drawn = mask_seed(own, k)
            sha256 = _identity(member.sha256, [drawn], size)
            members.append(replace(member, name=f"{member.name}_mask{k}", sha256=sha256, mask_seed=drawn))
    drawn_all = [member.mask_seed for member in members]
    return replace(
        ensemble,
        modules=tuple(modules),
        members=tuple(members),
        length=size,
        sha256=_identity(ensemble.sha256, drawn_all, size),
    )


def _identity(weights: str, seeds: Sequence[int | None], length: int) -> str:
    """Return the identity of weights with masks; empty where the weights have none and are known by their tensors."""
    return hashlib.sha256(f"{weights} masks {list(seeds)} {length}".encode()).hexdigest() if weights else ""


def mask_seed(seed: int, k: int) -> int:
    """Return the seed of the k-th mask, unrelated to those of other masks and other seeds."""
    return int(np.random.SeedSequence([seed, k]).generate_state(1)[0])
