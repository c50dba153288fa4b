"""Effects of all edits of small loci with sites of two marks, where it is known which mark acts on which."""

from dataclasses import replace

import numpy as np
import pandas as pd

from deepmr.instruments.strength import effect_scales, select_instruments
from deepmr.types import SummaryStats
from tests.mr.builders import deviations

LENGTH, WIDTH = 100, 8


def effects(
    *,
    n_loci=30,
    x_to_y=0.0,
    y_to_x=0.0,
    x_sites=1.0,
    y_sites=1.0,
    common=0.0,
    bend=None,
    members=5,
    noise=0.02,
    seed=0,
):
    """Sites of X and of Y at random places of every locus; edits of a site lower its mark, more or less.

    `common` is the size of sites that move both marks; `bend` turns the exposure's effect into the outcome's.
    """
    rng = np.random.default_rng(seed)
    n = n_loci * LENGTH * 3
    own = np.zeros((3, n_loci, LENGTH, 3))
    for k, size in enumerate((x_sites, y_sites, common)):
        for i in range(n_loci):
            at = rng.integers(0, LENGTH - WIDTH)
            own[k, i, at : at + WIDTH] = -size * rng.uniform(0.3, 1.0, (WIDTH, 3))
    x0, y0, both = own.reshape(3, n)
    x, y = x0 + both, y0 + both
    through = x if bend is None else np.sign(x) * bend(np.abs(x))
    x, y = x + y_to_x * y, y + x_to_y * through
    delta = np.stack([x, y], axis=1) + noise * rng.normal(size=(members, n, 2)) * (0.05 + np.abs(np.stack([x, y], 1)))
    factors = deviations(delta)
    offset = np.tile(np.repeat(np.arange(LENGTH), 3), n_loci)
    locus = np.repeat([f"locus{i}" for i in range(n_loci)], LENGTH * 3)
    new = np.tile(list("CGT"), n_loci * LENGTH)
    variants = pd.DataFrame(
        {
            "variant_id": [f"{a}:{b + 1}:A:{c}" for a, b, c in zip(locus, offset, new, strict=True)],
            "locus": locus,
            "chrom": "",
            "pos": offset + 1,
            "effect_allele": new,
            "other_allele": "A",
            "offset": offset,
        }
    )
    return SummaryStats(
        variants=variants,
        traits=("X", "Y"),
        beta=delta.mean(axis=0),
        se=np.sqrt(np.sum(factors**2, axis=0)),
        error_factors=factors,
    )


def both_ways(stats, *, loci=None):
    """Instruments of both directions."""
    return (
        select_instruments(stats, exposure="X", outcome="Y", loci=loci),
        select_instruments(stats, exposure="Y", outcome="X", loci=loci),
    )


def sizes(stats):
    scales = effect_scales([stats])
    return scales["X"].quantile, scales["Y"].quantile


def without_members(instruments):
    return replace(instruments, error_factors=None)
