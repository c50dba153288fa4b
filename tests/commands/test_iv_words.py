"""What `deepmr iv fit` says of a fit in words."""

import pytest

from deepmr.commands.iv_words import instruments_say, interval_words, method_numbers, method_words, weak_words
from deepmr.individual import FitRecord


def record(diagnostics, **options):
    return FitRecord(
        method="sieve",
        options=options,
        seed=0,
        exposure="x",
        outcome="y",
        instruments=("z",),
        covariates=(),
        outcome_type="continuous",
        n=100,
        n_outcome=100,
        domain=(0.0, 1.0),
        central=(0.1, 0.9),
        quartiles=(0.2, 0.5, 0.8),
        diagnostics=diagnostics,
    )


def test_what_instruments_tell():
    found = {"f_effective": 50.0, "f_effective_critical": 23.1, "r2": 0.25, "identified_dimension": 1.0}
    assert instruments_say(record(found | {"linearity_pvalue": 0.5, "hansen_j_pvalue": 0.4})) == [
        "1 instrument explains 25 % of the variance of x; effective F 50 "
        "(little bias of two-stage least squares from 23.1 on)",
        "one dimension of the curve is identified: a slope, and no bend",
        "a straight line is not ruled out (P = 0.5)",
        "instruments agree on one slope (Hansen's J, P = 0.4)",
    ]


@pytest.mark.parametrize(("count", "said"), [(0, "nothing of the curve is"), (3, "3 dimensions"), (1, "one dimension")])
def test_dimensions(count, said):
    assert said in instruments_say(record({"identified_dimension": float(count)}))[0]


def test_what_warnings_say_is_not_said_again():
    assert instruments_say(record({"linearity_pvalue": 0.01, "hansen_j_pvalue": 0.01})) == []
    assert instruments_say(record({})) == []


def test_only_numbers_of_the_method_are_rows():
    numbers = {"gate_pvalue": 0.5, "gate_variance_pvalue": 0.9, "direction_f_1": 3.0, "f_pvalue": 0.0, "another": 1.0}
    found = {row["diagnostic"]: row["meaning"] for row in method_numbers(numbers)}
    assert list(found) == ["gate_pvalue", "another"]
    assert found["gate_pvalue"]
    assert found["another"] == ""


def test_weak_instruments_are_in_the_title():
    assert weak_words(record({"weak_identification": 1.0})) == " (weak instruments)"
    assert weak_words(record({"weak_identification": 0.0})) == weak_words(record({})) == ""


def test_intervals_and_methods():
    assert interval_words(record({}), level=0.9) == "90 % interval"
    assert interval_words(record({}), level=None) == "the method has no interval"
    assert "n_boot=50" in interval_words(record({}, n_boot=1), level=None)
    assert method_words(record({})) == "sieve"
    assert method_words(record({"used_control_function": 1.0})) == "sieve, a control function"
