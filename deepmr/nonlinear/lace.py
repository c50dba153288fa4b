"""Localised average causal effects, integrated to a curve: doubly ranked and residual strata."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.interpolate import BSpline

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import Curve, FitRecord, IVData, State, record_of, two_samples
from deepmr.nonlinear.basis import DEGREE, SplineBasis, Terms
from deepmr.nonlinear.independent import independent_instruments
from deepmr.nonlinear.linear import LinearResponse
from deepmr.nonlinear.linear_stage import linear_covariates
from deepmr.nonlinear.strata import (
    Score,
    StratumEffects,
    doubly_ranked_strata,
    genetic_score,
    residual_strata,
    stratum_effects,
    stratum_heterogeneity,
)
from deepmr.nonlinear.strength import WEAK_F, score_covariance
from deepmr.nonlinear.tsls import one_sample

Beyond = Literal["constant", "linear"]
_KNOWN = (
    "Strata of the exposure give biased slopes where genetic effects on it vary between people, and have found effects "
    "on outcomes that cannot have any (Hamilton 2024): believe a curve only where a method without strata agrees."
)
_NARROW = 0.4  # share of the central exposures that strata span, below which their slopes are hardly local
_VARYING = {
    "doubly_ranked": "harmless only if nobody's rank among others depends on the genotype",
    "residual_strata": "the method takes it to move everybody alike",
}
_TABLE = ("n", "exposure", "low", "high", "beta", "se", "beta_exposure", "se_exposure")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoublyRanked:
    """Doubly ranked strata: slopes among samples whose exposure ranks alike, given the instrument.

    Attributes
    ----------
    n_strata : of equal size.
    score : one instrument of many: "weighted" by the first stage, or the plain "sum".
    beyond : how the slope goes on beyond the outer strata: "linear", as between the two last ones, or "constant".

    Notes
    -----
    Samples are sorted by the instrument and cut into groups of n_strata; the k-th exposure of each group goes to
    stratum k. The slope in a stratum, by the instrument, is the average causal effect at its exposures (LACE). The
    curve is its integral: the slope between mean exposures of strata is interpolated linearly; the level makes the
    curve's mean over the sample that of the outcome. Exact for a quadratic curve where the instrument moves everybody
    alike; a stratum's slope is an average over its exposures, so that finer bends are lost where the instrument
    explains much of the exposure. Valid where ranks of exposure are those the samples would have with another genotype;
    biased where genetic effects vary between people.

    References
    ----------
    Tian et al. (2023) doi:10.1371/journal.pgen.1010823; Hamilton et al. (2024) doi:10.1007/s10654-024-01113-9.
    """

    n_strata: int = 10
    score: Score = "weighted"
    beyond: Beyond = "linear"

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> "StrataResponse":
        """Fit the curve.

        Parameters
        ----------
        data : with exposure and outcome.
        outcome_data : not for this method, which needs both of the same samples.
        seed : of the order of samples whose instrument is the same.
        """
        used, warnings = _checked("doubly_ranked", data, outcome_data, self.n_strata)
        score = genetic_score(used, score=self.score)
        stratum = doubly_ranked_strata(used, score, n_strata=self.n_strata, seed=seed)
        return _fit(data, used, score, stratum, "doubly_ranked", asdict(self), seed, warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualStrata:
    """Residual strata: slopes among samples whose exposure, less what the instrument explains, is alike.

    Attributes
    ----------
    n_strata : of equal size.
    score : one instrument of many: "weighted" by the first stage, or the plain "sum".
    beyond : how the slope goes on beyond the outer strata: "linear", as between the two last ones, or "constant".

    Notes
    -----
    As `DoublyRanked`, with strata cut by the residual of the exposure's regression on the instrument. Valid where the
    instrument moves everybody's exposure by the same amount, at all levels of it.

    References
    ----------
    Staley & Burgess (2017) doi:10.1002/gepi.22041; Hamilton et al. (2024) doi:10.1007/s10654-024-01113-9.
    """

    n_strata: int = 10
    score: Score = "weighted"
    beyond: Beyond = "linear"

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> "StrataResponse":
        """Fit the curve.

        Parameters
        ----------
        data : with exposure and outcome.
        outcome_data : not for this method, which needs both of the same samples.
        seed : of nothing; every method takes one.
        """
        used, warnings = _checked("residual_strata", data, outcome_data, self.n_strata)
        score = genetic_score(used, score=self.score)
        stratum = residual_strata(used, score, n_strata=self.n_strata)
        return _fit(data, used, score, stratum, "residual_strata", asdict(self), seed, warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrataResponse:
    """A curve integrated from slopes of strata.

    Attributes
    ----------
    linear : the curve, linear in the slopes.
    strata : table of the strata: n, mean exposure and 2.5 and 97.5 % of it, slope and se, the instrument's effect on
        the exposure and se.
    record : what it was made of.
    """

    kind: ClassVar[str] = "strata"

    linear: LinearResponse
    strata: Float[np.ndarray, "strata columns"]
    record: FitRecord

    def iv_reg_function(
        self,
        x: Float[np.ndarray, "points"],
        covars: Float[np.ndarray, "points covariates"] | None = None,
        *,
        level: float = 0.95,
    ) -> Curve:
        """Return the response at x, given covariates: see `LinearResponse`."""
        return self.linear.iv_reg_function(x, covars, level=level)

    def avg_iv_reg_function(self, x: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the response at x, averaged over the covariates of the sample: see `LinearResponse`."""
        return self.linear.avg_iv_reg_function(x, level=level)

    def ate(self, x0: Float[np.ndarray, "points"], x1: Float[np.ndarray, "points"], *, level: float = 0.95) -> Curve:
        """Return the average effect of moving the exposure from x0 to x1."""
        return self.linear.ate(x0, x1, level=level)

    def cate(
        self,
        x0: Float[np.ndarray, "points"],
        x1: Float[np.ndarray, "points"],
        covars: Float[np.ndarray, "points covariates"],
        *,
        level: float = 0.95,
    ) -> Curve:
        """Return the same effect given covariates, on which it does not depend."""
        return self.linear.cate(x0, x1, covars, level=level)

    def uniform_band(
        self, x: Float[np.ndarray, "points"], *, level: float = 0.95, seed: int = 0, reference: float | None = None
    ) -> Curve:
        """Return the average response with a band that holds all of the curve: see `LinearResponse`."""
        return self.linear.uniform_band(x, level=level, seed=seed, reference=reference)

    def table(self) -> pd.DataFrame:
        """Return one row a stratum."""
        return pd.DataFrame(self.strata, columns=list(_TABLE)).astype({"n": int})

    def state(self) -> State:
        """Return all of it as arrays and plain values."""
        inner = self.linear.state()
        return State(
            kind=self.kind, arrays={**inner.arrays, "strata": self.strata}, settings=inner.settings, record=self.record
        )

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any], record: FitRecord
    ) -> "StrataResponse":
        """Make a response from what `state` returned."""
        linear = LinearResponse.from_state(arrays, settings, record)
        return cls(linear=linear, strata=arrays["strata"], record=record)


