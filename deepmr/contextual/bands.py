"""Bands of coefficients over contexts: of each point, and of all points at once, from joint draws of a fit."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks
from deepmr.contexts import BandKind, ContextualFit
from deepmr.contextual.columns import coefficients_of, estimates, means, standard_errors
from deepmr.errors import InputError
from deepmr.inference import quantile, two_sided


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """Coefficients at points, mu first and then beta, with limits.

    Attributes
    ----------
    estimate, low, high : of every coefficient at every point.
    width : limits are `estimate` -+ width standard errors; one for each curve.
    level, kind : of the band.
    """

    estimate: Float[np.ndarray, "points outcomes columns"]
    low: Float[np.ndarray, "points outcomes columns"]
    high: Float[np.ndarray, "points outcomes columns"]
    width: Float[np.ndarray, "outcomes columns"]
    level: float
    kind: BandKind

    def to_frame(self, fit: ContextualFit) -> pd.DataFrame:
        """Return one row a point, outcome and coefficient: `estimate`, `low` and `high`.

        Parameters
        ----------
        fit : whose names they have.
        """
        point, outcome, column = (index.ravel() for index in np.indices(self.estimate.shape))
        return pd.DataFrame(
            {
                "point": point,
                "outcome": np.array(fit.record.outcome_names, dtype=object)[outcome],
                "coefficient": np.array(("mu", *fit.record.predictor_names), dtype=object)[column],
                "estimate": self.estimate.ravel(),
                "low": self.low.ravel(),
                "high": self.high.ravel(),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A linear combination of coefficients over contexts, such as a difference or an average, mu first.

    Attributes
    ----------
    estimate, se, low, high, pvalue : of it being 0, two-sided.
    level : of the interval.
    """

    estimate: Float[np.ndarray, "outcomes columns"]
    se: Float[np.ndarray, "outcomes columns"]
    low: Float[np.ndarray, "outcomes columns"]
    high: Float[np.ndarray, "outcomes columns"]
    pvalue: Float[np.ndarray, "outcomes columns"]
    level: float

    def to_frame(self, fit: ContextualFit) -> pd.DataFrame:
        """Return one row an outcome and coefficient.

        Parameters
        ----------
        fit : whose names they have.
        """
        names = ("mu", *fit.record.predictor_names)
        return pd.DataFrame(
            [
                {
                    "outcome": outcome,
                    "coefficient": name,
                    "estimate": self.estimate[i, j],
                    "se": self.se[i, j],
                    "low": self.low[i, j],
                    "high": self.high[i, j],
                    "pvalue": self.pvalue[i, j],
                }
                for i, outcome in enumerate(fit.record.outcome_names)
                for j, name in enumerate(names)
            ]
        )


def bands(
    fit: ContextualFit,
    contexts: Float[np.ndarray, "points contexts"],
    *,
    level: float = 0.95,
    kind: BandKind = "pointwise",
    n_draws: int = 2000,
    seed: int = 0,
) -> Bands:
    """Return coefficients at contexts with a band.

    Parameters
    ----------
    fit : any that has draws.
    contexts : in the unit of the fit.
    level : that each point, or the whole curve, lies inside.
    kind : `pointwise`, or `simultaneous` over all points of one coefficient.
    n_draws : of the simultaneous band.
    seed : of these.

    Raises
    ------
    InputError
        When the method has no errors.

    Notes
    -----
    Pointwise limits are normal. The simultaneous ones are as many standard errors away as the largest deviation over
    points, in standard errors, has in a share `level` of joint draws (sup-t).

    References
    ----------
    Montiel Olea JL, Plagborg-Moller M (2019). J Appl Econom 34:1. doi:10.1002/jae.2656
    """
    checks.level(level)
    checks.one_of("kind", kind, get_args(BandKind))
    at = coefficients_of(fit, contexts)
    estimate, se = estimates(at), standard_errors(at)
    if se is None:
        raise InputError(f"method {fit.record.method} has no standard errors; use bootstrap_context, or another method")
    width = np.full(estimate.shape[1:], float(quantile(level)))
    if kind == "simultaneous" and len(contexts):
        drawn = fit.draws(contexts, n_draws=n_draws, seed=seed)
        width = np.maximum(width, _supremum(drawn, level))
    return Bands(
        estimate=estimate, low=estimate - width * se, high=estimate + width * se, width=width, level=level, kind=kind
    )


def _supremum(drawn: Float[np.ndarray, "draws points *rest"], level: float) -> Float[np.ndarray, "*rest"]:
    """Return the quantile of the largest deviation over points, each in its own standard deviation."""
    spread = drawn.std(axis=0)
    off = np.abs(drawn - drawn.mean(axis=0))
    largest = np.divide(off, spread, out=np.zeros_like(off), where=spread > 0).max(axis=1)
    return np.quantile(largest, level, axis=0)


def contrast(
    fit: ContextualFit,
    contexts: Float[np.ndarray, "points contexts"],
    weights: Float[np.ndarray, "points"],
    *,
    level: float = 0.95,
    n_draws: int = 2000,
    seed: int = 0,
) -> Contrast:
    """Return sum_p weights_p beta(c_p), with its error from joint draws.

    Parameters
    ----------
    fit : any that has draws.
    contexts : in the unit of the fit.
    weights : of the points; those of an average effect add up to 1, those of a difference to 0.
    level : of the interval.
    n_draws, seed : of the draws that the standard error is from.

    Notes
    -----
    The P value is that of a normal distribution of this standard error.
    """
    checks.level(level)
    checks.shape("weights", weights, (len(contexts),))
    estimate = np.tensordot(weights, means(fit, contexts), axes=1)
    drawn = np.tensordot(weights, np.moveaxis(fit.draws(contexts, n_draws=n_draws, seed=seed), 1, 0), axes=1)
    se = drawn.std(axis=0, ddof=1)
    half = quantile(level) * se
    return Contrast(
        estimate=estimate,
        se=se,
        low=estimate - half,
        high=estimate + half,
        pvalue=two_sided(estimate, se),
        level=level,
    )


def difference(
    fit: ContextualFit,
    one: Float[np.ndarray, "contexts"],
    two: Float[np.ndarray, "contexts"],
    *,
    level: float = 0.95,
    n_draws: int = 2000,
    seed: int = 0,
) -> Contrast:
    """Return beta and mu at one context less those at another.

    Parameters
    ----------
    fit : any that has draws.
    one, two : contexts in the unit of the fit.
    level, n_draws, seed : as in `contrast`.
    """
    return contrast(fit, np.stack([one, two]), np.array([1.0, -1.0]), level=level, n_draws=n_draws, seed=seed)
