"""Permuted outcomes: the pooled slope when instruments meet outcome effects that are not theirs."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.inference import quantile, total_error
from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.mr.diagnostics.declared import declared
from deepmr.mr.diagnostics.slopes import shared_errors
from deepmr.mr.lines import exposure_of
from deepmr.mr.sensitivity.findings import home
from deepmr.types import Instruments, SummaryStats

Control = Literal["loci", "within"]
_CELLS = 4_000_000  # numbers of one array held at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Permutation:
    """What permuted outcomes give.

    Attributes
    ----------
    table : one row, table "permutation" of `schema.DIAGNOSTICS`.
    draws : the pooled slope of every permutation.
    """

    table: pd.DataFrame
    draws: Float[np.ndarray, "draws"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effects:
    """Instruments of the loci whose edits are known, and where each is among its locus's edits."""

    x: Float[np.ndarray, "rows"]
    x_moves: Float[np.ndarray, "factors rows"]
    offsets: Int[np.ndarray, "loci_plus_one"]
    home: Int[np.ndarray, "rows"]
    rank: Int[np.ndarray, "rows"]
    start: Int[np.ndarray, "loci"]
    size: Int[np.ndarray, "loci"]


def permute_outcomes(
    instruments: Instruments,
    background: SummaryStats,
    *,
    control: Control = "loci",
    n_draws: int = 999,
    level: float = 0.95,
    seed: int = 0,
) -> Permutation:
    """Ask how large a pooled slope is when the outcome effects are those of other edits.

    Parameters
    ----------
    instruments : of one exposure.
    background : all edits of some or all of the loci, a locus's edits together in the order of their positions; loci
        that are not in it have no part.
    control : "loci" gives every instrument the outcome effect of the same edit (the same place in the list) of another
        locus; "within" moves the outcome effects of a locus along it, by the same random distance for all of its
        instruments.
    n_draws : number of permutations.
    level : of the nominal interval that is put to the test.
    seed : of the permutations.

    Raises
    ------
    InputError : when fewer than two loci have instruments and known edits.

    Notes
    -----
    The pooled slope is the plain mean over loci of sum(x y) / sum(x^2), and its nominal interval that of
    `slopes.mean_over_loci`. Under permutation instruments meet the outcome's sites by chance alone. Sites do meet by
    chance, and edits of a site mostly lower both marks, so the middle of the null is not 0: the P value is (1 + number
    at least as far from the mean of the null as the data) / (1 + draws), two-sided. For the same reason the nominal
    interval leaves 0 out in many permutations (`false_positives`, up to all of them): that an interval excludes 0 is no
    evidence here, that a slope exceeds the null is. A small P value says that the instruments are where the outcome is
    decided too; it does not say which mark acts on which, nor whether a third acts on both.
    """
    checks.one_of("control", control, get_args(Control))
    checks.at_least("n_draws", n_draws, 1)
    place, y, moves = _placed(instruments, background)
    observed, _ = _pooled(place, y[None, place.start[place.home] + place.rank], moves, None, level=level)
    rng = np.random.default_rng(seed)
    batch = max(1, _CELLS // (max(len(place.x), 1) * max(len(moves), 1)))
    draws, beyond = [], 0
    for first in range(0, n_draws, batch):
        rows = np.stack([_permuted(place, control, rng) for _ in range(min(batch, n_draws - first))])
        slopes, rejected = _pooled(place, y[rows], moves, rows, level=level)
        draws.append(slopes)
        beyond += int(rejected.sum())
    null = np.concatenate(draws)
    gap = abs(observed[0] - null.mean())
    extreme = int((np.abs(null - null.mean()) >= gap * (1 - 1e-12)).sum())
    row = {
        "exposure": instruments.exposure,
        "outcome": instruments.outcome,
        "control": control,
        "n_loci": len(place.start),
        "n_draws": n_draws,
        "beta": float(observed[0]),
        "null_mean": float(null.mean()),
        "null_sd": float(null.std(ddof=1)) if n_draws > 1 else 0.0,
        "pvalue": (1 + extreme) / (1 + n_draws),
        "false_positives": beyond / n_draws,
    }
    return Permutation(table=declared("permutation", pd.DataFrame([row])), draws=null)


def _placed(
    instruments: Instruments, background: SummaryStats
) -> tuple[_Effects, Float[np.ndarray, "edits"], Float[np.ndarray, "factors edits"]]:
    """Find the instruments among the edits; return them with the outcome effects of all edits and their moves."""
    for trait in (instruments.exposure, instruments.outcome):
        checks.one_of("trait", trait, background.traits)
    names = background.variants["locus"].astype(str)
    keys = pd.MultiIndex.from_arrays([names, background.variants["variant_id"].astype(str)])
    mine = pd.MultiIndex.from_arrays(
        [instruments.variants["locus"].astype(str), instruments.variants["variant_id"].astype(str)]
    )
    row = keys.get_indexer(mine)
    loci, first, counts = np.unique(names.to_numpy(str), return_index=True, return_counts=True)
    there = row >= 0
    used = pd.Index(loci).get_indexer(pd.Index(instruments.loci))
    owner = home(instruments)
    full = np.bincount(owner[there], minlength=len(instruments.loci)) > 0
    if full.sum() < 2:
        raise InputError("a permutation of outcomes needs at least 2 loci with instruments and all of their edits")
    number = np.cumsum(full) - 1
    x, _ = exposure_of(instruments)
    start, size = first[used[full]], counts[used[full]]
    place = _Effects(
        x=x[there],
        x_moves=shared_errors(instruments)[:, there, 0],
        offsets=np.append(0, np.cumsum(np.bincount(number[owner[there]], minlength=int(full.sum())))),
        home=number[owner[there]],
        rank=row[there] - start[number[owner[there]]],
        start=start,
        size=size,
    )
    k = background.traits.index(instruments.outcome)
    shared = background.error_factors
    moves = np.zeros((0, len(names))) if shared is None else np.asarray(shared[:, :, k], dtype=float)
    return place, background.beta[:, k].astype(float), moves


def _permuted(place: _Effects, control: Control, rng: np.random.Generator) -> Int[np.ndarray, "rows"]:
    """Return, for every instrument, the edit whose outcome effect it gets."""
    n = len(place.start)
    if control == "within":
        # Steps of three keep the new base's place among the three of a position.
        step = np.where(place.size % 3 == 0, 3, 1)
        shift = rng.integers(1, np.maximum(place.size // step, 2)) * step
        return place.start[place.home] + (place.rank + shift[place.home]) % place.size[place.home]
    order = rng.permutation(n)
    partner = np.empty(n, dtype=int)
    partner[order] = np.roll(order, 1)  # one cycle: no locus meets itself
    other = partner[place.home]
    rank = place.rank * place.size[other] // place.size[place.home]
    return place.start[other] + rank


def _pooled(
    place: _Effects,
    y: Float[np.ndarray, "draws rows"],
    moves: Float[np.ndarray, "factors edits"],
    rows: Int[np.ndarray, "draws rows"] | None,
    *,
    level: float,
) -> tuple[Float[np.ndarray, "draws"], np.ndarray]:
    """Return the mean slope of every draw, and whether its nominal interval leaves 0 out."""
    x, offsets = place.x, place.offsets
    ss = segment_sum(x**2, offsets)
    slope = divide(segment_sum(x * y, offsets), np.broadcast_to(ss, (len(y), len(ss))), otherwise=0.0)
    if rows is None:
        return slope.mean(axis=1), np.zeros(len(y), dtype=bool)
    shared = np.zeros((len(moves), len(y)))
    for k, (own, other) in enumerate(zip(place.x_moves, moves, strict=False)):
        change = x * other[rows] + (y - 2 * segment_repeat(slope, offsets) * x) * own
        moved = divide(segment_sum(change, offsets), np.broadcast_to(ss, (len(y), len(ss))), otherwise=0.0)
        shared[k] = moved.mean(axis=1)
    n = slope.shape[1]
    mean = slope.mean(axis=1)
    error = total_error(slope.var(axis=1, ddof=1) / n, n - 1.0, shared)
    return mean, np.abs(mean) > quantile(level, error.df) * error.se
