"""Column names of every table read or written, with their meaning: the one place where a column is declared."""

LOCI = {
    "locus": "unique name of the locus",
    "chrom": "chromosome, empty where the input names none",
    "start": "0-based start on the chromosome, -1 where unknown",
    "end": "half-open end on the chromosome, -1 where unknown",
}

VARIANTS = {
    "variant_id": "chrom:pos:other_allele:effect_allele (locus in place of chrom where coordinates are unknown)",
    "locus": "locus the variant lies in",
    "chrom": "chromosome, empty where unknown",
    "pos": "1-based position on the chromosome, or in the locus where coordinates are unknown; see MemberEffects",
    "effect_allele": "the new bases: effects are per copy of them; '-' for none",
    "other_allele": "the reference bases; '-' for none",
}

TASKS = {
    "name": "name of the genomic mark",
    "scale": "scale of the network's output: identity, log or logit",
}

GENOME = "genome"  # the one locus of a genome-wide analysis

ESTIMATES = {
    "method": "estimator, a key of METHODS",
    "exposure": "task or trait taken as the cause",
    "outcome": "task or trait taken as the effect",
    "locus": "locus the estimate belongs to, '*' for one pooled over loci",
    "estimand": "model: what the ensemble has learned; calibrated: the data-generating effect; population: GWAS",
    "beta": "causal effect: change of the outcome per unit change of the exposure",
    "se": "standard error of beta for the estimand",
    "ci_low": "lower end of the confidence interval of beta",
    "ci_high": "upper end of the confidence interval of beta",
    "pvalue": "two-sided P value of beta = 0",
    "n": "number of instruments, or of loci for a pooled row",
}

EXTRA = {
    "df": "degrees of freedom of the t distribution behind interval and P value; infinite for a normal",
    "level": "confidence level of every interval of the row",
    "intercept": "MR-Egger intercept: mean direct effect of the instruments on the outcome",
    "intercept_se": "standard error of the intercept",
    "intercept_pvalue": "two-sided P value of intercept = 0",
    "q": "Cochran's Q: weighted residual sum of squares; where members share errors, the plain one about the line over "
    "its expectation, times q_df",
    "q_df": "degrees of freedom of Q",
    "q_pvalue": "P value of Q against chi-square; with errors that members share against their F, or empty",
    "i2": "share of the variation that heterogeneity explains, 0 to 1",
    "i2_low": "lower end of the interval of i2 (from that of h)",
    "i2_high": "upper end of the interval of i2",
    "h": "sqrt(Q / df), at least 1: how much wider effects scatter than their errors",
    "h_low": "lower end of the interval of h",
    "h_high": "upper end of the interval of h",
    "i2_tau2": "tau2 as a share of tau2 and the typical variance within loci",
    "i2_gx": "I2 of the exposure effects: 1 minus the attenuation of MR-Egger by their error",
    "i2_gx_unweighted": "the same, with exposure effects as they are, not in units of se_outcome",
    "condition": "effective strength of the instruments of debiased IVW: (mean F - 1) times the root of their number",
    "f_statistic": "mean F statistic (beta_exposure / se_exposure)^2 of the instruments",
    "sigma": "residual scale of the regression (1 when the standard errors explain the scatter)",
    "tau2": "between-locus variance of the effect; of one locus: variance of the instruments' direct effects",
    "n_components": "number of principal components of the instruments that the estimate rests on",
    "conditional_f": "F statistic of an exposure given the others: how strong its own instruments are, 10 is usual",
    "n_exposures": "number of exposures that the effect is direct of: all of them were in one regression",
    "scale": "scale of the t distribution of effects over loci",
    "df_effects": "degrees of freedom of the t distribution of effects over loci; infinite where they are normal",
    "tau2_se": "standard error of tau2",
    "tau2_low": "lower end of the Q-profile interval of tau2",
    "tau2_high": "upper end of the Q-profile interval of tau2",
    "n_roots": "number of solutions of the estimating equations (maxima of the profile), of which beta is one",
    "strength": "signal of the exposure effects in standard deviations of their noise: above 10, debiasing is reliable",
    "se_fixed": "standard error of the fixed-effect (common-effect) mean",
    "beta_fixed": "fixed-effect (common-effect) mean",
    "se_sampling": "part of se from the scatter over instruments or loci",
    "se_member": "part of se from the spread over ensemble members, which loci share",
    "pi_low": "lower end of the prediction interval: the effect at a new locus",
    "pi_high": "upper end of the prediction interval",
    "n_filled": "number of mirrored loci that trim and fill added, for effects that may be missing from one side",
    "n_skipped": "number of loci without an estimate",
    "n_valid": "number of instruments that the method takes as valid",
    "n_intervals": "number of intervals that the confidence region is made of; ci_low and ci_high are its outer ends",
    "psi": "spread of the ratios of invalid instruments that the contamination mixture allows, in the effect's unit",
    "penalty": "penalty on the direct effects that the lasso used",
    "beta_penalised": "slope of the penalised fit, before the valid instruments are fitted again",
    "n_outliers": "number of outlying instruments left out",
    "beta_raw": "effect before the correction: with the outlying instruments kept, or with the dilution of the slope",
    "beta_mean": "mean of the effect over bootstrap draws",
    "se_raw": "standard error of beta_raw",
    "global_rss": "MR-PRESSO: weighted sum of squared distances from the slopes without each instrument",
    "global_pvalue": "MR-PRESSO: P value of global_rss under no direct effects",
    "distortion": "MR-PRESSO: by how much outliers moved the effect, as a share of beta",
    "distortion_pvalue": "MR-PRESSO: P value of the distortion under resampling of the other instruments",
    "beta_selected": "effect under the number of invalid instruments of the smallest BIC",
    "se_selected": "standard error of beta_selected",
    "pi0": "share of valid instruments in the mixture",
    "sigma2": "variance of the residuals of invalid instruments in the mixture, in the outcome's unit squared",
    "n_seqlets": "number of seqlets that the effect rests on",
    "q_seqlets": "Q between seqlets: scatter of slopes about that of the locus over its expectation, times the df",
    "q_seqlets_df": "degrees of freedom of Q between seqlets",
    "q_seqlets_pvalue": "P value of Q between seqlets; small where seqlets act on the outcome in different ways",
}

