"""Contextual Mendelian randomization: how the causal effect of a locus goes with its context, errors known."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats
from scipy.linalg import cho_solve

from deepmr import checks
from deepmr.contexts import record_of
from deepmr.contextual.gp import GaussianProcessFit
from deepmr.contextual.kernel_mixture import Component, Mixture, fit_mixture
from deepmr.contextual.kernel_model import KernelModel, factor
from deepmr.contextual.kernel_posterior import joint_covariance, posterior
from deepmr.contextual.kernel_shapes import SHAPES
from deepmr.contextual.loci import LocusEffects
from deepmr.contextual.locus_posterior import NormalMixture, dense, moved_by_factors, new_loci, old_loci
from deepmr.contextual.reml import fit_mixed
from deepmr.contextual.scaling import Scaling, check_contexts, constant_contexts, scale_contexts
from deepmr.contextual.units import Units
from deepmr.errors import InputError
from deepmr.inference import quantile

Method = Literal["gp", "linear", "constant"]
Nuisance = Literal["none", "strength"]
ContextErrors = Literal["expected_kernel", "ignored"]
LocalErrors = Literal["normal", "t"]
_DIFFUSE = 10.0  # prior sd of the coefficient of a nuisance, in units of the spread of effects
_SCATTER = (1.0, 2.0)  # prior of tau^2 over the spread of effects: where data are, nearly flat in tau
_NORMAL_DF = 30.0  # degrees of freedom from which on a local error counts as normal
_MOST = 5000  # loci, all pairs of which are looked at
_T_ROUNDS, _T_DONE = 12, 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextualMR:
    """Effects of loci as a function of context: b_l = f(c_l) + u_l + e_l.

    Attributes
    ----------
    effects : that were fitted.
    method : shapes of f: `gp`, an average over constant, linear and smooth ones; `linear`, `constant`.
    surface : f, as a fit of `contextual`, of which bands, draws and states may be asked.
    expected : contexts of the loci, standardised, freed of their errors as far as these are known.
    expected_variance : of the true contexts about these; None where contexts are exact.
    tau, tau_low, tau_high : standard deviation of u_l, with its interval.
    shares : posterior share of each shape of f; `constant` is that of no effect of context at all.
    relevance : by context, how much f changes with it, from 0, averaged over shapes.
    attenuation : by context with errors, the share of its variance that is of the true context.
    level : of intervals.
    warnings : what a reader has to know, in sentences.
    """

    effects: LocusEffects
    method: Method
    surface: GaussianProcessFit
    expected: Float[np.ndarray, "loci used"]
    expected_variance: Float[np.ndarray, "loci used"] | None
    tau: float
    tau_low: float
    tau_high: float
    shares: dict[str, float]
    relevance: dict[str, float]
    attenuation: dict[str, float]
    level: float
    warnings: tuple[str, ...]

    @property
    def mixture(self) -> Mixture:
        """Shapes and hyper-parameters of f with their weights."""
        return self.surface.fits[0]

    def predict(self, contexts: Float[np.ndarray, "points contexts"], *, level: float | None = None) -> pd.DataFrame:
        """Return f at contexts with its interval, and the interval in which the effect of a new locus lies.

        Parameters
        ----------
        contexts : true ones, in the unit of the fit.
        level : of the intervals; None for that of the fit.

        Returns
        -------
        `beta`, `se`, `ci_low`, `ci_high` of f; `pi_low`, `pi_high` of a new locus, with the scatter of loci, what is
        open of it and of f; `outside`, for contexts beyond those of the fit; `unlearned`, the share of the prior
        variance of f that the loci left.
        """
        check_contexts(contexts, self.effects.context_names)
        level = self.level if level is None else level
        checks.level(level)
        z, unit = self.surface.scaling(contexts), self.surface.units[0]
        found = new_loci(self.mixture.components, z, scatter=False)
        scattered = new_loci(self.mixture.components, z, scatter=True)
        f, new = (one.scaled(unit.outcome_centre, unit.outcome_size) for one in (found, scattered))
        low, high = self._interval(f, level, z)
        new_low, new_high = self._interval(new, level, z)
        return pd.DataFrame(
            {
                "beta": f.mean,
                "se": f.sd,
                "ci_low": low,
                "ci_high": high,
                "pi_low": new_low,
                "pi_high": new_high,
                "outside": self.surface.scaling.outside(contexts),
                "unlearned": self.mixture.posterior(z).unlearned,
            }
        )

    def locus_effects(self) -> pd.DataFrame:
        """Return one row a fitted locus: its estimate, f at its context, and its own effect given all loci.

        Returns
        -------
        `locus`, `chrom`; `beta`, `se`, the estimate; `context_beta`, `context_se`, f(c_l); `own_beta`, `own_se`,
        `own_low`, `own_high`, the locus's own effect f(c_l) + u_l; `outside`.
        """
        unit = self.surface.units[0]
        own = old_loci(self.mixture.components).scaled(unit.outcome_centre, unit.outcome_size)
        f = new_loci(self.mixture.components, self.expected, scatter=False, z_variance=self.expected_variance)
        f = f.scaled(unit.outcome_centre, unit.outcome_size)
        low, high = self._interval(own, self.level)
        return pd.DataFrame(
            {
                "locus": self.effects.loci,
                "chrom": self.effects.chrom,
                "beta": self.effects.beta,
                "se": self.effects.total_se,
                "context_beta": f.mean,
                "context_se": f.sd,
                "own_beta": own.mean,
                "own_se": own.sd,
                "own_low": low,
                "own_high": high,
                "outside": self.surface.scaling.outside(self.effects.contexts),
            }
        )

    def _interval(
        self, found: NormalMixture, level: float, z: Float[np.ndarray, "points used"] | None = None
    ) -> tuple[Float[np.ndarray, "points"], Float[np.ndarray, "points"]]:
        """Return quantiles, wider by what Student's t is where a few members tell the errors that loci share."""
        low, high = found.interval(level)
        shared = self.effects.error_factors
        if shared is None or np.isinf(self.effects.error_df):
            return low, high
        unit = self.surface.units[0].outcome_size
        heaviest = max(self.mixture.components, key=lambda one: one.weight)
        part = (moved_by_factors(heaviest, shared / unit, z) ** 2).sum(axis=0) * (unit / found.sd) ** 2
        df = self.effects.error_df / np.clip(part, 1e-12, 1.0) ** 2  # Welch and Satterthwaite's, the rest known
        wider = quantile(level, df) / quantile(level)
        return found.mean - wider * (found.mean - low), found.mean + wider * (high - found.mean)

    def mean_effect(self) -> tuple[float, float]:
        """Return the mean of f over the fitted loci, and its standard error."""
        unit = self.surface.units[0]
        means, variances = [], []
        for one in self.mixture.components:
            mean, variance = _mean_of_f(one, self.expected)
            means.append(mean)
            variances.append(variance)
        weights = np.array([one.weight for one in self.mixture.components])
        mean = float(weights @ means)
        variance = float(weights @ (np.array(variances) + (np.array(means) - mean) ** 2))
        return unit.outcome_centre + unit.outcome_size * mean, unit.outcome_size * float(np.sqrt(variance))

    def edf(self) -> float:
        """Return the effective number of coefficients of f: the trace of the matrix that makes f of the effects."""
        found = 0.0
        for one in self.mixture.components:
            tau2 = float(np.exp(one.at.theta[-1]))
            own = one.model.noise + tau2
            at = dense(one)
            inverse = cho_solve(at.chol, np.eye(len(own)), check_finite=False)
            projected = inverse - at.solved_x @ at.covariance @ at.solved_x.T
            errors = (
                np.diag(own) if one.model.factors is None else np.diag(own) + one.model.factors.T @ one.model.factors
            )
            found += one.weight * (len(own) - float((projected * errors).sum()))
        return found

    def observed(self, effects: LocusEffects) -> NormalMixture:
        """Return the predictive distribution of estimates at other loci of the same analysis, with their errors.

        Parameters
        ----------
        effects : other loci; of their estimates nothing is used.
        """
        unit = self.surface.units[0]
        z, variance, _ = expected_contexts(effects, self.surface.scaling, like=self.effects)
        made = new_loci(
            self.mixture.components,
            z,
            scatter=True,
            noise=(effects.se / unit.outcome_size) ** 2,
            factors=_scaled_factors(effects, unit, with_strength=self.surface.record.options["nuisance"] == "strength"),
            z_variance=variance if self.expected_variance is not None else None,
        )
        return made.scaled(unit.outcome_centre, unit.outcome_size)


