"""Errors a user can act on. Each class carries the exit code that the command line returns for it."""


class DeepMRError(Exception):
    """Something went wrong that is not a bug; the message is one line that says what, where and what was needed."""

    exit_code = 1


class InputError(DeepMRError):
    """An input is not usable: says what came, what was needed and where."""

    exit_code = 3


class IncompleteError(DeepMRError):
    """A run has units of work left to do; running the same command again continues it."""

    exit_code = 4


class TooFewInstruments(DeepMRError):
    """No locus has enough instruments for any of the methods asked for."""
