"""Seqlets as the units of Mendelian randomization: heterogeneity between them, and what their plurality says."""

from deepmr.mr.seqlets.between import Between, compare_seqlets
from deepmr.mr.seqlets.collapse import Collapsed, collapse
from deepmr.mr.seqlets.families import Families, judge_families, usable
from deepmr.mr.seqlets.plurality import over_seqlets, seqlet_plurality, seqlet_slopes
from deepmr.mr.seqlets.verdicts import judge_seqlets

__all__ = [
    "Between",
    "Collapsed",
    "Families",
    "collapse",
    "compare_seqlets",
    "judge_families",
    "judge_seqlets",
    "over_seqlets",
    "seqlet_plurality",
    "seqlet_slopes",
    "usable",
]
