"""`deepmr run`: the steps of a TOML file, one section a command."""

import difflib
import importlib
import inspect
import json
import logging
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Parameter

from deepmr.commands import COMMANDS
from deepmr.commands.mr_gwas import named_file
from deepmr.errors import InputError
from deepmr.io.files import atomic_path
from deepmr.io.provenance import provenance

log = logging.getLogger(__name__)

PREPARING = ("simulate", "train", "ism", "info")  # steps that find no effects
RESULTS = ("warnings", "effects", "pooled", "estimand", "verdict", "estimates", "report")  # that a flow ends with
GWAS_FILES = ("exposure", "outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of a flow with its checked options."""

    verb: str
    function: Callable[..., dict[str, object]]
    options: dict[str, Any]


def run(flow: Path, *, overwrite: bool = False) -> dict[str, object]:
    """Run the steps that a TOML file lists.

    A section is a command, a key an option with underscores, in the order of the file; `[[mr]]` runs a command
    several times. Paths are relative to the file. A manifest with versions, options, checksums of the inputs, times
    and summaries is written beside the file, `<flow>.manifest.json`.

    Parameters
    ----------
    flow
        TOML file, one section a command.
    overwrite
        Replace results that are there.

    Returns
    -------
    dict
        Steps with their seconds, what they found (effects, what is thought of them, where the page is), and the
        manifest's path.

    Raises
    ------
    InputError
        When the file cannot be read, or a section or option is unknown or has a wrong value. All sections are checked
        before the first one runs.
    """
    steps = read_flow(flow)
    manifest = flow.with_suffix(".manifest.json")
    done: list[dict[str, Any]] = []
    rows: list[dict[str, object]] = []
    for number, step in enumerate(steps, 1):
        log.info("step %d of %d: %s", number, len(steps), step.verb)
        options = dict(step.options)
        if overwrite and "overwrite" in inspect.signature(step.function).parameters:
            options["overwrite"] = True
        inputs = _files(step.verb, options)
        start = time.perf_counter()
        summary = step.function(**options)
        seconds = round(time.perf_counter() - start, 1)
        record = provenance(step.verb, options=options, inputs=inputs, seed=options.get("seed"))
        done.append({"command": step.verb, "seconds": seconds, "provenance": record, "summary": summary})
        rows.append({"step": step.verb, "seconds": seconds})
        with atomic_path(manifest) as temporary:
            text = json.dumps({"format": "deepmr-manifest", "flow": flow.name, "steps": done}, indent=2, default=str)
            temporary.write_text(text + "\n")
    return {"steps": rows, **_headline(done), "manifest": str(manifest)}


def _headline(done: list[dict[str, Any]]) -> dict[str, object]:
    """Return what the steps found, of each kind of result the last.

    Tables of every locus or variant stay in the manifest.
    """
    found: dict[str, object] = {}
    for step in done:
        if step["command"] not in PREPARING:
            found |= {name: step["summary"][name] for name in RESULTS if step["summary"].get(name)}
    if "effects" in found:
        found.pop("pooled", None)
    return {name: found[name] for name in RESULTS if name in found}


def _reads_gwas(verb: str, options: Mapping[str, Any]) -> bool:
    """Return whether exposures and outcomes are files, and not tasks of an effects file."""
    return verb == "mr" and options.get("effects") is None


def _placed(word: str, folder: Path) -> str:
    """Return FILE or NAME=FILE with the file in a folder."""
    name, path = named_file(word, folder)
    return str(path) if name is None else f"{name}={path}"


def _files(verb: str, options: Mapping[str, Any]) -> dict[str, Path]:
    """Return the files among the options by name; of GWAS results numbered from 1, as `mr` itself records them."""
    found = {name: value for name, value in options.items() if isinstance(value, Path) and value.is_file()}
    if _reads_gwas(verb, options):
        words = [(f"{name}_{k}", one) for name in GWAS_FILES for k, one in enumerate(options.get(name, []), 1)]
        found |= {name: named_file(word)[1] for name, word in words}
    return found


def read_flow(flow: Path) -> list[Step]:
    """Read and check a flow file.

    Parameters
    ----------
    flow
        TOML file, one section a command.

    Returns
    -------
    list of Step
        Steps in the order of the file.

    Raises
    ------
    InputError
        When the file, a section or an option is wrong.
    """
    try:
        content = tomllib.loads(flow.read_text())
    except OSError as error:
        raise InputError(f"{flow}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{flow}: not a TOML file: {error}") from error
    if not content:
        raise InputError(f"{flow}: has no sections; needed one a command, such as [ism]")
    steps = []
    for verb, value in content.items():
        if verb not in COMMANDS or verb in {"run", "demo"}:
            known = sorted(set(COMMANDS) - {"run", "demo"})
            near = difflib.get_close_matches(verb, known, n=1)
            hint = f"did you mean [{near[0]}]?" if near else f"use one of {', '.join(known)}"
            raise InputError(f"{flow}: no command [{verb}]; {hint}")
        sections = value if isinstance(value, list) else [value]
        if not all(isinstance(section, dict) for section in sections):
            raise InputError(f"{flow}: {verb} must be a section, [{verb}]")
        steps += [_step(flow, verb, section) for section in sections]
    return steps


def _step(flow: Path, verb: str, section: dict[str, Any]) -> Step:
    """Check one section by the command line's own rules, so that file and command line cannot differ."""
    module, _, name = COMMANDS[verb][0].partition(":")
    function = getattr(importlib.import_module(module), name)
    parameters = inspect.signature(function).parameters
    for key in section:
        if key not in parameters:
            near = difflib.get_close_matches(key, parameters, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(parameters)}"
            raise InputError(f"{flow}: [{verb}] has no option {key!r}; {hint}")
    app = App(default_parameter=Parameter(negative_iterable=(), consume_multiple=True))
    app.default(function)
    try:
        _, bound, _ = app.parse_args(_tokens(section), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise InputError(f"{flow}: [{verb}]: {' '.join(str(error).split())}") from error
    options = {name: _at(flow.parent, value) for name, value in bound.arguments.items()}
    if _reads_gwas(verb, options):
        options |= {
            name: [_placed(one, flow.parent) for one in options[name]] for name in GWAS_FILES if name in options
        }
    return Step(verb=verb, function=function, options=options)


def _tokens(section: dict[str, Any]) -> list[str]:
    """Return the options as the command line would spell them."""
    tokens = []
    for key, value in section.items():
        option = key.strip("_").replace("_", "-")
        if isinstance(value, bool):
            tokens.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, list):
            tokens += [f"--{option}", *map(str, value)]
        else:
            tokens += [f"--{option}={value}"]
    return tokens


def _at(folder: Path, value: Any) -> Any:
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, list | tuple):
        return type(value)(_at(folder, item) for item in value)
    return value
