"""Samples drawn from models of one's own: parameters, replicates, and the truth by intervention."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.simulate.distributions import Distribution, with_values
from deepmr.simulate.models import Model, inputs_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one drawing from a model gave, hidden variables included.

    Attributes
    ----------
    model : that it was drawn from.
    parameters : as they were in this drawing.
    variables : one number a sample, or one row a sample.
    seed : of the data.
    """

    model: Model
    parameters: Mapping[str, Any]
    variables: Mapping[str, np.ndarray]
    seed: int

    def __len__(self) -> int:
        return len(self.variables[self.model.outcome])

    @property
    def data(self) -> IVData:
        """What an analyst sees of it."""
        model = self.model
        parts = {role: _columns(self.variables, getattr(model, role)) for role in ("instruments", "covariates")}
        return IVData(
            instruments=parts["instruments"].to_numpy(float),
            exposure=self.variables[model.exposure].astype(float),
            outcome=self.variables[model.outcome].astype(float),
            covariates=parts["covariates"].to_numpy(float).reshape(len(self), -1),
            instrument_names=tuple(parts["instruments"].columns),
            covariate_names=tuple(parts["covariates"].columns),
            exposure_name=model.exposure,
            outcome_name=model.outcome,
            outcome_type=model.outcome_type,
        )

    def truth(self, x: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points"]:
        """Return E[outcome | do(exposure = x)] at the parameters of the sample."""
        return true_response(self.model, x, parameters=self.parameters)

    def truth_given(
        self, x: Float[np.ndarray, "points"], c: Float[np.ndarray, "points covariates"]
    ) -> Float[np.ndarray, "points"]:
        """Return the same given covariates, a row a point."""
        given, start = {}, 0
        checks.shape("c", c, (len(x), self.data.covariates.shape[1]))
        for name in self.model.covariates:
            values = self.variables[name]
            width = 1 if values.ndim == 1 else values.shape[1]
            given[name] = c[:, start] if values.ndim == 1 else c[:, start : start + width]
            start += width
        return true_response(self.model, x, parameters=self.parameters, given=given)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a sample and a column a variable, hidden ones included."""
        return _columns(self.variables, tuple(self.variables))


def draw_parameters(model: Model, *, seed: int = 0) -> dict[str, Any]:
    """Draw the parameters of a model that are random, and work out the others.

    Parameters
    ----------
    model : of which parameters are drawn.
    seed : of the parameters; every one of them has random numbers of its own.
    """
    values: dict[str, Any] = {}
    for name, what in model.parameters.items():
        drawn = _value(what, values, {}, n=1, rng=_generator(seed, name))
        values[name] = drawn[0] if isinstance(what, Distribution) else drawn
    return values


def draw_sample(model: Model, n: int, *, seed: int = 0, parameters: Mapping[str, Any] | None = None) -> Sample:
    """Draw samples from a model.

    Parameters
    ----------
    model : to draw from.
    n : number of samples.
    seed : of the data, and of the parameters where none are given; every variable has random numbers of its own, so
        that a change of one leaves what does not depend on it as it was.
    parameters : what `draw_parameters` returned, to draw again with the same ones; any value may be exchanged.

    Examples
    --------
    >>> from deepmr.simulate.distributions import Normal, Variant
    >>> model = Model(
    ...     parameters={"effect": 0.3},
    ...     variables={
    ...         "g": Variant(frequency=0.3, columns=10),
    ...         "u": Normal(),
    ...         "x": lambda g, u, rng, n: 0.2 * g.sum(axis=1) + u + rng.normal(size=n),
    ...         "y": lambda x, u, effect, rng, n: effect * x**2 - u + rng.normal(size=n),
    ...     },
    ...     exposure="x", outcome="y", instruments=("g",),
    ... )
    >>> draw_sample(model, 1000).data.instruments.shape
    (1000, 10)
    """
    checks.at_least("n", n, 1)
    chosen = _chosen(model, parameters, seed)
    variables = _draw(model, chosen, n=n, seed=seed, fixed={})
    return Sample(model=model, parameters=chosen, variables=variables, seed=seed)


def resample(
    model: Model, n: int, *, n_replicates: int, parameters: Literal["drawn", "same"] = "drawn", seed: int = 0
) -> Iterator[Sample]:
    """Draw replicates of a simulation.

    Parameters
    ----------
    model : to draw from.
    n : samples of a replicate.
    n_replicates : how many.
    parameters : drawn anew in every replicate, or the same in all, so that the data alone differ.
    seed : of the first replicate; the others have the seeds that follow.
    """
    checks.one_of("parameters", parameters, ("drawn", "same"))
    same = draw_parameters(model, seed=seed) if parameters == "same" else None
    for number in range(n_replicates):
        yield draw_sample(model, n, seed=seed + number, parameters=same)


def true_response(
    model: Model,
    x: Float[np.ndarray, "points"],
    *,
    given: Mapping[str, np.ndarray] | None = None,
    parameters: Mapping[str, Any] | None = None,
    by: Literal["known", "intervention"] = "known",
    n: int = 100_000,
    seed: int = 0,
) -> Float[np.ndarray, "points"]:
    """Return E[outcome | do(exposure = x)], by what the model says of it or by carrying the intervention out.

    Parameters
    ----------
    model : of which the response is wanted.
    x : exposures.
    given : covariates by name, a value (or row) a point; on average over them where left out.
    parameters : what `draw_parameters` returned; drawn with `seed` where left out.
    by : known uses the function that the model carries, if it has one; intervention sets the exposure of n samples to
        each x and averages what follows, with the same random numbers at every point.
    n : samples of the intervention; the standard error of the level falls with its root.
    seed : of those samples.

    Raises
    ------
    InputError
        When covariates are given that follow from other variables: to set them is not to observe them.
    """
    checks.one_of("by", by, ("known", "intervention"))
    chosen = _chosen(model, parameters, seed)
    given = given or {}
    for name in given:
        checks.one_of("a given covariate", name, model.covariates)
    whole = given and set(given) == set(model.covariates)
    known = model.response_given if whole else model.response if not given else None
    if known is not None and by == "known":
        return np.broadcast_to(np.asarray(_call(known, {**chosen, **given}, first=x), dtype=float), x.shape).copy()
    for name in given:
        if inputs_of(model.variables[name]) and set(inputs_of(model.variables[name])) - set(model.parameters):
            raise InputError(f"covariate {name} has causes in the model; an intervention cannot hold it at a value")
    settings = [(model.exposure, x), *given.items()]
    drawn = _draw(model, chosen, n=n, seed=seed, fixed={})
    found = np.empty(len(x))
    for k in range(len(x)):
        fixed = {name: np.broadcast_to(values[k], (n, *values.shape[1:])) for name, values in settings}
        found[k] = _draw(model, chosen, n=n, seed=seed, fixed=fixed, drawn=drawn)[model.outcome].mean()
    return found


def _chosen(model: Model, parameters: Mapping[str, Any] | None, seed: int) -> Mapping[str, Any]:
    if parameters is None:
        return draw_parameters(model, seed=seed)
    for name in parameters:
        checks.one_of("parameter", name, model.parameters)
    missing = [name for name in model.parameters if name not in parameters]
    if missing:
        raise InputError(f"all parameters of the model are needed; {', '.join(missing)} not given")
    return parameters


def _draw(
    model: Model,
    parameters: Mapping[str, Any],
    *,
    n: int,
    seed: int,
    fixed: Mapping[str, np.ndarray],
    drawn: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Draw the variables in their order; those that are fixed, or drawn and of no fixed one's effects, stay."""
    values: dict[str, np.ndarray] = {}
    moved = set(fixed)
    for name, what in model.variables.items():
        if name in fixed:
            values[name] = fixed[name]
        elif drawn is not None and not moved & set(inputs_of(what)):
            values[name] = drawn[name]
        else:
            moved.add(name)
            found = np.asarray(_value(what, parameters, values, n=n, rng=_generator(seed, name)))
            if found.ndim not in (1, 2) or len(found) != n:
                raise InputError(f"variable {name} must have {n} samples; its function gave {found.shape}")
            values[name] = found
    return values


def _value(
    what: Any, parameters: Mapping[str, Any], variables: Mapping[str, np.ndarray], *, n: int, rng: np.random.Generator
) -> Any:
    if isinstance(what, Distribution):
        return with_values(what, parameters=parameters, variables=variables).draw(n, rng)
    if callable(what):
        return _call(what, {**parameters, **variables, "rng": rng, "n": n})
    return what


def _call(function: Callable[..., Any], values: Mapping[str, Any], *, first: np.ndarray | None = None) -> Any:
    names = inputs_of(function)
    if first is None:
        return function(*(values[name] for name in names))
    return function(first, *(values[name] for name in names[1:]))


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _columns(variables: Mapping[str, np.ndarray], names: Sequence[str]) -> pd.DataFrame:
    """Return variables as columns; those of one that has several are numbered from 1."""
    found: dict[str, np.ndarray] = {}
    for name in names:
        values = variables[name]
        if values.ndim == 1:
            found[name] = values
        else:
            found |= {f"{name}{k + 1}": column for k, column in enumerate(values.T)}
    return pd.DataFrame(found, index=range(len(next(iter(variables.values())))))
