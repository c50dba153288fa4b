"""CPU seconds and memory of linear mixed models for association, beside Hail, GEMMA and FaST-LMM where they are.

    python -m benchmarks.lmm                                  # all rows; peers that are not there are skipped
    python -m benchmarks.lmm --hail DIR --gemma gemma --fastlmm PYTHON
    python -m benchmarks.lmm --only bed --variants 1000000    # PLINK files of 0.5 GB, written once in a scratch folder
    python -m benchmarks.lmm --json speed.json --scratch DIR

DIR is an unpacked wheel of Hail 0.2.93; PYTHON an interpreter with FaST-LMM. 2,000 samples, 5 fixed effects, one BLAS
thread, every row in a process of its own, CPU seconds, the smallest of several. Columns of parity are largest relative
differences from the peer: from Hail of chi-square above 0.01, where its own rounding does not rule, and of h2; from
GEMMA and FaST-LMM of P. Hail's loop runs with the numpy and scipy that are here, not with those of its time.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import lmm_data as data
from benchmarks import lmm_peers as peers
from deepmr.cohort import Cohort
from deepmr.io.genotypes import open_genotypes
from deepmr.lmm import LinearMixedModel
from deepmr.population import (
    Scan,
    associate_variants,
    fit_null,
    prepare_scan,
    project,
    scan_block,
    scan_rotated,
    spectrum_of_kinship,
)
from deepmr.population.markers import prepare_markers

REPEATS = 3
BLOCK = 1_024
ROUNDING = 0.01  # chi-square below which Hail's logarithm of a ratio near 1 has few digits
ENOUGH = 0.25  # CPU seconds of repeated calls


def seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the smallest CPU time of a call; short calls are repeated until a coarse clock can tell."""
    found = []
    for _ in range(repeats):
        start, calls = time.process_time(), 0
        while calls == 0 or time.process_time() - start < ENOUGH:
            work()
            calls += 1
        found.append((time.process_time() - start) / calls)
    return min(found)


