"""`deepmr calibrate --labelled-edits`: causal effects against measured effects of edits."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from deepmr import checks
from deepmr.commands.calibrations import read_calibrations
from deepmr.commands.source import Source, open_source, pooled_blocks
from deepmr.errors import InputError
from deepmr.instruments.direction import Assignment, locus_sizes
from deepmr.instruments.several import select_several
from deepmr.instruments.strength import EffectScale, Selection, effect_scales, is_strong
from deepmr.io.fasta import read_fasta
from deepmr.io.files import atomic_path
from deepmr.io.labelled_calibration import write_labelled_calibration
from deepmr.io.labelled_edits import read_labelled_edits
from deepmr.io.models import read_ensemble
from deepmr.io.provenance import file_sha256, provenance
from deepmr.io.tables import read_table
from deepmr.ism.calibration import Calibration, sequence_digests
from deepmr.ism.members import pool_members
from deepmr.ism.mutate import mutate
from deepmr.labelled import LabelledCalibration, LabelledEdits, PairCalibration, fit_labelled
from deepmr.labelled.fitting import BASE
from deepmr.labelled.matching import match_edits
from deepmr.labelled.units import DOUBTED, REFUSED, unit_ratios
from deepmr.labelled.worth import recommend, worth_of_labels
from deepmr.mr import METHODS, estimate_effects
from deepmr.report.labelled import misses_figure, shown_pairs, worth_figure
from deepmr.types import Estimates, Instruments, SummaryStats

log = logging.getLogger(__name__)
DEFAULT_METHODS = ("ivw", "egger", "wald")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What an ensemble says of the labelled loci.

    Attributes
    ----------
    stats : effects of every edit, on all tasks.
    loci, digests, members : names, digests of the sequences (empty without sequences), checksums of the members.
    levels : mean prediction of the unedited loci (loci, tasks), or None.
    """

    stats: tuple[SummaryStats, ...]
    loci: tuple[str, ...]
    digests: tuple[str, ...]
    members: tuple[str, ...]
    levels: Float[np.ndarray, "loci tasks"] | None


