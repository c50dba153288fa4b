"""Sensitivity analyses against R; see README.md beside this file."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from deepmr.inference import interval, two_sided
from deepmr.mr.egger import egger
from deepmr.mr.ivw import ivw_random
from deepmr.mr.sensitivity import heterogeneity, leave_one_out, q_outliers, single_instruments, strength
from tests.oracle.reference import CLOSED, agree, fits, only, values

TWO_SAMPLE = {"b": "beta", "se": "se", "pval": "pvalue"}


@pytest.fixture
def named(instruments, table):
    """The data set of a fit, instruments by the names they have there."""
    return replace(instruments, variants=instruments.variants.assign(variant_id=table["snp"]))


@cache
def _tables():
    return {}


def once(find, row, instruments):
    """Run an analysis once a data set: R made a row of each of its rows."""
    key = (find.__name__, row["dataset"])
    if key not in _tables():
        _tables()[key] = find(instruments).table
    return _tables()[key]


@fits("TwoSampleMR", "leave_one_out")
def test_leave_one_out(row, named):
    found = once(leave_one_out, row, named)
    ours = found[found["left_out"] == row["options"].removeprefix("drop=")].iloc[0]
    agree(ours, values(row), TWO_SAMPLE, CLOSED)


@fits("TwoSampleMR", "single_snp")
def test_single_instruments(row, named):
    found = once(single_instruments, row, named)
    ours = found[found["variant_id"] == row["options"]].iloc[0]
    agree(ours, values(row), TWO_SAMPLE, CLOSED)


@fits("TwoSampleMR", "rucker_Q")
def test_heterogeneity(row, instruments):
    ours = heterogeneity(instruments).table.iloc[0]
    which = {"Q_ivw": "q_ivw", "Q_egger": "q_egger", "Q_diff": "q_difference"}[row["options"]]
    names = {"Q": which, "df": f"{which}_df", "P": f"{which}_pvalue"}
    agree(ours.to_dict() | {"q_difference_df": 1.0}, values(row), names, CLOSED)


def ruckers_se(ours, se, fixed):
    """The standard error that TwoSampleMR's framework gives: it is too small where the scatter is.

    It multiplies the random-effects one by sigma also below 1, and divides it by max(1, sigma) for fixed effects. Ours
    are floored, and of 1 for fixed effects.
    """
    return ours[se] * min(1.0, ours["sigma"]) / (max(1.0, ours["sigma"]) if fixed else 1.0)


@fits("TwoSampleMR", "rucker")
def test_models_of_ruckers_framework(row, instruments):
    method = ivw_random if row["options"].startswith("IVW") else egger
    ours, theirs = only(method(instruments)).to_dict(), values(row)
    ours["se"] = ruckers_se(ours, "se", row["options"].endswith("fixed effects"))
    beta, se = np.array([ours["beta"]]), np.array([ours["se"]])
    low, high = interval(beta, se)  # normal for MR-Egger too, whose P value is t
    df = np.inf if method is ivw_random else ours["df"]
    ours |= {"ci_low": low[0], "ci_high": high[0], "pvalue": two_sided(beta, se, df=df)[0]}
    names = {"Estimate": "beta", "SE": "se", "CI_low": "ci_low", "CI_upp": "ci_high", "P": "pvalue"}
    agree(ours, theirs, names, CLOSED)


@fits("TwoSampleMR", "rucker_intercept")
def test_intercepts_of_ruckers_framework(row, instruments):
    ours = heterogeneity(instruments).table.iloc[0].to_dict() | {"sigma": only(egger(instruments))["sigma"]}
    ours["intercept_se"] = ruckers_se(ours, "intercept_se", row["options"].endswith("fixed effects"))
    p = two_sided(np.array([ours["intercept"]]), np.array([ours["intercept_se"]]))[0]  # normal; ours is t
    names = {"Estimate": "intercept", "SE": "intercept_se", "P": "intercept_pvalue"}
    agree(ours | {"intercept_pvalue": p}, values(row), names, CLOSED)


@fits("formula", "strength")
def test_strength(row, instruments):
    ours = strength(instruments).table.iloc[0]
    agree(ours, values(row), {"F_mean": "f_statistic", "F_median": "f_median", "F_min": "f_min"}, CLOSED)


@fits("TwoSampleMR", "Isq")
def test_i_squared_of_the_exposure(row, instruments):
    ours = strength(instruments).table.iloc[0]
    name = "i2_gx" if row["options"].startswith("weighted") else "i2_gx_unweighted"
    agree(ours, values(row), {"I2GX": name}, CLOSED)


@fits("RadialMR", "ivw_radial", options="weights=1", without=("row=",))
def test_parts_of_q(row, instruments):
    table, theirs = q_outliers(instruments, correction="none").table, values(row)
    ours = {f"Qj[{j + 1}]": q for j, q in enumerate(table["q"])}
    ours |= {"Q": table["q"].sum(), "n_outliers": table["outlier"].sum()}
    agree(ours, theirs, {name: name for name in ours}, CLOSED)
