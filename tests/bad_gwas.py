"""The bad files of GWAS results that `deepmr mr` and `deepmr report` must survive; `bad_input.py` runs them."""

import contextlib
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

from deepmr import cli

N = 30
MR = ["mr", "--exposure", "x.tsv", "--outcome", "y.tsv", "--out", "r.tsv", "--method", "ivw_random"]
REPORT = ["report", "--estimates", "r.tsv", "--out", "r.html"]
GLS = [*MR[:-1], "ivw_gls", "--clump", "none", "--correlation", "ld.tsv"]
WRITTEN = frozenset({"r.tsv", "r.tsv.json", "r.skipped.tsv", "r.dropped.tsv", "r.instruments.tsv"})
Change = Callable[[Path], list[str] | None]
GWAS: list[tuple[str, str, int, frozenset[str], Change]] = []


def case(
    name: str, says: str, *, code: int = 3, leaves: frozenset[str] = frozenset()
) -> Callable[[Callable[[Path], list[str] | None]], Change]:
    """Register a function as a case; where it returns no command, that is `MR`."""

    def register(change: Change) -> Change:
        GWAS.append((name, says, code, leaves, lambda folder: change(folder) or MR))
        return change

    return register


def write_good_studies(folder: Path) -> None:
    """Write a GWAS-SSF exposure, an outcome under other names, and correlations that fit them."""
    rng = np.random.default_rng(0)
    beta, eaf = rng.uniform(0.15, 0.3, N), rng.uniform(0.1, 0.4, N)
    names = [f"rs{i + 1}" for i in range(N)]
    z = beta / 0.02
    x = {
        "chromosome": 1 + np.arange(N) // 10, "base_pair_location": (1 + np.arange(N) % 10) * 5_000_000,
        "effect_allele": "A", "other_allele": "G", "beta": beta, "standard_error": 0.02,
        "effect_allele_frequency": eaf, "p_value": 2 * special.ndtr(-np.abs(z)), "rsid": names, "n": 50_000,
    }  # fmt: skip
    y = {
        "SNP": names, "CHR": x["chromosome"], "BP": x["base_pair_location"], "A1": "G", "A2": "A",
        "BETA": -0.5 * beta + rng.normal(0, 0.01, N), "SE": 0.01, "FRQ": 1 - eaf, "NMISS": 9_000,
    }  # fmt: skip
    pd.DataFrame(x).to_csv(folder / "x.tsv", sep="\t", index=False)
    pd.DataFrame(y).to_csv(folder / "y.tsv", sep="\t", index=False)
    write_ld(folder, np.eye(N), names)