def calibrate_edits(options: Mapping[str, Any]) -> dict[str, object]:
    """Calibrate causal effects on labelled edits, with the options of `deepmr calibrate`, and return its summary.

    Parameters
    ----------
    options
        By name; checked as far as one mode excludes the other.
    """
    out: Path = options["out"]
    methods = tuple(dict.fromkeys(options["method"] or DEFAULT_METHODS))
    for name in methods:
        checks.one_of("method", name, METHODS)
    selection = Selection(rule=options["rule"], threshold=options["threshold"], significance=options["significance"])
    levels, _ = read_calibrations(options["level_calibration"])
    predicted = _predicted(options, levels)
    tasks = predicted.stats[0].traits
    labels = read_labelled_edits(
        options["labelled_edits"],
        tasks=tasks,
        references=options["targets"],
        reference_share=options["reference_share"],
        where=options["where"],
    )
    labels = _sampled(labels, options["sample"], seed=options["seed"], path=options["labelled_edits"])
    if len(labels.tasks) < 2:
        raise InputError(
            f"{options['labelled_edits']}: has labels for {labels.tasks[0]} only; a causal effect is calibrated on "
            "labels of the exposure and of the outcome"
        )
    scales = effect_scales(predicted.stats)
    own = _at_labelled_loci(labels, predicted.stats)
    rows = _matched(labels, own, predicted.loci, options["labelled_edits"])
    effects, reference = _of_labels(labels, own, rows, predicted)
    estimate = _Estimator(
        methods=methods,
        selection=selection,
        labels=labels,
        least=options["min_instruments"],
        assign=options["assign"],
    )
    bootstrap = options["bootstrap_effects"]
    chosen = estimate.choose(predicted.stats)
    units = _units(labels, effects, _strong(own, labels.tasks, scales, selection)[rows], options["labelled_edits"])
    calibration = fit_labelled(
        labels,
        effects,
        estimate.from_instruments(chosen),
        instrument=_instruments(chosen, own, rows),
        levels=reference,
        bootstrap=None if bootstrap is None else estimate(_bootstrap(bootstrap, levels, labels)),
    )
    used = [locus for locus in predicted.loci if locus in set(labels.variants["locus"])]
    number = {locus: k for k, locus in enumerate(predicted.loci)}
    calibration = replace(
        calibration,
        pairs=tuple(pair for pair in calibration.pairs if pair.method in methods),
        loci=tuple(used),
        digests=tuple(predicted.digests[number[locus]] for locus in used) if predicted.digests else (),
        members=predicted.members,
        level_calibration="" if levels is None else file_sha256(options["level_calibration"]),
        selection={"rule": selection.rule, "threshold": selection.cut, "significance": selection.significance}
        | {"min_instruments": options["min_instruments"], "assign": options["assign"]},
        units=units,
        warnings=(*units.values(), *calibration.warnings),
    )
    for line in calibration.warnings:
        log.warning("%s", line)
    return _write(calibration, out, options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Estimator:
    """Effects at the labelled loci, made as `deepmr mr` makes them."""

    methods: tuple[str, ...]
    selection: Selection
    labels: LabelledEdits
    least: int
    assign: Assignment

    def __call__(self, blocks: Sequence[SummaryStats]) -> Estimates:
        """Return the estimates of every ordered pair of labelled tasks."""
        return self.from_instruments(self.choose(blocks))

    def choose(self, blocks: Sequence[SummaryStats]) -> list[Instruments]:
        """Return the instruments of every ordered pair of labelled tasks."""
        tasks = self.labels.tasks
        own = _at_labelled_loci(self.labels, blocks)
        names = list(dict.fromkeys(locus for block in own for locus in block.variants["locus"].astype(str)))
        chosen = select_several(
            own,
            models=[((x,), y) for x in tasks for y in tasks if x != y],
            scales=effect_scales(blocks),
            loci=names,
            selection=self.selection,
            sizes=None if self.assign == "none" else locus_sizes(own, loci=names),
            assign=self.assign,
        )
        return [one.instruments for one in chosen]

    def from_instruments(self, chosen: Sequence[Instruments]) -> Estimates:
        """Return the estimates that instruments give."""
        methods = tuple(dict.fromkeys((*self.methods, BASE)))
        return estimate_effects(chosen, methods=methods, min_instruments=self.least)


def _predicted(options: Mapping[str, Any], levels: Calibration | None) -> Predicted:
    """Return what the ensemble says, from an effects file or from the ensemble itself."""
    effects, model, fasta = options["effects"], options["model"], options["fasta"]
    if effects is not None:
        if model is not None or fasta is not None:
            raise InputError("the predicted effects are those of --effects; --model and --fasta go without it")
        with open_source(effects) as source:
            return _from_source(source, levels, effects)
    if model is None or fasta is None:
        raise InputError("needed predicted effects of the labelled loci: --effects, or --model and --fasta")
    ensemble = read_ensemble(model, device=options["device"], trust_code=options["trust_code"])
    sequences = read_fasta(fasta, length=ensemble.length)
    names = _labelled_loci(options)
    wanted = sequences.loci["locus"].astype(str).isin(names).to_numpy()
    if not wanted.any():
        raise InputError(f"{fasta}: has none of the {len(names)} loci of {options['labelled_edits']}")
    sequences = sequences.take(wanted)
    stats = pool_members(mutate(ensemble, sequences), calibration=levels)
    return Predicted(
        stats=(stats,),
        loci=tuple(sequences.loci["locus"].astype(str)),
        digests=sequence_digests(sequences),
        members=tuple(member.sha256 for member in ensemble.members),
        levels=ensemble.predict(sequences.codes).mean(axis=0).astype(float),
    )


def _labelled_loci(options: Mapping[str, Any]) -> set[str]:
    """Return the names in the table of labelled edits, before anything else is known of it."""
    frame = read_table(options["labelled_edits"])
    if "locus" not in frame.columns:
        raise InputError(f"{options['labelled_edits']}: the column 'locus' is missing")
    return set(frame["locus"].astype(str))


def _from_source(source: Source, levels: Calibration | None, path: Path) -> Predicted:
    if not source.has_members:
        raise InputError(f"{path}: has no members; labelled edits calibrate the effects of an ensemble's members")
    file = source.file
    names = [task.name for task in source.tasks]
    stats = pooled_blocks(source, names, description="predicted effects", calibration=levels)
    return Predicted(
        stats=tuple(stats),
        loci=tuple(source.loci),
        digests=() if file is None else sequence_digests(file.sequences),
        members=() if file is None else tuple(file.members["sha256"]),
        levels=None if file is None else np.asarray(file.reference.mean(axis=0), dtype=float),
    )


def _sampled(labels: LabelledEdits, sample: int | None, *, seed: int, path: Path) -> LabelledEdits:
    """Return the edits of some of the labelled loci, drawn at random; all of them where no number is given."""
    if sample is None:
        return labels
    checks.at_least("sample", sample, 1)
    loci = labels.variants["locus"].astype(str)
    names = loci.unique()
    if sample > len(names):
        raise InputError(f"{path}: has labels at {len(names)} loci; cannot draw {sample} of them (--sample)")
    drawn = np.random.default_rng(seed).permutation(names)[:sample]
    return labels.take(loci.isin(drawn).to_numpy())


def _bootstrap(path: Path, levels: Calibration | None, labels: LabelledEdits) -> tuple[SummaryStats, ...]:
    """Return the effects of members that saw resampled data."""
    with open_source(path) as source:
        predicted = _from_source(source, levels, path)
    missing = [task for task in labels.tasks if task not in predicted.stats[0].traits]
    if missing:
        raise InputError(f"{path}: has no task {missing[0]!r}, which has labels")
    return predicted.stats


def _at_labelled_loci(labels: LabelledEdits, blocks: Sequence[SummaryStats]) -> list[SummaryStats]:
    """Return the effects at labelled loci."""
    wanted = set(labels.variants["locus"])
    return [block.take(block.variants["locus"].astype(str).isin(wanted).to_numpy()) for block in blocks]


def _matched(
    labels: LabelledEdits, own: Sequence[SummaryStats], loci: Sequence[str], path: Path
) -> Int[np.ndarray, "edits"]:
    """Return the row of every labelled edit among the effects at labelled loci."""
    variants = pd.concat([part.variants.astype({"locus": str}) for part in own], ignore_index=True)
    return match_edits(labels.variants, variants, list(loci), source=str(path))


def _instruments(
    chosen: Sequence[Instruments], own: Sequence[SummaryStats], rows: Int[np.ndarray, "edits"]
) -> dict[tuple[str, str], Bool[np.ndarray, "edits"]]:
    """Return which labelled edits are among the instruments of each pair."""
    key = ["locus", "effect_allele", "pos", "variant_id"]
    variants = pd.concat([part.variants for part in own], ignore_index=True).iloc[rows]
    names = pd.MultiIndex.from_frame(variants[key].astype(str))
    return {
        (one.exposure, one.outcome): names.isin(pd.MultiIndex.from_frame(one.variants[key].astype(str)))
        for one in chosen
    }


def _units(
    labels: LabelledEdits,
    effects: Float[np.ndarray, "edits tasks"],
    strong: Bool[np.ndarray, "edits tasks"],
    path: Path,
) -> dict[str, str]:
    """Return a warning for each task whose labels may be in another unit; refuse where they surely are."""
    warnings = {}
    for ratio in unit_ratios(labels, effects, strong):
        if ratio.beyond(REFUSED):
            raise InputError(f"{path}: {ratio.sentence}")
        if ratio.beyond(DOUBTED):
            warnings[ratio.task] = ratio.sentence
    return warnings


def _strong(
    own: Sequence[SummaryStats], tasks: Sequence[str], scales: Mapping[str, EffectScale], selection: Selection
) -> Bool[np.ndarray, "variants tasks"]:
    """Return which edits are strong on each task, by the rule of the estimates, whosever they are."""
    columns = [
        np.concatenate([is_strong(part, exposure=task, scale=scales[task], selection=selection) for part in own])
        for task in tasks
    ]
    return np.column_stack(columns)


def _of_labels(
    labels: LabelledEdits, own: Sequence[SummaryStats], rows: Int[np.ndarray, "edits"], predicted: Predicted
) -> tuple[Float[np.ndarray, "edits tasks"], Float[np.ndarray, "edits tasks"] | None]:
    """Return predicted effects of the labelled edits, and predicted levels of their references."""
    columns = [predicted.stats[0].traits.index(task) for task in labels.tasks]
    effects = np.concatenate([part.beta for part in own])[rows][:, columns]
    if predicted.levels is None or labels.reference is None:
        return effects, None
    home = pd.Index(predicted.loci).get_indexer(pd.Index(labels.variants["locus"]))
    return effects, predicted.levels[home][:, columns]


def _write(calibration: LabelledCalibration, out: Path, options: Mapping[str, Any]) -> dict[str, object]:
    """Write the calibration and its figures, and return what the command says."""
    lead = shown_pairs(calibration)
    figures = figure_paths(out)
    worth = {
        f"{pair.exposure} on {pair.outcome}": worth_of_labels(pair).round(6).to_dict(orient="records") for pair in lead
    }
    names = ("labelled_edits", "effects", "fasta", "targets", "bootstrap_effects", "level_calibration")
    inputs = {name: options[name] for name in names if options[name] is not None}
    if options["model"] is not None:
        inputs["model"] = options["model"] / "ensemble.toml"
    given = {name: value for name, value in options.items() if name != "overwrite"}
    record = provenance("calibrate", options=given, inputs=inputs, seed=options["seed"])
    strongest = max(lead, key=lambda pair: abs(float(pair.slope.mean())) / (pair.prior or 1.0))
    drawn = (misses_figure(calibration), worth_figure(strongest))
    write_labelled_calibration(calibration, out, worth=worth, provenance=record)
    for path, figure in zip(figures, drawn, strict=True):
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    summary: dict[str, object] = {"pairs": [_row(pair) for pair in calibration.pairs]}
    if calibration.skipped:
        summary["skipped"] = [{"pair": name, "reason": reason} for name, reason in calibration.skipped.items()]
    summary["worth"] = [f"{pair.exposure} on {pair.outcome}: {recommend(pair)}" for pair in lead]
    return summary | {"calibration": str(out), "figures": [str(path) for path in figures]}


def figure_paths(out: Path) -> tuple[Path, Path]:
    """Return where the figures of a calibration on labelled edits are.

    Parameters
    ----------
    out
        The calibration.
    """
    return out.with_suffix(".png"), out.with_name(f"{out.stem}.worth.png")


def _row(pair: PairCalibration) -> dict[str, object]:
    return {
        "exposure": pair.exposure,
        "outcome": pair.outcome,
        "method": pair.method,
        "loci": len(pair.loci),
        "edits": pair.n_edits,
        "in_the_model": float(pair.slope.mean()),
        "shift": pair.shift,
        "shift_se": pair.se,
        "shrink": pair.shrink,
        "applied": pair.applied,
        "member_scale": pair.scale,
        "local_floor": pair.floor,
        "dose": pair.dose,
        "noise": pair.noise,
    }
