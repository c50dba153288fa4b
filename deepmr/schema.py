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
    "ci_low": "lower end of the confidence interval of beta, for the estimand",
    "ci_high": "upper end of the confidence interval of beta, for the estimand",
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
    "se_sampling": "part of se from the scatter over instruments or loci; calibrated, of one locus: its local part",
    "se_member": "part of se from the spread over ensemble members, which loci share; of a locus, moderated over all; "
    "calibrated: what labelled edits leave of the error that loci share",
    "se_seeds": "spread over members that differ by their seed alone, unmoderated, where resampled ones were given too",
    "se_bootstrap": "spread of resampled members about the mean of the others; the larger one over all loci is in se",
    "pi_low": "lower end of the prediction interval: the effect at a new locus",
    "pi_high": "upper end of the prediction interval",
    "n_filled": "number of mirrored loci that trim and fill added, for effects that may be missing from one side",
    "n_skipped": "number of loci without an estimate",
    "fdr": "P value adjusted for the number of pairs with an estimate by the same method: false discovery rate of the "
    "pairs up to this one",
    "n_valid": "number of instruments that the method takes as valid",
    "n_intervals": "number of intervals that the confidence region is made of; ci_low and ci_high are its outer ends",
    "psi": "spread of the ratios of invalid instruments that the contamination mixture allows, in the effect's unit",
    "penalty": "penalty on the direct effects that the lasso used",
    "beta_penalised": "slope of the penalised fit, before the valid instruments are fitted again",
    "n_outliers": "number of outlying instruments left out",
    "beta_raw": "effect before the correction: with the outlying instruments kept, with the dilution of the slope, or "
    "in the model, before labelled edits shifted it",
    "beta_mean": "mean of the effect over bootstrap draws",
    "se_raw": "standard error of beta_raw",
    "shrink": "share of the shift found on labelled edits that was applied: near 0 with few labels, near 1 with many",
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