def fit_contextual_mr(
    effects: LocusEffects,
    *,
    method: Method = "gp",
    nuisance: Nuisance = "none",
    context_errors: ContextErrors = "expected_kernel",
    local_errors: LocalErrors = "t",
    level: float = 0.95,
    seed: int = 0,
) -> ContextualMR:
    """Fit causal effects of loci as a function of their contexts, with a scatter of loci about it.

    Parameters
    ----------
    effects : of loci, with known errors.
    method : `gp`, f averaged over constant, linear and smooth functions by how likely they make the effects; `linear`,
        over constant and linear ones; `constant`, random effects by restricted likelihood.
    nuisance : `strength` adds 1 / F of each locus as a nuisance with a coefficient of its own: f is then that of
        strong instruments. Needs `f_statistic`.
    context_errors : what is done about contexts with errors: `expected_kernel`, f is that of the true context, see
        Notes; `ignored`, f is that of the context as it was measured or predicted, attenuated.
    local_errors : `t`: an error `se` known to few degrees of freedom has heavier tails; `normal`: as if known.
    level : of intervals.
    seed : nothing here is random.

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
    factors = _scaled_factors(effects, unit, with_strength=nuisance == "strength")
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
    mixture = _fit(model, method) if df is None or (df >= _NORMAL_DF).all() else _fit_t(model, method, df)
    tau, low, high = _tau(mixture, unit.outcome_size, level)
    shares = {shape: _share(mixture, shape) for shape in mixture.evidence}
    names = [effects.context_names[k] for k in scaling.used]
    relevance = dict(zip(names, mixture.relevance().tolist(), strict=True))
    options = {"method": method, "nuisance": nuisance, "context_errors": context_errors, "local_errors": local_errors}
    warnings = (*said, *_warnings(effects, attenuation))
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


def _scaled_factors(
    effects: LocusEffects, unit: Units, *, with_strength: bool
) -> Float[np.ndarray, "factors loci"] | None:
    """Return factors of known covariance: of shared errors, and of a nuisance that may be anything."""
    rows = [] if effects.error_factors is None else [effects.error_factors / unit.outcome_size]
    if with_strength and effects.f_statistic is not None:
        rows.append(_DIFFUSE / effects.f_statistic[None])
    return np.concatenate(rows) if rows else None


def expected_contexts(
    effects: LocusEffects, scaling: Scaling, *, like: LocusEffects
) -> tuple[Float[np.ndarray, "loci used"], Float[np.ndarray, "loci used"] | None, dict[str, float]]:
    """Return expected true contexts, standardised, their variances, and the mean share of true variance by context.

    Parameters
    ----------
    effects : loci whose contexts are wanted.
    scaling : of the contexts.
    like : loci that tell how contexts vary.

    Notes
    -----
    Regression calibration, each context by itself: c | w ~ N(a w, a v), a = t / (t + v), w standardised, v the error
    variance and t = 1 - mean v that of true contexts.
    """
    w = scaling(effects.contexts)
    if effects.context_se is None or like.context_se is None:
        return w, None, {}
    error = (effects.context_se[:, scaling.used] / scaling.scale) ** 2
    typical = (like.context_se[:, scaling.used] / scaling.scale) ** 2
    true = np.maximum(1.0 - typical.mean(axis=0), 0.01)  # standardised contexts have variance 1
    share = true / (true + error)
    names = [effects.context_names[k] for k in scaling.used]
    told = {name: float(share[:, k].mean()) for k, name in enumerate(names) if typical[:, k].any()}
    return share * w, share * error, told


def _fit(model: KernelModel, method: Method) -> Mixture:
    """Fit the shapes of a method; a constant alone by restricted likelihood without priors."""
    if method == "constant":
        found = fit_mixed(model.y, np.sqrt(model.noise), model.x, factors=model.factors)
        plain = replace(model, shape="constant", weak=False)
        at = factor(plain, np.array([np.log(max(found.tau2, 1e-300))]), with_gradient=False)
        return Mixture(components=(Component(model=plain, at=at, weight=1.0),), evidence={"constant": at.value})
    shapes = SHAPES if model.z_variance is None else tuple(shape for shape in SHAPES if shape != "rough")
    mixture = fit_mixture(model, shapes if method == "gp" else SHAPES[:2], integrate=True)
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
    return Mixture(components=scaled, evidence=mixture.evidence)


def _fit_t(model: KernelModel, method: Method, df: Float[np.ndarray, "loci"]) -> Mixture:
    """Fit with errors of heavier tails: noise variances over weights that go by how far an effect is off."""
    known = model.noise
    weight = np.ones_like(known)
    mixture = _fit(model, method)
    for _ in range(_T_ROUNDS):
        own = old_loci(mixture.components)
        squared = (model.y - own.mean) ** 2 + own.sd**2
        new = np.where(df < _NORMAL_DF, (df + 1) / (df + squared / known), 1.0)
        moved = float(np.abs(np.log(new / weight)).max())
        weight = new
        if moved < _T_DONE:
            break
        at_same = tuple(_refactored(one, known / weight) for one in mixture.components)
        mixture = replace(mixture, components=at_same)
    return _fit(replace(model, noise=known / weight), method)


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
    half = float(stats.norm.ppf((1 + level) / 2)) * spread
    tau = size * float(np.sqrt(weights @ np.exp(logs)))
    return tau, size * float(np.exp((centre - half) / 2)), size * float(np.exp((centre + half) / 2))


def _mean_of_f(one: Component, z: Float[np.ndarray, "loci used"]) -> tuple[float, float]:
    mean = posterior(one.model, one.at, z).mean[:, 0]
    return float(mean.mean()), float(joint_covariance(one.model, one.at, z).mean())


def _warnings(effects: LocusEffects, attenuation: dict[str, float]) -> tuple[str, ...]:
    said = []
    rank = stats.spearmanr(np.abs(effects.beta), effects.total_se)
    if len(effects) >= 10 and rank.statistic > 0.3 and rank.pvalue < 0.001:
        said.append(
            f"Standard errors rise with effects (rank correlation {rank.statistic:.2f}): weights by precision favour "
            "small effects, and f is pulled towards them."
        )
    low = [f"{name} ({share:.2f})" for name, share in attenuation.items() if share < 0.5]
    if low:
        said.append(f"Contexts that are more error than signal, of which little can be told: {', '.join(low)}.")
    return tuple(said)
