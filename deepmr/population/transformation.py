"""Traits made ready for a linear model: standardised, or with their ranks mapped to the normal distribution."""

import numpy as np
from jaxtyping import Float
from scipy import special, stats

from deepmr.errors import InputError

BLOM = 3 / 8


def standardise(values: Float[np.ndarray, "samples"], *, name: str = "trait") -> Float[np.ndarray, "samples"]:
    """Return a trait with mean 0 and standard deviation 1 over the samples that have it.

    Parameters
    ----------
    values : NaN where not measured.
    name : of the trait, for the message.

    Raises
    ------
    InputError
        When all values are the same.
    """
    there = values[np.isfinite(values)]
    spread = np.std(there, ddof=1) if len(np.unique(there)) > 1 else 0.0
    if not spread > 0:
        raise InputError(f"{name} is constant over the samples that have it: it cannot be standardised")
    return (values - there.mean()) / spread


def inverse_normal(values: Float[np.ndarray, "samples"], *, name: str = "trait") -> Float[np.ndarray, "samples"]:
    """Return the normal quantiles of a trait's ranks.

    Parameters
    ----------
    values : NaN where not measured.
    name : of the trait, for the message.

    Raises
    ------
    InputError
        When all values are the same.

    Notes
    -----
    Phi^-1((r - 3/8) / (n + 1/4)) of rank r among the n samples that have the trait; equal values share their mean
    rank. Ranks are of the trait as it is, covariates not yet taken out. Effects are then in units of the transformed
    trait, close to standard deviations; a causal effect in units of the trait cannot be had from them.

    References
    ----------
    Blom, Statistical estimates and transformed beta-variables, Wiley (1958); Beasley et al., Behav Genet 39:580
    (2009), https://doi.org/10.1007/s10519-009-9281-0

    Examples
    --------
    >>> inverse_normal(np.array([10.0, 30.0, 20.0])).round(4)
    array([-0.8694,  0.8694,  0.    ])
    """
    there = np.isfinite(values)
    if len(np.unique(values[there])) < 2:
        raise InputError(f"{name} is constant over the samples that have it: its ranks say nothing")
    made = np.full(len(values), np.nan)
    made[there] = special.ndtri((stats.rankdata(values[there]) - BLOM) / (there.sum() + 1 - 2 * BLOM))
    return made
