"""Coefficients as Gaussian processes of context, averaged over what the data leave open of their hyper-parameters."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.contexts import Coefficients, ContextData, ContextRecord, ContextState, measures_by_outcome, record_of
from deepmr.contextual.columns import as_coefficients
from deepmr.contextual.kernel_mixture import Mixture, fit_mixture
from deepmr.contextual.kernel_model import KernelModel
from deepmr.contextual.kernel_shapes import SHAPES
from deepmr.contextual.kernel_sparse import inducing_contexts
from deepmr.contextual.least_squares import check_design, inexact, solve
from deepmr.contextual.scaling import Scaling, check_contexts, constant_contexts, scale_contexts
from deepmr.contextual.units import Units, find_units
from deepmr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianProcess:
    """Varying coefficients with a length scale a context, by restricted likelihood; constant ones are a candidate.

    Attributes
    ----------
    shapes : of functions of context to average over, by how likely they make the data: any of constant, linear, smooth
        and rough. Smooth and rough ones have a linear part; linear alone is no default, as its errors far from the data
        are too small wherever the truth bends.
    scatter : whether slopes may also differ between samples (or their groups) at random, with variance tau squared.
    integrate : whether errors contain that hyper-parameters are estimated.
    max_exact : most rows for all pairs of which there is memory and time; of more, rows know of each other through
        inducing contexts.
    n_inducing : how many inducing contexts.
    priors : whether variances and length scales have weak priors. Without, and with shape constant alone and known
        errors, the fit is a random-effects meta-analysis by restricted likelihood.
    """

    shapes: tuple[str, ...] = ("constant", "smooth", "rough", "additive")
    scatter: bool = True
    integrate: bool = True
    priors: bool = True
    max_exact: int = 3000
    n_inducing: int = 150

    def __post_init__(self) -> None:
        if not self.shapes:
            raise InputError(f"shapes must be some of {', '.join(SHAPES)}; got none")
        for shape in self.shapes:
            checks.one_of("shapes", shape, SHAPES)
        checks.at_least("max_exact", self.max_exact, 1)
        checks.at_least("n_inducing", self.n_inducing, 1)

    def fit(
        self, data: ContextData, *, seed: int = 0, like: "GaussianProcessFit | None" = None
    ) -> "GaussianProcessFit":
        """Fit coefficients of every outcome as functions of context.

        Parameters
        ----------
        data : samples.
        seed : of the inducing contexts; nothing else is random.
        like : a fit of much the same samples, where the search of hyper-parameters begins.

        Raises
        ------
        InputError
            When predictors repeat each other, there are fewer samples than coefficients, or predictors alone tell the 0
            and 1 of a binary outcome apart.
        """
        check_design(data.design, data.predictor_names)
        if data.outcome_type == "binary":
            for k in range(len(data.outcome_names)):
                solve(data.pick_outcome(k))  # refuses outcomes that predictors alone tell apart
        scaling = scale_contexts(data)
        flat, said = constant_contexts(data, scaling)
        z = scaling(data.contexts)
        fits, units = [], []
        for k in range(len(data.outcome_names)):
            one = data.pick_outcome(k)
            unit = find_units(one)
            rows = self._rows(kernel_model(one, unit, z, scatter=self.scatter), seed)
            before = None if like is None or len(like.fits) <= k else like.fits[k]
            fit = fit_mixture(rows, self.shapes, integrate=self.integrate, like=before)
            fits.append(fit)
            units.append(unit)
        names = [data.context_names[k] for k in scaling.used]
        relevance = np.max([fit.relevance() for fit in fits], axis=0)
        each = [fit.measures(unit) for fit, unit in zip(fits, units, strict=True)]
        record = record_of(
            data,
            method="gp",
            options=asdict(self),
            seed=seed,
            constant=flat,
            measures=measures_by_outcome(data.outcome_names, each),
            relevance=dict(zip(names, relevance.tolist(), strict=True)),
            warnings=(*said, *inexact(data)),
        )
        return GaussianProcessFit(fits=tuple(fits), units=tuple(units), scaling=scaling, record=record)

    def _rows(self, model: KernelModel, seed: int) -> KernelModel:
        """Return the rows with the priors, and where they are many with the inducing contexts, that were asked for."""
        if len(model.y) <= self.max_exact:
            return replace(model, weak=self.priors)
        shared = model.groups is not None and bool(model.scatter)
        if model.binary or shared:
            what = "binary outcomes" if model.binary else "deviations that groups share"
            raise InputError(
                f"{what} need all pairs of rows, so at most max_exact = {self.max_exact} samples; got {len(model.y)}"
            )
        # A deviation of a row alone is no more than a variance of its own.
        inducing = inducing_contexts(model.z, self.n_inducing, seed=seed)
        return replace(model, weak=self.priors, groups=None, inducing=inducing)


def kernel_model(
    data: ContextData, units: Units, z: Float[np.ndarray, "samples used"], *, scatter: bool
) -> KernelModel:
    """Return the rows of one outcome in the units of the search.

    Parameters
    ----------
    data : samples of one outcome.
    units : of outcome and predictors.
    z : standardised contexts.
    scatter : whether slopes deviate at random; with known errors, the level deviates too, as there is no other error.
        Binary outcomes have none unless groups share it: of one 0 or 1 nothing can be told from chance.
    """
    known, binary = data.se_outcome is not None, data.outcome_type == "binary"
    scatter = scatter and not (binary and data.groups is None)
    columns = range(1, 1 + data.predictors.shape[1])
    deviating = ((0,) if known else ()) + (tuple(columns) if scatter else ())
    groups = None if data.groups is None else np.unique(data.groups, return_inverse=True)[1]
    return KernelModel(
        z=z,
        x=units.design(data),
        y=units.outcome(data),
        noise=units.variance(data),
        counts=data.counts,
        groups=groups,
        scatter=deviating,
        residual=not known and not binary,
        binary=binary,
        offset=None if data.offset is None or not binary else data.offset[:, 0],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianProcessFit:
    """Coefficients as functions of context.

    Attributes
    ----------
    fits : of each outcome, in units of its own.
    units : these.
    scaling : of contexts.
    record : what it was made of.
    """

    kind: ClassVar[str] = "gp"

    fits: tuple[Mixture, ...] = field(repr=False)
    units: tuple[Units, ...] = field(repr=False)
    scaling: Scaling = field(repr=False)
    record: ContextRecord

    def coefficients(self, contexts: Float[np.ndarray, "points contexts"]) -> Coefficients:
        """Return beta and mu at contexts with their standard errors.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        check_contexts(contexts, self.record.context_names)
        z = self.scaling(contexts)
        found = [fit.posterior(z) for fit in self.fits]
        mean = np.stack([unit.coefficients(one.mean) for unit, one in zip(self.units, found, strict=True)], axis=1)
        variance = np.stack(
            [
                np.diagonal(unit.covariance(one.covariance), axis1=1, axis2=2)
                for unit, one in zip(self.units, found, strict=True)
            ],
            axis=1,
        )
        se = np.sqrt(np.maximum(variance, 0.0))
        return as_coefficients(
            mean,
            se,
            outside=self.outside(contexts),
            unlearned=np.mean([one.unlearned for one in found], axis=0),
        )

    def means(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points outcomes columns"]:
        """Return mu (column 0) and beta (the rest) at contexts without their errors, at a tenth of the cost.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        check_contexts(contexts, self.record.context_names)
        z = self.scaling(contexts)
        return np.stack(
            [unit.coefficients(fit.mean(z)) for unit, fit in zip(self.units, self.fits, strict=True)], axis=1
        )

    def outside(self, contexts: Float[np.ndarray, "points contexts"]) -> Bool[np.ndarray, "points"]:
        """Return which points are an extrapolation, in all contexts or in those that coefficients vary with.

        Parameters
        ----------
        contexts : in the unit of the fit.

        Notes
        -----
        Contexts that do not matter put every point far from every other, and would hide that one is far in those
        that do; distances are therefore taken a second time, each context as much as its relevance.
        """
        names = [self.record.context_names[k] for k in self.scaling.used]
        relevance = np.array([self.record.relevance[name] for name in names])
        found = self.scaling.outside(contexts)
        if relevance.size and relevance.max() > 0:
            found |= self.scaling.weighted(np.sqrt(relevance / relevance.max())).outside(contexts)
        return found

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 1000, seed: int = 0
    ) -> Float[np.ndarray, "draws points outcomes columns"]:
        """Draw mu and beta jointly over contexts.

        Parameters
        ----------
        contexts : in the unit of the fit; some hundreds, as their joint covariance is a square.
        n_draws : how many.
        seed : of the draws.
        """
        check_contexts(contexts, self.record.context_names)
        z, rng = self.scaling(contexts), np.random.default_rng(seed)
        drawn = [unit.coefficients(fit.draws(z, n_draws, rng)) for unit, fit in zip(self.units, self.fits, strict=True)]
        return np.stack(drawn, axis=2)

    def state(self) -> ContextState:
        """Return all of it as arrays and plain values."""
        arrays, described = self.scaling.arrays(), []
        for k, (unit, fit) in enumerate(zip(self.units, self.fits, strict=True)):
            own, plain = fit.state()
            arrays |= {f"{k}_{name}": value for name, value in {**own, **unit.arrays()}.items()}
            described.append(plain)
        return ContextState(kind=self.kind, arrays=arrays, settings={"fits": described}, record=self.record)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: ContextRecord
    ) -> "GaussianProcessFit":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        fits, units = [], []
        for k, plain in enumerate(settings["fits"]):
            own = {name.removeprefix(f"{k}_"): v for name, v in arrays.items() if name.startswith(f"{k}_")}
            fits.append(Mixture.from_state(own, plain))
            units.append(Units.from_arrays(own))
        return cls(fits=tuple(fits), units=tuple(units), scaling=Scaling.from_arrays(arrays), record=record)
