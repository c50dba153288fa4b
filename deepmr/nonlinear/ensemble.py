"""Ensembles of fitted responses: their middle as the estimate, their spread as the interval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import Curve, DoseResponse, FitRecord, State
from deepmr.nonlinear import response_from_state

Statistic = Literal["median", "mean"]


def over_members(values: Float[np.ndarray, "members points"], *, level: float, statistic: Statistic = "mean") -> Curve:
    """Return the middle of members with intervals for a further member.

    Parameters
    ----------
    values : a row a member; a single member has no interval.
    level : of the intervals.
    statistic : which middle.

    Notes
    -----
    A further member lies between the order statistics i and j of K exchangeable members with probability
    (j - i) / (K + 1), whatever their distribution, so a bound is the quantile at rank p (K + 1). Where K is too small
    for the level, bounds are the t quantile of K - 1 degrees of freedom times sd sqrt(1 + 1/K) from the estimate, right
    for normal members. The interval is of what members differ by: samples, where members are bootstrap replicates, and
    training. Bias that they share is not in it.
    """
    checks.level(level)
    n = len(values)
    estimate = np.median(values, axis=0) if statistic == "median" else values.mean(axis=0)
    if n < 2:
        return Curve(estimate=estimate, level=level)
    se, tail = values.std(axis=0, ddof=1), (1 - level) / 2
    if tail * (n + 1) >= 1 - 1e-9:
        low, high = np.quantile(values, [tail, 1 - tail], axis=0, method="weibull")
    else:
        half = stats.t.ppf(1 - tail, n - 1) * np.sqrt(1 + 1 / n) * se
        low, high = estimate - half, estimate + half
    return Curve(estimate=estimate, se=se, low=np.minimum(low, estimate), high=np.maximum(high, estimate), level=level)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleResponse:
    """Several fitted responses to one exposure as one.

    Attributes
    ----------
    responses : the members, of any methods.
    statistic : of the members, that is the estimate.
    record : of the ensemble: the samples of the first member, the domain that all members share.
    """

    kind: ClassVar[str] = "ensemble"

    responses: tuple[DoseResponse, ...]
    statistic: Statistic
    record: FitRecord

    @classmethod
    def of(cls, responses: Sequence[DoseResponse], *, statistic: Statistic = "median") -> "EnsembleResponse":
        """Put responses together.

        Parameters
        ----------
        responses : one or more, of the same exposure, outcome and covariates.
        statistic : of the members, that is the estimate.

        Raises
        ------
        InputError
            When there is none, or they are of other variables, or have no exposure in common.
        """
        if not responses:
            raise InputError("an ensemble needs a response; got none")
        first = responses[0].record
        for k, one in enumerate(responses):
            for what in ("exposure", "outcome", "outcome_type", "covariates"):
                got, needed = getattr(one.record, what), getattr(first, what)
                if got != needed:
                    raise InputError(
                        f"responses of an ensemble must have the same {what}; number {k} has {got}, the first {needed}"
                    )
        low = max(one.record.domain[0] for one in responses)
        high = min(one.record.domain[1] for one in responses)
        if low >= high:
            raise InputError("responses of an ensemble need exposures in common; their domains do not overlap")
        record = replace(
            first,
            method="ensemble",
            options={"statistic": statistic, "methods": sorted({one.record.method for one in responses})},
            domain=(low, high),
            losses={},
            diagnostics={"n_members": float(len(responses))},
            warnings=tuple(dict.fromkeys(line for one in responses for line in one.record.warnings)),
        )
        return cls(responses=tuple(responses), statistic=statistic, record=record)

    def members(
        self, x: Float[np.ndarray, "points"], covars: Float[np.ndarray, "points covariates"] | None = None
    ) -> Float[np.ndarray, "members points"]:
        """Return the curve of every member, on average over covariates where none are given.

        Parameters
        ----------
        x : exposures.
        covars : a row a point, or None.
        """
        if covars is None:
            return np.stack([one.avg_iv_reg_function(x).estimate for one in self.responses])
        return np.stack([one.iv_reg_function(x, covars).estimate for one in self.responses])

    def iv_reg_function(
        self,
        x: Float[np.ndarray, "points"],
        covars: Float[np.ndarray, "points covariates"] | None = None,
        *,
        level: float = 0.95,
    ) -> Curve:
        """Return the response at x, given covariates.

        Parameters
        ----------
        x : exposures.
        covars : a row a point; needed where the fits have covariates.
        level : of the intervals.
        """
        return self._curve(lambda one: one.iv_reg_function(x, covars), level)

    def avg_iv_reg_function(self, x: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the response at x, averaged over the covariates of each member's sample.

        Parameters
        ----------
        x : exposures.
        level : of the intervals.
        """
        return self._curve(lambda one: one.avg_iv_reg_function(x), level)

    def ate(self, x0: Float[np.ndarray, "points"], x1: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the average effect of moving the exposure from x0 to x1.

        Parameters
        ----------
        x0, x1 : exposures before and after.
        level : of the intervals.
        """
        return self._curve(lambda one: one.ate(x0, x1), level)

    def cate(
        self,
        x0: Float[np.ndarray, "points"],
        x1: Float[np.ndarray, "points"],
        covars: Float[np.ndarray, "points covariates"],
        *,
        level: float = 0.95,
    ) -> Curve:
        """Return the effect of moving the exposure from x0 to x1, given covariates.

        Parameters
        ----------
        x0, x1 : exposures before and after.
        covars : a row a point.
        level : of the intervals.
        """
        return self._curve(lambda one: one.cate(x0, x1, covars), level)

    def _curve(self, of: Callable[[DoseResponse], Curve], level: float) -> Curve:
        values = np.stack([of(one).estimate for one in self.responses])
        return over_members(values, level=level, statistic=self.statistic)

    def state(self) -> State:
        """Return all of it as arrays and plain values."""
        states = [one.state() for one in self.responses]
        arrays = {f"{k}/{name}": values for k, one in enumerate(states) for name, values in one.arrays.items()}
        members = [{"kind": one.kind, "settings": dict(one.settings), "record": asdict(one.record)} for one in states]
        return State(
            kind=self.kind,
            arrays=arrays,
            settings={"statistic": self.statistic, "members": members},
            record=self.record,
        )

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any], record: FitRecord
    ) -> "EnsembleResponse":
        """Make a response from what `state` returned."""
        responses = []
        for k, one in enumerate(settings["members"]):
            prefix = f"{k}/"
            own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
            responses.append(response_from_state(one["kind"], own, one["settings"], _record(one["record"])))
        return cls(responses=tuple(responses), statistic=settings["statistic"], record=record)


def _record(plain: Mapping[str, Any]) -> FitRecord:
    """Make a record from its fields, which may have been through JSON."""
    lists = ("instruments", "covariates", "domain", "central", "quartiles", "warnings")
    return FitRecord(**{**plain, **{name: tuple(plain[name]) for name in lists}})
