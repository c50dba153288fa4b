"""What a sensitivity analysis returns: a table of declared columns, and the loci it could not be done for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from deepmr import checks, schema
from deepmr.types import Instruments


def _empty() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=str) for name in schema.SKIPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Result of one analysis over many loci.

    Attributes
    ----------
    analysis : its name, a key of `schema.SENSITIVITY`, which declares the columns.
    table : what was found; a column that does not apply at all may be absent.
    skipped : loci without a result and the reason, columns of `schema.SKIPPED`.
    """

    analysis: str
    table: pd.DataFrame
    skipped: pd.DataFrame = field(default_factory=_empty)

    def __post_init__(self) -> None:
        checks.one_of("analysis", self.analysis, schema.SENSITIVITY)
        checks.columns("columns declared for " + self.analysis, schema.SENSITIVITY[self.analysis], self.table.columns)
        checks.columns("skipped", self.skipped.columns, schema.SKIPPED)

    def __len__(self) -> int:
        return len(self.table)

    def to_frame(self) -> pd.DataFrame:
        """Return the table."""
        return self.table.copy()


def by_locus(
    analysis: str, instruments: Instruments, columns: Mapping[str, Any], *, reason: Iterable[str] | None = None
) -> Findings:
    """Build findings from one value a locus.

    Parameters
    ----------
    analysis : its name.
    instruments : whose loci the values belong to.
    columns : values by name, a locus each.
    reason : why a locus has none; empty for one that has. None: every locus has.
    """
    why = np.asarray([""] * len(instruments.loci) if reason is None else list(reason), dtype=object)
    keep = why == ""
    loci = np.asarray(instruments.loci, dtype=object)
    who = {"exposure": instruments.exposure, "outcome": instruments.outcome}
    frame = pd.DataFrame({"locus": loci, **columns}).assign(**who)[keep].reset_index(drop=True)
    return Findings(analysis=analysis, table=ordered(analysis, frame), skipped=skipped_rows(analysis, instruments, why))


def skipped_rows(analysis: str, instruments: Instruments, reason: np.ndarray) -> pd.DataFrame:
    """Return the loci that have a reason, as rows of `schema.SKIPPED`."""
    gone = np.flatnonzero(reason != "")
    rows = pd.DataFrame({"locus": np.asarray(instruments.loci, dtype=object)[gone], "reason": reason[gone]})
    who = {"method": analysis, "exposure": instruments.exposure, "outcome": instruments.outcome}
    return rows.assign(**who)[list(schema.SKIPPED)]


def ordered(analysis: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that the analysis declares, in their order."""
    return frame[[name for name in schema.SENSITIVITY[analysis] if name in frame.columns]]


def stack(parts: Iterable[Findings]) -> Findings:
    """Put findings of one analysis for several pairs together."""
    items = list(parts)
    tables = [part.table for part in items if len(part)] or [items[0].table]
    gone = [part.skipped for part in items if len(part.skipped)] or [items[0].skipped]
    return Findings(
        analysis=items[0].analysis,
        table=pd.concat(tables, ignore_index=True),
        skipped=pd.concat(gone, ignore_index=True),
    )


def home(instruments: Instruments) -> np.ndarray:
    """Return the locus number of every instrument."""
    return np.repeat(np.arange(len(instruments.loci)), instruments.counts)
