"""Which contexts do coefficients vary with? A test of each context, adjusted for there being several."""

from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks
from deepmr.contexts import ContextData
from deepmr.contextual.context_kernels import KERNELS, context_columns, nuisance_columns
from deepmr.contextual.heterogeneity import Deviations, score_test, tested_columns
from deepmr.contextual.null_models import Calibration
from deepmr.contextual.scaling import scale_contexts
from deepmr.errors import InputError
from deepmr.inference import false_discovery

Adjust = Literal["holm", "bh", "none"]
COLUMNS = ("context", "coefficient", "outcome", "pvalue", "adjusted", "kernel", "reason")


def context_tests(
    data: ContextData,
    *,
    adjust: Adjust = "holm",
    given_others: bool = False,
    by_predictor: bool = False,
    which: str = "slopes",
    deviations: Deviations = "auto",
    calibration: Calibration = "exact",
    n_draws: int = 1999,
    seed: int = 0,
) -> pd.DataFrame:
    """Test each context for whether coefficients vary with it.

    Parameters
    ----------
    data : samples.
    adjust : for all tests of the table: `holm` bounds the chance of any false finding, `bh` the share of false ones.
    given_others : whether coefficients may vary with the other contexts under the null, so that a context which only
        goes along with one that matters is not found, and one beside another that matters more is. They vary linearly,
        and with squares where samples allow.
    by_predictor : whether each predictor is tested on its own; the slopes of the others may vary under the null.
    which, deviations, calibration, n_draws, seed : as in `heterogeneity.heterogeneity_test`.

    Returns
    -------
    One row a context, coefficient and outcome: `pvalue`, `adjusted`, the `kernel` that says most, and a `reason` where
    a context cannot be tested.

    Notes
    -----
    Coefficients that are not tested may vary smoothly with all contexts, as far as samples allow.
    """
    checks.one_of("adjust", adjust, get_args(Adjust))
    scaling = scale_contexts(data)
    z = scaling(data.contexts)
    names = [data.context_names[k] for k in scaling.used]
    coefficients = list(data.predictor_names) if by_predictor and data.predictor_names else [which]
    rows: list[dict[Any, Any]] = [
        {"context": name, "coefficient": one, "outcome": outcome, "reason": "does not vary"}
        for name in data.context_names
        if name not in names
        for one in coefficients
        for outcome in data.outcome_names
    ]
    for k, name in enumerate(names):
        columns = {kernel: context_columns(z[:, [k]], kernel) for kernel in KERNELS}
        for one in coefficients:
            tested = tested_columns(data, one)
            try:
                found = score_test(
                    data,
                    columns={kernel: values for kernel, values in columns.items() if values.shape[1]},
                    tested=tested,
                    z=z,
                    nuisance="smooth",
                    deviations=deviations,
                    calibration=calibration,
                    n_draws=n_draws,
                    seed=seed,
                    also=_others(np.delete(z, k, axis=1), len(data), len(tested)) if given_others else None,
                )
            except InputError as error:
                rows += [
                    {"context": name, "coefficient": one, "outcome": outcome, "reason": str(error)}
                    for outcome in data.outcome_names
                ]
                continue
            table = found.to_frame()[["outcome", "pvalue", "kernel"]]
            rows += [{"context": name, "coefficient": one, **row} for row in table.to_dict("records")]
    rows.sort(key=lambda row: data.context_names.index(row["context"]))
    made = pd.DataFrame(rows, columns=list(COLUMNS))
    known = made["reason"].isna()  # all of them missing is a column of numbers to pandas
    made["reason"] = made["reason"].astype(object).where(~known, "")
    made.loc[known, "adjusted"] = adjusted(made.loc[known, "pvalue"].to_numpy(dtype=float), adjust)
    return made.astype({"pvalue": float, "adjusted": float})


def _others(z: Float[np.ndarray, "samples contexts"], n: int, tested: int) -> Float[np.ndarray, "samples functions"]:
    """Return functions of the other contexts: linear in any case, squares where they take no more than a sixth."""
    linear, most = z.shape[1], n // (6 * tested)
    columns = nuisance_columns(z, "linear", linear)
    squares = context_columns(z, "quadratic")
    return np.column_stack([columns, squares]) if linear + squares.shape[1] <= most else columns


def adjusted(pvalues: Float[np.ndarray, "tests"], adjust: Adjust) -> Float[np.ndarray, "tests"]:
    """Return P values adjusted for their number.

    Parameters
    ----------
    pvalues : of one family.
    adjust : as in `context_tests`.

    References
    ----------
    Holm S (1979). Scand J Stat 6:65. https://www.jstor.org/stable/4615733
    """
    if adjust == "none" or not len(pvalues):
        return pvalues
    if adjust == "bh":
        return false_discovery(pvalues)
    order = np.argsort(pvalues)
    grown = np.maximum.accumulate(pvalues[order] * np.arange(len(pvalues), 0, -1))
    made = np.empty(len(pvalues))
    made[order] = np.minimum(grown, 1.0)
    return made
