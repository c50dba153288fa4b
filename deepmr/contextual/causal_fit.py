"""A contextual Mendelian-randomization fit: f, effects of loci old and new, and what they rest on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.linalg import cho_solve

from deepmr import checks
from deepmr.contextual.gp import GaussianProcessFit
from deepmr.contextual.kernel_mixture import Component, Mixture
from deepmr.contextual.kernel_posterior import joint_covariance, posterior
from deepmr.contextual.local_errors import error_scales
from deepmr.contextual.loci import LocusEffects
from deepmr.contextual.locus_posterior import NormalMixture, dense, moved_by_factors, new_loci
from deepmr.contextual.outlying import find_outlying, own_effects
from deepmr.contextual.scaling import Scaling, check_contexts
from deepmr.contextual.units import Units
from deepmr.inference import quantile

Method = Literal["gp", "linear", "constant"]
_DIFFUSE = 10.0  # prior sd of the coefficient of a nuisance, in units of the spread of effects


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
        `own_low`, `own_high`, the locus's own effect f(c_l) + u_l; `outlying`, how likely it lies farther from f than
        the scatter of loci allows (see `find_outlying`), where its own effect stays near its estimate; `outside`.
        """
        unit = self.surface.units[0]
        off = find_outlying(self.mixture)
        own = own_effects(self.mixture, off).scaled(unit.outcome_centre, unit.outcome_size)
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
                "outlying": off.probability,
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

    def mean_effect_df(self) -> float:
        """Return degrees of freedom of `mean_effect`, few where a few members tell the errors that loci share."""
        shared = self.effects.error_factors
        if shared is None or np.isinf(self.effects.error_df):
            return float(np.inf)
        unit = self.surface.units[0].outcome_size
        heaviest = max(self.mixture.components, key=lambda one: one.weight)
        moved = moved_by_factors(heaviest, shared / unit, self.expected).mean(axis=1)
        part = float((moved**2).sum()) * (unit / self.mean_effect()[1]) ** 2
        return float(self.effects.error_df / np.clip(part, 1e-12, 1.0) ** 2)

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

        Notes
        -----
        Errors known to few degrees of freedom have the heavy tails here that they have in the fit.
        """
        unit = self.surface.units[0]
        z, variance, _ = expected_contexts(effects, self.surface.scaling, like=self.effects)
        made = new_loci(
            self.mixture.components,
            z,
            scatter=True,
            factors=scaled_factors(effects, unit, with_strength=self.surface.record.options["nuisance"] == "strength"),
            z_variance=variance if self.expected_variance is not None else None,
        )
        scales = error_scales(effects.df if self.surface.record.options["local_errors"] == "t" else None, len(effects))
        noise = scales[:, None] * (effects.se / unit.outcome_size) ** 2
        whole = NormalMixture(
            weights=np.tile(made.weights / len(scales), (len(scales), 1)),
            means=np.tile(made.means, (len(scales), 1)),
            sds=np.sqrt(made.sds**2 + noise).reshape(-1, len(effects)),
        )
        return whole.scaled(unit.outcome_centre, unit.outcome_size)


def _mean_of_f(one: Component, z: Float[np.ndarray, "loci used"]) -> tuple[float, float]:
    mean = posterior(one.model, one.at, z).mean[:, 0]
    return float(mean.mean()), float(joint_covariance(one.model, one.at, z).mean())


def scaled_factors(
    effects: LocusEffects, unit: Units, *, with_strength: bool
) -> Float[np.ndarray, "factors loci"] | None:
    """Return factors of known covariance: of shared errors, and of a nuisance that may be anything.

    Parameters
    ----------
    effects : of loci.
    unit : of the outcome.
    with_strength : whether 1 / F of each locus is a nuisance.
    """
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
