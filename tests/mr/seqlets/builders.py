"""Instruments in clusters, for tests."""

import numpy as np

from tests.mr.builders import pack


def clustered(slopes, *, n=6, noise=0.0, members=0, common=0.0, seed=0, strength=1.0):
    """Instruments and labels: `slopes` holds a list of slopes a locus, one a cluster; `common` moves all y alike."""
    rng = np.random.default_rng(seed)
    counts = [n * len(row) for row in slopes]
    flat = np.repeat(np.concatenate([np.asarray(row, dtype=float) for row in slopes]), n)
    label = np.repeat(np.arange(sum(len(row) for row in slopes)), n)
    x = -strength * rng.uniform(1, 2, len(flat))
    errors = noise * rng.normal(size=(max(members, 1) + 1, 2, len(flat)))
    errors[:, 1] += common * rng.normal(size=(len(errors), 1)) * x
    factors = None
    if members:
        deviation = errors[1:] - errors[1:].mean(axis=0)
        factors = np.moveaxis(deviation, 1, 2) * np.sqrt((1 + 1 / members) / (members - 1))
        moved = errors[0] + errors[1:].mean(axis=0)
    else:
        moved = errors[0]
    se = 1e-9 + noise if factors is None else np.sqrt(np.sum(factors**2, axis=0)) + 1e-12
    se_x, se_y = (se, se) if factors is None else (se[:, 0], se[:, 1])
    given = pack(x + moved[0], flat * x + moved[1], se_x, se_y, counts=counts, factors=factors)
    return given, label
