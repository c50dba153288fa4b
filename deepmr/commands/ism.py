"""`deepmr ism`: in-silico mutagenesis of every locus with every member, unit by unit, into one effects file."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from deepmr import checks
from deepmr.commands.interrupt import finish_unit_first
from deepmr.commands.ism_edits import choose_edits
from deepmr.commands.ism_run import (
    describe_run,
    describe_work,
    make_run,
    read_sequences,
    task_columns,
    warn_of_full_disk,
)
from deepmr.commands.progress import meter
from deepmr.errors import DeepMRError, IncompleteError, InputError
from deepmr.io.effects import differing, identify, open_effects
from deepmr.io.models import ensemble_sha256, read_ensemble
from deepmr.io.provenance import provenance
from deepmr.io.repack import write_effects
from deepmr.io.shards import Run, Shards, Unit, remove_strays
from deepmr.ism.choice import Engine, EngineReport, Precision, prepare_members
from deepmr.ism.member import EngineName, Member, Strands
from deepmr.ism.variants import Anchor
from deepmr.sequence.dropout import mc_dropout_ensemble

log = logging.getLogger(__name__)
CHECKED_LOCI = 8
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What was computed now: sequences by plain passes that it stands for, and the time it took."""

    passes: int
    seconds: float


def ism(
    *,
    model: Path,
    fasta: Path,
    out: Path,
    loci: Path | None = None,
    sample: int | None = None,
    seed: int = 0,
    edits: Path | None = None,
    within: list[str] | None = None,
    subregions: Path | None = None,
    scan: str | None = None,
    step: int = 1,
    anchor: Anchor = "center",
    task: list[str] | None = None,
    engine: Engine = "auto",
    strands: Strands = "forward",
    mc_dropout: int | None = None,
    batch_size: int | None = None,
    block_size: int | None = None,
    precision: Precision = "single",
    device: str = "auto",
    threads: int | None = None,
    shard: str | None = None,
    keep_shards: bool = False,
    dry_run: bool = False,
    overwrite: bool = False,
    trust_code: bool = False,
) -> dict[str, object]:
    """Mutate every base of every locus with every ensemble member.

    Finished units of work are kept in `<out>.shards`: when a run is interrupted or killed, the same command continues
    it. When all units are there they become one file.

    Parameters
    ----------
    model
        Ensemble directory.
    fasta
        Sequences, one record a locus; with --loci, a genome.
    out
        Effects file to write (HDF5).
    loci
        BED or narrowPeak file: windows of the genome, centred on the summit.
    sample
        Analyse that many loci, drawn at random.
    seed
        Of the random draw, of the random bases of a scan and of dropout masks.
    edits
        Table of edits to make instead of every single-base edit.
    within
        START:END, offsets from 0 in each locus: edit there only. May be several.
    subregions
        BED file: edit there only; by chromosome, or by locus name and offsets in loci without coordinates.
    scan
        Edit windows instead of bases: delete:W, substitute:W (shuffled), substitute:W:random, substitute:MOTIF,
        insert:W (random) or insert:MOTIF.
    step
        Bases from one window of a scan to the next.
    anchor
        What stays in place when bases are deleted or inserted: the longer flank (center), the left or the right one.
    task
        Tasks to keep; all by default.
    engine
        auto recomputes only what an edit can change (windowed) where the network allows it, and checks that first;
        naive predicts whole sequences; gradient is a first look, to first order.
    strands
        both averages the effects with those of the reverse complement.
    mc_dropout
        Members to make of each network by dropout masks that stay.
    batch_size
        Sequences at once in plain passes; by default from the network and the device.
    block_size
        Loci in a unit of work.
    precision
        Arithmetic in the networks; double is several times slower.
    device
        auto, cpu, cuda or cuda:1.
    threads
        CPU threads.
    shard
        Part of the work, such as 2/8; the last part to finish writes the file.
    keep_shards
        Keep the shards; the file points to them.
    dry_run
        Only say how much work it is.
    overwrite
        Replace the results of another run.
    trust_code
        Run Python code that the ensemble brings along.

    Returns
    -------
    dict
        Loci, masked positions, variants, passes, seconds, loci per second and the file.

    Raises
    ------
    InputError
        When an input cannot be used, or `out` holds another run.
    IncompleteError
        When units are missing at the end.
    """
    options = {name: value for name, value in locals().items() if name not in {"dry_run", "overwrite"}}
    counts = {"batch_size": batch_size, "block_size": block_size, "threads": threads, "mc_dropout": mc_dropout}
    for name, value in counts.items():
        checks.at_least(name, value, 1)
    checks.at_least("seed", seed, 0)
    part = _part(shard, overwrite=overwrite)
    if threads is not None:
        torch.set_num_threads(threads)
    ensemble = read_ensemble(model, device=device, trust_code=trust_code)
    if mc_dropout is not None:
        ensemble = mc_dropout_ensemble(ensemble, n_members=mc_dropout, seed=seed)
    sequences = read_sequences(fasta, loci, length=ensemble.length, sample=sample, seed=seed)
    columns = task_columns(ensemble, task)
    choice = choose_edits(
        sequences,
        edits=edits,
        within=within,
        subregions=subregions,
        scan=scan,
        step=step,
        anchor=anchor,
        seed=seed,
    )
    run = make_run(
        ensemble,
        choice,
        columns=columns,
        sha256=ensemble_sha256(ensemble),
        precision=precision,
        engine="windowed",
        strands=strands,
        size=block_size,
    )
    begun = _begun(out, run)
    if begun and engine in ("auto", begun) and not dry_run:
        same = replace(run, engine=begun)
        if _is_done(out, same, keep_shards=keep_shards, overwrite=overwrite):
            return _already(out, same, keep_shards=keep_shards) | choice.notes
    shifted = 0 if choice.edits is None else int(choice.edits.shifted.sum())
    members, report = prepare_members(
        ensemble,
        choice.sequences,
        n_variants=run.n_variants,
        n_shifted=shifted,
        engine=begun or engine if engine == "auto" else engine,
        batch_size=batch_size,
        precision=precision,
        columns=columns,
        names=run.members["name"].tolist(),
        strands=strands,
    )
    if begun and engine == "auto" and report.engine == "naive":
        report = replace(report, reason="plain passes, as the run was begun")
    run = replace(run, engine=report.engine)
    shards = Shards(out, run)
    if dry_run:
        left = len(shards.missing()) if shards.are_ours() else len(run.units)
        return describe_work(run, members, left=left) | report.to_dict() | choice.notes
    if _is_done(out, run, keep_shards=keep_shards, overwrite=overwrite):
        return _already(out, run, keep_shards=keep_shards) | choice.notes
    ensemble.check(run.sequences.codes[:CHECKED_LOCI])
    shards.claim(overwrite=overwrite)
    if shard is None:
        remove_strays(out)  # other parts may be writing theirs
    mine = run.units[part]
    warn_of_full_disk(run, out)
    work = _compute(shards, mine, members)
    left = len(shards.missing())
    if left and shard is None:
        raise IncompleteError(f"{left} of {len(run.units)} units of {out} are missing: run the same command again")
    if left:
        return {"status": f"part {shard} is done; {left} of {len(run.units)} units are left", "seconds": work.seconds}
    paths = {"fasta": fasta, "loci": loci, "edits": edits, "subregions": subregions}
    inputs = {name: path for name, path in paths.items() if path is not None}
    drawn = sample is not None or choice.drawn or mc_dropout is not None
    record = provenance("ism", options=options, inputs=inputs, seed=seed if drawn else None)
    said = report.to_dict() | _measured(report, work)
    _finish(out, shards, record | {"engine_report": said}, virtual=keep_shards)
    return {**_result(run, out), **said, **choice.notes, "seconds": work.seconds}


