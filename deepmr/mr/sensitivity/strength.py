"""How strong the instruments are, and what their weakness does to an estimate."""

import numpy as np
from jaxtyping import Float

from deepmr.linalg import divide, segment_sum
from deepmr.mr.egger import i2_gx
from deepmr.mr.lines import exposure_of, mean_f, oriented, too_few
from deepmr.mr.penalties import medians
from deepmr.mr.sensitivity.explained import r_from_beta
from deepmr.mr.sensitivity.findings import Findings, by_locus
from deepmr.types import Instruments

WEAK = 10.0  # F statistics below it are called weak


def strength(instruments: Instruments) -> Findings:
    """Measure how well the instruments' effects on the exposure are known.

    Parameters
    ----------
    instruments : one exposure.

    Returns
    -------
    Findings "strength", a row a locus that has instruments; `r2_exposure` only where sample sizes are known.

    Notes
    -----
    F_j = (x_j / se_x)^2. With separate samples, errors of the exposure effects pull IVW towards 0 by about 1 / mean F
    of the effect; with one shared sample they pull it towards the confounded association by as much. I2_GX plays that
    part for MR-Egger: its slope shrinks by 1 - I2_GX. Instruments that were chosen for their strength in these very
    data look stronger than they are.

    References
    ----------
    Bowden J et al. Assessing the suitability of summary data for two-sample Mendelian randomization analyses using
    MR-Egger regression: the role of the I2 statistic. Int J Epidemiol 2016. https://doi.org/10.1093/ije/dyw220
    """
    x, se_x = exposure_of(instruments)
    offsets, f, turned = instruments.offsets, (x / se_x) ** 2, oriented(instruments)
    mean = mean_f(instruments)
    columns: dict[str, np.ndarray] = {
        "n": instruments.counts,
        "f_statistic": mean,
        "f_median": medians(f, offsets),
        "f_min": _lowest(f, instruments),
        "n_weak": segment_sum((f < WEAK).astype(float), offsets).astype(int),
        "relative_bias": np.minimum(divide(np.ones_like(mean), mean, otherwise=1.0), 1.0),
        "i2_gx": i2_gx(turned),
        "i2_gx_unweighted": i2_gx(turned, weighted=False),
    }
    if instruments.n is not None:
        r = r_from_beta(x, se_x, instruments.n[:, 0].astype(float))
        columns["r2_exposure"] = segment_sum(r**2, offsets)
    return by_locus("strength", instruments, columns, reason=too_few(instruments, 1))


def _lowest(values: Float[np.ndarray, "rows"], instruments: Instruments) -> Float[np.ndarray, "loci"]:
    found = np.full(len(instruments.loci), np.nan)
    full = instruments.counts > 0
    if full.any():
        found[full] = np.minimum.reduceat(values, instruments.offsets[:-1][full])
    return found