def _checked(method: str, data: IVData, outcome_data: IVData | None, n_strata: int) -> tuple[IVData, list[str]]:
    checks.at_least("n_strata", n_strata, 2)
    one_sample(method, data, outcome_data)
    two_samples(data, None)
    chosen = independent_instruments(data)
    return chosen.data, list(chosen.warnings)


def _fit(
    data: IVData,
    used: IVData,
    score: Float[np.ndarray, "samples"],
    stratum: Int[np.ndarray, "samples"],
    method: str,
    options: Mapping[str, Any],
    seed: int,
    warnings: list[str],
) -> StrataResponse:
    assert used.exposure is not None
    stratum = _by_exposure(used.exposure, stratum, used.scaled_weights)
    effects = stratum_effects(used, score, stratum)
    basis, functions, left_out = linear_covariates(used, used)
    terms = Terms(
        exposure=_curve(effects.exposure, used.exposure, options["beyond"]),
        covariates=basis,
        pairs=np.array([*((0, c) for c in functions), *((k + 1, 0) for k in range(len(effects.n)))], dtype=int),
    )
    coefficients, covariance = _assemble(used, terms, effects, stratum)
    different = stratum_heterogeneity(effects)
    weak = int((effects.f < WEAK_F).sum())
    if weak:
        warnings.append(
            f"The instrument is weak in {weak} of {len(effects.n)} strata (smallest F = {effects.f.min():.2g})."
        )
    if different.exposure_q_pvalue < 0.05:
        warnings.append(
            "The instrument moves the exposure differently from stratum to stratum "
            f"(P = {different.exposure_q_pvalue:.2g}): {_VARYING[method]}."
        )
    narrow = float(np.ptp(effects.exposure) / np.ptp(np.quantile(used.exposure, [0.025, 0.975])))
    if narrow < _NARROW:
        warnings.append(
            f"Mean exposures of strata span {narrow:.0%} of the central range: the instrument moves the exposure by "
            "more than strata differ, and their slopes are averages over most of the range."
        )
    record = record_of(
        data,
        data,
        method=method,
        options=options,
        seed=seed,
        diagnostics={
            "strata_q": different.q,
            "strata_q_pvalue": different.q_pvalue,
            "strata_trend": different.trend,
            "strata_trend_pvalue": different.trend_pvalue,
            "strata_exposure_q_pvalue": different.exposure_q_pvalue,
            "strata_smallest_f": float(effects.f.min()),
        },
        warnings=(*warnings, *left_out, _KNOWN),
    )
    weights = used.scaled_weights
    linear = LinearResponse(
        terms=terms,
        coefficients=coefficients,
        covariance=covariance,
        mean_functions=weights @ basis(used.covariates) / weights.sum(),
        record=record,
    )
    table = np.column_stack([getattr(effects, name) for name in _TABLE]).astype(float)
    return StrataResponse(linear=linear, strata=table, record=record)


