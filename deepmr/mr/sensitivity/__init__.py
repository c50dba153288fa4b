"""Sensitivity analyses: what an estimate rests on, and whether other methods agree with it."""

from deepmr.mr.sensitivity.directions import Directions, compare_directions
from deepmr.mr.sensitivity.findings import Findings
from deepmr.mr.sensitivity.heterogeneity import heterogeneity
from deepmr.mr.sensitivity.leave_one_out import leave_one_out, single_instruments
from deepmr.mr.sensitivity.outliers import OUTLIER_TESTS, USUAL_TESTS, q_outliers
from deepmr.mr.sensitivity.signs import sign_concordance
from deepmr.mr.sensitivity.steiger import Filtered, steiger, steiger_filter, steiger_variants
from deepmr.mr.sensitivity.strength import strength
from deepmr.mr.sensitivity.suite import Sensitivity, check_sensitivity, compare_methods, examine, usual_methods

__all__ = [
    "OUTLIER_TESTS",
    "USUAL_TESTS",
    "Directions",
    "Filtered",
    "Findings",
    "Sensitivity",
    "check_sensitivity",
    "compare_directions",
    "compare_methods",
    "examine",
    "heterogeneity",
    "leave_one_out",
    "q_outliers",
    "sign_concordance",
    "single_instruments",
    "steiger",
    "steiger_filter",
    "steiger_variants",
    "strength",
    "usual_methods",
]
