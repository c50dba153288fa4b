"""Fits whose coefficients vary with context <-> folders of `meta.json` and `arrays.safetensors`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from deepmr.contexts import ContextState, ContextualFit, record_from
from deepmr.contextual import fit_from_state
from deepmr.io import array_folders
from deepmr.io.array_folders import ARRAYS, META, FolderFormat
from deepmr.io.directories import atomic_directory

__all__ = ["ARRAYS", "META", "read_fit", "read_fit_meta", "write_fit"]

FORMAT = FolderFormat(name="deepmr-context-fit", version=1, of="deepmr context")


@runtime_checkable
class Stateful(Protocol):
    """What can be written: a `ContextualFit`, or what is made of several, as a `PairwiseFit`."""

    def state(self) -> ContextState:
        """Return all of it as arrays and plain values."""


def write_fit(
    fit: Stateful, folder: Path, provenance: Mapping[str, Any], *, data: Mapping[str, Any] | None = None
) -> None:
    """Write a fit as a folder, whole or not at all.

    Parameters
    ----------
    fit : any of the kinds in `contextual.FITS`.
    folder : where to; one that is there is replaced, so call `directories.check_directory` with marker `META` first.
    provenance : what `provenance.provenance` returned.
    data : what else is to be known of the samples, for `meta.json`.
    """
    state = fit.state()
    meta = {"kind": state.kind, "record": asdict(state.record), "settings": state.settings, "data": data or {}}
    with atomic_directory(folder) as unfinished:
        array_folders.write_files(unfinished, FORMAT, arrays=state.arrays, meta={**meta, "provenance": provenance})


def read_fit_meta(folder: Path) -> dict[str, Any]:
    """Read the description of a fit.

    Parameters
    ----------
    folder : what `write_fit` wrote.

    Raises
    ------
    InputError
        When it is no such folder.
    """
    return array_folders.read_meta(folder, FORMAT)


def read_fit(folder: Path) -> ContextualFit:
    """Read a fit, which predicts what it did when it was written, to the last digit.

    Parameters
    ----------
    folder : what `write_fit` wrote.

    Raises
    ------
    InputError
        When it is no such folder, or a file in it is missing, damaged or changed.
    """
    return array_folders.read_made(folder, FORMAT, record=lambda meta: record_from(meta["record"]), make=fit_from_state)
