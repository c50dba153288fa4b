"""Whether a control function may be trusted: instruments must move everyone's exposure alike."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from deepmr import inference
from deepmr.individual import IVData
from deepmr.nonlinear.controlled import Controlled, first_stage_effect
from deepmr.nonlinear.first_stage import blocks
from deepmr.nonlinear.moments import left_over, remembered, summed_squares

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_SOFT = 0.2  # standard deviations over which the step at a quantile is smoothed
_SAME = 1e-8  # eigenvalue of a scaled covariance below which a moment repeats others
_EACH = 100  # samples an instrument, below which instruments are not tested one by one
_WORDS = {
    "variance": "the residual's variance changes with the predicted exposure",
    "quantile_slopes": "quantiles of the exposure have different slopes on its prediction",
    "distribution": "the residual's distribution changes with the predicted exposure",
    "instruments": "the residual's variance changes with instruments",
    "confounding": "the outcome's slope on the residual changes with the predicted exposure",
}

_Array = Float[np.ndarray, "_ _"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Tests of what a control function assumes.

    Attributes
    ----------
    pvalues : of each test, by name.
    pvalue : the smallest, times how many there are.
    passed : whether that reaches the threshold.
    verdict : in a sentence.
    """

    pvalues: Mapping[str, float]
    pvalue: float
    passed: bool
    verdict: str


def check_gate(first: IVData, found: Controlled, *, threshold: float) -> Gate:
    """Test whether the residual is independent of instruments, and confounding one function of it.

    Parameters
    ----------
    first : samples of the first stage.
    found : a control function; the samples of its second stage are tested.
    threshold : P value below which it is rejected.

    Notes
    -----
    Moments are sums of s f(v), with v the residual, s the prediction of the exposure or its square, and functions f:
    the square (Breusch & Pagan, made robust as by Koenker); smoothed steps at quantiles, which agree where quantile
    regressions have equal slopes; the third and fourth Hermite polynomial of the ranks' normal scores. The last set has
    s v and s v^2 times the residual of the outcome. From s and f their regression on functions of the covariates is
    taken, so that covariates may change the residual's distribution. Every set is a Wald test; that the prediction is
    estimated moves none of them to first order, or is in their covariance. The square is tested with single instruments
    in the place of s, too, where samples are many enough. P values are put together by Bonferroni's rule.

    References
    ----------
    Breusch & Pagan (1979) doi:10.2307/1911963; Koenker (1981) doi:10.1016/0304-4076(81)90062-2;
    Koenker & Bassett (1982) doi:10.2307/1912528.
    """
    if found.design.splines is None:
        return _gate({}, threshold)
    tests = _Tests(first, found)
    v, u = tests.v, tests.u
    quantiles = np.quantile(v, QUANTILES)
    steps = (quantiles - v[:, None]) / _SOFT
    density = -np.exp(-(steps**2) / 2) / np.sqrt(2 * np.pi) / _SOFT
    slope = found.design.residuals.slope * tests.spread
    hermite = np.column_stack([u**3 - 3 * u, u**4 - 6 * u**2 + 3])
    bends = np.column_stack([3 * u**2 - 3, 4 * u**3 - 12 * u]) * slope[:, None]
    pvalues = {
        "variance": tests.first_stage(v[:, None] ** 2, 2 * v[:, None], tests.sides),
        "quantile_slopes": tests.first_stage(ndtr(steps), density, tests.sides[:, :1]),
        "distribution": tests.first_stage(hermite, bends, tests.sides),
    }
    if 1 < len(first.instrument_names) <= len(tests.data) / _EACH:
        instruments = tests.without_covariates(tests.data.instruments - tests.data.instruments.mean(axis=0))
        pvalues["instruments"] = tests.first_stage(v[:, None] ** 2, 2 * v[:, None], instruments)
    pvalues["confounding"] = tests.outcome(tests.sides[:, :1] * np.column_stack([v, v**2]))
    return _gate(pvalues, threshold)


