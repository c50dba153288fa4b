"""Graphs written and read again."""

import pytest

from deepmr.contextual.graphs import fit_graph
from deepmr.errors import InputError
from deepmr.io.graph_fits import read_graph, write_graph
from deepmr.simulate.graphs import simulate_graphs


@pytest.mark.parametrize("options", [{"sparse": True, "n_orders": 2}, {"model": "population", "edges": "precision"}])
def test_a_graph_is_read_as_it_was_written(tmp_path, options):
    data, _ = simulate_graphs("markov", n=80, n_nodes=3)
    fit = fit_graph(data, method="markov", options=options)
    write_graph(fit, tmp_path / "graph", {"by": "a test"})
    again = read_graph(tmp_path / "graph")
    assert again.record == fit.record
    assert (again.graphs(data.contexts) == fit.graphs(data.contexts)).all()
    assert (again.log_likelihood(data) == fit.log_likelihood(data)).all()


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(InputError):
        read_graph(tmp_path / "nothing")
