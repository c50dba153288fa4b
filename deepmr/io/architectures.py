"""Names of architectures -> classes. Importing code that a file names executes it, hence only on request."""

import difflib
import hashlib
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from torch import nn

from deepmr.errors import InputError
from deepmr.sequence.models import ARCHITECTURES

GROUP = "deepmr.architectures"  # entry points of installed packages, trusted as much as their installation
_BUILT_IN = {f"{c.__module__}:{c.__qualname__}": c for c in ARCHITECTURES.values()}


def find_architecture(name: str, *, folder: Path | None = None, trust_code: bool = False) -> type[nn.Module]:
    """Return the class of an architecture.

    Parameters
    ----------
    name : paper_cnn, dilated, the name of an entry point in the group `deepmr.architectures`, `package.module:Class`,
        or `file.py:Class` with a file in `folder`.
    folder : where a file is looked for; the working directory by default.
    trust_code : import modules and execute files that neither DeepMR nor an entry point vouches for.

    Raises
    ------
    InputError
        When the name is unknown, is no network, or is code that would have to be trusted.
    """
    if name in ARCHITECTURES or name in _BUILT_IN:
        return ARCHITECTURES.get(name) or _BUILT_IN[name]
    registered = {key: point for point in entry_points(group=GROUP) for key in (point.name, point.value)}
    if name in registered:
        return _network(name, _load(name, registered[name]))
    module, _, attribute = name.partition(":")
    known = [*ARCHITECTURES, *_BUILT_IN, *registered]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    hint = f"; did you mean {near[0]!r}?" if near else f"; built in are {', '.join([*ARCHITECTURES, *_BUILT_IN])}"
    if not module or not attribute.isidentifier():
        raise InputError(f"no architecture {name!r}{hint}")
    if module == "deepmr.sequence.models":
        raise InputError(f"no architecture {name!r}{hint}")
    if not trust_code:
        raise InputError(
            f"architecture {name!r} is code that loading would execute; read it, then pass --trust-code "
            f"(in Python trust_code=True){hint if near else ''}"
        )
    if module.endswith(".py"):
        return _network(name, _from_file(name, (folder or Path()) / module, attribute))
    point = EntryPoint(name=attribute, value=name, group=GROUP)
    return _network(name, _load(name, point))


def architecture_file(name: str, folder: Path) -> Path | None:
    """Return the file of an architecture `file.py:Class`, None for one that is imported."""
    module = name.partition(":")[0]
    return folder / module if module.endswith(".py") else None


def architecture_name(architecture: type[nn.Module]) -> str:
    """Return the name `package.module:Class` under which a class is found again."""
    return f"{architecture.__module__}:{architecture.__qualname__}"


def _load(name: str, point: EntryPoint) -> object:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"architecture {name!r} cannot be imported: {error}") from error


def _from_file(name: str, path: Path, attribute: str) -> object:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InputError(f"architecture {name!r}: {path} cannot be read: {error.strerror}") from error
    module_name = f"deepmr_architecture_{hashlib.sha256(source).hexdigest()[:16]}"
    module = ModuleType(module_name)
    module.__file__ = str(path)
    sys.modules[module_name] = module  # dataclasses and pickle look their module up
    try:
        # Not by an import, which would run bytecode that lies beside the file: another code than the one that was read.
        exec(compile(source, str(path), "exec"), vars(module))  # noqa: S102 -- the user has asked for it
        return getattr(module, attribute)
    except Exception as error:  # whatever the file does wrong is an error of that input
        raise InputError(f"architecture {name!r}: {path} fails: {type(error).__name__}: {error}") from error


def _network(name: str, found: object) -> type[nn.Module]:
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise InputError(f"architecture {name!r} must be a class derived from torch.nn.Module; it is {found!r}")
    return found
