"""Mutagenesis by our engine, by plain forward passes and by tangermeme: seconds per sequence, every single-base edit.

    python benchmarks/ism.py                                      the four networks on one core of the CPU
    python benchmarks/ism.py --networks c --quick                 a rough look at one
    python benchmarks/ism.py --networks zoo --engines naive ours  every network of the tests' zoo
    python benchmarks/ism.py --device cuda --networks c job       a GPU: bpnet-lite, and the article's job

Needs the repository on the path: an editable install, or PYTHONPATH. `--out` writes the table, `--json` every sample.
tangermeme is compared with where it is installed (`pip install tangermeme`).

On a CPU it is one process, one thread and its CPU seconds; on a GPU the time until the device is done, with PyTorch's
own settings (TF32 in convolutions) for all but ours. Engines take turns; a cell is the median [smallest-largest], `~`
marks a time extrapolated from batches evenly spread over a sequence. Batch sizes are tuned for every engine but ours.
A network with two heads is two rows: for counts, naive computes both heads and drops one, as users do, and tangermeme
prunes; "both heads" adds the score of each profile. Errors are the largest over ten offsets, both edges among them:
max |effect - effect in float64| / max |effect in float64|, by head.
"""

import argparse
import copy
import json
import os
import platform
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.engines import ENGINES, Setting, UnavailableError, line
from benchmarks.networks import Case, find_cases

TITLES = {
    "naive": "naive",
    "channels_last": "naive, channels last",
    "tangermeme_fast": "tangermeme fast",
    "tangermeme_slow": "tangermeme slow",
    "ours": "ours",
}
RIVALS = ("naive", "channels_last", "tangermeme_fast")


def main() -> None:
    """Time every engine on every network, and print a row each."""
    options = parse()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    header = ["network", *TITLES.values(), *(f"ours vs {TITLES[name]}" for name in RIVALS)]
    header += ["error, ours", "error, naive", "error, tangermeme fast", "goal", "reached"]
    lines = [provenance(device), "", row(header), row(["---"] + ["--:"] * (len(header) - 1))]
    notes: list[str] = []
    results = []
    print("\n".join(lines), flush=True)
    for case in find_cases(options.networks):
        result = measure(case, options, device)
        results.append(result)
        lines.append(row(cells(case, result, device)))
        notes.append(f"- {case.label}: " + "; ".join(f"{TITLES[k]}: {v}" for k, v in result["notes"].items()))
        print(lines[-1], flush=True)
    lines += ["", *notes]
    print("\n".join(["", *notes]))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    if options.json:
        options.json.write_text(json.dumps({"provenance": lines[0], "results": results}, indent=1))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["a", "b", "c", "d"], help="a b c d job zoo, or names in it")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--quick", action="store_true", help="two short samples of each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    parser.add_argument("--json", type=Path, help="file for every sample")
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"--device {options.device}: PyTorch finds no GPU")
    return options


