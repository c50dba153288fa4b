"""Effects that vary with context: `ContextData` in, a `ContextualFit` of y = g(beta(c) x + mu(c)) out.

A method is a frozen dataclass of its options with one method, `fit(data, *, seed=0)`. The tables are plain text, so
that a method is imported only when it is used: those with networks import torch.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from deepmr import checks, methods
from deepmr.contexts import ContextData, ContextRecord, ContextualFit
from deepmr.contextual.columns import means
from deepmr.errors import InputError

METHODS = {
    "auto": "deepmr.contextual.auto:Auto",
    "population": "deepmr.contextual.population:Population",
    "clusters": "deepmr.contextual.clusters:Clusters",
    "ridge": "deepmr.contextual.ridge:Ridge",
    "gp": "deepmr.contextual.gp:GaussianProcess",
    "networks": "deepmr.contextual.networks.context_networks:ContextNetworks",
}

FITS = {
    "population": "deepmr.contextual.population:PopulationFit",
    "clusters": "deepmr.contextual.clusters:ClustersFit",
    "ridge": "deepmr.contextual.ridge:RidgeFit",
    "gp": "deepmr.contextual.gp:GaussianProcessFit",
    "bootstrap": "deepmr.contextual.bootstrap:BootstrapFit",
    "known": "deepmr.contextual.known:KnownCoefficients",
    "stacked": "deepmr.contextual.stacked:StackedFit",
    "pairs": "deepmr.contextual.pairs:PairwiseFit",
    "networks": "deepmr.contextual.networks.fitted:ContextNetworksFit",
}


def fit_context(
    data: ContextData,
    *,
    method: str = "auto",
    options: Mapping[str, Any] | None = None,
    base: ContextualFit | None = None,
    seed: int = 0,
    like: ContextualFit | None = None,
) -> ContextualFit:
    """Fit y = g(beta(c) x + mu(c)): how coefficients of predictors vary with context.

    Parameters
    ----------
    data : samples.
    method : as in `METHODS`.
    options : of the method, where other than its defaults.
    base : a fit of the same contexts, predictors and outcomes to build on: what it leaves is fitted, both are
        added.
    seed : of everything random.
    like : a fit of much the same samples: a Gaussian process begins its search where such a one ended, other methods
        do not heed it.

    Raises
    ------
    InputError
        For a method, option or data that cannot be used.
    """
    checks.at_least("seed", seed, 0)
    chosen = methods.make_method(method, METHODS, options)
    if base is None:
        if method == "gp" and getattr(like, "kind", "") == "gp":
            return chosen.fit(data, seed=seed, like=like)
        return chosen.fit(data, seed=seed)
    from deepmr.contextual.stacked import stack, with_offset

    return stack(base, chosen.fit(with_offset(data, base), seed=seed))


def fit_from_state(
    kind: str, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: ContextRecord
) -> ContextualFit:
    """Make a fit again from what its `state` returned.

    Parameters
    ----------
    kind : as in `FITS`.
    arrays, settings, record : as in `contexts.ContextState`.
    """
    checks.one_of("kind of fit", kind, FITS)
    return methods.load(FITS[kind]).from_state(arrays, settings, record)


def predict(
    fit: ContextualFit,
    contexts: Float[np.ndarray, "points contexts"],
    predictors: Float[np.ndarray, "points predictors"],
    *,
    offset: Float[np.ndarray, "points outcomes"] | None = None,
) -> Float[np.ndarray, "points outcomes"]:
    """Predict outcomes: g(beta(c) x + mu(c)), probabilities where they are binary.

    Parameters
    ----------
    fit : any but one of pairs, which has a `predict` of its own.
    contexts, predictors : in the units of the fit, a row a point.
    offset : as in the data of the fit.

    Raises
    ------
    InputError
        When contexts, predictors or offset are not those of the fit.
    """
    names = fit.record.predictor_names
    if predictors.shape != (len(contexts), len(names)):
        raise InputError(
            f"predictors must be {len(contexts)} rows of {len(names)} ({', '.join(names)}); got {predictors.shape}"
        )
    both = means(fit, contexts)
    eta = np.einsum("pok,pk->po", both[:, :, 1:], predictors) + both[:, :, 0]
    if offset is not None:
        checks.shape("offset", offset, eta.shape)
        eta = eta + offset
    return expit(eta) if fit.record.outcome_type == "binary" else eta
