"""MR-Egger whose slope and intercept go with context."""

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks, schema
from deepmr.contexts import ContextData
from deepmr.contextual.kernel_mixture import Mixture, fit_mixture
from deepmr.contextual.kernel_model import KernelModel
from deepmr.contextual.loci import contexts_of
from deepmr.contextual.one_stage import ExposureErrors, least_variance, own_error
from deepmr.contextual.scaling import Scaling, check_contexts, scale_contexts
from deepmr.errors import InputError
from deepmr.inference import interval, two_sided
from deepmr.types import Instruments

_ROUNDS = 4  # of weights from the slope of the round before
_IDENTIFIED = 2.0  # standard errors that the corrected spread of exposure effects must be above 0
_FEWEST = 3  # instruments of a locus: two tell a line, and nothing of what is about it


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextualEgger:
    """Lines y = a(c) + f(c) x of the instruments of loci, x positive.

    Attributes
    ----------
    mixture : intercept (column 0) and slope as functions of context.
    scaling : of contexts.
    units : of intercept and slope.
    context_names, loci : of the fit.
    pleiotropy : standard deviation of direct effects about the intercept.
    i2_gx : share of the scatter of exposure effects within loci that is not error: slopes that are not corrected are
        diluted by it.
    tau : standard deviation of intercepts and of slopes of loci about what context gives.
    level : of intervals.
    """

    mixture: Mixture
    scaling: Scaling
    units: Float[np.ndarray, "2"]
    context_names: tuple[str, ...]
    loci: tuple[str, ...]
    pleiotropy: float
    i2_gx: float
    tau: tuple[float, float]
    level: float

    def predict(self, contexts: Float[np.ndarray, "points contexts"]) -> pd.DataFrame:
        """Return slope and intercept at contexts.

        Parameters
        ----------
        contexts : in the unit of the fit.

        Returns
        -------
        `beta`, `se`, `ci_low`, `ci_high`, `pvalue` of the slope; the same of the intercept, as `intercept`,
        `intercept_se`, `intercept_low`, `intercept_high`, `intercept_pvalue`; `outside`.
        """
        check_contexts(contexts, self.context_names)
        found = self.mixture.posterior(self.scaling(contexts))
        mean = found.mean * self.units
        se = np.sqrt(np.maximum(np.diagonal(found.covariance, axis1=1, axis2=2), 0.0)) * self.units
        low, high = interval(mean, se, level=self.level)
        p = two_sided(mean, se)
        return pd.DataFrame(
            {
                "beta": mean[:, 1],
                "se": se[:, 1],
                "ci_low": low[:, 1],
                "ci_high": high[:, 1],
                "pvalue": p[:, 1],
                "intercept": mean[:, 0],
                "intercept_se": se[:, 0],
                "intercept_low": low[:, 0],
                "intercept_high": high[:, 0],
                "intercept_pvalue": p[:, 0],
                "outside": self.scaling.outside(contexts),
            }
        )