def measure(case: Case, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Time the engines on a network in turn, and compare their effects with those in float64."""
    codes = np.random.default_rng(1).integers(0, 4, (case.n_sequences[device.type != "cpu"], case.length), np.uint8)
    seconds = 0.4 if options.quick else 1.5
    setting = Setting(case=case, network=case.build().to(device), codes=codes, device=device, seconds=seconds)
    engines: dict[str, Any] = {}
    notes: dict[str, str] = {}
    samples: dict[str, list[float]] = {name: [] for name in options.engines}
    errors: dict[str, float] = {}
    exact = true_effects(setting)

    def attempt(name: str, work: Callable[[], None]) -> None:
        """Do the work; an engine that fails on a network is a finding, not the end of the table."""
        try:
            work()
        except Exception as error:
            said = "" if isinstance(error, UnavailableError) else f"{type(error).__name__}: "
            notes[name] = f"not run, {said}{line(error)}"
            engines.pop(name, None)

    for name in options.engines:
        attempt(name, lambda name=name: engines.update({name: ENGINES[name](setting)}))
    for _ in range(2 if options.quick else options.repeats):
        for name in list(engines):
            attempt(name, lambda name=name: samples[name].append(engines[name].sample() * case.n_jobs))
    for name in list(engines):
        if hasattr(engines[name], "effects"):
            attempt(name, lambda name=name: errors.update({name: error_of(engines[name].effects(), exact, case)}))
    return {
        "network": case.label,
        "samples": {name: samples[name] for name in engines},
        "extrapolated": [name for name, engine in engines.items() if engine.extrapolated or case.n_jobs > 1],
        "errors": errors,
        "notes": {name: engine.note for name, engine in engines.items()} | notes,
    }


def true_effects(setting: Setting) -> np.ndarray:
    """Return the effects of the edits that are checked, by forward passes in float64."""
    x = setting.mutants(setting.checked, torch.float64)
    network = copy.deepcopy(setting.network).double()
    with torch.inference_mode():
        y = torch.cat([network(part) for part in x.split(8)])
    return (y[1:] - y[:1]).cpu().numpy()


def error_of(effects: np.ndarray, exact: np.ndarray, case: Case) -> float:
    """Return the largest error relative to the largest effect of its head."""
    split = np.cumsum(case.heads)[:-1]
    heads = zip(np.split(effects, split, axis=1), np.split(exact, split, axis=1), strict=True)
    return max(float(np.abs(found - true).max() / np.abs(true).max()) for found, true in heads)


def cells(case: Case, result: dict[str, Any], device: torch.device) -> list[str]:
    """Return the cells of a row."""
    medians = {name: float(np.median(times)) for name, times in result["samples"].items()}
    times = [cell(result, name, medians) for name in TITLES]
    ratios = {name: medians[name] / medians["ours"] for name in RIVALS if name in medians and "ours" in medians}
    errors = [
        f"{result['errors'][name]:.0e}" if name in result["errors"] else "" for name in ("ours", "naive", RIVALS[2])
    ]
    if device.type == "cpu" and not case.goals:
        goal = reached = ""
    elif device.type == "cpu":
        goal = " / ".join(f"{case.goals[name]:g}" if name in case.goals else "-" for name in RIVALS)
        reached = " / ".join(
            f"{100 * ratios[name] / case.goals[name]:.0f} %" if name in case.goals and name in ratios else "-"
            for name in RIVALS
        )
    else:
        goal = f"{case.gpu_goal:g} s" if case.gpu_goal else ""
        reached = f"{100 * case.gpu_goal / medians['ours']:.0f} %" if case.gpu_goal and "ours" in medians else ""
    shown = [f"{ratios[name]:.2g}" if name in ratios else "" for name in RIVALS]
    return [case.label, *times, *shown, *errors, goal, reached]


def cell(result: dict[str, Any], name: str, medians: dict[str, float]) -> str:
    """Return the times of an engine, or nothing where it did not run: the notes say why."""
    if name not in medians:
        return "n/a" if name in result["notes"] else ""
    times = result["samples"][name]
    mark = "~" if name in result["extrapolated"] else ""
    return f"{mark}{medians[name]:.3g} [{min(times):.3g}-{max(times):.3g}]"


def row(cells: list[str]) -> str:
    """Return a row of a table."""
    return "| " + " | ".join(cells) + " |"


def provenance(device: torch.device) -> str:
    """Say what was measured, on what and when."""
    versions = [f"torch {torch.__version__}", f"Python {platform.python_version()}"]
    try:
        versions.append(f"tangermeme {metadata.version('tangermeme')}")
    except metadata.PackageNotFoundError:
        versions.append("no tangermeme")
    told = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(told, capture_output=True, text=True, check=False).stdout.strip()
    if device.type == "cpu":
        what = f"CPU seconds per sequence, {torch.get_num_threads()} thread; {processor()}, {os.cpu_count()} cores"
    else:
        what = f"seconds per sequence; {torch.cuda.get_device_name()}, convolutions in "
        what += "TF32" if torch.backends.cudnn.allow_tf32 else "float32"
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg()[:1])
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{what}; {', '.join(versions)}; deepmr {commit or 'unknown'}; load {load}; {when}."


def processor() -> str:
    """Return the model of the CPU."""
    for text in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if text.startswith("model name"):
            return text.partition(":")[2].strip()
    return platform.processor() or "unknown CPU"


if __name__ == "__main__":
    main()
