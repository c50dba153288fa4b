"""`deepmr train`: sequences and a table of targets -> an ensemble directory."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks
from deepmr.commands.progress import meter
from deepmr.errors import InputError
from deepmr.io.architectures import architecture_file, architecture_name, find_architecture
from deepmr.io.directories import check_directory
from deepmr.io.ensemble_toml import DESCRIPTION
from deepmr.io.fasta import read_fasta, read_loci
from deepmr.io.models import write_ensemble
from deepmr.io.provenance import provenance
from deepmr.io.targets import read_targets
from deepmr.sequence.fitting import TrainOptions
from deepmr.sequence.losses import Kind, TaskSpec, infer_kind
from deepmr.sequence.metrics import ENSEMBLE
from deepmr.sequence.training import TrainedEnsemble, planned_epochs, train_ensemble
from deepmr.types import Sequences

log = logging.getLogger(__name__)

LABELLED = 0.5  # share of the loci of one binary task at which another must be labelled
MEASURES = {"binary": ("auroc", "auprc")}  # of the kind of a task; r2 and pearson for the others
SAID: dict[Kind, str] = {"anscombe": "counts", "poisson": "counts (log rates)"}  # kinds by the names of the options


def train(
    *,
    fasta: Path,
    targets: Path,
    out: Path,
    loci: Path | None = None,
    length: int | None = None,
    counts: list[str] | None = None,
    continuous: list[str] | None = None,
    binary: list[str] | None = None,
    count_loss: Literal["anscombe", "poisson"] = "anscombe",
    members: int = 5,
    seed: int = 0,
    held_out: list[str] | None = None,
    validation: float = 0.15,
    negatives: float = 0.0,
    resample: bool = False,
    reverse_complement: bool = False,
    architecture: str = "paper_cnn",
    arguments: str = "{}",
    epochs: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    batch_size: int = 64,
    device: str = "auto",
    workers: int | None = None,
    trust_code: bool = False,
    overwrite: bool = False,
) -> dict[str, object]:
    """Train an ensemble on sequences and a table of targets.

    Members differ by seed. A task whose kind is not given is binary when its targets are 0 and 1, counts when they are
    whole numbers from 0, else continuous. Writes the networks, metrics.tsv and history.tsv.

    Parameters
    ----------
    fasta
        Sequences, one record a locus; with --loci, a genome.
    targets
        Table (TSV) with the column locus and one a task; empty = unknown.
    out
        Ensemble directory to make.
    loci
        BED or narrowPeak file: windows of the genome, centred on the summit.
    length
        Bases of a sequence; needed with --loci.
    counts
        Tasks that are counts.
    continuous
        Tasks that are any numbers.
    binary
        Tasks that are 0 or 1.
    count_loss
        Counts y as 2 sqrt(y + 3/8) with squared error, or log rates with the Poisson likelihood.
    members
        Networks.
    seed
        Seed; the same one gives the same ensemble on the same machine.
    held_out
        Chromosomes set aside for validation.
    validation
        Share of the loci set aside, without --held-out.
    negatives
        Shuffled copies per locus to add, labelled 0 for binary tasks.
    resample
        Train each member on a bootstrap of the loci.
    reverse_complement
        Show every sequence as either strand, at random.
    architecture
        paper_cnn, dilated, or package.module:Class.
    arguments
        Arguments of the architecture as JSON, such as '{"filters": 32}'.
    epochs
        Passes over the data at most; default 20, 10 with many sequences, more with few.
    learning_rate
        Largest learning rate; by default the architecture's.
    weight_decay
        Decoupled weight decay; default 0.1, 0.05 with many sequences.
    batch_size
        Sequences an update.
    device
        auto, cpu, cuda, cuda:1, ...
    workers
        Processes on a CPU; default one a core.
    trust_code
        Import an architecture from any package.
    overwrite
        Replace an ensemble that is there.

    Returns
    -------
    dict
        Sizes, settings, and how well members and their mean predict each task on the validation loci.

    Raises
    ------
    InputError
        When an input or option cannot be used.
    """
    given = {name: value for name, value in locals().items() if name != "overwrite"}
    checks.at_least("seed", seed, 0)
    checks.at_least("workers", workers, 1)
    if architecture_file(architecture, Path()):
        raise InputError(
            f"architecture must be one that worker processes can import, package.module:Class; got {architecture!r}"
        )
    check_directory(out, marker=DESCRIPTION, overwrite=overwrite)
    options = TrainOptions(
        architecture=find_architecture(architecture, trust_code=trust_code),
        arguments=parse_arguments(arguments),
        validation=validation,
        held_out=tuple(held_out or ()),
        negatives=negatives,
        resample=resample,
        reverse_complement=reverse_complement,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=batch_size,
    )
    sequences = _read_sequences(fasta, loci, length)
    names, values = read_targets(targets, sequences)
    kinds: dict[Kind, list[str]] = {count_loss: counts or [], "continuous": continuous or [], "binary": binary or []}
    tasks, inferred = choose_kinds(names, values, kinds, count_loss=count_loss)
    warn_of_unlabelled(tasks, values)
    n_epochs = members * planned_epochs(sequences, options=options)
    with meter(description="training", total=n_epochs, unit="epochs") as advance:
        trained = train_ensemble(
            sequences,
            values,
            tasks=tasks,
            n_members=members,
            seed=seed,
            options=options,
            device=device,
            n_workers=workers,
            progress=advance,
        )
    used = given | {
        "architecture": architecture_name(options.architecture),
        **{name: getattr(trained.schedule, name) for name in ("epochs", "learning_rate", "weight_decay")},
    }
    inputs = {"fasta": fasta, "targets": targets} | ({"loci": loci} if loci else {})
    _write(
        out,
        trained,
        sequences.length,
        options,
        provenance("train", options=used, inputs=inputs, seed=seed),
        overwrite=overwrite,
    )
    return {
        "out": str(out),
        "architecture": architecture_name(options.architecture),
        "members": members,
        "training_sequences": trained.n_train,
        "validation_sequences": trained.n_validation,
        "epochs": trained.schedule.epochs,
        "learning_rate": trained.schedule.learning_rate,
        "weight_decay": trained.schedule.weight_decay,
        "trained_again": list(trained.retrained) or "none",
        "tasks": [
            {
                "task": t.name,
                "kind": SAID.get(t.kind, t.kind),
                "chosen": "from the targets" if t.name in inferred else "by option",
            }
            for t in tasks
        ],
        "validation": _scores(trained.metrics, tasks),
    }


def parse_arguments(text: str) -> dict[str, Any]:
    """Read the arguments of an architecture.

    Parameters
    ----------
    text
        JSON object.

    Raises
    ------
    InputError
        When it is none.
    """
    try:
        arguments = json.loads(text)
    except json.JSONDecodeError as error:
        arguments, why = None, f": {error}"
    else:
        why = ""
    if not isinstance(arguments, dict):
        raise InputError(f'arguments must be a JSON object, such as {{"filters": 32}}; got {text}{why}')
    return arguments


def choose_kinds(
    names: Sequence[str],
    values: Float[np.ndarray, "loci tasks"],
    given: Mapping[Kind, Sequence[str]],
    *,
    count_loss: Literal["anscombe", "poisson"],
) -> tuple[tuple[TaskSpec, ...], set[str]]:
    """Give every task the kind that was named for it, or the one its targets look like.

    Parameters
    ----------
    names
        Tasks in the order of the columns.
    values
        Targets.
    given
        Tasks of each kind.
    count_loss
        Kind of tasks that look like counts.

    Returns
    -------
    tuple
        The tasks, and the names of those whose kind was inferred.

    Raises
    ------
    InputError
        When a name is no task or has two kinds.
    """
    chosen: dict[str, Kind] = {}
    for kind, wanted in given.items():
        for name in wanted:
            if name not in names:
                raise InputError(f"there is no task {name!r}; the targets have {', '.join(names)}")
            if chosen.setdefault(name, kind) != kind:
                raise InputError(f"task {name!r} is named both {chosen[name]} and {kind}; choose one")
    inferred = set(names) - set(chosen)
    for name in inferred:
        kind = infer_kind(values[:, names.index(name)])
        chosen[name] = count_loss if kind == "anscombe" else kind
    return tuple(TaskSpec(name=name, kind=chosen[name]) for name in names), inferred


def warn_of_unlabelled(tasks: Sequence[TaskSpec], values: Float[np.ndarray, "loci tasks"]) -> None:
    """Log a warning for every binary task that is unlabelled at most loci that carry another one.

    Its networks seldom see a locus with the other mark and not with this one. They may then learn what the loci of both
    have in common, and an edit of either mark's site moves both.

    Parameters
    ----------
    tasks
        In the order of the columns.
    values
        Targets; NaN = unknown.
    """
    binary = [k for k, task in enumerate(tasks) if task.kind == "binary"]
    for one, other in ((one, other) for one in binary for other in binary if one != other):
        carried = values[:, one] == 1
        share = float(np.mean(np.isfinite(values[carried, other]))) if carried.any() else 1.0
        if share < LABELLED:
            log.warning(
                "%s is labelled at %.1f %% of the %d loci with %s: an ensemble that seldom sees one without the other "
                "may mix them up, and show effects that are not there; label both at every locus",
                tasks[other].name,
                100 * share,
                int(carried.sum()),
                tasks[one].name,
            )


def _read_sequences(fasta: Path, loci: Path | None, length: int | None) -> Sequences:
    if loci is None:
        return read_fasta(fasta, length=length)
    if length is None:
        raise InputError("--loci needs --length: how wide the windows are")
    return read_loci(fasta, loci, length=length)


def _write(
    out: Path, trained: TrainedEnsemble, length: int, options: TrainOptions, record: dict[str, Any], *, overwrite: bool
) -> None:
    ensemble = trained.ensemble
    write_ensemble(
        out,
        ensemble.modules,
        architecture=architecture_name(options.architecture),
        arguments=options.arguments,
        length=length,
        tasks=ensemble.tasks,
        members=ensemble.members,
        counts=ensemble.counts,
        extra={"training": _without_none(record)},
        tables={"metrics": trained.metrics, "history": trained.history},
        overwrite=overwrite,
    )


def _without_none(value: Any) -> Any:
    """Leave out what TOML cannot say."""
    if isinstance(value, Mapping):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return value


def _scores(metrics: pd.DataFrame, tasks: Sequence[TaskSpec]) -> list[dict[str, object]]:
    """Return a row a task and measure: the mean over members beside the score of the ensemble's mean prediction."""
    rows: list[dict[str, object]] = []
    for spec in tasks:
        of_task = metrics[metrics["task"] == spec.name]
        ensemble = of_task["member"] == ENSEMBLE
        for measure in MEASURES.get(spec.kind, ("r2", "pearson")):
            single, together = of_task.loc[~ensemble, measure].mean(), of_task.loc[ensemble, measure].iloc[0]
            rows.append(
                {
                    "task": spec.name,
                    "n": int(of_task["n"].iloc[0]),
                    "measure": measure,
                    "single_network": float(single),
                    "ensemble": float(together),
                }
            )
    return rows
