"""Heterogeneity between seqlets, the test for a second pathway, and how far each seqlet is from the others."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deepmr import inference
from deepmr.inference import TotalError, total_error, two_sided
from deepmr.linalg import divide, fit_lines, segment_repeat, segment_sum
from deepmr.mr.lines import scatter_about
from deepmr.mr.seqlets.collapse import Collapsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """What the seqlets of each locus say, one number a seqlet, and whether they agree, one number a locus.

    Attributes
    ----------
    beta, se, df, ci_low, ci_high : slope of each seqlet, its standard error with t interval.
    share : of the sum of squared exposure effects of its locus.
    rest : slope of the other seqlets of the locus, NaN where there are none.
    discordance, discordance_se, discordance_df, discordance_z, discordance_pvalue : its slope less `rest`; NaN alone.
    n_seqlets, slope : of each locus, 0 and NaN where there is none.
    q, q_df, q_pvalue : scatter between the seqlets of each locus and its test; P is 1 with fewer than two.
    """

    beta: Float[np.ndarray, "seqlets"]
    se: Float[np.ndarray, "seqlets"]
    df: Float[np.ndarray, "seqlets"]
    ci_low: Float[np.ndarray, "seqlets"]
    ci_high: Float[np.ndarray, "seqlets"]
    share: Float[np.ndarray, "seqlets"]
    rest: Float[np.ndarray, "seqlets"]
    discordance: Float[np.ndarray, "seqlets"]
    discordance_se: Float[np.ndarray, "seqlets"]
    discordance_df: Float[np.ndarray, "seqlets"]
    discordance_z: Float[np.ndarray, "seqlets"]
    discordance_pvalue: Float[np.ndarray, "seqlets"]
    n_seqlets: Float[np.ndarray, "loci"]
    slope: Float[np.ndarray, "loci"]
    q: Float[np.ndarray, "loci"]
    q_df: Float[np.ndarray, "loci"]
    q_pvalue: Float[np.ndarray, "loci"]


def compare_seqlets(seqlets: Collapsed, *, level: float = 0.95) -> Between:
    """Compare the slopes of the seqlets of every locus.

    Parameters
    ----------
    seqlets : from `collapse`, a cluster a seqlet.
    level : of the intervals of the slopes.

    Notes
    -----
    The slope of a seqlet is Y / X = sum(x y) / sum(x^2). Its error, and that of the difference to the slope of the
    others, has two parts: what members share, whose moves of both slopes are subtracted before they are squared, so
    that an error common to both costs nothing; and the scatter of instruments within seqlets.
    Q between seqlets is the scatter of Y about b X, b the locus' slope, over its expectation under both parts, times
    its degrees of freedom, with the reference of `deepmr.mr.scatter.member_scatter`; with independent errors it is
    Cochran's Q. A significant Q says that seqlets move the outcome by different amounts per unit of exposure: one of
    them acts by another route, or the dose response bends. With two seqlets it cannot say which.
    """
    given, x, y = seqlets.instruments, seqlets.x, seqlets.instruments.beta_outcome
    offsets, moves, own = given.offsets, seqlets.moves, seqlets.own
    home, known_df = seqlets.home, np.where(seqlets.df > 0, seqlets.df, np.inf)
    slope = divide(y, x)
    error = _error(own / x**2, known_df[home], moves)
    low, high = inference.interval(slope, error.se, df=error.df, level=level)
    total, mixed = segment_sum(x**2, offsets), segment_sum(x * y, offsets)
    others = segment_repeat(total, offsets) - x**2
    alone = segment_repeat(given.counts, offsets) < 2
    others = np.where(alone, 0.0, np.maximum(others, 0.0))
    rest = divide(segment_repeat(mixed, offsets) - x * y, others)
    weighted = moves * x**2
    # A slope of several clusters is the mean of theirs under weights X^2, which members move too.
    by_rest = _others(weighted, offsets) * divide(np.ones_like(others), others, otherwise=0.0)
    by_rest += _moved_weights(seqlets, rest, others)
    own_rest = _others(own * x**2, offsets) * divide(np.ones_like(others), others**2, otherwise=0.0)
    apart = _error(own / x**2 + own_rest, known_df[home], moves - by_rest)
    gap = slope - rest
    z = np.where(alone, np.nan, divide(gap, apart.se, otherwise=0.0))
    line = fit_lines(x, y, np.ones_like(x), offsets)
    weights = np.ones_like(x) if given.error_factors is not None else 1 / given.se_outcome**2
    about = fit_lines(x, y, weights, offsets)
    scatter = scatter_about(about, given, weights, q=about.residual_ss, df=about.df)
    return Between(
        beta=slope,
        se=error.se,
        df=error.df,
        ci_low=low,
        ci_high=high,
        share=divide(x**2, segment_repeat(total, offsets)),
        rest=rest,
        discordance=gap,
        discordance_se=np.where(alone, np.nan, apart.se),
        discordance_df=apart.df,
        discordance_z=z,
        discordance_pvalue=np.where(alone, np.nan, two_sided(np.nan_to_num(gap), apart.se, df=apart.df)),
        n_seqlets=given.counts.astype(float),
        slope=line.slope,
        q=np.where(scatter["q_df"] > 0, np.nan_to_num(scatter["q"]), 0.0),
        q_df=scatter["q_df"],
        q_pvalue=np.where(scatter["q_df"] > 0, np.nan_to_num(scatter["q_pvalue"], nan=1.0), 1.0),
    )


def _others(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Sum over the other clusters of the locus."""
    return segment_repeat(segment_sum(values, offsets), offsets) - values


def _moved_weights(
    seqlets: Collapsed, rest: Float[np.ndarray, "seqlets"], others: Float[np.ndarray, "seqlets"]
) -> Float[np.ndarray, "factors seqlets"]:
    """How members move the others' slope by moving the weights X^2: sum 2 X dX (Y / X - rest) / sum X^2."""
    given = seqlets.instruments
    if given.error_factors is None:
        return np.zeros((0, len(rest)))
    by_x, x, y = given.error_factors[:, :, 0], seqlets.x, given.beta_outcome
    centre = np.nan_to_num(rest)
    moved = 2 * (_others(y * by_x, given.offsets) - centre * _others(x * by_x, given.offsets))
    return moved * divide(np.ones_like(others), others, otherwise=0.0)


def _error(variance: np.ndarray, df: np.ndarray, moves: np.ndarray) -> TotalError:
    if len(moves):
        return total_error(variance, df, moves)
    se = np.sqrt(variance)
    return TotalError(se=se, df=np.full_like(se, np.inf), sampling=se, member=np.zeros_like(se))
