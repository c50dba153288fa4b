"""Figures of seqlets: what is drawn, and what is left out."""

import numpy as np
import pytest

from deepmr.commands.seqlet_parts import analyse_seqlets
from deepmr.errors import InputError
from deepmr.instruments.seqlets import lay_out
from deepmr.instruments.strength import effect_scales
from deepmr.ism.members import pool_members
from deepmr.report.seqlets import family_view, seqlet_view
from deepmr.report.style import VERMILLION
from tests.instruments.seqlets import two_seqlets


def analysed(length=40):
    stats = pool_members(two_seqlets(loci=8, length=length, slopes=(2.0, 5.0), second=[True, False] * 4))
    loci = [f"locus{i}" for i in range(8)]
    found = analyse_seqlets([stats], exposure="X", outcome="Y", scales=effect_scales([stats]), loci=loci)
    return stats, found


def drawn(stats, found, locus):
    tracks = [lay_out(stats, trait=trait, loci=[locus]) for trait in ("X", "Y")]
    return seqlet_view(tracks, found.table, found.instruments, found.label, locus=locus)


def with_gid(axes, gid):
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


@pytest.mark.parametrize("length", [40, 200])
def test_both_tracks_are_shaded_and_every_seqlet_has_its_slope(length):
    stats, found = analysed(length)
    exposure, outcome, slopes = drawn(stats, found, "locus0").axes
    for axes in (exposure, outcome):
        spans = [patch.get_x() for patch in with_gid(axes, "seqlet")]
        assert spans == [5.5, 22.5]
    lines = with_gid(slopes, "slope")
    x = lines[0].get_xdata()[1]
    np.testing.assert_allclose([line.get_ydata()[1] / x for line in lines], [2.0, 5.0], atol=0.1)
    assert [line.get_color() == VERMILLION for line in lines] == [False, True]
    assert sum(len(line.get_xdata()) for line in with_gid(slopes, "points")) == 36


def test_a_locus_with_one_seqlet():
    stats, found = analysed()
    assert len(with_gid(drawn(stats, found, "locus1").axes[2], "slope")) == 1


def test_every_family_has_a_row_and_its_seqlets():
    _, found = analysed()
    axes = family_view(found.table, found.family_table, exposure="X", outcome="Y").axes[0]
    assert [len(line.get_xdata()) for line in with_gid(axes, "seqlets")] == [8, 4]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["GATAAG\n8 loci, leads", "TGACTC\n4 loci, contradicts"]


def test_nothing_to_draw():
    _, found = analysed()
    with pytest.raises(InputError, match="no slope to draw"):
        family_view(found.table.iloc[:0], found.family_table, exposure="X", outcome="Y")