def _begun(out: Path, run: Run) -> EngineName | None:
    """Return the engine of the same run where `out` has begun or finished it, so that it goes on with that."""
    names: tuple[EngineName, ...] = ("naive", "windowed", "gradient")
    finished = identify(out).run_key if out.exists() else ""
    same = {name: replace(run, engine=name) for name in names}
    return next((name for name, other in same.items() if Shards(out, other).are_ours() or other.key == finished), None)


def _already(out: Path, run: Run, *, keep_shards: bool) -> dict[str, object]:
    """Say that nothing is to do, and remove what a process left that was killed just before it was done."""
    shards = Shards(out, run)
    if not keep_shards and shards.are_ours():
        shards.remove()
    return {"status": "already complete, nothing to do", **_result(run, out)}


def _measured(report: EngineReport, work: Work) -> dict[str, object]:
    """Say how much faster windows were than plain passes, by the time that a plain pass took in the check."""
    if report.engine != "windowed" or report.check is None or not work.passes:
        return {}
    return {"speedup_measured": round(report.check.plain_seconds * work.passes / work.seconds, 2)}


def _part(shard: str | None, *, overwrite: bool) -> slice:
    """Return which units are ours: all of them, or every n-th from the i-th."""
    if shard is None:
        return slice(None)
    numbers = shard.split("/")
    if len(numbers) != 2 or not all(n.isdigit() for n in numbers) or not 1 <= int(numbers[0]) <= int(numbers[1]):
        raise InputError(f"--shard must be i/n with 1 <= i <= n, such as 2/8; got {shard!r}")
    if overwrite:
        raise InputError(
            "--overwrite with --shard would remove what the other parts have done: remove old results first"
        )
    return slice(int(numbers[0]) - 1, None, int(numbers[1]))


