"""Write gemma_genotypes.csv and gemma_kinship.csv: `python gemma_values.py`, with gemma 0.98.5 on the path.

Thirty related samples, 100 variants, of which some are rare, monomorphic or have too many gaps, and six samples without
phenotype, in which GEMMA counts for no filter. The same genotypes go to GEMMA as BIMBAM text and as a PLINK bed.
"""

import csv
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from bed_reader import to_bed

SAMPLES, VARIANTS = 30, 100
HERE = Path(__file__).parent


def simulate():
    """Return genotypes, NaN where missing, and phenotypes, NaN where missing."""
    rng = np.random.default_rng(11)
    frequency = rng.uniform(0.02, 0.6, VARIANTS)
    parents = rng.random((2, 6, VARIANTS)) < frequency
    mother, father = rng.integers(0, 6, (2, SAMPLES))
    dosages = (parents[0, mother].astype(float) + parents[1, father]).T.copy()
    phenotype = dosages.T @ rng.normal(size=VARIANTS) / 5 + rng.normal(size=SAMPLES)
    dosages[rng.random(dosages.shape) < 0.02] = np.nan
    dosages[4, :8] = np.nan
    phenotype[[2, 9, 10, 17, 25, 29]] = np.nan
    return dosages, np.round(phenotype, 6)


def gemma(folder, *words):
    """Run GEMMA in a folder and return its log."""
    subprocess.run(["gemma", *words, "-o", "out"], cwd=folder, check=True, capture_output=True)
    return (folder / "output" / "out.log.txt").read_text()


def number(log, name):
    """Return the number after a name in a log."""
    return re.search(rf"{re.escape(name)}\s*=\s*(\S+)", log).group(1)


def triangle(folder, suffix):
    """Move the kinship matrix just written to k.txt and return its lower triangle."""
    kinship = (folder / "output" / f"out.{suffix}.txt").rename(folder / "k.txt")
    lines = kinship.read_text().splitlines()
    return " ".join(x for i, line in enumerate(lines) for x in line.split()[: i + 1])


def write_inputs(folder, dosages, phenotype):
    """Write the genotypes as BIMBAM and as a bed, and the phenotype."""
    cell = {0.0: "0", 1.0: "1", 2.0: "2"}
    lines = [", ".join([f"v{k}", "A", "C", *(cell.get(g, "NA") for g in row)]) for k, row in enumerate(dosages)]
    (folder / "g.txt").write_text("\n".join(lines) + "\n")
    said = ["NA" if np.isnan(y) else f"{y}" for y in phenotype]
    (folder / "p.txt").write_text("\n".join(said) + "\n")
    places = [f"v{k}, {k + 1}, {1 + k // 34}" for k in range(VARIANTS)]
    (folder / "a.txt").write_text("\n".join(places) + "\n")
    names = [f"s{k}" for k in range(SAMPLES)]
    to_bed(
        folder / "g.bed",
        dosages.T,
        properties={
            "fid": names,
            "iid": names,
            "sid": [f"v{k}" for k in range(VARIANTS)],
            "chromosome": [str(1 + k // 34) for k in range(VARIANTS)],
            "bp_position": np.arange(VARIANTS) + 1,
            "allele_1": ["A"] * VARIANTS,
            "allele_2": ["C"] * VARIANTS,
            "pheno": said,
        },
    )


def main():
    """Write both files beside this script."""
    dosages, phenotype = simulate()
    with (HERE / "gemma_genotypes.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([f"s{k}" for k in range(SAMPLES)])
        writer.writerow(["" if np.isnan(y) else y for y in phenotype])
        writer.writerows([["" if np.isnan(g) else int(g) for g in row] for row in dosages])
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, dosages, phenotype)
        bimbam = ["-g", "g.txt", "-p", "p.txt"]
        for kind, inputs in (("bimbam", bimbam), ("plink", ["-bfile", "g"])):
            for gk, suffix in ((1, "cXX"), (2, "sXX")):
                log = gemma(folder, *inputs, "-gk", str(gk))
                kinship = triangle(folder, suffix)
                fit = gemma(folder, *inputs, "-k", "k.txt", "-lmm", "1")
                pve, se = (number(fit, f"{word} in the null model") for word in ("pve estimate", "se(pve)"))
                rows.append([kind, gk, number(log, "number of analyzed SNPs/var"), pve, se, kinship])
        for chrom in (1, 2, 3):  # the log counts the markers of all chromosomes
            gemma(folder, *bimbam, "-a", "a.txt", "-gk", "1", "-loco", str(chrom))
            rows.append([f"without {chrom}", 1, "", "", "", triangle(folder, "cXX")])
    with (HERE / "gemma_kinship.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["input", "gk", "n_markers", "pve", "se", "lower_triangle"])
        writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
