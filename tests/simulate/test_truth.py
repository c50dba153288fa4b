"""True effects: by a loop over edits, against the published table, and pooled by hand."""

import numpy as np
import pandas as pd
import pytest

from deepmr.anscombe import anscombe
from deepmr.simulate.labels import binding_probabilities, expected_counts, expected_targets
from deepmr.simulate.options import SimulationOptions
from deepmr.simulate.sequences import simulate_loci
from deepmr.simulate.truth import DEFINITIONS, edit_motifs, global_effects, true_effects

SCENARIOS = ("unconfounded", "random", "sequence", "both")


def simulated(motifs, n, **kwargs):
    options = SimulationOptions(motifs=motifs, **kwargs)
    return options, simulate_loci(n, options=options, split="test", seed=2)


def occupancy(sequence, matrix, q, background):
    """The definition, in a loop."""
    free = 1.0
    for start in range(len(sequence) - len(matrix) + 1):
        window = sequence[start : start + len(matrix)]
        p = [matrix[j, base] * (1 - q) + q / 4 for j, base in enumerate(window)]
        energy = sum(np.log(background[base] / p[j]) for j, base in enumerate(window))
        free *= 1 - 1 / (1 + np.exp(energy))
    return 1 - free


def values(sequence, options, definition, z):
    """Both marks of one sequence, by sums over counts."""
    released = definition == "released"
    q, background = (1e-3, (0.27, 0.23, 0.27, 0.23)) if released else (1e-5, (0.27, 0.23, 0.23, 0.27))
    e, o, c = (occupancy(sequence, matrix, q, background) for matrix in options.motifs.matrices)
    c = 0 if released or options.scenario in {"unconfounded", "random"} else c
    coin = [0] if released or options.scenario in {"unconfounded", "sequence"} else [0, 1]
    coin = [z] if definition == "realised_z" else coin
    marks = []
    for bound, strength in ((100 * e, 20), (100 * options.gamma * e * o, 30)):
        means = [1 + bound + strength * c + 25 * value for value in coin]
        if released:
            marks.append(2 * np.sqrt(means[0] + 3 / 8))
            continue
        counts = np.arange(2500)
        log_factorial = np.concatenate([[0], np.cumsum(np.log(counts[1:]))])
        weights = [np.exp(counts * np.log(mean) - mean - log_factorial) for mean in means]
        marks.append(np.mean([np.sum(w * 2 * np.sqrt(counts + 3 / 8)) for w in weights]))
    return np.array(marks)


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("scenario", ["unconfounded", "both"])
def test_truth_equals_a_loop_over_the_edits(motifs, scenario, definition):
    options, loci = simulated(motifs, 14, scenario=scenario, gamma=4.0)
    truth = true_effects(loci, options=options, definition=definition).set_index("locus")
    checked = 0
    for row in np.flatnonzero(loci.starts[:, 0] >= 0)[:2]:
        reference = values(loci.codes[row], options, definition, loci.z[row])
        xy = xx = 0.0
        for offset in range(loci.starts[row, 0], loci.starts[row, 0] + 10):
            for base in set(range(4)) - {loci.codes[row, offset]}:
                edited = loci.codes[row].copy()
                edited[offset] = base
                dx, dy = values(edited, options, definition, loci.z[row]) - reference
                xy, xx = xy + dx * dy, xx + dx * dx
        found = truth.loc[loci.names[row]]
        assert found["beta"] == pytest.approx(xy / xx, rel=1e-6)
        assert found["sum_dx2"] == pytest.approx(xx, rel=1e-6)
        assert found["n_edits"] == 30
        checked += 1
    assert checked == 2


# Means over loci with both motifs by an independent implementation, alpha 100, 200 loci. The effects vary over loci
# (sd 0.3 where the confounder's motif acts), hence the tolerances.
PUBLISHED_MEAN_OF_A = {  # A of the expected count; confounders at 0 or 1 throughout
    ("unconfounded", 0): (1.000, 3.275),
    ("random", 1): (1.000, 4.169),
    ("sequence", 0): (0.935, 3.837),
    ("both", 1): (0.958, 4.443),
}


@pytest.mark.parametrize("gamma", [1.0, 10.0])
def test_released_definition_gives_the_published_truth(motifs, gamma):
    options, loci = simulated(motifs, 1500, gamma=gamma)
    truth = true_effects(loci, options=options, definition="released")
    both = truth.loc[truth["kind"] == "both", "beta"]
    assert both.median() == pytest.approx({1.0: 1.000, 10.0: 3.190}[gamma], abs=0.03)
    pooled = global_effects(truth).set_index(["kind", "statistic"]).loc[("both", "pooled ratio"), "beta"]
    assert pooled == pytest.approx({1.0: 1.000, 10.0: 3.190}[gamma], abs=0.04)


@pytest.mark.parametrize("case", PUBLISHED_MEAN_OF_A)
@pytest.mark.parametrize("gamma", [1.0, 10.0])
def test_clean_convention_gives_the_published_table(motifs, case, gamma):
    """A of the mean is not offered as a definition; its table still checks binding, counts and edits."""
    scenario, z = case
    options, loci = simulated(motifs, 1500, scenario=scenario, gamma=gamma)
    loci = loci.take(loci.kind == "both")
    edits = edit_motifs(loci, mark="exposure")
    mean_of = [_mean_counts(codes, options, z) for codes in (edits.codes, loci.codes)]
    dx, dy = (anscombe(mean_of[0]) - anscombe(mean_of[1])[edits.locus]).T
    slopes = np.bincount(edits.locus, dx * dy) / np.bincount(edits.locus, dx * dx)
    published = PUBLISHED_MEAN_OF_A[case][gamma == 10.0]
    assert slopes.mean() == pytest.approx(published, rel=0.02)


