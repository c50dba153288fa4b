"""Estimates of one pair of traits, made by hand."""

import numpy as np
import pandas as pd

from deepmr import schema
from deepmr.types import Estimates


def studies(beta, se, *, factors=None, exposure="a", **columns):
    """Estimates of one pair of traits; `se` is the whole standard error."""
    beta = np.asarray(beta, dtype=float)
    frame = pd.DataFrame(dict.fromkeys(schema.ESTIMATES, "ivw"), index=range(len(beta)))
    estimand = "population" if factors is None else "model"
    frame = frame.assign(exposure=exposure, outcome="b", estimand=estimand, locus=[f"l{i}" for i in range(len(beta))])
    frame = frame.assign(beta=beta, se=se, ci_low=beta, ci_high=beta, pvalue=0.5, n=5, **columns)
    return Estimates(table=frame, error_factors=factors)
