"""Hail's linear mixed model, with the same names and numbers."""

from deepmr.lmm.alternatives import Alternatives
from deepmr.lmm.errors import FitError, ModelAssertion, ModelInputError
from deepmr.lmm.model import LinearMixedModel
from deepmr.lmm.regression import fit_many, linear_mixed_model, linear_mixed_regression_rows

__all__ = [
    "Alternatives",
    "FitError",
    "LinearMixedModel",
    "ModelAssertion",
    "ModelInputError",
    "fit_many",
    "linear_mixed_model",
    "linear_mixed_regression_rows",
]
