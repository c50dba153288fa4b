"""The graph of a network: what is drawn for which edge."""

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.mr.network import find_direct_effects
from deepmr.mr.network_sparse import total_of
from deepmr.report.network import network_figure
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