def fit_contextual_egger(
    instruments: Instruments,
    contexts: pd.DataFrame,
    *,
    names: tuple[str, ...] | None = None,
    exposure_errors: ExposureErrors = "corrected",
    level: float = 0.95,
) -> tuple[ContextualEgger, pd.DataFrame]:
    """Fit gamma_Y = a(c_l) + u_l + (f(c_l) + v_l) gamma_X over the instruments of all loci.

    Parameters
    ----------
    instruments : one exposure; alleles are turned so that it rises. A locus needs three.
    contexts, names : as for `locus_effects_from`; errors of contexts are not heeded.
    exposure_errors : `corrected` for the dilution of slopes, which the intercepts take up; `ignored`.
    level : of intervals.

    Returns
    -------
    The fit, and loci that are left out with their reasons (columns of `schema.SKIPPED`).

    Notes
    -----
    With A = [1, x], w = 1 / (se_y^2 + v + b^2 se_x^2) and the pooled slope b, a locus has
    M = A'WA - diag(0, sum w se_x^2) and coefficients M^-1 A'Wy with covariance
    M^-1 (A'WA + diag(0, b^2 sum w^2 se_x^4)) M^-1. Two rows with that
    covariance say of the coefficients what the rows of the locus do; without errors of x, all that they do. A locus
    whose x differ by no more than their errors, two standard errors above 0, is left out. The intercept a(c), the mean
    direct effect, is a Gaussian process of context as f is, of its own size, and both scatter over loci. v is the
    variance of direct effects about the lines, by restricted likelihood within loci.

    Valid if direct effects do not go with exposure effects within a locus (InSIDE), and for many instruments a locus
    where x has errors.

    References
    ----------
    Bowden J, Davey Smith G, Burgess S. Int J Epidemiol 2015. https://doi.org/10.1093/ije/dyv080
    Bowden J et al. Int J Epidemiol 2016. https://doi.org/10.1093/ije/dyw220
    """
    checks.level(level)
    checks.one_of("exposure_errors", exposure_errors, get_args(ExposureErrors))
    if len(instruments.exposures) != 1:
        raise InputError(f"one exposure is needed; got {len(instruments.exposures)}: {instruments.exposure}")
    values, used_names, reason = contexts_of(instruments.loci, contexts, names)
    counts = instruments.counts
    reason[(reason == "") & (counts < _FEWEST)] = f"fewer than {_FEWEST} instruments"
    keep = np.flatnonzero(reason == "")
    if len(keep) < 3:
        raise InputError(f"at least 3 loci with {_FEWEST} instruments and contexts are needed; got {len(keep)}")
    lines = [_oriented(instruments, int(i)) for i in keep]
    i2_gx = _i2_gx(lines)
    if exposure_errors == "ignored":
        lines = [replace(line, s=np.zeros_like(line.s)) for line in lines]
    slope, v = _pooled(lines)
    reduced = [_reduced(line, slope, v) for line in lines]
    told = np.array([one is not None for one in reduced])
    reason[keep[~told]] = "not identified: the exposure effects differ by no more than their errors"
    keep, lines = keep[told], [line for line, known in zip(lines, told, strict=True) if known]
    if len(keep) < 3:
        raise InputError(
            f"at least 3 loci whose exposure effects differ by more than their errors are needed; got {len(keep)}"
        )
    x = np.concatenate([one[0] for one in reduced if one is not None])
    y = np.concatenate([one[1] for one in reduced if one is not None])
    size, outcome = np.sqrt((x**2).mean(axis=0)), float(np.sqrt((y**2).mean()))
    scaling = _scaling(values[keep], used_names)
    z = scaling(values[keep])
    model = KernelModel(
        z=np.repeat(z, 2, axis=0),
        x=x / size,
        y=y / outcome,
        noise=np.full(len(y), outcome**-2),
        counts=np.ones(len(y)),
        groups=np.repeat(np.arange(len(keep)), 2),
        scatter=(0, 1),
        residual=False,
    )
    mixture = fit_mixture(model, ("constant", "linear", "smooth"), integrate=True)
    units = outcome / size
    tau2 = sum(one.weight * one.model.layout.split(one.at.theta)[3] for one in mixture.components)
    tau = np.sqrt(tau2) * units
    skipped = pd.DataFrame(
        {
            "method": "contextual_egger",
            "exposure": instruments.exposure,
            "outcome": instruments.outcome,
            "locus": np.array(instruments.loci, dtype=object)[reason != ""],
            "reason": reason[reason != ""],
        },
        columns=list(schema.SKIPPED),
    )
    made = ContextualEgger(
        mixture=mixture,
        scaling=scaling,
        units=units,
        context_names=used_names,
        loci=tuple(instruments.loci[i] for i in keep),
        pleiotropy=float(np.sqrt(v)),
        i2_gx=i2_gx,
        tau=(float(tau[0]), float(tau[1])),
        level=level,
    )
    return made, skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """Exposure and outcome effects of a locus, x positive, and their errors."""

    x: Float[np.ndarray, "rows"]
    y: Float[np.ndarray, "rows"]
    s: Float[np.ndarray, "rows"]
    t: Float[np.ndarray, "rows"]


