"""Deletions, insertions and longer substitutions, against edits of text one sequence at a time."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmr.errors import InputError
from deepmr.ism.edit_table import resolve_edits
from deepmr.ism.mutate import mutate
from deepmr.ism.naive import predict_edits
from deepmr.ism.variants import variants_of
from tests.ism.editing import edited, seen_by
from tests.ism.stubs import Stub, linear, make_sequences

LENGTH = 12


def table_of(rows):
    return pd.DataFrame(rows, columns=["variant_id", "locus", "offset", "other_allele", "effect_allele"])


def predict(sequences, table, anchor="center", batch_size=5):
    """Return the edits, their names, what the network saw of references and edits, and their effects."""
    module = linear(sequences.length)
    packed, names = resolve_edits(table, sequences, anchor=anchor)
    found = predict_edits(module, sequences.codes, packed, n_tasks=1, batch_size=batch_size)
    seen = seen_by(module)
    return packed, names, seen[: len(sequences)], seen[len(sequences) :], found


def is_accepted(row, sequences, anchor):
    """Say whether an edit is taken; insertions that leave the locus altogether are not."""
    try:
        resolve_edits(table_of([row]), sequences, anchor=anchor)
    except InputError as error:
        return "nothing of the insertion stays" not in str(error)
    return True


BASES = st.text("ACGT", max_size=LENGTH + 3)


@st.composite
def cases(draw):
    """Some loci, some of their bases masked, and edits of known bases."""
    texts = draw(st.lists(st.text("ACGTACGTACGTN", min_size=LENGTH, max_size=LENGTH), min_size=1, max_size=3))
    rows = []
    for i in range(draw(st.integers(1, 8))):
        locus = draw(st.integers(0, len(texts) - 1))
        offset = draw(st.integers(0, LENGTH))
        other = texts[locus][offset : offset + draw(st.integers(0, LENGTH))].split("N")[0]
        effect = draw(BASES) if draw(st.booleans()) else draw(st.text("ACGT", min_size=len(other), max_size=len(other)))
        if effect != other:
            rows.append((f"v{i}", f"l{locus}", offset, other or "-", effect or "-"))
    return texts, rows, draw(st.sampled_from(["center", "left", "right"]))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_network_sees_what_editing_the_text_gives(case):
    texts, rows, anchor = case
    sequences = make_sequences(*texts)
    kept = [row for row in rows if is_accepted(row, sequences, anchor)]
    for row in rows:
        text = texts[int(row[1][1:])]
        assert row in kept or edited(text, *row[2:], anchor) == text
    if not kept:
        return
    packed, names, references, seen, found = predict(sequences, table_of(kept), anchor)
    assert references == texts
    by_name = {row[0]: row for row in kept}
    assert sorted(names) == sorted(by_name)
    wanted = [edited(texts[int(by_name[name][1][1:])], *by_name[name][2:], anchor) for name in names]
    assert seen == wanted
    assert len(found.delta) == len(packed) == len(names)
    shifts = [len(by_name[n][3].replace("-", "")) != len(by_name[n][4].replace("-", "")) for n in names]
    assert packed.shifted.tolist() == shifts
    assert packed.substitutions_only == (not any(shifts))


@settings(max_examples=50, deadline=None)
@given(cases(), st.data())
def test_taking_variants_takes_their_sequences(case, data):
    texts, rows, _ = case
    sequences = make_sequences(*texts)
    rows = [row for row in rows if is_accepted(row, sequences, "left")]
    if not rows:
        return
    packed, names, _, seen, found = predict(sequences, table_of(rows), "left")
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names))))
    for chosen in (mask, np.flatnonzero(mask)):
        module = linear(LENGTH)
        part = packed.take(chosen)
        again = predict_edits(module, sequences.codes, part, n_tasks=1, batch_size=5)
        assert seen_by(module)[len(texts) :] == [s for s, keep in zip(seen, mask, strict=True) if keep]
        np.testing.assert_allclose(again.delta, found.delta[mask], atol=1e-5)
        assert part.substitutions_only == (not packed.shifted[mask].any())
    for k in range(len(texts)):
        alone = packed.of_loci(slice(k, k + 1))
        assert len(alone) == (packed.locus == k).sum()
        assert alone.substitutions_only == (not packed.shifted[packed.locus == k].any())
    again = packed.take(slice(None))
    for name in ("locus", "start", "offset", "base"):
        np.testing.assert_array_equal(getattr(again, name), getattr(packed, name))


@pytest.mark.parametrize(
    ("offset", "other", "effect", "center", "left", "right"),
    [
        (0, "AC", "-", "NNGTACGTAC", "GTACGTACNN", "NNGTACGTAC"),  # the first bases
        (8, "AC", "-", "ACGTACGTNN", "ACGTACGTNN", "NNACGTACGT"),  # the last bases
        (9, "C", "", "ACGTACGTAN", "ACGTACGTAN", "NACGTACGTA"),
        (2, "GT", "-", "NNACACGTAC", "ACACGTACNN", "NNACACGTAC"),
        (4, "AC", "-", "ACGTGTACNN", "ACGTGTACNN", "NNACGTGTAC"),  # in the middle: the right flank moves
        (1, "-", "TTT", "TCGTACGTAC", "ATTTCGTACG", "TCGTACGTAC"),  # a flank of one base
        (9, "-", "TTT", "ACGTACGTAT", "ACGTACGTAT", "TACGTATTTC"),
        (3, "T", "TGG", "GTGGACGTAC", "ACGTGGACGT", "GTGGACGTAC"),  # anchored as in a VCF
        (3, "TAC", "T", "ACGTGTACNN", "ACGTGTACNN", "NNACGTGTAC"),
        (2, "GTA", "CC", "NACCCCGTAC", "ACCCCGTACN", "NACCCCGTAC"),  # both at once
        (0, "ACGTACGTAC", "-", "N" * 10, "N" * 10, "N" * 10),
    ],
)
def test_flanks_and_ends(offset, other, effect, center, left, right):
    sequences = make_sequences("ACGTACGTAC")
    for anchor, wanted in (("center", center), ("left", left), ("right", right)):
        *_, seen, _ = predict(sequences, table_of([("v", "l0", offset, other, effect)]), anchor)
        assert seen == [wanted], anchor
        assert edited("ACGTACGTAC", offset, other, effect, anchor) == wanted


def test_insertion_at_an_end_needs_the_anchor_that_shows_it():
    sequences = make_sequences("ACGT")
    first, last = ("v", "l0", 0, "-", "GG"), ("v", "l0", 4, "-", "GG")
    assert predict(sequences, table_of([first]), "left")[3] == ["GGAC"]
    assert predict(sequences, table_of([last]), "right")[3] == ["GTGG"]
    for row, anchor in ((first, "right"), (first, "center"), (last, "left"), (last, "center")):
        with pytest.raises(InputError, match="nothing of the insertion stays in it"):
            resolve_edits(table_of([row]), sequences, anchor=anchor)


def test_variants_say_what_they_are():
    sequences = make_sequences("ACGTACGTAC", "NNGTACGTAC", chrom="chr3", start=100)
    rows = [
        ("snv", "l1", 2, "g", "a"),
        ("mnv", "l0", 2, "GTAC", "CTAG"),
        ("del", "l0", 4, "AC", "-"),
        ("ins", "l0", 4, "", "TT"),
        ("vcf", "l0", 3, "TAC", "T"),
        ("both", "l1", 2, "GTA", "CC"),
    ]
    packed, names = resolve_edits(table_of(rows), sequences)
    frame = variants_of(packed, sequences, variant_id=names).astype({"locus": str})
    assert frame[["variant_id", "locus", "pos", "other_allele", "effect_allele", "offset"]].to_numpy().tolist() == [
        ["mnv", "l0", 103, "G,C", "C,G", 2],
        ["del", "l0", 105, "AC", "-", 4],
        ["ins", "l0", 105, "-", "TT", 4],
        ["vcf", "l0", 105, "AC", "-", 4],
        ["snv", "l1", 1103, "G", "A", 2],
        ["both", "l1", 1103, "GTA", "CC", 2],
    ]
    assert variants_of(packed, sequences)["variant_id"].tolist()[1] == "chr3:105:AC:-"


def test_deletions_alone_write_no_base():
    packed, _ = resolve_edits(table_of([("a", "l0", 0, "A", "-"), ("b", "l0", 3, "T", None)]), make_sequences("ACGT"))
    assert len(packed.base) == len(packed.offset) == 0
    assert packed.start.tolist() == [0, 0, 0]
    assert packed.first.tolist() == [0, 3]


def test_mutate_takes_them_and_counts_from_the_whole_reference():
    sequences = make_sequences("ACGTACGT", "TTTTTTTT")
    module = linear(8)
    weight = module.weight[:, :, 0].numpy()
    level = [sum(weight["ACGT".index(b), i] for i, b in enumerate(t) if b != "N") for t in ("ACGTACGT", "ACGTANGT")]
    effects = mutate(Stub([module]), sequences, edits=table_of([("v", "l0", 5, "CGT", "-"), ("w", "l1", 0, "T", "A")]))
    gone = sum(weight["ACGT".index(b), i] for i, b in enumerate("ACGTA"))
    assert effects.delta[0, 0, 0] == pytest.approx(float(gone - level[0]), abs=1e-5)
    assert effects.delta[0, 1, 0] == pytest.approx(float(weight[0, 0] - weight[3, 0]), abs=1e-5)
    left = mutate(Stub([module]), sequences, edits=table_of([("v", "l0", 5, "CGT", "-")]), anchor="right")
    assert left.delta[0, 0, 0] != effects.delta[0, 0, 0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_shifts_as_the_cpu_does():
    sequences = make_sequences("ACGTACGTAC", "TTNCGTACGT")
    rows = [("d", "l0", 1, "CG", "-"), ("i", "l1", 4, "-", "GGG"), ("s", "l1", 0, "T", "A")]
    packed, _ = resolve_edits(table_of(rows), sequences)
    cpu, gpu = linear(10), linear(10).cuda()
    on_cpu = predict_edits(cpu, sequences.codes, packed, n_tasks=1, batch_size=3)
    on_gpu = predict_edits(gpu, sequences.codes, packed, n_tasks=1, batch_size=3, device="cuda")
    assert seen_by(gpu) == seen_by(cpu)
    np.testing.assert_allclose(on_gpu.delta, on_cpu.delta, atol=1e-5)


def test_edits_restricted_to_some_positions():
    sequences = make_sequences("ACGTN", "GGGGG")
    stub = Stub([linear(5)])
    every = mutate(stub, sequences)
    within = np.zeros((2, 5), dtype=bool)
    within[0, [1, 4]] = within[1, 3] = True
    some = mutate(stub, sequences, within=within)
    assert some.variants["offset"].tolist() == [1, 1, 1, 3, 3, 3]
    both = every.variants["variant_id"].isin(some.variants["variant_id"]).to_numpy()
    np.testing.assert_allclose(some.delta, every.delta[:, both], atol=1e-6)
    with pytest.raises(InputError, match="leaves no known base"):
        mutate(stub, sequences, within=np.zeros((2, 5), dtype=bool))
    with pytest.raises(InputError, match=r"within must have shape \(2, 5\)"):
        mutate(stub, sequences, within=within[:, 1:])
    with pytest.raises(InputError, match="leave out within"):
        mutate(stub, sequences, within=within, edits=table_of([("v", "l0", 0, "A", "C")]))
