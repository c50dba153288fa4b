"""Configurations of sweeps: TOML, or the JSON of ml-mr."""

import inspect
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.iv_data import read_iv_data
from deepmr.io.sweep_parameters import SweepParameter, Value, check_parameters, make_runs, read_parameter
from deepmr.nonlinear import method_class

Sampler = Literal["random", "tpe"]
MOMENT = "projected_moment"
PATHS = ("file", "genotypes")
SECTIONS = ("sweep", "dataset", "outcome_dataset", "parameters")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfig:
    """A sweep: what is fitted to which data, what varies, and what is compared.

    Attributes
    ----------
    methods : one, or several that are compared.
    folder : for the study and the runs.
    dataset, outcome_dataset : `file` and the options of `read_iv_data`; the second None where there is one sample.
    parameters : what varies.
    max_runs : most runs.
    seed : of draws, of the held-out samples and of the fits.
    metric : what is least in the best run: "projected_moment", or a loss or a diagnostic of the method by its name.
    sampler : of parameters that are drawn: "random" beforehand, or "tpe" from what earlier runs have shown.
    held_out : share of the samples that runs are compared on and not fitted to.
    n_folds : of a cross-validation in place of held-out samples; None for those.
    """

    methods: tuple[str, ...]
    folder: Path
    dataset: Mapping[str, Any]
    outcome_dataset: Mapping[str, Any] | None = None
    parameters: tuple[SweepParameter, ...] = ()
    max_runs: int = 10_000
    seed: int = 0
    metric: str = MOMENT
    sampler: Sampler = "random"
    held_out: float = 0.2
    n_folds: int | None = None

    @property
    def adaptive(self) -> bool:
        """Whether what a run tries depends on the runs before it."""
        return self.sampler == "tpe" and any(one.drawn for one in self.parameters)


def read_sweep_config(path: Path) -> SweepConfig:
    """Read a configuration and check it.

    Parameters
    ----------
    path
        TOML file, or a JSON file as ml-mr takes it. Paths in it are relative to its folder.

    Raises
    ------
    InputError
        When it cannot be read, or says something that cannot be done; every parameter is checked against the options of
        the method.
    """
    content = _read(path)
    if path.suffix == ".json":
        from deepmr.io.sweep_ml_mr import translate_ml_mr

        content = translate_ml_mr(content, where=str(path))
    for name in content:
        if name not in SECTIONS:
            raise InputError(
                f"{path}: no section [{name}]{checks.meant(name, SECTIONS)}; it takes {', '.join(SECTIONS)}"
            )
    sweep = _section(content, "sweep", path)
    methods = _methods(sweep, path)
    parameters = content.get("parameters", [])
    if not (isinstance(parameters, list) and all(isinstance(one, dict) for one in parameters)):
        raise InputError(f"{path}: parameters are sections [[parameters]], one a parameter")
    read = tuple(read_parameter(one, where=f"{path}: parameter {k}") for k, one in enumerate(parameters, 1))
    check_parameters(read, methods, where=str(path))
    dataset = _dataset(_section(content, "dataset", path), "dataset", path)
    second = None
    if "outcome_dataset" in content:
        shared = ("outcome", "instruments", "covariates", "outcome_type", "separator")
        given = _section(content, "outcome_dataset", path)
        given = {name: dataset[name] for name in shared if name in dataset} | dict(given)
        second = _dataset(given, "outcome_dataset", path)
    config = SweepConfig(
        methods=methods,
        folder=path.parent / f"{path.stem}_sweep",
        dataset=dataset,
        outcome_dataset=second,
        parameters=read,
    )
    return _with_sweep(config, sweep, path)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise InputError(f"{path}: cannot be read: {reason}") from error
    try:
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise InputError(f"{path}: not a {kind} file: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold sections; it holds a {type(content).__name__}")
    return content


