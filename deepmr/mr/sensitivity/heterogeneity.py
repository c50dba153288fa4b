"""Heterogeneity of the instruments' ratios: Q and I2 of IVW and of MR-Egger, Rucker's difference, the intercept."""

import numpy as np

from deepmr.inference import chi2_tail, i_squared
from deepmr.mr.egger import egger
from deepmr.mr.ivw import ivw_fixed
from deepmr.mr.sensitivity.findings import Findings, by_locus
from deepmr.types import Estimates, Instruments


def heterogeneity(instruments: Instruments, *, min_instruments: int = 3, significance: float = 0.05) -> Findings:
    """Test whether instruments scatter more than their errors explain, and whether an intercept takes it up.

    Parameters
    ----------
    instruments : one exposure.
    min_instruments : loci with fewer are skipped; never below 3.
    significance : level of the tests by which Rucker's rule chooses a model.

    Returns
    -------
    Findings "heterogeneity", a row a locus.

    Notes
    -----
    Q and Q' are the weighted residual sums of squares about the lines of IVW and MR-Egger, with weights 1 / se_y^2, on
    J - 1 and J - 2 degrees of freedom. Q - Q' is the squared intercept in units of its fixed-effect standard error, on
    one; `intercept_pvalue` is MR-Egger's own test, which allows for the scatter and is the cautious one. The rule: IVW
    with fixed effects unless Q says no; then with random effects unless Q - Q' says no; then MR-Egger, fixed unless Q'
    says no.

    Cochran's Q takes errors as independent and their size as known. Where ensemble members share them, both Q and their
    P values are those of `deepmr.mr.scatter.member_scatter`, I2 follows from them, and the intercept's own test, which
    contains what members share, stands for Q - Q'.

    References
    ----------
    Bowden J et al. A framework for the investigation of pleiotropy in two-sample summary data Mendelian randomization.
    Stat Med 2017. https://doi.org/10.1002/sim.7221
    """
    line = _by_locus(egger(instruments, min_instruments=min_instruments), instruments)
    origin = _by_locus(ivw_fixed(instruments, min_instruments=min_instruments), instruments)
    q, q_egger = origin["q"], line["q"]
    difference = np.maximum(q - q_egger, 0.0)
    p, p_egger = origin["q_pvalue"], line["q_pvalue"]
    independent = instruments.error_factors is None
    p_difference = chi2_tail(difference, 1.0) if independent else line["intercept_pvalue"]
    calm = np.where(p_egger > significance, "egger_fixed", "egger_random")
    model = np.where(p > significance, "ivw_fixed", np.where(p_difference > significance, "ivw_random", calm))
    return by_locus(
        "heterogeneity",
        instruments,
        {
            "n": instruments.counts,
            **{"q_ivw": q, "q_ivw_df": origin["q_df"], "q_ivw_pvalue": p, "i2_ivw": i_squared(q, origin["q_df"])},
            **{"q_egger": q_egger, "q_egger_df": line["q_df"], "q_egger_pvalue": p_egger},
            "i2_egger": i_squared(q_egger, line["q_df"]),
            **{"q_difference": difference, "q_difference_pvalue": p_difference},
            **{name: line[name] for name in ("intercept", "intercept_se", "intercept_pvalue")},
            "model": model,
        },
        reason=line["reason"],
    )


def _by_locus(estimates: Estimates, instruments: Instruments) -> dict[str, np.ndarray]:
    """Return columns of estimates with a place for every locus (1 where there is none), and why there is none."""
    place = {locus: i for i, locus in enumerate(instruments.loci)}
    rows = estimates.table["locus"].map(place).to_numpy(int)
    found = {}
    for name in ("q", "q_df", "q_pvalue", "intercept", "intercept_se", "intercept_pvalue"):
        if name in estimates.table:
            found[name] = np.ones(len(place))
            found[name][rows] = estimates.table[name].to_numpy(float)
    reason = np.full(len(place), "", dtype=object)
    reason[estimates.skipped["locus"].map(place).to_numpy(int)] = estimates.skipped["reason"].to_numpy(object)
    return found | {"reason": reason}