def _gate(pvalues: Mapping[str, float], threshold: float) -> Gate:
    if not pvalues:
        verdict = "instruments leave nothing of the exposure unexplained, so there is no confounding to control for"
        return Gate(pvalues={}, pvalue=1.0, passed=True, verdict=verdict)
    pvalue = min(1.0, len(pvalues) * min(pvalues.values()))
    if pvalue >= threshold:
        verdict = f"the control function's assumption is not rejected (P = {pvalue:.2g}, of {len(pvalues)} tests)"
    else:
        worst = min(pvalues, key=lambda name: pvalues[name])
        verdict = f"the control function's assumption is rejected (P = {pvalue:.2g}): {_WORDS[worst]}"
    return Gate(pvalues=dict(pvalues), pvalue=pvalue, passed=pvalue >= threshold, verdict=verdict)


class _Tests:
    """Wald tests of sets of moments, on standardised residuals."""

    def __init__(self, first: IVData, found: Controlled) -> None:
        self.first, self.found = first, found
        self.data, self.weights = found.design.data, found.design.data.scaled_weights
        covariates = found.design.terms.covariates
        self.covariates = remembered(lambda rows: covariates(self.data.covariates[rows]), len(self.data))
        residual, score = found.design.residuals.residual, found.design.residuals.score
        self.spread = float(residual.std())
        self.v = (residual - np.average(residual, weights=self.weights)) / self.spread
        self.u = _ranked(residual)
        s = (score - score.mean()) / score.std()
        self.sides = self.without_covariates(np.column_stack([s, s**2]))

    def without_covariates(self, values: _Array) -> _Array:
        """Return what a regression on functions of the covariates leaves."""
        return left_over(values, self.covariates, self.weights)

    def first_stage(self, functions: _Array, derivatives: _Array, sides: _Array) -> float:
        """Return the P value of sum sides x functions = 0; errors of the prediction move no moment to first order."""
        expected = derivatives - self.without_covariates(derivatives)
        left = self.without_covariates(functions) - expected * self.v[:, None]
        base = np.hstack([sides * column[:, None] for column in left.T])
        covariance = summed_squares(
            lambda rows: base[rows] * self.weights[rows, None], len(self.data), clusters=self.data.clusters
        )
        return wald(self.weights @ base, covariance)

    def outcome(self, extra: _Array) -> float:
        """Return the P value of sum extra x residual of the outcome = 0, in the regression that it was left out of."""
        found, n = self.found, len(self.data)
        errors, sensitivity, slope = np.empty(n), np.empty(n), np.empty(n)
        for rows in blocks(n):
            errors[rows], sensitivity[rows] = found.errors(rows), found.sensitivity(rows)
            slope[rows] = found.design.slope(found.smoothed.coefficients, rows)
        penalty = found.smoothed.penalty * found.smoothed.variance
        left = left_over(extra, found.design, self.weights * sensitivity, ridge=penalty)
        return self._both_stages(left * errors[:, None], left * (slope * sensitivity)[:, None])

    def _both_stages(self, base: _Array, change: _Array) -> float:
        """Return the P value of moments, given their derivatives by the prediction of the exposure."""
        data, first, residuals = self.data, self.first, self.found.design.residuals
        moved = first_stage_effect(first, data, residuals, lambda rows: change[rows])
        weights = first.scaled_weights

        def of_first(rows: slice) -> _Array:
            scaled = residuals.first_residual[rows] * weights[rows]
            return (residuals.first_columns(rows) * scaled[:, None]) @ moved

        def own(rows: slice) -> _Array:
            found = base[rows] * self.weights[rows, None]
            return found + of_first(rows) if data is first else found

        covariance = summed_squares(own, len(data), clusters=data.clusters)
        if data is not first:
            covariance = covariance + summed_squares(of_first, len(first), clusters=first.clusters)
        return wald(self.weights @ base, covariance)


def wald(values: Float[np.ndarray, "moments"], covariance: Float[np.ndarray, "moments moments"]) -> float:
    """Return the P value of all values being 0; moments that repeat others do not count.

    Parameters
    ----------
    values : normal, about 0 under the hypothesis.
    covariance : of them.
    """
    root = np.sqrt(np.maximum(np.diagonal(covariance), 1e-300))
    sizes, vectors = np.linalg.eigh(covariance / root[:, None] / root)
    kept = sizes > _SAME * max(float(sizes.max()), 1e-300)
    along = vectors[:, kept].T @ (values / root)
    return float(inference.chi2_tail(np.array(np.sum(along**2 / sizes[kept])), float(kept.sum())))


def _ranked(values: Float[np.ndarray, "samples"]) -> Float[np.ndarray, "samples"]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return ndtri((np.cumsum(counts) - counts / 2) / len(values))[inverse]
