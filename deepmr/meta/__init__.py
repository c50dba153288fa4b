"""Meta-analysis over loci: fixed and random effects, heterogeneity, prediction, groups, moderators, tails, funnels."""

from deepmr.meta.asymmetry import Asymmetry, Filled, rank_test, regression_test, trim_and_fill
from deepmr.meta.discoveries import control_discoveries
from deepmr.meta.evidence import Weighting
from deepmr.meta.heterogeneity import Tau2Interval, tau2_interval
from deepmr.meta.intervals import global_intervals
from deepmr.meta.kernel import Interval, Prediction
from deepmr.meta.leave_one_out import leave_one_out
from deepmr.meta.pooling import pool_estimates
from deepmr.meta.regression import Regression, regress_estimates
from deepmr.meta.robust import pool_robust
from deepmr.meta.subgroups import Subgroups, pool_subgroups
from deepmr.meta.tau2 import Tau2, estimate_tau2

__all__ = [
    "Asymmetry",
    "Filled",
    "Interval",
    "Prediction",
    "Regression",
    "Subgroups",
    "Tau2",
    "Tau2Interval",
    "Weighting",
    "control_discoveries",
    "estimate_tau2",
    "global_intervals",
    "leave_one_out",
    "pool_estimates",
    "pool_robust",
    "pool_subgroups",
    "rank_test",
    "regress_estimates",
    "regression_test",
    "tau2_interval",
    "trim_and_fill",
]
