"""`deepmr context`: how the causal effect of one mark on another goes with the context of a locus."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from deepmr import checks
from deepmr.commands.context_analysis import MOST_CURVES, ContextAnalysis, analyse, egger_curves, remarks
from deepmr.commands.context_effects import Stage, join, permuted, read_local, refuse_results, shared_networks
from deepmr.commands.record import record_beside
from deepmr.contextual.causal import ContextErrors, Method, Nuisance
from deepmr.contextual.contextual_egger import fit_contextual_egger
from deepmr.errors import InputError
from deepmr.instruments.direction import Assignment
from deepmr.instruments.strength import Rule
from deepmr.io.contexts import LOCUS, ContextTable, read_contexts
from deepmr.io.contextual_fits import write_fit
from deepmr.io.directories import atomic_directory, check_directory
from deepmr.io.provenance import provenance
from deepmr.io.tables import write_table

RECORD = "context.json"
PAGE = "report.html"
FIT = "fit"
SHUFFLED = "NEGATIVE CONTROL: every locus has the contexts of another one, drawn at random with seed {}"


def context(
    effects: Path,
    *,
    context: Path,
    out: Path,
    exposure: str | None = None,
    outcome: str | None = None,
    columns: list[str] | None = None,
    categorical: list[str] | None = None,
    method: str | None = None,
    estimand: str | None = None,
    rule: Rule = "relative",
    threshold: float | None = None,
    significance: float = 0.05,
    min_instruments: int = 3,
    assign: Assignment = "none",
    stage: Stage = "two",
    shape: Method = "gp",
    nuisance: Nuisance = "none",
    context_errors: ContextErrors = "expected_kernel",
    folds: int = 10,
    egger: bool = False,
    sensitivity: bool = False,
    permute: int | None = None,
    predict: Path | None = None,
    level: float = 0.95,
    seed: int = 0,
    page: bool = True,
    overwrite: bool = False,
) -> dict[str, object]:
    """Fit how the effect of one mark on another varies with the context of a locus.

    Effects of loci have known errors; contexts are a table, such as deepmr features writes, never made from the same
    edits. Says whether there is evidence that effects vary with context, by a test and by loci that the fit has not
    seen, beside a fixed effect, random effects, a linear meta-regression and clusters.

    Parameters
    ----------
    effects
        Effects of edits (effects.h5, or a TSV or NPZ table made elsewhere), or estimates a locus, as deepmr mr writes.
    context
        Contexts: a table with a row a locus, first of all its name (locus). <context>_se is a known standard error.
    out
        Directory to make.
    exposure
        Task taken as the cause.
    outcome
        Task taken as the effect.
    columns
        Contexts to use, also as patterns; default all that the table has.
    categorical
        Contexts whose numbers are names of categories.
    method
        Estimator at each locus; default ivw, or what a table of estimates has.
    estimand
        Rows to use of a table that has several: model, calibrated or population.
    rule
        How instruments are chosen, as for deepmr mr.
    threshold
        Share of the pooled 99th percentile (default 0.25), F (10) or z-score (1).
    significance
        Level of the test that the relative rule adds; 1 turns it off.
    min_instruments
        Fewest instruments that a locus needs.
    assign
        Which strong edits belong to the exposure, as for deepmr mr.
    stage
        two: effects are estimated locus by locus, then fitted to contexts; one: from the instruments of all loci at
        once, with one variance of direct effects, so that loci with one instrument serve too.
    shape
        How effects go with context: gp, constant, linear and smooth functions averaged by how likely they are; linear;
        or constant, which is random effects.
    nuisance
        strength: the effect also has a part that goes with 1/F of the instruments, which is left out of the curve.
    context_errors
        What is done about known errors of contexts: expected_kernel, the curve is that of the true context; ignored.
    folds
        Refits without some chromosomes (or, where these are unknown, loci), to score what is said of them; 0 for none.
    egger
        Also fit MR-Egger whose slope and intercept go with context; needs effects of edits.
    sensitivity
        Also fit without each context, without weak loci, and with other errors.
    permute
        Give every locus the contexts of another one, by this seed: a control in which nothing is to be found.
    predict
        Contexts of further loci, whose effects to predict.
    level
        Level of intervals and bands; the test is at 1 less this.
    seed
        Of folds, clusters and draws.
    page
        Whether to write report.html.
    overwrite
        Replace a result that is there.

    Returns
    -------
    dict
        The verdict, comparators, the contexts that matter, loci used and skipped, and where the files are.

    Raises
    ------
    InputError
        For a file, column or option that cannot be used, contexts that come from the edits themselves, or fewer than
        three loci.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    checks.level(level)
    checks.at_least("seed", seed, 0)
    checks.at_least("permute", permute, 0)
    checks.at_least("min_instruments", min_instruments, 1)
    if folds == 1 or folds < 0:
        raise InputError(f"--folds must be 0, for none, or at least 2; got {folds}")
    check_directory(out, marker=RECORD, overwrite=overwrite)
    refuse_results(context, effects)
    table = read_contexts(context, columns=columns, categorical=categorical or ())
    new = None if predict is None else _new_loci(predict, effects, table)
    local = read_local(effects, exposure=exposure, outcome=outcome, method=method, estimand=estimand, options=options)
    if egger and local.instruments is None:
        raise InputError("--egger starts from instruments: it needs effects of edits, not a table of estimates")
    given = table if permute is None else permuted(local, table, seed=permute)
    loci, skipped = join(local, given, stage=stage)
    if (loci.contexts == loci.contexts[0]).all():
        raise InputError(f"{context}: no context varies over the {len(loci)} loci with effects; nothing can go with it")
    found = analyse(
        loci,
        shape=shape,
        nuisance=nuisance,
        context_errors=context_errors,
        folds=folds,
        level=level,
        seed=seed,
        sensitivity=sensitivity,
    )
    left_out: tuple[str, ...] = remarks(found)
    if egger and local.instruments is not None:
        frame = loci.to_frame()[["locus", *loci.context_names]]
        try:
            lines, _ = fit_contextual_egger(local.instruments, frame, names=loci.context_names, level=level)
            found = replace(found, egger=egger_curves(lines, found.fit))
        except InputError as error:  # instruments too alike for a slope are no reason to lose all the rest
            left_out += (f"Contextual MR-Egger is left out: {error}.",)
    notes = (
        *(() if permute is None else (f"{SHUFFLED.format(permute)}.",)),
        *table.notes,
        *shared_networks(local, table, context),
        *found.fit.warnings,
        *left_out,
        *_not_predicted(new, predict),
        *local.warnings,
    )
    inputs = {"effects": effects, "context": context, **({} if predict is None else {"predict": predict})}
    record = provenance("context", options=options, inputs=inputs, seed=seed)
    record |= _findings(found, skipped, table, notes)
    predicted = None if new is None else _predicted(found, new)
    with atomic_directory(out) as folder:
        tables: dict[str, pd.DataFrame | None] = {
            "comparators": found.comparators,
            "loci": found.loci,
            "curve": found.curves,
            "skipped": skipped,
            "predictions": predicted,
            "sensitivity": found.sensitivity,
            "egger": found.egger,
        }
        for name, rows in tables.items():
            if rows is not None:
                write_table(rows, folder / f"{name}.tsv")
        write_fit(found.fit.surface, folder / FIT, record)
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        if page:
            from deepmr.commands.context_page import write_page  # matplotlib and the page's templates

            write_page(
                folder / PAGE,
                found,
                skipped=skipped,
                notes=notes,
                record=record,
                predicted=predicted,
                provenance={path.name: kept for path in inputs.values() if (kept := record_beside(path))},
            )
    return _summary(found, skipped, notes) | {
        "results": str(out),
        **({"report": str(out / PAGE)} if page else {}),
        **({} if predicted is None else {"predictions": str(out / "predictions.tsv")}),
    }


