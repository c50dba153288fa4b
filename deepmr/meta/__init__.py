"""Meta-analysis over loci: fixed and random effects, heterogeneity, prediction, groups, moderators, heavy tails."""

from deepmr.meta.heterogeneity import Tau2Interval, tau2_interval
from deepmr.meta.kernel import Interval, Prediction, Weighting
from deepmr.meta.pooling import pool_estimates
from deepmr.meta.tau2 import Tau2, estimate_tau2

__all__ = [
    "Interval",
    "Prediction",
    "Tau2",
    "Tau2Interval",
    "Weighting",
    "estimate_tau2",
    "pool_estimates",
    "tau2_interval",
]
