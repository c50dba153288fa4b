"""Is the windowed engine as right as plain passes, and what does it save? Measured on trained networks and real peaks.

    python simulations/engines.py --data ../shared/data/chip --out results/engines [--parts accuracy memory]

Four parts, a table each: effects against float64 (`accuracy`), whole runs on held-out peaks (`runs`), peak memory as
loci are added (`memory`), a run that is killed and continued (`resume`). Networks are trained once: the paper's and a
dilated one on ChIP-seq peaks of CTCF and PU.1, the paper's on the simulation. Without `--data` only the simulation.
"""

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from ctcf_pu1 import HELD_OUT, TASKS, read_peaks, write_inputs

from deepmr.commands.simulate import simulate
from deepmr.commands.train import train
from deepmr.io.fasta import read_fasta, sample_loci, write_fasta
from deepmr.io.models import read_ensemble, write_ensemble
from deepmr.ism.choice import prepare_members
from deepmr.ism.mutate import mutate
from deepmr.ism.variants import single_edits
from deepmr.sequence.ensemble import Ensemble, MemberInfo
from deepmr.sequence.measured import Measured
from deepmr.sequence.models import ARCHITECTURES
from deepmr.sequence.published import BPNet
from deepmr.sequence.scalars import LogCount
from deepmr.types import Sequences, Task

PARTS = ("accuracy", "runs", "memory", "resume")
N_MEMBERS = 5
N_CHECKED, N_TIMED = 20, 200  # loci whose effects are compared with float64, and those that are timed
BPNET_LENGTH, BPNET_POSITIONS = 1000, 10
N_LOCI = {"paper_cnn": 2000, "dilated": 500}  # of whole runs
DILATED_EPOCHS = 2
MEMORY = (("paper_cnn", 100, (500, 5000, 20000)), ("dilated", 500, (50, 200, 1000)))  # plain passes for the first two
BLOCK, N_UNITS = 8, 7  # loci a unit of the run that is killed, and units after which it is
AGREEMENT = 1e-5  # of the largest effect of a task
MB = 1e6

# Peak memory of a child counts what the parent held when it started it: a parent that imports nothing starts it.
STARTER = """
import json, os, sys, time
started = time.perf_counter()
to_null = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=to_null)
_, status, used = os.wait4(pid, 0)
found = {"rc": os.waitstatus_to_exitcode(status), "wall": time.perf_counter() - started}
found |= {"cpu": used.ru_utime + used.ru_stime, "rss": used.ru_maxrss * 1024}
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Networks and loci.

    Attributes
    ----------
    name : in tables.
    folder : ensemble directory; None for networks that exist in memory alone.
    within : positions to edit; None for all.
    """

    name: str
    ensemble: Ensemble
    sequences: Sequences
    folder: Path | None = None
    within: np.ndarray | None = None


def main() -> None:
    """Make what is missing, run the parts and write their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with ctcf.fa.gz and pu1.fa.gz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    cases = prepare(arguments.data, arguments.out, seed=arguments.seed)
    for part in arguments.parts:
        table = {"accuracy": accuracy, "runs": runs, "memory": memory, "resume": resume}[part](cases, arguments.out)
        if not len(table):
            continue
        table.to_csv(arguments.out / f"{part}.tsv", sep="\t", index=False)
        text = as_markdown(table)
        (arguments.out / f"{part}.md").write_text(text + "\n")
        print(f"\n## {part}\n\n{text}")


# -- networks and loci -----------------------------------------------------------------------------------------


def prepare(data: Path | None, out: Path, *, seed: int) -> list[Case]:
    """Train what is not there, and return trained networks first, then random ones."""
    cases = [simulation_case(out / "simulation", seed=seed)]
    if data is None or not (data / "ctcf.fa.gz").is_file():
        why = "--data was not given" if data is None else f"{data} does not hold ctcf.fa.gz"
        print(f"skipped the networks of CTCF and PU.1: {why}")
    else:
        cases = [*(peaks_case(data, out / "peaks", name, seed=seed) for name in ARCHITECTURES), *cases]
    return [*cases, *(random_case(name, cases[0].sequences) for name in ARCHITECTURES), random_bpnet()]


def peaks_case(data: Path, folder: Path, architecture: str, *, seed: int) -> Case:
    """Train on peaks as `ctcf_pu1.py` does, the other factor's labels unknown; the dilated network for fewer epochs."""
    if not (folder / "held_out.fa").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        sequences, labels, _ = read_peaks(data)
        print(write_inputs(sequences, labels, folder, seed=seed))
        write_fasta(sequences.take(sequences.loci["chrom"].isin(HELD_OUT).to_numpy()), folder / "held_out.fa")
    if not (folder / architecture).is_dir():
        print(
            train(
                fasta=folder / "train.fa",
                targets=folder / "train.unknown.tsv",
                out=folder / architecture,
                binary=list(TASKS),
                held_out=list(HELD_OUT),
                negatives=1.0,
                reverse_complement=True,
                architecture=architecture,
                epochs=DILATED_EPOCHS if architecture == "dilated" else None,
                members=N_MEMBERS,
                seed=seed,
            )
        )
    return Case(
        name=f"{architecture}, CTCF and PU.1",
        ensemble=read_ensemble(folder / architecture, device="cpu"),
        sequences=read_fasta(folder / "held_out.fa"),
        folder=folder / architecture,
    )


