"""Write gemma_exact_drawn.npz and gemma_exact_mouse.csv: `python gemma_exact_values.py <folder of mouse_hs1940>`.

With GEMMA 0.98.5 on the path, which reads BIMBAM mean genotypes. `gemma_exact_drawn.npz` holds inputs as drawn here
(120 samples, 200 markers, some genotypes missing, some markers rare or monomorphic, two covariates), and GEMMA's table
of `-lmm 4` with its own relationship matrix of them. `gemma_exact_mouse.csv` holds every 54th row of its tables of the
mouse data, traits CD8 and MCH, with the relationship matrix of the markers that pass its filters with CD8.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

SAMPLES, MARKERS, MISSING = 120, 200, 0.02
MOUSE = {"cd8": 1, "mch": 6}
EVERY = 54
HERE = Path(__file__).parent


def draw(seed):
    """Return dosages (NaN where missing), a trait and covariates with an intercept first."""
    rng = np.random.default_rng(seed)
    family = rng.integers(0, 12, SAMPLES)
    frequency = np.where(np.arange(MARKERS) % 10 == 0, 0.02, rng.uniform(0.05, 0.5, MARKERS))
    shift = rng.normal(0, 0.8, (MARKERS, 12))[:, family] + np.log(frequency / (1 - frequency))[:, None]
    dosages = rng.binomial(2, 1 / (1 + np.exp(-shift))).astype(float)
    covariates = np.column_stack([np.ones(SAMPLES), rng.normal(50, 10, SAMPLES), rng.integers(0, 2, SAMPLES)])
    centred = dosages - dosages.mean(1, keepdims=True)
    trait = centred.T @ rng.normal(0, 0.08, MARKERS) + 0.02 * covariates[:, 1] + rng.normal(size=SAMPLES)
    trait += 0.8 * centred[17]
    dosages[rng.random(dosages.shape) < MISSING] = np.nan
    dosages[40] = 1.0
    return dosages, np.round(trait, 6), np.round(covariates, 6)


def gemma(folder, *options):
    """Run GEMMA in a folder."""
    subprocess.run(["gemma", *map(str, options)], cwd=folder, check=True, capture_output=True)


def null(path):
    """Return pve and its standard error of the log of a run."""
    text = path.read_text()
    names = {"pve": "pve estimate", "pve_se": "se(pve)"}
    return {
        key: float(re.search(rf"## {re.escape(name)} in the null model *= *(\S+)", text)[1])
        for key, name in names.items()
    }


def small(folder):
    """Return inputs and outputs of the drawn data."""
    dosages, trait, covariates = draw(7)
    rows = [
        ",".join([f"v{k}", "A", "C", *("NA" if np.isnan(value) else f"{value:g}" for value in row)])
        for k, row in enumerate(dosages)
    ]
    (folder / "geno.txt").write_text("\n".join(rows) + "\n")
    np.savetxt(folder / "pheno.txt", trait, fmt="%.6f")
    np.savetxt(folder / "covariates.txt", covariates, fmt="%.6f")
    given = ("-g", "geno.txt", "-p", "pheno.txt", "-miss", 1, "-maf", 0, "-r2", 1)
    gemma(folder, *given, "-gk", 1, "-o", "k")
    gemma(folder, *given, "-c", "covariates.txt", "-k", "output/k.cXX.txt", "-lmm", 4, "-o", "l")
    table = pd.read_csv(folder / "output/l.assoc.txt", sep="\t")
    columns = {name: table[name].to_numpy() for name in table.columns[7:]}
    return {"dosages": dosages, "trait": trait, "covariates": covariates} | columns | {
        "marker": table["rs"].str[1:].astype(int).to_numpy(), **null(folder / "output/l.log.txt")
    }  # fmt: skip


def mouse(folder, source):
    """Return rows of the tables of both traits."""
    tables = []
    genotypes, phenotypes = source / "mouse_hs1940.geno.txt.gz", source / "mouse_hs1940.pheno.txt.gz"
    for trait, column in MOUSE.items():
        given = ("-g", genotypes, "-p", phenotypes, "-n", column)
        if not tables:
            gemma(folder, *given, "-gk", 1, "-o", "k")
        gemma(folder, *given, "-k", "output/k.cXX.txt", "-lmm", 4, "-o", trait)
        tables.append(pd.read_csv(folder / f"output/{trait}.assoc.txt", sep="\t", dtype=str).iloc[::EVERY])
        tables[-1].insert(0, "trait", trait)
    return pd.concat(tables).drop(columns=["chr", "ps"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        np.savez_compressed(HERE / "gemma_exact_drawn.npz", **small(Path(name)))
        if len(sys.argv) > 1:
            mouse(Path(name), Path(sys.argv[1])).to_csv(
                HERE / "gemma_exact_mouse.csv", index=False, lineterminator="\n"
            )
