"""Where a network has dropout, and whether masks can stand for it: found by running it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd as Dropout

from deepmr.errors import InputError
from deepmr.precision import full_precision
from deepmr.sequence.ensemble import device_of
from deepmr.sequence.onehot import one_hot

PRODUCTS = {kind.forward for kind in (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)}
WITHOUT_BATCH = {nn.Dropout1d.forward: 2, nn.Dropout3d.forward: 4}  # axes of what PyTorch takes for one sequence
BATCHES = (2, 3)  # two sizes tell the axis of the batch from axes that happen to be as long
TOLERANCE = 1e-4  # of the largest output: above rounding, where a device adds in another order
HINT = "give every use an nn.Dropout of its own; the weights stay as they are"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A dropout module that takes part, and what its mask must be like."""

    module: Dropout
    p: float
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


class _Recorder(nn.Module):
    """Stands in for a dropout module and notes what it is given.

    A hook would note it too, but transformer layers that have hooks take another path than those that have none.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p  # some networks read it
        self.shapes: list[tuple[int, ...]] = []
        self.dtype, self.device = torch.float32, torch.device("cpu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(x.shape))
        self.dtype, self.device = x.dtype, x.device
        return x


def find_sites(module: nn.Module, length: int) -> list[Site]:
    """Run a network to find the dropout modules that take part and the shapes of their masks.

    Parameters
    ----------
    module : network (batch, 4, length) -> (batch, tasks); it is not changed.
    length : bases of a sequence.

    Raises
    ------
    InputError
        When there is none, or when masks could not stand for all that is random in training.
    """
    active = _active_dropout(module)
    recorders = {name: _Recorder(layer.p) for name, layer in active.items()}
    stand_ins = {id(layer): recorders[name] for name, layer in active.items()}
    _refuse_other_randomness(module, stand_ins, length)
    trained = {name: len(recorder.shapes) for name, recorder in recorders.items()}
    for recorder in recorders.values():
        recorder.shapes.clear()
    probe = copy_around(module, stand_ins).eval()
    for size in BATCHES:
        _run(probe, size, length)
    sites = []
    for name, recorder in recorders.items():
        used, passes = len(recorder.shapes), len(BATCHES)
        if used != trained[name]:
            raise InputError(
                f"dropout {name!r} is used {trained[name] / passes:g} times in a forward pass in training mode "
                f"but {used / passes:g} times in evaluation mode"
            )
        if used > passes:
            raise InputError(
                f"dropout {name!r} is used {used / passes:g} times in a forward pass, and each needs a mask: {HINT}"
            )
        if used:
            shape = _mask_shape(name, active[name], *recorder.shapes)
            site = Site(module=active[name], p=recorder.p, shape=shape, dtype=recorder.dtype, device=recorder.device)
            sites.append(site)
    if not sites:
        raise InputError("the network has no dropout with p > 0 in its forward pass; needed at least one nn.Dropout")
    return sites


def _active_dropout(module: nn.Module) -> dict[str, Dropout]:
    """Return the dropout modules with p > 0 by name; a class with a forward of its own is not taken for one."""
    active = {}
    for name, layer in module.named_modules():
        if not isinstance(layer, Dropout) or layer.p == 0:
            continue
        if isinstance(layer, nn.AlphaDropout | nn.FeatureAlphaDropout):
            raise InputError(f"dropout {name!r} must be a product with a mask; {type(layer).__name__} shifts too")
        if type(layer).forward in PRODUCTS:
            active[name] = layer
    return active


def _refuse_other_randomness(module: nn.Module, stand_ins: Mapping[int, nn.Module], length: int) -> None:
    """Raise `InputError` when the network without its dropout modules is still random in training mode.

    Two passes on the same sequences differ, or the generator has moved: a rare draw may well change nothing.
    """
    device = device_of(module)
    outputs = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        before = _generator_state(device)
        for _ in BATCHES:
            probe = copy.deepcopy(module, dict(stand_ins)).train()  # a full copy: training changes buffers
            outputs.append(_run(probe, BATCHES[0], length))
        moved = not torch.equal(before, _generator_state(device))
    first, second = outputs
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor) and first.numel():
        off = (first - second).abs().max()
        moved |= bool(off > TOLERANCE * first.abs().max())
    if moved:
        raise InputError(
            "the network draws random numbers in training outside of nn.Dropout modules, such as by F.dropout, which "
            f"no mask can replace: {HINT}"
        )


def _generator_state(device: torch.device) -> torch.Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _run(module: nn.Module, batch: int, length: int) -> object:
    codes = np.random.default_rng(batch).integers(0, 4, size=(batch, length), dtype=np.uint8)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    x = one_hot(torch.tensor(codes, device=device_of(module)), dtype=dtype)
    with torch.inference_mode(), full_precision():
        try:
            return module(x)
        except (RuntimeError, ValueError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            mode = "training" if module.training else "evaluation"
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(f"the network cannot read {tuple(x.shape)} in {mode} mode: {first}") from error


def _mask_shape(name: str, layer: Dropout, small: tuple[int, ...], large: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the mask of one sequence, from what the layer saw of batches of two sizes."""
    if (small[:1], large[:1]) != ((BATCHES[0],), (BATCHES[1],)) or small[1:] != large[1:]:
        raise InputError(
            f"dropout {name!r} must see tensors (batch, ...); for {BATCHES[0]} and {BATCHES[1]} sequences it saw "
            f"{small} and {large}"
        )
    sample = small[1:]
    if type(layer).forward is nn.Dropout.forward:
        return sample
    if len(small) == WITHOUT_BATCH.get(type(layer).forward):
        raise InputError(
            f"dropout {name!r} must not drop whole sequences; {type(layer).__name__} does, of a tensor {small}"
        )
    return (*sample[:1], *(1 for _ in sample[1:]))


def copy_around(module: nn.Module, stand_ins: Mapping[int, nn.Module]) -> nn.Module:
    """Copy a network but none of its tensors, with other modules in the place of some.

    Parameters
    ----------
    module : network; it is not changed.
    stand_ins : what takes the place of a module, by the `id` of that module, wherever it is referred to.
    """
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, {**shared, **stand_ins})
