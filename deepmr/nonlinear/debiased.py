"""Debiased functionals of a response: what smoothing took from an effect, put back by weights of the instruments."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from deepmr import checks, inference
from deepmr.errors import InputError
from deepmr.individual import DoseResponse, IVData, two_samples
from deepmr.nonlinear import make_method
from deepmr.nonlinear.first_stage import blocks, fit_first_stage
from deepmr.nonlinear.riesz import Balance, balance_columns, solve_balance

Functional = Literal["effect", "derivative", "shift"]
_STEP = 1e-3  # of the range of the exposure, for derivatives


@dataclass(frozen=True, slots=True, kw_only=True)
class Debiased:
    """An effect with a normal interval.

    Attributes
    ----------
    functional : what it is of the response.
    estimate, se, low, high : debiased; standard error and bounds at `level`.
    plug_in : the same functional of the response as it is.
    imbalance : root of the expected squared bias that the weights leave, relative to the standard error without it;
        above 1 the instruments say less of what is asked than the assumed smoothness does.
    level : of the interval.
    """

    functional: Functional
    estimate: float
    se: float
    low: float
    high: float
    plug_in: float
    imbalance: float
    level: float


@dataclass(frozen=True, slots=True)
class _Contrast:
    """A functional as the mean over samples of response(upper) - response(lower), times a scale."""

    upper: Callable[[Float[np.ndarray, "_"]], Float[np.ndarray, "_"]]
    lower: Callable[[Float[np.ndarray, "_"]], Float[np.ndarray, "_"]]
    scale: float

    def __call__(
        self,
        value: Callable[[Float[np.ndarray, "_"], Float[np.ndarray, "_ covariates"]], np.ndarray],
        exposure: Float[np.ndarray, "_"],
        covariates: Float[np.ndarray, "_ covariates"],
    ) -> np.ndarray:
        """Return every sample's part of the functional of any function of exposure and covariates."""
        return self.scale * (value(self.upper(exposure), covariates) - value(self.lower(exposure), covariates))


def debias(
    response: DoseResponse,
    data: IVData,
    *,
    functional: Functional = "derivative",
    x0: float | None = None,
    x1: float | None = None,
    shift: float | None = None,
    n_folds: int = 5,
    seed: int = 0,
    level: float = 0.95,
) -> Debiased:
    """Estimate an effect without the bias that smoothing the response has left in it.

    Parameters
    ----------
    response : of any method; fitted again without each fold, with the options in its record.
    data : the sample it was fitted to.
    functional : "effect" of moving every exposure from x0 to x1, average "derivative" of the response, or average
        effect of a "shift" of every exposure.
    x0, x1 : exposures before and after, of an effect.
    shift : what is added to every exposure.
    n_folds : parts of the sample, each of which is judged by fits to the others; 1 takes the response as it is, which
        suits methods that are slow to fit.
    seed : of the folds and fits.
    level : of the interval.

    Notes
    -----
    The estimate is the mean of m(h) + q(z, c) (y - h(x, c)), with m(h) a sample's part of the functional. Weights q for
    which E[q b(x, c)] = E[m(b)] for all functions b make the error of h drop out. Here q minimises the variance of the
    correction plus its expected squared bias, over a spline response whose coefficients have a wide prior: polynomials
    up to the square are balanced as good as exactly, rougher functions as far as instruments allow. The bias it expects
    is in the standard error. The derivative and the shift can be estimated at the rate of a mean where instruments are
    strong; an effect between two points cannot, and relies on a response without detail that instruments do not see.
    One sample only.

    References
    ----------
    Chernozhukov, Newey & Singh (2022) doi:10.3982/ECTA18515; Ichimura & Newey (2022) doi:10.3982/QE826; Bennett et al.
    (2022) arXiv:2208.08291; Hirshberg & Wager (2021) doi:10.1214/21-AOS2080.
    """
    checks.one_of("functional", functional, get_args(Functional))
    checks.level(level)
    checks.at_least("n_folds", n_folds, 1)
    data, _ = two_samples(data, None)
    assert data.exposure is not None
    assert data.outcome is not None
    contrast = _contrast(functional, data.exposure, x0=x0, x1=x1, shift=shift)
    n, weights = len(data), data.scaled_weights
    terms, prior = balance_columns(data)
    stage = fit_first_stage(
        data, data, functions=terms.exposure, covariates=terms.covariates, seed=seed, n_folds=max(n_folds, 2)
    )
    seen = terms(data.exposure, data.covariates)
    fitted = stage.fitted.copy()
    fitted[:, 0] = 1.0
    expected = terms.combine(fitted, terms.covariates(data.covariates))
    wanted = contrast(terms, data.exposure, data.covariates)
    folds = stage.folds if n_folds > 1 else np.zeros(n, dtype=int)
    scores, plain, bias = np.empty(n), np.empty(n), 0.0
    for k in range(n_folds):
        mine = folds == k
        rest = ~mine if n_folds > 1 else mine
        h = response
        if n_folds > 1:
            h = make_method(response.record.method, response.record.options).fit(data.take(rest), seed=seed)
        value = _value(h)
        errors = data.outcome - value(data.exposure, data.covariates)
        balance = solve_balance(
            Balance(expected=expected[rest], seen=seen[rest], wanted=wanted[rest], weights=weights[rest]),
            errors=errors[rest],
            prior=prior,
        )
        plain[mine] = contrast(value, data.exposure[mine], data.covariates[mine])
        scores[mine] = plain[mine] + (expected[mine] @ balance.coefficients) * errors[mine]
        bias += balance.squared_bias * mine.mean()
    return _summary(scores, plain, bias, data, functional=functional, level=level)


