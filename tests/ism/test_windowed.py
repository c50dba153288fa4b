"""The windowed engine against the definition: random networks, random lengths, masks and edits."""

import copy
import logging

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deepmr.ism.engine import WindowedEngine
from deepmr.ism.placed import place
from deepmr.ism.schedule import groups_of
from deepmr.ism.variants import single_edits
from tests.ism.random_networks import networks

CPU = torch.device("cpu")
RANDOM = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a smaller failing network is not worth the minutes that finding it takes
    suppress_health_check=list(HealthCheck),
)
logging.getLogger("torch").setLevel(logging.ERROR)


def random_codes(seed, n, length, masked):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length), dtype=np.uint8)
    codes[rng.random(codes.shape) < masked] = 4
    return codes


def onehot(codes):
    return torch.tensor(codes[:, None] == np.arange(4)[:, None], dtype=torch.float64)


def defined_effects(network, codes, edits):
    """Predict every edited sequence and its reference in double precision, and subtract."""
    network = copy.deepcopy(network).double()
    edited = codes[edits.locus].copy()
    rows = np.repeat(np.arange(len(edits)), np.diff(edits.start))
    edited[rows, edits.offset] = edits.base
    with torch.no_grad():
        return (network(onehot(edited)) - network(onehot(codes))[edits.locus]).numpy()


def windowed_effects(network, codes, edits, *, dtype, width=4, n_loci=2):
    engine = WindowedEngine(
        copy.deepcopy(network).to(dtype), length=codes.shape[1], n_tasks=3, columns=None, device=CPU
    )
    found = np.zeros((len(edits), 3))
    with torch.inference_mode():
        for loci, groups in groups_of(edits, width=width, n_loci=n_loci):
            x = onehot(codes[loci]).to(dtype)
            references = engine.network.references(x)
            for group in place(groups, first=loci.start, device=CPU):
                effects = engine.effects(references, group, x)
                found[group.rows] = effects.double().numpy().reshape(-1, 3)[group.used]
    return engine, found


def largest_error(found, defined):
    """Return the largest error relative to the largest effect; a network that sees nothing has effects of zero."""
    return np.abs(found - defined).max(initial=0) / max(np.abs(defined).max(initial=0), 1e-6)


@given(networks(), st.integers(0, 2**16), st.sampled_from([0.0, 0.2]), st.integers(1, 9), st.integers(1, 3))
@RANDOM
def test_random_networks(drawn, seed, masked, width, n_loci):
    network, length = drawn
    codes = random_codes(seed, 3, length, masked)
    edits = single_edits(codes)
    defined = defined_effects(network, codes, edits)
    engine, found = windowed_effects(network, codes, edits, dtype=torch.float64, width=width, n_loci=n_loci)
    assert engine.graph.at_full_length() == []
    assert largest_error(found, defined) < 1e-9
    _, single = windowed_effects(network, codes, edits, dtype=torch.float32, width=width, n_loci=n_loci)
    assert largest_error(single, defined) < 1e-5
