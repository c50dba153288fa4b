"""What `deepmr context` finds: the fit, what it has to beat, curves along contexts, and the verdict."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.commands.progress import meter
from deepmr.contextual.bands import bands
from deepmr.contextual.causal import ContextErrors, ContextualMR, Method, Nuisance, fit_contextual_mr
from deepmr.contextual.comparators import compare, fit_comparator
from deepmr.contextual.contextual_egger import ContextualEgger
from deepmr.contextual.held_out import HeldOutLoci, score_held_out
from deepmr.contextual.loci import LocusEffects
from deepmr.contextual.sensitivity import check_contexts_matter
from deepmr.contextual.verdict import Verdict, judge_context
from deepmr.errors import InputError

log = logging.getLogger(__name__)
FEW_VALUES = 12  # of a context, up to which a curve is drawn at these values alone
POINTS = 61  # of a curve of a context with more
MOST_CURVES = 24  # contexts, the most relevant: a band along a whole curve takes about a second each


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextAnalysis:
    """All that is found.

    Attributes
    ----------
    effects : of loci, with their contexts.
    fit : of effects to contexts.
    comparators : a row a model, see `compare`.
    held_out : how models foresee loci not seen; None where that was not asked for.
    verdict : whether effects vary with context.
    curves : f along each context, see `effect_curves`.
    loci : a row a locus, see `ContextualMR.locus_effects`, with its contexts and held-out prediction.
    sensitivity : the same fit otherwise, see `check_contexts_matter`; None where that was not asked for.
    egger : contextual MR-Egger at the points of the curves; None where that was not asked for.
    """

    effects: LocusEffects
    fit: ContextualMR
    comparators: pd.DataFrame
    held_out: HeldOutLoci | None
    verdict: Verdict
    curves: pd.DataFrame
    loci: pd.DataFrame
    sensitivity: pd.DataFrame | None = None
    egger: pd.DataFrame | None = None


def analyse(
    effects: LocusEffects,
    *,
    shape: Method,
    nuisance: Nuisance,
    context_errors: ContextErrors,
    folds: int,
    level: float,
    seed: int,
    sensitivity: bool = False,
) -> ContextAnalysis:
    """Fit effects to contexts, score held-out loci, test, and draw up the tables.

    Parameters
    ----------
    effects : of loci, with their contexts.
    shape, nuisance, context_errors : of `fit_contextual_mr`.
    folds : of held-out loci; 0 for none.
    level : of intervals; the test is at 1 less this.
    seed : of folds, clusters and draws.
    sensitivity : whether to fit again without each context, without weak loci, and with other errors.
    """
    options = {"method": shape, "nuisance": nuisance, "context_errors": context_errors}
    with meter(description="contextual effects", total=4 + sensitivity, unit="steps") as advance:
        fit = fit_contextual_mr(
            effects, method=shape, nuisance=nuisance, context_errors=context_errors, level=level, seed=seed
        )
        advance(1)
        held_out = None
        if folds:
            held_out = score_held_out(effects, options=options, n_folds=folds, level=level, seed=seed)
        advance(1)
        verdict = judge_context(effects, held_out, alpha=1 - level, seed=seed)
        comparators = compare(effects, fit, seed=seed)
        advance(1)
        curves = effect_curves(fit, level=level, seed=seed)
        advance(1)
        otherwise = None
        if sensitivity:
            otherwise = check_contexts_matter(fit)
            advance(1)
    loci = fit.locus_effects()
    loci = pd.concat([loci, pd.DataFrame(effects.contexts, columns=list(effects.context_names))], axis=1)
    if held_out is not None:
        comparators = _with_scores(comparators, held_out)
        loci["held_out_beta"] = held_out.loci["contextual_mean"].to_numpy()
        loci["fold"] = held_out.loci["fold"].to_numpy()
    return ContextAnalysis(
        effects=effects,
        fit=fit,
        comparators=comparators,
        held_out=held_out,
        verdict=verdict,
        curves=curves,
        loci=loci,
        sensitivity=otherwise,
    )


def _with_scores(comparators: pd.DataFrame, held_out: HeldOutLoci) -> pd.DataFrame:
    """Add what held-out loci say of each model."""
    scores = held_out.scores.drop(columns="n").rename(
        columns={"rmse": "held_out_rmse", "log_score": "held_out_log_score", "coverage": "held_out_coverage"}
    )
    paired = held_out.paired[["against", "difference", "ci_low", "ci_high"]].set_axis(
        ["method", "gain", "gain_low", "gain_high"], axis=1
    )
    return comparators.merge(scores, on="method", how="left").merge(paired, on="method", how="left")


def remarks(found: ContextAnalysis) -> tuple[str, ...]:
    """Say what is not there, and why: curves, or the linear meta-regression.

    Parameters
    ----------
    found : of a run.
    """
    said = []
    if "linear" not in set(found.comparators["method"]):
        try:
            fit_comparator("linear", found.effects)
        except InputError as error:
            said.append(f"The linear meta-regression is left out: {error}.")
    n_curves = found.curves["context"].nunique()
    if n_curves < len(found.fit.relevance):
        said.append(f"Curves are of the {n_curves} most relevant of {len(found.fit.relevance)} contexts.")
    return tuple(said)


def effect_curves(fit: ContextualMR, *, level: float, seed: int) -> pd.DataFrame:
    """Return f along the contexts that are used, the `MOST_CURVES` most relevant, with all others at their median.

    Parameters
    ----------
    fit : of effects to contexts.
    level : of the bands.
    seed : of the draws behind bands that hold along a whole curve.

    Returns
    -------
    `context`, `value`; of `ContextualMR.predict` all columns (`ci_low` and `ci_high` hold at each value by itself);
    `band_low`, `band_high`, which hold along the whole curve at once.
    """
    parts = []
    for name, values, points in _lines(fit):
        band = bands(fit.surface, points, level=level, kind="simultaneous", seed=seed)
        found = _named(fit.predict(points, level=level), name, values)
        parts.append(found.assign(band_low=band.low[:, 0, 0], band_high=band.high[:, 0, 0]))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["context", "value"])


def egger_curves(egger: ContextualEgger, fit: ContextualMR) -> pd.DataFrame:
    """Return slope and intercept of contextual MR-Egger where the curves of a fit are.

    Parameters
    ----------
    egger : of the instruments.
    fit : of effects to the same contexts.
    """
    parts = [_named(egger.predict(points), name, values) for name, values, points in _lines(fit)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["context", "value"])


def _lines(
    fit: ContextualMR,
) -> Iterator[tuple[str, Float[np.ndarray, "points"], Float[np.ndarray, "points contexts"]]]:
    """Yield the most relevant contexts with values of each, and points there with all others at their median."""
    effects = fit.effects
    middle = np.median(effects.contexts, axis=0)
    shown = sorted(fit.relevance, key=lambda name: -fit.relevance[name])[:MOST_CURVES]
    for k, name in enumerate(effects.context_names):
        if name not in shown or name in fit.surface.record.constant:
            continue
        seen = np.unique(effects.contexts[:, k])
        values = seen if len(seen) <= FEW_VALUES else np.linspace(seen[0], seen[-1], POINTS)
        points = np.tile(middle, (len(values), 1))
        points[:, k] = values
        yield name, values, points


def _named(found: pd.DataFrame, name: str, values: Float[np.ndarray, "points"]) -> pd.DataFrame:
    found.insert(0, "context", name)
    found.insert(1, "value", values)
    return found
