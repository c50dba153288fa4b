"""Contextual Mendelian randomization: how the causal effect of a locus goes with its context, errors known."""

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy import stats

from deepmr import checks
from deepmr.contexts import record_of
from deepmr.contextual.causal_fit import ContextualMR, Method, expected_contexts, scaled_factors
from deepmr.contextual.gp import GaussianProcessFit
from deepmr.contextual.kernel_mixture import Component, Mixture, fit_mixture
from deepmr.contextual.kernel_model import KernelModel, factor
from deepmr.contextual.kernel_shapes import Shape
from deepmr.contextual.local_errors import DONE, NORMAL_DF, ROUNDS, LocalErrors, error_weights
from deepmr.contextual.loci import LocusEffects
from deepmr.contextual.locus_posterior import old_loci
from deepmr.contextual.outlying import find_outlying
from deepmr.contextual.reml import fit_mixed
from deepmr.contextual.scaling import constant_contexts, scale_contexts
from deepmr.contextual.units import Units
from deepmr.errors import InputError
from deepmr.inference import quantile

__all__ = [
    "ContextErrors",
    "ContextualMR",
    "LocalErrors",
    "Method",
    "Nuisance",
    "expected_contexts",
    "fit_contextual_mr",
]

Nuisance = Literal["none", "strength"]
ContextErrors = Literal["expected_kernel", "ignored"]
_SCATTER = (1.0, 2.0)  # prior of tau^2 over the spread of effects: where data are, nearly flat in tau
_SHAPES: tuple[Shape, ...] = ("constant", "linear", "smooth", "rough")  # without the last where contexts have errors
_T_FITS, _T_SETTLED = 3, 0.05  # fits with other error weights at most; a change of a logarithm that asks for no more
_MOST = 5000  # loci, all pairs of which are looked at


