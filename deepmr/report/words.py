"""Numbers and results in words, the same in figures, tables and sentences."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from deepmr.mr.sensitivity import phrases
from deepmr.schema import GENOME

METHOD_NAMES = {
    "ivw": "IVW",
    "ivw_fixed": "IVW (fixed)",
    "ivw_random": "IVW (random)",
    "wald": "Wald (mean)",
    "wald_weighted": "Wald (weighted)",
    "egger": "MR-Egger",
    "egger_robust": "MR-Egger (robust)",
    "median_simple": "Median",
    "median_weighted": "Median (weighted)",
    "median_penalised": "Median (penalised)",
    "mode_simple": "Mode",
    "mode_weighted": "Mode (weighted)",
    "mode_penalised": "Mode (penalised)",
    "mode_bayesian": "Mode (Bayesian)",
    "heterogeneity_penalised": "Mode (heterogeneity-penalised)",
    "contamination_mixture": "Contamination mixture",
    "lasso": "MR-Lasso",
    "cml": "cML",
    "presso": "MR-PRESSO",
    "mrmix": "MRMix",
    "egger_penalised": "MR-Egger (penalised)",
    "egger_radial": "MR-Egger (radial)",
    "egger_simex": "MR-Egger (SIMEX)",
    "egger_bootstrap": "MR-Egger (bootstrap)",
    "grip": "MR-GRIP",
    "ivw_additive": "IVW (additive random)",
    "ivw_robust": "IVW (robust)",
    "ivw_penalised": "IVW (penalised)",
    "ivw_radial": "IVW (radial)",
    "debiased_ivw": "IVW (debiased)",
    "penalised_debiased_ivw": "IVW (debiased with penalty)",
    "max_likelihood": "Maximum likelihood",
    "raps": "RAPS",
    "grapple": "GRAPPLE",
    "debiased_gls": "Debiased GLS",
    "mrbee": "MRBEE",
    "profile_score": "Profile score",
    "ivw_gls": "IVW (correlated)",
    "egger_gls": "MR-Egger (correlated)",
    "ivw_pca": "IVW of components",
    "pc_gmm": "GMM of components",
    "anderson_rubin": "Anderson-Rubin",
    "clr": "Conditional likelihood ratio",
    "seqlet_ivw": "IVW of seqlets",
    "seqlet_plurality": "Plurality of seqlets",
    "mv_ivw": "Multivariable IVW",
    "mv_equal": "Multivariable least squares",
    "mv_egger": "Multivariable MR-Egger",
    "mv_debiased": "Multivariable IVW (debiased)",
    "mv_ivw_robust": "Multivariable IVW (robust)",
    "mv_median": "Multivariable median",
    "mv_lasso": "Multivariable MR-Lasso",
    "mv_raps": "Multivariable RAPS",
    "mv_gmm": "Multivariable GMM",
}
METHOD_MEANINGS = {
    "seqlet_ivw": "slope through the origin over the motif-sized parts of a locus (seqlets), with Q between them",
    "seqlet_plurality": "the same over seqlets of the families that agree with most others over all loci",
    "ivw": "slope through the origin, every instrument with equal weight",
    "ivw_fixed": "slope through the origin, weighted by inverse variance, fixed effects",
    "ivw_random": "slope through the origin, weighted by inverse variance, scatter allowed for",
    "wald": "mean of the ratios outcome effect / exposure effect",
    "wald_weighted": "inverse-variance weighted mean of the ratios",
    "egger": "slope with an intercept, which takes up a direct effect common to all instruments",
    "egger_robust": "the same by a regression that outlying instruments do not move",
    "median_simple": "median of the ratios: right while more than half of the instruments are valid",
    "median_weighted": "median of the ratios, weighted: right while more than half of the weight is valid",
    "median_penalised": "the weighted median, with little weight for outlying ratios",
    "mode_simple": "mode of the ratios: right while the largest group with one ratio is that of the valid instruments",
    "mode_weighted": "mode of the ratios, weighted: right while the group with most weight is the valid one",
    "mode_penalised": "the weighted mode, with little weight for ratios far from it",
    "mode_bayesian": "posterior mean where most instruments agree, the others taken as invalid",
    "heterogeneity_penalised": "mode of an average over all subsets of instruments, those that agree counting most",
    "contamination_mixture": "the effect that most instruments agree on, each valid or not by the better likelihood",
    "lasso": "inverse-variance weighted slope of the instruments to which a penalty leaves no direct effect",
    "cml": "likelihood with any number of invalid instruments left out, averaged by BIC",
    "presso": "inverse-variance weighted slope without the instruments that lie too far from what the others predict",
    "mrmix": "the effect under which a mixture takes the largest share of instruments as valid",
    "egger_penalised": "MR-Egger with less weight for instruments far from the line",
    "egger_radial": "slope with an intercept on radial axes, where no coding of alleles matters",
    "egger_simex": "MR-Egger without the dilution that the error of the exposure effects makes",
    "egger_bootstrap": "MR-Egger with its errors from effects drawn anew",
    "grip": "slope with an intercept of products with the exposure effect, where no coding of alleles matters",
    "ivw_additive": "weighted mean of the ratios, which may truly differ by a common variance",
    "ivw_robust": "slope through the origin by a regression that outlying instruments do not move",
    "ivw_penalised": "slope through the origin with less weight for instruments far from the median ratio",
    "ivw_radial": "slope through the origin, weights with the error of the exposure effects, scatter allowed for",
    "debiased_ivw": "slope through the origin, corrected for dilution by weak instruments",
    "penalised_debiased_ivw": "the same, kept stable where instruments are very weak",
    "max_likelihood": "most likely slope when both effects have errors",
    "raps": "slope that allows for errors of both effects, balanced direct effects and outliers",
    "grapple": "the same with a loss that ignores far outliers",
    "debiased_gls": "inverse-variance slope freed of the bias that errors of the effects and their correlation cause",
    "mrbee": "the same without outlying instruments, found in turns",
    "profile_score": "slope under the joint errors of all effects, as ensemble members share them",
    "ivw_gls": "slope through the origin, with weights that heed the correlation of the instruments",
    "egger_gls": "slope with an intercept, with weights that heed the correlation of the instruments",
    "ivw_pca": "slope through the origin of the instruments' leading principal components",
    "pc_gmm": "the same with the error of the exposure effects counted, which weak instruments do not bias",
    "anderson_rubin": "every slope under which the instruments agree, however weak they are; none where they never do",
    "clr": "every slope that a likelihood-ratio test keeps, with a threshold for the instruments' strength",
    "mv_ivw": "weighted regression on all exposures at once: the effect of each with the others held fixed",
    "mv_equal": "regression on all exposures at once, every instrument with equal weight",
    "mv_egger": "the weighted regression with an intercept, which takes up a direct effect common to all instruments",
    "mv_debiased": "the weighted regression without the bias from errors of the exposures and from overlapping samples",
    "mv_ivw_robust": "direct effects by a regression that outlying instruments do not move",
    "mv_median": "direct effects by a median regression: some instruments may have any effect by other paths",
    "mv_lasso": "direct effects from the instruments to which a penalty leaves no effect by other paths",
    "mv_raps": "direct effects that allow for errors of all effects, balanced effects by other paths, and outliers",
    "mv_gmm": "direct effects with the error of the exposure effects counted, which weak instruments do not bias",
}
# The estimators that a page leads with, best first: the first one that a run has.
LEADING = ("ivw", "ivw_random", "ivw_fixed", "wald_weighted", "wald")
ESTIMANDS = {
    "model": "in the model: what the ensemble has learned from sequence, not a measurement in cells",
    "calibrated": "in the data-generating process, calibrated on measured edits",
    "population": "in the population that the association study sampled",
}
WHERE = {
    "model": "in the model",
    "calibrated": "in the data-generating process (calibrated)",
    "population": "in the population",
}
EFFECTS = {
    "model": "effect in the model",
    "calibrated": "calibrated effect (in the data-generating process)",
    "population": "effect in the population",
}
# What the two are, for someone who meets them for the first time.
TWO_EFFECTS = (
    (
        EFFECTS["model"],
        "what the ensemble of networks has learned: by how much its prediction of the outcome moves where an edit "
        "moves its prediction of the exposure by 1. It needs no measurement of edits. Its interval says how far "
        "networks trained alike agree; an error that all of them share is not in it.",
    ),
    (
        EFFECTS["calibrated"],
        "the same ratio in the process that made the training data: in cells, where these are measured; in a "
        "simulation, what was put in. It needs edits whose effects were measured at loci that are not analysed; its "
        "interval allows for what all networks get wrong alike.",
    ),
    (
        "what calibration does not do",
        "it mends the size of effects of edits; it cannot tell whether an edit reaches the outcome by another way than "
        "the exposure. A calibrated number of a pair that does not act can be far from 0 with a narrow interval: "
        "whether it is an effect is for deepmr diagnose to ask.",
    ),
)
UNITS = {"identity": "unit", "log": "natural-log unit", "logit": "logit"}

# How to read each figure, for someone who has not seen one before.
READING = {
    "forest": "Each square is the mean effect over loci. The thick bar is its confidence interval: where the mean "
    "itself may lie. The thin, capped line is the prediction interval: where the effect at one new locus "
    "may lie. More loci shorten the thick bar; the thin line stays as long as loci differ. A triangle at "
    "the border marks an interval that goes on outside the figure.",
    "methods": "Each square is the estimate of one method, the bar its confidence interval. Methods are wrong for "
    "different reasons: where they agree, no single way in which instruments go wrong explains the answer. MR-Egger "
    "asks more of the data, so its interval is wider. A triangle at the border marks an interval that goes on outside "
    "the figure.",
    "matrix": "Start at the row of the exposure and go to the column of the outcome. Red: the outcome rises with "
    "the exposure; blue: it falls; white: no effect. Bold: the confidence interval leaves 0 out. Grey: no "
    "estimate. The two directions of a pair are separate questions: they need not mirror each other.",
    "locus": "Logo: a tall letter is a base whose loss lowers the mark (below the line: raises it). Heatmap: the "
    "effect of putting the base of that row at that position; blue lowers the mark, red raises it, the "
    "reference base itself is 0. Strip: the largest standard deviation (sd) over members at that "
    "position, black where they disagree most. Wedges and dots: edits that serve as instruments of that "
    "mark.",
    "scatter": "Each point is one edit, its bars one standard error. If the exposure causes the outcome, edits that "
    "move the exposure more move the outcome in proportion: the points lie on a line through 0, whose slope is "
    "the causal effect. Two branches mean that some edits reach the outcome another way. MR-Egger's line may "
    "start elsewhere: that intercept is a direct effect which all edits share. Every edit is drawn as if it "
    "raised the exposure; both signs of the filled points were turned.",
    "scatter_population": "Each point is one variant, its bars one standard error, drawn for the allele that raises "
    "the exposure. If the exposure causes the outcome, variants that move the exposure more move the outcome in "
    "proportion: the points lie on a line through 0, whose slope is the causal effect. MR-Egger's line may start "
    "elsewhere: that intercept is an effect on the outcome by other paths which all variants share.",
    "single": "Each row is the effect by one instrument alone. Rows that lie far from the diamonds, with intervals "
    "that leave them out, may reach the outcome another way. A triangle at the border marks an interval that goes on "
    "outside the figure.",
    "leave_one_out": "Each row is the estimate without that instrument. Rows that lie close together: no single "
    "instrument carries the answer. Coloured: without this one the interval would hold 0, or no longer would.",
    "funnel": "Precise instruments are at the top and lie near the truth; the wide foot is chance. Nineteen of "
    "twenty points belong inside the dotted funnel: many outside are heterogeneity. A foot that leans to one side "
    "suggests that weak instruments reach the outcome another way in one direction, which is what MR-Egger's line "
    "corrects for.",
    "radial": "The slope from 0 to a point is the ratio of that instrument, and its distance from the line, up or "
    "down, what it adds to Cochran's Q. Points outside the grey band are further off than 95 % by chance; diamonds "
    "are further than chance allows even for the furthest of so many.",
    "density": "Where the ratios of the instruments gather. One hump at the estimates: instruments agree. Several "
    "humps: groups of instruments that give different answers, by other paths or other causes.",
    "loci": "Each row is the effect at one locus, the diamond their mean. The line through the diamond is the "
    "prediction interval: where the effect at one new locus may lie. It stays as long as loci differ, however many "
    "there are.",
    "calibration": "The dotted diagonal is what an honest ensemble shows: its 95 % intervals hold 95 % of held-out "
    "values, and 70 % of the loci given probability 0.7 are positive. A curve of coverage below the "
    "diagonal is too sure of itself, one above it too cautious. Grey band: chance, with so many loci. "
    "Corrected curves were measured on loci that they were not fitted to. All this speaks of levels of "
    "whole sequences, not of effects of edits.",
    "errors": "Edits to the right of the dashed line have effects of more than two standard errors; instruments "
    "come from the right end. A cloud along the line: the members disagree about as much as effects are "
    "large.",
    "predictions": "Bars: the mean of the members. Lines: each member by itself; lines far apart mean that the members "
    "disagree on levels. Two humps usually are loci with and without the mark. A mark that hardly varies "
    "has few edits that change it, hence few instruments.",
}


def number(value: float, decimals: int | None = None) -> str:
    """Return a number as text with a real minus sign; three digits that count unless `decimals` are given."""
    if not np.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "–"
    text = phrases.number(value) if decimals is None else f"{value:.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def decimals_for(half_width: float) -> int:
    """Return how many decimals an interval of this half width deserves: its first digit is shown, at least two."""
    if not half_width > 0 or not np.isfinite(half_width):
        return 3
    return int(np.clip(-np.floor(np.log10(half_width)), 2, 8)) if half_width < 100 else 0


def span(low: float, high: float) -> str:
    """Return "0.95 to 1.1"."""
    return f"{number(low)} to {number(high)}"


def estimate(row: Mapping[Any, Any]) -> str:
    """Return effect and confidence interval of a row of estimates, "1.02 (0.95 to 1.1)"."""
    return f"{number(row['beta'])} ({span(row['ci_low'], row['ci_high'])})"


def percent(level: float) -> str:
    """Return "95 %"."""
    return f"{100 * level:g} %"


def share(value: float) -> str:
    """Return a share of 1 as whole percent."""
    return percent(round(value, 2)) if np.isfinite(value) else "–"


def pvalue(value: float) -> str:
    """Return a P value as text, never as 0."""
    if not np.isfinite(value):
        return "–"
    return "< 1e−300" if value < 1e-300 else f"{value:.2g}".replace("-", "−")


def method_name(method: str) -> str:
    """Return a method's name as a reader knows it; the key itself for one that is not listed."""
    return METHOD_NAMES.get(method, method)


def with_names(sentence: str) -> str:
    """Return a sentence as pages write it: ivw_random as IVW (random), and a real minus sign before numbers."""
    sentence = re.sub(r"(?<=[ (])-(?=\d)|(?<=\de)-(?=\d)", "−", sentence)
    keys = "|".join(sorted(METHOD_NAMES, key=len, reverse=True))
    return re.sub(rf"(?<![\w.-])({keys})(?![\w-])", lambda key: METHOD_NAMES[key[0]], sentence)


def pair_at(exposure: str, outcome: str, locus: str) -> str:
    """Return "BMI → CHD", with the locus unless it is the whole genome."""
    return f"{exposure} → {outcome}" + ("" if locus == GENOME else f" at {locus}")


def shorten(name: str, most: int) -> str:
    """Return a name of at most so many characters, cut in the middle."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[: most - 1 - half]}…{name[-half:]}"


def count(n: int, what: str) -> str:
    """Return "1 locus", "2 loci" or "1,200 loci" for what = "locus"."""
    plural = {"locus": "loci"}.get(what, f"{what}s")
    return f"{n:,} {what if n == 1 else plural}"
