"""Random effects with heavy tails: effects of loci scatter by a t distribution whose tails are estimated."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import optimize, special, stats

from deepmr.errors import InputError
from deepmr.inference import interval, quantile, total_error, two_sided
from deepmr.meta.evidence import Packed, whole
from deepmr.meta.grouping import assemble, grouped
from deepmr.meta.heterogeneity import heterogeneity
from deepmr.meta.kernel import Pooled
from deepmr.types import Estimates

_CHUNK = 4096
_NORMAL = 200.0  # degrees of freedom from which a t distribution counts as normal
_LEAST = 1.0
_GAUSS = 1e6  # stands for infinitely many
_MANY = 5000  # effects; more start from the fit of a part of them


@dataclass(frozen=True, slots=True, kw_only=True)
class TFit:
    """A fitted t distribution of effects.

    Attributes
    ----------
    mean, scale, df : of the distribution.
    variance : of the mean, by observed information.
    influence : how much the mean moves with each effect; adds up to 1.
    loglik : at the fit.
    """

    mean: float
    scale: float
    df: float
    variance: float
    influence: Float[np.ndarray, "studies"]
    loglik: float


def pool_robust(estimates: Estimates, *, df_effects: float | None = None, level: float = 0.95) -> Estimates:
    """Pool the effects of loci by random effects with a t distribution, so that outlying loci weigh less.

    Parameters
    ----------
    estimates : one row a locus.
    df_effects : degrees of freedom of the t distribution of effects, at least 1; default: estimated between 1 and 200.
    level : of every interval, between 0 and 1.

    Returns
    -------
    Estimates
        As `pool_estimates`, with `df_effects`, `scale` (of the t distribution) and `tau2`, its variance (infinite up
        to 2 degrees of freedom). The prediction interval is that of the fitted distribution, with the error of its
        mean. Interval and P value of the mean use t(k - 1).

    Notes
    -----
    b_i = mu + scale t_i + e_i, t_i ~ t(df), e_i ~ N(0, v_i), v_i as in `pool_estimates`; maximum likelihood, the scale
    mixture of normals integrated by the trapezoidal rule in the logarithm of the mixing variable. The standard error
    is that of the observed information. Members' shared errors move the mean by its influence function; as there,
    the part that is of one locus counts twice, in the order of 1/k of it.

    References
    ----------
    Lee KJ, Thompson SG. Flexible parametric models for random-effects distributions. Stat Med 2008.
    https://doi.org/10.1002/sim.2897
    """
    if df_effects is not None and df_effects < _LEAST:
        raise InputError(f"df_effects must be at least {_LEAST:g}; got {df_effects:g}")
    groups = grouped(estimates)
    loci = groups.studies_of(groups.several)
    return assemble(estimates, groups, _pool(loci, df_effects, level), level=level)


def _pool(loci: Packed, df_effects: float | None, level: float) -> Pooled:
    evidence = whole(loci)
    studies, origin = evidence.studies, evidence.origin
    fits = [
        fit_t(studies.beta[a:b], studies.variance[a:b], df=df_effects)
        for a, b in zip(loci.offsets[:-1], loci.offsets[1:], strict=True)
    ]
    mean, scale, nu, variance = (
        np.array([getattr(fit, name) for fit in fits], dtype=float) for name in ("mean", "scale", "df", "variance")
    )
    influence = np.concatenate([fit.influence for fit in fits]) if fits else studies.beta
    moved = studies.sum(loci.factors * influence)
    error = total_error(variance, studies.counts - 1, moved, padded=True)
    low, high = interval(mean, error.se, df=error.df, level=level)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.where(scale == 0, 0.0, scale**2 / np.maximum(1 - 2 / nu, 0.0))
    columns = heterogeneity(evidence, np.zeros_like(mean), level=level)
    del columns["i2_tau2"]
    columns |= {"beta": mean + origin, "se": error.se, "ci_low": low + origin, "ci_high": high + origin, "df": error.df}
    columns |= {"pvalue": two_sided(mean + origin, error.se, df=error.df)}
    columns |= {"tau2": spread, "scale": scale, "df_effects": nu}
    if len(loci.factors):
        columns |= {"se_sampling": error.sampling, "se_member": error.member}
    wide = [_half_width(s, n, e, d, level) for s, n, e, d in zip(scale, nu, error.se, error.df, strict=True)]
    half = np.maximum(np.array(wide, dtype=float), high - mean)
    columns |= {"pi_low": mean + origin - half, "pi_high": mean + origin + half}
    return Pooled(columns=columns, factors=moved)


def fit_t(
    beta: Float[np.ndarray, "studies"], variance: Float[np.ndarray, "studies"], *, df: float | None = None
) -> TFit:
    """Fit mean, scale and degrees of freedom by maximum likelihood.

    Parameters
    ----------
    beta, variance : effects and variances of their errors, above zero.
    df : given degrees of freedom; infinite for normal effects.
    """
    size = float(np.median(np.abs(beta - np.median(beta)))) * 1.4826 or float(np.std(beta))
    size = max(size, float(np.sqrt(np.median(variance))), 1e-150)
    y, v = beta / size, variance / size**2
    fixed = None if df is None else float(np.log(min(df, _GAUSS)))
    bounds = [(float(y.min()) - 1e-9, float(y.max()) + 1e-9), (np.log(1e-6), np.log(4 * np.ptp(y) + 1e-6))]
    bounds.append((np.log(_LEAST), np.log(_NORMAL)) if fixed is None else (fixed, fixed))

    def objective(point: Float[np.ndarray, "3"]) -> tuple[float, Float[np.ndarray, "3"]]:
        value, scores = log_density(y, v, point)
        return -float(value.sum()), -scores.sum(axis=1)

    starts = [(float(np.median(y)), 0.5, 4.0), (float(np.median(y)), 0.5, 50.0)]
    if len(y) > _MANY:
        part = fit_t(beta[:: len(y) // 2000], variance[:: len(y) // 2000], df=df)
        starts = [(part.mean / size, max(part.scale / size, 1e-5), min(part.df, _NORMAL / 2))]
    best: optimize.OptimizeResult | None = None
    for centre, width, nu in starts:
        first = np.array([centre, np.log(width), np.log(nu) if fixed is None else fixed])
        first = np.clip(first, [b[0] for b in bounds], [b[1] for b in bounds])
        found = optimize.minimize(
            objective, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9}
        )
        if best is None or found.fun < best.fun:
            best = found
    assert best is not None
    point = best.x
    free = np.array([True, *[lo + 1e-6 < x < hi - 1e-6 for x, (lo, hi) in zip(point[1:], bounds[1:], strict=True)]])
    for _ in range(3):  # a few Newton steps: L-BFGS stops where the likelihood is flat to rounding
        hessian, gradient = _hessian(y, v, point, free)
        moved = point.copy()
        moved[free] += np.linalg.pinv(hessian) @ gradient
        # Where the likelihood is nearly flat, a step can lead out of what the parameters may be.
        if not _within(moved, bounds) or objective(moved)[0] > objective(point)[0] + 1e-12:
            break
        point = moved
    hessian, _ = _hessian(y, v, point, free)
    if np.linalg.eigvalsh(hessian)[0] <= 0:  # no peak in scale and tails: the mean at their values
        free[1:] = False
        hessian = hessian[:1, :1] if hessian[0, 0] > 0 else np.array([[float(np.sum(1 / (v + np.exp(2 * point[1]))))]])
    covariance = np.linalg.pinv(hessian)
    step = 1e-4 * np.exp(max(point[1], -3.0))
    ahead, behind = (log_density(y, v, point + np.array([s, 0.0, 0.0]))[1] for s in (step, -step))
    slopes = (ahead - behind) / (2 * step)
    influence = -covariance[0] @ slopes[free]
    nu, scale = float(np.exp(point[2])), float(np.exp(point[1]))
    return TFit(
        mean=float(point[0]) * size,
        scale=scale * size if scale > 2e-6 else 0.0,
        df=nu if nu < 0.999 * _NORMAL else np.inf,
        variance=float(covariance[0, 0]) * size**2,
        influence=influence,
        loglik=-objective(point)[0] - len(y) * np.log(size),
    )


def _within(point: Float[np.ndarray, "3"], bounds: list[tuple[float, float]]) -> bool:
    return all(low <= value <= high for value, (low, high) in zip(point, bounds, strict=True))


def _hessian(
    y: Float[np.ndarray, "studies"],
    v: Float[np.ndarray, "studies"],
    point: Float[np.ndarray, "3"],
    free: Bool[np.ndarray, "3"],
) -> tuple[Float[np.ndarray, "free free"], Float[np.ndarray, "free"]]:
    """Return the observed information of the free parameters, and the score."""
    score = log_density(y, v, point)[1].sum(axis=1)
    rows = []
    for i in np.flatnonzero(free):
        step = np.zeros(3)
        step[i] = 1e-4
        ahead, behind = (log_density(y, v, point + s)[1].sum(axis=1) for s in (step, -step))
        rows.append(-(ahead - behind)[free] / 2e-4)
    hessian = np.array(rows)
    return (hessian + hessian.T) / 2, score[free]


def log_density(
    beta: Float[np.ndarray, "studies"], variance: Float[np.ndarray, "studies"], point: Float[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "studies"], Float[np.ndarray, "3 studies"]]:
    """Return the log-density of each effect and its slope in mean, log scale and log degrees of freedom.

    Parameters
    ----------
    point : mean, log scale, log degrees of freedom.
    """
    mean, scale, nu = float(point[0]), float(np.exp(point[1])), float(np.exp(point[2]))
    largest = float(np.max(np.abs(beta - mean), initial=0.0)) / scale
    u, log_weight = _mixture(nu, largest)
    value, scores = np.empty(len(beta)), np.empty((3, len(beta)))
    spread, tilt = scale**2 * np.exp(-u), u - np.exp(u)
    constant = nu / 2 * (np.log(nu / 2) + 1 - special.digamma(nu / 2))
    for start in range(0, len(beta), _CHUNK):
        part = slice(start, start + _CHUNK)
        r = beta[part, None] - mean
        inverse = 1 / (variance[part, None] + spread)
        z = r * inverse
        joint = log_weight + 0.5 * (np.log(inverse) - r * z)
        peak = joint.max(axis=1, keepdims=True)
        p = np.exp(joint - peak)
        total = p.sum(axis=1, keepdims=True)
        p /= total
        value[part] = (peak + np.log(total))[:, 0] - 0.5 * np.log(2 * np.pi)
        scores[0, part] = np.sum(p * z, axis=1)
        scores[1, part] = (p * (z**2 - inverse)) @ spread
        scores[2, part] = constant + nu / 2 * (p @ tilt)
    return value, scores


def _mixture(nu: float, largest: float) -> tuple[Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]:
    """Return nodes u = log g and their log weights: g ~ gamma(nu / 2, rate nu / 2), and scale / sqrt(g) is the spread.

    Parameters
    ----------
    largest : residual farthest out, in scales: how far down g must reach.
    """
    width = np.sqrt(2 / nu)
    step = min(0.4, 0.7 * width)
    low = -9 * width - np.log1p(largest**2 / nu)
    if nu < 20:
        low = min(-50 / nu - 1, np.log((nu + 1) / max(largest, 1.0) ** 2) - 45 / (nu + 1))
    low = max(low, -120.0)
    high = np.log(1 + 50 / nu + 10 * width)
    u = np.arange(np.floor(low / step), np.ceil(high / step) + 1) * step
    log_weight = nu / 2 * (u + np.log(nu / 2) - np.exp(u)) - special.gammaln(nu / 2) + np.log(step)
    return u, log_weight


def _half_width(scale: float, nu: float, se: float, df: float, level: float) -> float:
    """Return the half width of a new effect: scale t(nu) plus the error of the mean, se times t(df) as a normal."""
    error = se * float(quantile(level, df)) / float(quantile(level))
    if scale == 0:
        return error * float(quantile(level))
    if np.isinf(nu):
        return float(np.hypot(scale, error)) * float(quantile(level))
    tail = float(stats.t.ppf((1 + level) / 2, nu))
    u, log_weight = _mixture(nu, tail)
    spread, p = np.sqrt(error**2 + scale**2 * np.exp(-u)), np.exp(log_weight)
    above = scale * tail + error * float(quantile(level)) + 1e-300
    return float(optimize.brentq(lambda x: p @ stats.norm.sf(x / spread) - (1 - level) / 2, 0.0, 2 * above))
