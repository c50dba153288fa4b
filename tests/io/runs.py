"""Small runs of mutagenesis, computed unit by unit as `deepmr ism` does."""

import pandas as pd

from deepmr.io.repack import write_effects
from deepmr.io.shards import Run, Shards
from deepmr.ism.choice import prepare_members
from deepmr.ism.edit_table import resolve_edits
from deepmr.ism.variants import to_dense
from tests.ism.stubs import Stub, random_sequences, small_cnn

LENGTH = 30
STUB = Stub([small_cnn(LENGTH, seed=k) for k in range(2)], n_tasks=2)
SEQUENCES = random_sequences(20, LENGTH, masked=0.1)
EDITS = pd.DataFrame(
    [
        (
            f"v{i}{extra}",
            f"l{i}",
            offset,
            "ACGT"[SEQUENCES.codes[i, offset]],
            "ACGT"[(SEQUENCES.codes[i, offset] + 1) % 4],
        )
        for i in (7, 3, 19, 4)
        for extra, offsets in (("", [12]), ("pair", [5, 20]))
        for offset in offsets
        if SEQUENCES.codes[i, offset] < 4
    ],
    columns=["variant_id", "locus", "offset", "other_allele", "effect_allele"],
)


def make_run(*, sequences=SEQUENCES, edits=None, **changes):
    if edits is not None:
        sequences = sequences.take(sequences.loci["locus"].isin(edits["locus"]).to_numpy())
    packed, names = (None, None) if edits is None else resolve_edits(edits, sequences)
    members = {"name": ["a", "b"], "seed": [3, -1], "sha256": ["aa", "bb"], "held_out": ["chr1,chr2", ""]}
    options = {
        "sequences": sequences,
        "edits": packed,
        "variant_id": names,
        "tasks": STUB.tasks,
        "members": pd.DataFrame(members),
        "ensemble_sha256": "e",
        "precision": "single",
        "engine": "naive",
        "block_size": 8 if edits is None else 2,
    }
    return Run(**(options | changes))


def compute(shards, units=None):
    run = shards.run
    members, _ = prepare_members(STUB, run.sequences, n_variants=run.n_variants, engine="naive")
    attrs = {"device": "cpu", "threads": 1, "torch_version": "2", "seconds": 0.5}
    for unit in run.units if units is None else units:
        sequences = run.sequences.take(unit.loci)
        found = members[unit.member].effects(sequences, run.edits_of(unit))
        effect = to_dense(found.delta, sequences.codes) if run.layout == "saturation" else found.delta
        shards.write(unit, effect=effect, reference=found.reference, attrs={"batch_size": found.batch_size, **attrs})


def write_run(out, run, *, virtual=False):
    shards = Shards(out, run)
    shards.claim(overwrite=False)
    compute(shards)
    write_effects(out, shards, attrs={"command": "ism", "options": {"sample": None}}, virtual=virtual)
    if not virtual:
        shards.remove()
    return shards
