"""The coarsest of tests: whether instruments that raise the exposure raise the outcome."""

import numpy as np
from scipy import stats

from deepmr.linalg import segment_sum
from deepmr.mr.lines import exposure_of
from deepmr.mr.sensitivity.findings import Findings, by_locus
from deepmr.types import Instruments


def sign_concordance(instruments: Instruments, *, min_instruments: int = 6) -> Findings:
    """Test whether effects on exposure and outcome have the same sign more or less often than chance makes them.

    Parameters
    ----------
    instruments : one exposure. An effect of exactly zero has no sign and is left out.
    min_instruments : loci with fewer that have signs are skipped; from 6 on the test can reject at 5 %.

    Returns
    -------
    Findings "signs", a row a locus.

    Notes
    -----
    `concordance` is the share of equal signs less that of opposite ones, -1 to 1: a direction, not an effect. The P
    value is that of the exact two-sided binomial test of one half, as in mr_sign of TwoSampleMR. It heeds no sizes, so
    that no single instrument decides it, and takes instruments as independent: errors that ensemble members share break
    it.
    """
    x, _ = exposure_of(instruments)
    product = np.sign(x) * np.sign(instruments.beta_outcome)
    n, agreeing = (segment_sum(part.astype(float), instruments.offsets) for part in (product != 0, product > 0))
    further = np.maximum(agreeing, n - agreeing)
    needed = max(min_instruments, 1)
    return by_locus(
        "signs",
        instruments,
        {
            "n": n.astype(int),
            "n_agreeing": agreeing.astype(int),
            "concordance": 2 * agreeing / np.maximum(n, 1.0) - 1,
            "pvalue": np.minimum(1.0, 2 * stats.binom.sf(further - 1, n, 0.5)),
        },
        reason=[
            "" if count >= needed else f"needs at least {needed} instruments with signs; has {int(count)}"
            for count in n
        ],
    )
