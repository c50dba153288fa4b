"""Fit one network: the loop over epochs, and what is done to its weights afterwards."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from deepmr.errors import InputError
from deepmr.precision import full_precision
from deepmr.sequence.ensemble import CPU_BASES, GPU_BASES
from deepmr.sequence.losses import Objective, TaskSpec
from deepmr.sequence.models import PaperCNN, build_network
from deepmr.sequence.onehot import one_hot

LEARNING_RATE = 3e-3  # of an architecture that does not say: most networks without batch normalisation bear it
WARM_UP = 0.1  # share of the updates
MANY = 25_000  # training sequences from which on gentler settings are needed
FEWEST_UPDATES = 2_000
NORM_SEQUENCES = 4096  # training sequences that the final batch-norm statistics rest on


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """How the networks of an ensemble are trained.

    Attributes
    ----------
    architecture : class of the networks; its last layer is a `torch.nn.Linear` called `output`, and it may have a
        class attribute `learning_rate`.
    arguments : of its constructor, beside `n_tasks` and `length`.
    validation : share of the loci set aside for validation, the same for all members; unused with `held_out`.
    held_out : chromosomes whose loci are the validation set.
    negatives : dinucleotide-shuffled copies per locus, added with label 0 for every binary task.
    resample : train every member on a bootstrap of the training loci.
    reverse_complement : show every sequence as either strand, at random.
    epochs, learning_rate, weight_decay : by default 20 epochs, the architecture's `learning_rate` (0.003 if it has
        none) and 0.1; half of each from 25,000 training sequences on; more epochs where they would make fewer than
        2,000 updates.
    batch_size : sequences an update.
    patience : epochs without a better validation loss after which training stops.
    retries : how often a member far below the others is trained again with another seed.
    """

    architecture: type[nn.Module] = PaperCNN
    arguments: Mapping[str, Any] = field(default_factory=dict)
    validation: float = 0.15
    held_out: tuple[str, ...] = ()
    negatives: float = 0.0
    resample: bool = False
    reverse_complement: bool = False
    epochs: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    batch_size: int = 64
    patience: int = 10
    retries: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise InputError(f"validation must be a share between 0 and 1; got {self.validation:g}")
        lowest = {"negatives": 0, "epochs": 1, "learning_rate": 0, "weight_decay": 0}
        for name, low in {**lowest, "batch_size": 2, "patience": 1, "retries": 0}.items():
            value = getattr(self, name)
            if value is not None and not (value >= low and math.isfinite(value)):
                raise InputError(f"{name} must be at least {low}; got {value}")

    def schedule(self, n_sequences: int) -> "Schedule":
        """Fill in what depends on the number of training sequences."""
        strength = 0.5 if n_sequences >= MANY else 1.0
        epochs = min(200, max(round(20 * strength), math.ceil(FEWEST_UPDATES * self.batch_size / n_sequences)))
        learning_rate = strength * getattr(self.architecture, "learning_rate", LEARNING_RATE)
        return Schedule(
            epochs=epochs if self.epochs is None else self.epochs,
            learning_rate=learning_rate if self.learning_rate is None else self.learning_rate,
            weight_decay=0.1 * strength if self.weight_decay is None else self.weight_decay,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Length and strength of training."""

    epochs: int
    learning_rate: float
    weight_decay: float

    def rate(self, done: float) -> float:
        """Return the learning rate when a share of the updates is done: up a line, then down a cosine to 0."""
        if done < WARM_UP:
            return self.learning_rate * done / WARM_UP
        return self.learning_rate * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Sequences and targets on the scale that is learned (NaN = unknown), for training and validation."""

    codes: UInt8[np.ndarray, "train length"]
    targets: Float[np.ndarray, "train tasks"]
    valid_codes: UInt8[np.ndarray, "valid length"]
    valid_targets: Float[np.ndarray, "valid tasks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training sequences: the last learning rate, and losses where 1 is nothing learned."""

    epoch: int
    learning_rate: float
    train_loss: float
    validation_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedNetwork:
    """A trained network.

    Attributes
    ----------
    seed : it was trained with.
    state : weights, on the CPU; predictions are in the unit of each task's scale.
    explained : share of the validation loss of a constant that it takes away, per task.
    history : its epochs.
    """

    seed: int
    state: dict[str, Float[np.ndarray, "..."] | Int[np.ndarray, "..."]]
    explained: Float[np.ndarray, "tasks"]
    history: tuple[Epoch, ...]

    @property
    def loss(self) -> float:
        """Validation loss of the weights that were kept."""
        return min((e.validation_loss for e in self.history if math.isfinite(e.validation_loss)), default=math.inf)


