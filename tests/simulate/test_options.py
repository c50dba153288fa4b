"""Options refuse what cannot be simulated; streams of random numbers are independent."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.simulate.options import PRESETS, SimulationOptions, draw_alpha, draw_gamma, make_generator


@pytest.mark.parametrize(
    ("scenario", "gaps", "sequence", "random"),
    [
        ("unconfounded", (16, 74), False, False),
        ("random", (16, 74), False, True),
        ("sequence", (16, 59), True, False),
        ("both", (16, 59), True, True),
    ],
)
def test_scenarios_are_the_papers(motifs, scenario, gaps, sequence, random):
    options = SimulationOptions(motifs=motifs, scenario=scenario)
    assert options.gaps == gaps
    assert (options.sequence_confounder, options.random_confounder) == (sequence, random)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gamma": -1.0}, "gamma must be zero or positive"),
        ({"alpha": float("nan")}, "alpha must be zero or positive"),
        ({"motif_scale": 0.0}, "motif_scale must be positive"),
        ({"binding_shift": float("inf")}, "binding_shift must be finite"),
        ({"smoothing": -0.1}, "smoothing must be positive"),
        ({"smoothing": 1.5}, "smoothing must be at most 1; got 1.5"),
        ({"confounder_strength": -1.0}, "confounder_strength must be zero or positive"),
        ({"confounder_shift": float("nan")}, "confounder_shift must be finite"),
        ({"confounder_sharpness": 0.0}, "confounder_sharpness must be positive"),
        ({"interaction_distance": 0.0}, "interaction_distance must be positive"),
        ({"interaction_distance": 9.0, "effect": "none"}, "with effect 'none' there is none"),
        ({"length": 41}, "length must be at least 42, so that the motifs fit; got 41"),
        ({"length": 56, "scenario": "both"}, "length must be at least 57"),
    ],
)
def test_wrong_options_are_refused(motifs, wrong, message):
    with pytest.raises(InputError, match=message):
        SimulationOptions(motifs=motifs, **wrong)


def test_shortest_sequences_are_accepted(motifs):
    assert SimulationOptions(motifs=motifs, length=42).gaps == (16, 16)
    assert SimulationOptions(motifs=motifs, length=57, scenario="both").gaps == (16, 16)


def test_streams_differ_by_split_and_purpose_and_repeat():
    keys = [("train", "sequences"), ("test", "sequences"), ("train", "noise"), (None, "gamma"), (None, "alpha")]
    first = {key: make_generator(seed=1, split=key[0], purpose=key[1]).random(4).tolist() for key in keys}
    again = {key: make_generator(seed=1, split=key[0], purpose=key[1]).random(4).tolist() for key in keys}
    assert first == again
    assert len({tuple(numbers) for numbers in first.values()}) == len(keys)
    assert make_generator(seed=2, split="train", purpose="noise").random() != first[("train", "noise")][0]


def test_strengths_are_drawn_as_in_the_paper():
    gamma = np.array([draw_gamma(seed=seed) for seed in range(600)])
    low = gamma < 5
    assert abs(low.mean() - 0.5) < 0.08
    assert gamma[~low].mean() == pytest.approx(10, abs=0.1)
    assert gamma[~low].std() == pytest.approx(0.5, abs=0.07)
    assert gamma[low].mean() == pytest.approx(1, abs=0.1)
    assert gamma.min() >= 0
    alpha = np.array([draw_alpha(seed=seed) for seed in range(400)])
    assert alpha.mean() == pytest.approx(100, abs=0.6)
    assert alpha.std() == pytest.approx(3, abs=0.4)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_options(motifs, name):
    options = SimulationOptions(motifs=motifs, **PRESETS[name])
    assert options != SimulationOptions(motifs=motifs)
