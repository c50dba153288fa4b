"""A small round of every arm of the study that needs no trained network, from rows to the page."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

STUDIES = str(Path(__file__).parents[2] / "simulations")


@pytest.fixture(scope="module")
def study():
    """Return the modules of the study, with 150 test sequences in the place of 1,000."""
    before = set(sys.modules)
    sys.path.insert(0, STUDIES)
    with pytest.MonkeyPatch.context() as patch:
        names = ("paper_rounds", "paper_oracle_rounds", "paper_oracle_page", "paper_oracle")
        modules = {name: importlib.import_module(name) for name in names}
        patch.setattr(modules["paper_rounds"], "N_TEST", 150)
        yield modules
    sys.path.remove(STUDIES)
    for name in set(sys.modules) - before:
        if name.startswith("paper"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def oracle(study):
    """Return rows of three rounds of a scenario, one of them by all methods, and of one of each other simulation."""
    settings = [setting for setting in study["paper_oracle"].SETTINGS if setting.scenario == "both"]
    units = [(setting, unit) for setting in settings for unit in setting.units()[: 3 if setting.arm == "main" else 1]]
    rows = study["paper_oracle_rounds"].oracle_rows
    methods = study["paper_oracle"].methods_of
    every = [setting.arm == "main" and unit.number == 0 for setting, unit in units]
    return pd.concat(
        [
            rows(unit, methods(setting, 0 if all_ else setting.slow))
            for (setting, unit), all_ in zip(units, every, strict=True)
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def reverse(study):
    unit = study["paper_oracle"].REVERSE[0].units()[0]
    return study["paper_oracle_rounds"].reverse_rows(unit)


def test_the_default_estimator_is_right_on_the_true_functions_and_egger_is_not(oracle):
    assert np.isfinite(oracle[["beta", "truth", "difference", "rmse"]]).all(axis=None)
    main = oracle[(oracle["arm"] == "main") & (oracle["instruments"] == "relative")]
    assert set(main["method"]) >= {"ivw", "egger", "egger_robust", "mode_weighted", "raps"}
    assert main.loc[main["method"] == "ivw", "difference"].abs().max() < 0.01
    strong = main[main["gamma"] > 5]
    assert strong.loc[strong["method"] == "egger", "difference"].min() > 0.5


def test_motif_instruments_are_needed_where_binding_is_graded(oracle):
    graded = oracle[(oracle["arm"] == "graded") & (oracle["method"] == "ivw")].set_index("instruments")
    assert abs(graded.loc["motif", "difference"]) < 0.02 < abs(graded.loc["relative", "difference"])


def test_the_standard_error_given_to_an_oracle_moves_only_what_weighs_by_it(study):
    unit = study["paper_oracle"].SETTINGS[0].units()[0]
    some = {"relative": ("wald", "ivw", "ivw_random", "egger")}
    first, second = (study["paper_oracle_rounds"].oracle_rows(unit, some, se=se) for se in (1e-4, 1e-1))
    np.testing.assert_allclose(first["beta"], second["beta"])


def test_a_reverse_effect_is_there_before_edits_are_given_to_their_task_and_not_after(reverse):
    found = reverse.set_index(["direction", "assign"])
    assert found.loc[("reverse", "none"), "excludes_0"] == 1
    assert abs(found.loc[("reverse", "steiger"), "beta"]) < 0.01
    assert found.loc[("reverse", "steiger"), "local_excludes_0"] < 0.25
    assert found.loc[("forward", "steiger"), "local_excludes_0"] == 1
    assert np.isfinite(reverse[["beta", "truth", "local_covers"]]).all(axis=None)


def test_effects_fall_with_the_distance_and_the_page_says_all(study, oracle, reverse, tmp_path, monkeypatch):
    monkeypatch.setattr(study["paper_oracle"], "N_SPACING", 250)
    monkeypatch.setattr(study["paper_oracle"], "STRENGTHS", (1.0, 10.0))
    table, _ = study["paper_oracle"].spacing(tmp_path)
    strong = table[table["exposure"] == "GATA, γ 10"]
    assert strong["truth"].is_monotonic_decreasing
    assert (strong["beta"] - strong["truth"]).abs().max() < 0.3
    study["paper_oracle_page"].draw_spacing(table, tmp_path / "spacing.png")
    assert (tmp_path / "spacing.png").stat().st_size > 10_000
    text = "\n".join(study["paper_oracle_page"].blocks(oracle, reverse, table).values())
    assert "nan" not in text.replace("± nan", "")
    assert "reverse | steiger" in text
