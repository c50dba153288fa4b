"""Whether two fitted responses differ by more than chance: a test in the manner of Hausman, of whole curves."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import Curve, DoseResponse, IVData, two_samples
from deepmr.nonlinear import make_method

_FEW_POINTS = 5  # at which a bound is tested: every point costs power
_DRAWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Difference of two average responses over a grid.

    Attributes
    ----------
    x : exposures.
    difference : of the first less the second, with bounds that hold all of it at once.
    pvalue : that it is 0 everywhere.
    errors : "bootstrap", or "bound" where errors of the two may correlate in any way.
    """

    x: Float[np.ndarray, "points"]
    difference: Curve
    pvalue: float
    errors: Literal["bootstrap", "bound"]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a point."""
        return self.difference.to_frame().assign(x=self.x)


def compare_responses(
    one: DoseResponse,
    other: DoseResponse,
    *,
    data: IVData | None = None,
    outcome_data: IVData | None = None,
    n_boot: int = 50,
    n_points: int = 30,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Test whether two responses, fitted to the same samples, are the same curve.

    Parameters
    ----------
    one, other : fitted responses.
    data, outcome_data : that both were fitted to; both methods are then fitted again with random weights. Without them
        the test rests on the responses' own standard errors, and is conservative.
    n_boot : how many times; at least 20.
    n_points : of the grid, over the central 95 % of exposures.
    level : of the bounds.
    seed : of the weights.

    Notes
    -----
    With data: a weighted bootstrap, each sample's (cluster's) weight multiplied by an exponential variable in both
    fits, gives the covariance of the difference d. The statistic is the largest |d| / se over the grid; its
    distribution is that of a multivariate t with n_boot - 1 degrees of freedom and the same correlations. Without data:
    se is at most se_1 + se_2 whatever the correlation of the two, at five points, with Bonferroni's correction. Either
    rejects where the assumptions of one method fail and the other's hold, or where smoothing takes more from one curve
    than from the other.

    References
    ----------
    Hausman (1978) doi:10.2307/1913827; Chatterjee & Bose (2005) doi:10.1214/009053604000000904.
    """
    checks.level(level)
    checks.at_least("n_boot", n_boot, 20)
    checks.at_least("n_points", n_points, 2)
    low = max(response.record.central[0] for response in (one, other))
    high = min(response.record.central[1] for response in (one, other))
    if low >= high:
        raise InputError(
            f"responses to compare need exposures in common; the central 95 % of {one.record.method} and "
            f"{other.record.method} do not overlap"
        )
    if data is None:
        return _bounded(one, other, np.linspace(low, high, min(n_points, _FEW_POINTS)), level)
    x = np.linspace(low, high, n_points)
    found = _difference(one, other, x)
    first, second = two_samples(data, outcome_data)
    rng = np.random.default_rng(seed)
    methods = [(make_method(r.record.method, r.record.options), r.record.seed) for r in (one, other)]
    draws = []
    for _ in range(n_boot):
        again = reweighted(first, rng)
        outcomes = None if second is first else reweighted(second, rng)
        fits = [method.fit(again, outcome_data=outcomes, seed=own) for method, own in methods]
        draws.append(_difference(fits[0], fits[1], x))
    covariance = np.cov(np.array(draws), rowvar=False)
    se = np.sqrt(np.maximum(np.diagonal(covariance), 1e-20 * (1 + found**2)))
    largest = _largest_t(covariance / se / se[:, None], df=n_boot - 1, rng=rng)
    half = float(np.quantile(largest, level)) * se
    return Comparison(
        x=x,
        difference=Curve(estimate=found, se=se, low=found - half, high=found + half, level=level),
        pvalue=float((1 + np.sum(largest >= np.abs(found / se).max())) / (1 + len(largest))),
        errors="bootstrap",
    )


def reweighted(data: IVData, rng: np.random.Generator) -> IVData:
    """Return the samples with their weights multiplied by exponential variables, one a cluster where there are any.

    Parameters
    ----------
    data : samples.
    rng : of the variables.
    """
    if data.clusters is None:
        drawn = rng.exponential(size=len(data))
    else:
        _, number = np.unique(data.clusters, return_inverse=True)
        drawn = rng.exponential(size=number.max() + 1)[number]
    return replace(data, weights=data.scaled_weights * np.maximum(drawn, 1e-6))


def _difference(one: DoseResponse, other: DoseResponse, x: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points"]:
    return one.avg_iv_reg_function(x).estimate - other.avg_iv_reg_function(x).estimate


def _largest_t(
    correlation: Float[np.ndarray, "points points"], *, df: int, rng: np.random.Generator
) -> Float[np.ndarray, "draws"]:
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    normal = rng.standard_normal((_DRAWS, len(values))) @ root.T
    return np.abs(normal).max(axis=1) / np.sqrt(rng.chisquare(df, _DRAWS) / df)


def _bounded(one: DoseResponse, other: DoseResponse, x: Float[np.ndarray, "points"], level: float) -> Comparison:
    curves = [response.avg_iv_reg_function(x) for response in (one, other)]
    for response, curve in zip((one, other), curves, strict=True):
        if curve.se is None:
            raise InputError(f"{response.record.method} has no standard errors; comparing it needs the data of the fit")
    found = curves[0].estimate - curves[1].estimate
    se = np.asarray(curves[0].se) + np.asarray(curves[1].se)
    se = np.maximum(se, 1e-10 * (1 + np.abs(found)))
    half = float(stats.norm.isf((1 - level) / 2 / len(x))) * se
    pvalue = min(1.0, 2 * len(x) * float(stats.norm.sf(np.abs(found / se).max())))
    return Comparison(
        x=x,
        difference=Curve(estimate=found, se=se, low=found - half, high=found + half, level=level),
        pvalue=pvalue,
        errors="bound",
    )
