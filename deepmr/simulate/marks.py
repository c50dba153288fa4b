"""Two marks with sites of their own and shared ones: what edits of every base do, where it is known which mark acts."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks, schema
from deepmr.errors import InputError
from deepmr.types import MemberEffects, Task

MARKS = ("X", "Y")
FLOOR = 0.05  # size of a member's error where an edit has no effect, over that where its effect is 1
Dose = Callable[[Float[np.ndarray, "edits"]], Float[np.ndarray, "edits"]]


def simulate_marks(
    *,
    n_loci: int = 30,
    x_to_y: float = 0.0,
    y_to_x: float = 0.0,
    x_sites: float = 1.0,
    y_sites: float = 1.0,
    common: float = 0.0,
    bend: Dose | None = None,
    n_sites: int = 1,
    n_members: int = 5,
    noise: float = 0.02,
    length: int = 100,
    width: int = 8,
    seed: int = 0,
) -> MemberEffects:
    """Draw sites of X, of Y and of both at random places of every locus, and what edits do to both marks.

    Parameters
    ----------
    n_loci : how many.
    x_to_y, y_to_x : effect of one mark on the other, where the outcome follows in proportion.
    x_sites, y_sites, common : largest effect of an edit of a site of X, of Y, and of one that a third factor binds and
        that moves both; 0 for no such sites.
    bend : turns the size of an effect on X into what `x_to_y` is in proportion to; None for the size itself.
    n_sites : of each kind at a locus; where two of a kind overlap the later one counts.
    n_members : of the ensemble.
    noise : standard deviation of a member's error of an edit, in proportion to the edit's effect plus 0.05.
    length, width : bases of a locus and of a site.
    seed : of the draws.

    Returns
    -------
    MemberEffects
        All substitutions of loci of A alone, on the tasks X and Y.

    Raises
    ------
    InputError
        When a site is not shorter than its locus.

    Notes
    -----
    An edit of a site lowers its mark by 0.3 to 1 times the site's effect. Errors of members are independent.

    Examples
    --------
    >>> effects = simulate_marks(n_loci=2, x_to_y=0.8, y_sites=0.0, noise=0.0)
    >>> effects.delta.shape
    (5, 600, 2)
    >>> bool(np.allclose(effects.delta[..., 1], 0.8 * effects.delta[..., 0]))
    True
    """
    for name, value in (("n_loci", n_loci), ("n_sites", n_sites), ("n_members", n_members), ("width", width)):
        checks.at_least(name, value, 1)
    if width >= length:
        raise InputError(f"a site must be shorter than its locus: got width {width} and length {length}")
    rng = np.random.default_rng(seed)
    own = np.zeros((3, n_loci, length, 3))
    for k, size in enumerate((x_sites, y_sites, common)):
        for i in range(n_loci):
            for _ in range(n_sites):
                at = rng.integers(0, length - width)
                own[k, i, at : at + width] = -size * rng.uniform(0.3, 1.0, (width, 3))
    x, y, both = own.reshape(3, -1)
    x, y = x + both, y + both
    dose = x if bend is None else np.sign(x) * bend(np.abs(x))
    true = np.stack([x + y_to_x * y, y + x_to_y * dose], axis=1)
    errors = noise * (FLOOR + np.abs(true)) * rng.normal(size=(n_members, *true.shape))
    return MemberEffects(
        variants=_substitutions(n_loci, length), tasks=tuple(Task(name=mark) for mark in MARKS), delta=true + errors
    )


def _substitutions(n_loci: int, length: int) -> pd.DataFrame:
    """Return all substitutions of loci that hold nothing but A."""
    offset = np.tile(np.repeat(np.arange(length), 3), n_loci)
    locus = np.repeat([f"locus{i}" for i in range(n_loci)], length * 3)
    new = np.tile(list("CGT"), n_loci * length)
    names = [f"{name}:{at + 1}:A:{base}" for name, at, base in zip(locus, offset, new, strict=True)]
    frame = pd.DataFrame({"variant_id": names, "locus": locus, "chrom": "", "pos": offset + 1, "offset": offset})
    return frame.assign(effect_allele=new, other_allele="A")[[*schema.VARIANTS, "offset"]]
