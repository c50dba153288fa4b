import numpy as np
import pytest

from deepmr.mr import METHODS
from tests.mr.edge_cases import CASES


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", METHODS)
def test_every_locus_has_an_estimate_or_a_reason(method, case):
    given = CASES[case]()
    estimates = METHODS[method](given, min_instruments=1)
    assert len(estimates.table) + len(estimates.skipped) == 1
    if len(estimates.skipped):
        assert estimates.skipped["reason"][0]
        return
    row = estimates.table.iloc[0]
    numbers = row[["beta", "se", "ci_low", "ci_high", "pvalue"]].to_numpy(float)
    assert np.isfinite(numbers).all()
    assert row["ci_low"] <= row["beta"] <= row["ci_high"]
    assert 0 <= row["pvalue"] <= 1
    extras = row.drop(["method", "exposure", "outcome", "locus", "estimand", "df"]).dropna()
    assert np.isfinite(extras.to_numpy(float)).all()


@pytest.mark.parametrize("method", METHODS)
def test_units_of_any_size_change_nothing(method):
    answers = [METHODS[method](CASES[case]()).table.iloc[0] for case in ("units of 1e-8", "units of 1e8")]
    for name in ("beta", "se", "ci_low", "ci_high", "pvalue"):
        assert answers[0][name] == pytest.approx(answers[1][name], rel=1e-6, abs=1e-12), name
