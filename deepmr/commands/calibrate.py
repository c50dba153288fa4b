"""`deepmr calibrate`: how well an ensemble's intervals hold on held-out sequences, and the correction."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.commands.calibrate_edits import calibrate_edits, figure_paths
from deepmr.commands.progress import meter
from deepmr.errors import InputError
from deepmr.instruments.direction import Assignment
from deepmr.instruments.strength import Rule
from deepmr.io.calibration import write_calibration
from deepmr.io.fasta import read_fasta
from deepmr.io.files import atomic_path, check_writable
from deepmr.io.labelled_edits import SHARE
from deepmr.io.models import read_ensemble
from deepmr.io.provenance import provenance
from deepmr.io.targets import read_targets
from deepmr.ism.calibration import Calibration, fit_calibration, sequence_digests
from deepmr.ism.coverage import IntervalCalibration, Noise
from deepmr.report.figures import calibration_figure
from deepmr.sequence.ensemble import Ensemble
from deepmr.types import Sequences, Task

log = logging.getLogger(__name__)

OF_LEVELS = Parameter(group="For levels")
OF_EDITS = Parameter(group="For labelled edits")
FOR_LEVELS = ("chrom", "counts", "noise")
FOR_EDITS = (
    *("labelled_edits", "effects", "method", "rule", "threshold", "significance", "min_instruments"),
    *("assign", "reference_share", "where", "sample", "bootstrap_effects", "level_calibration"),
)
LEVELS = (0.5, 0.8, 0.9, 0.95)
CHUNK = 1024  # sequences between two updates of the progress bar


def calibrate(
    *,
    model: Path | None = None,
    fasta: Path | None = None,
    targets: Path | None = None,
    out: Path,
    chrom: Annotated[list[str] | None, OF_LEVELS] = None,
    counts: Annotated[list[str] | None, OF_LEVELS] = None,
    noise: Annotated[list[str] | None, OF_LEVELS] = None,
    seed: int = 0,
    device: str = "auto",
    trust_code: bool = False,
    labelled_edits: Annotated[Path | None, OF_EDITS] = None,
    effects: Annotated[Path | None, OF_EDITS] = None,
    method: Annotated[list[str] | None, OF_EDITS] = None,
    rule: Annotated[Rule, OF_EDITS] = "relative",
    threshold: Annotated[float | None, OF_EDITS] = None,
    significance: Annotated[float, OF_EDITS] = 0.05,
    min_instruments: Annotated[int, OF_EDITS] = 3,
    assign: Annotated[Assignment, OF_EDITS] = "none",
    reference_share: Annotated[float, OF_EDITS] = SHARE,
    where: Annotated[str | None, OF_EDITS] = None,
    sample: Annotated[int | None, OF_EDITS] = None,
    bootstrap_effects: Annotated[Path | None, OF_EDITS] = None,
    level_calibration: Annotated[Path | None, OF_EDITS] = None,
    overwrite: bool = False,
) -> dict[str, object]:
    """Measure and correct an ensemble's intervals on held-out loci.

    Of predicted levels: needs sequences with targets that neither trained the ensemble nor will be analysed. Of causal
    effects, with --labelled-edits: needs measured effects of single edits of such loci, and gives deepmr mr the
    calibrated effect, the one in the process that made the data. Either way writes a JSON file that deepmr mr takes,
    and figures beside it (`.png`).

    Parameters
    ----------
    model
        Ensemble directory; with labelled edits, needed where there is no effects file of their loci.
    fasta
        Held-out sequences.
    targets
        Table (TSV) with the column locus and one a task; empty = unknown. With labelled edits that are counts, those of
        the references.
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
        Of the folds for cross-fitting; of the loci that --sample draws.
    device
        auto, cpu, cuda, cuda:1, ...
    trust_code
        Run the architecture's own code from the ensemble directory.
    labelled_edits
        Table (TSV, plain or gzip) of measured effects of edits: docs/labelled_edits.md.
    effects
        Effects file of the labelled loci, as deepmr ism writes.
    method
        Estimators to calibrate; default ivw, egger and wald.
    rule
        How instruments are chosen; this and the next four as deepmr mr will have them.
    threshold
        Share of the pooled 99th percentile (default 0.25), F (10) or z-score (1).
    significance
        Level of the test that the relative rule adds; 1 turns it off.
    min_instruments
        Fewest instruments that a locus needs.
    assign
        Which strong edits belong to the exposure: all (none), those that move it rather than the outcome (steiger), or
        rather than any other task (most).
    reference_share
        Share of the variance of a measured difference that comes from the reference, which the edits of a locus have in
        common; where the table does not say. Half, where both were measured equally well.
    where
        COLUMN=VALUE: use only such rows of the labelled edits, so that their loci are like those to be analysed.
    sample
        Use the labels of that many loci, drawn at random, to see what fewer labels would have said.
    bootstrap_effects
        Effects file of the same loci by an ensemble trained on resampled data, which tells better than seeds how large
        the shared error may be; matters with few labels.
    level_calibration
        Calibration of levels that deepmr mr is to be given as well.
    overwrite
        Replace results that are there.

    Returns
    -------
    dict
        Per task the factor found and the coverage before and after, or the quality of its probabilities; tasks that
        were skipped, files. Of labelled edits: per pair and method the shift, what of it is applied, and what more
        labels would be worth. Warnings are logged and kept in the file.

    Raises
    ------
    InputError
        For files that cannot be used, an unknown task, an ensemble of one member, or options of the other mode.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    _refuse_options_of_the_other(options)
    checks.at_least("seed", seed, 0)
    if labelled_edits is not None:
        for path in (out, *figure_paths(out)):
            check_writable(path, overwrite=overwrite)
        return calibrate_edits(options)
    if model is None or fasta is None or targets is None:
        missing = [f"--{name}" for name in ("model", "fasta", "targets") if options[name] is None]
        raise InputError(f"needed {', '.join(missing)}; or --labelled-edits, to calibrate causal effects")
    figure = out.with_suffix(".png")
    for path in (out, figure):
        check_writable(path, overwrite=overwrite)
    options = {name: value for name, value in options.items() if name not in FOR_EDITS}
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


def _refuse_options_of_the_other(options: Mapping[str, object]) -> None:
    """Raise `InputError` for an option that has no part in the mode asked for."""
    whole = inspect.signature(calibrate).parameters
    on_edits = options["labelled_edits"] is not None
    for name in FOR_LEVELS if on_edits else FOR_EDITS:
        if options[name] != whole[name].default:
            raise InputError(
                f"--{name.replace('_', '-')} is for calibrating "
                + ("levels; with --labelled-edits causal effects are" if on_edits else "on --labelled-edits")
            )


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
