"""Several responses as one, with answers known by hand."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.individual import Curve, FitRecord
from deepmr.nonlinear.ensemble import make_ensemble

X = np.array([-1.0, 0.0, 2.0])
RECORD = FitRecord(
    method="toy", options={}, seed=0, exposure="x", outcome="y", instruments=("z",), covariates=("c",),
    outcome_type="continuous", n=10, n_outcome=10, domain=(-3.0, 3.0), central=(-2.0, 2.0), quartiles=(-1.0, 0.0, 1.0),
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A line with a slope and, perhaps, a standard error."""

    slope: float
    se: float | None = None
    record: FitRecord = RECORD

    def _curve(self, values):
        return Curve(estimate=values, se=None if self.se is None else np.full(len(values), self.se))

    def iv_reg_function(self, x, covars=None, *, level=0.95):
        return self._curve(self.slope * x + covars[:, 0])

    def avg_iv_reg_function(self, x, *, level=0.95):
        return self._curve(self.slope * x)

    def ate(self, x0, x1, *, level=0.95):
        return self._curve(self.slope * (x1 - x0))

    def cate(self, x0, x1, covars, *, level=0.95):
        return self._curve(self.slope * (x1 - x0) * covars[:, 0])

    def state(self):
        raise NotImplementedError


def test_without_standard_errors_intervals_are_quantiles_of_members():
    ensemble = make_ensemble([Line(s) for s in np.linspace(0, 1, 11)])
    found = ensemble.avg_iv_reg_function(X, level=0.8)
    assert np.allclose(found.estimate, 0.5 * X)
    assert np.allclose(found.low, [-0.9, 0, 0.2])
    assert np.allclose(found.high, [-0.1, 0, 1.8])
    given = ensemble.cate(X, X + 2, np.full((3, 1), 3.0), level=0.8)
    assert np.allclose(given.estimate, 3)
    assert np.allclose(ensemble.iv_reg_function(X, np.ones((3, 1))).estimate, 0.5 * X + 1)


def test_with_standard_errors_those_count_too():
    found = make_ensemble([Line(1.0, 3.0), Line(1.0, 4.0), Line(4.0, 5.0)]).ate(np.zeros(1), np.ones(1), level=0.95)
    assert found.estimate[0] == 2
    assert found.se[0] == pytest.approx(np.sqrt((9 + 16 + 25) / 3 + 3))
    assert found.high[0] == pytest.approx(2 + 1.959964 * found.se[0])


def test_what_members_share():
    one, other = Line(1.0), Line(2.0, record=replace(RECORD, domain=(-1.0, 5.0), central=(-0.5, 4.0)))
    record = make_ensemble([one, other]).record
    assert record.domain == (-1, 3)
    assert record.central == (-0.5, 2)
    assert record.method == "ensemble"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([Line(1.0)], "needs at least 2 fits; got 1"),
        ([Line(1.0), Line(1.0, record=replace(RECORD, exposure="w"))], "same exposure; got 'x' and 'w'"),
        ([Line(1.0), Line(1.0, record=replace(RECORD, domain=(4.0, 5.0)))], "have no range in common"),
    ],
)
def test_what_is_no_ensemble(members, message):
    with pytest.raises(InputError, match=message):
        make_ensemble(members)
