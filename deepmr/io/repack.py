"""Put the shards of a finished run together: one self-contained effects file, or a virtual one that points to them."""

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from deepmr.errors import DeepMRError, IncompleteError
from deepmr.io.effects import FORMAT, FORMAT_VERSION
from deepmr.io.files import atomic_path
from deepmr.io.hdf5 import LIBVER, copy_chunks, create_array, label_axes, write_attrs, write_frame
from deepmr.io.shards import Run, Shards
from deepmr.ism.variants import SHIFTS


def write_effects(out: Path, shards: Shards, *, attrs: Mapping[str, Any], virtual: bool = False) -> None:
    """Write the effects file of a run whose shards are all there.

    Parameters
    ----------
    out : the file; it appears under this name when it is whole.
    shards : of the run.
    attrs : provenance.
    virtual : point to the shards by relative path instead of copying them.

    Raises
    ------
    IncompleteError
        When shards are missing.
    DeepMRError
        When the file cannot be written; the shards stay.
    """
    missing = shards.missing()
    if missing:
        raise IncompleteError(
            f"{len(missing)} of {len(shards.run.units)} units are missing, first {shards.path(missing[0])}: "
            "run the same command again"
        )
    try:
        with atomic_path(out) as temp:
            reserve(temp, _most_bytes(shards, virtual=virtual))
            with h5py.File(temp, "w", libver=LIBVER) as file:
                _describe(file, shards.run)
                write_attrs(file, _history(shards) | dict(attrs))
                (_link if virtual else _pack)(file, shards, out.parent)
    except RuntimeError as error:  # what HDF5 calls an error while it closes a file
        reason = str(error).splitlines()[0]
        raise DeepMRError(f"cannot write {out}, the shards are kept: {reason}") from error


def reserve(path: Path, n_bytes: int) -> None:
    """Raise OSError unless the disk has room for a file: HDF5 itself can crash the process when it meets a full disk.

    Parameters
    ----------
    path : file that will be written anew.
    n_bytes : most that it will take.
    """
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        elif shutil.disk_usage(path.parent).free < n_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _most_bytes(shards: Shards, *, virtual: bool) -> int:
    run = shards.run
    copied = 0 if virtual else sum(shards.path(unit).stat().st_size for unit in run.units)
    n_variants, n_bases = (0, 0) if run.edits is None else (len(run.edits), len(run.edits.base))
    named = len(run.sequences) + len(run.units) + n_variants
    return copied + 2 * run.sequences.codes.size + 256 * named + 32 * n_bases + 2**18


def _describe(file: h5py.File, run: Run) -> None:
    """Write what the effects are of: loci, sequences, tasks, members, variants."""
    write_attrs(file, {"format": FORMAT, "format_version": FORMAT_VERSION, "layout": run.layout, "complete": True})
    write_attrs(file, {"run_key": run.key, "run": run.description, "engine": run.engine, "precision": run.precision})
    write_attrs(file, {"strands": run.strands})
    write_attrs(file, {"block_size": run.block_size, "ensemble_sha256": run.ensemble_sha256})
    write_frame(file, "loci", run.sequences.loci[["locus", "chrom", "start", "end"]])
    write_frame(file, "tasks", pd.DataFrame([{"name": task.name, "scale": task.scale} for task in run.tasks]))
    write_frame(file, "members", run.members)
    for name, values in (("sequence", run.sequences.codes), ("mask", run.mask)):
        create_array(file, name, values.shape, (64, 2**14), "locus offset", dtype="u1")[:] = values
    if run.edits is not None:
        shifts = run.edits.shifts
        moves = {} if shifts is None else {name: getattr(shifts, name) for name in SHIFTS}
        write_frame(file, "variants", pd.DataFrame({"variant_id": run.variant_id, "locus": run.edits.locus, **moves}))
        variant = np.repeat(np.arange(len(run.edits)), np.diff(run.edits.start))
        columns = {"variant": variant, "offset": run.edits.offset, "base": run.edits.base}
        write_frame(file, "edits", pd.DataFrame(columns))


def _history(shards: Shards) -> dict[str, Any]:
    """Say how the units were computed, each value that occurs once."""
    seen: dict[str, set[str]] = {"device": set(), "batch_size": set(), "threads": set(), "torch_version": set()}
    seconds = 0.0
    for unit in shards.run.units:
        with h5py.File(shards.path(unit), "r") as file:
            seconds += float(file.attrs["seconds"])
            for name, values in seen.items():
                values.add(str(file.attrs[name]))
    return {name: ",".join(sorted(values)) for name, values in seen.items()} | {"seconds": round(seconds, 3)}


def _pack(file: h5py.File, shards: Shards, _folder: Path) -> None:
    run = shards.run
    arrays = {name: run.create(file, name, rows, len(run.members)) for name, rows in run.rows().items()}
    for unit in run.units:
        with h5py.File(shards.path(unit), "r") as shard:
            arrays["reference"][unit.loci, unit.member] = shard["reference"][:, 0]
            if run.layout == "saturation":
                copy_chunks(shard["effect"], arrays["effect"], (unit.loci.start, unit.member, 0, 0, 0))
            else:
                arrays["effect"][run.effect_rows(unit), unit.member] = shard["effect"][:, 0]


def _link(file: h5py.File, shards: Shards, folder: Path) -> None:
    run = shards.run
    for name, n_rows in run.rows().items():
        tail = run.shape(name, n_rows, len(run.members))[1:]
        layout = h5py.VirtualLayout((n_rows, *tail), dtype="f4")
        for unit in run.units:
            rows = run.effect_rows(unit) if name == "effect" else unit.loci
            path = shards.path(unit).relative_to(folder).as_posix()
            source = h5py.VirtualSource(path, name, (rows.stop - rows.start, 1, *tail[1:]))
            layout[rows, unit.member : unit.member + 1] = source
        label_axes(file.create_virtual_dataset(name, layout), run.axes(name))
