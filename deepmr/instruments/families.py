"""Families of seqlets: which of them, over all loci, look like sites of one factor."""

import numpy as np
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.instruments.seqlets import Seqlets

SHIFT = 12  # most positions that two patterns are moved against each other


def group_seqlets(seqlets: Seqlets, *, similarity: float = 0.6, most: int = 200) -> Int[np.ndarray, "seqlets"]:
    """Group seqlets whose patterns of effects on the exposure are alike, on either strand.

    Parameters
    ----------
    seqlets : with their patterns.
    similarity : correlation from which on a seqlet joins a family, above 0 and at most 1.
    most : largest number of families; what is left then belongs to none.

    Returns
    -------
    Number of the family of each seqlet, from 0, in the order in which families were found; -1 for none.

    Notes
    -----
    A pattern is the effects of all substitutions, less the mean over the four bases at each position (the reference
    base has effect 0): what a matrix of binding energies would be. Two patterns are compared at every shift of up to
    12 positions and on both strands, by the cosine of the angle between them, the largest of which counts.
    The strongest seqlet that has no family leads one; those like it join, and the mean of all that joined, in the
    position in which they fit best, then calls once more. Deterministic; costs seqlets times families.
    """
    checks.positive("similarity", np.array([similarity]))
    checks.at_least("most", most, 1)
    units = _units(seqlets.pattern)
    family = np.full(len(seqlets), -1)
    strength = np.sqrt(np.sum(seqlets.pattern**2, axis=(1, 2)))
    for number in range(most):
        free = np.flatnonzero((family < 0) & (strength > 0))
        if not len(free):
            break
        lead = free[np.argmax(strength[free])]
        cosine, aligned = _compare(units[free], units[lead])
        joined = cosine >= similarity
        mean = np.average(aligned[joined], axis=0, weights=strength[free][joined])
        again, _ = _compare(units[free], mean / np.linalg.norm(mean))
        family[free[joined | (again >= similarity)]] = number
    return family


def _units(pattern: Float[np.ndarray, "seqlets window 4"]) -> Float[np.ndarray, "seqlets window 4"]:
    """Centre each position over the four bases, and give every pattern the length 1."""
    centred = pattern - pattern.mean(axis=2, keepdims=True)
    length = np.sqrt(np.sum(centred**2, axis=(1, 2), keepdims=True))
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def _compare(
    units: Float[np.ndarray, "seqlets window 4"], lead: Float[np.ndarray, "window 4"]
) -> tuple[Float[np.ndarray, "seqlets"], Float[np.ndarray, "seqlets window 4"]]:
    """Return the largest cosine with the lead over shifts and strands, and each pattern moved to where that is."""
    window = lead.shape[0]
    padded = np.pad(lead, ((SHIFT, SHIFT), (0, 0)))
    shifts = np.arange(2 * SHIFT + 1)
    moved = np.stack([padded[s : s + window] for s in shifts])  # the lead, moved; patterns stay
    turned = units[:, ::-1, ::-1]  # the other strand: bases in reverse order are their complements
    cosines = np.stack([np.einsum("nwb,swb->ns", u, moved, optimize=True) for u in (units, turned)], axis=1)
    best = cosines.reshape(len(units), 2 * len(shifts)).argmax(axis=1)
    strand, shift = best // len(shifts), best % len(shifts)
    chosen = np.where(strand[:, None, None] == 0, units, turned)
    wide = np.pad(chosen, ((0, 0), (SHIFT, SHIFT), (0, 0)))
    # The lead moved by SHIFT - s fits the pattern, so the pattern moved by s - SHIFT fits the lead.
    cells = (2 * SHIFT - shift)[:, None] + np.arange(window)
    aligned = wide[np.arange(len(units))[:, None], cells]
    return cosines.reshape(len(units), 2 * len(shifts)).max(axis=1), aligned
