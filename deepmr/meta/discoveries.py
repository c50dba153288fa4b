"""False discoveries among the pairs of traits that are tested together."""

from dataclasses import replace
from typing import Literal

import numpy as np

from deepmr import schema
from deepmr.inference import false_discovery
from deepmr.types import Estimates


def control_discoveries(estimates: Estimates, *, adjust: Literal["bh", "by"] = "bh") -> Estimates:
    """Add the column `fdr`: P values adjusted for the number of pairs, for each method and estimand by itself.

    Parameters
    ----------
    estimates : one row a pair, method and estimand, as pooling makes them.
    adjust : "bh" (Benjamini and Hochberg), or "by" (Benjamini and Yekutieli), whatever the dependence between pairs:
        those of one ensemble share its members, and the two directions of a pair share edits.
    """
    table = estimates.table
    adjusted = np.full(len(table), np.nan)
    for rows in table.groupby(["method", "estimand"], sort=False).indices.values():
        adjusted[rows] = false_discovery(table["pvalue"].to_numpy(float)[rows], method=adjust)
    table = table.assign(fdr=adjusted)
    names = [*schema.ESTIMATES, *(name for name in schema.EXTRA if name in table)]
    return replace(estimates, table=table[names])
