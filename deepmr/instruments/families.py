"""Families of seqlets: which of them, over all loci, look like sites of one factor."""

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr import checks
from deepmr.instruments.seqlets import Seqlets

SHIFT = 12  # most positions that two patterns are moved against each other


def group_seqlets(
    seqlets: Seqlets, *, similarity: float = 0.6, most: int = 200, leads: Bool[np.ndarray, "seqlets"] | None = None
) -> Int[np.ndarray, "seqlets"]:
    """Group seqlets whose patterns of effects on the exposure are alike, on either strand.

    Parameters
    ----------
    seqlets : with their patterns.
    similarity : correlation from which on a seqlet joins a family, above 0 and at most 1.
    most : largest number of families; what is left then belongs to none.
    leads : those that lead a family before any other does; None for all.

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
    strands = strands_of(seqlets.pattern)
    units = strands[:, 0]
    family = np.full(len(seqlets), -1)
    strength = np.sqrt(np.sum(seqlets.pattern**2, axis=(1, 2)))
    first = strength if leads is None else np.where(leads, strength + strength.max(initial=0.0), strength)
    for number in range(most):
        free = np.flatnonzero((family < 0) & (strength > 0))
        if not len(free):
            break
        here = strands[free]
        cosine, best = compare(here, units[free[np.argmax(first[free])]])
        joined = cosine >= similarity
        if joined.sum() > 1:
            moved = align(here[joined], best[joined])
            mean = np.average(moved, axis=0, weights=strength[free][joined])
            joined |= compare(here, mean / np.linalg.norm(mean))[0] >= similarity
        family[free[joined]] = number
    return family


def strands_of(pattern: Float[np.ndarray, "seqlets window 4"]) -> Float[np.ndarray, "seqlets 2 window 4"]:
    """Return patterns of length 1, less the mean over bases, as they are and as the other strand reads them.

    Parameters
    ----------
    pattern : effects by position and base.
    """
    units = _units(pattern)
    # The other strand of a pattern is its reverse: bases in reverse order are their complements.
    return np.stack([units, units[:, ::-1, ::-1]], axis=1)


def _units(pattern: Float[np.ndarray, "seqlets window 4"]) -> Float[np.ndarray, "seqlets window 4"]:
    """Centre each position over the four bases, and give every pattern the length 1."""
    centred = pattern - pattern.mean(axis=2, keepdims=True)
    length = np.sqrt(np.sum(centred**2, axis=(1, 2), keepdims=True))
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def compare(
    strands: Float[np.ndarray, "seqlets 2 window 4"], lead: Float[np.ndarray, "window 4"]
) -> tuple[Float[np.ndarray, "seqlets"], Int[np.ndarray, "seqlets"]]:
    """Return the largest cosine with the lead over strands and shifts, and the number of both where it is reached.

    Parameters
    ----------
    strands : from `strands_of`.
    lead : a pattern of length 1.
    """
    window, count = lead.shape[0], len(strands)
    padded = np.pad(lead, ((SHIFT, SHIFT), (0, 0)))
    moved = np.stack([padded[s : s + window].ravel() for s in range(2 * SHIFT + 1)], axis=1)
    cosines = (strands.reshape(2 * count, 4 * window) @ moved).reshape(count, 2 * moved.shape[1])
    best = cosines.argmax(axis=1)
    return cosines[np.arange(count), best], best


def align(
    strands: Float[np.ndarray, "seqlets 2 window 4"], best: Int[np.ndarray, "seqlets"]
) -> Float[np.ndarray, "seqlets window 4"]:
    """Move each pattern to where it fits the lead best, on the strand that fits.

    Parameters
    ----------
    strands : from `strands_of`.
    best : numbers of strand and shift, from `compare` with the lead.
    """
    strand, shift = np.divmod(best, 2 * SHIFT + 1)
    row = np.arange(len(best))
    wide = np.pad(strands[row, strand], ((0, 0), (SHIFT, SHIFT), (0, 0)))
    # The lead moved by shift - SHIFT fits the pattern, so the pattern moved the other way fits the lead.
    return wide[row[:, None], (2 * SHIFT - shift)[:, None] + np.arange(strands.shape[2])]
