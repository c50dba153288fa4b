"""The bad input that `deepmr features` and `deepmr context` must survive; `bad_input.py` runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

N = 12
FEATURES = ["features", "--fasta", "peaks.fa", "--motifs", "m.meme", "--out", "f.tsv"]
CONTEXT = ["context", "mr.tsv", "--context", "c.tsv", "--out", "new", "--folds", "0", "--shape", "linear"]
MEME = "MEME version 4\n\nMOTIF Sox2\nletter-probability matrix: alength= 4 w= 4\n"
ROW = "0.97 0.01 0.01 0.01\n"
Change = Callable[[Path], list[str] | None]
CONTEXTS: list[tuple[str, str, int, frozenset[str], Change]] = []


def case(name: str, says: str, *, code: int = 3) -> Callable[[Change], Change]:
    """Register a function that spoils a folder; where it returns no command, that is `CONTEXT`."""

    def register(change: Change) -> Change:
        CONTEXTS.append((name, says, code, frozenset(), lambda folder: change(folder) or CONTEXT))
        return change

    return register


def write(folder: Path, **columns: object) -> None:
    """Write effects of loci, and a table of their contexts with some columns replaced."""
    rng = np.random.default_rng(0)
    loci = [f"l{k}" for k in range(N)]
    effects = {"locus": loci, "exposure": "Sox2", "outcome": "Nanog", "beta": rng.normal(size=N), "se": 0.1}
    pd.DataFrame(effects).to_csv(folder / "mr.tsv", sep="\t", index=False)
    table = pd.DataFrame({"locus": loci, "gap": rng.integers(10, 90, N), "gc": rng.uniform(0.3, 0.6, N).round(3)})
    table.assign(**columns).to_csv(folder / "c.tsv", sep="\t", index=False)


@case("features: a motif that is not in the file", "m.meme has no motif 'Sox'; it has 1; did you mean 'Sox2'")
def _(folder):
    (folder / "m.meme").write_text(MEME + 4 * ROW)
    return [*FEATURES, "--motif", "Sox"]


@case("features: a pair without its second motif", "--pairs Sox2:Oct4: there is no motif 'Oct4'")
def _(folder):
    (folder / "m.meme").write_text(MEME + 4 * ROW)
    return [*FEATURES, "--pairs", "Sox2:Oct4"]


@case("features: a motif longer than the loci", "motif 'Sox2' has 50 positions; the loci have 40 bases")
def _(folder):
    (folder / "m.meme").write_text(MEME.replace("w= 4", "w= 50") + 50 * ROW)
    return FEATURES


@case("features: a threshold that is no P value", "threshold of P values must be above 0 and below 1; got 2")
def _(folder):
    (folder / "m.meme").write_text(MEME + 4 * ROW)
    return [*FEATURES, "--threshold", "2"]


@case("context: a column misspelt", "c.tsv: no column 'gab' for the context; did you mean 'gap'")
def _(folder):
    write(folder)
    return [*CONTEXT, "--columns", "gab"]


@case("context: a locus twice", "locus 'l0' has more than one row, line 2 and line 13")
def _(folder):
    write(folder, locus=[*(f"l{k}" for k in range(N - 1)), "l0"])


@case("context: text among numbers", "line 3, column 'gap': 'far' is not a finite number")
def _(folder):
    write(folder, gap=[10, "far", *range(N - 2)])


@case("context: a column of results", "column 'f_statistic' is a result of the edits that effects come from")
def _(folder):
    write(folder, f_statistic=30)


@case("context: a table made from edits", "c.tsv: was made from edits, by deepmr seqlets")
def _(folder):
    write(folder)
    (folder / "c.tsv.json").write_text(json.dumps({"command": "seqlets", "inputs": {"effects": {}}}))


@case("context: no context varies", "no context varies over the 12 loci with effects")
def _(folder):
    write(folder, gap=50, gc=0.5)


@case("context: loci of another analysis", "effects of at least 3 loci with contexts are needed; got 0")
def _(folder):
    write(folder, locus=[f"peak{k}" for k in range(N)])


@case("context: a category that the fit has not seen", "'HAP1' was not among the categories .* HepG2, K562$")
def _(folder):
    write(folder, cell=["K562", "HepG2"] * (N // 2))
    (folder / "new.tsv").write_text("locus\tgap\tgc\tcell\nx\t30\t0.5\tHAP1\n")
    return [*CONTEXT, "--predict", "new.tsv"]


@case("context: new loci without a context of the fit", "new.tsv: no column 'gc' for the context")
def _(folder):
    write(folder)
    (folder / "new.tsv").write_text("locus\tgap\nx\t30\n")
    return [*CONTEXT, "--predict", "new.tsv"]


@case("context: MR-Egger of estimates", "--egger starts from instruments: it needs effects of edits")
def _(folder):
    write(folder)
    return [*CONTEXT, "--egger"]
