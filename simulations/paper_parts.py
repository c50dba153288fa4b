"""What else is measured of the rounds: the reverse direction, loci without the outcome's motif, numbers of members."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from paper_analysis import Target, chosen_instruments, judge, targets_of
from paper_rounds import Round, RoundEffects, read_round
from scipy import stats as distributions

from deepmr.inference import MemberInterval
from deepmr.instruments.direction import Assignment, locus_sizes
from deepmr.instruments.several import select_several
from deepmr.instruments.strength import effect_scales
from deepmr.ism.members import pool_members
from deepmr.meta import pool_estimates
from deepmr.mr import estimate_effects
from deepmr.mr.intervals import member_intervals
from deepmr.mr.resampled_members import larger_errors, resampled_instruments
from deepmr.simulate.options import TASKS
from deepmr.types import Estimates, Instruments, SummaryStats

EXPOSURE, OUTCOME = TASKS
DIRECTIONS = {"forward": ((EXPOSURE,), OUTCOME), "reverse": ((OUTCOME,), EXPOSURE)}
ENSEMBLES = {2: 10, 3: 10, 5: 10, 10: 5, 20: 2}  # members of an ensemble: how many disjoint ones are made of 50
INTERVALS: tuple[MemberInterval, ...] = ("moderated", "mean")


def directions(unit: Round, effects: RoundEffects, out: Path) -> pd.DataFrame:
    """Estimate both directions of a round with every way to assign edits to a task, and say whether 0 is left out."""
    target = targets_of(unit, effects, kind="both")
    found = both_directions(pool_members(target.effects), list(target.loci.names))
    rows = [zeros(local) | {"assign": assign, "direction": direction} for assign, direction, local in found]
    return _named(pd.DataFrame(rows), unit)


def both_directions(stats: SummaryStats, names: list[str]) -> Iterator[tuple[Assignment, str, Estimates]]:
    """Estimate both directions with every way to assign edits to a task."""
    known = {"scales": effect_scales([stats]), "sizes": locus_sizes([stats], loci=names), "loci": names}
    for assign in get_args(Assignment):
        chosen = select_several([stats], models=list(DIRECTIONS.values()), assign=assign, **known)
        for direction, one in zip(DIRECTIONS, chosen, strict=True):
            yield assign, direction, member_intervals(estimate_effects(one.instruments, methods=("ivw",)))


def zeros(local: Estimates) -> dict[str, object]:
    """Say whether the pooled interval leaves out 0, and of how many loci it does."""
    if not len(local):
        return {"n_loci": 0, "beta": np.nan, "excludes_0": False, "local_excludes_0": np.nan}
    pooled, table = pool_estimates(local).table.iloc[0], local.table
    away = (table["ci_low"] > 0) | (table["ci_high"] < 0)
    return {
        "n_loci": len(table),
        "beta": pooled["beta"],
        "ci_low": pooled["ci_low"],
        "ci_high": pooled["ci_high"],
        "excludes_0": bool(pooled["ci_low"] > 0 or pooled["ci_high"] < 0),
        "local_excludes_0": away.mean(),
    }


def exposure_only(unit: Round, effects: RoundEffects, out: Path) -> pd.DataFrame:
    """Estimate the effect at loci without the outcome's motif, as a ratio of sums over loci.

    A mean of such loci's ratios means nothing where some edits change next to nothing. Interval: (1 + 1/K) times the
    variance between members, t with K - 1 degrees of freedom.
    """
    target = targets_of(unit, effects, kind="exposure")
    given = chosen_instruments(pool_members(target.effects), target)
    x, y = given.beta_exposure[:, 0], given.beta_outcome
    factors, k = given.error_factors, len(effects.test)
    beta = float(x @ y / (x @ x))
    # To first order: what each member's errors move the ratio by; their sum of squares is (1 + 1/K) of its variance.
    moved = ((factors[..., 1] - beta * factors[..., 0]) @ x) / (x @ x)
    half = float(np.sqrt(np.sum(moved**2)) * distributions.t.ppf(0.975, k - 1))
    used = target.truth[target.truth["locus"].isin(np.asarray(given.loci)[np.diff(given.offsets) > 0])]
    true = float(used["sum_dxdy"].sum() / used["sum_dx2"].sum())
    local = member_intervals(estimate_effects(given, methods=("ivw",)))
    joined = local.table.merge(target.truth, on="locus", suffixes=("", "_true"))
    row = {
        "n_loci": len(used),
        "true": true,
        "beta": beta,
        "ci_low": beta - half,
        "ci_high": beta + half,
        "covers": abs(beta - true) <= half,
        "local_coverage": joined["beta_true"].between(joined["ci_low"], joined["ci_high"]).mean(),
    }
    return _named(pd.DataFrame([row]), unit)


def by_members(unit: Round, effects: RoundEffects, out: Path) -> pd.DataFrame:
    """Make ensembles of some sizes from a round with many members, and see whether each holds what the others say.

    Of every ensemble's effects there are three truths: what all other members say on average, what one of them says,
    and the data-generating effect; each of the same loci.
    """
    whole = targets_of(unit, effects, kind="both")
    order = np.random.default_rng(unit.seed).permutation(len(effects.test))
    rows = []
    for size, n in ENSEMBLES.items():
        for number in range(n):
            mine = np.zeros(len(order), dtype=bool)
            mine[order[number * size : (number + 1) * size]] = True
            for row in _one_ensemble(whole, mine):
                rows.append(row.assign(members=size, ensemble=number))
    return _named(pd.concat(rows, ignore_index=True), unit)


def _one_ensemble(whole: Target, mine: np.ndarray) -> Iterator[pd.DataFrame]:
    delta = whole.effects.delta
    given = chosen_instruments(pool_members(replace(whole.effects, delta=delta[mine])), whole)
    local = estimate_effects(given, methods=("ivw",))
    truths = {
        "others": _slopes(whole, given, delta[~mine].mean(axis=0)),
        "one more": _slopes(whole, given, delta[~mine][0]),
        "data": whole.truth[["locus", "beta"]],
    }
    for kind in INTERVALS:
        found = member_intervals(local, kind=kind)
        for name, truth in truths.items():
            yield judge(found, truth).assign(interval=kind, of=name)


def _slopes(whole: Target, given: Instruments, delta: np.ndarray) -> pd.DataFrame:
    """Return the slope at every locus that other effects show at the same instruments."""
    at = pd.Index(whole.effects.variants["variant_id"]).get_indexer(given.variants["variant_id"])
    x, y = delta[at].astype(float).T
    locus = np.repeat(np.asarray(given.loci, dtype=object), np.diff(given.offsets))
    sums = pd.DataFrame({"locus": locus, "xy": x * y, "xx": x * x}).groupby("locus", sort=False).sum()
    return (sums["xy"] / sums["xx"]).rename("beta").reset_index()


def with_bootstrap(unit: Round, effects: RoundEffects, out: Path) -> pd.DataFrame:
    """Take the spread of networks trained on resampled data where it is larger than that of the seeds.

    The seeds are the networks of the main round of the same number; the effects given are of the resampled ones.
    """
    seeds = replace(unit, arm="main", training={}, kinds=("both", "exposure"))
    target = targets_of(seeds, read_round(seeds, out), kind="both")
    resampled = targets_of(unit, effects, kind="both").effects
    given = chosen_instruments(pool_members(target.effects), target)
    at = pd.Index(resampled.variants["variant_id"]).get_indexer(given.variants["variant_id"])
    own = estimate_effects(given, methods=("ivw",))
    other = estimate_effects(resampled_instruments(given, resampled.delta[:, at].astype(float)), methods=("ivw",))
    wider, choices = larger_errors(own, other)
    rows = [
        judge(member_intervals(found), target.truth).assign(interval=name)
        for name, found in (("seeds", own), ("larger of both", wider))
    ]
    return _named(pd.concat(rows, ignore_index=True).assign(used=choices[0].used), unit)


def _named(rows: pd.DataFrame, unit: Round) -> pd.DataFrame:
    options = unit.options()
    return rows.assign(
        arm=unit.arm, setting=unit.setting, scenario=unit.scenario, round=unit.number, gamma=options.gamma
    )