def _new_loci(path: Path, effects: Path, table: ContextTable) -> ContextTable:
    """Read contexts of further loci, with the columns and categories of the fit."""
    refuse_results(path, effects)
    found = read_contexts(path, columns=table.columns, levels=table.levels)
    missing = [name for name in table.names if name not in found.names]
    if missing:
        raise InputError(f"{path}: lacks the contexts {', '.join(missing)} of the fit")
    return found


def _predicted(found: ContextAnalysis, new: ContextTable) -> pd.DataFrame:
    points = new.frame[list(found.effects.context_names)].to_numpy(float)
    rows = found.fit.predict(points)
    rows.insert(0, "locus", new.frame[LOCUS].to_numpy(object))
    return rows


def _not_predicted(new: ContextTable | None, path: Path | None) -> tuple[str, ...]:
    """Say which further loci have no prediction, with the reason of the first."""
    if new is None or path is None or not len(new.skipped):
        return ()
    first = new.skipped.iloc[0]
    n = len(new.skipped) + len(new.frame)
    return (f"{len(new.skipped)} of {n} loci in {path.name} are not predicted; {first[LOCUS]}: {first['reason']}.",)


def _findings(
    found: ContextAnalysis, skipped: pd.DataFrame, table: ContextTable, notes: tuple[str, ...]
) -> dict[str, Any]:
    """Return what the record says of the result."""
    fit, verdict, effects = found.fit, found.verdict, found.effects
    mean, se = fit.mean_effect()
    return {
        "exposure": effects.exposure,
        "outcome": effects.outcome,
        "method": effects.method,
        "estimand": effects.estimand,
        "verdict": verdict.sentence,
        "contextual": bool(verdict.found),
        "pvalue": verdict.pvalue,
        "kernels": verdict.kernels.to_dict(orient="records"),
        "held_out": None
        if found.held_out is None
        else {"note": found.held_out.note, "against": found.held_out.paired.to_dict(orient="records")},
        "mean_effect": mean,
        "mean_effect_se": se,
        "tau": [fit.tau, fit.tau_low, fit.tau_high],
        "shapes": dict(fit.shares),
        "relevance": dict(fit.relevance),
        "attenuation": dict(fit.attenuation),
        "contexts": list(effects.context_names),
        "levels": {name: list(levels) for name, levels in table.levels.items()},
        "n_loci": len(effects),
        "n_skipped": len(skipped),
        "notes": list(notes),
    }


def _summary(found: ContextAnalysis, skipped: pd.DataFrame, notes: tuple[str, ...]) -> dict[str, object]:
    effects, fit = found.effects, found.fit
    shown = ["method", "beta", "ci_low", "ci_high", "tau", "held_out_rmse", "held_out_log_score"]
    comparators = found.comparators[[name for name in shown if name in found.comparators.columns]]
    relevance = sorted(fit.relevance.items(), key=lambda item: -item[1])
    return {
        "verdict": found.verdict.sentence,
        "effect": f"{effects.exposure} on {effects.outcome}, by {effects.method or 'given estimates'}",
        "loci": len(effects),
        "comparators": comparators.astype(object).where(comparators.notna(), "-").to_dict(orient="records"),
        "contexts": [{"context": name, "relevance": value} for name, value in relevance[:MOST_CURVES]],
        "loci_skipped": [
            {"reason": str(reason), "loci": int(n)} for reason, n in skipped["reason"].value_counts().items()
        ],
        "notes": list(notes),
        "estimand": effects.estimand,
    }
