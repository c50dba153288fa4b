"""Several fitted responses as one: their mean, and how far they lie apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from deepmr import checks, inference
from deepmr.errors import InputError
from deepmr.individual import Curve, DoseResponse, FitRecord, State


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleResponse:
    """The mean of responses, with intervals from how far they lie apart and from what each knows of its own error.

    Attributes
    ----------
    members : fitted responses, of one exposure, outcome and set of covariates.
    record : of the ensemble.

    Notes
    -----
    Where every member b has a standard error, that of the mean is the root of mean(se_b^2) + var(b): members are fits
    to the same data, which differ by seed, split or method, so that their mean is no more certain than they are. Where
    members have none, intervals are quantiles over them, which are those of the response for fits to bootstrap samples;
    for fits to the same data they say how much the seed matters, and no more.

    References
    ----------
    Chernozhukov et al. (2018) doi:10.1111/ectj.12097, section 3.4.
    """

    kind: ClassVar[str] = "ensemble"

    members: tuple[DoseResponse, ...]
    record: FitRecord

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
        covars : a row a point; needed where the members have covariates.
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
        checks.level(level)
        curves = [of(one) for one in self.members]
        values = np.array([one.estimate for one in curves])
        estimate, apart = values.mean(axis=0), values.var(axis=0, ddof=1)
        own = [one.se for one in curves if one.se is not None]
        if len(own) == len(curves):
            se = np.sqrt(np.mean(np.square(own), axis=0) + apart)
            low, high = inference.interval(estimate, se, level=level)
        else:
            se = np.sqrt(apart)
            low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return Curve(estimate=estimate, se=se, low=low, high=high, level=level)

    def state(self) -> State:
        """Raise `InputError`: an ensemble is made again from its members' folders."""
        raise InputError("an ensemble of fits is not written: read its members and make it again")

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any], record: FitRecord
    ) -> "EnsembleResponse":
        """Raise `InputError`: see `state`."""
        raise InputError("an ensemble of fits is not read: read its members and make it again")


def make_ensemble(members: Sequence[DoseResponse]) -> EnsembleResponse:
    """Make one response of several, over the exposures that all of them have seen.

    Parameters
    ----------
    members : two or more, of one exposure, outcome and set of covariates.

    Raises
    ------
    InputError
        When there are fewer, they are of different variables, or their exposures have no range in common.
    """
    if len(members) < 2:
        raise InputError(f"an ensemble needs at least 2 fits; got {len(members)}")
    records = [one.record for one in members]
    first = records[0]
    for record in records[1:]:
        for what in ("exposure", "outcome", "covariates", "outcome_type"):
            if getattr(record, what) != getattr(first, what):
                one, two = getattr(first, what), getattr(record, what)
                raise InputError(f"fits of an ensemble must have the same {what}; got {one!r} and {two!r}")
    made = replace(
        first,
        method="ensemble",
        options={"members": ",".join(dict.fromkeys(record.method for record in records))},
        domain=_shared([record.domain for record in records]),
        central=_shared([record.central for record in records]),
        diagnostics={"n_members": float(len(members))},
        losses={},
        warnings=tuple(dict.fromkeys(said for record in records for said in record.warnings)),
    )
    return EnsembleResponse(members=tuple(members), record=made)


def _shared(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    low, high = max(one[0] for one in ranges), min(one[1] for one in ranges)
    if not low < high:
        raise InputError("the exposures of these fits have no range in common: an ensemble of them says nothing")
    return low, high
