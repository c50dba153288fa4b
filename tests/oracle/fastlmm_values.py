"""Write fastlmm.csv: `python fastlmm_values.py FOLDER`, with the folder that holds fastlmmTest.bed and its tables.

FaST-LMM 0.6.13 itself (`pip install fastlmm==0.6.13 six`): single_snp with a relationship matrix of standardised
markers, of all chromosomes (`all`) or without the marker's own (`loco`), REML, its F test at the h2 of the null model.
Effects are per standard deviation (ddof 0) of the marker. Every 20th marker is kept.
"""

import sys
from pathlib import Path

import pandas as pd
from fastlmm.association import single_snp
from pysnptools.kernelreader import KernelData
from pysnptools.snpreader import Bed, Pheno

folder = Path(sys.argv[1])
bed = Bed(str(folder / "fastlmmTest"), count_A1=True)
trait, covariate = (Pheno(str(folder / f"fastlmm{name}.txt")).read() for name in ("Pheno", "Cov"))
read = bed.read()
order = {name: k for k, name in enumerate(read.sid)}
chrom = read.pos[:, 0]


def kernel(rows):
    values = read.val[:, rows]
    z = (values - values.mean(0)) / values.std(0)
    return KernelData(iid=read.iid, val=z @ z.T / z.shape[1])


def tested(rows, matrix, design):
    options = {"count_A1": True, "leave_out_one_chrom": False}
    found = single_snp(test_snps=bed[:, rows], pheno=trait, covar=covariate, K0=matrix, **options)
    return pd.DataFrame(
        {
            "design": design,
            "variant_id": found["SNP"],
            "beta_sd": found["SnpWeight"],
            "se_sd": found["SnpWeightSE"],
            "pvalue": found["PValue"],
            "h_sq": found["Nullh2"],
        }
    )


tables = [tested(chrom > 0, kernel(chrom > 0), "all")]
tables += [tested(chrom == c, kernel(chrom != c), "loco") for c in sorted(set(chrom))]
table = pd.concat(tables)
table = table[table["variant_id"].map(order) % 20 == 0]
table = table.sort_values(["design", "variant_id"], key=lambda c: c.map(order) if c.name == "variant_id" else c)
table.to_csv(Path(__file__).with_name("fastlmm.csv"), index=False, float_format="%.15g")