def fit_network(
    data: TrainingData,
    tasks: tuple[TaskSpec, ...],
    *,
    options: TrainOptions,
    seed: int,
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> FittedNetwork:
    """Train one network on one thread.

    Parameters
    ----------
    data : what is learned.
    tasks : columns of the targets.
    options : see `TrainOptions`.
    seed : of initial weights, order, bootstrap and strands.
    device : to train on.
    progress : called with the number of epochs done; those that early stopping saves count as done.

    Returns
    -------
    FittedNetwork
        The weights of the epoch with the lowest validation loss.

    Raises
    ------
    InputError
        When the architecture has no last layer called `output`, or a target cannot be learned.

    Notes
    -----
    AdamW with decoupled weight decay; the learning rate rises linearly over the first tenth of the updates, then falls
    to 0 as a cosine. Afterwards batch-norm statistics are averaged anew over up to 4096 training sequences, and the
    standardisation of the targets is folded into the last layer.
    """
    with one_thread(), full_precision(), torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        codes, targets, valid_codes, valid_targets = (
            torch.tensor(array, device=device)
            for array in (data.codes, data.targets, data.valid_codes, data.valid_targets)
        )
        network = build_network(
            options.architecture, options.arguments, n_tasks=len(tasks), length=data.codes.shape[1]
        ).to(device)
        last = getattr(network, "output", None)
        if not isinstance(last, nn.Linear) or last.bias is None:
            name = options.architecture.__name__
            raise InputError(f"{name} cannot be trained: its last layer must be a torch.nn.Linear called 'output'")
        if options.resample:
            drawn = torch.randint(len(codes), (len(codes),), generator=generator).to(device)
            codes, targets = codes[drawn], targets[drawn]
        objective = Objective(data.targets, tasks, device=device)

        def validate() -> float:
            return float(objective(predict(network, valid_codes), valid_targets))

        history = _descend(network, objective, codes, targets, validate, options, generator, progress)
        recompute_norms(network, codes[torch.randperm(len(codes), generator=generator)[:NORM_SEQUENCES].to(device)])
        objective.fold_into(last)
        explained = objective.explained(predict(network, valid_codes), valid_targets)
    state = {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()}
    return FittedNetwork(seed=seed, state=state, explained=explained, history=history)


def _descend(
    network: nn.Module,
    objective: Objective,
    codes: UInt8[torch.Tensor, "train length"],
    targets: Float[torch.Tensor, "train tasks"],
    validate: Callable[[], float],
    options: TrainOptions,
    generator: torch.Generator,
    progress: Callable[[int], None] | None,
) -> tuple[Epoch, ...]:
    """Train until the last epoch or until patience ends, and leave the best weights in the network."""
    schedule = options.schedule(len(codes))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True
    )
    history: list[Epoch] = []
    best, best_epoch, best_state = math.inf, 0, copy.deepcopy(network.state_dict())
    for epoch in range(1, schedule.epochs + 1):
        network.train()
        total = 0.0
        batches = torch.split(torch.randperm(len(codes), generator=generator), options.batch_size)
        if len(batches[-1]) == 1:
            batches = batches[:-1]  # a batch of one has no statistics to normalise by
        for step, rows in enumerate(batches):
            rate = schedule.rate((epoch - 1 + (step + 1) / len(batches)) / schedule.epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            x = one_hot(codes[rows.to(codes.device)])
            if options.reverse_complement:
                x = random_strands(x, generator)
            optimizer.zero_grad(set_to_none=True)
            loss = objective(network(x), targets[rows.to(codes.device)])
            torch.autograd.backward(loss)
            optimizer.step()
            total += float(loss.detach())
        now = Epoch(epoch=epoch, learning_rate=rate, train_loss=total / len(batches), validation_loss=validate())
        history.append(now)
        if now.validation_loss < best:
            best, best_epoch, best_state = now.validation_loss, epoch, copy.deepcopy(network.state_dict())
        stop = epoch - best_epoch >= options.patience or not math.isfinite(now.train_loss)
        if progress is not None:
            progress(schedule.epochs - epoch + 1 if stop else 1)
        if stop:
            break
    network.load_state_dict(best_state)
    return tuple(history)


def random_strands(
    x: Float[torch.Tensor, "batch 4 length"], generator: torch.Generator
) -> Float[torch.Tensor, "batch 4 length"]:
    """Turn every other sequence, drawn at random, to its other strand: in the order A C G T both axes are reversed."""
    flip = (torch.rand(len(x), generator=generator) < 0.5).to(x.device)
    return torch.where(flip[:, None, None], x.flip(1, 2), x)


def recompute_norms(network: nn.Module, codes: UInt8[torch.Tensor, "loci length"]) -> None:
    """Replace the running statistics of batch normalisation by plain averages over these sequences.

    Parameters
    ----------
    network : changed in place, left in evaluation mode.
    codes : training sequences.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    network.eval()
    if not norms:
        return
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative average
        layer.train()
    with torch.no_grad():
        n_batches = max(1, round(codes.numel() / CPU_BASES))
        for part in torch.tensor_split(codes, n_batches):
            network(one_hot(part))
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


def predict(network: nn.Module, codes: UInt8[torch.Tensor, "loci length"]) -> Float[torch.Tensor, "loci tasks"]:
    """Return the outputs of a network in evaluation mode."""
    network.eval()
    size = max(1, (GPU_BASES if codes.is_cuda else CPU_BASES) // codes.shape[1])
    with torch.no_grad():
        return torch.cat([network(one_hot(part)) for part in torch.split(codes, size)])


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread inside, so that results do not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