# The pooled effect by the rule that chooses instruments and its threshold: what `deepmr thresholds` writes.
THRESHOLDS = {
    "rule": "rule by which instruments were chosen",
    "threshold": "its threshold",
    **{name: ESTIMATES[name] for name in ("exposure", "outcome", "method")},
    "beta": "mean effect over loci",
    **{name: ESTIMATES[name] for name in ("ci_low", "ci_high")},
    "n_loci": "number of loci with an estimate",
    "n_instruments": "number of their instruments",
    "estimand": ESTIMATES["estimand"],
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

_BOUNDS = {"se": "standard error", "ci_low": "lower end of the interval", "ci_high": "upper end of the interval"}

# What `deepmr network` finds, a row a pair of tasks.
NETWORK = {
    **{name: ESTIMATES[name] for name in ("method", "exposure", "outcome", "estimand")},
    "total": "effect of the exposure on the outcome by all paths",
    **{f"total_{name}": f"{what} of total" for name, what in _BOUNDS.items()},
    "total_pvalue": "two-sided P value of total = 0",
    "total_fdr": "the same, adjusted for the number of pairs",
    "direct": "effect of the exposure on the outcome that passes through no other task of the network",
    **{f"direct_{name}": f"{what} of direct" for name, what in _BOUNDS.items()},
    "direct_pvalue": "two-sided P value of direct = 0",
    "direct_fdr": "the same, adjusted for the number of pairs",
    "mediated": "total - direct: what passes through other tasks of the network",
    **{f"mediated_{name}": f"{what} of mediated" for name, what in _BOUNDS.items()},
    "stability": "share of draws in which a sparse network keeps the direct effect; empty for exact networks",
    "edge": "direct: a direct effect at the chosen false discovery rate; total: an effect, none of it shown to be "
    "direct; none: no effect shown",
    "n": "loci behind the total effect",
    "level": EXTRA["level"],
}
# Pairs and tasks without a place in the network.
NETWORK_SKIPPED = {
    "exposure": "task taken as the cause",
    "outcome": "task taken as the effect; '*' for all of them, where the task left the network",
    "reason": "why it has no direct effect",
}

_MEAN_ROW = "locus, '*' for the mean over loci"
_COMMON = {name: ESTIMATES[name] for name in ("exposure", "outcome")}
_REASON = "why there is no value; empty where there is one"

# What the diagnostics of `deepmr.mr.diagnostics` find, a table each.
DIAGNOSTICS = {
    "strength": {
        **_WHO,
        "n": ESTIMATES["n"],
        "n_positions": "number of distinct positions that its instruments edit",
        "effective_positions": "effective number of positions: (sum w)^2 / sum w^2, w the sum of squared exposure "
        "effects of a position",
        "f_statistic": EXTRA["f_statistic"],
        "n_weak": "instruments with an F statistic below 10",
        "reason": "why the locus has no instrument; empty for one that has",
    },
    "curvature": {
        **_COMMON,
        "locus": _MEAN_ROW,
        "n": ESTIMATES["n"],
        "slope": "equal-weight slope through the origin",
        "slope_small": "the same over the half of the instruments with the smaller exposure effects",
        "slope_large": "the same over the half with the larger ones",
        "difference": "slope_large - slope_small",
        "difference_se": "its standard error, over loci and members",
        "difference_pvalue": "its two-sided P value",
        "bend": "quadratic term times the root mean square of the exposure effects, as a share of the slope",
        "spread": "coefficient of variation of the size of the exposure effects: what MR-Egger's slope rests on",
        "egger": "slope of the equal-weight line with an intercept",
        "egger_difference": "egger - slope",
        "egger_explained": "what the quadratic term alone makes of egger - slope",
        "reason": _REASON,
    },
    "doubles": {
        **_COMMON,
        "locus": _MEAN_ROW,
        "n": "number of double edits",
        "slope_single": "slope over the single edits that the double edits are made of",
        "slope_double": "slope over the double edits",
        "difference": "slope_double - slope_single",
        "difference_se": "its standard error, over loci and members",
        "difference_pvalue": "its two-sided P value",
        "additivity_exposure": "exposure effect of double edits per sum of those of their parts; 1 is additive",
        "additivity_outcome": "the same of the outcome",
        "reason": _REASON,
    },
    "rejections": {
        **_COMMON,
        "n": "number of loci with a test of scatter",
        "n_rejected": "loci whose P value is below `nominal`",
        "rate": "their share",
        "rate_low": "lower end of its 95 % interval (Clopper and Pearson, loci as independent)",
        "rate_high": "upper end",
        "nominal": "share that chance alone gives",
    },
    "direction": {
        **_COMMON,
        "locus": _MEAN_ROW,
        "n": ESTIMATES["n"],
        "share_exposure": "share of the sum of squared exposure effects of all edits that the instruments have",
        "share_outcome": "the same of the outcome effects",
        "difference": "share_exposure - share_outcome; above 0 where the instruments are the exposure's own",
        "difference_se": "its standard error",
        "pvalue": "its two-sided P value",
        "direction": "forward, reversed or undecided",
    },
    "asymmetry": {
        **_COMMON,
        "locus": _MEAN_ROW,
        "n_shared": "instruments of the exposure that are instruments of the outcome too",
        "n_exclusive": "instruments of the exposure alone",
        "n_outcome_exclusive": "instruments of the outcome alone",
        "share_exclusive": "share of the squared exposure effects that the exclusive instruments have",
        "beta": "slope over all instruments of the exposure",
        "beta_shared": "slope over the shared ones",
        "beta_exclusive": "slope over the exclusive ones",
        "difference": "beta_exclusive - beta_shared, over loci that have both",
        "difference_se": "its standard error",
        "difference_pvalue": "its two-sided P value",
        "n_both": "number of loci with shared and with exclusive instruments",
        "product": "slope of this direction times that of the other; 1 where one line holds for both",
    },
    "unusual": {
        **_WHO,
        "n": ESTIMATES["n"],
        "n_spread_exposure": "instruments on whose exposure effect members disagree more than other edits explain",
        "n_spread_outcome": "the same of the outcome effect",
        "n_outside_exposure": "instruments whose edited sequence is predicted outside the range of all references",
        "n_outside_outcome": "the same of the outcome",
    },
    "thresholds": {
        "rule": "rule by which instruments were chosen",
        "threshold": "its threshold",
        **{name: ESTIMATES[name] for name in ("exposure", "outcome", "method")},
        **{name: ESTIMATES[name] for name in ("beta", "ci_low", "ci_high")},
        "n_loci": "number of loci pooled",
        "n_instruments": "number of instruments over all loci",
    },
    "threshold_trends": {
        **{name: ESTIMATES[name] for name in ("exposure", "outcome", "method")},
        "rule": "rule by which instruments were chosen, or all",
        "n": "number of thresholds",
        "beta": "pooled effect at the threshold that was used",
        "lowest": "smallest pooled effect",
        "highest": "largest pooled effect",
        "trend": "rank correlation of effect and threshold",
        "change": "largest change from `beta`, as a share of it",
        "judgement": "stable, drifts, or decides: whether an effect is seen depends on the threshold",
    },
    "permutation": {
        **_COMMON,
        "control": "loci: outcome effects of the same edits of another locus; within: of edits further along the locus",
        "n_loci": "number of loci",
        "n_draws": "number of permutations",
        "beta": "mean over loci of the slopes",
        "null_mean": "mean of the same under permutation",
        "null_sd": "its standard deviation under permutation",
        "pvalue": "share of permutations at least as far from null_mean, the data counted as one of them",
        "false_positives": "share of permutations whose nominal 95 % interval leaves 0 out",
    },
    "null": {
        **_COMMON,
        "control": "as in permutation",
        "beta": "mean over loci of the slopes in one permutation",
    },
    "double_effects": {
        **_WHO,
        "variant_id": "double edit",
        "beta_exposure": "its effect on the exposure",
        "beta_outcome": "its effect on the outcome",
    },
    "shuffled": {
        **_COMMON,
        "locus": _MEAN_ROW,
        "n": "number of edits of the shuffled sequences",
        "rms_exposure": "root mean square of the instruments' exposure effects",
        "rms_exposure_shuffled": "the same of edits at their positions in shuffled sequences",
        "rms_outcome": "root mean square of the instruments' outcome effects",
        "rms_outcome_shuffled": "the same in shuffled sequences",
        "ratio_exposure": "rms_exposure_shuffled / rms_exposure",
        "ratio_outcome": "rms_outcome_shuffled / rms_outcome",
    },
    "members": {
        **_COMMON,
        "member": "member of the ensemble",
        "beta": "mean over loci of the slopes by this member alone",
        "beta_without": "mean over loci of the slopes by the mean of the others",
        "pvalue": "two-sided P value of this member against the others, t(K - 2)",
        "metric_exposure": "validation metric of the exposure, where known: R2, or AUROC of a binary task",
        "metric_outcome": "validation metric of the outcome",
        "flagged": "why the member stands out; empty for one that does not",
    },
    "loci": {
        **_WHO,
        **{name: ESTIMATES[name] for name in ("estimand", "beta", "ci_low", "ci_high", "n")},
        "verdict": "supported, not supported, or undecided",
        "reasons": "why, in a few words",
    },
    "findings": {
        **_COMMON,
        "check": "diagnostic that says so",
        "severity": "fine, note, doubt, undecided or against",
        "sentence": "what it says",
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
