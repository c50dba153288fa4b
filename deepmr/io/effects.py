"""Read effects files: `docs/effects_h5.md` describes the format. Imports no torch."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr.errors import IncompleteError, InputError
from deepmr.io.hdf5 import read_frame
from deepmr.ism.variants import SHIFTS, Edits, Shifts, from_dense, single_edits, variants_of
from deepmr.types import MemberEffects, Sequences, Task

FORMAT = "deepmr-effects"
FORMAT_VERSION = "1.1"
Layout = Literal["saturation", "edits"]


class EffectsFile:
    """An open effects file; use it as a context manager, `with open_effects(path) as effects`.

    Attributes
    ----------
    path : the file.
    attrs : its attributes: format, version, provenance.
    layout : "saturation" (every single-base edit, perhaps of some positions only) or "edits" (a list of variants).
    sequences : the loci, and their bases as codes.
    mask : True at the positions that a saturation edits: all known bases unless it was restricted.
    tasks : what the members predict.
    members : one row a member: name, seed, sha256, held_out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open(path)
        try:
            self.attrs = {k: v.item() if isinstance(v, np.generic) else v for k, v in self._file.attrs.items()}
            _check_format(path, self.attrs)
            _check_sources(path, self._file, self.attrs)
            self.layout: Layout = self.attrs["layout"]
            self.sequences = Sequences(loci=read_frame(self._file["loci"]), codes=self._file["sequence"][:])
            self.mask: Bool[np.ndarray, "loci length"] = self._file["mask"][:].astype(bool)
            tasks = read_frame(self._file["tasks"])
            self.tasks = tuple(Task(name=n, scale=s) for n, s in zip(tasks["name"], tasks["scale"], strict=True))
            self.members = read_frame(self._file["members"])
            if self.layout == "edits":
                self._edits, self._variant_id = _read_edits(self._file)
        except BaseException as error:
            self._file.close()
            if isinstance(error, KeyError):
                raise InputError(f"{path} is not a whole effects file: {error.args[0]}") from error
            raise

    def __enter__(self) -> "EffectsFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def loci(self) -> pd.DataFrame:
        """One row a locus, columns of `schema.LOCI`."""
        return self.sequences.loci

    @property
    def n_masked(self) -> int:
        """Number of positions over all loci that have no definite base and were not edited."""
        return int((~self.sequences.known).sum())

    @property
    def restricted(self) -> bool:
        """Whether a saturation was restricted to some of the known bases."""
        return self.layout == "saturation" and not np.array_equal(self.mask, self.sequences.known)

    @property
    def n_variants(self) -> int:
        """Number of variants over all loci."""
        return 3 * int(self.mask.sum()) if self.layout == "saturation" else len(self._variant_id)

    @property
    def virtual(self) -> bool:
        """Whether the file points to shards."""
        return bool(self._file["effect"].is_virtual)

    @property
    def reference(self) -> Float[np.ndarray, "members loci tasks"]:
        """Predictions of the unedited sequences."""
        values: np.ndarray = self._file["reference"][:]
        return np.moveaxis(values, 1, 0)

    def blocks(
        self, size: int = 64, *, tasks: Sequence[str] | None = None, named: bool = True
    ) -> Iterator[MemberEffects]:
        """Yield the effects of `size` loci at a time, in their order; positions that are not edited have no variant.

        Parameters
        ----------
        size : loci a block; bounds the memory.
        tasks : names of the tasks to read, in the order wanted; all by default.
        named : whether variants have their names; without, variant_id is empty and a third of the time is saved.
        """
        columns = self.task_columns(tasks)
        chosen = tuple(self.tasks[k] for k in columns)
        for start in range(0, len(self.sequences), size):
            loci = slice(start, min(start + size, len(self.sequences)))
            sequences = self.sequences.take(loci)
            if self.layout == "saturation":
                edits, names = single_edits(sequences.codes, within=self.mask[loci]), None
                delta = from_dense(self._read(loci, columns), sequences.codes, within=self.mask[loci])
            else:
                edits = self._edits.of_loci(loci)
                rows = self._edits.rows_of(loci)
                names, delta = self._variant_id[rows], self._read(rows, columns)
            yield MemberEffects(
                variants=variants_of(edits, sequences, variant_id=names if named else [""] * len(edits)),
                tasks=chosen,
                delta=np.ascontiguousarray(np.moveaxis(delta, 1, 0)),
            )

    def locus(self, locus: str | int) -> Float[np.ndarray, "members tasks length 3"]:
        """Return all effects of one locus, by name or number; the last axis is the other bases in the order ACGT.

        Positions that were not edited, where `mask` is False, are 0.

        Raises
        ------
        InputError
            When there is no such locus, or the file holds a list of edits.
        """
        if self.layout != "saturation":
            raise InputError(f"{self.path} holds a list of edits, not every edit of a locus")
        row = self.locus_row(locus)
        values: np.ndarray = self._read(slice(row, row + 1), list(range(len(self.tasks))))[0]
        return values

    def locus_row(self, locus: str | int) -> int:
        """Return the number of a locus given by name or number."""
        rows = [locus] if isinstance(locus, int) else np.flatnonzero((self.loci["locus"] == locus).to_numpy()).tolist()
        if not rows or not 0 <= rows[0] < len(self.sequences):
            raise InputError(f"{self.path} has no locus {locus!r} among its {len(self.sequences)}")
        return int(rows[0])

    def task_columns(self, tasks: Sequence[str] | None) -> list[int]:
        """Return the numbers of tasks given by name; all of them for None."""
        names = [task.name for task in self.tasks]
        unknown = [name for name in tasks or () if name not in names]
        if unknown:
            raise InputError(f"{self.path} has no task {unknown[0]!r}; it has {', '.join(names)}")
        return list(range(len(names))) if tasks is None else [names.index(name) for name in tasks]

    def _read(self, rows: slice, columns: list[int]) -> np.ndarray:
        """Read effects of some loci or variants; h5py wants the tasks in rising order."""
        rising = sorted(set(columns))
        try:
            values = self._file["effect"][rows, :, rising]
        except OSError as error:
            raise InputError(f"{self.path} is damaged: its effects cannot be read ({error})") from error
        back = [rising.index(k) for k in columns]
        result: np.ndarray = values if back == list(range(len(rising))) else values[:, :, back]
        return result


