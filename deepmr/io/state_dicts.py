"""State dicts that somebody else saved, read without running what a pickle may hold."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from deepmr.errors import InputError
from deepmr.io.ensemble_toml import PICKLES

NESTED = ("state_dict", "model_state_dict")  # where training frameworks keep the weights in a checkpoint


def find_state_dicts(paths: list[Path]) -> list[Path]:
    """Return files, and for a directory the PyTorch and safetensors files directly in it, sorted by name.

    Parameters
    ----------
    paths : files and directories.

    Raises
    ------
    InputError
        When one is not there, or a directory has no such file.
    """
    found = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix in {*PICKLES, ".safetensors"})
            if not inside:
                raise InputError(f"{path} holds no PyTorch file; looked for {', '.join(PICKLES)} and .safetensors")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"{path}: no such file")
    return found


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights in a PyTorch or safetensors file; code in it is refused, not run.

    Parameters
    ----------
    path : a state dict as `torch.save(module.state_dict(), path)` writes it, or a checkpoint with one under
        `state_dict` or `model_state_dict`.

    Raises
    ------
    InputError
        When the file holds anything but tensors, naming the classes it asks for, or cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds {_unsafe_globals(path)}, not only weights, and was not loaded: unpickling runs code; save "
            "module.state_dict() where the model comes from and import that"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path} is not a file of weights: {said}") from error
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, torch.Tensor]:
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path} holds {type(content).__name__}; needed a state dict")
    for key, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: {key!r} is {type(value).__name__}; a state dict holds tensors only")
    return dict(content)


def _unsafe_globals(path: Path) -> str:
    """Name what a checkpoint would import; listing runs nothing."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (RuntimeError, ValueError, pickle.UnpicklingError):
        names = []
    names = sorted(names, key=lambda name: (name.startswith("torch."), name))  # the model's own classes say most
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"Python objects ({shown})" if names else "Python objects"
