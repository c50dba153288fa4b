"""Edits outside what the ensemble knows: members disagree unusually, or the prediction leaves the usual range."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import optimize, special, stats

from deepmr import checks
from deepmr.errors import InputError
from deepmr.linalg import segment_sum
from deepmr.mr.diagnostics.declared import declared
from deepmr.mr.lines import exposure_of
from deepmr.mr.sensitivity.findings import home
from deepmr.types import Instruments

RARE = 0.001  # P value below which a disagreement is unusual: one edit in a thousand by chance
_SMALL = 0.05  # share of the 99th percentile of sizes that parts edits nothing happens at from the others
_BINS = 8  # of each
_LEAST = 50  # edits that a trend needs
_INFINITE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadTrend:
    """How much members usually disagree on an effect of a given size.

    Attributes
    ----------
    size, variance : logarithms of effect size and of the variance that is usual there; between them it is interpolated.
    prior_df : how alike the true variances of edits of one size are; infinite where all are the same.
    df : members - 1.
    """

    size: Float[np.ndarray, "knots"]
    variance: Float[np.ndarray, "knots"]
    prior_df: float
    df: float


def spread_trend(beta: Float[np.ndarray, "edits"], se: Float[np.ndarray, "edits"], *, df: float) -> SpreadTrend | None:
    """Learn from many edits how the disagreement of members depends on the size of an effect.

    Parameters
    ----------
    beta, se : of all edits, or a sample, on one trait; those that are exactly 0 are left out.
    df : members - 1.

    Returns
    -------
    SpreadTrend, or None from fewer than 50 edits.

    Notes
    -----
    log se^2 = log s0^2(|beta|) + log F(df, d0): the middle by medians in bins of |beta|, eight of the many edits that
    do next to nothing (below 5 % of the 99th percentile) and eight of the others; d0 from the spread of the residuals,
    taken from their median absolute deviation, which a few unusual edits do not move (Smyth's empirical Bayes with a
    trend).

    References
    ----------
    Smyth GK. Linear models and empirical Bayes methods for assessing differential expression in microarray experiments.
    Stat Appl Genet Mol Biol 2004. https://doi.org/10.2202/1544-6115.1027
    """
    seen = (se > 0) & (beta != 0)
    if seen.sum() < _LEAST:
        return None
    size, variance = np.log(np.abs(beta[seen])), 2 * np.log(se[seen])
    small = size < np.log(max(_SMALL * float(np.quantile(np.abs(beta), 0.99)), np.finfo(float).tiny))
    parts = [np.quantile(part, np.linspace(0, 1, _BINS + 1)) for part in (size[small], size[~small]) if len(part)]
    edges = np.unique(np.concatenate(parts))
    bins = np.clip(np.searchsorted(edges, size, side="right") - 1, 0, max(len(edges) - 2, 0))
    used = np.unique(bins)
    knots = np.array([np.median(size[bins == b]) for b in used])
    middle = np.array([np.median(variance[bins == b]) for b in used])
    residual = variance - np.interp(size, knots, middle)
    scale = float(np.median(np.abs(residual))) / stats.norm.ppf(0.75)
    # The median of log F(df, d0) is close to 0 where d0 is large, and close to that of log(chi2 / df).
    prior = _prior_df(scale**2, df)
    shift = float(np.log(stats.f.median(df, min(prior, _INFINITE))))
    return SpreadTrend(size=knots, variance=middle - shift, prior_df=prior, df=df)


def _prior_df(variance: float, df: float) -> float:
    """Return d0 of which log F(df, d0) has this variance, as its median absolute deviation shows it."""

    def excess(half: float) -> float:
        return float(special.polygamma(1, df / 2) + special.polygamma(1, half)) - variance

    if excess(_INFINITE) >= 0:
        return np.inf
    return float(2 * optimize.brentq(excess, 1e-3, _INFINITE)) if excess(1e-3) > 0 else 2e-3


def disagreement(
    trend: SpreadTrend, beta: Float[np.ndarray, "edits"], se: Float[np.ndarray, "edits"]
) -> Float[np.ndarray, "edits"]:
    """Return P values of members disagreeing so much on effects of this size; small where that is unusual.

    Parameters
    ----------
    trend : from `spread_trend`.
    beta, se : of some edits on the same trait.
    """
    size = np.log(np.maximum(np.abs(beta), np.finfo(float).tiny))
    ratio = se**2 / np.exp(np.interp(size, trend.size, trend.variance))
    return stats.f.sf(ratio, trend.df, min(trend.prior_df, _INFINITE))


def unusual_edits(
    instruments: Instruments,
    *,
    trends: tuple[SpreadTrend | None, SpreadTrend | None],
    reference: Float[np.ndarray, "loci 2"] | None = None,
) -> pd.DataFrame:
    """Count, at every locus, the instruments that lie outside what the ensemble knows.

    Parameters
    ----------
    instruments : of one exposure.
    trends : of the exposure and of the outcome; None where too few edits are known.
    reference : predictions of the unedited sequences for both traits, mean over members; None where they are unknown.

    Returns
    -------
    Table "unusual" of `schema.DIAGNOSTICS`, a row a locus with instruments. Without a trend or references the counts
    are 0.

    Notes
    -----
    Disagreement: P < 0.001 against other edits of like size. Range: the edited sequence is predicted below the smallest
    or above the largest reference of all the loci. That says what the analysed loci look like, not what the network was
    trained on: of loci that were chosen to carry a site, an edit of the site leaves the range by design.
    """
    x, se_x = exposure_of(instruments)
    y, se_y = instruments.beta_outcome.astype(float), instruments.se_outcome.astype(float)
    columns: dict[str, np.ndarray] = {}
    effects = (("exposure", x, se_x), ("outcome", y, se_y))
    for k, (name, effect, se) in enumerate(effects):
        trend = trends[k]
        odd = np.zeros(len(effect)) if trend is None else (disagreement(trend, effect, se) < RARE).astype(float)
        columns[f"n_spread_{name}"] = segment_sum(odd, instruments.offsets).astype(int)
        columns[f"n_outside_{name}"] = segment_sum(_outside(instruments, effect, reference, k), instruments.offsets)
    frame = pd.DataFrame(
        {"locus": np.asarray(instruments.loci, dtype=object), "n": instruments.counts, **columns}
    ).astype({"n_outside_exposure": int, "n_outside_outcome": int})
    frame = frame[instruments.counts > 0].assign(exposure=instruments.exposure, outcome=instruments.outcome)
    return declared("unusual", frame)


def _outside(
    instruments: Instruments, effect: Float[np.ndarray, "rows"], reference: Float[np.ndarray, "loci 2"] | None, k: int
) -> Float[np.ndarray, "rows"]:
    if reference is None or not len(reference):
        return np.zeros(len(effect))
    if len(reference) != len(instruments.loci):
        raise InputError(f"reference needs a row a locus, {len(instruments.loci)}; got {len(reference)}")
    checks.finite("reference", reference)
    level = reference[home(instruments), k] + effect
    return ((level < reference[:, k].min()) | (level > reference[:, k].max())).astype(float)
