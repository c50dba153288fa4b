"""Medians and modes against R: estimates to the last digits, bootstrap standard errors within their own error."""

import numpy as np
import pytest

from deepmr.mr.median import median_penalised, median_simple, median_weighted
from deepmr.mr.mode import mode_penalised, mode_simple, mode_weighted
from tests.oracle.reference import CLOSED, ROWS, agree, only, options, values

MEDIANS = {
    "simple": median_simple,
    "weighted": median_weighted,
    "penalized": median_penalised,
    "mr_simple_median": median_simple,
    "mr_weighted_median": lambda i, **k: median_weighted(i, weights="second", **k),
    "mr_penalised_weighted_median": lambda i, **k: median_penalised(i, weights="second", **k),
}
MODES = {
    **{"unweighted": mode_simple, "weighted": mode_weighted},
    **{"Simple": mode_simple, "Weighted": mode_weighted, "Penalised": mode_penalised},
}


def some(*methods):
    chosen = [r for r in ROWS if r["method"] in methods]
    assert chosen
    return pytest.mark.parametrize("row", chosen, ids=lambda r: f"{r['dataset']}-{r['method']}-{r['options']}")


def check(ours, theirs, drawn):
    """Both estimates are equal; standard errors are of `drawn` draws there and 1000 here."""
    agree(ours, theirs, {"est": "beta", "b": "beta", "nsnp": "n"}, CLOSED)
    if "se" in theirs:
        assert ours["se"] == pytest.approx(theirs["se"], rel=4 / np.sqrt(2 * drawn) + 4 / np.sqrt(2000))


@some("median", "mr_simple_median", "mr_weighted_median", "mr_penalised_weighted_median")
def test_medians(row, instruments):
    chosen, theirs = options(row), values(row)
    method = MEDIANS[chosen.get("weighting", row["method"])]
    drawn = int(chosen.get("iterations", chosen.get("nboot", 0)))
    ours = only(method(instruments, n_boot=1000 if "se" in theirs else 2))
    check(ours, theirs, drawn or 1000)


@some("mbe", "mr_mode")
def test_modes(row, instruments):
    chosen, theirs = options(row), values(row)
    if row["method"] == "mbe":
        method, error = MODES[chosen["weighting"]], chosen["stderror"]
    else:
        method = MODES[row["options"].split()[0]]
        error = "simple" if "NOME" in row["options"] else "delta"
    drawn = int(chosen.get("iterations", chosen.get("nboot", 0)))
    common = {"phi": float(chosen["phi"]), "ratio_error": error, "n_boot": 1000 if "se" in theirs else 2}
    ours = only(method(instruments, grid="r", **common))
    # A median absolute deviation is less exact than a standard deviation: as if of 0.37 times as many draws.
    check(ours, theirs, 0.37 * (drawn or 300))
    exact = only(method(instruments, **{**common, "n_boot": 2}))
    x, y = instruments.beta_exposure[:, 0], instruments.beta_outcome
    ratio = y / x
    mad = 1.4826 * np.median(np.abs(ratio - np.median(ratio)))
    h = common["phi"] * 0.9 * min(ratio.std(ddof=1), mad) / len(x) ** 0.2
    assert abs(exact["beta"] - ours["beta"]) < (np.ptp(ratio) + 6 * h) / 511  # one step of R's grid
