"""MR-Egger whose slope and intercept go with context."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import optimize

from deepmr import checks, schema
from deepmr.contextual.kernel_mixture import Mixture, fit_mixture
from deepmr.contextual.kernel_model import SHAPES, KernelModel
from deepmr.contextual.loci import contexts_of
from deepmr.contextual.one_stage import own_error
from deepmr.contextual.scaling import Scaling, check_contexts, scale_contexts
from deepmr.errors import InputError
from deepmr.inference import interval, two_sided
from deepmr.types import Instruments

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
    i2_gx : share of the scatter of exposure effects within loci that is not error: slopes are diluted by it.
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
    level: float = 0.95,
) -> tuple[ContextualEgger, pd.DataFrame]:
    """Fit gamma_Y = a(c_l) + u_l + (f(c_l) + v_l) gamma_X over the instruments of all loci.

    Parameters
    ----------
    instruments : one exposure; alleles are turned so that it rises. A locus needs three.
    contexts, names : as for `locus_effects_from`; errors of contexts are not heeded.
    level : of intervals.

    Returns
    -------
    The fit, and loci that are left out with their reasons (columns of `schema.SKIPPED`).

    Notes
    -----
    The rows of a locus, times the root of w = 1 / (se_y^2 + v), are its design A = [1, x] times its two coefficients,
    with errors of variance 1. A = QR, and Q'y of two rows with the design R says of the coefficients all that the rows
    do. The intercept a(c), the mean direct effect, is a Gaussian process of context as f is, of its own size, and both
    scatter over loci. v is the variance of direct effects about the lines, by restricted likelihood within loci.

    Valid if direct effects do not go with exposure effects within a locus (InSIDE), and exposure effects differ by much
    more than their errors: slopes are diluted by i2_gx.

    References
    ----------
    Bowden J, Davey Smith G, Burgess S. Int J Epidemiol 2015. https://doi.org/10.1093/ije/dyv080
    Bowden J et al. Int J Epidemiol 2016. https://doi.org/10.1093/ije/dyw220
    """
    checks.level(level)
    if len(instruments.exposures) != 1:
        raise InputError(f"one exposure is needed; got {len(instruments.exposures)}: {instruments.exposure}")
    values, used_names, reason = contexts_of(instruments.loci, contexts, names)
    counts = instruments.counts
    reason[(reason == "") & (counts < _FEWEST)] = f"fewer than {_FEWEST} instruments"
    keep = np.flatnonzero(reason == "")
    if len(keep) < 3:
        raise InputError(f"at least 3 loci with {_FEWEST} instruments and contexts are needed; got {len(keep)}")
    lines = [_oriented(instruments, int(i)) for i in keep]
    v = _direct_variance(lines)
    reduced = [_reduced(x, y, t, v) for x, y, _, t in lines]
    x = np.concatenate([r for r, _ in reduced])
    y = np.concatenate([q for _, q in reduced])
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
    mixture = fit_mixture(model, SHAPES, integrate=True)
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
        i2_gx=_i2_gx(lines),
        tau=(float(tau[0]), float(tau[1])),
        level=level,
    )
    return made, skipped


_Line = tuple[Float[np.ndarray, "_"], Float[np.ndarray, "_"], Float[np.ndarray, "_"], Float[np.ndarray, "_"]]


def _oriented(instruments: Instruments, locus: int) -> _Line:
    """Return exposure and outcome effects of a locus, alleles turned so that the exposure rises, and their errors."""
    rows = slice(instruments.offsets[locus], instruments.offsets[locus + 1])
    x = instruments.beta_exposure[rows, 0]
    sign = np.where(x < 0, -1.0, 1.0)
    return (
        sign * x,
        sign * instruments.beta_outcome[rows],
        instruments.se_exposure[rows, 0],
        own_error(instruments)[rows],
    )


def _reduced(
    x: Float[np.ndarray, "rows"], y: Float[np.ndarray, "rows"], t: Float[np.ndarray, "rows"], v: float
) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2"]]:
    """Return two rows of errors of variance 1 that say of a line what all rows do."""
    root = 1 / np.sqrt(t**2 + v)
    q, r = np.linalg.qr(np.column_stack([root, root * x]))
    return r, q.T @ (root * y)


def _direct_variance(lines: list[_Line]) -> float:
    """Return the variance of direct effects about the lines of loci, by restricted likelihood within loci."""

    def loss(v: float) -> float:
        total = 0.0
        for x, y, _, t in lines:
            r, q = _reduced(x, y, t, v)
            total += float(y**2 @ (1 / (t**2 + v)) - q @ q + np.log(t**2 + v).sum())
            total += 2 * float(np.log(np.maximum(np.abs(np.diag(r)), 1e-300)).sum())
        return total

    top = max(float((y**2).max()) for _, y, _, _ in lines)
    found = optimize.minimize_scalar(
        lambda u: loss(float(np.exp(u))), bounds=(np.log(1e-8 * top), np.log(top)), method="bounded"
    )
    return float(np.exp(found.x)) if found.fun < loss(0.0) - 1e-9 else 0.0


def _scaling(values: Float[np.ndarray, "loci contexts"], names: tuple[str, ...]) -> Scaling:
    from deepmr.contexts import ContextData

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
    for x, _, s, _ in lines:
        w = s**-2
        q += float(w @ (x - w @ x / w.sum()) ** 2)
        df += len(x) - 1
    return max(0.0, 1 - df / q) if q > 0 else 0.0
