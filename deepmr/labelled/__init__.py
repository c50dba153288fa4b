"""Calibration of causal effects on edits whose effects were measured."""

from deepmr.labelled.applying import apply_labelled, with_calibrated
from deepmr.labelled.calibration import LabelledCalibration, PairCalibration
from deepmr.labelled.edits import LabelledEdits
from deepmr.labelled.fitting import fit_labelled

__all__ = [
    "LabelledCalibration",
    "LabelledEdits",
    "PairCalibration",
    "apply_labelled",
    "fit_labelled",
    "with_calibrated",
]
