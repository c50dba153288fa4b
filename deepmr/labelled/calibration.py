"""What labelled edits say of an ensemble's causal effects, pair by pair and method by method."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks

Key = tuple[str, str, str]  # method, exposure, outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCalibration:
    """What labels say of one method's effects of one task on another.

    Attributes
    ----------
    shift : mean miss over the labelled loci (measured less predicted slope), before it is shrunk; `se` its standard
        error, `df` degrees of freedom.
    shrink : k, the share of the shift that is applied; `prior` is the standard deviation of the error that all members
        share, as expected without labels.
    scale, floor : a and h of the local variance a^2 B + h^2.
    dose, dose_se : c, slope of measured on predicted changes of the exposure.
    noise, reference_noise : factors on the stated noise variances that the data asked for.
    n_edits : labelled edits used.
    loci, slope, miss, miss_variance, member_variance : labelled loci: predicted slope b, miss e, its noise variance v,
        moderated variance B over members.
    own, shared : parts of v, from the edits' own noise and from that of the reference.
    edits : number of labelled edits of each locus.
    """

    method: str
    exposure: str
    outcome: str
    shift: float
    se: float
    df: float
    shrink: float
    prior: float
    scale: float
    floor: float
    dose: float
    dose_se: float
    noise: float
    reference_noise: float
    n_edits: int
    loci: tuple[str, ...]
    slope: Float[np.ndarray, "loci"]
    miss: Float[np.ndarray, "loci"]
    miss_variance: Float[np.ndarray, "loci"]
    member_variance: Float[np.ndarray, "loci"]
    own: Float[np.ndarray, "loci"]
    shared: Float[np.ndarray, "loci"]
    edits: Float[np.ndarray, "loci"]

    def __post_init__(self) -> None:
        n = len(self.loci)
        for name in ("slope", "miss", "miss_variance", "member_variance", "own", "shared", "edits"):
            checks.shape(name, getattr(self, name), (n,))
            checks.finite(name, getattr(self, name))
        checks.at_least("labelled loci", n, 2)

    @property
    def key(self) -> Key:
        """Method, exposure and outcome."""
        return self.method, self.exposure, self.outcome

    @property
    def applied(self) -> float:
        """What is added to effects: the shrunk shift."""
        return self.shrink * self.shift

    @property
    def applied_se(self) -> float:
        """Standard error of `applied`, as an estimate of the shared error."""
        return float(np.sqrt(self.shrink) * self.se)

    @property
    def local_variance(self) -> Float[np.ndarray, "loci"]:
        """a^2 B + h^2 of the labelled loci."""
        return self.scale**2 * self.member_variance + self.floor**2

    def to_frame(self) -> pd.DataFrame:
        """Return one row a labelled locus."""
        return pd.DataFrame(
            {
                **dict(zip(("method", "exposure", "outcome"), self.key, strict=True)),
                "locus": list(self.loci),
                "slope": self.slope,
                "miss": self.miss,
                "miss_se": np.sqrt(self.miss_variance),
                "member_se": np.sqrt(self.member_variance),
                "n_edits": self.edits,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledCalibration:
    """What labelled edits say of an ensemble.

    Attributes
    ----------
    pairs : one entry a method and ordered pair of tasks.
    skipped : pairs without, "method: exposure on outcome", with the reason.
    warnings : what a reader of the numbers should know.
    loci, digests : names and digests of the sequences of the labelled loci, so that nobody analyses them afterwards.
    members : checksums of the members; empty where unknown.
    level_calibration : checksum of the calibration of levels that the slopes rest on; empty without one.
    selection : how instruments were selected, by option.
    units : a sentence for each task whose labels may be in another unit than the predictions.
    """

    pairs: tuple[PairCalibration, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    loci: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    level_calibration: str = ""
    selection: Mapping[str, str | float | None] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def find(self, method: str, exposure: str, outcome: str) -> PairCalibration | None:
        """Return the calibration of a method and pair, or None where there is none."""
        return next((pair for pair in self.pairs if pair.key == (method, exposure, outcome)), None)
