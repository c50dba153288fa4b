"""Whether labels are in the unit of what is predicted: by the slope of measured on predicted changes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr.inference import interval
from deepmr.labelled.edits import LabelledEdits

DOUBTED = 0.5, 2.0  # ratios beyond which a unit is doubted: no good ensemble learns half of an effect
REFUSED = 0.1, 10.0  # beyond which it cannot be the same
NEEDED = "labels must be in the unit of the predictions"
FEWEST = 5  # loci that a ratio needs


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRatio:
    """Slope of measured on predicted changes of one task.

    Attributes
    ----------
    task : what was measured.
    ratio, se : slope through zero, and its standard error over loci.
    low, high : its interval, level 0.95.
    loci : number of loci.
    """

    task: str
    ratio: float
    se: float
    low: float
    high: float
    loci: int

    def beyond(self, limits: tuple[float, float]) -> bool:
        """Say whether the whole interval lies on one side of the limits: where it does not, the ratio is too uncertain.

        Parameters
        ----------
        limits : least and largest ratio allowed.
        """
        return self.high < limits[0] or self.low > limits[1]

    @property
    def sentence(self) -> str:
        """What a reader is told."""
        return (
            f"measured changes of {self.task} are {self.ratio:.3g} times the predicted ones ({self.low:.3g} to "
            f"{self.high:.3g}, {self.loci} loci); {NEEDED} (the same scale and the same logarithm)"
        )


def unit_ratios(
    labels: LabelledEdits, predicted: Float[np.ndarray, "edits tasks"], strong: Bool[np.ndarray, "edits tasks"]
) -> tuple[UnitRatio, ...]:
    """Find the slope of measured on predicted changes of every task that five loci tell of.

    Parameters
    ----------
    labels : measured edits.
    predicted : effects predicted of them on `labels.tasks`.
    strong : which edits are strong on each task; others would draw the slope to 0 by the error of what is predicted.

    Notes
    -----
    c = sum sum u x / sum sum u^2 with u the predicted and x the measured change. Its standard error is that of a sum
    over loci, whose edits share the noise of one reference; t(n - 1).
    """
    found = []
    for k, task in enumerate(labels.tasks):
        used = strong[:, k] & np.isfinite(labels.difference[:, k]) & (predicted[:, k] != 0)
        home, names = pd.factorize(labels.variants["locus"].to_numpy()[used])
        n = len(names)
        if n < FEWEST:
            continue
        u, x = predicted[used, k], labels.difference[used, k]
        square, product = np.bincount(home, weights=u**2), np.bincount(home, weights=u * x)
        ratio = float(product.sum() / square.sum())
        se = float(np.sqrt(np.sum((product - ratio * square) ** 2) * n / (n - 1)) / square.sum())
        low, high = interval(np.array([ratio]), np.array([se]), df=float(n - 1), level=0.95)
        found.append(UnitRatio(task=task, ratio=ratio, se=se, low=float(low[0]), high=float(high[0]), loci=n))
    return tuple(found)
