"""What an ensemble says is measured of its networks' outputs, as text and as modules."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from deepmr.errors import InputError
from deepmr.io.architectures import architecture_file, load_code
from deepmr.sequence.measured import Measured, Reducer
from deepmr.sequence.scalars import SCALARS, Tasks

HOW = "NAME, NAME:OUTPUT or a JSON object with scalar, output and options"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One scalar of one output.

    Attributes
    ----------
    scalar : tasks, log_count, profile_score, fixed_profile_score, logit, probability, or code of your own:
        `package.module:Name` or `file.py:Name`.
    output : number of the output that it reads, from 0.
    options : of the scalar, such as {"strands_per_task": 1}.
    """

    scalar: str
    output: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        """Return the measure as a table of `ensemble.toml`."""
        row: dict[str, Any] = {"scalar": self.scalar, "output": self.output}
        return row | ({"options": dict(self.options)} if self.options else {})


def parse_measure(text: str) -> Measure:
    """Read NAME, NAME:OUTPUT or a JSON object with the keys of `[[measure]]`.

    Parameters
    ----------
    text : such as `log_count:1`, `score.py:Score:0` or `{"scalar": "profile_score", "options": {...}}`.

    Raises
    ------
    InputError
        When it is none of these.
    """
    if text.lstrip().startswith("{"):
        try:
            return measure_of(json.loads(text), f"measure {text!r}")
        except json.JSONDecodeError as error:
            raise InputError(f"a measure must be {HOW}; got {text!r}: {error}") from error
    name, _, output = text.rpartition(":")
    if not output.isdecimal():
        name, output = text, "0"
    if not name:
        raise InputError(f"a measure must be {HOW}; got {text!r}")
    return Measure(scalar=name, output=int(output))


def measure_of(row: Any, where: str) -> Measure:
    """Check a table of `[[measure]]`.

    Parameters
    ----------
    row : the table.
    where : what messages call it.

    Raises
    ------
    InputError
        When a key is missing, unknown or of the wrong type.
    """
    if not isinstance(row, dict):
        raise InputError(f"{where} must be a table; got {row!r}")
    if unknown := set(row) - {"scalar", "output", "options"}:
        raise InputError(f"{where}: there is no key {min(unknown)!r}; there are scalar, output and options")
    scalar, output, options = row.get("scalar"), row.get("output", 0), row.get("options", {})
    if not isinstance(scalar, str) or not scalar:
        raise InputError(f"{where}: scalar must be a name; got {scalar!r}")
    if type(output) is not int or output < 0:
        raise InputError(f"{where}: output must be a number from 0; got {output!r}")
    if not isinstance(options, dict):
        raise InputError(f"{where}: options must be a table; got {options!r}")
    return Measure(scalar=scalar, output=output, options=options)


def measured(
    network: nn.Module,
    measures: Sequence[Measure],
    control_shape: Sequence[int] = (),
    *,
    folder: Path | None = None,
    trust_code: bool = False,
) -> nn.Module:
    """Return a network with what is measured of it; the network itself where nothing is said.

    Parameters
    ----------
    network : network to wrap.
    measures : in the order of the tasks.
    control_shape : of the zeros that the network takes as control tracks; its outputs are the tasks without measures.
    folder : where files of scalars are looked for; the working directory by default.
    trust_code : import modules and execute files of scalars that are not built in.

    Raises
    ------
    InputError
        When a scalar is unknown, does not take its options, or is code that would have to be trusted.
    """
    if not measures and not control_shape:
        return network
    scalars = [_scalar(measure, folder=folder, trust_code=trust_code) for measure in measures]
    return Measured(network, scalars or [Tasks()], control_shape)


def measure_files(measures: Sequence[Measure], folder: Path, *, code: Path | None = None) -> list[Path]:
    """Return the files that scalars `file.py:Name` are in.

    Parameters
    ----------
    measures : what is measured.
    folder : that the files are relative to.
    code : the architecture's file, which may be one of them.

    Raises
    ------
    InputError
        When two files have the same name: one would overwrite the other in an ensemble directory.
    """
    files = {file for measure in measures if (file := architecture_file(measure.scalar, folder))}
    every = files | ({code} if code else set())
    if len({file.name for file in every}) < len(every):
        raise InputError(f"files of code must have different names; got {', '.join(sorted(map(str, every)))}")
    return sorted(files)


def _scalar(measure: Measure, *, folder: Path | None, trust_code: bool) -> nn.Module:
    """Make the module of a measure."""
    name, options = measure.scalar, dict(measure.options)
    if name in SCALARS:
        return _call(SCALARS[name], name, {**options, "output": measure.output})
    module, _, attribute = name.partition(":")
    if not module or not attribute.isidentifier():
        near = difflib.get_close_matches(name, SCALARS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"built in are {', '.join(SCALARS)}"
        raise InputError(f"no scalar {name!r}; {hint}")
    found = load_code("scalar", name, folder=folder, trust_code=trust_code)
    if isinstance(found, type):
        found = _call(found, name, options)
    elif options:
        raise InputError(f"scalar {name!r} is no class, hence takes no options; got {', '.join(options)}")
    if not callable(found):
        raise InputError(f"scalar {name!r} must be a function, or a class of such; it is {found!r}")
    return Reducer(found, measure.output)


def _call(kind: Any, name: str, options: Mapping[str, Any]) -> Any:
    """Make an object, with an error of one line where it does not take the options."""
    try:
        return kind(**options)
    except InputError as error:
        raise InputError(f"scalar {name!r}: {error}") from error
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{key} = {value!r}" for key, value in options.items()) or "none"
        raise InputError(f"scalar {name!r} does not take its options, {given}: {error}") from error
