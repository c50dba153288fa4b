"""What the study measures of one round: every method's effect beside the truth of the same loci."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from paper_rounds import Round, RoundEffects

from deepmr.instruments.strength import DEFAULT, Selection, select_instruments
from deepmr.ism.members import pool_members
from deepmr.ism.variants import single_edits, variants_of
from deepmr.meta import pool_estimates
from deepmr.mr import estimate_effects
from deepmr.simulate.options import TASKS
from deepmr.simulate.sequences import SimulatedLoci
from deepmr.simulate.truth import true_effects
from deepmr.types import Estimates, Instruments, MemberEffects, SummaryStats, Task

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


def member_effects(loci: SimulatedLoci, delta: Float[np.ndarray, "members loci edits tasks"]) -> MemberEffects:
    """Name the edits of kept effects."""
    members, n_loci, edits, n_tasks = delta.shape
    return MemberEffects(
        variants=variants_of(single_edits(loci.codes), loci.sequences),
        tasks=tuple(Task(name=name) for name in TASKS),
        delta=delta.reshape(members, n_loci * edits, n_tasks),
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
    estimates: Estimates, truth: pd.DataFrame, *, weights: str = "equal", definition: str = "beta"
) -> pd.DataFrame:
    """Pool the effects of loci and compare global and local effects with the truth of the same loci, a row a method.

    Parameters
    ----------
    estimates : of one pair, several methods.
    truth : by locus; loci are joined by name, and only those estimated count.
    """
    pooled = pool_estimates(estimates, weights=weights).table.set_index("method")
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
    return rows.reset_index()


def new_locus_coverage(estimates: Estimates, joined: pd.DataFrame, *, weights: str) -> pd.Series:
    """Return how often a prediction interval from one half of the loci holds the true effect of a locus of the other.

    Parameters
    ----------
    joined : rows of the estimates with the truth in `true`.
    """
    home = pd.factorize(joined["locus"])[0] % HALVES
    shares = []
    for half in range(HALVES):
        pooled = pool_estimates(take(estimates, home == half), weights=weights).table.set_index("method")
        other = joined[home != half]
        low, high = (other["method"].map(pooled[name]) for name in ("pi_low", "pi_high"))
        shares.append(other["true"].between(low, high).groupby(other["method"]).mean())
    return sum(shares) / HALVES


def take(estimates: Estimates, rows: Sequence[bool] | np.ndarray) -> Estimates:
    """Return some rows of estimates."""
    factors = estimates.error_factors
    return Estimates(
        table=estimates.table[rows].reset_index(drop=True),
        skipped=estimates.skipped.iloc[:0],
        error_factors=None if factors is None else factors[:, rows],
    )


def analyse(unit: Round, effects: RoundEffects) -> pd.DataFrame:
    """Measure a round: one row per method, estimand, interval and kind of locus."""
    target = targets_of(unit, effects, kind="both")
    stats = pool_members(target.effects)
    instruments = chosen_instruments(stats, target)
    estimates = estimate_effects(instruments, methods=METHODS)
    rows = []
    for weights in ("equal", "inverse_variance"):
        for definition in ("beta", "released"):
            found = judge(estimates, target.truth, weights=weights, definition=definition)
            rows.append(found.assign(weights=weights, definition={"beta": "averaged"}.get(definition, definition)))
    table = pd.concat(rows, ignore_index=True)
    options = unit.options()
    about = {"arm": unit.arm, "setting": unit.setting, "scenario": unit.scenario, "round": unit.number}
    table = table.assign(estimand="model", kind="both", gamma=options.gamma, alpha=options.alpha)
    table = table.assign(n_candidates=len(target.loci), explained=effects.explained.mean(axis=0).min())
    return table.assign(**about)