def scan_all(scan: Scan, parts: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Test markers in blocks."""
    return [scan_block(scan, part) for part in parts]


def multiply_all(parts: list[np.ndarray], vectors: np.ndarray) -> list[np.ndarray]:
    """Return products of blocks of markers and eigenvectors."""
    return [part @ vectors.T for part in parts]


def blocks(given: data.Given) -> list[np.ndarray]:
    """Return the markers in blocks."""
    return [given.dosages[start : start + BLOCK] for start in range(0, len(given.dosages), BLOCK)]


def fixed(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Fixed gamma, rotated markers given: blocks at once, beside Hail's loop over markers."""
    given = data.load(options.scratch)
    scan = prepare_scan(given.one(), given.spectrum, test="lrt")
    ready = [prepare_markers(block) for block in blocks(given)]
    rotated = [block.centred @ given.spectrum.vectors.T for block in ready]
    about = [{"n": m.n, "eaf": m.eaf, "mac": m.mac, "status": m.status} for m in ready]

    def ours() -> list[dict[str, np.ndarray]]:
        return [scan_rotated(scan, *both) for both in zip(rotated, about, strict=True)]

    rate = len(given.dosages) / seconds(ours, 5)
    row = {"work": "fixed gamma, rotated markers given", "unit": "markers/s", "ours": rate, "goal": ">= 30x Hail"}
    if not options.hail:
        return [row]
    p, cohort = given.spectrum.vectors, given.one()
    model = peers.hail_class(options.hail)(p @ cohort.phenotypes[:, 0], p @ cohort.design, given.spectrum.eigenvalues)
    model.fit(float(scan.null.log_gamma[0]))
    count = min(512, len(rotated[0]))
    # As P @ a has them, with a marker's numbers far apart; and each marker contiguous, which suits the loop.
    usual = np.ascontiguousarray(np.concatenate(rotated).T)
    theirs = hail_table(model, usual[:, :count])["chi_sq"].to_numpy()
    found = ours()[0]["chi_sq"][:count, 0]
    parity = peers.largest_difference(found, theirs, above=ROUNDING)
    loop, best = (
        count / seconds(partial(hail_table, model, part))
        for part in (usual[:, :count], np.asfortranarray(usual[:, :count]))
    )
    suited = row | peer("Hail 0.2.93, each marker contiguous", best, parity)
    return [row | peer("Hail 0.2.93", loop, parity), suited, *hail_calls(model, usual, loop)]


def hail_table(model: Any, columns: np.ndarray) -> Any:
    """Call what Hail's class and ours both have."""
    return model.fit_alternatives_numpy(columns, return_pandas=True)


def hail_calls(theirs: Any, columns: np.ndarray, loop: float) -> list[dict[str, Any]]:
    """Hail's own call by our class of that name, on all markers."""
    model = LinearMixedModel(theirs.py, theirs.px, theirs.s)
    model.fit(theirs.log_gamma)
    rate = columns.shape[1] / seconds(partial(hail_table, model, columns))
    found, expected = (hail_table(each, columns[:, :256])["chi_sq"].to_numpy() for each in (model, theirs))
    row = {"work": "the same call of Hail's class and ours", "unit": "markers/s", "ours": rate, "goal": ">= 30x Hail"}
    return [row | peer("Hail 0.2.93", loop, peers.largest_difference(found, expected, above=ROUNDING))]


def rotation(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Fixed gamma from genotypes, beside one product of genotypes with all eigenvectors."""
    given = data.load(options.scratch)
    rows = []
    for precision, traits in (("float64", 1), ("float64", 2), ("float32", 1)):
        cohort = given.cohort.select(given.cohort.traits[:traits])
        scan = prepare_scan(cohort, given.spectrum, precision=precision)
        parts = blocks(given)
        vectors = given.spectrum.vectors.astype(precision)
        plain = [part.astype(precision) for part in parts]
        works = (partial(scan_all, scan, parts), partial(multiply_all, plain, vectors))
        times = np.array([[seconds(work, 1) for work in works] for _ in range(REPEATS)]).min(0)
        ours, product = len(given.dosages) / times
        what = f"fixed gamma from genotypes, {traits} trait{'s'[: traits - 1]}, {precision}"
        row = {"work": what, "unit": "markers/s", "ours": ours, "goal": ">= 0.9 of the product"}
        rows.append(row | peer("one BLAS product", product, None))
    return rows


def phenotypes(options: argparse.Namespace) -> list[dict[str, Any]]:
    """100 traits on one rotation, beside one trait."""
    given = data.load(options.scratch)
    parts = blocks(given)[:2]
    one, many = (prepare_scan(cohort, given.spectrum) for cohort in (given.one(), given.cohort))
    first, all_ = (seconds(partial(scan_all, scan, parts)) for scan in (one, many))
    rotated = prepare_scan(given.cohort.select(given.cohort.traits[:1]), given.spectrum, n_markers=1)
    by_rotation = seconds(partial(scan_all, rotated, parts))
    count = sum(len(part) for part in parts)
    what = f"{len(given.cohort.traits)} traits, from genotypes"
    rows = []
    for name, other in (("one trait", first), ("one trait, rotated", by_rotation)):
        row = {"work": what, "unit": "s a 1,000 markers", "ours": 1000 * all_ / count, "goal": "<= 3x one trait"}
        rows.append(row | peer(name, 1000 * other / count, None))
    return rows


def null(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The null model of one trait, and the decomposition of its matrix."""
    given = data.load(options.scratch)
    cohort, p, s = given.one(), given.spectrum.vectors, given.spectrum.eigenvalues
    model = project(p @ cohort.phenotypes, p @ cohort.design, s)
    many = project(p @ given.cohort.phenotypes, p @ given.cohort.design, s)
    fit = 1000 * seconds(lambda: fit_null(model), 9)
    rows = [{"work": "null model, one trait", "unit": "ms", "ours": fit, "goal": "<= 10"}]
    if options.hail:
        theirs = peers.hail_class(options.hail)(
            p @ cohort.phenotypes[:, 0], p @ cohort.design, given.spectrum.eigenvalues
        )
        loop = 1000 * seconds(theirs.fit)
        gap = abs(float(fit_null(model).h_sq[0]) / theirs.h_sq - 1)
        rows[0] |= peer("Hail 0.2.93", loop, gap)
    all_ = 1000 * seconds(lambda: fit_null(many))
    rows.append({"work": f"null models, {many.traits} traits", "unit": "ms", "ours": all_, "goal": ""})
    whole = seconds(lambda: spectrum_of_kinship(given.kinship), 1)
    return [*rows, {"work": "decomposition, 2,000 samples", "unit": "s", "ours": whole, "goal": ""}]


def exact(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Gamma of every marker, from rotated markers and from genotypes, beside GEMMA's optimisation alone."""
    given = data.load(options.scratch)
    scan = prepare_scan(given.one(), given.spectrum, gamma="exact")
    parts = blocks(given)
    ready = [prepare_markers(part) for part in parts]
    rotated = [block.centred @ given.spectrum.vectors.T for block in ready]
    about = [{"n": m.n, "eaf": m.eaf, "mac": m.mac, "status": m.status} for m in ready]
    count = len(given.dosages)
    rows = [
        {"work": f"gamma of each marker, {what}", "unit": "markers/s", "ours": count / took, "goal": goal}
        for what, took, goal in (
            (
                "rotated markers given",
                seconds(lambda: [scan_rotated(scan, *both) for both in zip(rotated, about, strict=True)]),
                ">= 50x GEMMA",
            ),
            ("from genotypes", seconds(partial(scan_all, scan, parts)), ""),
        )
    ]
    if not options.gemma:
        return rows
    few = min(BLOCK, count)
    theirs = peers.run_gemma(options.gemma, given, options.scratch, markers=few)
    columns = scan_block(scan, parts[0][:few])
    table = theirs["table"]
    at = table["rs"].str.removeprefix("v").astype(int).to_numpy()
    parity = peers.largest_difference(columns["pvalue"][at, 0], table["p_wald"].to_numpy())
    for row in rows:
        row |= peer(f"GEMMA {theirs['version']} -lmm 1", few / theirs["optimisation_s"], parity)
    rows[0]["note"] = f"GEMMA's decomposition {theirs['eigen_s']:.1f} s, not counted; P to the 7 digits it prints"
    return rows


def fastlmm(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Fixed gamma from genotypes, beside FaST-LMM; differences of calls with more and fewer markers."""
    given = data.load(options.scratch)
    scan = prepare_scan(given.one(), given.spectrum)
    parts = blocks(given)
    rate = len(given.dosages) / seconds(partial(scan_all, scan, parts))
    row = {"work": "fixed gamma from genotypes, F test", "unit": "markers/s", "ours": rate, "goal": ""}
    if not options.fastlmm:
        return [row]
    few = len(given.dosages) // 4
    theirs = peers.run_fastlmm(options.fastlmm, options.scratch, counts=(64, few, 4 * few))
    _, less, more = theirs["seconds"]
    found = np.concatenate([columns["pvalue"][:, 0] for columns in scan_all(scan, parts)])
    expected = np.array([theirs["pvalue"][f"v{k}"] for k in range(4 * few)])
    row |= peer("FaST-LMM 0.6", 3 * few / (more - less), peers.largest_difference(found[: 4 * few], expected))
    row["note"] = f"h2 {theirs['h_sq']:.8f}, here {scan.null.h_sq[0]:.8f}"
    return [row]


def bed(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A scan of PLINK files, with its peak memory."""
    given = data.load(options.scratch, markers=False)
    spectrum, one = given.spectrum, given.one()
    prefix = options.scratch / f"bed{options.variants}_{options.missing:g}"
    if not prefix.with_suffix(".fam").exists():
        data.write_bed(prefix, variants=options.variants, missing=options.missing)
    del given
    start = time.process_time()
    genotypes = open_genotypes(prefix.with_suffix(".bed"))
    opened = time.process_time() - start
    cohort = Cohort(
        genotypes=genotypes,
        phenotypes=one.phenotypes,
        traits=one.traits,
        covariates=one.covariates,
        covariate_names=one.covariate_names,
    )
    before = peak_mb()
    start = time.process_time()
    table = associate_variants(cohort, spectrum, precision=options.precision).table
    took = time.process_time() - start + opened
    size = spectrum.vectors.nbytes / 2**20
    rest = table.memory_usage(index=True, deep=False).sum() / 2**20
    limit = size + 2 * 8 * BLOCK * spectrum.n / 2**20
    missing = f", {100 * options.missing:g} % missing" if options.missing else ""
    note = (
        f"peak {peak_mb():,.0f} MB, {before:,.0f} of them before the scan; its table {rest:,.0f} MB; P and two blocks "
        f"{limit:,.0f} MB; {options.variants / took:,.0f} markers/s"
    )
    what = f"{len(table):,} variants from bed, {options.precision}{missing}"
    goal = "<= 240" if options.variants >= 1_000_000 else ""
    return [{"work": what, "unit": "s", "ours": took, "goal": goal, "note": note}]


def peak_mb() -> float:
    """Return the largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peer(name: str, theirs: float, parity: float | None) -> dict[str, Any]:
    """Return the columns of a peer."""
    return {"peer": name, "theirs": theirs, "parity": parity}


def make(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The cohort, once for all rows."""
    data.prepare(options.scratch)
    return []


ROWS: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {
    "fixed": fixed,
    "rotation": rotation,
    "phenotypes": phenotypes,
    "null": null,
    "exact": exact,
    "fastlmm": fastlmm,
    "bed": bed,
}


def main() -> None:
    """Make the cohort, run every row in a process of its own, print the table."""
    options = read_options()
    if options.case:
        print(json.dumps(ROWS.get(options.case, make)(options)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        options.scratch = options.scratch or Path(temporary)
        options.scratch.mkdir(parents=True, exist_ok=True)
        if not (options.scratch / "given.npz").exists():
            in_own_process("make", options)
        print(f"{HEAD}\n|---|---|--:|--:|--:|--:|--:|", flush=True)
        rows, skipped = [], []
        for name in ROWS:
            if not name.startswith(options.only):
                continue
            found = in_own_process(name, options)
            if isinstance(found, str):
                skipped.append(f"skipped {name}: {found}")
                continue
            rows += found
            print("\n".join(line(row) for row in found), flush=True)
    print("\n".join(["", *(f"- {row['work']}: {row['note']}" for row in rows if row.get("note")), *skipped]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def read_options() -> argparse.Namespace:
    """Read the command line; peers are those that are named and there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name begins so: " + ", ".join(ROWS))
    parser.add_argument("--hail", type=Path, help="folder of an unpacked wheel of Hail 0.2.93")
    parser.add_argument("--gemma", default=shutil.which("gemma"), help="GEMMA's path")
    parser.add_argument("--fastlmm", help="an interpreter that has FaST-LMM")
    parser.add_argument("--variants", type=int, default=20_000, help="of the PLINK files")
    parser.add_argument("--missing", type=float, default=0.0, help="share of their genotypes that are missing")
    parser.add_argument("--precision", default="float64", choices=["float64", "float32"], help="of their scan")
    parser.add_argument("--scratch", type=Path, help="folder that keeps the files made")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser.parse_args()


def in_own_process(name: str, options: argparse.Namespace) -> list[dict[str, Any]] | str:
    """Measure rows in a new process of one thread; in words what went wrong, if anything."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    given = {key: value for key, value in vars(options).items() if value is not None and key not in ("case", "json")}
    words = [part for key, value in given.items() for part in (f"--{key}", str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.lmm", "--case", name, *words],
        capture_output=True, text=True, check=False, env={**os.environ, **one},
    )  # fmt: skip
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return json.loads(done.stdout.splitlines()[-1])


HEAD = "| work | unit | ours | peer | ratio | goal | parity |"


def line(row: dict[str, Any]) -> str:
    """Return a line of the table; a ratio above 1 is in favour of ours."""
    ours, theirs, parity = row["ours"], row.get("theirs"), row.get("parity")
    beside = f"{row['peer']}: {theirs:,.4g}" if theirs is not None else ""
    ratio = ""
    if theirs is not None:
        ratio = f"{ours / theirs if row['unit'] == 'markers/s' else theirs / ours:,.3g}"
    same = f"{parity:.1e}" if parity is not None else ""
    return f"| {row['work']} | {row['unit']} | {ours:,.4g} | {beside} | {ratio} | {row['goal']} | {same} |"


if __name__ == "__main__":
    main()
