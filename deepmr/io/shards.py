"""Units of mutagenesis on disk: each a small HDF5 file that is either whole or absent."""

import glob
import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr import __version__
from deepmr.errors import DeepMRError, InputError
from deepmr.io.effects import FORMAT_VERSION, Layout, differing, folder_of, read_description
from deepmr.io.files import atomic_path
from deepmr.io.hdf5 import LIBVER, create_array
from deepmr.io.provenance import sequences_sha256
from deepmr.ism.variants import SHIFTS, Edits, editable, single_edits, to_dense
from deepmr.types import Sequences, Task

CHUNK_BYTES = 2**20
ArrayName = Literal["effect", "reference"]
SHARD_FORMAT = "deepmr-effects-shard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One member and one block of loci: the work that is done whole or not at all."""

    member: int
    block: int
    loci: slice


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that determines the numbers of an effects file.

    Attributes
    ----------
    edits, variant_id : the variants and their names; None for every single-base edit.
    members : one row a member: name, seed, sha256, held_out.
    ensemble_sha256 : checksum of the ensemble's description and weights.
    precision : of the arithmetic in the networks, single or double.
    engine : name of the engine that predicts.
    strands : forward, or both where they are averaged.
    block_size : loci a block.
    within : positions to which single-base edits are restricted; None for every known base.
    """

    sequences: Sequences
    edits: Edits | None
    variant_id: list[str] | None
    tasks: tuple[Task, ...]
    members: pd.DataFrame
    ensemble_sha256: str
    precision: str
    engine: str
    block_size: int
    within: Bool[np.ndarray, "loci length"] | None = None
    strands: str = "forward"

    @property
    def layout(self) -> Layout:
        """Saturation or edits."""
        return "saturation" if self.edits is None else "edits"

    @property
    def n_variants(self) -> int:
        """Number of variants over all loci."""
        return 3 * int(self.mask.sum()) if self.edits is None else len(self.edits)

    @cached_property
    def mask(self) -> Bool[np.ndarray, "loci length"]:
        """True at the positions that single-base edits are made of."""
        return editable(self.sequences.codes, self.within)

    @property
    def restricted(self) -> bool:
        """Whether single-base edits are restricted to some of the known bases."""
        return self.edits is None and not np.array_equal(self.mask, self.sequences.known)

    @property
    def units(self) -> list[Unit]:
        """The units of work, block by block."""
        n, size = len(self.sequences), self.block_size
        blocks = [slice(a, min(a + size, n)) for a in range(0, n, size)]
        return [Unit(member=k, block=b, loci=loci) for b, loci in enumerate(blocks) for k in range(len(self.members))]

    @cached_property
    def description(self) -> dict[str, Any]:
        """What two runs must share to be the same run; `block_size` and all that moves a number."""
        return {
            "format": SHARD_FORMAT,
            "format_version": FORMAT_VERSION,
            "deepmr_version": __version__,
            "layout": self.layout,
            "engine": self.engine,
            "precision": self.precision,
            "strands": self.strands,
            "block_size": self.block_size,
            "ensemble": self.ensemble_sha256,
            "members": self.members["sha256"].tolist(),
            "tasks": [f"{task.name}:{task.scale}" for task in self.tasks],
            "sequences": sequences_sha256(self.sequences),
            "edits": self._edits_sha256(),
            "within": hashlib.sha256(np.packbits(self.mask).tobytes()).hexdigest() if self.restricted else "",
        }

    @cached_property
    def key(self) -> str:
        """Checksum of the description."""
        return _sha256(self.description)

    def unit_key(self, unit: Unit) -> str:
        """Checksum of the run and the unit's place in it."""
        return _sha256({"run": self.key, "member": unit.member, "block": unit.block})

    def _edits_sha256(self) -> str:
        if self.edits is None or self.variant_id is None:
            return ""
        shifts = self.edits.shifts
        moves = () if shifts is None else (getattr(shifts, name) for name in SHIFTS)
        parts = (self.edits.locus, self.edits.start, self.edits.offset, *moves)
        codes = b"".join(part.astype("<i8").tobytes() for part in parts) + self.edits.base.tobytes()
        return hashlib.sha256(codes + "\n".join(self.variant_id).encode()).hexdigest()

    def edits_of(self, unit: Unit) -> Edits:
        """Return the edits of a unit, its loci numbered from its first."""
        if self.edits is not None:
            return self.edits.of_loci(unit.loci)
        return single_edits(self.sequences.codes[unit.loci], within=self.mask[unit.loci])

    def laid_out(self, unit: Unit, delta: Float[np.ndarray, "variants tasks"]) -> np.ndarray:
        """Return the effects of a unit's edits as a shard keeps them: by position, or one row a variant."""
        if self.edits is not None:
            return delta
        return to_dense(delta, self.sequences.codes[unit.loci], within=self.mask[unit.loci])

    def effect_rows(self, unit: Unit) -> slice:
        """Return the rows of the effects that a unit fills: its loci, or its variants."""
        return unit.loci if self.edits is None else self.edits.rows_of(unit.loci)

    def rows(self) -> dict[ArrayName, int]:
        """Return the length of each array: a reference a locus, an effect a locus or a variant."""
        n_loci = len(self.sequences)
        return {"reference": n_loci, "effect": n_loci if self.edits is None else len(self.edits)}

    def axes(self, name: ArrayName) -> str:
        """Return the names of an array's axes."""
        if name == "reference":
            return "locus member task"
        return "locus member task offset other_base" if self.layout == "saturation" else "variant member task"

    def shape(self, name: ArrayName, rows: int, members: int) -> tuple[int, ...]:
        """Return the shape of an array of so many rows and members."""
        dense = name == "effect" and self.edits is None
        return (rows, members, len(self.tasks), *((self.sequences.length, 3) if dense else ()))

    def create(self, parent: h5py.Group, name: ArrayName, rows: int, members: int) -> h5py.Dataset:
        """Create an array for some rows and members of the run.

        Notes
        -----
        A chunk holds one member and at most about 1 MB. Its loci divide a block evenly, so that the chunks of a shard
        are chunks of the whole file.
        """
        shape, n_tasks = self.shape(name, rows, members), len(self.tasks)
        if len(shape) == 3:
            return create_array(parent, name, shape, (1024, 1, 256), self.axes(name))
        per_task = 12 * self.sequences.length
        tasks = max(1, min(n_tasks, CHUNK_BYTES // per_task))
        loci = next((n for n in (8, 4, 2) if self.block_size % n == 0 and n * n_tasks * per_task <= CHUNK_BYTES), 1)
        return create_array(parent, name, shape, (loci, 1, tasks, *shape[3:]), self.axes(name))


def _sha256(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def remove_strays(path: Path) -> int:
    """Remove the temporary files that a killed process left beside a path; return how many."""
    strays = list(path.parent.glob(f".{glob.escape(path.name)}.*"))
    for stray in strays:
        stray.unlink(missing_ok=True)
    return len(strays)


class Shards:
    """The folder `<out>.shards`, a file a unit, and `run.json` that says which run they belong to.

    Parameters
    ----------
    out : the effects file that they will become.
    run : what they belong to.
    """

    def __init__(self, out: Path, run: Run) -> None:
        self.folder = folder_of(out)
        self.run = run

    def path(self, unit: Unit) -> Path:
        """Return where a unit is kept."""
        return self.folder / f"m{unit.member:02d}" / f"b{unit.block:04d}.h5"

    def are_ours(self) -> bool:
        """Whether the folder is there and holds shards of this run."""
        return (read_description(self.folder) or {}).get("run_key") == self.run.key

    def claim(self, *, overwrite: bool) -> None:
        """Make the folder this run's; shards of another run are an `InputError` unless `overwrite` removes them."""
        found = read_description(self.folder)
        if found is not None and found.get("run_key") != self.run.key:
            if not overwrite:
                raise InputError(
                    f"{self.folder} holds the shards of another run ({differing(found, self.run.description)} differ): "
                    "choose another --out, or --overwrite"
                )
            shutil.rmtree(self.folder)
            found = None
        if found is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            # A description under its temporary name is of a part that claims now, or was killed while it did.
            if any(not path.name.startswith(".run.json.") for path in self.folder.iterdir()):
                if self.are_ours():  # another part has claimed it meanwhile
                    return
                raise InputError(f"{self.folder} holds files that are not a run's shards: move it away")
            try:
                with atomic_path(self.folder / "run.json") as temp:
                    temp.write_text(json.dumps({"run_key": self.run.key, **self.run.description}, indent=2) + "\n")
            except DeepMRError:
                with suppress(OSError):  # an empty folder would be all that is left of a full disk
                    self.folder.rmdir()
                raise

    def missing(self, units: list[Unit] | None = None) -> list[Unit]:
        """Return the units, of those given or all, that have no whole shard of this run."""
        return [unit for unit in (self.run.units if units is None else units) if not self._holds(unit)]

    def _holds(self, unit: Unit) -> bool:
        path = self.path(unit)
        if not path.is_file():
            return False
        try:
            with h5py.File(path, "r") as file:
                return bool(file.attrs.get("unit_key") == self.run.unit_key(unit))
        except OSError:
            return False

    def sweep(self, units: list[Unit]) -> int:
        """Remove what a killed process left half-written for these units; return how many files."""
        return sum(remove_strays(self.path(unit)) for unit in units)

    def write(self, unit: Unit, *, effect: np.ndarray, reference: np.ndarray, attrs: Mapping[str, Any]) -> None:
        """Write one unit: built in memory, then to a temporary file, synced and renamed.

        Parameters
        ----------
        unit : whose it is.
        effect : (loci, tasks, length, 3) or (variants, tasks), float32.
        reference : (loci, tasks), float32.
        attrs : how it was computed: device, batch size, threads, seconds.
        """
        image = io.BytesIO()  # HDF5 never meets a full disk: the one write that can fail is a plain one
        with h5py.File(image, "w", libver=LIBVER) as file:
            file.attrs.update(
                {"format": SHARD_FORMAT, "format_version": FORMAT_VERSION, "unit_key": self.run.unit_key(unit)}
            )
            file.attrs.update({"member": unit.member, "block": unit.block, **attrs})
            self.run.create(file, "effect", len(effect), 1)[:] = effect[:, None]
            self.run.create(file, "reference", len(reference), 1)[:] = reference[:, None]
        path = self.path(unit)
        path.parent.mkdir(exist_ok=True)
        with atomic_path(path) as temp:
            temp.write_bytes(image.getbuffer())

    def remove(self) -> None:
        """Remove the folder: its content has become one file."""
        shutil.rmtree(self.folder, ignore_errors=True)
