"""Diagnostics of causal effects between marks: what speaks for an estimate, what against it, and a verdict."""

from deepmr.mr.diagnostics.curvature import curvature
from deepmr.mr.diagnostics.direction import asymmetry, effect_direction, shared_instruments
from deepmr.mr.diagnostics.doubles import DoubleEdits, double_edits, propose_doubles
from deepmr.mr.diagnostics.findings import Finding
from deepmr.mr.diagnostics.members import compare_members
from deepmr.mr.diagnostics.permutation import Permutation, permute_outcomes
from deepmr.mr.diagnostics.rejections import rejections
from deepmr.mr.diagnostics.shuffled import shuffled_motifs
from deepmr.mr.diagnostics.strength import instrument_strength
from deepmr.mr.diagnostics.suite import Diagnosis, Evidence, diagnose_pair
from deepmr.mr.diagnostics.thresholds import judge_thresholds
from deepmr.mr.diagnostics.totals import Totals, locus_totals, sample_edits
from deepmr.mr.diagnostics.unusual import SpreadTrend, spread_trend, unusual_edits
from deepmr.mr.diagnostics.verdict import Verdict, relate

__all__ = [
    "Diagnosis",
    "DoubleEdits",
    "Evidence",
    "Finding",
    "Permutation",
    "SpreadTrend",
    "Totals",
    "Verdict",
    "asymmetry",
    "compare_members",
    "curvature",
    "diagnose_pair",
    "double_edits",
    "effect_direction",
    "instrument_strength",
    "judge_thresholds",
    "locus_totals",
    "permute_outcomes",
    "propose_doubles",
    "rejections",
    "relate",
    "sample_edits",
    "shared_instruments",
    "shuffled_motifs",
    "spread_trend",
    "unusual_edits",
]
