"""Effects pooled under many choices of instruments, from one pass over the effects of edits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from deepmr import schema
from deepmr.commands.source import Source, mean_blocks, pooled_blocks
from deepmr.instruments.strength import Selection, scales_of_parts, select_pairs
from deepmr.ism.calibration import Calibration
from deepmr.meta import pool_estimates
from deepmr.mr import estimate_effects
from deepmr.types import Estimates

SKIPPED = ("rule", "threshold", "exposure", "outcome", "method", "reason", "loci")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What pooled effects depend on.

    Attributes
    ----------
    table : columns of `schema.THRESHOLDS`; a choice without an estimate at any locus has no row.
    skipped : how many loci have no estimate under each choice, and why.
    """

    table: pd.DataFrame
    skipped: pd.DataFrame


@dataclass(slots=True, kw_only=True)
class _Point:
    """Estimates of one choice of instruments and pair so far: a few numbers a locus."""

    locus: list[np.ndarray] = field(default_factory=list)
    numbers: list[np.ndarray] = field(default_factory=list)  # beta, se, n, df, then the error factors
    reasons: Counter[str] = field(default_factory=Counter)
    estimand: str = "model"
    shared: bool = False

    def add(self, found: Estimates) -> None:
        table = found.table
        if len(table):
            rows = [table[name].to_numpy(float) for name in ("beta", "se", "n", "df")]
            self.shared = found.error_factors is not None
            self.numbers.append(np.vstack([*rows, *([] if found.error_factors is None else found.error_factors)]))
            self.locus.append(table["locus"].to_numpy(object))
            self.estimand = str(table["estimand"].iloc[0])
        self.reasons.update(found.skipped["reason"].astype(str))

    def loci(self) -> set[str]:
        return {str(name) for part in self.locus for name in part}


def scan_rules(
    source: Source,
    pairs: Sequence[tuple[str, str]],
    *,
    selections: Sequence[Selection],
    method: str = "ivw",
    min_instruments: int = 3,
    common: bool = False,
    calibration: Calibration | None = None,
    scaling: Literal["variance", "isotonic"] = "variance",
    level: float = 0.95,
) -> Scan:
    """Select, estimate and pool under many rules and thresholds.

    Parameters
    ----------
    source : the effects.
    pairs : exposure and outcome of each.
    selections : the rules with their thresholds.
    method : estimator at single loci, of `deepmr.mr.METHODS`.
    min_instruments : loci with fewer have no estimate.
    common : pool only the loci that have an estimate under every choice that has any at all, the same for each.
    calibration, scaling, level : see `pool_members`.

    Notes
    -----
    The effects are read twice, as for one rule: for their sizes over all loci, then for the rest. Each locus is
    estimated under all choices while its effects are in memory; what stays of it are 4 + K numbers a choice and pair,
    for K members.
    """
    tasks = sorted({task for pair in pairs for task in pair})
    sizes = mean_blocks(source, tasks, description="sizes of effects", calibration=calibration)
    (scales,) = scales_of_parts(sizes, traits=tasks)
    how: dict[str, Any] = {"calibration": calibration, "scaling": scaling, "level": level}
    points = {(i, pair): _Point() for i in range(len(selections)) for pair in pairs}
    for block in pooled_blocks(source, tasks, description="rules and thresholds", **how):
        here = [str(name) for name in block.variants["locus"].unique()]
        for i, selection in enumerate(selections):
            for packed in select_pairs([block], pairs=pairs, scales=scales, loci=here, selection=selection):
                found = estimate_effects(packed, methods=[method], min_instruments=min_instruments, level=level)
                points[i, (packed.exposure, packed.outcome)].add(found)
    tables, gone = [], []
    for pair in pairs:
        mine = [points[i, pair] for i in range(len(selections))]
        filled = [point.loci() for point in mine if point.locus]
        kept = set.intersection(*filled) if common and filled else None
        for selection, point in zip(selections, mine, strict=True):
            about = {"rule": selection.rule, "threshold": selection.cut, "exposure": pair[0], "outcome": pair[1]}
            about |= {"method": method}
            tables.append(_pooled(point, about, kept, level=level))
            gone += [about | {"reason": reason, "loci": n} for reason, n in point.reasons.most_common()]
    columns = list(schema.THRESHOLDS)
    rows = [row for row in tables if row]
    return Scan(table=pd.DataFrame(rows, columns=columns), skipped=pd.DataFrame(gone, columns=list(SKIPPED)))


def _pooled(point: _Point, about: dict[str, Any], kept: set[str] | None, *, level: float) -> dict[str, Any]:
    """Return a row of the table; none where no locus has an estimate."""
    if not point.locus:
        return {}
    locus, numbers = np.concatenate(point.locus), np.concatenate(point.numbers, axis=1)
    if kept is not None:
        rows = np.array([name in kept for name in locus], dtype=bool)
        locus, numbers = locus[rows], numbers[:, rows]
        if not len(locus):
            return {}
    beta, se, n, df = numbers[:4]
    pair = {name: about[name] for name in ("method", "exposure", "outcome")}
    table = pd.DataFrame({**pair, "locus": locus, "estimand": point.estimand, "beta": beta, "se": se})
    table = table.assign(ci_low=beta - se, ci_high=beta + se, pvalue=1.0, n=n, df=df)  # pooling takes beta, se and df
    pooled = pool_estimates(Estimates(table=table, error_factors=numbers[4:] if point.shared else None), level=level)
    row = pooled.table.iloc[0]
    interval = {name: float(row[name]) for name in ("beta", "ci_low", "ci_high")}
    return about | interval | {"n_loci": len(locus), "n_instruments": round(n.sum()), "estimand": point.estimand}
