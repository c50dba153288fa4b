"""Windows slid along the loci, and the tables of edits that delete, replace or insert bases in each."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, UInt8

from deepmr import checks
from deepmr.ism.variants import NOTHING, letters_of, placed_starts
from deepmr.types import Sequences

Kind = Literal["substitute", "delete", "insert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Stretches of known bases of one width, in the order of the loci.

    Attributes
    ----------
    locus : row of the locus among the sequences.
    start : 0-based offset of the first base.
    codes : the bases.
    n_masked : windows that were left out because they hold a masked base.
    """

    locus: Int[np.ndarray, "windows"]
    start: Int[np.ndarray, "windows"]
    codes: UInt8[np.ndarray, "windows width"]
    n_masked: int

    def __len__(self) -> int:
        return len(self.locus)


def scan_windows(
    sequences: Sequences, *, width: int, step: int = 1, within: Bool[np.ndarray, "loci length"] | None = None
) -> Windows:
    """Find the windows of a scan.

    Parameters
    ----------
    sequences : the loci.
    width : bases of a window.
    step : bases from one window's start to the next one's.
    within : positions that windows may hold; all by default.

    Notes
    -----
    Each stretch of positions allowed by `within` is scanned from its first one on; what is left at its end and shorter
    than a window is not covered. A window that holds a masked base is left out and counted.

    Examples
    --------
    >>> loci = pd.DataFrame({"locus": ["a"], "chrom": "", "start": -1, "end": -1})
    >>> sequences = Sequences(loci=loci, codes=np.array([[0, 1, 2, 3, 0, 4, 0]], dtype=np.uint8))
    >>> windows = scan_windows(sequences, width=2, step=2)
    >>> windows.start.tolist(), windows.n_masked
    ([0, 2], 1)
    """
    checks.at_least("width", width, 1)
    checks.at_least("step", step, 1)
    n, length = sequences.codes.shape
    if width > length:
        return Windows(
            **dict.fromkeys(("locus", "start"), np.zeros(0, dtype=int)), codes=sequences.codes[:0], n_masked=0
        )
    allowed = np.ones((n, length), dtype=bool) if within is None else within
    at = np.arange(length)
    since = at - np.maximum.accumulate(np.where(allowed, -1, at), axis=1) - 1  # bases since a stretch began
    on_grid = allowed & (since % step == 0)
    whole = _all(allowed, width) & on_grid[:, : length - width + 1]
    known = _all(sequences.known, width)
    locus, start = np.nonzero(whole & known)
    return Windows(
        locus=locus,
        start=start,
        codes=sequences.codes[locus[:, None], start[:, None] + np.arange(width)],
        n_masked=int((whole & ~known).sum()),
    )


def _all(good: Bool[np.ndarray, "loci length"], width: int) -> Bool[np.ndarray, "loci starts"]:
    """Say where a window of good positions begins."""
    total = np.pad(np.cumsum(good, axis=1, dtype=np.int32), ((0, 0), (1, 0)))
    return total[:, width:] - total[:, :-width] == width


def scan_edits(
    sequences: Sequences,
    windows: Windows,
    *,
    kind: Kind,
    name: str,
    new: UInt8[np.ndarray, "windows bases"] | None = None,
) -> pd.DataFrame:
    """Make the table of edits of a scan, one row a window, as `resolve_edits` reads it.

    Parameters
    ----------
    sequences : the loci.
    windows : of them. An insertion comes behind the first base of its window.
    kind : "substitute" writes `new` over the window, "delete" takes it out, "insert" puts `new` in.
    name : what was done, the end of every variant_id: chrom:pos:name, with the locus in place of an unknown chrom.
    new : codes of the new bases of every window; None for a deletion.

    Returns
    -------
    The edits that change something: windows whose new bases are those that they have are left out.
    """
    placed, origin = placed_starts(sequences)
    place = np.where(placed, sequences.loci["chrom"], sequences.loci["locus"])[windows.locus]
    offset = windows.start + (kind == "insert")
    pos = origin[windows.locus] + offset + 1
    table = pd.DataFrame(
        {
            "variant_id": [f"{where}:{p}:{name}" for where, p in zip(place.tolist(), pos.tolist(), strict=True)],
            "locus": sequences.loci["locus"].astype(str).to_numpy()[windows.locus],
            "offset": offset,
            "other_allele": NOTHING if kind == "insert" else _texts(windows.codes),
            "effect_allele": NOTHING if new is None else _texts(new),
        }
    )
    return table[table["other_allele"] != table["effect_allele"]].reset_index(drop=True)


def _texts(codes: UInt8[np.ndarray, "rows bases"]) -> list[str]:
    width = codes.shape[1]
    text = letters_of(codes.ravel())
    return [text[i : i + width] for i in range(0, len(text), width)]
