"""CPU seconds of the main steps, each beside the plainest way to do the same; `make bench` prints the table.

Both of a pair run in one process, in turn, several times; a ratio is of their smallest CPU times. One thread.
"""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from deepmr.ism.naive import default_batch, predict_edits
from deepmr.ism.variants import single_edits
from deepmr.mr import estimate_effects
from deepmr.sequence.models import DilatedCNN, PaperCNN
from deepmr.types import Instruments

REPEATS = 3
LENGTH, LOCI = 100, 20


def main() -> None:
    """Time every pair and print a row each."""
    torch.set_num_threads(1)
    print("| what | size | CPU s | plain way, CPU s | ratio |\n|---|---|--:|--:|--:|")
    for name, network in (("paper's CNN", PaperCNN), ("dilated CNN", DilatedCNN)):
        ours, plain = mutagenesis(network(n_tasks=2, length=LENGTH).eval())
        row(f"mutagenesis, {name}, against predicting prepared tensors", f"{LOCI} loci x {LENGTH} bp", ours, plain)
    for method, loci in (("ivw", 2000), ("egger", 2000), ("egger_robust", 100)):
        ours, plain = estimation(method, loci)
        row(f"{method}, all loci at once, against one locus at a time", f"{loci} loci x 20 instruments", ours, plain)


def row(what: str, size: str, ours: Callable[[], object], plain: Callable[[], object]) -> None:
    """Time both in turn and print the smallest times."""
    times = np.array([[cpu_seconds(ours), cpu_seconds(plain)] for _ in range(REPEATS)]).min(axis=0)
    print(f"| {what} | {size} | {times[0]:.3f} | {times[1]:.3f} | {times[1] / times[0]:.2f} |", flush=True)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def mutagenesis(module: torch.nn.Module) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return mutagenesis, and a loop over one-hot batches that are there already: the least it could cost."""
    codes = np.random.default_rng(0).integers(0, 4, (LOCI, LENGTH), dtype=np.uint8)
    batch = default_batch(module, LENGTH)
    mutants = np.repeat(codes, 3 * LENGTH + 1, axis=0)
    onehot = torch.nn.functional.one_hot(torch.from_numpy(mutants).long(), 4).transpose(1, 2).float().contiguous()

    def plain() -> object:
        with torch.inference_mode():
            return [module(part) for part in onehot.split(batch)]

    return lambda: predict_edits(module, codes, single_edits(codes), n_tasks=2, batch_size=batch), plain


def estimation(method: str, n_loci: int, n: int = 20) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a method on all loci at once, and in a loop over loci."""
    rng = np.random.default_rng(1)
    dx = rng.normal(1, 0.3, n_loci * n)
    dy = 2 * dx + rng.normal(0, 0.2, n_loci * n)
    names = [f"locus{i}" for i in range(n_loci)]
    whole = pack(names, np.arange(n_loci + 1) * n, dx, dy)
    parts = [
        pack([name], np.array([0, n]), dx[i * n : (i + 1) * n], dy[i * n : (i + 1) * n]) for i, name in enumerate(names)
    ]
    return (
        lambda: estimate_effects(whole, methods=[method]),
        lambda: [estimate_effects(part, methods=[method]) for part in parts],
    )


def pack(names: list[str], offsets: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> Instruments:
    """Pack the effects of some loci."""
    variants = pd.DataFrame(
        {"variant_id": [str(i) for i in range(len(dx))], "locus": np.repeat(names, np.diff(offsets))}
    )
    variants = variants.assign(chrom="", pos=1, effect_allele="A", other_allele="C")
    return Instruments(
        loci=tuple(names),
        offsets=offsets,
        exposures=("X",),
        outcome="Y",
        variants=variants,
        beta_exposure=dx[:, None],
        se_exposure=np.full((len(dx), 1), 0.05),
        beta_outcome=dy,
        se_outcome=np.full(len(dx), 0.2),
    )


if __name__ == "__main__":
    main()