SKIPPED = {
    "method": "estimator",
    "exposure": "exposure",
    "outcome": "outcome",
    "locus": "locus without an estimate",
    "reason": "why it has none",
}

_WHO = {name: ESTIMATES[name] for name in ("exposure", "outcome", "locus")}
_EFFECT = {
    **{name: ESTIMATES[name] for name in ("beta", "se", "ci_low", "ci_high", "pvalue", "n")},
    **{name: EXTRA[name] for name in ("df", "level")},
}

# What the analyses of `deepmr.mr.sensitivity` find, a table each.
SENSITIVITY = {
    "heterogeneity": {
        **_WHO,
        "n": ESTIMATES["n"],
        "q_ivw": "Cochran's Q about the inverse-variance line through the origin",
        "q_ivw_df": "its degrees of freedom",
        "q_ivw_pvalue": "its P value against chi-square",
        "i2_ivw": "share of that scatter which the standard errors do not explain, 0 to 1",
        "q_egger": "Rucker's Q' about the line of MR-Egger",
        "q_egger_df": "its degrees of freedom",
        "q_egger_pvalue": "its P value against chi-square",
        "i2_egger": "share of that scatter which the standard errors do not explain, 0 to 1",
        "q_difference": "Q - Q', what the intercept explains",
        "q_difference_pvalue": "its P value against chi-square with one degree of freedom",
        "intercept": EXTRA["intercept"],
        "intercept_se": EXTRA["intercept_se"],
        "intercept_pvalue": EXTRA["intercept_pvalue"],
        "model": "model that Rucker's rule chooses: ivw_fixed, ivw_random, egger_fixed or egger_random",
    },
    "signs": {
        **_WHO,
        "n": "number of instruments with a sign in both traits",
        "n_agreeing": "number of them with the same sign in both",
        "concordance": "share of equal signs less that of opposite ones, -1 to 1",
        "pvalue": "its two-sided P value against chance, exact",
    },
    "leave_one_out": {**_WHO, "method": ESTIMATES["method"], "left_out": "variant left out; '*' for none", **_EFFECT},
    "single": {
        **_WHO,
        "method": ESTIMATES["method"],
        "variant_id": "the only instrument; '*' for all of them",
        **_EFFECT,
    },
    "steiger_variants": {
        **_WHO,
        "variant_id": VARIANTS["variant_id"],
        "r2_exposure": "share of the exposure's variance that the instrument explains",
        "r2_outcome": "share of the outcome's variance that it explains",
        "z": "Fisher z of r_exposure - r_outcome; above 0 where the exposure is explained better",
        "pvalue": "two-sided P value of equal shares",
        "forward": "True where the instrument explains more of the exposure, as one of the exposure should",
    },
    "steiger": {
        **_WHO,
        "n": ESTIMATES["n"],
        "r2_exposure": "share of the exposure's variance that all instruments explain",
        "r2_outcome": "share of the outcome's variance that they explain",
        "z": "Fisher z of r_exposure - r_outcome",
        "pvalue": "two-sided P value of equal shares",
        "forward": "True where the instruments explain more of the exposure",
        "tipping_reliability": "r2_outcome / r2_exposure: the direction turns when the outcome's measurement has less "
        "than this share of the reliability of the exposure's",
        "n_reversed": "instruments that explain more of the outcome",
    },
    "strength": {
        **_WHO,
        "n": ESTIMATES["n"],
        "f_statistic": EXTRA["f_statistic"],
        "f_median": "median F statistic",
        "f_min": "smallest F statistic",
        "n_weak": "instruments with an F statistic below 10",
        "relative_bias": "share of the effect that IVW loses on average to errors of the exposure effects, 1 / mean F",
        "i2_gx": EXTRA["i2_gx"],
        "i2_gx_unweighted": "the same without weights of the outcome effects",
        "r2_exposure": "share of the exposure's variance that all instruments explain, where sample sizes are known",
    },
    "outliers": {
        "method": "test, a key of OUTLIER_TESTS",
        **_WHO,
        "variant_id": VARIANTS["variant_id"],
        "q": "its part of Cochran's Q: squared standardised distance from the line",
        "pvalue": "P value of that distance; whether it is corrected for the number of instruments depends on the test",
        "outlier": "True where it is further from the line than chance allows",
    },
    "agreement": {
        **_WHO,
        "method": ESTIMATES["method"],
        "reference": "method that it is compared with",
        "beta": ESTIMATES["beta"],
        "beta_reference": "estimate of that method",
        "same_sign": "True where both estimates have one sign",
        "verdict": "agrees: each estimate lies in the other's interval; imprecise: its interval holds the reference, "
        "but not the reverse; differs: its interval leaves the reference out",
    },
}

