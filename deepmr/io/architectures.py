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
from deepmr.sequence.published import PUBLISHED

GROUP = "deepmr.architectures"  # entry points of installed packages, trusted as much as their installation
_SHORT = {**ARCHITECTURES, **PUBLISHED}
_BUILT_IN = {f"{c.__module__}:{c.__qualname__}": c for c in _SHORT.values()}


def find_architecture(name: str, *, folder: Path | None = None, trust_code: bool = False) -> type[nn.Module]:
    """Return the class of an architecture.

    Parameters
    ----------
    name : paper_cnn, dilated, bpnet, chrombpnet, the name of an entry point in the group `deepmr.architectures`,
        `package.module:Class`, or `file.py:Class` with a file in `folder`.
    folder : where a file is looked for; the working directory by default.
    trust_code : import modules and execute files that neither DeepMR nor an entry point vouches for.

    Raises
    ------
    InputError
        When the name is unknown, is no network, or is code that would have to be trusted.
    """
    if name in _SHORT or name in _BUILT_IN:
        return _SHORT.get(name) or _BUILT_IN[name]
    registered = {key: point for point in entry_points(group=GROUP) for key in (point.name, point.value)}
    if name in registered:
        return _network(name, _load(f"architecture {name!r}", registered[name]))
    module, _, attribute = name.partition(":")
    known = [*_SHORT, *_BUILT_IN, *registered]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    hint = f"; did you mean {near[0]!r}?" if near else f"; built in are {', '.join([*_SHORT, *_BUILT_IN])}"
    if not module or not attribute.isidentifier():
        raise InputError(f"no architecture {name!r}{hint}")
    if module in {c.__module__ for c in _SHORT.values()}:
        raise InputError(f"no architecture {name!r}{hint}")
    return _network(
        name, load_code("architecture", name, folder=folder, trust_code=trust_code, hint=hint if near else "")
    )


def load_code(what: str, name: str, *, folder: Path | None, trust_code: bool, hint: str = "") -> object:
    """Import what `package.module:Name` or `file.py:Name` names, if code is trusted.

    Parameters
    ----------
    what : what the message calls it.
    name : where it is.
    folder : where a file is looked for; the working directory by default.
    trust_code : import the module or execute the file.
    hint : end of the message that asks for trust.

    Raises
    ------
    InputError
        When code would have to be trusted, or fails, or has nothing of that name.
    """
    module, _, attribute = name.partition(":")
    if not trust_code:
        raise InputError(
            f"{what} {name!r} is code that loading would execute; read it, then pass --trust-code "
            f"(in Python trust_code=True){hint}"
        )
    if module.endswith(".py"):
        return _from_file(f"{what} {name!r}", (folder or Path()) / module, attribute)
    return _load(f"{what} {name!r}", EntryPoint(name=attribute, value=name, group=GROUP))


def architecture_file(name: str, folder: Path) -> Path | None:
    """Return the file of an architecture or a scalar `file.py:Class`, None for one that is imported."""
    module = name.partition(":")[0]
    return folder / module if module.endswith(".py") else None


def architecture_name(architecture: type[nn.Module]) -> str:
    """Return the name `package.module:Class` under which a class is found again."""
    return f"{architecture.__module__}:{architecture.__qualname__}"


def _load(what: str, point: EntryPoint) -> object:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"{what} cannot be imported: {error}") from error


def _from_file(what: str, path: Path, attribute: str) -> object:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InputError(f"{what}: {path} cannot be read: {error.strerror}") from error
    module_name = f"deepmr_architecture_{hashlib.sha256(source).hexdigest()[:16]}"
    module = ModuleType(module_name)
    module.__file__ = str(path)
    sys.modules[module_name] = module  # dataclasses and pickle look their module up
    try:
        # Not by an import, which would run bytecode that lies beside the file: another code than the one that was read.
        exec(compile(source, str(path), "exec"), vars(module))  # noqa: S102 -- the user has asked for it
        return getattr(module, attribute)
    except Exception as error:  # whatever the file does wrong is an error of that input
        raise InputError(f"{what}: {path} fails: {type(error).__name__}: {error}") from error


def _network(name: str, found: object) -> type[nn.Module]:
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise InputError(f"architecture {name!r} must be a class derived from torch.nn.Module; it is {found!r}")
    return found