def _result(run: Run, out: Path) -> dict[str, object]:
    return {**describe_run(run), "file": str(out), "file_mb": round(out.stat().st_size / MB, 3)}


def _is_done(out: Path, run: Run, *, keep_shards: bool, overwrite: bool) -> bool:
    """Say whether `out` is what this run makes; refuse to touch anything else without leave."""
    if not out.parent.is_dir():
        raise InputError(f"the folder of {out} does not exist")
    if not out.exists():
        return False
    found = identify(out)
    if found.run_key != run.key:
        if not overwrite:
            what = "not an effects file"
            if found.run_key:
                what = f"of another run ({differing(found.description, run.description)} differ)"
            raise InputError(f"{out} exists and is {what}: choose another --out, or --overwrite")
        if found.virtual:
            out.unlink()  # it points to shards that this run replaces
        return False
    if not found.virtual:
        return True
    if not keep_shards:
        return False  # put its shards together now
    try:
        open_effects(out).close()
    except IncompleteError:
        return False
    return True


def _compute(shards: Shards, mine: list[Unit], members: list[Member]) -> Work:
    """Compute the units of ours that are missing."""
    run = shards.run
    if swept := shards.sweep(mine):
        log.info("removed %d half-written files of a killed run", swept)
    missing = shards.missing(mine)
    if len(missing) < len(mine):
        log.info("continuing: %d of %d units are there", len(mine) - len(missing), len(mine))
    strands = 2 if run.strands == "both" else 1
    passes = strands * sum(u.loci.stop - u.loci.start + len(run.edits_of(u)) for u in missing)
    loci = round(sum(u.loci.stop - u.loci.start for u in missing) / len(members))
    start = time.perf_counter()
    with finish_unit_first() as stop_if_asked, meter(description="mutating", total=loci, unit="loci") as advance:
        for unit in missing:
            _compute_unit(shards, unit, members[unit.member], lambda n: advance(n * loci / passes))
            stop_if_asked()
    return Work(passes=passes, seconds=round(time.perf_counter() - start, 3))


def _compute_unit(shards: Shards, unit: Unit, member: Member, progress: Callable[[int], None]) -> None:
    start = time.perf_counter()
    sequences = shards.run.sequences.take(unit.loci)
    found = member.effects(sequences, shards.run.edits_of(unit), progress=progress)
    attrs = {
        "device": str(member.device),
        "batch_size": found.batch_size,
        "threads": torch.get_num_threads(),
        "torch_version": str(torch.__version__),
        "seconds": time.perf_counter() - start,
    }
    shards.write(unit, effect=shards.run.laid_out(unit, found.delta), reference=found.reference, attrs=attrs)


def _finish(out: Path, shards: Shards, record: dict[str, object], *, virtual: bool) -> None:
    """Write the one file. Parts of one run may get here together: the first to finish wins, the others find it done."""
    try:
        write_effects(out, shards, attrs=record, virtual=virtual)
    except DeepMRError:
        found = identify(out)
        if found.run_key != shards.run.key or found.virtual:
            raise
    if not virtual:
        shards.remove()
