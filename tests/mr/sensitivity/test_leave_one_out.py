"""Estimates without single instruments, and from single instruments."""

import importlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.mr import METHODS
from deepmr.mr.sensitivity import leave_one_out, single_instruments
from tests.mr.builders import locus, pack, simulated

module = importlib.import_module("deepmr.mr.sensitivity.leave_one_out")  # the package has a function of this name


def by_hand(instruments, method, **options):
    """The definition: every instrument left out in turn, one fit each."""
    rows = []
    for i, name in enumerate(instruments.loci):
        alone = locus(instruments, i)
        whole = METHODS[method](alone, **options)
        if not len(whole):
            continue
        for j in range(len(alone.variants)):
            others = METHODS[method](alone.take(np.arange(len(alone.variants)) != j), min_instruments=2)
            rows += [(name, alone.variants["variant_id"][j], *row) for row in numbers(others.table)]
        rows += [(name, "*", *row) for row in numbers(whole.table)]
    return pd.DataFrame(rows, columns=["locus", "left_out", *NUMBERS])


NUMBERS = ["beta", "se", "ci_low", "ci_high", "pvalue", "n", "df"]


def numbers(table):
    return table[NUMBERS].to_numpy(float).tolist()


@pytest.mark.parametrize("method", [*module.CLOSED, "wald", "egger_robust"])
@pytest.mark.parametrize("members", [0, 4])
def test_updates_equal_refits(method, members):
    given = simulated(counts=(0, 5, 20, 1, 12, 4), members=members)
    ours = leave_one_out(given, method=method).table
    theirs = by_hand(given, method)
    assert ours[["locus", "left_out"]].equals(theirs[["locus", "left_out"]])
    for name in NUMBERS:
        np.testing.assert_allclose(ours[name].to_numpy(float), theirs[name], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("method", module.CLOSED)
def test_an_instrument_that_carries_everything_is_refitted(method):
    given = pack([1e7, 1.0, 1.1, 0.9, 1.3], [4e6, 1.2, 0.8, 1.0, 1.1], 0.1, [1, 1.1, 0.9, 1.2, 1])
    ours, theirs = leave_one_out(given, method=method).table, by_hand(given, method)
    np.testing.assert_allclose(ours["beta"], theirs["beta"], rtol=1e-9)
    np.testing.assert_allclose(ours["se"], theirs["se"], rtol=1e-9)


def test_an_outlier_that_makes_all_the_scatter_is_refitted():
    x = np.arange(1.0, 9)
    y = 0.5 * x + 1e-6 * np.sin(x)
    y[3] += 1e6
    given = pack(x, y)
    ours, theirs = leave_one_out(given, method="ivw").table, by_hand(given, "ivw")
    np.testing.assert_allclose(ours["se"], theirs["se"], rtol=1e-9)


def test_numbers_known_by_hand():
    given = pack([1.0, 2.0, 1.0], [1.0, 4.0, 3.0], 0.1, 1.0)
    table = leave_one_out(given, method="ivw_fixed").table
    assert table["left_out"].tolist() == ["v0", "v1", "v2", "*"]
    assert table["beta"].tolist() == pytest.approx([11 / 5, 4 / 2, 9 / 5, 12 / 6])
    assert table["se"].tolist() == pytest.approx(1 / np.sqrt([5, 2, 5, 6]))
    assert table["n"].tolist() == [2, 2, 2, 3]


def test_what_cannot_be_fitted_without_an_instrument_has_a_reason():
    same = pack([1.0, 1.0, 1.0, 2.0], [1.0, 2.0, 1.5, 2.0])
    found = leave_one_out(same, method="egger")
    assert found.table["left_out"].tolist() == ["v0", "v1", "v2", "*"]
    (reason,) = found.skipped["reason"]
    assert reason.startswith("without v3: not identified: all exposure effects have the same size")
    three = leave_one_out(pack([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]), method="egger")
    assert three.table["left_out"].tolist() == ["*"]
    assert three.skipped["reason"][0] == "without v0: needs at least 3 instruments; has 2"
    few = leave_one_out(simulated(counts=(0, 2)))
    assert len(few) == 0
    assert few.skipped["reason"].tolist() == [f"needs at least 3 instruments; has {n}" for n in (0, 2)]


def test_refits_come_in_batches(monkeypatch):
    parts = importlib.import_module("deepmr.mr.sensitivity.parts")
    given = simulated(counts=(4, 0, 7))
    whole = leave_one_out(given, method="wald").table
    monkeypatch.setattr(parts, "_ROWS", 10)
    pd.testing.assert_frame_equal(leave_one_out(given, method="wald").table, whole)


def test_correlations_stay_with_their_instruments():
    parts = importlib.import_module("deepmr.mr.sensitivity.parts")
    ld = np.array([[1, 0.1, 0.2], [0.1, 1, 0.3], [0.2, 0.3, 1]])
    given = pack([1.0, 2, 3], [1.0, 2, 3], correlation=[ld])
    (others,) = parts.without_each(given, np.array([0, 1]))
    assert others.loci == ("0", "1")
    assert [m[0, 1] for m in others.correlation] == [0.3, 0.2]
    assert others.beta_exposure[:, 0].tolist() == [2, 3, 1, 3]
    assert all(m.shape == (1, 1) for m in parts.each_alone(given).correlation)


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="method must be one of"):
        leave_one_out(simulated(), method="egg")


def test_single_instruments_are_ratios():
    given = pack([2.0, -1.0, 0.0, 4.0], [1.0, 1.0, 1.0, 4.0], 0.1, [0.5, 0.2, 0.1, 1.0])
    found = single_instruments(given, methods=("ivw_fixed",))
    assert found.table["variant_id"].tolist() == ["v0", "v1", "v3", "*"]
    assert found.table["method"].tolist() == ["wald_weighted"] * 3 + ["ivw_fixed"]
    assert found.table["beta"].tolist()[:3] == [0.5, -1.0, 1.0]
    assert found.table["se"].tolist()[:3] == [0.25, 0.2, 0.25]
    assert found.skipped["reason"].tolist() == ["v2: an exposure effect of 0 has no ratio"]
    second = single_instruments(given, methods=(), order="second").table
    assert second["se"][0] == pytest.approx(np.sqrt(0.25**2 + 0.5**2 * 0.1**2 / 4))
    assert second["method"].tolist() == ["wald_weighted"] * 3


def test_members_make_the_error_of_a_single_ratio():
    given = simulated(counts=(4,), members=5)
    table = single_instruments(given, methods=()).table
    x, y = given.beta_exposure[:, 0], given.beta_outcome
    moved = (given.error_factors[:, :, 1] - y / x * given.error_factors[:, :, 0]) / x
    np.testing.assert_allclose(table["se"], np.sqrt((moved**2).sum(axis=0)))


def test_many_loci_equal_one_at_a_time():
    given = simulated(members=3)
    for find in (leave_one_out, single_instruments):
        together = find(given).table
        alone = pd.concat([find(locus(given, i)).table for i in range(len(given.loci))], ignore_index=True)
        pd.testing.assert_frame_equal(together, alone, rtol=1e-9, check_dtype=False)


def test_nothing_at_all():
    none = replace(simulated(counts=(0, 0)))
    assert len(leave_one_out(none)) == 0
    assert len(single_instruments(none)) == 0
