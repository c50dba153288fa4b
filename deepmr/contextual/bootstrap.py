"""Errors of any method from refits to resampled rows, groups or residuals: a bootstrap that does resample."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.contexts import Coefficients, ContextData, ContextRecord, ContextState, ContextualFit
from deepmr.contextual import fit_context, fit_from_state, predict
from deepmr.contextual.columns import means
from deepmr.errors import InputError

Scheme = Literal["rows", "groups", "wild"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapFit:
    """A fit, and the same method fitted to resampled data.

    Attributes
    ----------
    whole : fit to the data as they are; its coefficients are the estimates.
    refits : to resampled data; their spread is the error.
    failed : why refits that are missing could not be made, one sentence each.
    record : that of `whole`, with what was resampled.
    """

    kind: ClassVar[str] = "bootstrap"

    whole: ContextualFit = field(repr=False)
    refits: tuple[ContextualFit, ...] = field(repr=False)
    failed: tuple[str, ...] = field(repr=False)
    record: ContextRecord

    def coefficients(self, contexts: Float[np.ndarray, "points contexts"]) -> Coefficients:
        """Return coefficients of the whole fit, with the standard deviation over refits as their errors.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        at = self.whole.coefficients(contexts)
        se = self._refitted(contexts).std(axis=0, ddof=1)
        return replace(at, se_mu=se[:, :, 0], se_beta=se[:, :, 1:])

    def means(self, contexts: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points outcomes columns"]:
        """Return mu (column 0) and beta (the rest) of the whole fit, without asking its refits.

        Parameters
        ----------
        contexts : in the unit of the fit.
        """
        return means(self.whole, contexts)

    def draws(
        self, contexts: Float[np.ndarray, "points contexts"], *, n_draws: int = 1000, seed: int = 0
    ) -> Float[np.ndarray, "draws points outcomes columns"]:
        """Return coefficients of refits, each as often as the others, in random order.

        Parameters
        ----------
        contexts : in the unit of the fit.
        n_draws : how many; more than there are refits repeat them.
        seed : of the order.
        """
        rng, n = np.random.default_rng(seed), len(self.refits)
        order = np.concatenate([rng.permutation(n) for _ in range(-(-n_draws // n))])[:n_draws]
        return self._refitted(contexts)[order]

    def percentiles(
        self, contexts: Float[np.ndarray, "points contexts"], *, level: float = 0.95
    ) -> Float[np.ndarray, "limits points outcomes columns"]:
        """Return the lower and the upper percentile of refits, mu first.

        Parameters
        ----------
        contexts : in the unit of the fit.
        level : of the interval between them.
        """
        checks.level(level)
        return np.quantile(self._refitted(contexts), [(1 - level) / 2, (1 + level) / 2], axis=0)

    def _refitted(self, contexts: np.ndarray) -> np.ndarray:
        return np.stack([means(fit, contexts) for fit in self.refits])

    def state(self) -> ContextState:
        """Return all of it as arrays and plain values."""
        arrays: dict[str, np.ndarray] = {}
        members = []
        for k, fit in enumerate((self.whole, *self.refits)):
            one = fit.state()
            arrays |= {f"{k}_{name}": values for name, values in one.arrays.items()}
            members.append({"kind": one.kind, "settings": dict(one.settings)})
        settings = {"members": members, "failed": list(self.failed)}
        return ContextState(kind=self.kind, arrays=arrays, settings=settings, record=self.record)

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, Any], settings: Mapping[str, Any], record: ContextRecord
    ) -> "BootstrapFit":
        """Make it again from what `state` returned; records of single refits are that of all.

        Parameters
        ----------
        arrays, settings, record : as they were.
        """
        fits = []
        for k, one in enumerate(settings["members"]):
            start = f"{k}_"
            own = {name[len(start) :]: values for name, values in arrays.items() if name.startswith(start)}
            fits.append(fit_from_state(one["kind"], own, one["settings"], record))
        return cls(whole=fits[0], refits=tuple(fits[1:]), failed=tuple(settings["failed"]), record=record)


def bootstrap_context(
    data: ContextData,
    *,
    method: str = "gp",
    options: Mapping[str, Any] | None = None,
    n_boot: int = 200,
    scheme: Scheme = "rows",
    seed: int = 0,
) -> BootstrapFit:
    """Fit a method, and again to resampled data.

    Parameters
    ----------
    data : samples.
    method, options : as in `fit_context`.
    n_boot : refits.
    scheme : what is resampled: `rows` with replacement, each as often as its weight says; `groups` of rows; or `wild`,
        residuals with random signs (of a group together) at the same contexts and predictors.
    seed : of refits and of what is resampled.

    Raises
    ------
    InputError
        When groups are wanted and there are none, residuals of binary outcomes, or fewer than two refits succeed.

    References
    ----------
    Efron B, Tibshirani RJ (1993). An Introduction to the Bootstrap. ISBN 0412042312
    Cameron AC, Gelbach JB, Miller DL (2008). Rev Econ Stat 90:414. doi:10.1162/rest.90.3.414
    """
    checks.one_of("scheme", scheme, get_args(Scheme))
    checks.at_least("n_boot", n_boot, 2)
    if scheme == "groups" and data.groups is None:
        raise InputError("scheme groups resamples groups of samples; these have none")
    if scheme == "wild" and data.outcome_type == "binary":
        raise InputError("scheme wild resamples residuals, which outcomes of 0 and 1 do not have; use rows or groups")
    whole = fit_context(data, method=method, options=options, seed=seed)
    fitted = predict(whole, data.contexts, data.predictors, offset=data.offset)
    refits, failed = [], []
    for k in range(n_boot):
        rng = np.random.default_rng([seed, k])
        try:
            refits.append(
                fit_context(resampled(data, fitted, scheme, rng), method=method, options=options, seed=seed + 1 + k)
            )
        except (InputError, np.linalg.LinAlgError) as error:
            failed.append(f"refit {k}: {error}")
    if len(refits) < 2:
        raise InputError(f"{len(failed)} of {n_boot} refits failed, first {failed[0]}")
    said = (f"{len(failed)} of {n_boot} refits failed and are left out; {failed[0]}.",) if failed else ()
    record = replace(
        whole.record,
        options={**whole.record.options, "bootstrap_scheme": scheme, "bootstrap_refits": n_boot},
        warnings=(*whole.record.warnings, *said),
    )
    return BootstrapFit(whole=whole, refits=tuple(refits), failed=tuple(failed), record=record)


def resampled(
    data: ContextData, fitted: Float[np.ndarray, "samples outcomes"], scheme: Scheme, rng: np.random.Generator
) -> ContextData:
    """Return samples as another draw from where these came might be.

    Parameters
    ----------
    data : samples.
    fitted : predictions of them.
    scheme : as in `bootstrap_context`.
    rng : of the draw.
    """
    labels = np.arange(len(data)) if data.groups is None else np.unique(data.groups, return_inverse=True)[1]
    if scheme == "wild":
        signs = rng.choice([-1.0, 1.0], int(labels.max()) + 1)[labels]
        return replace(data, outcomes=fitted + signs[:, None] * (data.outcomes - fitted))
    if scheme == "groups":
        members = [np.flatnonzero(labels == g) for g in range(int(labels.max()) + 1)]
        drawn = [members[g] for g in rng.integers(len(members), size=len(members))]
        again = np.concatenate([np.full(len(rows), k) for k, rows in enumerate(drawn)])
        return replace(data.take(np.concatenate(drawn)), groups=again)
    total = max(round(float(data.counts.sum())), 1)
    often = rng.multinomial(total, data.counts / data.counts.sum())
    return replace(data.take(often > 0), weights=often[often > 0].astype(float))
