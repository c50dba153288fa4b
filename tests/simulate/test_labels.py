"""Counts: the formula by hand, the averages over noise, and the published quantiles of binding."""

import numpy as np
import pytest

from deepmr.anscombe import anscombe, anscombe_mean
from deepmr.simulate.labels import Binding, binding_probabilities, draw_counts, expected_counts, expected_targets
from deepmr.simulate.motifs import MotifSet
from deepmr.simulate.options import PRESETS, SimulationOptions
from deepmr.simulate.sequences import ABSENT, simulate_loci

SURE = MotifSet(  # one base a factor: A binds the exposure, C the outcome, G the confounder
    names=("a", "c", "g"), matrices=tuple(np.eye(4)[[base]] for base in range(3))
)


def test_expected_counts_by_hand(motifs):
    binding = Binding(exposure=np.array([0.5]), outcome=np.array([0.2]), confounder=np.array([0.1]))
    options = SimulationOptions(motifs=motifs, scenario="both", gamma=3.0, alpha=80.0)
    exposure, outcome = expected_counts(binding, options=options, z=1)[0]
    assert exposure == pytest.approx(1 + 80 * 0.5 + 20 * 0.1 + 25)
    assert outcome == pytest.approx(1 + 240 * 0.5 * 0.2 + 30 * 0.1 + 25)


def test_options_of_counts_by_hand(motifs):
    probabilities = {"exposure": np.array([0.5]), "outcome": np.array([0.2]), "confounder": np.array([0.1])}

    def counts(closeness=None, **changes):
        options = SimulationOptions(motifs=motifs, scenario="both", gamma=3.0, alpha=80.0, **changes)
        return expected_counts(Binding(**probabilities, closeness=closeness), options=options, z=1)[0]

    np.testing.assert_allclose(counts(effect="none"), [1 + 40 + 2 + 25, 1 + 240 * 0.2 + 3 + 25])
    np.testing.assert_allclose(counts(confounder_strength=0.1), [1 + 40 + 2.7, 1 + 240 * 0.1 + 2.8])
    np.testing.assert_allclose(counts(confounder_strength=0.0), [1 + 40, 1 + 240 * 0.1])
    np.testing.assert_allclose(counts(closeness=np.array([0.5])), [1 + 40 + 27, 1 + 240 * 0.1 * 0.5 + 28])


def test_a_confounder_that_varies(motifs):
    options = SimulationOptions(motifs=motifs, scenario="sequence", **PRESETS["varying_confounder"])
    loci = simulate_loci(2000, options=options, split="test", seed=1)
    p = binding_probabilities(loci.codes, options=options)
    planted = loci.starts[:, 2] != ABSENT
    assert np.quantile(p.confounder[planted], 0.05) > 0.99
    assert p.confounder[~planted].mean() < 0.03
    assert 0.48 < p.confounder.std() < 0.5
    plain = SimulationOptions(motifs=motifs, scenario="sequence")
    same = simulate_loci(2000, options=plain, split="test", seed=1)
    np.testing.assert_array_equal(loci.starts, same.starts)
    differs = np.flatnonzero((loci.codes != same.codes).any(axis=1))
    assert planted[differs].all()  # the strings of the confounder alone, and so exposure and outcome bind as before


def test_binding_of_a_toy_motif_by_hand():
    options = SimulationOptions(motifs=SURE, length=5, scenario="both", smoothing=0.4)
    odds = {"hit": 0.7 / 0.27, "miss_at": 0.1 / 0.27, "miss_gc": 0.1 / 0.23}
    codes = np.array([[0, 3, 3, 3, 1]], dtype=np.uint8)  # ATTTC
    free = 1 / np.prod([1 + odds["hit"], (1 + odds["miss_at"]) ** 3, 1 + odds["miss_gc"]])
    assert binding_probabilities(codes, options=options).exposure[0] == pytest.approx(1 - free, rel=1e-12)
    plain = SimulationOptions(motifs=SURE, length=5, smoothing=0.4)
    assert binding_probabilities(codes, options=plain).confounder[0] == 0


