"""What the study measures of one round: every method's effect beside the truth of the same loci."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from paper_labels import BUDGETS, DRAWS, MAIN_BUDGET, calibrate, calibrate_on_training_set, labelled_loci
from paper_rounds import Round, RoundEffects, member_effects

from deepmr.instruments.strength import DEFAULT, Selection, select_instruments
from deepmr.ism.members import pool_members
from deepmr.labelled import LabelledCalibration, apply_labelled
from deepmr.meta import pool_estimates
from deepmr.mr import estimate_effects
from deepmr.mr.intervals import member_intervals
from deepmr.simulate.options import TASKS
from deepmr.simulate.sequences import SimulatedLoci
from deepmr.simulate.truth import true_effects
from deepmr.types import Estimates, Instruments, MemberEffects, SummaryStats

METHODS = ("wald", "ivw", "ivw_random", "egger", "egger_robust", "median_weighted", "mode_weighted", "raps")
EXPOSURE, OUTCOME = TASKS
HALVES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The loci of one kind in a round, with their true effects by both definitions.

    Attributes
    ----------
    truth : one row a locus: locus, beta (averaged over z), released (of the published code).
    """

    loci: SimulatedLoci
    effects: MemberEffects
    truth: pd.DataFrame


def targets_of(unit: Round, effects: RoundEffects, *, kind: str) -> Target:
    """Return the test loci of one kind with their effects and truths."""
    loci = unit.loci("test", kinds=unit.kinds)
    rows = loci.kind == kind
    chosen = loci.take(rows)
    truth = true_effects(chosen, options=unit.options()).set_index("locus")
    released = true_effects(chosen, options=unit.options(), definition="released").set_index("locus")["beta"]
    return Target(
        loci=chosen,
        effects=member_effects(chosen, effects.test[:, rows]),
        truth=truth.assign(released=released).reset_index()[["locus", "beta", "released", "sum_dxdy", "sum_dx2"]],
    )


def chosen_instruments(
    stats: SummaryStats, target: Target, *, exposure: str = EXPOSURE, selection: Selection = DEFAULT
) -> Instruments:
    """Select the instruments of the test loci."""
    outcome = OUTCOME if exposure == EXPOSURE else EXPOSURE
    return select_instruments(
        stats, exposure=exposure, outcome=outcome, selection=selection, loci=list(target.loci.names)
    )


def judge(
    estimates: Estimates, truth: pd.DataFrame, *, weights: str = "equal", definition: str = "beta", ci: str = "HK"
) -> pd.DataFrame:
    """Pool the effects of loci and compare global and local effects with the truth of the same loci, a row a method.

    Parameters
    ----------
    estimates : of one pair, several methods.
    truth : by locus; loci are joined by name, and only those estimated count.
    """
    pooled = pool_estimates(estimates, weights=weights, ci=ci).table.set_index("method")
    joined = estimates.table.merge(truth[["locus", definition]], on="locus", suffixes=("", "_true"), how="left")
    true = joined[f"{definition}_true" if definition == "beta" else definition]
    if true.isna().any():
        raise ValueError(f"no truth for {joined['locus'][true.isna()].iloc[0]}")
    joined = joined.assign(true=true, error=joined["beta"] - true)
    joined["covered"] = joined["true"].between(joined["ci_low"], joined["ci_high"])
    joined["width"] = joined["ci_high"] - joined["ci_low"]
    local = joined.groupby("method", sort=False).agg(
        true=("true", "mean"),
        true_sd=("true", "std"),
        local_coverage=("covered", "mean"),
        local_width=("width", "median"),
        local_rmse=("error", lambda error: float(np.sqrt(np.mean(error**2)))),
        n_loci=("locus", "size"),
    )
    kept = ["beta", "se", "ci_low", "ci_high", "pi_low", "pi_high", "tau2", "se_sampling", "se_member"]
    rows = local.join(pooled.reindex(columns=kept))
    rows["covers"] = rows["true"].between(rows["ci_low"], rows["ci_high"])
    rows["new_locus_coverage"] = new_locus_coverage(estimates, joined, weights=weights)
    return rows.reset_index().assign(weights=weights, definition={"beta": "averaged"}.get(definition, definition))


