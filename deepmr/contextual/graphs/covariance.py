"""Mean and covariance by context: one for all, one a cluster, smooth functions, or which of these predicts best."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr import checks
from deepmr.contexts import GraphData
from deepmr.contextual.graphs.grouped import GroupedCovariance, fit_grouped
from deepmr.contextual.graphs.moments import Moments, log_density
from deepmr.contextual.graphs.varying import VaryingCovariance, fit_varying
from deepmr.contextual.scaling import Scaling, check_contexts, constant_contexts, scale_contexts
from deepmr.errors import InputError

CovarianceChoice = Literal["varying", "clusters", "population", "auto"]
_CLUSTERS = (2, 3, 4, 6, 8, 11, 15, 20, 30)
_MODELS: Mapping[str, Any] = {"varying": VaryingCovariance, "grouped": GroupedCovariance}


@runtime_checkable
class CovarianceModel(Protocol):
    """A normal distribution of the nodes at any standardised context."""

    @property
    def kind(self) -> str:
        """Name of its class among models."""

    @property
    def edf(self) -> float:
        """Effective degrees of freedom."""

    def moments(self, z: Float[np.ndarray, "points contexts"]) -> Moments:
        """Return mean and covariance."""

    def draws(
        self, z: Float[np.ndarray, "points contexts"], *, n_draws: int, seed: int
    ) -> Float[np.ndarray, "draws points nodes nodes"]:
        """Draw covariances from what the data leave open."""

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return it as arrays and plain values."""


Maker = Callable[[GraphData, np.ndarray], CovarianceModel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Covariances:
    """Mean and covariance at contexts in the unit of the fit.

    Attributes
    ----------
    model : of standardised contexts.
    scaling : of contexts.
    context_names : of the fit.
    """

    model: CovarianceModel
    scaling: Scaling
    context_names: tuple[str, ...]

    def _z(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points used"]:
        check_contexts(contexts, self.context_names)
        return self.scaling(contexts)

    def moments(self, contexts: Float[np.ndarray, "points contexts"]) -> Moments:
        """Return mean and covariance at contexts."""
        return self.model.moments(self._z(contexts))

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int, seed: int
    ) -> Float[np.ndarray, "draws points nodes nodes"]:
        """Draw covariances jointly over contexts."""
        return self.model.draws(self._z(contexts), n_draws=n_draws, seed=seed)

    def outside(self, contexts: Float[np.ndarray, "points contexts"]) -> Bool[np.ndarray, "points"]:
        """Return which contexts lie outside of those of the fit."""
        check_contexts(contexts, self.context_names)
        return self.scaling.outside(contexts)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return it as arrays and plain values."""
        arrays, settings = self.model.state()
        return {**arrays, **self.scaling.arrays()}, {"model": self.model.kind, **settings}

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], context_names: tuple[str, ...]
    ) -> "Covariances":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings : as they were.
        context_names : of the record.
        """
        checks.one_of("model", settings["model"], _MODELS)
        model = _MODELS[settings["model"]].from_state(arrays, settings)
        return cls(model=model, scaling=Scaling.from_arrays(arrays), context_names=context_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A fitted model of covariance and what a record says of it.

    Attributes
    ----------
    covariances : the model.
    constant : names of contexts that do not vary.
    measures : `edf`, `log_likelihood` a sample, held-out log likelihoods a sample where they were computed.
    relevance : by context, of a varying model: the reciprocal of its length scale.
    warnings : sentences.
    """

    covariances: Covariances
    constant: tuple[str, ...]
    measures: dict[str, float]
    relevance: dict[str, float]
    warnings: tuple[str, ...]


def fit_covariances(
    data: GraphData,
    *,
    model: CovarianceChoice,
    n_clusters: int | None,
    n_orders: int,
    n_folds: int,
    seed: int,
) -> Chosen:
    """Fit mean and covariance of the nodes at each context.

    Parameters
    ----------
    data : samples.
    model : `auto` for that of the largest held-out log likelihood, the population always among them.
    n_clusters : of `clusters`; by held-out likelihood where None.
    n_orders : of `varying`: orders of the nodes to average over.
    n_folds : of the held-out likelihood.
    seed : of clusters, folds and orders.

    Raises
    ------
    InputError
        When nodes depend on each other or are constant, or samples are too few.
    """
    if len(data.values) < len(data.node_names) + 2:
        raise InputError(f"{len(data.node_names)} nodes need {len(data.node_names) + 2} samples; got {len(data)}")
    scaling = scale_contexts(data.as_context_data(outcomes=[0]))
    flat, said = constant_contexts(data.as_context_data(outcomes=[0]), scaling)
    z = scaling(data.contexts)
    fit_grouped(data, z, n_clusters=1, seed=seed)  # which refuses nodes that no covariance can be estimated of
    candidates = _candidates(model if z.shape[1] else "population", n_clusters, n_orders, seed)
    held: dict[str, float] = {}
    best = next(iter(candidates))
    if len(candidates) > 1:
        folds = np.random.default_rng(seed).permutation(np.arange(len(data)) % n_folds)
        held = {name: _held_out(data, z, folds, make) for name, make in candidates.items()}
        best = max(held, key=lambda name: held[name])
        if not np.isfinite(held[best]):
            raise InputError(
                f"{len(data)} samples of {data.values.shape[1]} nodes are too few for clusters of contexts"
            )
    made = candidates[best](data, z)
    measures = {"edf": made.edf, "log_likelihood": _average(data, log_density(data.values, made.moments(z)))}
    measures |= {f"held_out.{name}": value for name, value in held.items() if np.isfinite(value)}
    relevance = {}
    if isinstance(made, VaryingCovariance):
        names = [data.context_names[k] for k in scaling.used]
        relevance = dict(zip(names, (1 / made.basis.lengths).tolist(), strict=True))
    if isinstance(made, GroupedCovariance):
        measures["n_clusters"] = float(len(made.centres))
    covariances = Covariances(model=made, scaling=scaling, context_names=data.context_names)
    return Chosen(covariances=covariances, constant=flat, measures=measures, relevance=relevance, warnings=said)


def _candidates(model: CovarianceChoice, n_clusters: int | None, n_orders: int, seed: int) -> dict[str, Maker]:
    """Return what may be fitted, by name; the one of the largest held-out likelihood is where there are several."""

    def clusters(count: int) -> Maker:
        return lambda data, z: fit_grouped(data, z, n_clusters=count, seed=seed)

    made: dict[str, Maker] = {}
    if model in ("population", "auto"):
        made["population"] = clusters(1)
    if model in ("varying", "auto"):
        made["varying"] = lambda data, z: fit_varying(data, z, n_orders=n_orders, seed=seed)
    if model in ("clusters", "auto"):
        counts = _CLUSTERS if n_clusters is None else (n_clusters,)
        made |= {f"clusters_{count}": clusters(count) for count in counts}
    return made


def _held_out(
    data: GraphData,
    z: Float[np.ndarray, "samples contexts"],
    folds: Int[np.ndarray, "samples"],
    make: Maker,
) -> float:
    """Return the mean log density of each fold under the model of the others; -inf where that cannot be fitted."""
    found = np.empty(len(data))
    for fold in np.unique(folds):
        out = folds == fold
        try:
            fitted = make(data.take(~out), z[~out])
        except InputError:
            return -np.inf
        found[out] = log_density(data.values[out], fitted.moments(z[out]))
    return _average(data, found)


def _average(data: GraphData, values: Float[np.ndarray, "samples"]) -> float:
    return float(np.average(values, weights=data.counts))
