"""Rounds of the paper's study without a trained network: what the true functions, or members around them, come to.

Loci, gamma and alpha are those of the round of the same scenario and number in `paper_rounds`.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float
from paper_parts import EXPOSURE, OUTCOME, both_directions, zeros
from paper_rounds import Round

from deepmr.instruments.spans import Spans
from deepmr.instruments.strength import DEFAULT, Selection, select_instruments
from deepmr.io.motifs import paper_motifs
from deepmr.ism.members import pool_members
from deepmr.ism.variants import single_edits, variants_of
from deepmr.meta import pool_estimates
from deepmr.mr import estimate_effects
from deepmr.mr.intervals import member_intervals
from deepmr.simulate.agreement import summarise_agreement
from deepmr.simulate.members import add_member_errors
from deepmr.simulate.options import PRESETS, TASKS, SimulationOptions
from deepmr.simulate.oracle import oracle_edits, oracle_predictor
from deepmr.simulate.sequences import SimulatedLoci, simulate_loci
from deepmr.simulate.spacing import pair_gaps
from deepmr.simulate.truth import true_effects
from deepmr.types import Estimates, MemberEffects, SummaryStats, Task, concat_estimates

# Standard error of every effect of an oracle, which has none: the same for all, so that weights are equal; in units of
# square-root counts, of which a strong edit changes some 18.
NO_ERROR = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleRound:
    """The loci of a round that have both motifs, and the true effects of all their substitutions.

    Attributes
    ----------
    variants, exact : one row a substitution.
    truth : of exposure on outcome, one row a locus.
    """

    loci: SimulatedLoci
    variants: pd.DataFrame
    exact: Float[np.ndarray, "edits tasks"]
    truth: pd.DataFrame


def oracle_round(unit: Round) -> OracleRound:
    """Simulate the test loci of a round and mutate the true functions."""
    return true_round(unit.loci("test", kinds=("both",)), unit.options())


def true_round(loci: SimulatedLoci, options: SimulationOptions) -> OracleRound:
    """Mutate the true functions at some loci."""
    (exact,) = oracle_predictor(options).members
    return OracleRound(
        loci=loci,
        variants=variants_of(single_edits(loci.codes), loci.sequences),
        exact=oracle_edits(loci.codes, member=exact).delta.reshape(-1, len(TASKS)),
        truth=true_effects(loci, options=options),
    )


def motif_selection(loci: SimulatedLoci) -> Selection:
    """Choose instruments in the planted motif of the exposure alone."""
    planted = loci.planted()
    mine = planted[planted["role"] == "exposure"]
    spans = Spans(
        locus=tuple(mine["locus"].astype(str)),
        chrom=("",) * len(mine),
        start=mine["start"].to_numpy(int),
        end=mine["end"].to_numpy(int),
        name=(EXPOSURE,) * len(mine),
    )
    return Selection(rule="motif", spans={EXPOSURE: spans})


def oracle_rows(unit: Round, methods: "dict[str, tuple[str, ...]]", *, se: float = NO_ERROR) -> pd.DataFrame:
    """Estimate with the true functions in place of networks, beside the truth of the same loci.

    Parameters
    ----------
    unit : the round.
    methods : by the rule that chooses instruments, "relative" or "motif".
    se : standard error that every effect is given.
    """
    given = oracle_round(unit)
    stats = SummaryStats(variants=given.variants, traits=TASKS, beta=given.exact, se=np.full(given.exact.shape, se))
    rows = []
    for rule, some in methods.items():
        selection = motif_selection(given.loci) if rule == "motif" else DEFAULT
        instruments = select_instruments(
            stats, exposure=EXPOSURE, outcome=OUTCOME, selection=selection, loci=list(given.loci.names)
        )
        estimates = estimate_effects(instruments, methods=some)
        rows.append(summarise_agreement(estimates.table, given.truth).assign(instruments=rule))
    return _named(pd.concat(rows, ignore_index=True), unit)


def member_stats(given: OracleRound, *, seed: int, n_members: int) -> SummaryStats:
    """Pool members around the true functions, each with smooth errors of its own, and one error of all."""
    edits = single_edits(given.loci.codes)
    delta = add_member_errors(given.exact, locus=edits.locus, offset=edits.offset, n_members=n_members, seed=seed)
    tasks = tuple(Task(name=name) for name in TASKS)
    return pool_members(MemberEffects(variants=given.variants, tasks=tasks, delta=delta))


def reverse_rows(unit: Round) -> pd.DataFrame:
    """Estimate both directions with members around the truth, before and after edits are given to their task."""
    given = oracle_round(unit)
    stats = member_stats(given, seed=unit.seed, n_members=unit.n_members)
    truths = {
        "forward": given.truth.set_index("locus")["beta"],
        "reverse": pd.Series(0.0, index=pd.Index(given.loci.names)),
    }
    rows = []
    for assign, direction, local in both_directions(stats, list(given.loci.names)):
        rows.append(zeros(local) | {"assign": assign, "direction": direction} | _coverage(local, truths[direction]))
    return _named(pd.DataFrame(rows), unit)


def _coverage(local: Estimates, truth: "pd.Series") -> dict[str, float]:
    """Say whether the intervals of the mean and of loci hold the truth, which is by locus."""
    if not len(local):
        return {}
    table, pooled = local.table, pool_estimates(local).table.iloc[0]
    true = table["locus"].map(truth)
    return {
        "truth": true.mean(),
        "covers": float(pooled["ci_low"] <= true.mean() <= pooled["ci_high"]),
        "local_covers": true.between(table["ci_low"], table["ci_high"]).mean(),
    }


def spacing_effects_of(strengths: "tuple[float, ...]", *, n: int, seed: int) -> tuple[Estimates, pd.DataFrame]:
    """Estimate with members around the truth where the effect falls with the distance of the motifs.

    Parameters
    ----------
    strengths : gamma of each simulation; all have the same loci.
    n : sequences, of which a quarter have both motifs.
    seed : of the simulation and the members.

    Returns
    -------
    Effects of loci, the strength in the name of the exposure; and a row a locus and strength with its gap and truth.
    """
    effects, known = [], []
    for gamma in strengths:
        options = SimulationOptions(motifs=paper_motifs(), gamma=gamma, **PRESETS["spacing"])
        loci = simulate_loci(n, options=options, split="test", seed=seed)
        given = true_round(loci.take(loci.kind == "both"), options)
        names = list(given.loci.names)
        instruments = select_instruments(
            member_stats(given, seed=seed, n_members=5), exposure=EXPOSURE, outcome=OUTCOME, loci=names
        )
        mine = member_intervals(estimate_effects(instruments, methods=["ivw"]))
        name = f"{EXPOSURE}, γ {gamma:g}"
        effects.append(replace(mine, table=mine.table.assign(exposure=name)))
        gaps = pair_gaps(given.loci.planted()).rename(columns={"gap": "distance"})
        known.append(gaps.merge(given.truth[["locus", "beta"]], on="locus").assign(exposure=name))
    return concat_estimates(effects), pd.concat(known, ignore_index=True)


def _named(rows: pd.DataFrame, unit: Round) -> pd.DataFrame:
    options = unit.options()
    return rows.assign(
        arm=unit.arm, scenario=unit.scenario, round=unit.number, gamma=options.gamma, alpha=options.alpha
    )
