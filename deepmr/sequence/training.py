"""Train an ensemble: members differ by seed, and by the loci they are shown where these are drawn anew."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.errors import DeepMRError, InputError
from deepmr.sequence.alphabet import dinucleotide_shuffle
from deepmr.sequence.ensemble import Ensemble, MemberInfo, resolve_device
from deepmr.sequence.fitting import FittedNetwork, Schedule, TrainingData, TrainOptions
from deepmr.sequence.losses import TaskSpec, to_learned_scale
from deepmr.sequence.metrics import measure
from deepmr.sequence.models import build_network
from deepmr.sequence.workers import fit_networks
from deepmr.types import Sequences

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedEnsemble:
    """An ensemble and how its training went.

    Attributes
    ----------
    metrics : one row a task and member, and the mean over members: see `metrics.measure`.
    history : one row a member and epoch: member, seed, kept, epoch, learning_rate, train_loss, validation_loss. A
        member that was trained again appears with each seed; `kept` says which one it is.
    schedule : epochs, learning rate and weight decay that were used.
    n_train, n_validation : sequences, with shuffled ones.
    retrained : members that were trained again.
    """

    ensemble: Ensemble
    metrics: pd.DataFrame
    history: pd.DataFrame
    schedule: Schedule
    n_train: int
    n_validation: int
    retrained: tuple[str, ...]


def train_ensemble(
    sequences: Sequences,
    targets: Float[np.ndarray, "loci tasks"],
    *,
    tasks: Sequence[TaskSpec],
    n_members: int = 5,
    seed: int = 0,
    options: TrainOptions | None = None,
    device: str | torch.device = "auto",
    n_workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> TrainedEnsemble:
    """Train networks that predict the targets of every locus from its sequence.

    Parameters
    ----------
    sequences : loci of one length.
    targets : as measured, one column a task; NaN where unknown.
    tasks : what the columns are and how they are learned.
    n_members : networks.
    seed : of everything random; the same seed gives the same ensemble on the same machine, whatever `n_workers`.
    options : see `TrainOptions`.
    device : cpu, cuda, ...; auto takes a GPU where there is one.
    n_workers : processes on a CPU; by default one a core.
    progress : called with epochs done, `n_members` times those of the schedule in all, and more when members are
        trained again.

    Returns
    -------
    TrainedEnsemble
        Its networks predict in the unit of each task's scale.

    Raises
    ------
    InputError
        When targets, held-out chromosomes or architecture do not fit.
    DeepMRError
        When training fails, or no member ends with a finite loss.

    Notes
    -----
    The validation loci are the same for all members, so that the mean over members can be judged on them and a member
    compared with the others. They choose the epoch that is kept: for a final judgement keep loci apart from training
    altogether. A member is trained again, with another seed, when it explains much less of a task than the median
    member (see `stragglers`); its better attempt is kept. On several processes, call this from a script under
    `if __name__ == "__main__":`.

    Examples
    --------
    >>> trained = train_ensemble(sequences, targets, tasks=[TaskSpec(name="CTCF", kind="binary")])  # doctest: +SKIP
    >>> trained.metrics.query("member == 'ensemble'")  # doctest: +SKIP
    """
    options = options or TrainOptions()
    specs = tuple(tasks)
    checks.unique("task names", [spec.name for spec in specs])
    if n_members < 1:
        raise InputError(f"an ensemble needs at least one member; got {n_members}")
    place = resolve_device(device)
    data = split_data(sequences, to_learned_scale(targets, specs), tasks=specs, options=options, seed=seed)
    schedule = options.schedule(len(data.codes))
    for spec, column in zip(specs, data.valid_targets.T, strict=True):
        if np.isnan(column).all():
            log.warning("no validation locus has a known target of %r: nothing watches over that task", spec.name)
    settings = schedule.epochs, schedule.learning_rate, schedule.weight_decay
    log.info(
        "training %d networks on %d sequences: at most %d epochs, learning rate %g, weight decay %g",
        *(n_members, len(data.codes), *settings),
    )

    def fit(seeds: Mapping[str, int]) -> dict[str, FittedNetwork]:
        return fit_networks(
            data, specs, options=options, seeds=seeds, device=place, n_workers=n_workers, progress=progress
        )

    names = [f"member_{k}" for k in range(n_members)]
    best = fit({name: member_seed(seed, k) for k, name in enumerate(names)})
    attempts = {name: [network] for name, network in best.items()}
    for attempt in range(1, options.retries + 1):
        behind = stragglers(best, specs)
        if not behind:
            break
        for name, why in behind.items():
            log.warning("%s is trained again: %s", name, why)
        for name, network in fit({name: member_seed(seed, names.index(name), attempt) for name in behind}).items():
            attempts[name].append(network)
            best[name] = min(best[name], network, key=lambda fitted: fitted.loss)
    for name, why in stragglers(best, specs).items():
        log.warning("%s stays behind the others: %s", name, why)
    failed = [name for name in names if not np.isfinite(best[name].loss)]
    if failed:
        raise DeepMRError(f"{', '.join(failed)}: the loss is not finite; try a lower learning rate")

    ensemble = Ensemble(
        modules=tuple(_module(best[name], specs, options, sequences.length).to(place) for name in names),
        tasks=tuple(spec.task for spec in specs),
        length=sequences.length,
        members=tuple(MemberInfo(name=n, seed=best[n].seed, held_out=options.held_out) for n in names),
        counts=tuple(spec.name for spec in specs if spec.kind == "anscombe"),
    )
    return TrainedEnsemble(
        ensemble=ensemble,
        metrics=measure(ensemble.predict(data.valid_codes), data.valid_targets, tasks=specs, names=names),
        history=_history(attempts, best),
        schedule=schedule,
        n_train=len(data.codes),
        n_validation=len(data.valid_codes),
        retrained=tuple(name for name, tried in attempts.items() if len(tried) > 1),
    )


def member_seed(seed: int, member: int, attempt: int = 0) -> int:
    """Return the seed of a member's attempt, unrelated to those of other members and other runs."""
    return int(np.random.SeedSequence([seed, member, attempt]).generate_state(1)[0])