def _by_exposure(
    exposure: Float[np.ndarray, "samples"], stratum: Int[np.ndarray, "samples"], weights: Float[np.ndarray, "samples"]
) -> Int[np.ndarray, "samples"]:
    """Number strata in the order of their mean exposures."""
    mean = np.bincount(stratum, weights * exposure) / np.maximum(np.bincount(stratum, weights), 1e-300)
    gaps = np.diff(np.sort(mean))
    if gaps.min() <= 1e-9 * np.ptp(exposure):
        raise InputError(f"strata must differ in their mean exposure; some of {len(mean)} do not: use fewer")
    return np.argsort(np.argsort(mean))[stratum]


def _curve(nodes: Float[np.ndarray, "nodes"], exposure: Float[np.ndarray, "samples"], beyond: Beyond) -> SplineBasis:
    """Return 1 and what a unit of the slope of each stratum adds to the curve."""
    low, high = float(exposure.min()), float(exposure.max())
    if beyond == "constant" or low >= nodes[0] or high <= nodes[-1]:
        return integrated_hats(nodes)
    wide = integrated_hats(np.concatenate([[low], nodes, [high]]))
    slopes = np.zeros((len(nodes) + 2, len(nodes)))
    slopes[1:-1] = np.eye(len(nodes))
    ratio = (nodes[0] - low) / (nodes[1] - nodes[0])
    slopes[0, :2] = [1 + ratio, -ratio]
    ratio = (high - nodes[-1]) / (nodes[-1] - nodes[-2])
    slopes[-1, -2:] = [-ratio, 1 + ratio]
    transform = np.hstack([wide.transform[:, :1], wide.transform[:, 1:] @ slopes])
    return SplineBasis(knots=wide.knots, transform=transform, roughness=np.zeros(1 + len(nodes)))


def integrated_hats(nodes: Float[np.ndarray, "nodes"]) -> SplineBasis:
    """Return 1 and the integrals of functions that interpolate linearly between nodes, constant beyond the outer ones.

    Parameters
    ----------
    nodes : increasing.

    Notes
    -----
    They are quadratic between nodes with a continuous derivative, thus cubic splines with every inner knot twice.
    """
    low, high = nodes[0], nodes[-1]
    edges = np.repeat([low, high], DEGREE + 1)
    knots = np.sort(np.concatenate([edges, np.repeat(nodes[1:-1], 2)]))
    gaps = np.diff(nodes)
    sites = (nodes[:-1, None] + gaps[:, None] * np.linspace(0, 1, 7)).ravel()
    values = np.ones((len(sites), 1 + len(nodes)))
    for k in range(len(nodes)):
        hat = np.eye(len(nodes))[k]
        interval = np.repeat(np.arange(len(gaps)), 7)
        step = sites - nodes[interval]
        before = np.concatenate([[0.0], np.cumsum(gaps * (hat[1:] + hat[:-1]) / 2)])[interval]
        values[:, 1 + k] = before + step * (hat[interval] + step / gaps[interval] * np.diff(hat)[interval] / 2)
    design = BSpline.design_matrix(np.clip(sites, low, high), knots, DEGREE).toarray()
    transform = np.linalg.lstsq(design, values, rcond=None)[0]
    return SplineBasis(knots=knots, transform=transform, roughness=np.zeros(1 + len(nodes)))


def _assemble(
    data: IVData, terms: Terms, effects: StratumEffects, stratum: Int[np.ndarray, "samples"]
) -> tuple[Float[np.ndarray, "terms"], Float[np.ndarray, "terms terms"]]:
    """Fix the level, and what covariates add, by the mean of the outcome; carry the errors of the slopes along."""
    assert data.exposure is not None
    assert data.outcome is not None
    weights, strata = data.scaled_weights, len(effects.n)
    design = terms(data.exposure, data.covariates)
    given, integrals = design[:, :-strata], design[:, -strata:]
    weighted = given * weights[:, None]
    inverse = np.linalg.inv(weighted.T @ given)
    level = inverse @ (weighted.T @ (data.outcome - integrals @ effects.beta))
    left = data.outcome - integrals @ effects.beta - given @ level
    slopes = np.zeros((len(data), strata))
    slopes[np.arange(len(data)), stratum] = effects.influence
    moved = weighted * left[:, None] @ inverse - slopes @ (inverse @ (weighted.T @ integrals)).T
    return np.concatenate([level, effects.beta]), score_covariance(np.hstack([moved, slopes]), data.clusters)
