"""`deepmr calibrate`: how well an ensemble's intervals hold on held-out sequences, and the correction."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.commands.progress import meter
from deepmr.errors import InputError
from deepmr.io.calibration import write_calibration
from deepmr.io.fasta import read_fasta
from deepmr.io.files import atomic_path, check_writable
from deepmr.io.models import read_ensemble
from deepmr.io.provenance import provenance
from deepmr.io.targets import read_targets
from deepmr.ism.calibration import Calibration, fit_calibration, sequence_digests
from deepmr.ism.coverage import IntervalCalibration, Noise
from deepmr.report.figures import calibration_figure
from deepmr.sequence.ensemble import Ensemble
from deepmr.types import Sequences, Task

log = logging.getLogger(__name__)

LEVELS = (0.5, 0.8, 0.9, 0.95)
CHUNK = 1024  # sequences between two updates of the progress bar


def calibrate(
    *,
    model: Path,
    fasta: Path,
    targets: Path,
    out: Path,
    chrom: list[str] | None = None,
    counts: list[str] | None = None,
    noise: list[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    trust_code: bool = False,
    overwrite: bool = False,
) -> dict[str, object]:
    """Measure and correct an ensemble's intervals on held-out loci.

    Needs sequences with targets that neither trained the ensemble nor will be analysed. Writes a small JSON file that
    deepmr mr takes, and a reliability figure beside it (`.png`).

    Parameters
    ----------
    model
        Ensemble directory.
    fasta
        Held-out sequences.
    targets
        Table (TSV) with the column locus and one a task; empty = unknown.
    out
        JSON file to write.
    chrom
        Use the sequences on these chromosomes only.
    counts
        Tasks that predict Anscombe-transformed counts; default: what the ensemble says of itself.
    noise
        Known noise of the targets: none, poisson or a variance; TASK=NOISE for one task. Default poisson for counts,
        none for others.
    seed
        Seed of the folds for cross-fitting.
    device
        auto, cpu, cuda, cuda:1, ...
    trust_code
        Run the architecture's own code from the ensemble directory.
    overwrite
        Replace results that are there.

    Returns
    -------
    dict
        Per task the factor found and the coverage before and after, or the quality of its probabilities; tasks that
        were skipped, files. Warnings are logged and kept in the file.

    Raises
    ------
    InputError
        For files that cannot be used, an unknown task, or an ensemble of one member.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    checks.at_least("seed", seed, 0)
    figure = out.with_suffix(".png")
    for path in (out, figure):
        check_writable(path, overwrite=overwrite)
    ensemble = read_ensemble(model, device=device, trust_code=trust_code)
    sequences = read_fasta(fasta, length=ensemble.length)
    columns, measured = read_targets(targets, sequences)
    values = _align(columns, measured, ensemble.tasks, targets)
    if chrom is not None:
        chosen = _on_chroms(sequences, chrom)
        sequences, values = sequences.take(chosen), values[chosen]
    names = [task.name for task in ensemble.tasks]
    calibration = fit_calibration(
        _predict(ensemble, sequences),
        values,
        tasks=ensemble.tasks,
        counts=ensemble.counts if counts is None else _known(counts, names),
        noise=_noise(noise or [], names),
        seed=seed,
    )
    if not calibration.tasks:
        reasons = "; ".join(f"{task}: {reason}" for task, reason in calibration.skipped.items())
        raise InputError(f"no task can be calibrated: {reasons}")
    calibration = replace(
        calibration,
        loci=tuple(sequences.loci["locus"]),
        digests=sequence_digests(sequences),
        members=tuple(member.sha256 for member in ensemble.members),
        warnings=(*calibration.warnings, *_seen_in_training(ensemble, sequences)),
    )
    for line in calibration.warnings:
        log.warning("%s", line)
    inputs = {"model": model / "ensemble.toml", "fasta": fasta, "targets": targets}
    write_calibration(calibration, out, provenance=provenance("calibrate", options=options, inputs=inputs, seed=seed))
    with atomic_path(figure) as temporary:
        calibration_figure(calibration).savefig(temporary, format="png", dpi=150)
    return _summary(calibration) | {"calibration": str(out), "figure": str(figure)}


def _on_chroms(sequences: Sequences, chroms: Sequence[str]) -> Bool[np.ndarray, "loci"]:
    chosen: np.ndarray = sequences.loci["chrom"].isin(chroms).to_numpy()
    if not chosen.any():
        raise InputError(f"none of {len(sequences)} sequences is on {', '.join(chroms)}")
    return chosen


