"""Samplers by hand, products and draws, and parameters that a method does not have."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.io.sweep_parameters import SweepParameter, check_parameters, make_runs, read_parameter


def read(**section):
    return read_parameter(section, where="s.toml: parameter 1")


def values(**section):
    return list(read(name="n_functions", **section).values)


def test_grids():
    assert values(sampler="grid", start=2, stop=8, n_values=4) == [2, 4, 6, 8]
    assert values(sampler="grid", start=2, stop=8, step=3) == [2, 5, 8]
    assert values(sampler="grid", start=2, stop=7, step=3) == [2, 5]
    assert values(sampler="grid", start=0.1, stop=0.3, step=0.1) == [0.1, 0.2, 0.3]
    assert values(sampler="grid", start=1, stop=100, n_values=3, log=True) == [1, 10, 100]
    assert all(type(one) is int for one in values(sampler="grid", start=16, stop=256, n_values=5, log=True))
    assert values(sampler="grid", start=1e-4, stop=1e-2, n_values=3, log=True) == [1e-4, 1e-3, 1e-2]
    assert values(sampler="grid", start=1, stop=2, n_values=3) == [1, 1.5, 2]


def test_lists_and_literals():
    assert values(sampler="list", values=["a", True, 3, 2.5]) == ["a", True, 3, 2.5]
    assert values(sampler="list", values=[[128, 64], [32]]) == ["128,64", "32"]
    assert values(sampler="literal", value=[64, 32]) == ["64,32"]
    assert values(sampler="literal", value=None) == ["none"]  # of JSON; TOML has the word


def test_drawn():
    one = read(name="n_folds", sampler="random_uniform_int", low=2, high=9)
    assert (one.kind, one.low, one.high, one.log) == ("integer", 2, 9, False)
    other = read(name="rate", sampler="random_uniform", low=1e-4, high=0.1, log=True)
    assert (other.kind, other.log) == ("float", True)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"sampler": "list", "values": [1]}, "needs a name"),
        ({"name": "a"}, "a: needs a sampler, one of grid, list"),
        ({"name": "a", "sampler": "gird", "start": 1}, "got 'gird'; did you mean 'grid'?"),
        ({"name": "a", "sampler": "grid", "strat": 1}, "has no 'strat'; did you mean 'start'?"),
        ({"name": "a", "sampler": "grid", "start": 1}, "stop must be a number; got nothing"),
        ({"name": "a", "sampler": "grid", "start": 1, "stop": 2}, "n_values or step, and not both"),
        (
            {"name": "a", "sampler": "grid", "start": 0, "stop": 2, "n_values": 3, "log": True},
            "positive on a log scale",
        ),
        ({"name": "a", "sampler": "grid", "start": 3, "stop": 2, "step": 1}, "from start up to stop"),
        ({"name": "a", "sampler": "grid", "start": 3, "stop": 2, "n_values": 1.5}, "whole number from 1 on; got 1.5"),
        ({"name": "a", "sampler": "list"}, "sampler list needs values"),
        ({"name": "a", "sampler": "list", "values": []}, "a list with at least one"),
        ({"name": "a", "sampler": "list", "values": [1, 1]}, "occurs more than once"),
        ({"name": "a", "sampler": "literal", "value": {"b": 1}}, "a value must be a number"),
        ({"name": "a", "sampler": "integer", "low": 3, "high": 3}, "low must be below high; got 3 and 3"),
        ({"name": "a", "sampler": "integer", "low": 1.5, "high": 3}, "whole numbers; got 1.5"),
        ({"name": "a", "sampler": "float", "low": 0, "high": 3, "log": True}, "low must be positive"),
        ({"name": "a", "sampler": "float", "low": "x", "high": 3}, "low must be a number; got 'x'"),
        ({"name": "a", "sampler": "float", "low": 1, "high": 3, "log": "yes"}, "log must be true or false"),
    ],
)
def test_what_is_wrong_is_said(section, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?")) as caught:
        read_parameter(section, where="s.toml: parameter 1")
    assert str(caught.value).startswith("s.toml: parameter 1")
    assert "\n" not in str(caught.value)


def listed(name, *given, methods=()):
    return SweepParameter(name=name, kind="values", values=given, methods=methods)


def test_a_product_is_cut():
    parameters = [listed("n_functions", 5, 9), listed("n_folds", 2, 3)]
    runs = make_runs(parameters, ["sieve"], max_runs=100, seed=0)
    assert [(r["n_functions"], r["n_folds"]) for r in runs] == [(5, 2), (5, 3), (9, 2), (9, 3)]
    assert make_runs(parameters, ["sieve"], max_runs=3, seed=0) == runs[:3]
    assert make_runs([], ["sieve"], max_runs=3, seed=0) == [{}]


def test_joint_draws_cycle_lists_and_shuffle_them():
    drawn = SweepParameter(name="n_functions", kind="integer", low=4.0, high=30.0, log=True)
    runs = make_runs([listed("n_folds", 2, 3, 5), drawn], ["sieve"], max_runs=30, seed=1)
    folds = [r["n_folds"] for r in runs]
    assert sorted(folds) == [2] * 10 + [3] * 10 + [5] * 10
    assert folds != [2, 3, 5] * 10
    assert len({r["n_functions"] for r in runs}) > 8
    assert make_runs([listed("n_folds", 2, 3, 5), drawn], ["sieve"], max_runs=30, seed=1) == runs
    assert make_runs([listed("n_folds", 2, 3, 5), drawn], ["sieve"], max_runs=30, seed=2) != runs


def test_draws_are_uniform_on_their_scale_and_reach_both_ends():
    def column(**of):
        runs = make_runs([SweepParameter(name="seed", **of)], ["sieve"], max_runs=4000, seed=0)
        return np.array([one["seed"] for one in runs])

    whole = column(kind="integer", low=1.0, high=4.0)
    assert set(whole) == {1, 2, 3, 4}
    assert np.abs(np.bincount(whole)[1:] / 4000 - 0.25).max() < 0.03
    log = column(kind="float", low=1e-4, high=1.0, log=True)
    assert log.min() >= 1e-4
    assert log.max() <= 1
    assert np.mean(log < 1e-2) == pytest.approx(0.5, abs=0.03)
    small = column(kind="integer", low=1.0, high=100.0, log=True)
    assert {1, 100} <= set(small)
    assert np.median(small) == pytest.approx(9, abs=2)


def test_values_are_checked_against_the_methods_options():
    check_parameters([listed("n_functions", 5, 9), listed("seed", 0, 1)], ["sieve"], where="s")
    drawn = SweepParameter(name="n_functions", kind="float", low=2.0, high=4.0)
    for wrong, said in [
        (listed("n_function", 5), "s: n_function: sieve has no option 'n_function'; did you mean 'n_functions'?"),
        (listed("n_functions", 5, 9.5), "s: n_functions: option n_functions of sieve must be int; got 9.5"),
        (listed("modification", "line"), "modification must be one of"),
        (drawn, "must be int; got"),
        (listed("seed", -1), "a seed is a whole number"),
        (listed("method", "sieve"), r"methods are given by method = \[...\] in \[sweep\]"),
        (listed("n_folds", 5, methods=("seive",)), "for method 'seive'; did you mean 'sieve'?"),
    ]:
        with pytest.raises(InputError, match=said.replace("?", r"\?")):
            check_parameters([wrong], ["sieve"], where="s")
    with pytest.raises(InputError, match="occurs more than once"):
        check_parameters([listed("n_folds", 5), listed("n_folds", 4)], ["sieve"], where="s")
