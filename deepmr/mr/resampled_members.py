"""Members trained on resampled data beside those that differ by their seed: the larger of both spreads counts."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import schema
from deepmr.errors import InputError
from deepmr.types import Estimates, Instruments

_GROUP = ["method", "exposure", "outcome", "estimand"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which members' errors a method's estimates of a pair carry, and how large both are.

    Attributes
    ----------
    method, exposure, outcome : of the estimates.
    used : `seeds` or `bootstrap`.
    se_seeds, se_bootstrap : members' part of the standard error of the plain mean over loci.
    """

    method: str
    exposure: str
    outcome: str
    used: Literal["seeds", "bootstrap"]
    se_seeds: float
    se_bootstrap: float


def resampled_instruments(
    instruments: Instruments, effects: Float[np.ndarray, "members instruments traits"]
) -> Instruments:
    """Return instruments whose shared errors are how networks trained on resampled data differ from the mean.

    Parameters
    ----------
    instruments : chosen on the mean of the ensemble, and with its effects.
    effects : of the networks trained on resampled data, at these instruments; exposures, then the outcome.

    Notes
    -----
    F_k = (e*_k - mean) / sqrt(K), e*_k the effects of resampled network k and the mean that of the ensemble, not of the
    resampled ones, which are worse estimates: learned from fewer different sequences. Squares about the ensemble's mean
    hold the error of that mean, so they take the place of (1 + 1/K) B. They count as K - 1 degrees of freedom.
    """
    mean = np.concatenate([instruments.beta_exposure, instruments.beta_outcome[:, None]], axis=1)
    return replace(instruments, error_factors=(effects - mean) / np.sqrt(len(effects)))


def larger_errors(seeds: Estimates, bootstrap: Estimates) -> tuple[Estimates, list[Choice]]:
    """Let estimates carry the larger of two sets of members' errors, each method and pair with one set at all loci.

    Parameters
    ----------
    seeds : estimates, with the errors of networks that differ by their seed.
    bootstrap : of the same instruments with `resampled_instruments`, as many members; read for its factors alone.

    Returns
    -------
    The estimates, with both parts as extras `se_seeds` and `se_bootstrap`, and what was chosen: by the variance that
    the members give the plain mean over loci. One set at all loci: over them, the errors of one member add up.
    """
    key, own, other = [*_GROUP, "locus"], seeds.error_factors, bootstrap.error_factors
    if own is None or other is None or len(own) != len(other):
        counts = ["no" if factors is None else str(len(factors)) for factors in (own, other)]
        raise InputError(f"needed as many resampled members as there are members; got {counts[1]} and {counts[0]}")
    at = pd.MultiIndex.from_frame(bootstrap.table[key]).get_indexer(pd.MultiIndex.from_frame(seeds.table[key]))
    moved = np.where(at >= 0, other[:, at], np.nan)
    chosen, choices = own.copy(), []
    for index in seeds.table.groupby(_GROUP, sort=False).indices.values():
        sizes = [float(np.sqrt(np.sum(factors[:, index].mean(axis=1) ** 2))) for factors in (own, moved)]
        larger = sizes[1] > sizes[0]  # never where a locus lacks its resampled errors: NaN
        if larger:
            chosen[:, index] = moved[:, index]
        method, exposure, outcome = seeds.table.iloc[index[0]][_GROUP[:3]].astype(str)
        used: Literal["seeds", "bootstrap"] = "bootstrap" if larger else "seeds"
        choices.append(
            Choice(
                method=method, exposure=exposure, outcome=outcome, used=used, se_seeds=sizes[0], se_bootstrap=sizes[1]
            )
        )
    parts = {"se_seeds": own, "se_bootstrap": moved}
    sizes_at = {name: np.sqrt(np.sum(np.square(factors, dtype=float), axis=0)) for name, factors in parts.items()}
    table = seeds.table.assign(**sizes_at)
    table = table[[name for name in (*schema.ESTIMATES, *schema.EXTRA) if name in table]]
    return replace(seeds, table=table, error_factors=chosen), choices