SEQLETS = {
    "locus": VARIANTS["locus"],
    "seqlet": "number of the seqlet in its locus, from 1, by position",
    "start": "0-based start in the locus",
    "end": "half-open end in the locus",
    "sequence": "reference bases there",
    "strength": "root of the sum over its positions of the squared largest effect on the exposure",
}

SEQLET_EFFECTS = {
    **{name: _WHO[name] for name in ("exposure", "outcome")},
    **SEQLETS,
    "family": "number of the family: seqlets of all loci that look like sites of one factor; -1 for none",
    "n": "number of instruments in it; 0 leaves what follows empty",
    "share": "share of the sum of squared exposure effects of the locus' seqlets: how much of the effect it carries",
    "beta": "slope of its instruments: change of the outcome per unit change of the exposure by this seqlet",
    **{name: ESTIMATES[name] for name in ("se", "ci_low", "ci_high")},
    "level": EXTRA["level"],
    "discordance": "its slope less that of the other seqlets of the locus",
    "discordance_se": "standard error of the discordance",
    "discordance_z": "discordance over its standard error",
    "discordance_pvalue": "two-sided P value of no discordance, by t",
    "verdict": "carries: the largest share among those that are valid; agrees; contradicts; disputed: discordant, and "
    "nothing tells which side is right; alone: the only one of its locus; untested: without instruments",
    "estimand": ESTIMATES["estimand"],
}

SEQLET_FAMILIES = {
    **{name: _WHO[name] for name in ("exposure", "outcome")},
    "family": SEQLET_EFFECTS["family"],
    "sequence": "reference bases of its strongest seqlet",
    "n_seqlets": "number of its seqlets that have instruments",
    "n_loci": "number of loci they are in",
    "share": "share of the sum of squared exposure effects of all seqlets",
    "beta": "slope of all its instruments",
    "se": "standard error of that slope, between loci and over members",
    "n_compared": "number of loci where it stands beside the family that leads the plurality",
    "contrast": "its slope less that of the leading family at those loci, weighted mean",
    "contrast_se": "standard error of the contrast",
    "contrast_pvalue": "two-sided P value of no contrast",
    "verdict": "leads: the plurality is of those that agree with it; agrees; contradicts; untested: never beside it",
    "estimand": ESTIMATES["estimand"],
}

DROPPED = {"variant_id": VARIANTS["variant_id"], "locus": VARIANTS["locus"], "reason": "why it was dropped"}
