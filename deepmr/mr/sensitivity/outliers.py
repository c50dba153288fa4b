"""Instruments that lie further from the line than chance allows."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from deepmr.inference import chi2_tail, two_sided
from deepmr.linalg import fit_lines, segment_repeat
from deepmr.mr.lines import exposure_of, oriented, too_few, too_few_ratios, with_ratio
from deepmr.mr.presso import presso_outliers
from deepmr.mr.radial import RadialWeights, radial_weights
from deepmr.mr.sensitivity.findings import Findings, home, ordered, skipped_rows
from deepmr.types import Instruments


def q_outliers(
    instruments: Instruments,
    *,
    weights: RadialWeights = "first",
    intercept: bool = False,
    significance: float = 0.05,
    correction: Literal["bonferroni", "none"] = "bonferroni",
    min_instruments: int = 3,
) -> Findings:
    """Find instruments whose part of Cochran's Q is too large for chance.

    Parameters
    ----------
    instruments : one exposure; those with an exposure effect of exactly zero are left out.
    weights : inverse variances of the outcome effects: of `first` order, 1 / se_y^2, or with the error of the exposure
        effect, as for `deepmr.mr.radial.ivw_radial`; with an intercept not `iterative`.
    intercept : about the line of radial MR-Egger instead of the line through the origin.
    significance : level of the test.
    correction : for the number of instruments of the locus; RadialMR leaves it to its user.
    min_instruments : loci with fewer are skipped.

    Returns
    -------
    Findings "outliers", a row an instrument.

    Notes
    -----
    Q_j = w_j (y_j - b x_j)^2 about the inverse-variance line of all instruments, chi-square with one degree of freedom:
    RadialMR's outliers. A strong outlier draws the line towards itself and hides
    others, so look again after leaving it out. Where standard errors come from K ensemble members, Student's t with
    K - 1 degrees of freedom takes the place of chi-square. An outlier is an instrument to understand, not one to
    delete unseen.

    References
    ----------
    Bowden J et al. Improving the visualization, interpretation and analysis of two-sample summary data Mendelian
    randomization via the Radial plot and Radial regression. Int J Epidemiol 2018. https://doi.org/10.1093/ije/dyy101
    """
    used = oriented(with_ratio(instruments))
    x, _ = exposure_of(used)
    root = np.sqrt(radial_weights(used, weights, intercept=intercept))
    fit = fit_lines(root * x, root * used.beta_outcome, np.ones_like(x), used.offsets, intercept=intercept)
    q = fit.residual**2
    shared = used.error_factors
    if shared is None:
        pvalue = chi2_tail(q, 1.0)
    else:
        pvalue = two_sided(np.sqrt(q), np.ones_like(q), df=float(max(len(shared) - 1, 1)))
    tests = segment_repeat(np.maximum(used.counts, 1).astype(float), used.offsets)
    level = significance / tests if correction == "bonferroni" else np.full_like(tests, significance)
    needed = max(min_instruments, 3 if intercept else 2)
    reason = np.asarray(too_few_ratios(instruments, used, needed), dtype=object)
    place = home(used)
    table = pd.DataFrame(
        {
            "method": "q" if weights == "first" else "radial",
            "exposure": used.exposure,
            "outcome": used.outcome,
            "locus": np.asarray(used.loci, dtype=object)[place],
            "variant_id": used.variants["variant_id"].to_numpy(object),
            **{"q": q, "pvalue": pvalue, "outlier": pvalue < level},
        }
    )
    kept = table[(reason == "")[place]].reset_index(drop=True)
    return Findings(
        analysis="outliers", table=ordered("outliers", kept), skipped=skipped_rows("outliers", used, reason)
    )


def outlier_findings(method: str, instruments: Instruments, table: pd.DataFrame) -> Findings:
    """Return the table of another test for outliers as findings.

    Parameters
    ----------
    method : name of the test.
    instruments : one exposure.
    table : a row an instrument, in their order: columns pvalue (empty where the locus has too few instruments) and
        outlier; q where there is one.
    """
    place = home(instruments)
    tested = table["pvalue"].notna().to_numpy(bool)
    frame = table.reset_index(drop=True).assign(
        method=method,
        exposure=instruments.exposure,
        outcome=instruments.outcome,
        locus=np.asarray(instruments.loci, dtype=object)[place],
        variant_id=instruments.variants["variant_id"].to_numpy(object),
        outlier=table["outlier"].to_numpy(bool),
    )
    done = np.bincount(place[tested], minlength=len(instruments.loci)) > 0
    reason = np.asarray(too_few(instruments, 3), dtype=object)
    reason[(reason == "") & ~done] = "the test has no answer"
    return Findings(
        analysis="outliers",
        table=ordered("outliers", frame[tested].reset_index(drop=True)),
        skipped=skipped_rows("outliers", instruments, np.where(done, "", reason)),
    )


def presso_test(instruments: Instruments) -> Findings:
    """Find instruments too far from what the others predict: MR-PRESSO's test, `deepmr.mr.presso.presso_outliers`."""
    return outlier_findings("presso", instruments, presso_outliers(instruments))


def radial_test(instruments: Instruments) -> Findings:
    """Find instruments far from the line where the errors of both effects count: `q_outliers` by modified weights."""
    return q_outliers(instruments, weights="modified")


# Tests for outliers by name: each takes instruments and returns findings "outliers".
OUTLIER_TESTS: dict[str, Callable[..., Findings]] = {"q": q_outliers, "radial": radial_test, "presso": presso_test}
USUAL_TESTS = ("q", "presso")  # `radial` differs from `q` where instruments are weak alone