def run_quietly(argv: list[str]) -> None:
    """Run a command that must succeed."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        assert cli.execute([*argv, "--quiet"]) == 0


def write_ld(folder: Path, matrix: np.ndarray, names: list[str]) -> None:
    """Write a matrix of correlations."""
    pd.DataFrame(matrix, columns=names).to_csv(folder / "ld.tsv", sep="\t", index=False)


def change(path: Path, *, rows: slice | list[int] = slice(None), drop: tuple[str, ...] = (), **columns: object) -> None:
    """Set columns of a table, at some rows, or leave columns out."""
    frame = pd.read_csv(path, sep="\t").drop(columns=list(drop))
    for name, value in columns.items():
        frame[name] = frame[name].astype(object) if name in frame else ""
        frame.loc[frame.index[rows], name] = value
    frame.to_csv(path, sep="\t", index=False)


SOME = "y.tsv: {} of 30 rows cannot be used, first rs{}: {}"
NONE = "y.tsv: none of 30 rows can be used: {} \\(30\\)"


@case(
    "GWAS: standard errors of zero, some",
    SOME.format(2, 1, "the standard error is zero"),
    code=0,
    leaves=WRITTEN,
)
def _(folder):
    change(folder / "y.tsv", rows=[0, 4], SE=0)


@case("GWAS: standard errors of zero, all", NONE.format("the standard error is zero"))
def _(folder):
    change(folder / "y.tsv", SE=0)


@case("GWAS: a negative standard error", SOME.format(1, 4, "the standard error is negative"), code=0, leaves=WRITTEN)
def _(folder):
    change(folder / "y.tsv", rows=[3], SE=-0.01)


@case("GWAS: missing alleles, some", SOME.format(3, 4, "the effect allele is missing"), code=0, leaves=WRITTEN)
def _(folder):
    change(folder / "y.tsv", rows=[3, 4, 5], A1="")


@case("GWAS: missing alleles, all", NONE.format("the effect allele is missing"))
def _(folder):
    change(folder / "y.tsv", A1="")


@case(
    "GWAS: no column of alleles",
    "y.tsv: no column for the effect allele is known; the file has SNP, .* effect_allele=COLUMN",
)
def _(folder):
    change(folder / "y.tsv", drop=("A1", "A2"))


@case("GWAS: alleles that are none", SOME.format(1, 3, "an allele is not made of A, C, G, T"), code=0, leaves=WRITTEN)
def _(folder):
    change(folder / "y.tsv", rows=[2], A1="<CNV>")


@case(
    "GWAS: a variant twice",
    "y.tsv: 1 of 31 rows cannot be used, first rs5: occurs more than once; the first is kept",
    code=0,
    leaves=WRITTEN,
)
def _(folder):
    lines = (folder / "y.tsv").read_text().splitlines()
    (folder / "y.tsv").write_text("\n".join([*lines, lines[5]]) + "\n")


@case(
    "GWAS: alleles of another variant",
    "has 0; 30 of 30 variants of x have P below 5e-08, and 30 of these were dropped: alleles differ",
    code=1,
    leaves=WRITTEN,
)
def _(folder):
    change(folder / "y.tsv", A1="C", A2="A")


@case("GWAS: neither standard errors nor P values", "y.tsv: no column for a standard error .*; the file has SNP,.*")
def _(folder):
    change(folder / "y.tsv", drop=("SE",))


@case("GWAS: a column named that is not there", "y.tsv: there is no column 'BTEA' for beta; did you mean 'BETA'")
def _(folder):
    return [*MR, "--outcome-columns", "beta=BTEA"]


@case("GWAS: a field named that is not known", "no field 'bta'")
def _(folder):
    return [*MR, "--outcome-columns", "bta=BETA"]


@case(
    "GWAS: a column named that is guessed to be another field",
    "y.tsv: the column 'FRQ' is read as beta and as eaf; name the right one: eaf=COLUMN",
)
def _(folder):
    return [*MR, "--outcome-columns", "beta=FRQ"]


@case("GWAS: P values named as standard errors", "x.tsv: the column 'p_value' is read as se and as pvalue")
def _(folder):
    return [*MR, "--exposure-columns", "se=p_value"]


@case("GWAS: standard errors named as P values", "x.tsv: the column 'standard_error' is read as pvalue and as se")
def _(folder):
    return [*MR, "--exposure-columns", "pvalue=standard_error"]


@case("GWAS: a column named for two fields", "y.tsv: the column 'SE' is read as beta and as se$")
def _(folder):
    return [*MR, "--outcome-columns", "beta=SE", "se=SE"]


@case(
    "GWAS: the two alleles named the wrong way round",
    "x and y: the frequencies of the same allele lie on opposite sides of one half for 30 of 30 variants",
    code=0,
    leaves=WRITTEN,
)
def _(folder):
    return [*MR, "--outcome-columns", "effect_allele=A2", "other_allele=A1"]


@case("GWAS: text among the numbers", "y.tsv: line 4, column 'BETA': 'high' is not a number")
def _(folder):
    change(folder / "y.tsv", rows=[2], BETA="high")


@case("GWAS: a line cut short", "y.tsv: line 31 has 3 cell")
def _(folder):
    text = (folder / "y.tsv").read_text()
    (folder / "y.tsv").write_text("\t".join(text.rstrip().split("\t")[:-6]) + "\n")


@case("GWAS: truncated gzip", "y.tsv: .*truncated")
def _(folder):
    path = folder / "y.tsv"
    path.write_bytes(gzip.compress(path.read_bytes(), mtime=0)[:-20])


@case("GWAS: a header alone", "y.tsv: the table has no rows")
def _(folder):
    path = folder / "y.tsv"
    path.write_text(path.read_text().splitlines()[0] + "\n")


@case("GWAS: a file that is not there", "z.tsv: cannot be read: No such file")
def _(folder):
    return [*MR[:4], "z.tsv", *MR[5:]]


@case("GWAS: odds ratios taken for their logarithms", "y.tsv: .*odds ratios", code=0, leaves=WRITTEN)
def _(folder):
    frame = pd.read_csv(folder / "y.tsv", sep="\t")
    change(folder / "y.tsv", BETA=np.exp(frame["BETA"]))


@case("GWAS: negative odds ratios", "none of 30 rows can be used: the ratio is not positive")
def _(folder):
    change(folder / "y.tsv", BETA=-0.1)
    return [*MR, "--outcome-columns", "odds_ratio=BETA"]


@case("GWAS: frequencies in percent", "the allele frequency is not between 0 and 1")
def _(folder):
    change(folder / "y.tsv", FRQ=35)


@case("GWAS: no variant in common", "x and y have no variant in common: 30 such as rs1, 30 such as rs1x")
def _(folder):
    change(folder / "y.tsv", SNP=[f"rs{i + 1}x" for i in range(N)], drop=("CHR", "BP"))


@case("GWAS: two genome builds, no names", "no variant in common: .*genome build")
def _(folder):
    change(folder / "x.tsv", drop=("rsid",))
    change(folder / "y.tsv", BP=[7_000 * (i + 1) for i in range(N)], drop=("SNP",))


@case(
    "GWAS: nothing significant",
    "no variant is significant for x: none of 30 has P below 1e-300; P values were read from 'p_value'",
)
def _(folder):
    return [*MR, "--p-threshold", "1e-300"]


@case(
    "GWAS: two genome builds, a few positions shared by chance",
    "x and y share no names, and only 1 of 30 variants are at the same positions: of one genome build",
    code=0,
    leaves=WRITTEN,
)
def _(folder):
    change(folder / "x.tsv", drop=("rsid",))
    change(folder / "y.tsv", BP=[5_000_000 if i == 0 else 7_000 * (i + 1) for i in range(N)], drop=("SNP",))
    return [*MR[:-1], "wald_weighted", "--min-instruments", "1"]


@case("GWAS: no position known, with `--clump distance`", "clumping needs positions; all 30 are unknown, first of rs1")
def _(folder):
    change(folder / "x.tsv", base_pair_location=0)
    change(folder / "y.tsv", drop=("BP",))
    return [*MR, "--clump", "distance"]


@case("GWAS: a VCF file of genotypes", "y.vcf: S1 has no ES in FORMAT; needed the fields ES and SE of GWAS-VCF")
def _(folder):
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1"
    (folder / "y.vcf").write_text(head + "\n1\t5000000\trs1\tG\tA\t.\t.\t.\tGT\t0/1\n")
    return [*MR[:4], "y.vcf", *MR[5:]]


@case(
    "GWAS: all effects on the exposure equal",
    "egger: not identified: all exposure effects have the same size",
    code=1,
    leaves=WRITTEN,
)
def _(folder):
    change(folder / "x.tsv", beta=0.2, p_value=1e-23)
    return [*MR[:-1], "egger"]


@case(
    "GWAS: a method of several exposures", "method 'mv_ivw' is for several exposures in one model: add --multivariable"
)
def _(folder):
    return [*MR[:-1], "mv_ivw"]


@case("GWAS: a method misspelt", "method must be one of .*; got 'MR-Egger'; did you mean 'egger'")
def _(folder):
    return [*MR[:-1], "MR-Egger"]


@case("GWAS: a trait as its own outcome", "'x' is both exposure and outcome")
def _(folder):
    return [*MR[:4], "x.tsv", *MR[5:]]


@case("GWAS: beta and se swapped", "x: P values contradict effects and standard errors: .* median F .* of 0.0")
def _(folder):
    path = folder / "x.tsv"
    path.write_text("\n".join(path.read_text().splitlines()[:16]) + "\n")
    return [*MR, "--exposure-columns", "beta=standard_error", "se=beta"]


@case(
    "GWAS: one significant variant",
    r"has 1; 1 of 30 variants of x has P below 5e-08 \(r.skipped.tsv has all\)",
    code=1,
    leaves=WRITTEN,
)
def _(folder):
    change(folder / "x.tsv", rows=slice(1, None), beta=0.01, p_value=0.617)


@case("GWAS: too few instruments", "needs at least 3 instruments; has 2", code=1, leaves=WRITTEN)
def _(folder):
    path = folder / "x.tsv"
    path.write_text("\n".join(path.read_text().splitlines()[:3]) + "\n")


@case("LD matrix in another order", "", code=0, leaves=WRITTEN)
def _(folder):
    names = [f"rs{i + 1}" for i in range(N)]
    write_ld(folder, np.eye(N), names[::-1])
    return GLS


@case(
    "LD matrix without names",
    "ld.tsv: the first line has no names of variants, and their order is not known without them",
)
def _(folder):
    np.savetxt(folder / "ld.tsv", np.eye(N), delimiter="\t", fmt="%g")
    return GLS


@case("LD matrix that lacks instruments", "the LD matrix lacks 1 of 30 instruments, first rs30")
def _(folder):
    write_ld(folder, np.eye(N - 1), [f"rs{i + 1}" for i in range(N - 1)])
    return GLS


@case("LD matrix that is singular", "ivw_gls: the correlation of its instruments is singular", code=1, leaves=WRITTEN)
def _(folder):
    write_ld(folder, np.ones((N, N)), [f"rs{i + 1}" for i in range(N)])
    return GLS


@case("LD matrix that is not symmetric", "ld.tsv: .*symmetric")
def _(folder):
    matrix = np.eye(N)
    matrix[0, 1] = 0.5
    write_ld(folder, matrix, [f"rs{i + 1}" for i in range(N)])
    return GLS


@case("LD matrix with values above 1", "ld.tsv: .*1")
def _(folder):
    matrix = np.eye(N)
    matrix[0, 1] = matrix[1, 0] = 1.5
    write_ld(folder, matrix, [f"rs{i + 1}" for i in range(N)])
    return GLS


@case("LD matrix for other alleles", "the LD matrix is for rs1 C/T; the instruments have A/G")
def _(folder):
    write_ld(folder, np.eye(N), [f"rs{i + 1}_C_T" for i in range(N)])
    return GLS


@case("LD panel that is not there", "panel.bed|panel.bim|panel.fam")
def _(folder):
    return [*MR, "--panel", "panel"]


@case("clumping by LD without a panel", "needs a panel")
def _(folder):
    return [*MR, "--clump", "ld"]


@case("report of estimates that are not there", "r.tsv: cannot be read: No such file")
def _(folder):
    return REPORT


@case("report of estimates in TwoSampleMR's columns", "r.tsv: not a table of estimates: .*locus.* are missing")
def _(folder):
    run_quietly([*MR, "--to", "twosamplemr"])
    return REPORT


@case(
    "report of another run's instruments",
    "r.instruments.tsv: has 4 instruments of x and y; r.tsv used 30: another run's?",
)
def _(folder):
    run_quietly(MR)
    path = folder / "r.instruments.tsv"
    path.write_text("\n".join(path.read_text().splitlines()[:5]) + "\n")
    return REPORT


@case("report without instruments", "r.instruments.tsv: cannot be read: No such file")
def _(folder):
    run_quietly(MR)
    (folder / "r.instruments.tsv").unlink()
    return REPORT
