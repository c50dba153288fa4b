"""Nonlinear instrumental-variable estimators for individual-level data: `IVData` in, a `DoseResponse` out.

A method is a frozen dataclass of its options with one method, `fit(data, *, outcome_data=None, seed=0)`. The tables are
plain text, so that a method is imported only when it is used: those with networks import torch.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from deepmr import checks, methods
from deepmr.errors import InputError
from deepmr.individual import DoseResponse, FitRecord, IVData
from deepmr.nonlinear.diagnostics import diagnose_instruments
from deepmr.nonlinear.independent import IndependentInstruments, independent_instruments

METHODS = {
    "quantile_iv": "deepmr.nonlinear.networks.quantile_iv:QuantileIV",
    "delivr": "deepmr.nonlinear.networks.delivr:Delivr",
    "sieve": "deepmr.nonlinear.sieve:Sieve",
    "deep_iv": "deepmr.nonlinear.networks.deep_iv:DeepIV",
    "dfiv": "deepmr.nonlinear.networks.deep_features:DeepFeatureIV",
    "control_function": "deepmr.nonlinear.control_function:ControlFunction",
    "auto": "deepmr.nonlinear.adaptive:Adaptive",
    "logistic_control_function": "deepmr.nonlinear.logistic:LogisticControlFunction",
    "tsls": "deepmr.nonlinear.tsls:TwoStage",
    "liml": "deepmr.nonlinear.tsls:Liml",
    "doubly_ranked": "deepmr.nonlinear.lace:DoublyRanked",
    "residual_strata": "deepmr.nonlinear.lace:ResidualStrata",
    "kernel_iv": "deepmr.nonlinear.kernel:KernelIV",
    "kernel_mmr": "deepmr.nonlinear.kernel:KernelMMR",
}

FEW_CLUSTERS = 20  # fewer are warned of

RESPONSES = {
    "network": "deepmr.nonlinear.networks.response:NetworkResponse",
    "ensemble": "deepmr.nonlinear.ensemble:EnsembleResponse",
    "linear": "deepmr.nonlinear.linear:LinearResponse",
    "features": "deepmr.nonlinear.networks.feature_response:FeatureResponse",
    "logistic": "deepmr.nonlinear.logistic_response:LogisticResponse",
    "strata": "deepmr.nonlinear.lace:StrataResponse",
    "kernel": "deepmr.nonlinear.kernel_response:KernelResponse",
}

OF_SIEVE = ("sieve", "auto", "control_function")  # are the sieve, or compare themselves with it
_TOLD = 0.01  # P value below which a difference is told


def method_class(name: str) -> Any:
    """Return the class whose fields are the options of a method.

    Parameters
    ----------
    name : as in `METHODS`.

    Raises
    ------
    InputError
        When there is no such method.
    """
    return methods.method_class(name, METHODS)


def make_method(name: str, options: Mapping[str, Any] | None = None) -> Any:
    """Make a method with some options other than its defaults.

    Parameters
    ----------
    name : as in `METHODS`.
    options : values, or text that says them ("128,64" for a tuple), by the names of the method's fields.

    Raises
    ------
    InputError
        When there is no such method or option, or a value is of another type.
    """
    return methods.make_method(name, METHODS, options)


def fit_response(
    data: IVData,
    *,
    method: str = "auto",
    options: Mapping[str, Any] | None = None,
    outcome_data: IVData | None = None,
    seed: int = 0,
) -> DoseResponse:
    """Fit how an outcome responds to an exposure, by instruments.

    Parameters
    ----------
    data : of the first stage, and of the second where there is one sample.
    method : as in `METHODS`.
    options : of the method, where other than its defaults.
    outcome_data : of the second stage, where it is another sample.
    seed : of everything random.

    Returns
    -------
    DoseResponse
        With what `diagnostics.diagnose_instruments` says of the instruments in its record. Instruments that are
        constant or repeat others are left out, and named. A response with errors, other than the sieve's, is compared
        with the sieve's in the manner of Hausman (`comparison`), conservatively.

    Raises
    ------
    InputError
        For a method, option or data that cannot be used.
    """
    checks.at_least("seed", seed, 0)
    few = _few_clusters(data, outcome_data)
    chosen = independent_instruments(data, outcome_data)
    response = make_method(method, options).fit(chosen.data, outcome_data=chosen.outcome_data, seed=seed)
    found = diagnose_instruments(chosen.data, outcome_data=chosen.outcome_data, seed=seed)
    compared, said = _compare_with_sieve(response, chosen, seed)
    return with_diagnostics(response, {**found.numbers(), **compared}, (*chosen.warnings, *found.warnings, *few, *said))


def _compare_with_sieve(
    response: DoseResponse, chosen: IndependentInstruments, seed: int
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Test whether a response is the sieve's curve, where it has errors; the sieve assumes least of all methods."""
    if response.record.method in OF_SIEVE:
        return {}, ()
    if response.avg_iv_reg_function(np.array(response.record.central)).se is None:
        return {}, ()
    sieve = make_method("sieve").fit(chosen.data, outcome_data=chosen.outcome_data, seed=seed)
    pvalue = float(methods.load("deepmr.nonlinear.comparison:compare_responses")(response, sieve).pvalue)
    sentence = f"The curve is not that of the sieve, which assumes less of effect and instruments (P = {pvalue:.2g})."
    return {"sieve_comparison_pvalue": pvalue}, (sentence,) if pvalue < _TOLD else ()


def _few_clusters(data: IVData, outcome_data: IVData | None) -> tuple[str, ...]:
    """Refuse a single cluster, and return a warning of clusters that are too few for errors to rest on."""
    samples = (data,) if outcome_data is None else (data, outcome_data)
    counts = [len(np.unique(one.clusters)) for one in samples if one.clusters is not None]
    if counts and min(counts) < 2:
        raise InputError("clusters must be two or more; all samples are in one")
    if counts and min(counts) < FEW_CLUSTERS:
        return (f"Errors rest on {min(counts)} clusters: with so few, intervals are too short.",)
    return ()


def response_from_state(
    kind: str, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: FitRecord
) -> DoseResponse:
    """Make a response again from what its `state` returned.

    Parameters
    ----------
    kind : as in `RESPONSES`.
    arrays, settings, record : as in `State`.
    """
    checks.one_of("kind of response", kind, RESPONSES)
    return methods.load(RESPONSES[kind]).from_state(arrays, settings, record)


def with_diagnostics(response: Any, diagnostics: Mapping[str, float], warnings: tuple[str, ...] = ()) -> Any:
    """Return the response with more in its record.

    Parameters
    ----------
    response : any fitted one.
    diagnostics : numbers by name.
    warnings : sentences.
    """
    record = response.record
    said = tuple(dict.fromkeys((*record.warnings, *warnings)))
    more = replace(record, diagnostics={**diagnostics, **record.diagnostics}, warnings=said)
    return replace(response, record=more)
