"""What windows must agree with: every edited sequence and its reference predicted in double precision, subtracted."""

import copy

import numpy as np
import torch

from deepmr.ism.engine import WindowedEngine
from deepmr.ism.placed import place
from deepmr.ism.schedule import groups_of
from deepmr.ism.variants import Edits, single_edits

CPU = torch.device("cpu")


def random_codes(seed, n, length, masked=0.0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length), dtype=np.uint8)
    codes[rng.random(codes.shape) < masked] = 4
    return codes


def onehot(codes, dtype=torch.float64):
    return torch.tensor(codes[:, None] == np.arange(4)[:, None], dtype=dtype)


def at_positions(codes, offsets):
    """Return every single-base edit at some positions of all loci."""
    within = np.zeros(codes.shape, dtype=bool)
    within[:, list(offsets)] = True
    return single_edits(codes, within=within)


def listed(*variants):
    """Return variants given as (locus, {offset: base}), in the order of their loci."""
    bases = [sorted(changes.items()) for _, changes in variants]
    flat = [pair for pairs in bases for pair in pairs]
    return Edits(
        locus=np.array([locus for locus, _ in variants], dtype=int),
        start=np.cumsum([0, *map(len, bases)]),
        offset=np.array([offset for offset, _ in flat], dtype=int),
        base=np.array([base for _, base in flat], dtype=np.uint8),
    )


def edited_codes(codes, edits):
    """Write the substitutions of every variant into a copy of its locus."""
    edited = codes[edits.locus].copy()
    edited[np.repeat(np.arange(len(edits)), np.diff(edits.start)), edits.offset] = edits.base
    return edited


def defined_effects(network, codes, edits, dtype=torch.float64):
    """Predict every edited sequence and its reference, in double precision by default, and subtract."""
    network = copy.deepcopy(network).to(dtype)
    changed, reference = onehot(edited_codes(codes, edits), dtype), onehot(codes, dtype)
    with torch.no_grad():
        if hasattr(network, "scalars"):  # some compare with the outputs of the reference
            beside = [value[edits.locus] for value in network.outputs(reference)]
            return (network(changed, beside) - network(reference)[edits.locus]).numpy()
        return (network(changed) - network(reference)[edits.locus]).numpy()


def engine_of(network, length, *, n_tasks, dtype=torch.float64, graph=None, device=CPU):
    module = copy.deepcopy(network).to(device=device, dtype=dtype)
    return WindowedEngine(module, length=length, n_tasks=n_tasks, columns=None, device=device, graph=graph)


def window_effects(engine, codes, edits, *, width=4, n_loci=2):
    """Return the effects of an engine before they are rounded to single precision."""
    found = np.zeros((len(edits), engine.n_tasks))
    with torch.inference_mode():
        for loci, groups in groups_of(edits, width=width, n_loci=n_loci):
            x = onehot(codes[loci], engine.dtype)
            references = engine.network.references(x)
            for group in place(groups, first=loci.start, device=CPU):
                effects = engine.effects(references, group, x)
                found[group.rows] = effects.double().numpy().reshape(-1, engine.n_tasks)[group.used]
    return found


def largest_error(found, defined):
    """Return the largest error relative to the largest effect; a network that sees nothing has effects of zero."""
    return np.abs(found - defined).max(initial=0) / max(np.abs(defined).max(initial=0), 1e-6)
