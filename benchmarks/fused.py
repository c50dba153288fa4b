"""Windows on a GPU with and without the fused kernel: python benchmarks/fused.py [--device cuda] [--loci 64]."""

import argparse
import statistics
import time
import warnings

import numpy as np
import torch

from deepmr.ism import fused
from deepmr.ism.engine import WindowedEngine
from deepmr.ism.variants import single_edits
from deepmr.sequence.models import DilatedCNN

parser = argparse.ArgumentParser()
parser.add_argument("--device", default="cuda")
parser.add_argument("--loci", type=int, default=64)
parser.add_argument("--length", type=int, default=1000)
parser.add_argument("--filters", type=int, default=64)
parser.add_argument("--repeats", type=int, default=5)
options = parser.parse_args()
device = torch.device(options.device)
torch.manual_seed(0)
network = DilatedCNN(1, options.length, filters=options.filters, n_dilated=9).eval().to(device)
codes = np.random.default_rng(0).integers(0, 4, (options.loci, options.length), dtype=np.uint8)
edits = single_edits(codes)
engine = WindowedEngine(network, length=options.length, n_tasks=1, columns=None, device=device)
schedule = engine.schedule(n_loci=options.loci, per_position=3.0)
print(schedule, torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU")


def run():
    """Time all edits."""
    start = time.perf_counter()
    found = engine.predict(codes, edits, schedule=schedule)  # ends with a copy to the host, which waits
    return time.perf_counter() - start, found.delta


kernel = fused.available
found = {}
for name in ("kernel", "plain") * options.repeats:  # in turn: the first of each compiles and warms up
    fused.available = kernel if name == "kernel" else lambda device: False
    found.setdefault(name, []).append(run())
for name, runs in found.items():
    seconds = [spent for spent, _ in runs[1:]] or [runs[0][0]]
    each = [1e3 * s / options.loci for s in (statistics.median(seconds), min(seconds), max(seconds))]
    print(f"{name}: {each[0]:.3f} ms a sequence [{each[1]:.3f}-{each[2]:.3f}]")
difference = np.abs(found["kernel"][-1][1] - found["plain"][-1][1]).max()
print(f"kernel {'used' if kernel(device) else 'not available'}; largest difference {difference:.1e}")
if device.type == "cuda":
    fused.available = kernel
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    torch.cuda.set_sync_debug_mode("default")
    places = {f"{w.filename}:{w.lineno}" for w in caught}
    print(f"{len(caught)} waits of the host for the GPU: {sorted(places)}")
