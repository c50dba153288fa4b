"""Models of one's own: variables that are drawn or follow from others, with the roles of an instrumental variable."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import OutcomeType
from deepmr.simulate.distributions import Distribution

OWN = ("rng", "n")  # what a function may ask for beside variables and parameters: its random numbers, and how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A simulation: what is drawn, what follows from what, and which variables are instruments, exposure and outcome.

    Attributes
    ----------
    variables : by name, causes before effects: a distribution, or a function of parameters and earlier variables. A
        function's arguments are their names, those with a default apart; `rng` is a generator of the variable's own,
        `n` the number of samples.
    exposure, outcome, instruments, covariates : names of variables; one with several columns counts as so many.
    parameters : by name: a number, an array, a distribution, or a function of earlier ones.
    response : E[outcome | do(exposure = x)], a function of x and, by their names, of parameters; None where unknown.
    response_given : the same given covariates; these are arguments, too, by their names.
    outcome_type : binary where the outcome is 0 or 1.
    name : of the model, in files.
    says : what it is, in words.
    """

    variables: Mapping[str, Any]
    exposure: str
    outcome: str
    instruments: tuple[str, ...]
    covariates: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    response: Callable[..., Any] | None = None
    response_given: Callable[..., Any] | None = None
    outcome_type: OutcomeType = "continuous"
    name: str = "model"
    says: str = ""

    def __post_init__(self) -> None:
        known: list[str] = []
        for what, table in (("parameter", self.parameters), ("variable", self.variables)):
            for name, value in table.items():
                if name in known or name in OWN:
                    raise InputError(f"{what} {name} has the name of something else; choose another")
                _known(f"{what} {name}", inputs_of(value), [*known, *OWN])
                known.append(name)
        for name in (self.exposure, self.outcome, *self.instruments, *self.covariates):
            checks.one_of("a variable with a role", name, self.variables)
        roles = [self.exposure, self.outcome, *self.instruments, *self.covariates]
        checks.unique("variables with a role", roles)
        for what, function, names in (
            ("response", self.response, list(self.parameters)),
            ("response_given", self.response_given, [*self.parameters, *self.covariates]),
        ):
            if function is not None:
                _known(what, inputs_of(function)[1:], names)


def inputs_of(value: Any) -> tuple[str, ...]:
    """Return the names that a distribution or a function refers to, in their order; none for a number.

    Parameters
    ----------
    value : of a variable or parameter.
    """
    if isinstance(value, Distribution):
        return tuple(getattr(value, name) for name in value.__slots__ if isinstance(getattr(value, name), str))
    if callable(value):
        given = inspect.signature(value).parameters.items()
        return tuple(name for name, one in given if one.default is inspect.Parameter.empty)
    return ()


def _known(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            there = ", ".join(one for one in known if one not in OWN) or "nothing"
            raise InputError(f"{what} refers to {name}{checks.meant(name, known)}, which is not before it: {there}")
