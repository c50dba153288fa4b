"""Sweep configurations of ml-mr as ours: the same sections under other names."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from deepmr import checks
from deepmr.errors import InputError
from deepmr.nonlinear import METHODS, method_class

# Names there -> names here. Of options the first that the method has counts; those without any say why.
METHOD_NAMES = {
    "quantile_iv": ("quantile_iv",),
    "deep_iv": ("deep_iv",),
    "dfiv": ("dfiv", "deep_feature_iv"),
    "delivr": ("delivr",),
    "2sls": ("tsls", "2sls"),
    "doubly_ranked": ("doubly_ranked", "lace"),
    "logistic_control_function": ("logistic_control_function",),
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
_NETWORK = {  # of either stage, after exposure_ or outcome_
    "hidden": ("hidden",),
    "max_epochs": ("epochs", "max_epochs"),
    "batch_size": ("batch_size",),
    "learning_rate": ("learning_rate",),
    "weight_decay": ("weight_decay",),
    "add_input_batchnorm": ("input_batch_norm", "batch_norm"),
}
_OTHERS = {
    "n_quantiles": ("n_quantiles",),
    "q": ("n_quantiles", "n_strata"),
    "nmqn": ("non_crossing", "nmqn"),
    "nmqn_penalty_lambda": ("non_crossing_penalty", "nmqn_penalty"),
    "activation": ("activation",),
    "validation_proportion": ("validation_share", "validation_proportion", "validation"),
    "exposure_network_type": ("density", "exposure_network", "network"),
    "n_gaussians": ("n_gaussians", "n_components"),
    "n_instrument_features": ("instrument_features", "n_instrument_features"),
    "n_exposure_features": ("exposure_features", "n_exposure_features"),
    "n_covariate_features": ("covariate_features", "n_covariate_features"),
    "instrument_net_hidden": ("instrument_hidden",),
    "exposure_net_hidden": ("exposure_hidden",),
    "covariate_net_hidden": ("covariate_hidden",),
    "n_strata": ("n_strata",),
    "seed": ("seed",),
}
DROPPED = {
    "exposure_optimizer": "it was ignored there: the optimiser was always Adam",
    "outcome_optimizer": "it was ignored there: the optimiser was always Adam",
    "fast": "runs of a sweep draw no figures",
    "accelerator": "runs of a sweep use CPUs",
    "resample": "bootstrap members are an option of the methods here",
    "wandb_project": "pass --wandb to deepmr iv sweep",
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
    method = next((one for one in METHOD_NAMES[said] if one in METHODS), None)
    if method is None:
        raise InputError(f"{where}: there is no method for model {said}; there are {', '.join(METHODS)}")
    found: dict[str, Any] = {"sweep": {"max_runs": 10_000, **sweep, "method": method}}
    for theirs, ours in (("dataset", "dataset"), ("stage2_dataset", "outcome_dataset")):
        if content.get(theirs) is not None:
            found[ours] = _dataset(content[theirs], f"{where}: {theirs}")
    parameters = content.get("parameters", [])
    if not (isinstance(parameters, list) and all(isinstance(one, dict) for one in parameters)):
        raise InputError(f"{where}: parameters must be a list of objects, one a parameter")
    found["parameters"] = [{**one, "name": _option(str(one.get("name")), method, where)} for one in parameters]
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
    if name in DROPPED:
        raise InputError(f"{where}: parameter {name} has no counterpart: {DROPPED[name]}; take it out")
    stage, _, rest = name.partition("_")
    candidates = [name, *_OTHERS.get(name, ())]
    if stage in ("exposure", "outcome") and rest in _NETWORK:
        candidates += [f"{stage}_{one}" for one in _NETWORK[rest]] + list(_NETWORK[rest])
    found = next((one for one in candidates if one in (*known, "seed")), None)
    if found is None:
        raise InputError(
            f"{where}: parameter {name} has no counterpart among the options of {method}{checks.meant(name, known)}; "
            f"these are {', '.join(known)}"
        )
    return found
