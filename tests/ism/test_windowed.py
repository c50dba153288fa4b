"""The windowed engine against the definition: random networks, random lengths, masks and edits."""

import logging

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deepmr.ism.variants import single_edits
from tests.ism.definition import defined_effects, engine_of, largest_error, random_codes, window_effects
from tests.ism.random_networks import networks

RANDOM = settings(
    max_examples=16,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a smaller failing network is not worth the minutes that finding it takes
    suppress_health_check=list(HealthCheck),
)
logging.getLogger("torch").setLevel(logging.ERROR)


@given(networks(), st.integers(0, 2**16), st.sampled_from([0.0, 0.2]), st.integers(1, 9), st.integers(1, 3))
@RANDOM
def test_random_networks(drawn, seed, masked, width, n_loci):
    network, length = drawn
    codes = random_codes(seed, 3, length, masked)
    edits = single_edits(codes)
    defined = defined_effects(network, codes, edits)
    engine = engine_of(network, length, n_tasks=3)
    assert engine.graph.at_full_length() == []
    assert largest_error(window_effects(engine, codes, edits, width=width, n_loci=n_loci), defined) < 1e-9
    single = engine_of(network, length, n_tasks=3, dtype=torch.float32)
    assert largest_error(window_effects(single, codes, edits, width=width, n_loci=n_loci), defined) < 1e-5
