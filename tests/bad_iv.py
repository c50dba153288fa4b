"""The bad input that `deepmr iv` must survive; `bad_input.py` runs it."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from deepmr import cli

N = 300
FIT = ["iv", "fit", "--data", "d.tsv", "--exposure", "bmi", "--outcome", "crp", "--instruments", "v{1..3}"]
TSLS = ["--method", "tsls", "--no-figures", "--out", "fit"]
Change = Callable[[Path], list[str]]
IV: list[tuple[str, str, int, frozenset[str], Change]] = []


def case(name: str, says: str) -> Callable[[Change], Change]:
    """Register a function that spoils a folder and returns the command."""

    def register(change: Change) -> Change:
        IV.append((f"iv: {name}", says, 3, frozenset(), change))
        return change

    return register


def samples() -> pd.DataFrame:
    """Return a table of samples that can be used."""
    rng = np.random.default_rng(0)
    v = rng.binomial(2, 0.3, (N, 3))
    bmi = v.sum(axis=1) + rng.normal(size=N)
    table = pd.DataFrame(v, columns=["v1", "v2", "v3"])
    return table.assign(bmi=bmi, crp=0.5 * bmi + rng.normal(size=N), sex=rng.integers(0, 2, N), case=bmi > 1)


def write(folder: Path, name: str = "d.tsv", **columns: object) -> None:
    """Write the table, some of its columns replaced."""
    samples().assign(**columns).to_csv(folder / name, sep="\t", index=False)


def fitted(folder: Path) -> None:
    """Write the table and a fit to it."""
    write(folder)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        assert cli.execute([*FIT, *TSLS, "--covariates", "sex", "--quiet"]) == 0


def text_in(values: pd.Series) -> pd.Series:
    """Return a column with text in its third row."""
    changed = values.round(3).astype(object)
    changed[2] = "high"
    return changed


@case("a column that is not there", "no column 'crpp'.*did you mean 'crp'")
def _(folder):
    write(folder)
    return [*FIT[:6], "--outcome", "crpp", *FIT[8:], *TSLS]


@case("a range of instruments that is not all there", "no column 'v4' for the instrument")
def _(folder):
    write(folder)
    return [*FIT[:-1], "v{1..4}", *TSLS]


@case("a column with two roles", "has two roles, outcome and covariate")
def _(folder):
    write(folder)
    return [*FIT, "--covariates", "crp", *TSLS]


@case("text among the numbers", "line 4, column 'bmi': 'high' is not a number")
def _(folder):
    write(folder, bmi=text_in(samples()["bmi"]))
    return [*FIT, *TSLS]


@case("an infinite value", "line 2, column 'crp'")
def _(folder):
    write(folder, crp=samples()["crp"].where(np.arange(N) > 0, np.inf))
    return [*FIT, *TSLS]


@case("an exposure that is constant", "bmi must vary")
def _(folder):
    write(folder, bmi=27.0)
    return [*FIT, *TSLS]


@case("an instrument that is constant", "'v2' must vary")
def _(folder):
    write(folder, v2=0)
    return [*FIT, *TSLS]


@case("a binary outcome of one category", "crp must vary")
def _(folder):
    write(folder, crp=1)
    return [*FIT, "--outcome-type", "binary", *TSLS]


@case("a binary outcome of other numbers", "0 or 1")
def _(folder):
    write(folder)
    return [*FIT, "--outcome-type", "binary", *TSLS]


@case("instruments that a covariate determines", "vary apart from the covariates")
def _(folder):
    write(folder, v=samples()["v1"] * 2)
    return [*FIT[:-1], "v1", "--covariates", "v", *TSLS]


@case("a column without any value", "no row is complete")
def _(folder):
    write(folder, sex="")
    return [*FIT, "--covariates", "sex", *TSLS]


@case("a header alone", "has no rows")
def _(folder):
    (folder / "d.tsv").write_text("v1\tv2\tv3\tbmi\tcrp\n")
    return [*FIT, *TSLS]


@case("fewer samples than columns", "need more than 4 samples")
def _(folder):
    samples().head(3).to_csv(folder / "d.tsv", sep="\t", index=False)
    return [*FIT, *TSLS]


@case("a weight that is not positive", "column 'weight'")
def _(folder):
    write(folder, weight=np.where(np.arange(N) == 5, 0.0, 1.0))
    return [*FIT, "--weight", "weight", *TSLS]


@case("a table that is not there", "cannot be read")
def _(folder):
    return [*FIT, *TSLS]


@case("genotypes that are not there", "panel.bim")
def _(folder):
    write(folder, iid=np.arange(N))
    return [*FIT, "--genotypes", "panel", "--sample-id", "iid", *TSLS]


@case("a method misspelt", "did you mean 'sieve'")
def _(folder):
    write(folder)
    return [*FIT, "--method", "seive", "--out", "fit"]


@case("an option that the method does not have", "did you mean 'n_functions'")
def _(folder):
    write(folder)
    return [*FIT, "--options", "n_function=12", "--method", "sieve", "--out", "fit"]


@case("an option that is no number", "n_functions of sieve must be int")
def _(folder):
    write(folder)
    return [*FIT, "--options", "n_functions=many", "--method", "sieve", "--out", "fit"]


@case("a continuous outcome, and a method for binary ones", "needs a binary outcome")
def _(folder):
    write(folder)
    return [*FIT, "--method", "logistic_control_function", "--no-figures", "--out", "fit"]


@case("a folder that has a fit already", "overwrite")
def _(folder):
    fitted(folder)
    return [*FIT, *TSLS]


@case("evaluation of a folder that is no fit", "not a fit")
def _(folder):
    (folder / "other").mkdir()
    return ["iv", "evaluate", "other"]


@case("evaluation of a fit whose arrays were changed", "arrays.safetensors")
def _(folder):
    fitted(folder)
    path = folder / "fit" / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    return ["iv", "evaluate", "fit"]


@case("a true function that is more than arithmetic", "is not arithmetic in x")
def _(folder):
    fitted(folder)
    return ["iv", "evaluate", "fit", "--true-function", "__import__('os').getcwd()"]


@case("a condition on a covariate that the fit does not have", "did you mean 'sex'")
def _(folder):
    fitted(folder)
    return ["iv", "evaluate", "fit", "--given", "sexx=1"]


@case("a key that no fit has", "no fit has 'nothing_such'")
def _(folder):
    fitted(folder)
    return ["iv", "evaluate", "fit", "--meta-keys", "nothing_such"]


SWEEP = """
[sweep]
method = "sieve"
[dataset]
file = "d.tsv"
exposure = "bmi"
outcome = "crp"
instruments = "v{1..3}"
[[parameters]]
"""


@case("a sweep of an option that the method does not have", "did you mean 'n_functions'")
def _(folder):
    write(folder)
    (folder / "s.toml").write_text(SWEEP + 'name = "n_function"\nsampler = "list"\nvalues = [5, 10]\n')
    return ["iv", "sweep", "s.toml"]


@case("a sweep that draws, without a number of runs", "max_runs")
def _(folder):
    write(folder)
    (folder / "s.toml").write_text(SWEEP + 'name = "n_functions"\nsampler = "integer"\nlow = 5\nhigh = 10\n')
    return ["iv", "sweep", "s.toml"]