def _mean_counts(codes, options, z):
    return expected_counts(binding_probabilities(codes, options=options), options=options, z=z)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_effect_is_about_the_root_of_gamma_and_none_in_reverse(motifs, scenario):
    options, loci = simulated(motifs, 800, scenario=scenario, gamma=10.0)
    forward, reverse = (
        global_effects(true_effects(loci, options=options, exposure=mark)).set_index(["kind", "statistic"])["beta"]
        for mark in ("exposure", "outcome")
    )
    assert 3.1 < forward[("both", "mean")] < 4.5
    assert 0 < forward[("exposure", "pooled ratio")] < 0.4  # weak sites stand in for the outcome's motif
    assert abs(reverse[("both", "median")]) < 0.001
    assert abs(reverse[("both", "pooled ratio")]) < 0.002
    assert abs(reverse[("both", "mean")]) < 0.05  # one locus whose outcome hardly changes moves it
    assert ("exposure", "mean") not in forward
    assert set(reverse.index.get_level_values("kind")) == {"both", "outcome"}


def test_definitions_agree_where_nothing_distinguishes_them(motifs):
    options, loci = simulated(motifs, 100)
    averaged = true_effects(loci, options=options)
    realised = true_effects(loci, options=options, definition="realised_z")
    pd.testing.assert_frame_equal(averaged.drop(columns="definition"), realised.drop(columns="definition"))


def test_no_effect_is_exactly_none(motifs):
    options, loci = simulated(motifs, 100, gamma=0.0)
    assert (true_effects(loci, options=options)["beta"] == 0).all()
    # The outcome never changes, so nothing can be its effect: loci without an answer are left out.
    assert true_effects(loci, options=options, exposure="outcome").empty
    assert global_effects(true_effects(loci, options=options, exposure="outcome")).empty


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_outcome_that_answers_to_its_own_motif_alone_has_no_cause(motifs, scenario):
    """With effect none, edits of the exposure's motif move the outcome by sites that they make or break, no more."""
    options, loci = simulated(motifs, 800, scenario=scenario, effect="none")
    assert expected_targets(loci.codes, options=options)[:, 1].std() > 10  # the outcome has a signal
    forward, reverse = (
        global_effects(true_effects(loci, options=options, exposure=mark)).set_index(["kind", "statistic"])["beta"]
        for mark in ("exposure", "outcome")
    )
    for table in (forward, reverse):
        assert abs(table[("both", "median")]) < 1e-3
        assert abs(table[("both", "pooled ratio")]) < 0.005


def test_confounders_without_strength_change_nothing(motifs):
    none, _ = simulated(motifs, 1)
    weak, loci = simulated(motifs, 60, scenario="both", confounder_strength=0.0)
    np.testing.assert_array_equal(
        expected_targets(loci.codes, options=weak), expected_targets(loci.codes, options=none)
    )
    means = []
    for strength in (0.0, 0.5, 1.0):
        options, loci = simulated(motifs, 300, scenario="both", confounder_strength=strength)
        table = global_effects(true_effects(loci, options=options)).set_index(["kind", "statistic"])
        means.append(table.loc[("both", "median"), "beta"])
    assert means[0] < means[1] < means[2]


def test_global_effects_by_hand():
    truth = pd.DataFrame(
        {
            "locus": list("abcd"),
            "kind": ["both", "both", "exposure", "exposure"],
            "exposure": "exposure",
            "outcome": "outcome",
            "definition": "averaged",
            "beta": [2.0, 4.0, 1.0, -500.0],
            "n_edits": 30,
            "sum_dxdy": [2.0, 12.0, 5.0, -0.5],
            "sum_dx2": [1.0, 3.0, 5.0, 0.001],
        }
    )
    table = global_effects(truth).set_index(["kind", "statistic"])
    assert table.loc[("both", "mean"), "beta"] == 3
    assert table.loc[("both", "mean"), "sd"] == 1
    assert table.loc[("both", "median"), "beta"] == 3
    assert table.loc[("both", "pooled ratio"), "beta"] == 14 / 4
    assert table.loc[("exposure", "pooled ratio"), "beta"] == pytest.approx(4.5 / 5.001)
    assert (table["n_loci"] == 2).all()
    assert len(table) == 4


def test_strong_instruments_of_an_oracle_recover_the_truth(motifs):
    """Slopes through the edits that a relative floor selects, anywhere in the locus, average to the truth."""
    options, loci = simulated(motifs, 240, gamma=10.0)
    loci = loci.take(loci.kind == "both")
    n, edit = len(loci), np.arange(300)
    codes = np.repeat(loci.codes[:, None], 300, axis=1)
    codes[:, edit, edit // 3] = (codes[:, edit, edit // 3] + 1 + edit % 3) % 4
    values = expected_targets(codes.reshape(-1, 100), options=options).reshape(n, 300, 2)
    dx, dy = np.moveaxis(values - expected_targets(loci.codes, options=options)[:, None], 2, 0)
    keep = np.abs(dx) >= 0.25 * np.quantile(np.abs(dx), 0.99)
    usable = keep.sum(axis=1) >= 3
    slope = (dx * dy * keep).sum(axis=1)[usable] / (dx * dx * keep).sum(axis=1)[usable]
    truth = true_effects(loci, options=options)["beta"].to_numpy()[usable]
    assert np.median(keep.sum(axis=1)) == 17  # the published number of instruments, those at the GATA core
    assert slope.mean() == pytest.approx(truth.mean(), rel=0.01)
