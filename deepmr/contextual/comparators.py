"""What contextual effects have to beat: a fixed effect, random effects, a linear meta-regression, and clusters."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import special, stats
from scipy.cluster.vq import kmeans2, vq

from deepmr import checks
from deepmr.contextual.causal import ContextualMR, expected_contexts, fit_contextual_mr
from deepmr.contextual.local_errors import NORMAL_DF, LocalErrors, error_scales, heavy_se
from deepmr.contextual.loci import LocusEffects
from deepmr.contextual.reml import MixedFit, fit_mixed
from deepmr.contextual.scaling import Scaling, scale_contexts
from deepmr.errors import InputError
from deepmr.inference import add_errors, interval, quantile, two_sided

Comparator = Literal["fixed", "random", "linear", "clusters", "contextual"]
COMPARATORS: tuple[Comparator, ...] = get_args(Comparator)
TABLE = ["method", "beta", "se", "ci_low", "ci_high", "pvalue", "df", "tau", "n_coefficients", "n"]
_HALVINGS = 40  # of the bracket of a quantile
_A_CLUSTER, _MOST = 25, 15  # loci a cluster, and most clusters


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Estimates of other loci as a method foresaw them.

    Attributes
    ----------
    mean, low, high : centre and interval of the estimate, which has an error of its own.
    log_density : of the estimate that was seen.
    """

    mean: Float[np.ndarray, "loci"]
    low: Float[np.ndarray, "loci"]
    high: Float[np.ndarray, "loci"]
    log_density: Float[np.ndarray, "loci"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedComparator:
    """A mixed meta-regression on columns that come from contexts.

    Attributes
    ----------
    name : of `COMPARATORS`.
    fit : coefficients and the variance between loci.
    scaling, like : of contexts, and the loci that tell how they vary.
    centres : of clusters; no rows without.
    mean_row : mean of the columns over the fitted loci.
    local_errors : law of the loci's own errors.
    """

    name: Comparator
    fit: MixedFit
    scaling: Scaling
    like: LocusEffects
    centres: Float[np.ndarray, "clusters used"]
    mean_row: Float[np.ndarray, "columns"]
    local_errors: LocalErrors = "normal"

    def design(self, effects: LocusEffects) -> Float[np.ndarray, "loci columns"]:
        """Return the columns of loci: ones, and standardised contexts, or in place of both a column a cluster."""
        return _design(self.name, effects, self.scaling, self.like, self.centres)

    def predict(self, effects: LocusEffects, *, level: float = 0.95) -> Predicted:
        """Foresee the estimates of other loci.

        Parameters
        ----------
        effects : other loci of the same analysis.
        level : of the interval.

        Notes
        -----
        Student's t about the regression, with variance tau^2, the locus's own error, that of the coefficients, and of
        errors that loci share, G'G with G = F less what the coefficients have of it. What the residuals r of the
        fitted loci say of these errors counts here as it does in a contextual fit, which would be ahead without any
        context otherwise: they have mean S G D^-1 r and covariance S = (I + G D^-1 G')^-1, D = diag(se^2 + tau^2).
        """
        x, fit, like = self.design(effects), self.fit, self.like
        mean, shared = x @ fit.coefficients, np.zeros(len(effects))
        if effects.error_factors is not None and like.error_factors is not None and len(fit.moved):
            seen = self.design(like)
            left = like.error_factors - fit.moved @ seen.T
            other = effects.error_factors - fit.moved @ x.T
            weighted = left / (like.se**2 + fit.tau2)
            covariance = np.linalg.inv(np.eye(len(left)) + weighted @ left.T)
            mean = mean + (covariance @ weighted @ (like.beta - seen @ fit.coefficients)) @ other
            shared = np.einsum("fp,fg,gp->p", other, covariance, other)
        scales = error_scales(effects.df if self.local_errors == "t" else None, len(effects))
        sd = np.sqrt(np.einsum("pi,ij,pj->p", x, fit.own, x) + fit.tau2 + scales * effects.se**2 + shared)
        half = _half_width(sd, fit.df, level)
        each = stats.t.logpdf((effects.beta - mean) / sd, fit.df) - np.log(sd)
        log_density = special.logsumexp(each, axis=0) - np.log(len(sd))
        return Predicted(mean=mean, low=mean - half, high=mean + half, log_density=log_density)

    def row(self, level: float) -> dict[str, object]:
        """Return the mean effect over the fitted loci with its interval, as a row of `compare`."""
        beta, fit = self.mean_row[None] @ self.fit.coefficients, self.fit
        own = np.atleast_1d(self.mean_row @ fit.own @ self.mean_row)
        moved = np.atleast_1d(((fit.moved @ self.mean_row) ** 2).sum())
        error = add_errors(own, np.inf if self.name == "fixed" else fit.df, moved, self.like.error_df)
        df = error.df
        low, high = interval(beta, error.se, df=df, level=level)
        p = two_sided(beta, error.se, df=df)
        values = (beta[0], error.se[0], low[0], high[0], p[0], df[0], self.fit.tau2**0.5, float(len(self.mean_row)))
        return dict(zip(TABLE, (self.name, *map(float, values), len(self.like)), strict=True))


def _half_width(sd: Float[np.ndarray, "nodes loci"], df: float, level: float) -> Float[np.ndarray, "loci"]:
    """Return half the width of intervals of an equal mixture of t distributions about one centre, by halving."""
    each = quantile(level, df) * sd
    low, high = each.min(axis=0), each.max(axis=0)
    for _ in range(_HALVINGS if len(sd) > 1 else 0):
        middle = (low + high) / 2
        short = 2 * stats.t.sf(middle / sd, df).mean(axis=0) > 1 - level
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return high


def fit_comparator(
    name: Comparator, effects: LocusEffects, *, local_errors: LocalErrors = "normal", seed: int = 0
) -> MixedComparator:
    """Fit one of the models of effects of loci that are not contextual.

    Parameters
    ----------
    name : `fixed`, one effect and no scatter of loci; `random`, one mean and tau^2 by REML, errors by Hartung and
        Knapp; `linear`, a mean linear in all contexts, likewise; `clusters`, a mean a cluster of contexts (k-means,
        one for 25 loci, at most 15), with one tau^2.
    effects : of loci.
    local_errors : `normal`, as in a meta-analysis; `t`, as in `fit_contextual_mr`, so that a contextual fit is not
        ahead by its errors.
    seed : of the clusters.

    Raises
    ------
    InputError
        When there are too few loci for the columns, or contexts follow from each other.
    """
    checks.one_of("comparator", name, COMPARATORS[:-1])
    checks.one_of("local_errors", local_errors, get_args(LocalErrors))
    scaling = scale_contexts(effects.as_data())
    centres = np.zeros((0, len(scaling.used)))
    if name == "clusters" and len(scaling.used):
        wanted = int(np.clip(round(len(effects) / _A_CLUSTER), 2, _MOST))
        z = expected_contexts(effects, scaling, like=effects)[0]
        centres = kmeans2(z, wanted, minit="++", rng=np.random.default_rng(seed))[0]
        centres = centres[np.unique(vq(z, centres)[0])]
    design = _design(name, effects, scaling, effects, centres)
    if len(effects) < design.shape[1] + 2:
        raise InputError(
            f"{name!r} needs {design.shape[1] + 2} loci for {design.shape[1]} coefficients; got {len(effects)}"
        )
    if np.linalg.matrix_rank(design, tol=1e-8 * np.sqrt(len(design))) < design.shape[1]:
        raise InputError(
            f"contexts follow from each other; leave out {', '.join(_dependent(effects, scaling, design))}"
        )
    tau2 = 0.0 if name == "fixed" else None
    if local_errors == "t" and effects.df is not None and (effects.df < NORMAL_DF).any():
        factors = effects.error_factors
        heavy = heavy_se(effects.beta, effects.se, design, effects.df, factors=factors, tau2=tau2)
        effects = replace(effects, se=heavy)
    fit = fit_mixed(
        effects.beta,
        effects.se,
        design,
        factors=effects.error_factors,
        tau2=tau2,
        scaled=name != "fixed",
    )
    return MixedComparator(
        name=name,
        fit=fit,
        scaling=scaling,
        like=effects,
        centres=centres,
        mean_row=design.mean(axis=0),
        local_errors=local_errors,
    )


def _dependent(effects: LocusEffects, scaling: Scaling, design: Float[np.ndarray, "loci columns"]) -> list[str]:
    """Return the contexts that follow from those before them, by the diagonal of R in design = QR."""
    left = np.abs(np.diag(np.linalg.qr(design, mode="r")))[1:]
    return [effects.context_names[k] for k, size in zip(scaling.used, left, strict=True) if size < 1e-8 * len(design)]


def _design(
    name: str, effects: LocusEffects, scaling: Scaling, like: LocusEffects, centres: Float[np.ndarray, "clusters used"]
) -> Float[np.ndarray, "loci columns"]:
    ones = np.ones((len(effects), 1))
    if name in ("fixed", "random") or not len(scaling.used):
        return ones
    z = expected_contexts(effects, scaling, like=like)[0]
    if name == "linear":
        return np.column_stack([ones, z])
    return np.eye(len(centres))[vq(z, centres)[0]]


def predict_contextual(fit: ContextualMR, effects: LocusEffects, *, level: float = 0.95) -> Predicted:
    """Foresee the estimates of other loci by a contextual fit.

    Parameters
    ----------
    fit : of the other loci.
    effects : loci of the same analysis.
    level : of the interval.
    """
    made = fit.observed(effects)
    low, high = made.interval(level)
    return Predicted(mean=made.mean, low=low, high=high, log_density=made.log_density(effects.beta))


def compare(effects: LocusEffects, fit: ContextualMR | None = None, *, seed: int = 0) -> pd.DataFrame:
    """Set the mean effect over loci and the scatter of loci by each model beside each other.

    Parameters
    ----------
    effects : of loci.
    fit : contextual one; None to make it with its defaults.
    seed : of clusters.

    Returns
    -------
    A row a model, those of `COMPARATORS` that the loci allow: `beta`, `se`, `ci_low`, `ci_high`, `pvalue`, `df`, of the
    mean effect over the loci; `tau`, the standard deviation of loci about the model; `n_coefficients`; `n`.
    """
    fit = fit_contextual_mr(effects, seed=seed) if fit is None else fit
    rows = []
    for name in COMPARATORS[:-1]:
        try:
            rows.append(fit_comparator(name, effects, seed=seed).row(fit.level))
        except InputError:
            continue
    beta, se = fit.mean_effect()
    df = fit.mean_effect_df()
    half = float(quantile(fit.level, np.array([df]))[0]) * se
    p = float(two_sided(np.array([beta]), np.array([se]), df=np.array([df]))[0])
    values = ("contextual", beta, se, beta - half, beta + half, p, df, fit.tau, fit.edf(), len(effects))
    return pd.DataFrame([*rows, dict(zip(TABLE, values, strict=True))], columns=TABLE)
