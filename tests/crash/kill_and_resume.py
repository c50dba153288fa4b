"""Kill `deepmr ism` with SIGKILL at random moments, resume it, and compare with an uninterrupted run bit by bit.

    python tests/crash/kill_and_resume.py --kills 10 --engine windowed

Exits with 1 when a finished unit was lost or changed, a half-written file appeared under its final name, or the final
arrays differ from those of the uninterrupted run.
"""

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch

from deepmr.io.effects import open_effects
from deepmr.io.models import write_ensemble
from deepmr.sequence.ensemble import MemberInfo
from deepmr.sequence.models import PaperCNN
from deepmr.types import Task

ARRAYS = ("effect", "reference", "sequence", "mask")


def make_inputs(folder, *, n_loci, n_members=3, length=100):
    """Write a random ensemble of the paper's network and random sequences."""
    modules = []
    for seed in range(n_members):
        torch.manual_seed(seed)
        modules.append(PaperCNN(2, length))
    write_ensemble(
        folder / "ensemble",
        modules,
        architecture="paper_cnn",
        arguments={},
        length=length,
        tasks=[Task(name="A"), Task(name="B")],
        members=[MemberInfo(name=f"m{k}", seed=k) for k in range(n_members)],
    )
    bases = np.random.default_rng(0).choice(list("ACGT"), (n_loci, length))
    (folder / "peaks.fa").write_text("".join(f">p{i}\n{''.join(row)}\n" for i, row in enumerate(bases)))


def command(folder, out, *, block_size, engine="auto"):
    """Return the command line that makes `out`."""
    words = ["ism", "--model", folder / "ensemble", "--fasta", folder / "peaks.fa", "--out", out, "--device", "cpu"]
    words += ["--engine", engine, "--threads", 1, "--block-size", block_size]
    return [sys.executable, "-m", "deepmr", *map(str, words)]


def finished_units(out):
    """Return the checksum of every shard that is there under its final name."""
    folder = out.with_name(out.name + ".shards")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("b*.h5")}


def kill_after(line, seconds):
    """Start a command and kill it after some seconds; return whether it was still running."""
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    if process.returncode:
        raise SystemExit(f"deepmr ism failed with exit code {process.returncode}")
    return False


def differences(out, whole):
    """Return the arrays in which two effects files differ, after reading one as a user would."""
    with open_effects(out) as file:
        for _ in file.blocks(256):
            pass
    with h5py.File(out, "r") as one, h5py.File(whole, "r") as other:
        return [name for name in ARRAYS if one[name][:].tobytes() != other[name][:].tobytes()]


def torture(folder, *, whole, line, out, moments, kill=kill_after):
    """Kill at each moment, then let the run finish; return what is wrong, one line each, and what each kill left.

    A run that finishes before its moment is compared and started afresh, so that every moment kills.
    """
    wrong, before, kills, moments = [], {}, [], list(moments)
    while moments:
        killed = kill(line, moments[0])
        if not killed:
            wrong += [f"array {name} differs" for name in differences(out, whole)]
            out.unlink()
            before = {}
            continue
        after = finished_units(out)
        if not out.exists():
            wrong += [f"unit {name} was lost or changed" for name in before if after.get(name) != before[name]]
        else:
            wrong += [f"array {name} differs" for name in differences(out, whole)]
        kills.append((moments.pop(0), len(after), out.exists()))
        before = after if not out.exists() else {}
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wrong += [f"array {name} differs" for name in differences(out, whole)]
    left = sorted(p.name for p in folder.iterdir() if p.name.startswith((out.name, f".{out.name}")))
    wrong += [f"{name} was left behind" for name in left if name != out.name]
    return wrong, kills


def main():
    """Run the comparison and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--loci", type=int, default=400)
    parser.add_argument("--engine", choices=["auto", "windowed", "naive"], default="auto")
    parser.add_argument("--seed", type=int, default=None, help="of the random moments; by default the clock")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, n_loci=options.loci)
        whole, out = folder / "whole.h5", folder / "killed.h5"
        start = time.perf_counter()
        subprocess.run(command(folder, whole, block_size=4, engine=options.engine), check=True)
        seconds = time.perf_counter() - start
        moments = [rng.uniform(0.1 * seconds, seconds) for _ in range(options.kills)]
        line = command(folder, out, block_size=4, engine=options.engine)
        wrong, kills = torture(folder, whole=whole, line=line, out=out, moments=moments)
    print(f"uninterrupted: {seconds:.1f} s")
    for moment, n_units, complete in kills:
        print(f"killed after {moment:.2f} s: " + ("file complete" if complete else f"{n_units} units finished"))
    print("\n".join(wrong) or f"{len(kills)} kills; nothing lost, arrays bit-identical")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
