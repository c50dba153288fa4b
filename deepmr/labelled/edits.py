"""Edits whose effects were measured, beside what the ensemble predicts of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks
from deepmr.errors import InputError

PLACE = ("locus", "effect_allele")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledEdits:
    """Measured differences between edited and reference sequences, one row an edit.

    Attributes
    ----------
    variants : one row an edit, with at least locus and effect_allele.
    tasks : what was measured.
    difference : edited less reference, in the unit of the effects; NaN where it was not measured.
    variance : of its error, above zero where it was measured.
    shared_variance : the part of it that all edits of the locus have in common, the error of their one reference; at
        least zero, and no more than `variance`.
    reference : measured level of the reference, or None; NaN where unknown.
    """

    variants: pd.DataFrame
    tasks: tuple[str, ...]
    difference: Float[np.ndarray, "edits tasks"]
    variance: Float[np.ndarray, "edits tasks"]
    shared_variance: Float[np.ndarray, "edits tasks"]
    reference: Float[np.ndarray, "edits tasks"] | None = None

    def __post_init__(self) -> None:
        checks.columns("labelled edits", self.variants.columns, PLACE)
        checks.unique("tasks of labelled edits", self.tasks)
        shape = (len(self.variants), len(self.tasks))
        for name in ("difference", "variance", "shared_variance", "reference"):
            if getattr(self, name) is not None:
                checks.shape(name, getattr(self, name), shape)
        known = np.isfinite(self.difference)
        checks.positive("variance of labelled edits", np.where(known, self.variance, 1.0))
        checks.non_negative("shared variance of labelled edits", np.where(known, self.shared_variance, 0.0))
        if np.any(known & (self.shared_variance > self.variance * (1 + 1e-9))):
            raise InputError("the shared variance of labelled edits must not exceed their variance")

    def __len__(self) -> int:
        return len(self.variants)

    def take(self, rows: Any) -> "LabelledEdits":
        """Return the edits that a boolean mask or an array of row numbers selects."""
        return LabelledEdits(
            variants=self.variants.iloc[rows].reset_index(drop=True),
            tasks=self.tasks,
            difference=self.difference[rows],
            variance=self.variance[rows],
            shared_variance=self.shared_variance[rows],
            reference=None if self.reference is None else self.reference[rows],
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row an edit with `<task>`, `<task>_se` and `<task>_shared_se`."""
        frame = self.variants.copy()
        for k, task in enumerate(self.tasks):
            frame[task] = self.difference[:, k]
            frame[f"{task}_se"] = np.sqrt(self.variance[:, k])
            frame[f"{task}_shared_se"] = np.sqrt(self.shared_variance[:, k])
        return frame