def fit_contextual_mr(
    effects: LocusEffects,
    *,
    method: Method = "gp",
    nuisance: Nuisance = "none",
    context_errors: ContextErrors = "expected_kernel",
    local_errors: LocalErrors = "t",
    level: float = 0.95,
    seed: int = 0,
    like: ContextualMR | None = None,
) -> ContextualMR:
    """Fit causal effects of loci as a function of their contexts, with a scatter of loci about it.

    Parameters
    ----------
    effects : of loci, with known errors.
    method : `gp`, f averaged over constant, linear, smooth and rough functions by how likely they make the effects;
        `linear`, over constant and linear ones; `constant`, random effects by restricted likelihood.
    nuisance : `strength` adds 1 / F of each locus as a nuisance with a coefficient of its own: f is then that of
        strong instruments. Needs `f_statistic`.
    context_errors : what is done about contexts with errors: `expected_kernel`, f is that of the true context, see
        Notes; `ignored`, f is that of the context as it was measured or predicted, attenuated.
    local_errors : `t`: an error `se` known to few degrees of freedom has heavier tails; `normal`: as if known.
    level : of intervals.
    seed : nothing here is random.
    like : a fit of much the same loci, where the search of hyper-parameters begins; it ends where these loci have it.

    Returns
    -------
    ContextualMR

    Raises
    ------
    InputError
        For options that the effects cannot serve.

    Notes
    -----
    b_l = f(c_l) + u_l + e_l, u_l ~ N(0, tau^2), Cov(e) = diag(se^2) + F'F, which is known and never estimated again.
    f is a constant with a flat prior and a Gaussian process with a length scale a context, linear and squared
    exponential; hyper-parameters by restricted likelihood with weak priors (that of tau nearly flat where the data
    are: a prior that lets tau go to 0 makes intervals of new loci too short), integrated over points around the maximum
    (Rue, Martino, Chopin 2009), tau of a constant f on a grid. Intervals are quantiles of the mixture of these
    normal distributions, made wider as Student's t with Welch's degrees of freedom is, where a few members tell the
    size of errors that loci share. With `constant` there are no priors: it is random effects by REML.

    Contexts must come before the instruments (reference alleles, other samples): computed from the same edits as the
    effects, they share errors with them, and make modification where there is none.

    Errors of contexts: with w = c + error, the true context given w is normal (regression calibration), c | w ~
    N(m + a (w - m), a v), a the share of true variance, each context by itself; f's covariance between loci is then
    the expected kernel (`kernel_errors`), and `predict` takes true contexts. Valid for errors independent of effects
    and about normal contexts.

    Local errors with df degrees of freedom: (b_l - truth) / se ~ t(df), as a scale mixture of normal distributions
    whose weights (df + 1) / (df + E e_l^2 / se^2) are found by EM; from 30 on they count as normal.
    """
    for name, value, allowed in (
        ("method", method, Method),
        ("nuisance", nuisance, Nuisance),
        ("context_errors", context_errors, ContextErrors),
        ("local_errors", local_errors, LocalErrors),
    ):
        checks.one_of(name, value, get_args(allowed))
    checks.level(level)
    if len(effects) < 3:
        raise InputError(f"effects of at least 3 loci are needed; got {len(effects)}")
    if len(effects) > _MOST:
        raise InputError(
            f"at most {_MOST} loci can be set against each other; got {len(effects)}: take a sample of them"
        )
    if nuisance == "strength" and effects.f_statistic is None:
        raise InputError("nuisance 'strength' needs the F statistic of every locus; the effects have none")
    data = effects.as_data()
    scaling = scale_contexts(data)
    flat, said = constant_contexts(data, scaling)
    z, variance, attenuation = expected_contexts(effects, scaling, like=effects)
    if context_errors == "ignored":
        z, variance, attenuation = scaling(effects.contexts), None, {}
    start = fit_mixed(effects.beta, effects.se, np.ones((len(effects), 1)), factors=effects.error_factors)
    unit = _units(effects, start.tau2, float(start.coefficients[0]))
    factors = scaled_factors(effects, unit, with_strength=nuisance == "strength")
    model = KernelModel(
        z=z,
        x=np.ones((len(effects), 1)),
        y=(effects.beta - unit.outcome_centre) / unit.outcome_size,
        noise=(effects.se / unit.outcome_size) ** 2,
        counts=np.ones(len(effects)),
        scatter=(0,),
        residual=False,
        factors=factors,
        z_variance=variance,
        scatter_prior=_SCATTER,
    )
    df = effects.df if local_errors == "t" else None
    begin = None if like is None else like.mixture
    normal = df is None or (df >= NORMAL_DF).all()
    mixture = _fit(model, method, begin) if df is None or normal else _fit_t(model, method, df, begin)
    tau, low, high = _tau(mixture, unit.outcome_size, level)
    shares = {shape: _share(mixture, shape) for shape in mixture.evidence}
    names = [effects.context_names[k] for k in scaling.used]
    relevance = dict(zip(names, mixture.relevance().tolist(), strict=True))
    options = {"method": method, "nuisance": nuisance, "context_errors": context_errors, "local_errors": local_errors}
    warnings = (*said, *_warnings(effects, attenuation), *find_outlying(mixture).warning)
    record = record_of(
        data,
        method="gp",
        options=options,
        seed=seed,
        constant=flat,
        measures=mixture.measures(unit),
        relevance=relevance,
        warnings=warnings,
    )
    return ContextualMR(
        effects=effects,
        method=method,
        surface=GaussianProcessFit(fits=(mixture,), units=(unit,), scaling=scaling, record=record),
        expected=z,
        expected_variance=variance,
        tau=tau,
        tau_low=low,
        tau_high=high,
        shares=shares,
        relevance=relevance,
        attenuation=attenuation,
        level=level,
        warnings=warnings,
    )


def _units(effects: LocusEffects, tau2: float, centre: float) -> Units:
    """Return the mean effect and the spread of effects, weighed as random effects are: wild loci do not make it."""
    weights = 1 / (effects.se**2 + tau2)
    size = float(np.sqrt(weights @ (effects.beta - centre) ** 2 / weights.sum()))
    none = np.zeros(0)
    return Units(centre=none, size=none, outcome_centre=centre, outcome_size=size if size > 0 else 1.0)


def _fit(model: KernelModel, method: Method, like: Mixture | None) -> Mixture:
    """Fit the shapes of a method; a constant alone by restricted likelihood without priors."""
    if method == "constant":
        found = fit_mixed(model.y, np.sqrt(model.noise), model.x, factors=model.factors)
        plain = replace(model, shape="constant", weak=False)
        at = factor(plain, np.array([np.log(max(found.tau2, 1e-300))]), with_gradient=False)
        return Mixture(components=(Component(model=plain, at=at, weight=1.0),), evidence={"constant": at.value})
    shapes = _SHAPES if model.z_variance is None else _SHAPES[:3]
    mixture = fit_mixture(model, shapes if method == "gp" else _SHAPES[:2], integrate=True, like=like)
    return _with_grid(mixture)


