"""Sweep configurations of ml-mr as ours: the same sections under other names."""

import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from deepmr import checks
from deepmr.errors import InputError
from deepmr.nonlinear import METHODS, method_class

log = logging.getLogger(__name__)

METHOD_NAMES = {
    "quantile_iv": "quantile_iv",
    "deep_iv": "deep_iv",
    "dfiv": "dfiv",
    "delivr": "delivr",
    "2sls": "tsls",
    "doubly_ranked": "doubly_ranked",
    "logistic_control_function": "logistic_control_function",
}
SWEEP_NAMES = {"max_runs": "max_runs", "sweep_directory": "folder", "model": "method"}
DATASET_NAMES = {
    "filename": "file",
    "sep": "separator",
    "exposure": "exposure",
    "outcome": "outcome",
    "instruments": "instruments",
    "covariables": "covariates",
    "sampling_weights": "weight",
}
SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon", " ": "blank"}
# Options: the first name here that the method has counts; the name of ml-mr itself comes before them.
_NETWORK = {  # of either stage, after exposure_ or outcome_
    "max_epochs": "epochs",
    "add_input_batchnorm": "input_batch_norm",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "weight_decay": "weight_decay",
    "hidden": "hidden",
}
_OTHERS = {
    "nmqn": "non_crossing",
    "n_gaussians": "n_components",
    "exposure_network_type": "density",
    "validation_proportion": "validation_share",
    "max_epochs": "epochs",
    "q": "n_strata",
}
_VALUES = {"density": {"mixture_density_net": "mixture", "gaussian_net": "gaussian"}}
DROPPED = {
    "exposure_optimizer": "there, too, the optimiser was always Adam",
    "outcome_optimizer": "there, too, the optimiser was always Adam",
    "nmqn_penalty_lambda": "quantiles that do not cross are so by construction here",
    "resample": "bootstrap replicates are the option n_boot here",
    "fast": "runs of a sweep draw no figures",
    "accelerator": "runs of a sweep use CPUs",
    "wandb_project": "that is --wandb of deepmr iv sweep",
}


def translate_ml_mr(content: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return a configuration of ml-mr with the sections and names of ours.

    Parameters
    ----------
    content : what the JSON file holds.
    where : the file, for messages.

    Raises
    ------
    InputError
        For what has no counterpart here.
    """
    for name in content:
        _check_name(name, ("sweep", "dataset", "stage2_dataset", "parameters"), f"{where}: the configuration")
    sweep = _renamed(content.get("sweep", {}), SWEEP_NAMES, f"{where}: sweep")
    said = str(sweep.get("method", ""))
    if said not in METHOD_NAMES:
        raise InputError(
            f"{where}: model must be one of {', '.join(METHOD_NAMES)}; got {said!r}{checks.meant(said, METHOD_NAMES)}"
        )
    method = METHOD_NAMES[said]
    if method not in METHODS:
        raise InputError(f"{where}: there is no method for model {said}; there are {', '.join(METHODS)}")
    found: dict[str, Any] = {"sweep": {"max_runs": 10_000, **sweep, "method": method}}
    for theirs, ours in (("dataset", "dataset"), ("stage2_dataset", "outcome_dataset")):
        if content.get(theirs) is not None:
            found[ours] = _dataset(content[theirs], f"{where}: {theirs}")
    parameters = content.get("parameters", [])
    if not (isinstance(parameters, list) and all(isinstance(one, dict) for one in parameters)):
        raise InputError(f"{where}: parameters must be a list of objects, one a parameter")
    found["parameters"] = [_parameter(one, method, where) for one in _kept(parameters, where)]
    return found


def _kept(parameters: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    """Leave out what makes no difference here, and say so."""
    for one in parameters:
        if one.get("name") in DROPPED:
            log.warning("%s: parameter %s is left out: %s", where, one["name"], DROPPED[one["name"]])
    return [one for one in parameters if one.get("name") not in DROPPED]


def _parameter(section: Mapping[str, Any], method: str, where: str) -> dict[str, Any]:
    found = {**section, "name": _option(str(section.get("name")), method, where)}
    values = _VALUES.get(found["name"], {})
    if isinstance(found.get("values"), list):
        found["values"] = [values.get(one, one) if isinstance(one, str) else one for one in found["values"]]
    if isinstance(found.get("value"), str):
        found["value"] = values.get(found["value"], found["value"])
    return found


def _check_name(name: str, known: tuple[str, ...], what: str) -> None:
    if name not in known:
        raise InputError(f"{what} has no {name!r}{checks.meant(name, known)}; it has {', '.join(known)}")


def _renamed(section: Any, names: Mapping[str, str], what: str) -> dict[str, Any]:
    if not isinstance(section, dict):
        raise InputError(f"{what} must be an object; got {section!r}")
    for name in section:
        _check_name(name, tuple(names), what)
    return {names[name]: value for name, value in section.items() if value is not None}


def _dataset(section: Any, what: str) -> dict[str, Any]:
    found = _renamed(section, DATASET_NAMES, what)
    if "separator" in found:
        if found["separator"] not in SEPARATORS:
            raise InputError(f"{what}: sep must be a tab, comma, semicolon or blank; got {found['separator']!r}")
        found["separator"] = SEPARATORS[found["separator"]]
    return found


def _option(name: str, method: str, where: str) -> str:
    """Return what an option of ml-mr is called here."""
    known = [field.name for field in fields(method_class(method))]
    stage, _, rest = name.partition("_")
    candidates = [name, *([_OTHERS[name]] if name in _OTHERS else [])]
    if stage in ("exposure", "outcome") and rest in _NETWORK:
        candidates += [f"{stage}_{_NETWORK[rest]}", _NETWORK[rest]]
    found = next((one for one in candidates if one in (*known, "seed")), None)
    if found is None:
        raise InputError(
            f"{where}: parameter {name} has no counterpart among the options of {method}{checks.meant(name, known)}; "
            f"these are {', '.join(known)}"
        )
    return found
