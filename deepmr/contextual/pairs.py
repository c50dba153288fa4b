"""Univariate regressions: every predictor and outcome a slope and an offset of its own, each varying with context."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.special import expit

from deepmr import checks
from deepmr.contexts import ContextData, ContextRecord, ContextState, ContextualFit, record_of
from deepmr.contextual import fit_context
from deepmr.contextual.columns import means
from deepmr.contextual.nesting import pack, unpack
from deepmr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCoefficients:
    """Coefficients of every pair at some contexts, in the units of the input.

    Attributes
    ----------
    beta : slope of an outcome on one predictor alone.
    mu : its value where that predictor is 0.
    se_beta, se_mu : their standard errors, or None where the method has none.
    outside : contexts far from those of the fit.
    """

    beta: Float[np.ndarray, "points outcomes predictors"]
    mu: Float[np.ndarray, "points outcomes predictors"]
    se_beta: Float[np.ndarray, "points outcomes predictors"] | None
    se_mu: Float[np.ndarray, "points outcomes predictors"] | None
    outside: Bool[np.ndarray, "points"]

    def to_frame(self, fit: "PairwiseFit") -> pd.DataFrame:
        """Return one row a point, outcome and predictor: `beta`, `se_beta`, `mu`, `se_mu` and `outside`.

        Parameters
        ----------
        fit : whose coefficients they are, for names.
        """
        point, outcome, predictor = (index.ravel() for index in np.indices(self.beta.shape))
        table = pd.DataFrame(
            {
                "point": point,
                "outcome": np.array(fit.record.outcome_names, dtype=object)[outcome],
                "predictor": np.array(fit.record.predictor_names, dtype=object)[predictor],
            }
        )
        for name in ("beta", "se_beta", "mu", "se_mu"):
            values = getattr(self, name)
            table[name] = np.nan if values is None else values.ravel()
        table["outside"] = self.outside[point]
        return table


@dataclass(frozen=True, slots=True, kw_only=True)
class PairwiseFit:
    """A fit of every outcome on each predictor alone.

    Attributes
    ----------
    fits : one a predictor, of all outcomes.
    record : of all; measures and warnings are in the records of `fits`, and here under "<name>|<predictor>".
    """

    kind: ClassVar[str] = "pairs"

    fits: tuple[ContextualFit, ...] = field(repr=False)
    record: ContextRecord

    def coefficients(self, contexts: Float[np.ndarray, "points contexts"]) -> PairCoefficients:
        """Return slope and offset of every pair.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        found = [one.coefficients(contexts) for one in self.fits]

        def stacked(name: str) -> Any:
            values = [getattr(one, name) for one in found]
            if any(value is None for value in values):
                return None
            return np.concatenate(values, axis=2) if values[0].ndim == 3 else np.stack(values, axis=2)

        return PairCoefficients(
            beta=stacked("beta"),
            mu=stacked("mu"),
            se_beta=stacked("se_beta"),
            se_mu=stacked("se_mu"),
            outside=found[0].outside,
        )

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 1000, seed: int = 0
    ) -> Float[np.ndarray, "draws points outcomes predictors two"]:
        """Draw offset (0) and slope (1) of every pair jointly over contexts; of different predictors independently.

        Parameters
        ----------
        contexts : in the unit of the fit.
        n_draws : how many.
        seed : of the draws.
        """
        drawn = [one.draws(contexts, n_draws=n_draws, seed=seed + k) for k, one in enumerate(self.fits)]
        return np.stack(drawn, axis=3)

    def predict(
        self,
        contexts: Float[np.ndarray, "points contexts"],
        predictors: Float[np.ndarray, "points predictors"],
        *,
        offset: Float[np.ndarray, "points outcomes"] | None = None,
    ) -> Float[np.ndarray, "points outcomes predictors"]:
        """Predict each outcome by each predictor alone, as `contextual.predict` does: probabilities where binary.

        Parameters
        ----------
        contexts, predictors : in the units of the fit, a row a point.
        offset : as in the data of the fit.

        Raises
        ------
        InputError
            When contexts, predictors or offset are not those of the fit.
        """
        if predictors.shape != (len(contexts), len(self.fits)):
            raise InputError(
                f"predictors must be {len(contexts)} rows of {len(self.fits)} "
                f"({', '.join(self.record.predictor_names)}); got {predictors.shape}"
            )
        both = np.stack([means(one, contexts) for one in self.fits], axis=2)
        eta = both[..., 0] + both[..., 1] * predictors[:, None, :]
        if offset is not None:
            checks.shape("offset", offset, eta.shape[:2])
            eta = eta + offset[:, :, None]
        return expit(eta) if self.record.outcome_type == "binary" else eta

    def state(self) -> ContextState:
        """Return all of it as arrays and plain values."""
        arrays, plain = pack({str(k): one for k, one in enumerate(self.fits)})
        return ContextState(kind=self.kind, arrays=arrays, settings={"fits": plain}, record=self.record)

    @classmethod
    def from_state(cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: ContextRecord) -> "PairwiseFit":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        parts = unpack(arrays, settings["fits"])
        return cls(fits=tuple(parts[str(k)] for k in range(len(parts))), record=record)


def fit_pairs(
    data: ContextData, *, method: str = "auto", options: Mapping[str, Any] | None = None, seed: int = 0
) -> PairwiseFit:
    """Fit every outcome on each predictor alone: a slope and an offset a pair, which vary with context.

    Parameters
    ----------
    data : samples with at least one predictor.
    method, options, seed : as of `contextual.fit_context`.

    Raises
    ------
    InputError
        For data, a method or an option that cannot be used; of data, the predictor is named.

    Notes
    -----
    The slope of one predictor contains what goes through others that vary with it: these are associations, not the
    direct effects that one regression on all predictors has.
    """
    if not data.predictor_names:
        raise InputError("pairs need at least one predictor; got none")
    fits = []
    for k, name in enumerate(data.predictor_names):
        one = replace(data, predictors=data.predictors[:, [k]], predictor_names=(name,))
        try:
            fits.append(fit_context(one, method=method, options=options, seed=seed))
        except InputError as error:
            raise InputError(f"predictor {name!r}: {error}") from error
    records = dict(zip(data.predictor_names, [one.record for one in fits], strict=True))
    record = record_of(
        data,
        method=method,
        options=fits[0].record.options,
        seed=seed,
        constant=fits[0].record.constant,
        measures={f"{key}|{name}": v for name, one in records.items() for key, v in one.measures.items()},
        relevance={
            key: max(one.relevance.get(key, 0.0) for one in records.values()) for key in fits[0].record.relevance
        },
        warnings=tuple(dict.fromkeys(said for one in records.values() for said in one.warnings)),
    )
    return PairwiseFit(fits=tuple(fits), record=record)