def stragglers(fitted: Mapping[str, FittedNetwork], tasks: Sequence[TaskSpec]) -> dict[str, str]:
    """Find members that explain much less of a task than the median member, or whose loss is not finite.

    Parameters
    ----------
    fitted : networks by name.
    tasks : of the networks.

    Returns
    -------
    dict
        Name and reason.

    Notes
    -----
    With m the median over members of the share explained, a member is far below it when it explains less than
    m - max(0.05, min(m, 1 - m) / 4).
    """
    found = {name: "its loss is not finite" for name, network in fitted.items() if not np.isfinite(network.loss)}
    names = [name for name in fitted if name not in found]
    for k, spec in enumerate(tasks):
        explained = np.array([fitted[name].explained[k] for name in names])
        if not len(explained) or np.isnan(explained).any():  # no known target in validation
            continue
        median = float(np.median(explained))
        lowest = median - max(0.05, min(median, 1 - median) / 4)
        for name, value in zip(names, explained, strict=True):
            if value < lowest:
                found.setdefault(name, f"it explains {value:.3f} of {spec.name!r}, the median member {median:.3f}")
    return found


def split_data(
    sequences: Sequences,
    learned: Float[np.ndarray, "loci tasks"],
    *,
    tasks: Sequence[TaskSpec],
    options: TrainOptions,
    seed: int,
) -> TrainingData:
    """Set validation loci aside and add shuffled sequences to both parts.

    Parameters
    ----------
    sequences : loci.
    learned : targets on the scale that is learned.
    tasks : columns of the targets.
    options : the fields validation, held_out and negatives count.
    seed : draws the validation loci and shuffles.

    Raises
    ------
    InputError
        When a held-out chromosome is not there, a part would be empty, or there are negatives but no binary task.

    Notes
    -----
    A shuffled copy belongs to the part of its locus. It is labelled 0 for binary tasks, unknown for the others.
    """
    valid = _validation_loci(sequences, options, np.random.default_rng([seed, 1]))
    zero = np.array([0.0 if spec.kind == "binary" else np.nan for spec in tasks], dtype=np.float32)
    if options.negatives and np.isnan(zero).all():
        raise InputError("negatives are shuffled sequences labelled 0 for binary tasks; there is no binary task")
    parts = []
    for number, chosen in enumerate((~valid, valid)):
        codes, values = sequences.codes[chosen], learned[chosen]
        rng = np.random.default_rng([seed, 2, number])
        n_negatives = round(options.negatives * len(codes))
        if n_negatives:
            copied = np.concatenate([rng.permutation(len(codes)) for _ in range(-(-n_negatives // len(codes)))])
            shuffled = dinucleotide_shuffle(codes[copied[:n_negatives]], seed=int(rng.integers(2**32)))
            codes = np.concatenate([codes, shuffled])
            values = np.concatenate([values, np.tile(zero, (n_negatives, 1))])
        parts.append((codes, values))
    (codes, values), (valid_codes, valid_values) = parts
    return TrainingData(codes=codes, targets=values, valid_codes=valid_codes, valid_targets=valid_values)


def planned_epochs(sequences: Sequences, *, options: TrainOptions) -> int:
    """Return the epochs that every member is trained for unless it stops early.

    Parameters
    ----------
    sequences : loci to train on and to set aside.
    options : see `TrainOptions`.
    """
    n_train = int((~_validation_loci(sequences, options, np.random.default_rng(0))).sum())
    return options.schedule(n_train + round(options.negatives * n_train)).epochs


def _validation_loci(sequences: Sequences, options: TrainOptions, rng: np.random.Generator) -> Bool[np.ndarray, "loci"]:
    if not options.held_out:
        valid = np.zeros(len(sequences), dtype=bool)
        valid[rng.permutation(len(sequences))[: round(options.validation * len(sequences))]] = True
    else:
        chroms = sequences.loci["chrom"].astype(str)
        for chrom in options.held_out:
            if not (chroms == chrom).any():
                there = ", ".join(c for c in chroms.unique()[:5] if c) or "none, the loci have no coordinates"
                raise InputError(f"held-out chromosome {chrom!r} has no locus; chromosomes are {there}")
        valid = chroms.isin(options.held_out).to_numpy(bool)
    if valid.all() or not valid.any():
        part = "training" if valid.all() else "validation"
        raise InputError(f"none of the {len(sequences)} loci is left for {part}")
    return valid


def _module(fitted: FittedNetwork, tasks: Sequence[TaskSpec], options: TrainOptions, length: int) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        module = build_network(options.architecture, options.arguments, n_tasks=len(tasks), length=length)
    module.load_state_dict({name: torch.tensor(values) for name, values in fitted.state.items()})
    return module


def _history(attempts: Mapping[str, list[FittedNetwork]], best: Mapping[str, FittedNetwork]) -> pd.DataFrame:
    rows = [
        {"member": name, "seed": network.seed, "kept": network is best[name], **asdict(epoch)}
        for name, tried in attempts.items()
        for network in tried
        for epoch in network.history
    ]
    return pd.DataFrame(rows)
