"""Errors of `LinearMixedModel`: what Hail raises, which programs that call it may catch, and of our own kinds too."""

from deepmr.errors import DeepMRError, InputError


class ModelInputError(InputError, ValueError):
    """An input is not usable; a ValueError, as Hail 0.2.93 has it."""


class ModelAssertion(InputError, AssertionError):
    """An input is not usable; an AssertionError, as Hail had it in 2018."""


class FitError(DeepMRError):
    """A model could not be fitted, or is not fitted; Hail raises a plain Exception."""
