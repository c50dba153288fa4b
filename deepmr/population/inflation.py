"""How far the P values of a scan lie from what no association at all would give: lambda GC."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy import special

MEDIAN = float(2 * special.erfinv(0.5) ** 2)  # of chi-square with one degree of freedom, 0.4549
TAIL = 2.0  # -log10 P from which on every P value is kept
BINS = 20_000  # of -log10 P from 0 to `TAIL`
FEW = 100_000  # P values up to which all are kept


def genomic_inflation(log10p: Float[np.ndarray, "variants"]) -> float:
    """Return lambda GC: the median of the statistics over the median under no association.

    Parameters
    ----------
    log10p : -log10 P of every tested variant; missing ones are left out.

    Notes
    -----
    The statistic is the chi-square with one degree of freedom that has the same P value, so that tests with other
    distributions, such as F, are judged by their own. NaN where nothing was tested.

    References
    ----------
    Devlin and Roeder, Biometrics 55:997 (1999), https://doi.org/10.1111/j.0006-341X.1999.00997.x

    Examples
    --------
    >>> round(genomic_inflation(-np.log10(np.linspace(0.001, 0.999, 999))), 6)
    1.0
    """
    there = log10p[np.isfinite(log10p)]
    return inflation_at(float(np.median(there))) if len(there) else float("nan")


def inflation_at(median_log10p: float) -> float:
    """Return lambda GC of a scan whose median -log10 P is known.

    Parameters
    ----------
    median_log10p : of all tested variants.
    """
    return float(special.ndtri(10.0**-median_log10p / 2) ** 2 / MEDIAN)


@dataclass(slots=True, kw_only=True)
class Spread:
    """How the P values of a long scan are distributed, gathered block by block in little memory.

    Attributes
    ----------
    counts : P values in even steps of -log10 P below `TAIL`.
    tail : every -log10 P from there on, in the order of the scan.
    low : every other one, while there are few.
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    tail: list[np.ndarray] = field(default_factory=list)
    low: list[np.ndarray] = field(default_factory=list)

    def add(self, log10p: Float[np.ndarray, "variants"]) -> None:
        """Count a block; missing values are left out.

        Parameters
        ----------
        log10p : -log10 P.
        """
        there = log10p[np.isfinite(log10p)]
        high = there >= TAIL
        self.tail.append(there[high])
        self.low.append(there[~high])
        if self.counts.sum() + len(self.low[-1]) > FEW:
            self.low.clear()
        step = np.clip((there[~high] * (BINS / TAIL)).astype(np.int64), 0, BINS - 1)
        self.counts += np.bincount(step, minlength=BINS)

    @property
    def n(self) -> int:
        """How many P values."""
        return int(self.counts.sum()) + sum(map(len, self.tail))

    def ranked(self, ranks: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points"]:
        """Return the -log10 P at ranks from the largest, 1 first; fractions lie between two of them.

        Parameters
        ----------
        ranks : 1 to `n`, rising.

        Notes
        -----
        Exact from 2 on, and everywhere of 100,000 values or fewer; otherwise, below 2, within one of 20,000 steps,
        1e-4 wide, evenly between its ends.
        """
        whole = self.low if self.counts.sum() <= FEW else []
        largest = np.sort(np.concatenate([np.zeros(0), *self.tail, *whole]))[::-1]
        above = len(largest)
        if whole:
            return np.interp(ranks, np.arange(1, above + 1), largest)
        edges = np.linspace(TAIL, 0.0, BINS + 1)
        cumulated = above + np.concatenate([[0], np.cumsum(self.counts[::-1])])
        # The k-th of m in a step lies at (k - 1/2) / m of it.
        low = np.interp(ranks - 0.5, cumulated, edges)
        exact = np.interp(ranks, np.arange(1, above + 1), largest) if above else low
        return np.where(ranks <= above, exact, low)

    def inflation(self) -> float:
        """Return lambda GC, as `genomic_inflation` does of all P values at once; NaN of none."""
        n = self.n
        return inflation_at(float(self.ranked(np.array([(n + 1) / 2]))[0])) if n else float("nan")