def _contrast(
    functional: Functional,
    exposure: Float[np.ndarray, "samples"],
    *,
    x0: float | None,
    x1: float | None,
    shift: float | None,
) -> _Contrast:
    if functional == "effect":
        if x0 is None or x1 is None:
            raise InputError("an effect needs x0 and x1, exposures before and after")
        before, after = x0, x1
        return _Contrast(lambda x: np.full(len(x), after), lambda x: np.full(len(x), before), 1.0)
    if functional == "shift":
        if shift is None:
            raise InputError("the effect of a shift needs shift, what is added to every exposure")
        by = shift
        return _Contrast(lambda x: x + by, lambda x: x, 1.0)
    step = _STEP * float(np.ptp(exposure))
    return _Contrast(lambda x: x + step, lambda x: x - step, 1 / (2 * step))


def _value(response: DoseResponse) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def value(x: np.ndarray, covariates: np.ndarray) -> np.ndarray:
        parts = [
            response.iv_reg_function(x[rows], covariates[rows] if covariates.shape[1] else None).estimate
            for rows in blocks(len(x))
        ]
        return np.concatenate(parts)

    return value


def _summary(
    scores: Float[np.ndarray, "samples"],
    plain: Float[np.ndarray, "samples"],
    squared_bias: float,
    data: IVData,
    *,
    functional: Functional,
    level: float,
) -> Debiased:
    n, weights = len(data), data.scaled_weights
    estimate = float(weights @ scores / n)
    parts = weights * (scores - estimate)
    if data.clusters is not None:
        names, number = np.unique(data.clusters, return_inverse=True)
        parts = np.bincount(number, weights=parts) * np.sqrt(len(names) / max(len(names) - 1, 1))
    variance = float(parts @ parts) / n**2
    se = np.array([np.sqrt(variance + squared_bias)])
    low, high = inference.interval(np.array([estimate]), se, level=level)
    return Debiased(
        functional=functional,
        estimate=estimate,
        se=float(se[0]),
        low=float(low[0]),
        high=float(high[0]),
        plug_in=float(weights @ plain / n),
        imbalance=float(np.sqrt(squared_bias / variance)),
        level=level,
    )