def open_effects(path: Path | str) -> EffectsFile:
    """Open an effects file for reading.

    Raises
    ------
    InputError
        When the file is missing, truncated, or of another format or version.
    IncompleteError
        When the run that makes the file was interrupted, or the file points to shards and one of them is missing.
    """
    return EffectsFile(Path(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which run an existing file is of, "" where it is no effects file, and whether it points to shards."""

    run_key: str = ""
    virtual: bool = False
    description: dict[str, Any] = field(default_factory=dict)


def identify(path: Path) -> Identity:
    """Say what an existing file is, without asking whether it is whole."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT or "effect" not in file:
                return Identity()
            return Identity(
                run_key=str(file.attrs.get("run_key", "")),
                virtual=bool(file["effect"].is_virtual),
                description=json.loads(file.attrs.get("run", "{}")),
            )
    except (OSError, ValueError):
        return Identity()


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        if read_description(folder_of(path)) is not None:
            raise IncompleteError(f"{path} is not finished: run its deepmr ism command again to continue")
        raise InputError(f"effects file {path} does not exist")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} is not an effects file: not HDF5, or truncated") from error


def _check_format(path: Path, attrs: dict[str, Any]) -> None:
    found = attrs.get("format")
    if found != FORMAT:
        raise InputError(f"{path} is not an effects file: its format is {found!r}, not {FORMAT!r}")
    version = str(attrs.get("format_version"))
    if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise InputError(f"{path} has format version {version}; this deepmr reads {FORMAT_VERSION}: write it anew")
    if not attrs.get("complete"):
        raise InputError(f"{path} is not marked complete: write it anew with deepmr ism")


def folder_of(out: Path) -> Path:
    """Return the folder that the shards of an effects file are kept in while it is made."""
    return out.with_name(out.name + ".shards")


def read_description(folder: Path) -> dict[str, Any] | None:
    """Return what the run that a folder of shards belongs to says of itself; None where there is no such folder."""
    try:
        found = json.loads((folder / "run.json").read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def differing(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Name what differs between the descriptions of two runs."""
    return ", ".join(name for name, value in wanted.items() if found.get(name) != value)


def _check_sources(path: Path, file: h5py.File, attrs: dict[str, Any]) -> None:
    """Refuse a virtual file whose shards are gone or another run's: HDF5 itself would read zeros, or their numbers."""
    effect = file["effect"]
    if not effect.is_virtual:
        return
    sources = [path.parent / source.file_name for source in effect.virtual_sources()]
    missing = [source for source in sources if not source.is_file()]
    if missing:
        raise IncompleteError(
            f"{path} points to {len(sources)} shards and {len(missing)} are missing, first {missing[0]}; "
            "run deepmr ism again"
        )
    folder = sources[0].parents[1]
    if (read_description(folder) or {}).get("run_key") != attrs["run_key"]:
        raise IncompleteError(f"{path} points to shards in {folder} that are now those of another run")


def _read_edits(file: h5py.File) -> tuple[Edits, list[str]]:
    variants, edits = file["variants"], file["edits"]
    start = np.append(0, np.cumsum(np.bincount(edits["variant"][:], minlength=len(variants["locus"]))))
    shifts = Shifts(**{name: variants[name][:] for name in SHIFTS}) if SHIFTS[0] in variants else None  # since 1.1
    packed = Edits(
        locus=variants["locus"][:], start=start, offset=edits["offset"][:], base=edits["base"][:], shifts=shifts
    )
    return packed, variants["variant_id"].asstr()[:].tolist()
