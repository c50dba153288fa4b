"""What more labels would be worth: the interval of the mean effect that they would give."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from deepmr.inference import quantile
from deepmr.labelled.calibration import PairCalibration

FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0)  # of the number of labelled loci


def worth_of_labels(
    pair: PairCalibration,
    *,
    loci: Sequence[int] | None = None,
    edits: Sequence[int] = (1, 3, 5, 10, 20),
    repeats: Sequence[int] = (1, 2, 4),
    n_target: int | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Predict the half-width of the calibrated interval of the mean effect for other numbers of labels.

    Parameters
    ----------
    pair : what the labels at hand say.
    loci : numbers of labelled loci; default half to eight times the present one.
    edits : numbers of labelled edits a locus.
    repeats : how often edits and references are each measured, compared with now.
    n_target : loci that are analysed; None: so many that their own errors average out.
    level : of the interval.

    Returns
    -------
    A row a design: n_loci, n_edits (a locus), repeats, half_width, shrink.

    Notes
    -----
    The noise in a miss is (w / m + r) / repeats with m edits: w from the edits' own noise, r from the noise of the
    reference that they share, both as found. With the variance l = mean(a^2 B + h^2) between loci, se^2 =
    (noise + l) / n, and the half-width is t(n - 1) sqrt(k se^2 + l / n_target), k = s^2 / (s^2 + se^2). More edits of a
    locus leave r and l as they are; more loci make all parts smaller.

    Examples
    --------
    >>> worth_of_labels(pair, loci=[100], edits=[5], repeats=[1])  # doctest: +SKIP
    """
    present = len(pair.loci)
    wanted = [max(round(present * factor), 2) for factor in FACTORS] if loci is None else list(loci)
    own = float(np.mean(pair.own * pair.edits))
    shared = float(np.mean(pair.shared))
    between = float(np.mean(pair.local_variance))
    n, m, times = (grid.ravel().astype(float) for grid in np.meshgrid(wanted, edits, repeats, indexing="ij"))
    variance = ((own / m + shared) / times + between) / n
    prior = pair.prior**2
    shrink = prior / (prior + variance)
    local = 0.0 if n_target is None else between / n_target
    half = quantile(level, n - 1) * np.sqrt(shrink * variance + local)
    columns = {"n_loci": n.astype(int), "n_edits": m.astype(int), "repeats": times.astype(int)}
    return pd.DataFrame({**columns, "half_width": half, "shrink": shrink})


def recommend(pair: PairCalibration, *, n_target: int | None = None, level: float = 0.95) -> str:
    """Say in a sentence what would narrow the interval of the mean effect most.

    Parameters
    ----------
    pair : what the labels at hand say.
    n_target : loci that are analysed, as for `worth_of_labels`.
    level : of the interval.
    """
    n = len(pair.loci)
    m = max(round(float(np.mean(pair.edits))), 1)
    table = worth_of_labels(
        pair, loci=[n, 2 * n, 4 * n], edits=[m, 2 * m], repeats=[1, 2], n_target=n_target, level=level
    )
    half = table.set_index(["n_loci", "n_edits", "repeats"])["half_width"]
    now = float(half[n, m, 1])
    options = {
        "doubling the labelled loci": float(half[2 * n, m, 1]),
        "measuring everything twice": float(half[n, m, 2]),
        "doubling the edits of each": float(half[n, 2 * m, 1]),
    }
    said = ", ".join(f"{name} {value:.3g}" for name, value in options.items())
    return (
        f"{n} labelled loci of about {m} edits give the mean effect a half-width of {now:.3g}; {said}; four times the "
        f"loci {float(half[4 * n, m, 1]):.3g}"
    )
