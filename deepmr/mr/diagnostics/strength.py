"""Strength of the instruments: F statistics, how many positions they really rest on, and loci that have none."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.linalg import divide, segment_sum
from deepmr.mr.diagnostics.declared import declared
from deepmr.mr.diagnostics.totals import Totals
from deepmr.mr.lines import WEAK, exposure_of, mean_f
from deepmr.mr.sensitivity.findings import home
from deepmr.types import Instruments


def instrument_strength(
    instruments: Instruments, *, totals: Totals | None = None, floor: float | None = None
) -> pd.DataFrame:
    """Measure the strength of the instruments of every locus, also of loci without any.

    Parameters
    ----------
    instruments : of one exposure.
    totals : over all edits; they tell why a locus has no instrument.
    floor : size that the rule of selection demanded of an effect, for the same purpose.

    Returns
    -------
    Table "strength" of `schema.DIAGNOSTICS`, a row a locus.

    Notes
    -----
    Three edits of one position are hardly three instruments, and a site of ten positions can rest on one of them. With
    w_p the sum of dx^2 at position p, (sum w_p)^2 / sum w_p^2 is the number of equally strong positions that would be
    as concentrated.
    """
    x, se = exposure_of(instruments)
    n_positions, effective = _positions(instruments, x)
    weak = segment_sum((x**2 < WEAK * se**2).astype(float), instruments.offsets).astype(int)
    frame = pd.DataFrame(
        {
            "exposure": instruments.exposure,
            "outcome": instruments.outcome,
            "locus": np.asarray(instruments.loci, dtype=object),
            "n": instruments.counts,
            "n_positions": n_positions,
            "effective_positions": effective,
            "f_statistic": np.nan_to_num(mean_f(instruments)),
            "n_weak": weak,
            "reason": _reasons(instruments, totals, floor),
        }
    )
    return declared("strength", frame)


def _positions(
    instruments: Instruments, x: Float[np.ndarray, "rows"]
) -> tuple[Float[np.ndarray, "loci"], Float[np.ndarray, "loci"]]:
    """Return the number of positions of each locus, and their effective number; 0 where there is none."""
    rows = home(instruments)
    pos = instruments.variants["pos"].to_numpy()
    _, codes = np.unique(pos, return_inverse=True)
    keys, inverse = np.unique(np.stack([rows, codes.ravel()]), axis=1, return_inverse=True)
    weight = np.bincount(inverse.ravel(), weights=x**2, minlength=keys.shape[1])
    owner, n = keys[0].astype(int), len(instruments.loci)
    total, squares = (np.bincount(owner, weights=weight**k, minlength=n).astype(float) for k in (1, 2))
    return np.bincount(owner, minlength=n).astype(float), divide(total**2, squares, otherwise=0.0)


def _reasons(instruments: Instruments, totals: Totals | None, floor: float | None) -> list[str]:
    """Say of every locus without an instrument why it has none."""
    largest = None
    if totals is not None:
        place = {locus: i for i, locus in enumerate(totals.loci)}
        column = totals.largest[:, totals.column(instruments.exposure)]
        largest = [float(column[place[locus]]) if locus in place else 0.0 for locus in instruments.loci]
    said = []
    for i, count in enumerate(instruments.counts):
        if count > 0:
            said.append("")
        elif largest is None:
            said.append("no edit passes the rule of selection")
        elif largest[i] == 0:
            said.append("no edit changes the exposure at all")
        elif floor is not None and largest[i] < floor:
            said.append(f"its largest effect on the exposure, {largest[i]:.3g}, is below the floor of {floor:.3g}")
        else:
            said.append(f"its largest effect on the exposure is {largest[i]:.3g}, and members do not agree on any")
    return said