def _align(
    names: Sequence[str], values: Float[np.ndarray, "loci columns"], tasks: Sequence[Task], path: Path
) -> Float[np.ndarray, "loci tasks"]:
    """Return the targets in the order of the ensemble's tasks; a task without a column is unknown everywhere."""
    wanted = [task.name for task in tasks]
    if not set(names) & set(wanted):
        raise InputError(f"{path}: no column is a task of the ensemble; needed some of {', '.join(wanted)}")
    for name in set(names) - set(wanted):
        log.warning("%s: column %s is no task of the ensemble and is ignored", path, name)
    unknown = np.full(len(values), np.nan)
    return np.column_stack([values[:, names.index(n)] if n in names else unknown for n in wanted])


def _predict(ensemble: Ensemble, sequences: Sequences) -> Float[np.ndarray, "members loci tasks"]:
    parts = []
    with meter(description="predictions", total=len(sequences), unit="sequences") as advance:
        for start in range(0, len(sequences), CHUNK):
            parts.append(ensemble.predict(sequences.codes[start : start + CHUNK]))
            advance(parts[-1].shape[1])
    return np.concatenate(parts, axis=1)


def _known(chosen: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    for name in chosen:
        if name not in names:
            raise InputError(f"there is no task {name!r}; the ensemble has {', '.join(names)}")
    return chosen


def _noise(entries: Sequence[str], names: Sequence[str]) -> dict[str, Noise]:
    """Parse `NOISE` and `TASK=NOISE`; the latter win."""
    parsed: dict[str, Noise] = {}
    for entry in sorted(entries, key=lambda e: "=" in e):
        task, _, text = entry.rpartition("=")
        noise: Noise
        if text in ("none", "poisson"):
            noise = "none" if text == "none" else "poisson"
        else:
            try:
                noise = float(text)
            except ValueError:
                raise InputError(
                    f"noise must be none, poisson or a variance, or TASK= and one; got {entry!r}"
                ) from None
        parsed |= dict.fromkeys(_known([task], names) if task else names, noise)
    return parsed


def _seen_in_training(ensemble: Ensemble, sequences: Sequences) -> list[str]:
    """Warn of sequences on chromosomes that some member was trained on, as far as ensemble and sequences say."""
    held_out = [set(member.held_out) for member in ensemble.members]
    chroms = sequences.loci["chrom"]
    if not all(held_out) or not (chroms != "").any():
        return []
    safe = set.intersection(*held_out)
    seen = chroms[(chroms != "") & ~chroms.isin(safe)]
    if seen.empty:
        return []
    return [
        f"{len(seen)} of {len(chroms)} sequences are on chromosomes that training may have seen, first {seen.iloc[0]}: "
        f"intervals look better there than they are; held out were {', '.join(sorted(safe)) or 'none'}"
    ]


def _summary(calibration: Calibration) -> dict[str, object]:
    intervals: list[dict[str, object]] = []
    coverage: list[dict[str, object]] = []
    probabilities: list[dict[str, object]] = []
    for task in calibration.tasks:
        if isinstance(task, IntervalCalibration):
            row: dict[str, object] = {"task": task.task, "targets": task.targets, "noise": task.noise, "n": task.n}
            row |= {"variance_factor": task.raw_scale, "standard_error": task.raw_scale_se, "applied": task.scale}
            intervals.append(row)
            curves = {"as_trained": task.before, "variance": task.variance, "isotonic": task.isotonic}
            for name, curve in curves.items():
                held = {f"{100 * level:.0f}%": float(np.interp(level, task.levels, curve)) for level in LEVELS}
                coverage.append({"task": task.task, "intervals": name, **held})
        else:
            row = {"task": task.task, "n": task.n, "positive": task.n_positive, "temperature": task.temperature}
            for found in task.curves:
                scores = {"ece": found.ece, "brier": found.brier, "log_loss": found.log_loss}
                probabilities.append({**row, "probabilities": found.method, **scores})
    summary: dict[str, object] = {"intervals": intervals, "coverage": coverage, "probabilities": probabilities}
    summary |= {"skipped": [{"task": task, "reason": reason} for task, reason in calibration.skipped.items()]}
    return {name: value for name, value in summary.items() if value}
