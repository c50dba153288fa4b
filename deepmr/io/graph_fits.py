"""Graphs whose edges vary with context <-> folders of `meta.json` and `arrays.safetensors`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepmr.contextual.graphs import graph_from_state
from deepmr.contextual.graphs.types import GraphFit, graph_record_from
from deepmr.io import array_folders
from deepmr.io.array_folders import FolderFormat
from deepmr.io.directories import atomic_directory

FORMAT = FolderFormat(name="deepmr-graph-fit", version=1, of="deepmr context")


def write_graph(fit: GraphFit, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write a graph as a folder, whole or not at all.

    Parameters
    ----------
    fit : any of the kinds in `contextual.graphs.FITS`.
    folder : where to; one that is there is replaced, as by `contextual_fits.write_fit`.
    provenance : what `provenance.provenance` returned.
    """
    state = fit.state()
    meta = {"kind": state.kind, "record": asdict(state.record), "settings": state.settings, "provenance": provenance}
    with atomic_directory(folder) as unfinished:
        array_folders.write_files(unfinished, FORMAT, arrays=state.arrays, meta=meta)


def read_graph(folder: Path) -> GraphFit:
    """Read a graph, which is what it was when it was written, to the last digit.

    Parameters
    ----------
    folder : what `write_graph` wrote.

    Raises
    ------
    InputError
        When it is no such folder, or a file in it is missing, damaged or changed.
    """
    return array_folders.read_made(
        folder, FORMAT, record=lambda meta: graph_record_from(meta["record"]), make=graph_from_state
    )