def test_expected_targets_average_over_noise_and_z(motifs):
    for scenario in ("unconfounded", "both"):
        options = SimulationOptions(motifs=motifs, scenario=scenario)
        loci = simulate_loci(40, options=options, split="test", seed=1)
        binding = binding_probabilities(loci.codes, options=options)
        values = [anscombe_mean(expected_counts(binding, options=options, z=z)) for z in (0, 1)]
        expected = values[0] if scenario == "unconfounded" else (values[0] + values[1]) / 2
        np.testing.assert_allclose(expected_targets(loci.codes, options=options), expected, rtol=1e-12)
        np.testing.assert_allclose(
            expected_targets(loci.codes, options=options, z=loci.z),
            anscombe_mean(expected_counts(binding, options=options, z=loci.z)),
        )
    assert (values[0] < anscombe(expected_counts(binding, options=options, z=0))).all()


def test_draws_have_the_expected_mean_and_poisson_variance(motifs):
    options = SimulationOptions(motifs=motifs, scenario="both")
    loci = simulate_loci(6000, options=options, split="train", seed=1)
    counts = draw_counts(loci, options=options, seed=1)
    means = expected_counts(binding_probabilities(loci.codes, options=options), options=options, z=loci.z)
    score = (counts - means) / np.sqrt(means)
    assert np.abs(score.mean(axis=0)).max() < 4 / np.sqrt(6000)
    assert np.abs(score.var(axis=0) - 1).max() < 0.1
    assert abs(np.corrcoef(score.T)[0, 1]) < 4 / np.sqrt(6000)
    residual = anscombe(counts) - expected_targets(loci.codes, options=options)
    assert np.abs(residual.mean(axis=0) / residual.std(axis=0)).max() < 4 / np.sqrt(6000)
    np.testing.assert_array_equal(counts, draw_counts(loci, options=options, seed=1))
    assert (counts != draw_counts(loci, options=options, seed=2)).any()


def test_binding_has_the_published_quantiles(motifs):
    """Medians and means of the paper's simulation, recomputed from its released code (background order corrected)."""
    options = SimulationOptions(motifs=motifs, scenario="both")
    loci = simulate_loci(3000, options=options, split="test", seed=1)
    binding = binding_probabilities(loci.codes, options=options)
    planted = (loci.starts != ABSENT).T
    p = np.stack([binding.exposure, binding.outcome, binding.confounder])
    for role, low in enumerate((0.99, 0.99, 0.98)):
        assert np.median(p[role, planted[role]]) > 0.999
        assert np.quantile(p[role, planted[role]], 0.05) > low
    assert p[0, ~planted[0]].mean() == pytest.approx(0.08, abs=0.03)
    assert p[1, ~planted[1]].mean() == pytest.approx(0.05, abs=0.02)
    assert 0.6 < p[2, ~planted[2]].mean() < 0.76  # nearly saturated without a planted motif


def test_scale_and_shift_grade_binding(motifs):
    options = SimulationOptions(motifs=motifs, motif_scale=0.5, binding_shift=-3.0)
    loci = simulate_loci(2000, options=options, split="test", seed=1)
    p = binding_probabilities(loci.codes, options=options).exposure
    planted = loci.starts[:, 0] != ABSENT
    low, high = np.quantile(p[planted], [0.05, 0.95])
    assert low < 0.65
    assert 0.85 < high < 0.95
    assert p[~planted].mean() < 0.06


def test_graded_binding_spreads_over_the_unit_interval(motifs):
    options = SimulationOptions(motifs=motifs, **PRESETS["graded"])
    loci = simulate_loci(2000, options=options, split="test", seed=1)
    p = binding_probabilities(loci.codes, options=options).exposure
    planted = loci.starts[:, 0] != ABSENT
    assert np.histogram(p[planted], bins=5, range=(0, 1))[0].min() > 0.05 * planted.sum()
    assert np.median(p[~planted]) < 0.05
