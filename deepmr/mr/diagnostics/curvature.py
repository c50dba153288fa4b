"""Whether the dose response bends within the instruments, and how much of MR-Egger's departure that explains."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr.linalg import divide, segment_sum
from deepmr.mr.diagnostics.declared import declared
from deepmr.mr.diagnostics.slopes import locus_slopes, mean_over_loci, member_pvalue
from deepmr.mr.lines import exposure_of, oriented
from deepmr.mr.sensitivity.findings import home
from deepmr.types import Instruments

LEAST = 4  # instruments of a locus that halves need: two each
_FLAT = 1e-10  # share of the raw sum of squares below which exposure effects are one level


def curvature(instruments: Instruments) -> pd.DataFrame:
    """Compare small with large exposure effects, fit a quadratic term, and take MR-Egger's difference from IVW apart.

    Parameters
    ----------
    instruments : of one exposure.

    Returns
    -------
    Table "curvature" of `schema.DIAGNOSTICS`: a row a locus, then the mean over loci (`*`).

    Notes
    -----
    Instruments are turned so that x > 0. *Halves*: the slope through the origin over the instruments with the smaller
    and with the larger x; without a bend both are the same. *Quadratic term*: y = b x + c x^2 + e through the origin.
    *MR-Egger*: with E(y) its slope and I(y) that of IVW, both linear in y, E(x) = I(x) = 1, so that

        E(y) - I(y) = c (E(x^2) - I(x^2)) + E(e).

    The first term is what the bend makes of the difference. A line with an intercept and one with a quadratic term
    are much the same where x hardly varies: then this tells that a bend suffices, not that there is no direct effect.
    The standard error of a locus is the members' part alone; that of the mean has the scatter over loci too. `bend` and
    the rows `*` are ratios of means and means over the loci that have a value.
    """
    turned = oriented(instruments)
    x, _ = exposure_of(turned)
    y, offsets, counts = turned.beta_outcome.astype(float), turned.offsets, turned.counts
    line, egger = locus_slopes(turned), locus_slopes(turned, intercept=True)
    small, large = (locus_slopes(turned.take(half)) for half in _halves(x, turned))
    halved = (counts >= LEAST) & small.known & large.known
    difference, moves = large.beta - small.beta, large.factors - small.factors
    c, of_square = _quadratic(turned, x, y)
    size = np.sqrt(divide(segment_sum(x**2, offsets), counts.astype(float), otherwise=0.0))
    mean = divide(segment_sum(x, offsets), counts.astype(float), otherwise=0.0)
    spread = divide(np.sqrt(np.maximum(size**2 - mean**2, 0.0)), mean, otherwise=0.0)
    full = (counts >= LEAST) & line.known & egger.known & np.isfinite(c)
    se = np.sqrt(np.sum(moves**2, axis=0))
    columns = {
        "slope": line.beta,
        "slope_small": small.beta,
        "slope_large": large.beta,
        "difference": difference,
        "difference_se": se,
        "difference_pvalue": member_pvalue(difference, moves),
        "bend": np.where(line.beta != 0, c * size / np.where(line.beta == 0, 1.0, line.beta), 0.0),
        "spread": spread,
        "egger": egger.beta,
        "egger_difference": egger.beta - line.beta,
        "egger_explained": c * of_square,
    }
    reason = np.where(counts < LEAST, [f"needs at least {LEAST} instruments; has {k}" for k in counts], "")
    reason = np.where((reason == "") & ~(full & halved), "exposure effects are all of one size", reason)
    good = reason == ""
    frame = pd.DataFrame({"locus": np.asarray(turned.loci, dtype=object), "n": counts, **columns, "reason": reason})
    frame.loc[~good, list(columns)] = np.nan
    whole = mean_over_loci(np.where(good, difference, 0.0), moves, good)
    row = {name: float(values[good].mean()) if good.any() else np.nan for name, values in columns.items()}
    row |= {"difference": whole.value, "difference_se": whole.se, "difference_pvalue": whole.pvalue}
    slope = row["slope"]
    row["bend"] = float((c * size)[good].mean() / slope) if good.any() and slope else np.nan
    why = "" if good.any() else "no locus has enough instruments of more than one size"
    ends = {"locus": "*", "n": int(counts[good].sum()), "reason": why}
    frame = pd.concat([frame, pd.DataFrame([row | ends])], ignore_index=True)
    return declared("curvature", frame.assign(exposure=turned.exposure, outcome=turned.outcome))


def _halves(
    x: Float[np.ndarray, "rows"], instruments: Instruments
) -> tuple[Bool[np.ndarray, "rows"], Bool[np.ndarray, "rows"]]:
    """Say which instruments have the smaller and the larger effects of their locus; a middle one has neither."""
    place, offsets = home(instruments), instruments.offsets
    rank = np.empty(len(x), dtype=int)
    rank[np.lexsort((instruments.beta_outcome, x, place))] = np.arange(len(x)) - offsets[place]
    half = (instruments.counts // 2)[place]
    return rank < half, rank >= instruments.counts[place] - half


def _quadratic(
    instruments: Instruments, x: Float[np.ndarray, "rows"], y: Float[np.ndarray, "rows"]
) -> tuple[Float[np.ndarray, "loci"], Float[np.ndarray, "loci"]]:
    """Return c of y = b x + c x^2, NaN where x has one level, and E(x^2) - I(x^2)."""
    offsets = instruments.offsets
    s2, s3, s4 = (segment_sum(x**k, offsets) for k in (2, 3, 4))
    determinant = s2 * s4 - s3**2
    known = determinant > _FLAT * s2 * s4
    mixed = segment_sum(x**2 * y, offsets) * s2 - segment_sum(x * y, offsets) * s3
    c = np.where(known, divide(mixed, np.where(known, determinant, 0.0)), np.nan)
    n, s1 = instruments.counts.astype(float), segment_sum(x, offsets)
    centred = s2 - divide(s1**2, n, otherwise=0.0)
    egger = divide(s3 - divide(s1 * s2, n, otherwise=0.0), np.where(known, centred, 0.0), otherwise=0.0)
    return c, egger - divide(s3, s2, otherwise=0.0)