def _with_grid(mixture: Mixture) -> Mixture:
    """Give a constant f a grid of tau in place of three points: with few loci, tau is far from log-normal."""
    constant = [one for one in mixture.components if one.model.shape == "constant"]
    total = sum(one.weight for one in constant)
    if total < 1e-3:
        return mixture
    model = constant[0].model
    nodes = [factor(model, np.array([t]), with_gradient=False) for t in np.linspace(np.log(1e-5), np.log(10.0), 24)]
    values = np.array([node.value for node in nodes])
    weights = np.exp(values - values.max())
    weights *= total / weights.sum()
    kept = [one for one in mixture.components if one.model.shape != "constant"]
    grid = [
        Component(model=model, at=node, weight=float(weight))
        for node, weight in zip(nodes, weights, strict=True)
        if weight > 1e-5
    ]
    whole = sum(one.weight for one in [*kept, *grid])
    scaled = tuple(replace(one, weight=one.weight / whole) for one in [*kept, *grid])
    return replace(mixture, components=scaled)


def _fit_t(model: KernelModel, method: Method, df: Float[np.ndarray, "loci"], like: Mixture | None) -> Mixture:
    """Fit with errors of heavier tails: noise variances over weights that go by how far an effect is off."""
    known = model.noise
    weight = np.ones_like(known)
    mixture = _fit(model, method, like)
    for _ in range(ROUNDS if method == "constant" else _T_FITS):
        before = weight
        for _ in range(ROUNDS):
            own = old_loci(mixture.components)
            squared = (model.y - own.mean) ** 2 + own.sd**2
            new = error_weights(squared, known, df)
            moved = float(np.abs(np.log(new / weight)).max())
            weight = new
            if moved < DONE:
                break
            at_same = tuple(_refactored(one, known / weight) for one in mixture.components)
            mixture = replace(mixture, components=at_same)
        mixture = _fit(replace(model, noise=known / weight), method, mixture)
        if float(np.abs(np.log(weight / before)).max()) < _T_SETTLED:
            break
    return mixture


def _refactored(one: Component, noise: Float[np.ndarray, "loci"]) -> Component:
    model = replace(one.model, noise=noise)
    return replace(one, model=model, at=factor(model, one.at.theta, with_gradient=False))


def _share(mixture: Mixture, shape: str) -> float:
    return float(sum(one.weight for one in mixture.components if one.model.shape == shape))


def _tau(mixture: Mixture, size: float, level: float) -> tuple[float, float, float]:
    """Return the root mean tau^2 and an interval by a log-normal distribution of tau^2 with the mixture's moments."""
    weights = np.array([one.weight for one in mixture.components])
    logs = np.array([float(one.at.theta[-1]) for one in mixture.components])  # log tau^2 is the last
    centre = float(weights @ logs)
    spread = float(np.sqrt(weights @ (logs - centre) ** 2))
    half = float(quantile(level)) * spread
    tau = size * float(np.sqrt(weights @ np.exp(logs)))
    return tau, size * float(np.exp((centre - half) / 2)), size * float(np.exp((centre + half) / 2))


def _warnings(effects: LocusEffects, attenuation: dict[str, float]) -> tuple[str, ...]:
    said = []
    size, errors = np.abs(effects.beta), effects.total_se
    rank = stats.spearmanr(size, errors) if np.ptp(size) > 0 and np.ptp(errors) > 0 else None
    if rank is not None and len(effects) >= 10 and rank.statistic > 0.3 and rank.pvalue < 0.001:
        said.append(
            f"Standard errors rise with effects (rank correlation {rank.statistic:.2f}): weights by precision favour "
            "small effects, and f is pulled towards them."
        )
    low = [f"{name} ({share:.2f})" for name, share in attenuation.items() if share < 0.5]
    if low:
        said.append(f"Contexts that are more error than signal, of which little can be told: {', '.join(low)}.")
    return tuple(said)
