"""Samples with a context each, and models whose coefficients vary with it: the core types of `contextual`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from deepmr import checks
from deepmr.errors import InputError

OutcomeType = Literal["continuous", "binary"]
BandKind = Literal["pointwise", "simultaneous"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextData:
    """Contexts, predictors and outcomes of samples, complete cases: y = g(beta(c) x + mu(c)) is to be fitted.

    Attributes
    ----------
    contexts : a column a context, in any unit; what coefficients may depend on.
    predictors : a column a predictor; no columns where only mu(c) is wanted.
    outcomes : a column an outcome; 0 and 1 where they are binary.
    weights : how many rows each row stands for, so that 2 is the same as the row twice; None where each is one.
    se_outcome : known standard errors of the outcomes, positive; None where there are none.
    context_se : known standard errors of the contexts, 0 where one is exact; None where all are exact.
    offset : what is added to beta(c) x + mu(c) and not fitted, on the scale of the link; None for nothing.
    groups : number of the group of each sample (a locus, a subject), which samples of one group share deviations of
        coefficients by; None where every sample is its own.
    """

    contexts: Float[np.ndarray, "samples contexts"]
    predictors: Float[np.ndarray, "samples predictors"]
    outcomes: Float[np.ndarray, "samples outcomes"]
    context_names: tuple[str, ...]
    predictor_names: tuple[str, ...]
    outcome_names: tuple[str, ...] = ("outcome",)
    outcome_type: OutcomeType = "continuous"
    weights: Float[np.ndarray, "samples"] | None = None
    se_outcome: Float[np.ndarray, "samples outcomes"] | None = None
    context_se: Float[np.ndarray, "samples contexts"] | None = None
    offset: Float[np.ndarray, "samples outcomes"] | None = None
    groups: Int[np.ndarray, "samples"] | None = None

    def __post_init__(self) -> None:
        n = len(self.contexts)
        if n == 0:
            raise InputError("at least one sample is needed; got none")
        if not self.outcome_names:
            raise InputError("at least one outcome is needed; got none")
        for name in ("context", "predictor", "outcome"):
            names, values = getattr(self, f"{name}_names"), getattr(self, f"{name}s")
            checks.shape(f"{name}s", values, (n, len(names)))
            checks.unique(f"names of {name}s", names)
            for column, label in zip(values.T, names, strict=True):
                checks.finite(f"{name} {label!r}", column)
        checks.one_of("outcome_type", self.outcome_type, get_args(OutcomeType))
        if self.outcome_type == "binary":
            self._check_binary()
        if self.weights is not None:
            checks.shape("weights", self.weights, (n,))
            checks.finite("weights", self.weights)
            checks.positive("weights", self.weights)
        for name, like in (("se_outcome", self.outcomes), ("context_se", self.contexts), ("offset", self.outcomes)):
            values = getattr(self, name)
            if values is not None:
                checks.shape(name, values, like.shape)
                checks.finite(name, values)
        if self.se_outcome is not None:
            checks.positive("se_outcome", self.se_outcome)
        if self.context_se is not None:
            checks.non_negative("context_se", self.context_se)
        if self.groups is not None:
            checks.shape("groups", self.groups, (n,))

    def _check_binary(self) -> None:
        other = self.outcomes[(self.outcomes != 0) & (self.outcomes != 1)]
        if len(other):
            raise InputError(
                f"outcomes must be 0 or 1, as they are binary; {len(other)} of {self.outcomes.size} are not, "
                f"as {other[0]:g}"
            )
        if self.se_outcome is not None:
            raise InputError("binary outcomes have no standard errors; leave se_outcome out")

    def __len__(self) -> int:
        return len(self.contexts)

    @property
    def counts(self) -> Float[np.ndarray, "samples"]:
        """Weights; all 1 where there are none."""
        return np.ones(len(self)) if self.weights is None else self.weights

    @property
    def design(self) -> Float[np.ndarray, "samples columns"]:
        """Ones, whose coefficient is mu(c), then the predictors."""
        return np.column_stack([np.ones(len(self)), self.predictors])

    def take(self, index: Any) -> "ContextData":
        """Return the samples that a slice, a boolean mask or an array of positions selects."""
        return replace(
            self,
            contexts=self.contexts[index],
            predictors=self.predictors[index],
            outcomes=self.outcomes[index],
            weights=None if self.weights is None else self.weights[index],
            se_outcome=None if self.se_outcome is None else self.se_outcome[index],
            context_se=None if self.context_se is None else self.context_se[index],
            offset=None if self.offset is None else self.offset[index],
            groups=None if self.groups is None else self.groups[index],
        )

    def pick_outcome(self, which: int) -> "ContextData":
        """Return the same samples with one of their outcomes."""
        return replace(
            self,
            outcomes=self.outcomes[:, [which]],
            outcome_names=(self.outcome_names[which],),
            se_outcome=None if self.se_outcome is None else self.se_outcome[:, [which]],
            offset=None if self.offset is None else self.offset[:, [which]],
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row a sample."""
        columns = dict(zip(self.context_names, self.contexts.T, strict=True))
        columns |= dict(zip(self.predictor_names, self.predictors.T, strict=True))
        columns |= dict(zip(self.outcome_names, self.outcomes.T, strict=True))
        return pd.DataFrame(columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Coefficients at some contexts, for outcomes and predictors in the units they came in.

    Attributes
    ----------
    beta : slopes on the scale of the link.
    mu : values at predictors of 0.
    se_beta, se_mu : their standard errors, or None where the method has none.
    outside : contexts farther from those of the fit than these are from each other: an extrapolation.
    unlearned : share of the prior variance of what varies that the data have left, 0 to 1; None where a method has
        no prior.
    """

    beta: Float[np.ndarray, "points outcomes predictors"]
    mu: Float[np.ndarray, "points outcomes"]
    se_beta: Float[np.ndarray, "points outcomes predictors"] | None = None
    se_mu: Float[np.ndarray, "points outcomes"] | None = None
    outside: Bool[np.ndarray, "points"]
    unlearned: Float[np.ndarray, "points"] | None = None

    def to_frame(self, fit: "ContextualFit") -> pd.DataFrame:
        """Return one row a point, outcome and coefficient, mu first: `estimate`, `se` (missing without) and `outside`.

        Parameters
        ----------
        fit : whose coefficients they are, for names.
        """
        names = ("mu", *fit.record.predictor_names)
        value = np.concatenate([self.mu[:, :, None], self.beta], axis=2)
        se = np.full(value.shape, np.nan)
        if self.se_mu is not None and self.se_beta is not None:
            se = np.concatenate([self.se_mu[:, :, None], self.se_beta], axis=2)
        point, outcome, column = (index.ravel() for index in np.indices(value.shape))
        return pd.DataFrame(
            {
                "point": point,
                "outcome": np.array(fit.record.outcome_names, dtype=object)[outcome],
                "coefficient": np.array(names, dtype=object)[column],
                "estimate": value.ravel(),
                "se": se.ravel(),
                "outside": self.outside[point],
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextRecord:
    """What a fit was made of, and how well it does.

    Attributes
    ----------
    method : as in `contextual.METHODS`.
    options : every option of the method.
    seed : of everything random.
    n : samples.
    constant : names of contexts that did not vary, and are left out.
    measures : numbers by name: `loo_mse`, `edf` (effective degrees of freedom), `sigma`, `tau_<coefficient>`, ...; of
        several outcomes, with `.<outcome>` after the name.
    relevance : by context, how much coefficients change with it, 0 for not at all; empty where a method does not say.
    warnings : what a reader has to know, in sentences.
    """

    method: str
    options: Mapping[str, Any]
    seed: int
    n: int
    context_names: tuple[str, ...]
    predictor_names: tuple[str, ...]
    outcome_names: tuple[str, ...]
    outcome_type: OutcomeType
    constant: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    relevance: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it as lines to read; `repr` has all of it."""
        outcomes, predictors = ", ".join(self.outcome_names), ", ".join(self.predictor_names) or "mu alone"
        with_context = ", ".join(self.context_names) or "no context"
        return record_lines(self, f"{outcomes} ({self.outcome_type}) on {predictors}, varying with {with_context}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextState:
    """A fit as a file can hold it: `kind` names its class in `contextual.FITS`."""

    kind: str
    arrays: Mapping[str, np.ndarray]
    settings: Mapping[str, Any]
    record: ContextRecord


@runtime_checkable
class ContextualFit(Protocol):
    """A fitted model y = g(beta(c) x + mu(c)) whose coefficients vary with context."""

    @property
    def record(self) -> ContextRecord:
        """What it was made of."""

    def coefficients(self, contexts: Float[np.ndarray, "points contexts"]) -> Coefficients:
        """Return beta and mu at contexts in the unit of the fit, with errors where the method has them."""

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 1000, seed: int = 0
    ) -> Float[np.ndarray, "draws points outcomes columns"]:
        """Draw mu (column 0) and beta (the rest) jointly over contexts, from what the data leave open."""

    def state(self) -> ContextState:
        """Return all of it as arrays and plain values; `from_state` of its class takes them back."""


@runtime_checkable
class HasMeans(Protocol):
    """A fit that can leave out the errors of its coefficients, where these are most of the work."""

    def means(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points outcomes columns"]:
        """Return mu (column 0) and beta (the rest) at contexts."""


@runtime_checkable
class Recorded(Protocol):
    """What records of fits and of graphs have in common."""

    @property
    def method(self) -> str:
        """As in the table of methods."""

    @property
    def n(self) -> int:
        """Samples."""

    @property
    def measures(self) -> Mapping[str, float]:
        """Numbers by name."""

    @property
    def relevance(self) -> Mapping[str, float]:
        """By context."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences."""


def record_lines(record: Recorded, about: str) -> str:
    """Return a record as lines to read.

    Parameters
    ----------
    record : of a fit or a graph.
    about : what was fitted.
    """
    lines = [f"{record.method}, {record.n} samples: {about}"]
    for name, values in (("measures", record.measures), ("relevance", record.relevance)):
        if values:
            lines.append(f"  {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in values.items()))
    return "\n".join([*lines, *(f"  {sentence}" for sentence in record.warnings)])


def outcome_suffix(name: str, outcome_names: Sequence[str]) -> str:
    """Return what follows the names of measures of an outcome: nothing where there is only one.

    Parameters
    ----------
    name : of the outcome.
    outcome_names : of all.
    """
    return "" if len(outcome_names) == 1 else f".{name}"


def measures_by_outcome(outcome_names: Sequence[str], each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Put the measures of several outcomes together, as `ContextRecord` has them.

    Parameters
    ----------
    outcome_names : of all.
    each : measures of each outcome.
    """
    return {
        f"{key}{outcome_suffix(name, outcome_names)}": float(value)
        for name, measures in zip(outcome_names, each, strict=True)
        for key, value in measures.items()
    }


def record_of(
    data: ContextData,
    *,
    method: str,
    options: Mapping[str, Any],
    seed: int,
    constant: Sequence[str] = (),
    measures: Mapping[str, float] | None = None,
    relevance: Mapping[str, float] | None = None,
    warnings: Sequence[str] = (),
) -> ContextRecord:
    """Describe a fit to these data.

    Parameters
    ----------
    data : of the fit.
    method, options, seed, constant, measures, relevance, warnings : as in `ContextRecord`.
    """
    return ContextRecord(
        method=method,
        options=dict(options),
        seed=seed,
        n=len(data),
        context_names=data.context_names,
        predictor_names=data.predictor_names,
        outcome_names=data.outcome_names,
        outcome_type=data.outcome_type,
        constant=tuple(constant),
        measures=dict(measures or {}),
        relevance=dict(relevance or {}),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphData:
    """Contexts of samples and values of variables, the nodes of a graph whose edges may vary with context.

    Attributes
    ----------
    contexts : a column a context, in any unit; what edges may depend on.
    values : a column a node.
    weights : how many rows each row stands for; None where each is one.
    """

    contexts: Float[np.ndarray, "samples contexts"]
    values: Float[np.ndarray, "samples nodes"]
    context_names: tuple[str, ...]
    node_names: tuple[str, ...]
    weights: Float[np.ndarray, "samples"] | None = None

    def __post_init__(self) -> None:
        n = len(self.contexts)
        if n == 0:
            raise InputError("at least one sample is needed; got none")
        if len(self.node_names) < 2:
            raise InputError(f"a graph needs at least two nodes; got {len(self.node_names)}")
        for what, names, values in (
            ("context", self.context_names, self.contexts),
            ("node", self.node_names, self.values),
        ):
            checks.shape(f"values of {what}s", values, (n, len(names)))
            checks.unique(f"names of {what}s", names)
            for column, label in zip(values.T, names, strict=True):
                checks.finite(f"{what} {label!r}", column)
        if self.weights is not None:
            checks.shape("weights", self.weights, (n,))
            checks.positive("weights", self.weights)

    def __len__(self) -> int:
        return len(self.contexts)

    @property
    def counts(self) -> Float[np.ndarray, "samples"]:
        """Weights; all 1 where there are none."""
        return np.ones(len(self)) if self.weights is None else self.weights

    def take(self, index: Any) -> "GraphData":
        """Return the samples that a slice, a boolean mask or an array of positions selects."""
        return replace(
            self,
            contexts=self.contexts[index],
            values=self.values[index],
            weights=None if self.weights is None else self.weights[index],
        )

    def as_context_data(self, *, outcomes: Sequence[int], predictors: Sequence[int] = ()) -> ContextData:
        """Return some nodes as outcomes, to be regressed on others.

        Parameters
        ----------
        outcomes, predictors : positions of nodes.
        """
        return ContextData(
            contexts=self.contexts,
            predictors=self.values[:, list(predictors)],
            outcomes=self.values[:, list(outcomes)],
            context_names=self.context_names,
            predictor_names=tuple(self.node_names[k] for k in predictors),
            outcome_names=tuple(self.node_names[k] for k in outcomes),
            weights=self.weights,
        )


def record_from(plain: Mapping[str, Any]) -> ContextRecord:
    """Make a record again from `dataclasses.asdict` of it, through a file or not: lists are tuples again.

    Parameters
    ----------
    plain : a value a field, others beside them.

    Raises
    ------
    KeyError
        When a field is missing.
    """
    values = {one.name: plain[one.name] for one in fields(ContextRecord)}
    names = ("context_names", "predictor_names", "outcome_names", "constant", "warnings")
    values |= {name: tuple(values[name]) for name in names}
    values |= {name: {k: float(v) for k, v in values[name].items()} for name in ("measures", "relevance")}
    values["options"] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["options"].items()}
    return ContextRecord(**values)
