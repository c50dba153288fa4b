"""The bad input that `deepmr lmm` must survive; `bad_input.py` runs it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from bed_reader import to_bed

N, M = 40, 30
LMM = ["lmm", "--bfile", "geno", "--pheno", "p.csv", "--trait", "y", "--figures", "none", "--no-page", "--out", "o.tsv"]
NAMES = [f"{i + 1:04d}" for i in range(N)]
Change = Callable[[Path], list[str] | None]
LMMS: list[tuple[str, str, int, frozenset[str], Change]] = []


def case(name: str, says: str, *, code: int = 3) -> Callable[[Change], Change]:
    """Register a function that spoils a folder; where it returns no command, that is `LMM`."""

    def register(change: Change) -> Change:
        LMMS.append((f"lmm: {name}", says, code, frozenset(), lambda folder: change(folder) or LMM))
        return change

    return register


def write(folder: Path, *, names: list[str] = NAMES, **columns: object) -> None:
    """Write genotypes, and a table of traits with some columns replaced."""
    rng = np.random.default_rng(0)
    properties = {
        "fid": NAMES, "iid": NAMES, "sid": [f"rs{j + 1}" for j in range(M)], "chromosome": ["1"] * M,
        "bp_position": list(range(1, M + 1)), "allele_1": ["G"] * M, "allele_2": ["A"] * M,
    }  # fmt: skip
    to_bed(folder / "geno.bed", rng.binomial(2, 0.3, (N, M)).astype(np.float32), properties=properties)
    table = pd.DataFrame({"IID": names, "y": rng.normal(size=N).round(3), "age": rng.integers(30, 70, N)})
    table.assign(**columns).to_csv(folder / "p.csv", index=False)


@case("identifiers that lost their zeros", "40 agree but for zeros in front")
def _(folder):
    write(folder, names=[str(i + 1) for i in range(N)])


@case("identifiers joined to families", "40 agree but for a family")
def _(folder):
    write(folder, names=[f"{name}_{name}" for name in NAMES])


@case("other samples", "no sample is in the genotypes; the table begins with 's0001', the genotypes with '0001'$")
def _(folder):
    write(folder, names=[f"s{name}" for name in NAMES])


@case("a sample twice", "sample '0001' has more than one row")
def _(folder):
    write(folder, names=[*NAMES[:-1], NAMES[0]])


@case("a trait misspelt", "did you mean 'y'")
def _(folder):
    write(folder)
    return [*LMM[:6], "Y", *LMM[7:]]


@case("text among a trait's numbers", "line 2, column 'y': 'high' is not a finite number")
def _(folder):
    write(folder, y=["high", *range(N - 1)])


@case("a trait without any value", "without any trait 40$")
def _(folder):
    write(folder, y=np.nan)


@case("a trait that is constant", "constant")
def _(folder):
    write(folder, y=1.5)


@case("a header alone", "p.csv: has no rows")
def _(folder):
    write(folder)
    (folder / "p.csv").write_text("IID,y,age\n")


@case("more covariates than samples", "50 columns of covariates and the intercept need more than 51 samples; 40")
def _(folder):
    rng = np.random.default_rng(1)
    write(folder, **{f"c{k + 1}": rng.normal(size=N) for k in range(50)})
    return [*LMM, "--covariates", "c{1..50}"]


@case("a covariate with a category a sample", "40 levels such as 'k0001'")
def _(folder):
    write(folder, site=[f"k{name}" for name in NAMES])
    return [*LMM, "--covariates", "site"]


@case("a .bed cut short", "geno.bed: has .* bytes; 30 variants")
def _(folder):
    write(folder)
    path = folder / "geno.bed"
    path.write_bytes(path.read_bytes()[:-5])


@case("a .bed without its .bim", "there is no geno.bim")
def _(folder):
    write(folder)
    (folder / "geno.bim").unlink()


@case("one chromosome left out, and a matrix given", "cannot be used with --kinship")
def _(folder):
    write(folder)
    return [*LMM, "--loco", "--kinship", "k.txt"]


@case("results that are there", "o.tsv exists; choose another name or pass --overwrite")
def _(folder):
    write(folder)
    (folder / "o.tsv").write_text("mine\n")
