"""What `benchmarks/lmm.py` measures beside ours: Hail's class by its own source; GEMMA and FaST-LMM as they come."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.lmm_data import Given

SOURCE = Path("hail") / "stats" / "linear_mixed_model.py"


def hail_class(folder: Path) -> Any:
    """Return Hail's LinearMixedModel, whose numpy part needs nothing else of Hail.

    Parameters
    ----------
    folder : where a wheel of Hail 0.2.93 was unpacked.
    """

    def unchecked(*_: object, **__: object) -> Callable[[Any], Any]:
        return lambda function: function

    anything: dict[str, Any] = dict.fromkeys(
        ("BlockMatrix", "_check_dims", "Table", "Env", "info", "plural", "numeric", "nullable", "tupleof", "oneof"),
        lambda *_: None,
    )
    anything["BlockMatrix"] = type("BlockMatrix", (), {})
    anything["typecheck_method"] = unchecked
    names = ("hail", "hail.linalg", "hail.linalg.utils", "hail.table", "hail.typecheck", "hail.utils")
    before = dict(sys.modules)
    try:
        for name in (*names, "hail.utils.java", "hail.utils.misc"):
            module = types.ModuleType(name)
            module.__dict__.update(anything)
            sys.modules[name] = module
        whole: Any = sys.modules["hail"]
        whole.linalg, whole.utils = sys.modules["hail.linalg"], sys.modules["hail.utils"]
        whole.utils.no_service_backend = lambda *_: None
        spec = importlib.util.spec_from_file_location("hail_linear_mixed_model", folder / SOURCE)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(folder / SOURCE)
        source = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(source)
    finally:
        for name in set(sys.modules) - set(before):
            if name.partition(".")[0] == "hail":
                del sys.modules[name]
    return source.LinearMixedModel


def run_gemma(program: str, given: Given, scratch: Path, *, markers: int, mode: int = 1) -> dict[str, Any]:
    """Test markers by GEMMA; its own CPU seconds of optimisation and of the decomposition, and its table.

    Parameters
    ----------
    program : GEMMA's path.
    given : cohort and relationship matrix.
    scratch : folder for its files.
    markers : how many, from the first.
    mode : of `-lmm`: 1 for Wald, 4 for all tests.
    """
    cohort, folder = given.one(), scratch / "gemma"
    folder.mkdir(exist_ok=True)
    variants = cohort.genotypes.variants.iloc[:markers]
    genotypes = pd.DataFrame(cohort.genotypes.read(0, markers).astype(int))
    for k, name in enumerate(("variant_id", "effect_allele", "other_allele")):
        genotypes.insert(k, name, variants[name])
    genotypes.to_csv(folder / "geno.txt", header=False, index=False)
    pd.DataFrame(cohort.phenotypes).to_csv(folder / "pheno.txt", header=False, index=False)
    pd.DataFrame(cohort.design).to_csv(folder / "design.txt", sep="\t", header=False, index=False)
    pd.DataFrame(given.kinship).to_csv(folder / "kinship.txt", sep="\t", header=False, index=False)
    command = [program, "-g", "geno.txt", "-p", "pheno.txt", "-c", "design.txt", "-k", "kinship.txt", "-notsnp"]
    subprocess.run([*command, "-lmm", str(mode), "-o", "out"], cwd=folder, check=True, capture_output=True)
    log = (folder / "output" / "out.log.txt").read_text()
    return {
        "optimisation_s": minutes(log, "time on optimization"),
        "eigen_s": minutes(log, "time on eigen-decomposition"),
        "table": pd.read_csv(folder / "output" / "out.assoc.txt", sep="\t"),
        "version": str(re.findall(r"GEMMA Version\s*=\s*(\S+)", log)[0]),
    }


def minutes(log: str, what: str) -> float:
    """Return the seconds that GEMMA's log says some part took, in minutes."""
    return 60 * float(re.findall(rf"{what}\s*=\s*([-+.e0-9]+)", log)[0])


FASTLMM = """
import json, logging, resource, sys, time
import numpy as np
logging.disable(logging.CRITICAL)
from fastlmm.association import single_snp
from pysnptools.kernelreader import KernelData
from pysnptools.snpreader import SnpData

folder, counts = sys.argv[1], [int(x) for x in sys.argv[2:]]
given = np.load(folder + "/given.npz")
n = len(given["kinship"])
iid = [[f"s{k}", f"s{k}"] for k in range(n)]
seconds, table = [], None
for count in counts:
    pos = np.array([[1, k, k] for k in range(count)])
    names = [f"v{k}" for k in range(count)]
    markers = SnpData(iid, names, np.ascontiguousarray(given["dosages"][:count].T), pos=pos)
    y = SnpData(iid, ["trait"], given["phenotypes"][:, :1].copy())
    x = SnpData(iid, [f"x{k}" for k in range(given["covariates"].shape[1])], given["covariates"])
    kernel = KernelData(iid=iid, val=np.array(given["kinship"], order="C"))
    start = time.process_time()
    table = single_snp(markers, y, covar=x, K0=kernel, leave_out_one_chrom=False, count_A1=True)
    seconds.append(time.process_time() - start)
table = table.set_index("SNP")
print(json.dumps({
    "seconds": seconds, "h_sq": float(table["Nullh2"].iloc[0]), "pvalue": table["PValue"].to_dict(),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


def run_fastlmm(python: str, scratch: Path, *, counts: tuple[int, ...]) -> dict[str, Any]:
    """Test markers by FaST-LMM's single_snp, several times in one process of its own.

    Parameters
    ----------
    python : an interpreter that has it.
    scratch : folder of `prepare`.
    counts : how many markers, from the first, in each of the calls.
    """
    command = [python, "-c", FASTLMM, str(scratch), *(str(count) for count in counts)]
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.splitlines()[-1])


def largest_difference(ours: np.ndarray, theirs: np.ndarray, *, above: float = 0.0) -> float:
    """Return the largest relative difference, where theirs is larger than a bound.

    Parameters
    ----------
    ours, theirs : numbers.
    above : bound.
    """
    kept = theirs > above
    return float(np.max(np.abs(ours[kept] / theirs[kept] - 1)))
