"""How strong the instruments are, and what their weakness does to an estimate."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from jaxtyping import Float

from deepmr.linalg import divide, segment_sum
from deepmr.mr.egger import i2_gx
from deepmr.mr.lines import WEAK, exposure_of, mean_f, oriented, too_few
from deepmr.mr.penalties import medians
from deepmr.mr.sensitivity.explained import r_from_beta
from deepmr.mr.sensitivity.findings import Findings, by_locus
from deepmr.mr.sensitivity.phrases import listed, number, trait
from deepmr.types import Instruments

FOR_WEAK = ("raps", "debiased_ivw")  # what to read where instruments are weak, and where members share errors too
FOR_WEAK_SHARED = ("profile_score", "debiased_gls")


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


def are_weak(instruments: Instruments) -> bool:
    """Say whether the mean F statistic is below 10; of several loci, that of the middle one."""
    found = mean_f(instruments)[instruments.counts > 0]
    return len(found) > 0 and float(np.median(found)) < WEAK


def read_instead(run: Collection[str], lead: str, *, shared: bool = False) -> str:
    """Return what to read where instruments are weak, "raps and debiased_ivw in place of ivw_random".

    Parameters
    ----------
    run : the methods that have an estimate.
    lead : the one that leads.
    shared : whether ensemble members share errors.
    """
    fit = FOR_WEAK_SHARED if shared else FOR_WEAK
    there = [name for name in fit if name in run]
    spared = next((name for name in ("ivw_random", "ivw", "ivw_fixed") if name in run), "IVW") if lead in fit else lead
    return f"{listed(there) if there else ' or '.join(fit) + ', which were not run,'} in place of {spared}"


def exposure_errors_count(instruments: Instruments) -> bool:
    """Return whether errors of the exposure effects matter: for they are large, or correlate with those of the outcome.

    Parameters
    ----------
    instruments : one exposure.
    """
    return are_weak(instruments) or (instruments.error_corr is not None and instruments.error_factors is None)


def weak_pairs(pairs: Sequence[Instruments], run: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each pair of traits whose instruments are weak.

    Parameters
    ----------
    pairs : of one exposure each.
    run : methods that were run on weak instruments.
    """
    lead = next((name for name in run if name not in FOR_WEAK), "IVW")
    for pair in pairs:
        if are_weak(pair):
            f = number(float(np.median(mean_f(pair)[pair.counts > 0])))
            yield (
                f"{trait(pair.exposure)} and {trait(pair.outcome)}: instruments are weak, mean F {f} (below {WEAK:g}): "
                f"read {read_instead(run, lead, shared=pair.error_factors is not None)}"
            )


def _lowest(values: Float[np.ndarray, "rows"], instruments: Instruments) -> Float[np.ndarray, "loci"]:
    found = np.full(len(instruments.loci), np.nan)
    full = instruments.counts > 0
    if full.any():
        found[full] = np.minimum.reduceat(values, instruments.offsets[:-1][full])
    return found
