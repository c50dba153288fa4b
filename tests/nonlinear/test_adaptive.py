"""The sieve or a control function, as the data ask for."""

from dataclasses import replace

import numpy as np

from deepmr.individual import IVData
from deepmr.nonlinear.adaptive import Adaptive


def _data(seed, *, n_instruments, varying=0.0, n=4000):
    rng = np.random.default_rng(seed)
    z = rng.binomial(2, 0.3, (n, n_instruments)).astype(float)
    m = (z - 0.6) @ np.full(n_instruments, 0.9 / np.sqrt(n_instruments))
    u = rng.standard_normal(n)
    x = (1 + varying * u) * m + 0.5 * u + 0.6 * rng.standard_normal(n)
    y = 0.4 * x + 0.3 * x**2 - 0.7 * u + 0.5 * rng.standard_normal(n)
    return IVData(
        instruments=z,
        exposure=x,
        outcome=y,
        covariates=np.empty((n, 0)),
        instrument_names=tuple(f"z{k}" for k in range(n_instruments)),
    )


def test_instruments_that_tell_the_curve_leave_it_to_the_sieve():
    record = Adaptive().fit(_data(0, n_instruments=10)).record
    assert record.method == "auto"
    assert record.diagnostics["used_control_function"] == 0
    assert not any("sieve" in sentence for sentence in record.warnings)


def test_one_variant_leaves_it_to_the_control_function():
    record = Adaptive().fit(_data(1, n_instruments=1)).record
    assert record.diagnostics["used_control_function"] == 1
    assert record.diagnostics["gate_pvalue"] >= 0.05
    assert "A control function is used: instruments tell 2 of the 3" in record.warnings[-1]


def test_one_variant_whose_effect_varies_leaves_it_to_the_sieve():
    record = Adaptive().fit(_data(2, n_instruments=1, varying=0.8)).record
    assert record.diagnostics["used_control_function"] == 0
    assert record.diagnostics["gate_pvalue"] < 0.05
    assert "assumption is rejected" in record.warnings[-1]


def test_instruments_that_say_nothing_leave_it_to_the_sieve():
    data = _data(3, n_instruments=1, n=1000)
    noise = np.random.default_rng(0).binomial(2, 0.3, (1000, 1)).astype(float)
    record = Adaptive().fit(replace(data, instruments=noise)).record
    assert record.diagnostics["used_control_function"] == 0
    assert "too weak for a control function" in record.warnings[-1]


def test_the_limit_is_an_option():
    record = Adaptive(min_dimensions=1).fit(_data(1, n_instruments=1)).record
    assert record.diagnostics["used_control_function"] == 0
