"""What a run of `deepmr ism` is, and how much work: put together from files and options before anything is computed."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr.commands.ism_edits import Choice
from deepmr.errors import InputError
from deepmr.io.fasta import read_fasta, read_loci, sample_loci
from deepmr.io.shards import Run
from deepmr.ism.choice import Precision
from deepmr.ism.member import EngineName, Member, Strands
from deepmr.ism.naive import row_bytes
from deepmr.ism.plan import block_size_of
from deepmr.sequence.ensemble import Ensemble
from deepmr.types import Sequences

log = logging.getLogger(__name__)
MB = 1e6


def read_sequences(fasta: Path, loci: Path | None, *, length: int | None, sample: int | None, seed: int) -> Sequences:
    """Read the loci of a FASTA file or the windows of a genome, and draw a sample where one is asked for."""
    if loci is None:
        sequences = read_fasta(fasta, length=length)
    elif length is None:
        raise InputError("--loci needs an ensemble of fixed length: it says how wide the windows are")
    else:
        sequences = read_loci(fasta, loci, length=length)
    return sequences if sample is None else sample_loci(sequences, sample, seed=seed)


def task_columns(ensemble: Ensemble, names: list[str] | None) -> np.ndarray | None:
    """Return the numbers of the tasks to keep; None for all."""
    if not names:
        return None
    known = [task.name for task in ensemble.tasks]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"the ensemble has no task {unknown[0]!r}; it has {', '.join(known)}")
    return np.array([known.index(name) for name in dict.fromkeys(names)])


def make_run(
    ensemble: Ensemble,
    choice: Choice,
    *,
    columns: np.ndarray | None,
    sha256: str,
    precision: Precision,
    engine: EngineName,
    strands: Strands,
    size: int | None,
) -> Run:
    """Put together what determines the numbers."""
    tasks = ensemble.tasks if columns is None else tuple(ensemble.tasks[k] for k in columns)
    members = [
        {
            "name": member.name,
            "seed": -1 if member.seed is None else member.seed,
            "sha256": member.sha256,
            "held_out": ",".join(member.held_out),
            **({} if member.mask_seed is None else {"mask_seed": member.mask_seed}),
        }
        for member in ensemble.members
    ]
    run = Run(
        sequences=choice.sequences,
        edits=choice.edits,
        variant_id=choice.variant_id,
        tasks=tasks,
        members=pd.DataFrame(members),
        ensemble_sha256=sha256,
        precision=precision,
        engine=engine,
        strands=strands,
        block_size=size or 1,
        within=choice.within,
    )
    if size is None:
        n, length = choice.sequences.codes.shape
        kept = 3 * n * length if run.restricted else None  # positions that are not edited are kept as zeros
        run = replace(run, block_size=block_size_of(n, run.n_variants, length, len(tasks), n_kept=kept))
    return run


def describe_work(run: Run, members: list[Member], *, left: int) -> dict[str, object]:
    """Say how much work a run is, and how many of its units are left."""
    tensor = row_bytes(members[0].module, run.sequences.length, device=members[0].device)
    return {
        **describe_run(run),
        "units": len(run.units),
        "units_left": left,
        "block_size": run.block_size,
        "batch_size": [member.batch_size for member in members],
        "largest_tensor_mb": round(tensor * members[0].batch_size / MB, 3),
        "file_mb_uncompressed": round(_bytes(run) / MB, 3),
    }


def _bytes(run: Run) -> int:
    return sum(4 * int(np.prod(run.shape(name, rows, len(run.members)))) for name, rows in run.rows().items())


def warn_of_full_disk(run: Run, out: Path) -> None:
    """Log a warning when the disk may not have room for the shards and the file."""
    needed, free = 2 * _bytes(run), shutil.disk_usage(out.parent).free  # shards and file are there together at the end
    if needed > free:
        log.warning("%s may need %.0f MB before compression; %.0f MB are free", out.parent, needed / MB, free / MB)


def describe_run(run: Run) -> dict[str, object]:
    """Say what a run covers."""
    n_loci, n_members = len(run.sequences), len(run.members)
    return {
        "loci": n_loci,
        "length": run.sequences.length,
        "masked_positions": int((~run.sequences.known).sum()),
        "variants": run.n_variants,
        "members": n_members,
        "tasks": [task.name for task in run.tasks],
        "passes": (n_loci + run.n_variants) * n_members * (2 if run.strands == "both" else 1),
        "engine": run.engine,
    }
