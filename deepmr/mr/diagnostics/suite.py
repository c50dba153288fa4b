"""All diagnostics of a pair in one call, as far as there is material for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.mr.diagnostics.curvature import curvature
from deepmr.mr.diagnostics.declared import declared
from deepmr.mr.diagnostics.direction import asymmetry, effect_direction
from deepmr.mr.diagnostics.doubles import double_edits, double_effects
from deepmr.mr.diagnostics.findings import findings_frame, judge, judge_effect
from deepmr.mr.diagnostics.members import compare_members
from deepmr.mr.diagnostics.permutation import permute_outcomes
from deepmr.mr.diagnostics.rejections import rejections
from deepmr.mr.diagnostics.shuffled import shuffled_motifs
from deepmr.mr.diagnostics.strength import instrument_strength
from deepmr.mr.diagnostics.thresholds import judge_thresholds
from deepmr.mr.diagnostics.totals import Totals
from deepmr.mr.diagnostics.unusual import spread_trend, unusual_edits
from deepmr.mr.diagnostics.verdict import Verdict, conclude, judge_loci
from deepmr.types import Estimates, Instruments, SummaryStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is at hand on a pair; None where something is not, and its diagnostic is left out then.

    Attributes
    ----------
    instruments : of the direction that is asked about.
    backward : those of the other direction, chosen by the same rule.
    totals : over all edits of every locus.
    background : all edits of some loci, for permutations and for what disagreement is usual.
    sizes : pooled 99th percentiles of the sizes of exposure and outcome effects.
    floor : size that an instrument's exposure effect had to have.
    reference : predictions of the unedited sequences for exposure and outcome, a row a locus, mean over members.
    thresholds : table "thresholds" of `schema.DIAGNOSTICS`, of this pair; `rule` and `threshold` are the ones used.
    doubles, pairs : effects of double edits and what they are made of, see `double_edits`.
    shuffled : effects of edits of shuffled sequences, see `shuffled_motifs`.
    members, metrics, se_factors : see `compare_members`.
    """

    instruments: Instruments
    backward: Instruments | None = None
    totals: Totals | None = None
    background: SummaryStats | None = None
    sizes: tuple[float, float] = (1.0, 1.0)
    floor: float | None = None
    reference: Float[np.ndarray, "loci 2"] | None = None
    thresholds: pd.DataFrame | None = None
    rule: str = "relative"
    threshold: float = 0.25
    doubles: SummaryStats | None = None
    pairs: pd.DataFrame | None = None
    shuffled: SummaryStats | None = None
    members: tuple[str, ...] | None = None
    metrics: pd.DataFrame | None = None
    se_factors: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything that diagnostics say of one direction of a pair.

    Attributes
    ----------
    verdict : in words.
    tables : by name, as `schema.DIAGNOSTICS` declares them.
    """

    verdict: Verdict
    tables: dict[str, pd.DataFrame]

    def to_frame(self) -> pd.DataFrame:
        """Return the findings."""
        return self.tables["findings"].copy()


def diagnose_pair(
    evidence: Evidence,
    *,
    estimates: Estimates,
    pooled: Mapping[str, Any] | None,
    method: str = "ivw",
    n_draws: int = 999,
    seed: int = 0,
    level: float = 0.95,
) -> Diagnosis:
    """Run every diagnostic that there is material for, and say what they amount to.

    Parameters
    ----------
    evidence : on the pair.
    estimates : local ones of the pair and one estimand, of `method` at least.
    pooled : the pooled row of this method: beta, ci_low, ci_high, estimand; None where nothing was pooled.
    method : whose estimates are judged. The diagnostics themselves are about the equal-weight line.
    n_draws : permutations of each kind.
    seed : of the permutations.
    level : of the intervals that permutations put to the test.
    """
    given = evidence.instruments
    exposure, outcome = given.exposure, given.outcome
    estimand = given.estimand if pooled is None else pooled["estimand"]
    unit = evidence.sizes[1] / evidence.sizes[0] if evidence.sizes[0] > 0 else 1.0
    tables = _tables(evidence, n_draws=n_draws, seed=seed, level=level)
    said = judge(tables, exposure=exposure, outcome=outcome, unit=unit)
    found = (judge_effect(pooled, outcome=outcome, unit=unit), *said)
    verdict = conclude(found, exposure=exposure, outcome=outcome, estimand=estimand, row=pooled)
    tables["loci"] = judge_loci(estimates, tables, verdict=verdict, method=method, unit=unit)
    tables["findings"] = findings_frame(found, exposure=exposure, outcome=outcome)
    return Diagnosis(verdict=verdict, tables=tables)


def _tables(evidence: Evidence, *, n_draws: int, seed: int, level: float) -> dict[str, pd.DataFrame]:
    given = evidence.instruments
    found = {
        "strength": instrument_strength(given, totals=evidence.totals, floor=evidence.floor),
        "curvature": curvature(given),
        "rejections": rejections(given),
        "members": compare_members(
            given, members=evidence.members, metrics=evidence.metrics, se_factors=evidence.se_factors
        ),
    }
    if evidence.totals is not None:
        found["direction"] = effect_direction(given, evidence.totals)
    if evidence.backward is not None:
        found["asymmetry"] = asymmetry(given, evidence.backward)
    if evidence.thresholds is not None and len(evidence.thresholds):
        found["thresholds"] = evidence.thresholds
        found["threshold_trends"] = judge_thresholds(
            evidence.thresholds, rule=evidence.rule, threshold=evidence.threshold
        )
    if evidence.doubles is not None and evidence.pairs is not None:
        found["doubles"] = double_edits(given, evidence.doubles, evidence.pairs)
        found["double_effects"] = double_effects(given, evidence.doubles, evidence.pairs)
    if evidence.shuffled is not None:
        found["shuffled"] = shuffled_motifs(given, evidence.shuffled)
    if evidence.background is not None:
        found["unusual"] = _unusual(evidence, evidence.background)
        if _permutable(given, evidence.background):
            drawn = {
                kind: permute_outcomes(
                    given, evidence.background, control=kind, n_draws=n_draws, level=level, seed=seed
                )
                for kind in ("loci", "within")
            }
            found["permutation"] = pd.concat([p.table for p in drawn.values()], ignore_index=True)
            found["null"] = pd.concat([_null(given, kind, p.draws) for kind, p in drawn.items()], ignore_index=True)
    return found


def _null(given: Instruments, control: str, draws: Float[np.ndarray, "draws"]) -> pd.DataFrame:
    frame = pd.DataFrame({"control": control, "beta": draws})
    return declared("null", frame.assign(exposure=given.exposure, outcome=given.outcome))


def _unusual(evidence: Evidence, background: SummaryStats) -> pd.DataFrame:
    given, shared = evidence.instruments, background.error_factors
    trends: list[Any] = [None, None]
    if shared is not None:
        columns = [background.traits.index(name) for name in (given.exposure, given.outcome)]
        df = max(len(shared) - 1.0, 1.0)
        trends = [spread_trend(background.beta[:, k], background.se[:, k], df=df) for k in columns]
    return unusual_edits(given, trends=(trends[0], trends[1]), reference=evidence.reference)


def _permutable(instruments: Instruments, background: SummaryStats) -> bool:
    """Say whether at least two loci have instruments and are in the background."""
    known = set(background.variants["locus"].astype(str))
    used = [locus for locus, count in zip(instruments.loci, instruments.counts, strict=True) if count > 0]
    return len(known.intersection(used)) > 1