def simulation_case(folder: Path, *, seed: int) -> Case:
    """Train on the simulation as `gamma.py` does with gamma 10."""
    if not (folder / "paper_cnn").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        simulate(out=folder / "data", gamma=10.0, loci="both", calibration_split=1000, seed=seed, overwrite=True)
        made = folder / "data"
        print(train(fasta=made / "train.fa", targets=made / "train.tsv", out=folder / "paper_cnn", seed=seed))
    return Case(
        name="paper_cnn, simulation",
        ensemble=read_ensemble(folder / "paper_cnn", device="cpu"),
        sequences=read_fasta(folder / "data" / "test.fa"),
        folder=folder / "paper_cnn",
    )


def random_case(architecture: str, sequences: Sequences) -> Case:
    """Make networks with the weights they start from."""
    modules = random_modules(architecture, sequences.length, n=N_MEMBERS)
    tasks = [Task(name="a"), Task(name="b")]
    ensemble = Ensemble.of(modules, tasks=tasks, length=sequences.length, device="cpu")
    return Case(name=f"{architecture}, random weights", ensemble=ensemble, sequences=sequences)


def random_bpnet() -> Case:
    """Make BPNet's trunk and count head with random weights, two loci and a few positions of each."""
    torch.manual_seed(0)
    network = Measured(BPNet(length=BPNET_LENGTH, trimming=0), [LogCount(output=1)]).eval()
    ensemble = Ensemble.of([network], tasks=[Task(name="log_count")], length=BPNET_LENGTH, device="cpu")
    sequences = random_sequences(2, BPNET_LENGTH)
    within = np.zeros(sequences.codes.shape, dtype=bool)
    within[:, np.linspace(0, BPNET_LENGTH - 1, BPNET_POSITIONS).round().astype(int)] = True
    return Case(name="BPNet, random weights", ensemble=ensemble, sequences=sequences, within=within)


def random_modules(architecture: str, length: int, *, n: int) -> list[torch.nn.Module]:
    """Make networks of two tasks that differ by seed."""
    modules = []
    for seed in range(n):
        torch.manual_seed(seed)
        modules.append(ARCHITECTURES[architecture](2, length).eval())
    return modules


def random_sequences(n: int, length: int) -> Sequences:
    """Draw loci without coordinates."""
    loci = pd.DataFrame({"locus": [f"random_{i}" for i in range(n)], "chrom": "", "start": -1, "end": -1})
    return Sequences(loci=loci, codes=np.random.default_rng(0).integers(0, 4, (n, length), dtype=np.uint8))


# -- accuracy --------------------------------------------------------------------------------------------------


def accuracy(cases: list[Case], out: Path) -> pd.DataFrame:
    """Compare effects with float64 and time both engines; a row a network."""
    rows = []
    for case in cases:
        few = sample_loci(case.sequences, min(N_CHECKED, len(case.sequences)), seed=0)
        exact = mutate(case.ensemble, few, within=case.within, engine="naive", precision="double").delta
        row: dict[str, Any] = {"network": case.name, "loci": len(few)}
        for engine in ("windowed", "naive"):
            found = mutate(case.ensemble, few, within=case.within, engine=engine).delta
            row |= {f"{engine}, {name}": value for name, value in errors(found, exact).items()}
        rows.append(row | speed(case))
    return pd.DataFrame(rows)


