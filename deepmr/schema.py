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
    "q": "Cochran's Q: weighted residual sum of squares",
    "q_df": "degrees of freedom of Q",
    "q_pvalue": "P value of Q against chi-square",
    "i2": "share of the variation that heterogeneity explains, 0 to 1",
    "i2_low": "lower end of the interval of i2 (from that of h)",
    "i2_high": "upper end of the interval of i2",
    "h": "sqrt(Q / df), at least 1: how much wider effects scatter than their errors",
    "h_low": "lower end of the interval of h",
    "h_high": "upper end of the interval of h",
    "i2_tau2": "tau2 as a share of tau2 and the typical variance within loci",
    "i2_gx": "I2 of the exposure effects: 1 minus the attenuation of MR-Egger by their error",
    "f_statistic": "mean F statistic (beta_exposure / se_exposure)^2 of the instruments",
    "sigma": "residual scale of the regression (1 when the standard errors explain the scatter)",
    "tau2": "between-locus variance of the effect",
    "scale": "scale of the t distribution of effects over loci",
    "df_effects": "degrees of freedom of the t distribution of effects over loci; infinite where they are normal",
    "tau2_se": "standard error of tau2",
    "tau2_low": "lower end of the Q-profile interval of tau2",
    "tau2_high": "upper end of the Q-profile interval of tau2",
    "se_fixed": "standard error of the fixed-effect (common-effect) mean",
    "beta_fixed": "fixed-effect (common-effect) mean",
    "se_sampling": "part of se from the scatter over instruments or loci",
    "se_member": "part of se from the spread over ensemble members, which loci share",
    "pi_low": "lower end of the prediction interval: the effect at a new locus",
    "pi_high": "upper end of the prediction interval",
    "n_skipped": "number of loci without an estimate",
}

SKIPPED = {
    "method": "estimator",
    "exposure": "exposure",
    "outcome": "outcome",
    "locus": "locus without an estimate",
    "reason": "why it has none",
}
