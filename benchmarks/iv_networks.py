"""CPU seconds of networks for instrumental variables, one thread: side by side against one after the other.

    OMP_NUM_THREADS=1 python benchmarks/iv_networks.py [--members 50] [--fits 5] [--samples 10000]

First the exposure network of Quantile IV (20 inputs, 128 and 64 units, 5 quantiles), as many epochs for all: in plain
torch (layers of `torch.nn`, `torch.optim.Adam`, minibatches by index, no data loader) one network after the other, and
the same networks as a stack. Three plain networks are timed and scaled to all members. Then whole fits with early
stopping: one as it comes, and bagged replicates, of which `--fits` are timed and scaled to fifty.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from deepmr.individual import IVData
from deepmr.nonlinear.networks.members import split_members
from deepmr.nonlinear.networks.quantile_iv import QuantileIV, quantile_levels
from deepmr.perceptrons.split import member_seeds
from deepmr.perceptrons.stack import Architecture, Stack
from deepmr.perceptrons.training import Batch, Schedule, train, weighted_mean

EPOCHS, BATCH, PLAIN, STOCK = 4, 256, 3, 143.0


def main() -> None:
    """Time each and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=50)
    parser.add_argument("--fits", type=int, default=5)
    parser.add_argument("--samples", type=int, default=10_000)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data = simulated(chosen.samples)
    plain(data, 1)  # what a first call makes
    print("| work | CPU s | of | ratio |\n|---|--:|---|--:|")
    alone = timed(lambda: plain(data, PLAIN)) * chosen.members / PLAIN
    together = timed(lambda: side_by_side(data, chosen.members))
    what = f"{chosen.members} exposure networks, {EPOCHS} epochs of batches of {BATCH}"
    print(f"| {what}, one after the other | {alone:.1f} | {PLAIN}, scaled | |")
    print(f"| the same side by side | {together:.1f} | all | {alone / together:.1f} |", flush=True)
    one = timed(lambda: QuantileIV().fit(data))
    print(f"| one Quantile IV fit (ml-mr as shipped: {STOCK:g}) | {one:.1f} | all | {STOCK / one:.1f} |", flush=True)
    bagged = timed(lambda: QuantileIV(n_boot=chosen.fits).fit(data)) * 50 / chosen.fits
    what = f"50 replicates of Quantile IV (ml-mr as shipped: 50 times {STOCK:g})"
    print(f"| {what} | {bagged:.0f} | {chosen.fits}, scaled | {50 * STOCK / bagged:.1f} |")
    print(f"\npython {sys.version[:6]}, torch {torch.__version__}, one thread")


def timed(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def simulated(n: int) -> IVData:
    """Return a sample with twenty variants and a quadratic effect."""
    rng = np.random.default_rng(0)
    variants, u = rng.binomial(2, 0.3, (n, 20)).astype(float), rng.standard_normal(n)
    x = (variants - 0.6) @ np.full(20, 0.24) + 0.25 * u + 0.66 * rng.standard_normal(n)
    return IVData(
        instruments=variants,
        exposure=x,
        outcome=0.3 * (x + 2) * (x - 1) + 1 - 0.7 * u + rng.standard_normal(n),
        covariates=np.empty((n, 0)),
        instrument_names=tuple(f"v{k}" for k in range(20)),
    )


def side_by_side(data: IVData, n_members: int) -> None:
    """Train exposure networks as a stack."""
    z, x = tensors(data)
    taus, weights = quantile_levels(5, "midpoints")

    def objective(stack: Stack, batch: Batch) -> torch.Tensor:
        error = x[batch.rows].unsqueeze(2) - stack(z[batch.rows], training=batch.training)
        return weighted_mean((torch.maximum(taus * error, (taus - 1) * error) * weights).sum(dim=2), batch.weights)

    seeds = member_seeds(n_members, seed=0)
    architecture = Architecture(n_inputs=20, n_outputs=5, hidden=(128, 64))
    schedule = Schedule(epochs=EPOCHS, batch_size=BATCH, patience=EPOCHS)
    split = split_members(data, n_members=n_members, seed=0, bootstrap=True)
    train(Stack.fresh(architecture, seeds), objective, split=split, schedule=schedule, seeds=seeds, stage="exposure")


def plain(data: IVData, n_members: int) -> None:
    """Train the same one after the other, as plain torch does."""
    z, x = tensors(data)
    taus, weights = quantile_levels(5, "midpoints")

    def loss(network: nn.Module, rows: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        error = x[rows].unsqueeze(1) - network(z[rows])
        return (torch.maximum(taus * error, (taus - 1) * error) @ weights * own).sum() / own.sum()

    split = split_members(data, n_members=n_members, seed=0, bootstrap=True)
    for k in range(n_members):
        network = nn.Sequential(nn.Linear(20, 128), nn.GELU(), nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 5))
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
        rows, own = split.training[k], split.training_weights[k]
        for _ in range(EPOCHS):
            for part in torch.split(torch.randperm(len(rows)), BATCH):
                optimizer.zero_grad()
                loss(network, rows[part], own[part]).backward()
                optimizer.step()
            with torch.no_grad():
                loss(network, split.validation[k], split.validation_weights[k])


def tensors(data: IVData) -> tuple[torch.Tensor, torch.Tensor]:
    """Return standardised instruments and exposure."""
    assert data.exposure is not None
    z, x = data.instruments, data.exposure
    return tuple(torch.tensor((a - a.mean(0)) / a.std(0), dtype=torch.float32) for a in (z, x))  # type: ignore[return-value]


if __name__ == "__main__":
    main()