def errors(found: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """Compare effects (members, edits, tasks) with exact ones; the worst task of each number.

    Returns
    -------
    The largest and the median error as a share of the task's largest effect, and the percentage of effects that are off
    by more than a thousandth of themselves.
    """
    exact = exact.astype(float)
    error = np.abs(found - exact)
    share = error / np.abs(exact).max(axis=(0, 1))
    off = (error > 1e-3 * np.abs(exact)).mean(axis=(0, 1))
    return {
        "largest error": float(share.max()),
        "median error": float(np.median(share, axis=(0, 1)).max()),
        "% off by 0.1 %": round(100 * float(off.max()), 3),
    }


def speed(case: Case) -> dict[str, Any]:
    """Time the first member with both engines in turn: CPU seconds of one thread, the smaller of two."""
    loci = sample_loci(case.sequences, min(N_TIMED, len(case.sequences)), seed=1)
    edits = single_edits(loci.codes, within=case.within)
    seconds: dict[str, list[float]] = {"naive": [], "windowed": []}
    members = {}
    for engine in seconds:
        members[engine], report = prepare_members(case.ensemble, loci, n_variants=len(edits), engine=engine)
    for _ in range(2):
        for engine, (member, *_others) in members.items():
            start = time.process_time()
            member.effects(loci, edits)
            seconds[engine].append(time.process_time() - start)
    ratio = min(seconds["naive"]) / min(seconds["windowed"])
    return {
        "at full length": ", ".join(report.at_full_length) or "none",
        "fewer multiplications": round(report.predicted_speedup, 2),
        "CPU time saved": round(ratio, 2),
    }


# -- whole runs ------------------------------------------------------------------------------------------------


def runs(cases: list[Case], out: Path) -> pd.DataFrame:
    """Run the command with both engines in turn, twice, and compare the files; a row a network and engine."""
    rows: list[dict[str, Any]] = []
    for case in cases:
        if case.folder is None or case.folder.parent.name != "peaks":
            continue
        name = case.folder.name
        fasta = out / f"{name}.fa"
        loci = sample_loci(case.sequences, N_LOCI[name], seed=2)
        write_fasta(loci, fasta)
        used: dict[str, list[dict[str, float]]] = {"naive": [], "windowed": []}
        for _ in range(2):
            for engine, found in used.items():
                found.append(run(case.folder, fasta, effects_file(out, name, engine), engine=engine))
        files = [effects_file(out, name, engine) for engine in used]
        said = compare_files(*files)
        rows += [
            {
                "network": case.name,
                "loci": len(loci),
                "members": case.ensemble.n_members,
                "engine": engine,
                "wall s": " and ".join(f"{r['wall']:.1f}" for r in found),
                "CPU s": " and ".join(f"{r['cpu']:.1f}" for r in found),
                "ratio of CPU s": round(min(r["cpu"] for r in used["naive"]) / min(r["cpu"] for r in found), 2),
                **(said if engine == "windowed" else dict.fromkeys(said, "")),
            }
            for engine, found in used.items()
        ]
    return pd.DataFrame(rows)


def effects_file(out: Path, name: str, engine: str) -> Path:
    """Return where the effects of a run go."""
    return out / f"{name}.{engine}.h5"


def command(model: Path, fasta: Path, out: Path, *, engine: str, options: tuple[str, ...] = ()) -> list[str]:
    """Return a command line of `deepmr ism`."""
    words = ["ism", "--model", model, "--fasta", fasta, "--out", out, "--engine", engine, "--threads", 1]
    return [sys.executable, "-m", "deepmr", *map(str, words), "--device", "cpu", *options]


def run(model: Path, fasta: Path, out: Path, *, engine: str) -> dict[str, float]:
    """Run the command anew and return its wall and CPU seconds and its peak memory in bytes."""
    out.unlink(missing_ok=True)
    used = out.with_suffix(".used.json")
    line = command(model, fasta, out, engine=engine)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-S", "-c", STARTER, str(used), *line], check=True, env=environment)
    found: dict[str, float] = json.loads(used.read_text())
    used.unlink()
    if found["rc"]:
        raise SystemExit(f"{' '.join(line)} failed with exit code {found['rc']:g}")
    return found


def compare_files(plain: Path, windowed: Path) -> dict[str, str]:
    """Compare names, types and shapes, and effects as a share of the largest of their task."""
    one, other = schema(plain), schema(windowed)
    different = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    with h5py.File(plain) as a, h5py.File(windowed) as b:
        x, y = a["effect"][:].astype(float), b["effect"][:]
        off = np.abs(x - y).max(axis=(0, 1, 3, 4)) / np.abs(x).max(axis=(0, 1, 3, 4))
        same = all(np.array_equal(a[name], b[name]) for name in ("sequence", "mask"))
    if different or not same or off.max() > AGREEMENT:
        raise SystemExit(f"{plain} and {windowed} differ: {different or ''} {off.max():.1e} of the largest effect")
    return {"same schema": "yes", "largest difference": f"{off.max():.1e}"}


def schema(path: Path) -> dict[str, Any]:
    """Return what a file holds, without values: names, types, shapes, layout, and the names of attributes."""
    found: dict[str, Any] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        found[name] = [sorted(item.attrs)]
        if isinstance(item, h5py.Dataset):
            found[name] += [str(item.dtype), item.shape, item.chunks, item.compression, item.shuffle]

    with h5py.File(path) as file:
        note("/", file["/"])
        file.visititems(note)
    return found


# -- memory ----------------------------------------------------------------------------------------------------


def memory(cases: list[Case], out: Path) -> pd.DataFrame:
    """Run the command on few and on many random loci; a row a network and number of loci."""
    rows = []
    for architecture, length, sizes in MEMORY:
        model = out / f"one_{architecture}"
        write_random(model, architecture, length)
        for engine in ("windowed", "naive"):
            for n in sizes if engine == "windowed" else sizes[:2]:
                fasta, effects = out / "random.fa", out / "random.h5"
                write_fasta(random_sequences(n, length), fasta)
                used = run(model, fasta, effects, engine=engine)
                rows.append(
                    {
                        "network": f"{architecture}, {length} bp",
                        "engine": engine,
                        "loci": n,
                        "effects MB": round(n * length * 3 * 2 * 4 / MB, 1),
                        "peak resident MB": round(used["rss"] / MB),
                        "CPU s": round(used["cpu"], 1),
                    }
                )
                effects.unlink()
    return pd.DataFrame(rows)


def write_random(model: Path, architecture: str, length: int, *, n_members: int = 1) -> None:
    """Write an ensemble with random weights."""
    write_ensemble(
        model,
        random_modules(architecture, length, n=n_members),
        architecture=architecture,
        arguments={},
        length=length,
        tasks=[Task(name="a"), Task(name="b")],
        members=[MemberInfo(name=f"m{k}", seed=k) for k in range(n_members)],
        overwrite=True,
    )


# -- resume ----------------------------------------------------------------------------------------------------


def resume(cases: list[Case], out: Path) -> pd.DataFrame:
    """Kill a run of each trained ensemble with SIGKILL, continue it and compare the bits; a row an ensemble."""
    rows = []
    for case in cases:
        if case.folder is None:
            continue
        fasta = out / "resumed.fa"
        write_fasta(sample_loci(case.sequences, 48, seed=3), fasta)
        whole, killed = out / "whole.h5", out / "killed.h5"
        lines = [
            command(case.folder, fasta, path, engine=engine, options=("--block-size", str(BLOCK)))
            for path, engine in ((whole, "windowed"), (killed, "windowed"), (killed, "auto"))
        ]
        whole.unlink(missing_ok=True)
        killed.unlink(missing_ok=True)
        subprocess.run(lines[0], check=True, stdout=subprocess.DEVNULL)
        left = kill_after(lines[1], killed, n_units=N_UNITS)
        subprocess.run(lines[2], check=True, stdout=subprocess.DEVNULL)  # auto goes on with what was begun
        with h5py.File(whole) as a, h5py.File(killed) as b:
            same = all(a[name][:].tobytes() == b[name][:].tobytes() for name in ("effect", "reference"))
            engine = str(b.attrs["engine"])
        rows.append(
            {
                "network": case.name,
                "units finished when killed": left,
                "units": -(-48 // BLOCK) * case.ensemble.n_members,
                "engine afterwards": engine,
                "bit-identical": "yes" if same else "NO",
            }
        )
    return pd.DataFrame(rows)


def kill_after(line: list[str], out: Path, *, n_units: int) -> int:
    """Start a command, kill it once some units are finished, and return how many were."""
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shards = out.with_name(out.name + ".shards")
    while len(list(shards.glob("m*/b*.h5"))) < n_units and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(list(shards.glob("m*/b*.h5")))


def as_markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown."""
    rows = [list(table.columns), ["---"] * len(table.columns)]
    rows += [[f"{v:.1e}" if isinstance(v, float) and 0 < v < 1e-3 else str(v) for v in r] for r in table.to_numpy()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    main()
