"""Networks of the field through the windowed engine: what runs at full length, and that effects are the definition's.

Each is traced once, in single precision; the same trace then takes the weights in double precision.
"""

import copy
import functools
import logging

import numpy as np
import pytest
import torch
from torch import nn

from deepmr.errors import InputError
from deepmr.ism.choice import prepare_members
from deepmr.ism.engine import RawOutputs
from deepmr.ism.graph import CaptureError, operation_name
from deepmr.ism.lowering import capture
from deepmr.sequence.measured import Measured, Reducer
from deepmr.sequence.scalars import FixedProfileScore, LogCount, ProfileScore
from tests.ism.definition import (
    CPU,
    at_positions,
    defined_effects,
    engine_of,
    largest_error,
    random_codes,
    window_effects,
)
from tests.ism.stubs import Stub, random_sequences
from tests.ism.zoo import ZOO

logging.getLogger("torch").setLevel(logging.ERROR)
ONE_OUTPUT = [name for name, entry in ZOO.items() if entry.n_outputs == 1 and entry.captured]
SEVERAL = [name for name, entry in ZOO.items() if entry.n_outputs > 1]
# The first operation that reads every position; all after it run at full length too. Others have none.
AT_FULL_LENGTH = {
    "danq": "lstm",
    "squeeze_excite": "mul",
    "instance_norm": "instance_norm",
    "group_norm": "group_norm",
    "adaptive_pool": "adaptive_avg_pool1d",
    "circular": "pad",
    "reflected": "pad",
    "positional": "einsum",
    "enformer": "transpose",  # what attention begins with
    "explainn": "conv1d",  # a few values a filter, once positions have become channels
}


class Strand(nn.Module):
    """A network whose profile (batch, positions) gets the axis of strands that scores read."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        profile, counts = self.network(x)
        return profile.unsqueeze(1) if profile.ndim == 2 else profile, counts


def bends(value):
    return torch.tanh(value.flatten(1)[:, 5:8] / 4)


def distance(value, reference):
    return (value - reference).square().flatten(1).sum(dim=1, keepdim=True)


@functools.cache
def network_of(name):
    network = ZOO[name]()
    if ZOO[name].n_outputs == 1:
        return network
    return Measured(
        Strand(network),
        [LogCount(1), ProfileScore(0), FixedProfileScore(0), Reducer(bends), Reducer(distance, relative=True)],
    )


@functools.cache
def graph_of(name, dtype=torch.float32):
    network = network_of(name) if dtype == torch.float32 else copy.deepcopy(network_of(name)).to(dtype)
    body = RawOutputs(network) if ZOO[name].n_outputs > 1 else network
    return capture(body, ZOO[name].length, dtype=dtype, device=CPU)


@functools.cache
def job(name):
    """Return codes, edits at both edges, the middle and between, and their effects by the definition."""
    length = ZOO[name].length
    codes = random_codes(7, 2, length, masked=0.02)
    offsets = {0, 1, length // 5, length // 3, length // 2, length // 2 + 1, 4 * length // 5, length - 2, length - 1}
    edits = at_positions(codes, sorted(offsets))
    return codes, edits, defined_effects(network_of(name), codes, edits)


def names_at_full_length(name):
    graph = graph_of(name)
    return [operation_name(graph.operations[node.name]) for node in graph.at_full_length()]


@pytest.mark.parametrize("name", [*ONE_OUTPUT, *SEVERAL])
def test_effects_are_those_of_the_definition(name):
    """Check also which operations run at full length; one test a network, so that each is traced once."""
    if name in AT_FULL_LENGTH:
        assert names_at_full_length(name)[0] == AT_FULL_LENGTH[name]
    else:
        assert names_at_full_length(name) == []
        assert not ZOO[name].must_fall_back
    codes, edits, defined = job(name)
    assert np.abs(defined).max() > 1e-4
    plain = defined_effects(network_of(name), codes, edits, dtype=torch.float32)
    for dtype, most in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        graph = graph_of(name, dtype) if name == "danq" else graph_of(name)  # its recurrence starts from typed zeros
        engine = engine_of(network_of(name), codes.shape[1], n_tasks=defined.shape[1], dtype=dtype, graph=graph)
        for width, n_loci in ((3, 2), (len(codes[0]), 1)):
            found = window_effects(engine, codes, edits, width=width, n_loci=n_loci)
            for task in range(defined.shape[1]):
                error = largest_error(found[:, task], defined[:, task])
                # What is computed of whole values is rounded to their digits, as in plain passes.
                rounded = 0 if dtype == torch.float64 else 2 * largest_error(plain[:, task], defined[:, task])
                assert error < max(most, rounded), (dtype, width, task)


def test_only_attention_needs_every_position():
    found = names_at_full_length("enformer")
    assert "scaled_dot_product_attention" in found
    assert "softmax" not in found
    assert "gelu" not in found[: found.index("scaled_dot_product_attention")]


def test_capture_error_names_the_network():
    with pytest.raises(CaptureError, match="Branching cannot be traced"):
        engine_of(ZOO["branching"](), ZOO["branching"].length, n_tasks=2)


def test_what_cannot_be_traced_runs_by_plain_passes_and_says_so(caplog, monkeypatch):
    monkeypatch.setattr("deepmr.ism.choice.SMALL_JOB", 0)
    sequences = random_sequences(2, ZOO["branching"].length)
    stub = Stub([ZOO["branching"]()], n_tasks=2)
    with caplog.at_level(logging.INFO, "deepmr"):
        members, report = prepare_members(stub, sequences, n_variants=720)
    assert (members[0].engine, report.engine, members[0].windows) == ("naive", "naive", None)
    assert "Branching cannot be traced" in report.reason
    assert f"engine naive: {report.reason}" in caplog.text
    with pytest.raises(InputError, match="engine windowed cannot be used: member 0: Branching cannot be traced"):
        prepare_members(stub, sequences, n_variants=720, engine="windowed")