def _section(content: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    found = content.get(name)
    if not isinstance(found, dict):
        raise InputError(f"{path}: needs a section [{name}]")
    return found


def _methods(sweep: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    found = sweep.get("method", "sieve")
    methods = tuple(found) if isinstance(found, list) else (found,)
    if not methods or not all(isinstance(one, str) for one in methods):
        raise InputError(f"{path}: method must be a name or a list of names; got {found!r}")
    checks.unique(f"{path}: method", methods)
    for one in methods:
        try:
            method_class(one)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    return methods


def _with_sweep(config: SweepConfig, sweep: Mapping[str, Any], path: Path) -> SweepConfig:
    """Add what section [sweep] says."""
    kinds: dict[str, tuple[type, ...]] = {
        "max_runs": (int,),
        "seed": (int,),
        "metric": (str,),
        "sampler": (str,),
        "held_out": (float, int),
        "n_folds": (int,),
        "folder": (str,),
    }
    known = ("method", *kinds)
    chosen: dict[str, Any] = {}
    for name, value in sweep.items():
        if name not in known:
            raise InputError(f"{path}: [sweep] has no {name!r}{checks.meant(name, known)}; it has {', '.join(known)}")
        if name == "method":
            continue
        if isinstance(value, bool) or not isinstance(value, kinds[name]):
            raise InputError(f"{path}: [sweep] {name} must be {_words(kinds[name])}; got {value!r}")
        chosen[name] = value
    if "folder" in chosen:
        chosen["folder"] = path.parent / chosen["folder"]
    chosen["held_out"] = float(chosen.get("held_out", config.held_out))
    try:
        checks.at_least("max_runs", chosen.get("max_runs"), 1)
        checks.at_least("seed", chosen.get("seed"), 0)
        checks.at_least("n_folds", chosen.get("n_folds"), 2)
        checks.one_of("sampler", chosen.get("sampler", "random"), get_args(Sampler))
    except InputError as error:
        raise InputError(f"{path}: [sweep] {error}") from error
    if not 0.01 <= chosen["held_out"] <= 0.5:
        raise InputError(f"{path}: [sweep] held_out must be from 0.01 to 0.5; got {chosen['held_out']:g}")
    if any(one.drawn for one in config.parameters) and "max_runs" not in chosen:
        raise InputError(f"{path}: [sweep] needs max_runs, as values are drawn at random")
    return replace(config, **chosen)


def _words(kinds: Sequence[type]) -> str:
    return {int: "a whole number", str: "text"}.get(kinds[0], "a number")


def _dataset(section: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """Check a section that says which columns of which file are what."""
    known = ["file", *list(inspect.signature(read_iv_data).parameters)[1:]]
    hints = get_type_hints(read_iv_data)
    if "file" not in section:
        raise InputError(f"{path}: [{name}] needs file, a table with a row a sample")
    found: dict[str, Any] = {"exposure": None, "outcome": None, "instruments": []}
    for key, value in section.items():
        if key not in known:
            raise InputError(f"{path}: [{name}] has no {key!r}{checks.meant(key, known)}; it has {', '.join(known)}")
        several = key in ("instruments", "covariates")
        if several and isinstance(value, str):
            value = [value]
        good = (
            isinstance(value, list) and all(isinstance(one, str) for one in value)
            if several
            else isinstance(value, str)
        )
        if not good:
            raise InputError(f"{path}: [{name}] {key} must be {'names' if several else 'text'}; got {value!r}")
        choices = get_args(hints[key]) if get_origin(hints.get(key)) is Literal else None
        if choices:
            checks.one_of(f"{path}: [{name}] {key}", value, choices)
        found[key] = str((path.parent / value).resolve()) if key in PATHS else value
    return found


def config_to_json(config: SweepConfig) -> dict[str, Any]:
    """Return all of a configuration as JSON holds it; the folder is where the study is.

    Parameters
    ----------
    config : any.
    """
    found = asdict(config)
    del found["folder"]
    return json.loads(json.dumps(found))


def config_from_json(content: Mapping[str, Any], folder: Path) -> SweepConfig:
    """Return a configuration from what `config_to_json` made of it.

    Parameters
    ----------
    content : what was stored.
    folder : of the study.
    """
    parameters = tuple(
        SweepParameter(**{**one, "values": tuple(one["values"]), "methods": tuple(one["methods"])})
        for one in content["parameters"]
    )
    given = {**content, "methods": tuple(content["methods"]), "parameters": parameters}
    return SweepConfig(folder=folder, **given)


def sweep_runs(config: SweepConfig) -> list[dict[str, Value]]:
    """Return the parameters of every run; where they are chosen as the sweep goes, so many runs without any.

    Parameters
    ----------
    config : of the sweep.
    """
    if config.adaptive:
        return [{}] * config.max_runs
    return make_runs(config.parameters, config.methods, max_runs=config.max_runs, seed=config.seed)
