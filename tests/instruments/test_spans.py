"""Which edits lie in spans, and which repeat each other: by hand, and against a loop."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.instruments.independence import overlapping
from deepmr.instruments.spans import Spans, in_spans
from deepmr.types import Instruments


def spans(*rows):
    """Rows of locus, chrom, start, end, name."""
    locus, chrom, start, end, name = zip(*rows, strict=True)
    return Spans(locus=locus, chrom=chrom, start=np.array(start), end=np.array(end), name=name)


def sites(*rows):
    """Rows of locus, chrom, pos, other_allele."""
    frame = pd.DataFrame(rows, columns=["locus", "chrom", "pos", "other_allele"])
    return frame.assign(variant_id=[f"v{i}" for i in range(len(frame))], effect_allele="A")


def packed(frame):
    loci = tuple(dict.fromkeys(frame["locus"]))
    home = frame["locus"].map({name: i for i, name in enumerate(loci)}).to_numpy()
    n = len(frame)
    return Instruments(
        loci=loci, offsets=np.searchsorted(home, np.arange(len(loci) + 1)), exposures=("x",), outcome="y",
        variants=frame, beta_exposure=np.ones((n, 1)), se_exposure=np.ones((n, 1)), beta_outcome=np.ones(n),
        se_outcome=np.ones(n),
    )  # fmt: skip


def test_ends_are_half_open_and_places_are_apart():
    frame = sites(("a", "", 5, "C"), ("a", "", 6, "C"), ("a", "", 8, "C"), ("a", "", 9, "C"), ("b", "", 6, "C"))
    assert in_spans(frame, spans(("a", "", 5, 8, ""))).tolist() == [False, True, True, False, False]


def test_a_chromosome_serves_every_locus_on_it():
    frame = sites(("a", "chr1", 100, "C"), ("b", "chr1", 100, "C"), ("c", "chr2", 100, "C"), ("d", "", 100, "C"))
    assert in_spans(frame, spans(("", "chr1", 99, 100, ""))).tolist() == [True, True, False, False]


def test_an_edit_of_several_bases_counts_when_one_of_them_is_inside():
    frame = sites(("a", "", 3, "A,C,G"), ("a", "", 2, "ACG"), ("a", "", 1, "ACG"), ("a", "", 5, "-"), ("a", "", 6, "-"))
    assert in_spans(frame, spans(("a", "", 4, 5, ""))).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("categorical", [False, True])
def test_against_a_loop(categorical):
    rng = np.random.default_rng(0)
    names = [f"l{i}" for i in range(4)]
    rows = [(rng.choice(names), "", int(s), int(s + rng.integers(1, 30)), "") for s in rng.integers(0, 200, 12)]
    frame = sites(*[(rng.choice([*names, "z"]), "", int(p), "ACG"[: rng.integers(1, 4)]) for p in range(1, 220)])
    slow = [
        any(s[0] == v.locus and s[2] < v.pos - 1 + len(v.other_allele) and v.pos - 1 < s[3] for s in rows)
        for v in frame.itertuples()
    ]
    if categorical:
        frame = frame.assign(**{name: pd.Categorical(frame[name]) for name in ("locus", "chrom", "other_allele")})
    assert 0 < sum(slow) < len(slow)
    assert in_spans(frame, spans(*rows)).tolist() == slow


def test_names():
    both = spans(("a", "", 0, 4, "GATA_disc1"), ("a", "", 6, 9, "TAL1_known1"))
    assert both.named(["GATA*"]).start.tolist() == [0]
    assert len(both.named(["*"])) == 2
    with pytest.raises(InputError, match=r"no span is named 'CTCF\*'; names of spans: GATA_disc1, TAL1_known1"):
        both.named(["GATA*", "CTCF*"])
    with pytest.raises(InputError, match="span 1: start must be at least 0 and below end; got 5"):
        spans(("a", "", 5, 5, ""))


def test_windows_that_overlap_are_found_and_single_bases_are_not():
    wide = sites(("a", "", 1, "ACGT"), ("a", "", 5, "ACGT"), ("a", "", 7, "ACGT"), ("b", "", 8, "ACGT"))
    assert overlapping(packed(wide)).tolist() == [False, False, True, False]
    single = sites(("a", "", 1, "A"), ("a", "", 1, "A"), ("a", "", 2, "A"))
    assert not overlapping(packed(single)).any()
    inside = sites(("a", "", 1, "ACGTACGT"), ("a", "", 2, "AC"), ("a", "", 5, "AC"), ("a", "", 9, "AC"))
    assert overlapping(packed(inside)).tolist() == [False, True, True, False]
    assert not overlapping(packed(sites(("a", "", 0, "ACGT"), ("a", "", 0, "ACGT")))).any(), "no position is known"
