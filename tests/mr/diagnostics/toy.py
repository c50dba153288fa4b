"""Effects of all edits of small loci with sites of two marks, where it is known which mark acts on which."""

from deepmr.instruments.strength import effect_scales, select_instruments
from deepmr.ism.members import pool_members
from deepmr.simulate.marks import simulate_marks


def effects(*, members=5, **truth):
    """Summary statistics of an ensemble, see `simulate_marks`."""
    return pool_members(simulate_marks(n_members=members, **truth))


def both_ways(stats, *, loci=None):
    """Instruments of both directions."""
    return (
        select_instruments(stats, exposure="X", outcome="Y", loci=loci),
        select_instruments(stats, exposure="Y", outcome="X", loci=loci),
    )


def sizes(stats):
    scales = effect_scales([stats])
    return scales["X"].quantile, scales["Y"].quantile
