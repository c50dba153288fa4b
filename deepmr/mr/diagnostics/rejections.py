"""At how many loci instruments scatter more than their errors explain, against what chance alone gives."""

import numpy as np
import pandas as pd
from scipy import stats

from deepmr.mr.diagnostics.declared import declared
from deepmr.mr.ivw import ivw
from deepmr.types import Instruments


def rejections(instruments: Instruments, *, nominal: float = 0.05, min_instruments: int = 3) -> pd.DataFrame:
    """Count the loci whose test of scatter about the equal-weight line rejects.

    Parameters
    ----------
    instruments : of one exposure.
    nominal : level of the test at each locus.
    min_instruments : loci with fewer have no test.

    Returns
    -------
    Table "rejections" of `schema.DIAGNOSTICS`, one row; rate 0 to 1 where there is no locus.

    Notes
    -----
    With errors that members share the test is `deepmr.mr.scatter`'s, elsewhere Cochran's Q. The interval of the rate
    takes loci as independent, which shared errors contradict: it is a little too narrow.
    """
    table = ivw(instruments, min_instruments=max(min_instruments, 2)).table
    pvalue = table["q_pvalue"].to_numpy(float) if len(table) else np.zeros(0)
    pvalue = pvalue[np.isfinite(pvalue)]
    n, k = len(pvalue), int((pvalue < nominal).sum())
    low = float(stats.beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(stats.beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    row = {
        "exposure": instruments.exposure,
        "outcome": instruments.outcome,
        "n": n,
        "n_rejected": k,
        "rate": k / n if n else 0.0,
        "rate_low": low,
        "rate_high": high,
        "nominal": nominal,
    }
    return declared("rejections", pd.DataFrame([row]))
