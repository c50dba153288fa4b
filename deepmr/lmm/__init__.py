"""Hail's linear mixed model, with the same names and numbers."""

from deepmr.lmm.alternatives import Alternatives
from deepmr.lmm.errors import FitError, ModelAssertion, ModelInputError
from deepmr.lmm.model import LinearMixedModel

__all__ = ["Alternatives", "FitError", "LinearMixedModel", "ModelAssertion", "ModelInputError"]
