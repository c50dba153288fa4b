"""The networks that mutagenesis is timed on: four of the field at full size, and those of the tests' zoo."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from deepmr.sequence.models import PaperCNN
from tests.ism.zoo import ZOO, Basset, BPNet, BPNetLite, Output, settle


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A network (batch, 4, length) -> (batch, tasks), and what is asked of an engine on it.

    Attributes
    ----------
    heads : columns of each head; an error is relative to the largest effect of its head.
    n_sequences : sequences that our engine gets at once, on a CPU and on a GPU.
    goals : how many times faster than naive, than naive with channels last and than tangermeme's fast path.
    gpu_goal : seconds per sequence on a GPU, or of the whole job.
    n_jobs : sequences times members of the whole, when the time is not that of one sequence.
    """

    label: str
    build: Callable[[], nn.Module]
    length: int
    heads: tuple[int, ...]
    n_sequences: tuple[int, int] = (8, 8)
    goals: dict[str, float] = field(default_factory=dict)
    gpu_goal: float | None = None
    n_jobs: int = 1


class BothHeads(nn.Module):
    """Counts, and a score of every profile, of a network that returns (profiles, counts).

    The score of a task is the sum over positions and strands of its centred logits times their softmax.
    """

    def __init__(self, network: nn.Module, n_tasks: int) -> None:
        super().__init__()
        self.network, self.n_tasks = network, n_tasks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return counts, then scores: (batch, columns)."""
        profile, counts = self.network(x)
        logits = profile.reshape(profile.shape[0], self.n_tasks, -1)
        score = ((logits - logits.mean(dim=-1, keepdim=True)) * logits.softmax(dim=-1)).sum(dim=-1)
        return torch.cat([counts, score], dim=1)


def paper() -> nn.Module:
    """Return the network of the DeepMR article's simulation."""
    return settle(lambda: PaperCNN(n_tasks=2, length=100), 0)


def bpnet() -> nn.Module:
    """Return BPNet with 64 filters, 9 dilated convolutions and 4 tasks, as published for 1000 bp."""
    return settle(lambda: BPNet(n_tasks=4, filters=64), 0)


def bpnet_lite() -> nn.Module:
    """Return the BPNet of bpnet-lite with 64 filters and 8 dilated convolutions: 2114 bp to a profile of 1000."""
    return settle(lambda: BPNetLite(filters=64), 0)


def basset() -> nn.Module:
    """Return Basset as published: 600 bp, 164 tasks."""
    return settle(lambda: Basset(length=600, filters=(300, 200, 200), hidden=1000, n_tasks=164), 0)


def goals(naive: float, channels_last: float | None, tangermeme_fast: float | None) -> dict[str, float]:
    """Name the goals that there are."""
    named = {"naive": naive, "channels_last": channels_last, "tangermeme_fast": tangermeme_fast}
    return {name: goal for name, goal in named.items() if goal is not None}


CASES: dict[str, Case] = {
    "a": Case(
        label="(a) DeepMR's simulation, 100 bp",
        build=paper,
        length=100,
        heads=(2,),
        n_sequences=(256, 1024),
        goals=goals(6, None, 8),
    ),
    "b": Case(
        label="(b) BPNet 1000 bp, counts",
        build=lambda: Output(bpnet(), 1),
        length=1000,
        heads=(8,),
        goals=goals(12, 6, 5.5),
    ),
    "b_both": Case(
        label="(b) both heads",
        build=lambda: BothHeads(bpnet(), 4),
        length=1000,
        heads=(8, 4),
        goals=goals(6, 3, None),
    ),
    "c": Case(
        label="(c) bpnet-lite 2114 bp, counts",
        build=lambda: Output(bpnet_lite(), 1),
        length=2114,
        heads=(1,),
        n_sequences=(8, 32),
        goals=goals(60, 25, 8),
        gpu_goal=0.006,
    ),
    "c_both": Case(
        label="(c) both heads",
        build=lambda: BothHeads(bpnet_lite(), 1),
        length=2114,
        heads=(1, 1),
        goals=goals(30, 12, None),
    ),
    "d": Case(
        label="(d) Basset 600 bp",
        build=basset,
        length=600,
        heads=(164,),
        n_sequences=(32, 64),
        goals=goals(25, None, 4),
    ),
    "job": Case(
        label="2,000 sequences x 3,000 mutants x 5 members of (b), counts: the whole job",
        build=lambda: Output(bpnet(), 1),
        length=1000,
        heads=(8,),
        n_sequences=(8, 16),
        goals=goals(12, 6, 5.5),
        gpu_goal=60,
        n_jobs=10_000,
    ),
}


def find_cases(names: list[str]) -> list[Case]:
    """Return the networks of these names: a letter stands for its rows, `zoo` for all of the zoo."""
    keys: list[str] = []
    for name in names:
        if name == "zoo":
            keys += [key for key, entry in ZOO.items() if entry.n_outputs == 1]
        else:
            keys += [name, *(key for key in (f"{name}_both",) if key in CASES)]
    return [CASES[key] if key in CASES else zoo_case(key) for key in keys]


def zoo_case(name: str) -> Case:
    """Return a network of the zoo; of several outputs, as `<name>_count` has it."""
    if name not in ZOO or ZOO[name].n_outputs > 1:
        known = [*CASES, "zoo", *(key for key, entry in ZOO.items() if entry.n_outputs == 1)]
        raise SystemExit(f"no network {name!r} to time; there are {', '.join(known)}")
    entry = ZOO[name]
    with torch.inference_mode():
        n_tasks = entry()(torch.zeros(2, 4, entry.length)).shape[1]
    return Case(label=f"zoo: {name}", build=entry, length=entry.length, heads=(n_tasks,), n_sequences=(8, 64))