def new_locus_coverage(estimates: Estimates, joined: pd.DataFrame, *, weights: str) -> pd.Series:
    """Return how often a prediction interval from one half of the loci holds the true effect of a locus of the other.

    Parameters
    ----------
    joined : rows of the estimates with the truth in `true`.
    """
    home = pd.factorize(joined["locus"])[0] % HALVES
    shares = []
    for half in range(HALVES):
        pooled = pool_estimates(estimates.take(home == half), weights=weights).table.set_index("method")
        other = joined[home != half]
        low, high = (other["method"].map(pooled[name]) for name in ("pi_low", "pi_high"))
        shares.append(other["true"].between(low, high).groupby(other["method"]).mean())
    return sum(shares) / HALVES


def analyse(unit: Round, effects: RoundEffects, out: Path) -> pd.DataFrame:
    """Measure a round: a row per method, estimand, interval, source of labels, weights and definition of the truth."""
    target = targets_of(unit, effects, kind="both")
    stats = pool_members(target.effects)
    estimates = estimate_effects(chosen_instruments(stats, target), methods=METHODS)
    default = estimates.take((estimates.table["method"] == "ivw").to_numpy())
    rows = [
        judge(member_intervals(estimates), target.truth).assign(interval="moderated"),
        judge(member_intervals(estimates), target.truth, weights="inverse_variance").assign(interval="moderated"),
        judge(member_intervals(estimates), target.truth, definition="released").assign(interval="moderated"),
    ]
    for kind in ("members", "mean", "rubin"):
        rows.append(judge(member_intervals(default, kind=kind), target.truth).assign(interval=kind))
    rows.append(
        judge(
            member_intervals(estimates, kind="paired_sd"), target.truth, weights="inverse_variance", ci="normal"
        ).assign(interval="paired_sd")
    )
    table = pd.concat(rows, ignore_index=True).assign(estimand="model", labels="none", n_labels=0, draw=0)
    table = pd.concat([table, calibrated_rows(unit, effects, out, estimates, default, target)], ignore_index=True)
    options = unit.options()
    return table.assign(
        arm=unit.arm,
        setting=unit.setting,
        scenario=unit.scenario,
        round=unit.number,
        kind="both",
        gamma=options.gamma,
        alpha=options.alpha,
        n_candidates=len(target.loci),
        explained=effects.explained.mean(axis=0).min(),
    )


def calibrated_rows(
    unit: Round, effects: RoundEffects, out: Path, estimates: Estimates, default: Estimates, target: Target
) -> pd.DataFrame:
    """Calibrate on labelled edits, every method on the main budget and the default on all, and on the training set."""
    given = labelled_loci(unit, effects, METHODS)
    alone = replace(given, estimates=given.estimates.take((given.estimates.table["method"] == "ivw").to_numpy()))
    rows = []
    for budget in BUDGETS:
        for draw in range(DRAWS):
            every = budget == MAIN_BUDGET and draw == 0
            n_loci, n_edits = budget
            found, n = calibrate(unit, given if every else alone, n_loci=n_loci, n_edits=n_edits, draw=draw)
            mine = apply_labelled(estimates if every else default, found)
            rows.append(_labelled(judge(mine, target.truth), f"{n_loci} x {n_edits}", n, draw, found))
    own = calibrate_on_training_set(unit, out, ("ivw",))
    if own is not None:
        rows.append(_labelled(judge(apply_labelled(default, own[0]), target.truth), "training set", own[1], 0, own[0]))
    return pd.concat(rows, ignore_index=True).assign(estimand="calibrated", interval="labels")


def _labelled(rows: pd.DataFrame, labels: str, n: int, draw: int, found: LabelledCalibration) -> pd.DataFrame:
    pairs = {pair.method: pair for pair in found.pairs}
    extra = {
        name: [getattr(pairs[method], name) for method in rows["method"]]
        for name in ("shift", "shrink", "scale", "floor")
    }
    loci = [len(pairs[method].loci) for method in rows["method"]]
    return rows.assign(labels=labels, n_labels=n, draw=draw, n_labelled_loci=loci, **extra)