def _oriented(instruments: Instruments, locus: int) -> _Line:
    """Turn alleles so that the exposure rises."""
    rows = slice(instruments.offsets[locus], instruments.offsets[locus + 1])
    x = instruments.beta_exposure[rows, 0]
    sign = np.where(x < 0, -1.0, 1.0)
    y = sign * instruments.beta_outcome[rows]
    return _Line(x=sign * x, y=y, s=instruments.se_exposure[rows, 0], t=own_error(instruments)[rows])


def _products(line: _Line, slope: float, v: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return w, A'WA and A'Wy."""
    w = 1 / (line.t**2 + v + slope**2 * line.s**2)
    design = np.column_stack([np.ones_like(line.x), line.x])
    return w, design.T @ (w[:, None] * design), design.T @ (w * line.y)


def _reduced(line: _Line, slope: float, v: float) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2"]] | None:
    """Return two rows of errors of variance 1 that say of a line what all rows do; None where they do not tell it."""
    w, gram, right = _products(line, slope, v)
    lost = np.diag([0.0, float(w @ line.s**2)])
    mean = gram[0, 1] / gram[0, 0]
    left = gram[1, 1] - gram[0, 1] * mean - lost[1, 1]
    error = w**2 @ (4 * np.maximum((line.x - mean) ** 2 - line.s**2, 0.0) * line.s**2 + 2 * line.s**4)
    if left <= max(_IDENTIFIED * np.sqrt(error), 1e-12 * gram[1, 1]):
        return None
    corrected = gram - lost
    meat = gram + np.diag([0.0, slope**2 * float(w**2 @ line.s**4)])
    root = np.linalg.cholesky(meat)
    return np.linalg.solve(root, corrected), np.linalg.solve(root, right)


def _pooled(lines: list[_Line]) -> tuple[float, float]:
    """Return the slope of all loci, intercepts apart, and the variance of direct effects about their lines."""
    slope, v = 0.0, 0.0
    for _ in range(_ROUNDS):
        v = _direct_variance(lines, slope)
        above = below = 0.0
        for line in lines:
            w, gram, right = _products(line, slope, v)
            above += right[1] - gram[0, 1] * right[0] / gram[0, 0]
            below += gram[1, 1] - gram[0, 1] ** 2 / gram[0, 0] - float(w @ line.s**2)
        if below <= 0:
            raise InputError(
                "exposure effects of edits of one locus differ by no more than their errors: no slope can be told"
            )
        slope = float(above / below)
    return slope, v


def _direct_variance(lines: list[_Line], slope: float) -> float:
    """Return the variance of direct effects about the lines of loci, by restricted likelihood within loci."""

    def loss(v: float) -> float:
        total = 0.0
        for line in lines:
            w, gram, right = _products(line, slope, v)
            total += float(w @ line.y**2 - right @ np.linalg.solve(gram, right) - np.log(w).sum())
            total += float(np.linalg.slogdet(gram)[1])
        return total

    return least_variance(loss, max(float((line.y**2).max()) for line in lines))


def _scaling(values: Float[np.ndarray, "loci contexts"], names: tuple[str, ...]) -> Scaling:
    return scale_contexts(
        ContextData(
            contexts=values,
            predictors=np.zeros((len(values), 0)),
            outcomes=np.zeros((len(values), 1)),
            context_names=names,
            predictor_names=(),
        )
    )


def _i2_gx(lines: list[_Line]) -> float:
    q, df = 0.0, 0
    for line in lines:
        w = line.s**-2
        q += float(w @ (line.x - w @ line.x / w.sum()) ** 2)
        df += len(line.x) - 1
    return max(0.0, 1 - df / q) if q > 0 else 0.0
