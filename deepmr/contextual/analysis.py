"""Contextual Mendelian randomization, whole: the fit, what it has to beat, loci not seen, and what is said of it."""

from dataclasses import dataclass

import pandas as pd

from deepmr.contextual.causal import ContextErrors, ContextualMR, LocalErrors, Method, Nuisance, fit_contextual_mr
from deepmr.contextual.comparators import compare
from deepmr.contextual.held_out import HeldOutLoci, score_held_out
from deepmr.contextual.loci import LocusEffects
from deepmr.contextual.verdict import Verdict, judge_context


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextualAnalysis:
    """All that is found of effects and contexts of loci.

    Attributes
    ----------
    fit : effects as a function of context.
    comparison : a row a model, as of `compare`, with the scores of held-out loci beside where there are any.
    held_out : loci that models did not see; None where that was not asked for.
    verdict : whether there is evidence of contextual effects.
    """

    fit: ContextualMR
    comparison: pd.DataFrame
    held_out: HeldOutLoci | None
    verdict: Verdict


def analyse_contexts(
    effects: LocusEffects,
    *,
    method: Method = "gp",
    nuisance: Nuisance = "none",
    context_errors: ContextErrors = "expected_kernel",
    local_errors: LocalErrors = "t",
    n_folds: int | None = 10,
    alpha: float = 0.05,
    level: float = 0.95,
    seed: int = 0,
) -> ContextualAnalysis:
    """Fit effects of loci as a function of context, set it beside simpler models, and say whether there is evidence.

    Parameters
    ----------
    effects : of loci.
    method, nuisance, context_errors, local_errors, level : as for `fit_contextual_mr`.
    n_folds : of chromosomes held out, as for `score_held_out`; None to leave that out.
    alpha : size of the test.
    seed : of clusters, folds of loci and draws of the test.
    """
    fit = fit_contextual_mr(
        effects,
        method=method,
        nuisance=nuisance,
        context_errors=context_errors,
        local_errors=local_errors,
        level=level,
        seed=seed,
    )
    comparison = compare(effects, fit, seed=seed)
    held_out = None
    if n_folds is not None:
        options = {
            "method": method,
            "nuisance": nuisance,
            "context_errors": context_errors,
            "local_errors": local_errors,
        }
        held_out = score_held_out(effects, options=options, n_folds=n_folds, level=level, seed=seed, like=fit)
        comparison = comparison.merge(held_out.scores.drop(columns="n"), on="method", how="left")
    return ContextualAnalysis(
        fit=fit,
        comparison=comparison,
        held_out=held_out,
        verdict=judge_context(effects, held_out, alpha=alpha, seed=seed),
    )
