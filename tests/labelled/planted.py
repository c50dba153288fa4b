"""Loci whose true slopes, predicted slopes and labels are drawn from a model with an error that all members share."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepmr.inference import interval, total_error, two_sided
from deepmr.labelled import LabelledEdits
from deepmr.types import Estimates

K = 5
NAMES = {"method": "ivw", "exposure": "X", "outcome": "Y"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Labels and estimates at labelled loci, and estimates and truth at others."""

    labels: LabelledEdits
    predicted: np.ndarray
    levels: np.ndarray
    labelled: Estimates
    target: Estimates
    truth: np.ndarray


def estimates_of(beta, factors, names, sampling=1e-3):
    """Rows as `mr` makes them."""
    error = total_error(np.full(len(beta), sampling**2), 10.0, factors)
    low, high = interval(beta, error.se, df=error.df)
    table = pd.DataFrame(
        {
            **NAMES, "locus": names, "estimand": "model", "beta": beta, "se": error.se, "ci_low": low, "ci_high": high,
            "pvalue": two_sided(beta, error.se, df=error.df), "n": 10, "df": error.df, "level": 0.95,
            "se_sampling": error.sampling, "se_member": error.member,
        }
    )  # fmt: skip
    return Estimates(table=table, error_factors=factors)


def plant(
    rng, *, n_lab=100, n_edits=5, n_target=150, bias=0.19, beta=4.15, spread=0.36, uneven=0.1, member=0.1, common=0.05,
    noise=1.0, correlated=0.0, dose=0.9, stated=1.0, bias_slope=0.0, level_error=0.3,
):  # fmt: skip
    """Draw one study.

    bias: error that all members share, `uneven` how it varies over loci, bias_slope how it goes with the slope.
    member, common: standard deviation of members' own errors, per locus and at all loci alike. noise: standard
    deviation of a label; correlated: of noise that exposure and outcome have in common; stated: what is said of
    the variance of noise; level_error: by how much the ensemble misses the level of a reference.
    """
    n = n_lab + n_target
    truth = beta + spread * rng.normal(size=n)
    off = bias + uneven * rng.normal(size=n) + bias_slope * (truth - beta)
    deviation = member * rng.normal(size=(K, n)) + common * rng.normal(size=(K, 1))
    slopes = truth - off + deviation
    mean = slopes.mean(axis=0)
    factors = (slopes - mean) * np.sqrt((1 + 1 / K) / (K - 1))
    names = np.array([f"l{i}" for i in range(n)], dtype=object)
    lab = slice(0, n_lab)
    home = np.repeat(np.arange(n_lab), n_edits)
    u = -rng.uniform(10, 16, size=len(home))
    x = dose * u + rng.normal(size=len(home))
    y = truth[home] * x

    both = correlated * rng.normal(size=(n_lab * n_edits, 1)) + noise * rng.normal(size=(n_lab * n_edits, 2))
    reference = correlated * rng.normal(size=(n_lab, 1)) + noise * rng.normal(size=(n_lab, 2))
    difference = np.column_stack([x, y]) + both - reference[home]
    said = np.full(difference.shape, stated * noise**2)
    labels = LabelledEdits(
        variants=pd.DataFrame({"locus": names[home], "effect_allele": "A"}),
        tasks=("X", "Y"),
        difference=difference,
        variance=2 * said,
        shared_variance=said,
        reference=20.0 + reference[home],
    )
    levels = 20.0 + level_error * rng.normal(size=(n_lab, 2))
    return Planted(
        labels=labels,
        predicted=np.column_stack([u, mean[home] * u]),
        levels=levels[home],
        labelled=estimates_of(mean[lab], factors[:, lab], names[lab]),
        target=estimates_of(mean[n_lab:], factors[:, n_lab:], names[n_lab:]),
        truth=truth[n_lab:],
    )
