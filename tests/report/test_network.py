"""The graph of a network: what is drawn for which edge."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.mr.network import find_direct_effects
from deepmr.mr.network_sparse import total_of
from deepmr.report.network import network_figure, say_edges, say_two, say_unsupported
from tests.mr.test_network import CHAIN, table_of


def drawn(figure):
    (axes,) = figure.axes
    kinds = [patch.get_gid() for patch in axes.patches]
    return kinds, [text.get_text() for text in axes.texts]


def test_arrows_nodes_and_labels():
    found = find_direct_effects(table_of(total_of(CHAIN), np.full((3, 3), 0.02)))
    figure = network_figure(found.table, tasks=found.tasks)
    kinds, texts = drawn(figure)
    assert kinds.count("task") == 3
    assert kinds.count("direct effect") == 2
    assert kinds.count("total effect") == 1
    assert {"A", "B", "C"} <= set(texts)
    assert any(text.startswith("2\n(1.9") for text in texts)
    assert len(figure.legends[0].get_texts()) == 2


def test_signs_feedback_and_nothing():
    loop = np.array([[0.0, 0.5], [-0.4, 0.0]])
    figure = network_figure(find_direct_effects(table_of(total_of(loop), np.full((2, 2), 0.01))).table)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "direct effect that raises the outcome",
        "direct effect that lowers the outcome",
    ]
    nothing = network_figure(find_direct_effects(table_of(np.eye(2), np.full((2, 2), 0.01))).table)
    assert drawn(nothing)[0] == ["task", "task"]


def test_too_many_tasks():
    names = [f"t{i}" for i in range(25)]
    found = find_direct_effects(table_of(np.eye(25), np.full((25, 25), 0.1), names=names))
    with pytest.raises(InputError, match="at most 24 tasks"):
        network_figure(found.table, tasks=found.tasks)


def full(p, *, size=0.3):
    """A network in which every pair has a direct effect, both ways."""
    direct = size / p * (1 - np.eye(p))
    return find_direct_effects(table_of(total_of(direct), np.full((p, p), 0.001)))


@pytest.mark.parametrize("p", [2, 3, 4])
def test_labels_cover_neither_each_other_nor_a_circle(p):
    figure = network_figure(full(p).table)
    (axes,) = figure.axes
    figure.canvas.draw()
    pad = 0.25 * 7 * figure.dpi / 72  # of the box around a label
    labels = [text.get_window_extent().padded(pad) for text in axes.texts if text.get_bbox_patch()]
    circles = [patch.get_window_extent() for patch in axes.patches if patch.get_gid() == "task"]
    assert len(labels) == p * (p - 1)
    assert not any(one.overlaps(other) for i, one in enumerate(labels) for other in [*labels[:i], *circles])


def test_two_marks_have_nothing_between_them():
    two, three = full(2).table, full(3).table
    (said,) = say_two(two)
    assert said.startswith("With two marks nothing can be mediated")
    assert say_two(three) == []
    lasso = two.assign(edge="total")
    assert not any("passes through" in sentence for sentence in say_edges(lasso))
    assert all("passes through" in sentence for sentence in say_edges(three.assign(edge="total")))


def test_a_pair_that_diagnostics_do_not_support_says_so():
    table = full(2).table
    judged = {("A", "B", "model"): "supported", ("B", "A", "model"): "not supported"}
    forth, back = say_edges(table, judgements=judged)
    assert "diagnostics" not in forth
    assert back.endswith("; the diagnostics on this page do not support it.")
    assert say_edges(table, judgements={("B", "A", "calibrated"): "not supported"}) == say_edges(table)
    assert "leave it undecided" in say_edges(table, judgements={("B", "A", "model"): "undecided"})[1]
    assert say_unsupported(table, judged) == ["B → A: the diagnostics on this page do not support it."]
    assert say_unsupported(table.assign(edge="none"), judged) == []
