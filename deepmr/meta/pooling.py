"""Random-effects meta-analysis: from one effect a locus to a mean over loci and its spread."""

from deepmr.meta.evidence import Weighting, whole
from deepmr.meta.grouping import assemble, grouped
from deepmr.meta.kernel import Interval, Prediction, check_options, chosen_prediction, chosen_weights, pool_groups
from deepmr.meta.tau2 import Tau2
from deepmr.types import Estimates


def pool_estimates(
    estimates: Estimates,
    *,
    tau2: Tau2 = "REML",
    ci: Interval = "HK",
    weights: Weighting = "auto",
    prediction: Prediction = "auto",
    level: float = 0.95,
) -> Estimates:
    """Pool the effects of loci by random-effects meta-analysis, for each method, pair of traits and estimand.

    Parameters
    ----------
    estimates : one row a locus; rows that are themselves pooled may be pooled again.
    tau2 : estimator of the variance between loci: restricted maximum likelihood, maximum likelihood, DerSimonian-Laird,
        Paule-Mandel (the same as empirical Bayes, EB), its median-unbiased form PMM, Hedges, Hunter-Schmidt (HSk: with
        its small-sample factor), Sidik-Jonkman, the generalised Q with weights 1 / se; or EE, equal effects: none.
    ci : interval of the mean: `normal`; `t`, the same with t(k - 1); `HK`, Hartung and Knapp's with t(k - 1);
        `HK_adhoc`, the same but never with a standard error below the normal one's; `HK_ci`, the normal one where that
        is wider than HK's; `HK_IQWiG6`, as HK_adhoc where HK's is narrower than the normal one of DerSimonian and
        Laird; `KR`, Kenward and Roger's (REML and inverse variances only).
    weights : `equal`, the plain mean over loci; `inverse_variance`, 1 / (tau2 + variance of the locus); `auto`: equal
        for effects of an ensemble (estimand model or calibrated), where larger effects are less certain and inverse
        variances, which favour the small ones, leave a bias; inverse variances if any effect is of a population, or
        an interval of Kenward and Roger needs them.
    prediction : of the effect at a new locus: `auto`, `ensemble` for effects in a model or calibrated whose errors
        members or labels share, `HTS` for all others; `ensemble`, see Notes; `HTS`, t(k - 2) (Higgins, Thompson and
        Spiegelhalter); `V`, t(k - 1); `S`, normal; `HK`, t(k - 1) with Hartung and Knapp's standard error of the mean
        (the larger one under `HK_adhoc`); `KR`, with Kenward and Roger's; `HK_PR`, `KR_PR`, with one degree of freedom
        less.
    level : of every interval, between 0 and 1.

    Returns
    -------
    Estimates
        Locus `*`, the number of loci in `n`. `ci_low`, `ci_high` say where the **mean** effect over loci lies; they
        shrink as loci are added. `pi_low`, `pi_high` say where the effect at a **new locus** lies; they do not shrink
        to nothing. `tau2` is the variance of effects between loci, with its Q-profile interval `tau2_low`, `tau2_high`:
        the mean -+ 2 sqrt(tau2) spans most **loci** and is neither of the two intervals.

        Extras besides: `q`, `q_df`, `q_pvalue`, `h` and `i2` with their intervals (from Q), `i2_tau2` (from tau2),
        `tau2_se`, `beta_fixed`, `se_fixed`, `df`, `n_skipped`, and with shared errors `se_sampling` and `se_member`.
        One locus alone is returned as it is; two have no `HTS` prediction. Equal effects have no tau2 interval and
        no prediction.

    Raises
    ------
    InputError : on an unknown option, or a locus that is there twice.

    Notes
    -----
    Without shared errors: the model b_i ~ N(mu, tau2 + se_i^2), independent. A se_i of 0 counts as very small.

    With `error_factors` F (one row a member), all loci carry errors of the same members, which no number of loci
    averages out: b_i = mu + u_i + m_i + e_i, with var(u) = tau2, cov(m) = F'F, and var(e_i) = s_i^2 what this leaves of
    se_i^2. Then:

    - Weights, tau2 and Q take the within-locus variance v_i = s_i^2 + d_i^2, where d_i^2 adds (F_ki - mean F_k)^2 over
      members. A move that a member makes at all loci alike shows in no difference between loci, so the whole of
      se_i^2 would explain away real heterogeneity; s_i^2 alone would count locus-specific member error as
      heterogeneity. With v_i, Q has the right expectation although member errors are correlated. Since a few members
      estimate d_i^2 poorly, and weights that follow the noise inflate Q and tau2, the d_i^2 are moderated over loci
      (`deepmr.inference.moderate_variances`).
    - s_i is `se_sampling` where the table has it (else what F'F leaves of se_i^2): the interval of a locus may hold the
      members' part moderated over loci, which is no sum of squares of F.
    - The variance of the mean, with weights w adding up to 1, is sum w_i^2 (s_i^2 + tau2) + sum_k (sum_i w_i F_ki)^2.
      The first part is Hartung and Knapp's under `HK`; that one sees the locus-specific member error too, which then
      counts twice, in the order of 1/k of it: a little too wide, never too narrow.
    - Factors need not be members: calibrated effects share the error of their shift, one factor a labelled locus, the
      same at all loci, so that d_i = 0 and the shift's part has t(number of labelled loci - 1).
    - df are Welch-Satterthwaite's, of k - 1 (infinite for `normal`) and members - 1. The prediction interval is at
      least the confidence interval, than which its own df could make it shorter.
    - The prediction interval `ensemble` adds the scatter of the loci's effects and the mean variance within loci, t(k -
      1). A network's errors are not noise about what is there: a locus it has not learned well gets the effect of its
      kind. The truth then scatters about the estimate, var(truth) = var(estimate) + var(error) (Berkson), where
      classical errors have var(truth) = tau2 = var(estimate) - var(error). Where errors are noise all the same, the
      interval is too wide by twice their variance.
    - The pooled rows carry sum_i w_i F_ki on, so that pooling nests.

    References
    ----------
    Berkson J. Are there two regressions? J Am Stat Assoc 1950. https://doi.org/10.1080/01621459.1950.10483349
    DerSimonian R, Laird N. Control Clin Trials 1986. https://doi.org/10.1016/0197-2456(86)90046-2
    Paule RC, Mandel J. J Res Natl Bur Stand 1982. https://doi.org/10.6028/jres.087.022
    Hartung J, Knapp G. Stat Med 2001. https://doi.org/10.1002/sim.791
    Higgins JPT, Thompson SG, Spiegelhalter DJ. J R Stat Soc A 2009. https://doi.org/10.1111/j.1467-985X.2008.00552.x
    Viechtbauer W. Confidence intervals for the amount of heterogeneity in meta-analysis. Stat Med 2007.
    https://doi.org/10.1002/sim.2514
    Partlett C, Riley RD. Random effects meta-analysis: coverage performance of 95 % confidence and prediction intervals
    following REML estimation. Stat Med 2017. https://doi.org/10.1002/sim.7140
    """
    check_options(tau2=tau2, ci=ci, weights=weights, prediction=prediction)
    weights = chosen_weights(weights, estimates, ci=ci, prediction=prediction)
    prediction = chosen_prediction(prediction, estimates)
    groups = grouped(estimates)
    pooled = pool_groups(
        whole(groups.studies_of(groups.several)),
        tau2=tau2,
        ci=ci,
        weights=weights,
        prediction=prediction,
        level=level,
    )
    return assemble(estimates, groups, pooled, level=level)
