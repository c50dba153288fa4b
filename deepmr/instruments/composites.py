"""Sites side by side make one run of positions: take them apart where one of them is known from other loci."""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.instruments.families import SHIFT, align, compare, group_seqlets, strands_of
from deepmr.instruments.seqlets import Seqlets

FEWEST = 5  # seqlets that a family needs, that are not longer than most, to say how long its site is
EDGE = 0.05  # share of the largest mean square effect from which on a position belongs to the site


def split_composites(seqlets: Seqlets, *, min_width: int = 4) -> Seqlets:
    """Split seqlets that hold the site of their family and at least as much beside it as a seqlet needs.

    Parameters
    ----------
    seqlets : of all loci.
    min_width : fewest positions of a seqlet.

    Notes
    -----
    Two sites that touch, or are as close as the gap that a run bridges, are one seqlet, whose slope is a mixture of
    both. In a family most seqlets are no composites: of those no longer than the median and less than `min_width` more,
    the mean pattern says where the site begins and ends. It is laid on each of the longer ones where it fits best; what
    is left on either side, if it is wide enough, becomes a seqlet. The outcome has no part in it. Parts shrink to the
    positions with a tenth of their largest effect; `strength` of a part is that of its pattern.
    """
    checks.at_least("min_width", min_width, 1)
    width = (seqlets.table["end"] - seqlets.table["start"]).to_numpy(np.int64)
    if not len(width):
        return seqlets
    # A composite is strong, and would call the sites of both factors into one family.
    family = group_seqlets(seqlets, leads=width < np.median(width) + min_width)
    strands, window = strands_of(seqlets.pattern), seqlets.pattern.shape[1]
    cuts: dict[int, tuple[int, int]] = {}
    for number in range(int(family.max()) + 1):
        mine = np.flatnonzero(family == number)
        long = width[mine] >= np.median(width[mine]) + min_width
        plain, mixed = mine[~long], mine[long & (width[mine] <= window)]
        if len(plain) < FEWEST or not len(mixed):
            continue
        site = _site(strands[plain], seqlets.pattern[plain])
        energy = _energy(site[None])[0]
        first, last = np.flatnonzero(energy >= EDGE * energy.max())[[0, -1]]
        strand, shift = np.divmod(compare(strands[mixed], site)[1], 2 * SHIFT + 1)
        start, end = first - shift + SHIFT, last + 1 - shift + SHIFT
        start, end = np.where(strand, window - end, start), np.where(strand, window - start, end)
        cuts |= {int(i): (int(a), int(b)) for i, a, b in zip(mixed, start, end, strict=True)}
    return _cut(seqlets, cuts, min_width)


def _site(strands: Float[np.ndarray, "plain 2 window 4"], pattern: Float[np.ndarray, "plain window 4"]) -> np.ndarray:
    """Return the mean pattern, of length 1, in the place and on the strand of the strongest."""
    lead = strands[np.argmax(_energy(pattern).sum(axis=1)), 0]
    mean = align(strands, compare(strands, lead)[1]).mean(axis=0)
    unit: np.ndarray = mean / np.linalg.norm(mean)
    return unit


def _energy(pattern: Float[np.ndarray, "seqlets window 4"]) -> Float[np.ndarray, "seqlets window"]:
    energy: np.ndarray = np.sum(pattern**2, axis=2)
    return energy


def _cut(seqlets: Seqlets, cuts: dict[int, tuple[int, int]], min_width: int) -> Seqlets:
    """Replace each of these seqlets, where the cut leaves enough, by its parts."""
    window = seqlets.pattern.shape[1]
    rows: list[tuple[int, int, int]] = []
    start, end = (seqlets.table[name].to_numpy(np.int64) for name in ("start", "end"))
    size = np.abs(seqlets.pattern).max(axis=2)
    for i in range(len(seqlets)):
        spans = [(int(start[i]), int(end[i]))]
        if i in cuts:
            origin = int(start[i] + end[i]) // 2 - window // 2
            low, high = cuts[i]
            pieces = _pieces(*spans[0], origin + low, origin + high, min_width)
            shrunk = [_shrink(size[i], a - origin, b - origin) for a, b in pieces if b > a]
            found = [(a + origin, b + origin) for a, b in shrunk if b - a >= min_width]
            spans = found if len(found) > 1 else spans
        rows += [(i, a, b) for a, b in spans]
    if len(rows) == len(seqlets):
        return seqlets
    of, first, last = (np.array(column) for column in zip(*rows, strict=True))
    return _parts(seqlets, of, first, last)


def _pieces(start: int, end: int, low: int, high: int, min_width: int) -> list[tuple[int, int]]:
    """Part a span by the site from `low` to `high`, which takes in what is too narrow on either side."""
    low, high = (min(max(at, start), end) for at in (low, high))
    low, high = low if low - start >= min_width else start, high if end - high >= min_width else end
    return [(start, low), (low, high), (high, end)]


def _shrink(size: Float[np.ndarray, "window"], start: int, end: int) -> tuple[int, int]:
    """Return the span between the outermost positions with a tenth of the largest effect."""
    inside = np.flatnonzero(size[start:end] >= 0.1 * size[start:end].max())
    return start + int(inside[0]), start + int(inside[-1]) + 1


def _parts(
    seqlets: Seqlets, of: Int[np.ndarray, "parts"], start: Int[np.ndarray, "parts"], end: Int[np.ndarray, "parts"]
) -> Seqlets:
    """Return the spans `start` to `end` of the seqlets `of` as seqlets, each pattern in the middle of its window."""
    window = seqlets.pattern.shape[1]
    old, given = seqlets.table.iloc[of].reset_index(drop=True), seqlets.pattern[of]
    origin = (old["start"] + old["end"]).to_numpy(np.int64) // 2 - window // 2
    cells = ((start + end) // 2 - window // 2)[:, None] + np.arange(window)
    inside = (cells >= start[:, None]) & (cells < end[:, None])
    at = np.clip(cells - origin[:, None], 0, window - 1)
    pattern = np.where(inside[..., None], np.take_along_axis(given, at[..., None], axis=1), 0.0)
    whole = (start == old["start"]) & (end == old["end"])
    letters = zip(old["sequence"], start - old["start"], end - old["start"], strict=True)
    table = old.assign(
        seqlet=old.groupby("locus", sort=False).cumcount() + 1,
        start=start,
        end=end,
        sequence=[text[a:b] for text, a, b in letters],
        strength=np.where(whole, old["strength"], np.sqrt(np.sum(np.abs(pattern).max(axis=2) ** 2, axis=1))),
    )
    return Seqlets(table=pd.DataFrame(table), pattern=pattern)
