"""Inverse-variance weighted Mendelian randomization, and its equal-weight form."""

from deepmr.linalg import fit_lines
from deepmr.mr.lines import (
    Distribution,
    Weights,
    cochran,
    equal_weights,
    exposure_of,
    inverse_variances,
    origin_estimates,
    too_few,
    too_few_ratios,
    with_ratio,
)
from deepmr.types import Estimates, Instruments


def ivw(
    instruments: Instruments, *, min_instruments: int = 3, level: float = 0.95, distribution: Distribution = "t"
) -> Estimates:
    """Estimate the causal effect as the equal-weight slope through the origin, sum(x y) / sum(x^2).

    The default method: effects that one ensemble predicts all have about the same error, and weights 1 / se^2 would
    favour the edits on which few members happen to agree.

    Parameters
    ----------
    instruments : one exposure.
    min_instruments : loci with fewer are skipped. With one instrument the estimate is its Wald ratio.
    level : of the confidence interval.
    distribution : of independent errors; see Notes.

    Returns
    -------
    Estimates, with extras `sigma` (residual scale relative to the root mean square of se_outcome), `q` (Cochran's Q
    about the inverse-variance slope), `f_statistic`, and with shared errors `se_sampling` and `se_member`; `q` is then
    that of this slope by `deepmr.mr.scatter.member_scatter`.

    Notes
    -----
    b = sum(x y) / sum(x^2), with sampling variance s^2 / sum(x^2), s^2 = sum (y - b x)^2 / (J - 1), t with J - 1
    degrees of freedom: ordinary least squares. It assumes instruments without direct effect on the outcome on average,
    and errors of equal size.

    Where `error_factors` is given, errors are shared by all instruments, and the instruments' scatter around the line
    cannot show them. A factor with effects f_j on x_j and g_j on y_j then moves b by
    sum_j [x_j (g_j - b f_j) + (y_j - b x_j) f_j] / sum(x^2); the squares of these moves add up to the members' part
    of se^2.

    References
    ----------
    Burgess S, Butterworth A, Thompson SG. Mendelian randomization analysis with multiple genetic variants using
    summarized data. Genet Epidemiol 2013. https://doi.org/10.1002/gepi.21758
    """
    x, _ = exposure_of(instruments)
    weighted = fit_lines(x, instruments.beta_outcome, inverse_variances(instruments), instruments.offsets)
    return origin_estimates(
        "ivw",
        instruments,
        equal_weights(instruments),
        scatter="random",
        distribution=distribution,
        reason=too_few(instruments, max(min_instruments, 1)),
        level=level,
        extra={} if instruments.error_factors is not None else cochran(weighted.residual_ss, weighted.df),
    )


def ivw_fixed(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: Weights = "simple",
) -> Estimates:
    """Estimate the causal effect by inverse-variance weights, taking one effect to underlie all instruments.

    Parameters
    ----------
    instruments : one exposure.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    weights : see `deepmr.mr.lines.inverse_variances`; `delta` leaves out instruments with a zero exposure effect, and
        heeds `error_corr`.

    Returns
    -------
    Estimates, with extras as for `ivw`; `q` and `sigma` belong to this line.

    Notes
    -----
    b = sum(w x y) / sum(w x^2), variance 1 / sum(w x^2), normal. With shared errors the variance is that of the members
    alone: under the fixed-effect assumption there is no other error.

    References
    ----------
    Burgess S, Butterworth A, Thompson SG. Genet Epidemiol 2013. https://doi.org/10.1002/gepi.21758
    """
    used = with_ratio(instruments) if weights == "delta" else instruments
    return origin_estimates(
        "ivw_fixed",
        used,
        inverse_variances(used, weights=weights),
        scatter="fixed",
        distribution="normal",
        reason=too_few_ratios(instruments, used, max(min_instruments, 1)),
        level=level,
    )


def ivw_random(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    weights: Weights = "simple",
    floor: bool = True,
    distribution: Distribution = "normal",
) -> Estimates:
    """Estimate the causal effect by inverse-variance weights with multiplicative random effects.

    Parameters
    ----------
    instruments : one exposure.
    min_instruments : loci with fewer are skipped. With one instrument the estimate is its Wald ratio.
    level : of the confidence interval.
    weights : as for `ivw_fixed`.
    floor : never let a small scatter make the standard error smaller than the fixed-effect one. MendelianRandomization
        and TwoSampleMR's `mr_ivw` do so; TwoSampleMR's `mr_ivw_mre` does not.
    distribution : of independent errors; both packages use the normal.

    Returns
    -------
    Estimates, with extras as for `ivw`; `q` and `sigma` belong to this line.

    Notes
    -----
    The estimate of `ivw_fixed`; its variance times max(1, Q / (J - 1)). With shared errors, se^2 is the scatter's part
    (without a floor) plus the members' part; see `ivw`.

    References
    ----------
    Bowden J et al. A framework for the investigation of pleiotropy in two-sample summary data Mendelian randomization.
    Stat Med 2017. https://doi.org/10.1002/sim.7221
    """
    used = with_ratio(instruments) if weights == "delta" else instruments
    return origin_estimates(
        "ivw_random",
        used,
        inverse_variances(used, weights=weights),
        scatter="floored" if floor else "random",
        distribution=distribution,
        reason=too_few_ratios(instruments, used, max(min_instruments, 1)),
        level=level,
    )
