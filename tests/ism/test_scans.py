"""Windows of a scan, against a loop over every position; and what their edits make of the text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmr.errors import InputError
from deepmr.ism.edit_table import resolve_edits
from deepmr.ism.naive import predict_edits
from deepmr.ism.scans import scan_edits, scan_windows
from tests.ism.editing import seen_by, text_of
from tests.ism.stubs import linear, make_sequences


def slow_windows(text, allowed, width, step):
    """Walk along the text: windows of known bases, and how many a masked base spoils."""
    found, masked, at = [], 0, 0
    while at < len(text):
        if not allowed[at]:
            at += 1
            continue
        end = at
        while end < len(text) and allowed[end]:
            end += 1
        for start in range(at, end - width + 1, step):
            if "N" in text[start : start + width]:
                masked += 1
            else:
                found.append(start)
        at = end
    return found, masked


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_windows_are_those_of_a_walk_along_the_text(data):
    texts = data.draw(st.lists(st.text("ACGTACGTN", min_size=11, max_size=11), min_size=1, max_size=3))
    width, step = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 5))
    n = 11 * len(texts)
    within = np.array(data.draw(st.lists(st.sampled_from([True, True, False]), min_size=n, max_size=n))).reshape(-1, 11)
    mask = data.draw(st.sampled_from([None, within]))
    windows = scan_windows(make_sequences(*texts), width=width, step=step, within=mask)
    allowed = np.ones((len(texts), 11), dtype=bool) if mask is None else mask
    wanted = [slow_windows(t, a, width, step) for t, a in zip(texts, allowed.tolist(), strict=True)]
    assert list(zip(windows.locus.tolist(), windows.start.tolist(), strict=True)) == [
        (i, start) for i, (starts, _) in enumerate(wanted) for start in starts
    ]
    assert windows.n_masked == sum(masked for _, masked in wanted)
    assert [text_of(row) for row in windows.codes] == [
        texts[i][s : s + width] for i, (starts, _) in enumerate(wanted) for s in starts
    ]


def seen(sequences, table):
    module = linear(sequences.length)
    predict_edits(module, sequences.codes, resolve_edits(table, sequences)[0], n_tasks=1, batch_size=4)
    return seen_by(module)[len(sequences) :]


def test_deletions_of_every_window():
    sequences = make_sequences("ACGTNACG", chrom="chr1", start=10)
    table = scan_edits(sequences, scan_windows(sequences, width=2), kind="delete", name="del2")
    assert table["variant_id"].tolist() == [f"chr1:{p}:del2" for p in (11, 12, 13, 16, 17)]
    assert table["other_allele"].tolist() == ["AC", "CG", "GT", "AC", "CG"]
    assert seen(sequences, table) == ["NNGTNACG", "NNATNACG", "NNACNACG", "ACGTNGNN", "ACGTNANN"]


def test_substitutions_leave_out_windows_that_have_the_motif_already():
    sequences = make_sequences("ACGACT")
    windows = scan_windows(sequences, width=3)
    motif = np.tile(np.array([0, 1, 2], dtype=np.uint8), (len(windows), 1))
    table = scan_edits(sequences, windows, kind="substitute", name="subACG", new=motif)
    assert table["variant_id"].tolist() == ["l0:2:subACG", "l0:3:subACG", "l0:4:subACG"]
    assert seen(sequences, table) == ["AACGCT", "ACACGT", "ACGACG"]


def test_insertions_come_between_the_two_bases_of_a_window():
    sequences = make_sequences("ACGT")
    windows = scan_windows(sequences, width=2)
    new = np.array([[3, 3], [3, 2], [0, 0]], dtype=np.uint8)
    table = scan_edits(sequences, windows, kind="insert", name="ins2", new=new)
    assert table["variant_id"].tolist() == ["l0:2:ins2", "l0:3:ins2", "l0:4:ins2"]
    assert table["effect_allele"].tolist() == ["TT", "TG", "AA"]
    assert seen(sequences, table) == ["TCGT", "ACTG", "ACGA"]


def test_windows_of_no_sense_are_refused():
    sequences = make_sequences("ACGT")
    assert len(scan_windows(sequences, width=5)) == 0
    for options, said in (({"width": 0}, "width must be at least 1"), ({"width": 2, "step": 0}, "step must be")):
        with pytest.raises(InputError, match=said):
            scan_windows(sequences, **options)
