"""Instruments for tests, from plain arrays."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from deepmr import schema
from deepmr.types import Instruments


def pack(x, y, se_x=0.1, se_y=0.1, *, counts=None, factors=None, correlation=None, overlap=None, n=None):
    """Instruments of one exposure; `counts` says how many rows each locus has (default: all rows are one locus).

    `overlap` is the correlation of the errors of x and y; `n` sample sizes of exposure and outcome.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    counts = np.array([len(x)] if counts is None else counts)
    loci = tuple(f"locus{i}" for i in range(len(counts)))
    variants = pd.DataFrame({name: [f"v{j}" for j in range(len(x))] for name in schema.VARIANTS})
    variants["locus"] = np.repeat(np.asarray(loci, dtype=object), counts)
    return Instruments(
        loci=loci,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(int),
        exposures=("exposure",),
        outcome="outcome",
        variants=variants,
        beta_exposure=x[:, None],
        se_exposure=np.broadcast_to(np.asarray(se_x, dtype=float), x.shape)[:, None].copy(),
        beta_outcome=y,
        se_outcome=np.broadcast_to(np.asarray(se_y, dtype=float), x.shape).copy(),
        error_factors=factors,
        error_corr=None if overlap is None else np.array([[1.0, overlap], [overlap, 1.0]]),
        correlation=None if correlation is None else tuple(np.asarray(c, dtype=float) for c in correlation),
        n=None if n is None else np.tile(np.asarray(n, dtype=float), (len(x), 1)),
    )


def simulated(counts=(0, 5, 20, 1, 40, 12), *, slope=0.5, members=0, seed=0, noise=0.05):
    """Instruments with scatter around a line through the origin; with members, their deviations as error factors."""
    rng = np.random.default_rng(seed)
    n = sum(counts)
    x = rng.choice([-1, 1], n) * rng.uniform(0.5, 2, n)
    se_y = rng.uniform(0.5, 1.5, n) * noise
    y = slope * x + se_y * rng.normal(size=n)
    factors = deviations(rng.normal(size=(members, n, 2)) * noise) if members else None
    return pack(x, y, rng.uniform(0.5, 1.5, n) * noise, se_y, counts=counts, factors=factors, n=(1e6, 2e6))


def deviations(effects):
    """Error factors of a member mean: squares sum to (1 + 1/K) times the variance over members."""
    members = len(effects)
    return (effects - effects.mean(axis=0)) * np.sqrt((1 + 1 / members) / (members - 1))


def locus(instruments, i):
    """One locus by itself."""
    rows = np.zeros(len(instruments.variants), dtype=bool)
    rows[instruments.offsets[i] : instruments.offsets[i + 1]] = True
    alone = instruments.take(rows)
    matrices = None if alone.correlation is None else (alone.correlation[i],)
    return replace(alone, loci=(instruments.loci[i],), offsets=np.array([0, rows.sum()]), correlation=matrices)


def reordered(instruments, seed=0):
    """The same instruments, shuffled within their loci."""
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(np.arange(a, b)) for a, b in pairwise(instruments.offsets)])
    return instruments.pick(order.astype(int))


def rescaled(instruments, *, exposure=1.0, outcome=1.0):
    """The same instruments in other units; arrays of signs flip alleles."""
    column = np.reshape(exposure, (-1, 1))
    factors = instruments.error_factors
    if factors is not None:
        scales = np.stack(np.broadcast_arrays(exposure, outcome), axis=-1)
        factors = factors * scales
    matrices = instruments.correlation
    if matrices is not None:
        signs = np.broadcast_to(np.sign(exposure), len(instruments.variants))
        parts = [signs[a:b] for a, b in pairwise(instruments.offsets)]
        matrices = tuple(np.outer(s, s) * matrix for s, matrix in zip(parts, matrices, strict=True))
    return replace(
        instruments,
        beta_exposure=instruments.beta_exposure * column,
        se_exposure=instruments.se_exposure * np.abs(column),
        beta_outcome=instruments.beta_outcome * outcome,
        se_outcome=instruments.se_outcome * np.abs(outcome),
        error_factors=factors,
        correlation=matrices,
    )
