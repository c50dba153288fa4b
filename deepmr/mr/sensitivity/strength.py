"""How strong the instruments are, and what their weakness does to an estimate."""

import numpy as np
from jaxtyping import Float

from deepmr.inference import i_squared
from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.mr.lines import exposure_of, mean_f, too_few
from deepmr.mr.sensitivity.explained import r_from_beta
from deepmr.mr.sensitivity.findings import Findings, by_locus, home
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
    offsets, f = instruments.offsets, (x / se_x) ** 2
    mean = mean_f(instruments)
    columns: dict[str, np.ndarray] = {
        "n": instruments.counts,
        "f_statistic": mean,
        "f_median": _median(f, instruments),
        "f_min": _lowest(f, instruments),
        "n_weak": segment_sum((f < WEAK).astype(float), offsets).astype(int),
        "relative_bias": np.minimum(divide(np.ones_like(mean), mean, otherwise=1.0), 1.0),
        "i2_gx": i2_gx(instruments),
        "i2_gx_unweighted": i2_gx(instruments, weighted=False),
    }
    if instruments.n is not None:
        r = r_from_beta(x, se_x, instruments.n[:, 0].astype(float))
        columns["r2_exposure"] = segment_sum(r**2, offsets)
    return by_locus("strength", instruments, columns, reason=too_few(instruments, 1))


def i2_gx(instruments: Instruments, *, weighted: bool = True) -> Float[np.ndarray, "loci"]:
    """Return I2 of the exposure effects, 1 less the dilution of MR-Egger's slope.

    Parameters
    ----------
    weighted : in units of se_outcome (as MendelianRandomization), or as they are (as TwoSampleMR).
    """
    x, se_x = exposure_of(instruments)
    unit = instruments.se_outcome if weighted else np.ones_like(x)
    size, se = np.abs(x) / unit, se_x / unit
    weights, offsets = se**-2, instruments.offsets
    mean = divide(segment_sum(weights * size, offsets), segment_sum(weights, offsets), otherwise=0.0)
    q = segment_sum(weights * (size - segment_repeat(mean, offsets)) ** 2, offsets)
    return i_squared(q, instruments.counts - 1.0)


def _sorted(values: Float[np.ndarray, "rows"], instruments: Instruments) -> Float[np.ndarray, "rows"]:
    return values[np.lexsort((values, home(instruments)))]


def _median(values: Float[np.ndarray, "rows"], instruments: Instruments) -> Float[np.ndarray, "loci"]:
    found = np.full(len(instruments.loci), np.nan)
    counts, starts = instruments.counts, instruments.offsets[:-1]
    full = counts > 0
    ranked = _sorted(values, instruments)
    found[full] = (ranked[(starts + (counts - 1) // 2)[full]] + ranked[(starts + counts // 2)[full]]) / 2
    return found


def _lowest(values: Float[np.ndarray, "rows"], instruments: Instruments) -> Float[np.ndarray, "loci"]:
    found = np.full(len(instruments.loci), np.nan)
    full = instruments.counts > 0
    found[full] = _sorted(values, instruments)[instruments.offsets[:-1][full]]
    return found
