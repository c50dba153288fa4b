"""Is the windowed engine right for this network? A few edits of one locus against double precision, before a run."""

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from torch import nn

from deepmr.ism.cost import Schedule
from deepmr.ism.engine import WindowedEngine
from deepmr.ism.naive import EditEffects, predict_edits
from deepmr.ism.variants import Edits, single_edits
from deepmr.types import MASKED

log = logging.getLogger(__name__)
TIMED = 2  # times that a batch of plain passes is timed; the quickest counts
CHECKED = 5  # positions: both edges, the middle, and between
TOLERANCE = 1e-4  # of a task's largest effect among the edits checked; single precision stays a hundred times below
ROUNDING = 1e-7  # of a task's prediction: effects smaller than this are rounding in either engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How far windows are from double precision, relative to the largest effect.

    Attributes
    ----------
    error : of the windowed engine, the worst task.
    plain_error : of plain passes in the precision of the network.
    plain_seconds : a sequence takes in a plain pass.
    """

    error: float
    plain_error: float
    plain_seconds: float

    @property
    def passed(self) -> bool:
        """Whether windows may be used."""
        return self.error <= TOLERANCE


def check_engine(
    engine: WindowedEngine, module: nn.Module, codes: UInt8[np.ndarray, "1 length"], *, batch_size: int
) -> Check:
    """Compare the effects of a few edits with those of a copy of the network in double precision.

    Parameters
    ----------
    engine : of the network.
    module : the network.
    codes : a locus with a known base.
    batch_size : of plain passes, to time them.
    """
    edits = edits_to_check(codes)
    found = engine.predict(codes, edits, schedule=Schedule(width=4, n_loci=1, speedup=1.0))

    def plain_passes(network: nn.Module, edits: Edits) -> EditEffects:
        return predict_edits(
            network,
            codes,
            edits,
            n_tasks=engine.n_tasks,
            columns=engine.columns,
            batch_size=batch_size,
            device=engine.device,
        )

    plain = plain_passes(module, edits)
    double = copy.deepcopy(module).double() if engine.device.type != "mps" else module  # mps has no double
    exact = plain_passes(double, edits)
    full = edits_to_check(codes, positions=-(-batch_size // 3))  # a few sequences would be timed by their overhead
    seconds = min(_seconds(lambda: plain_passes(module, full)) for _ in range(TIMED)) / (len(full) + 1)
    return Check(error=_error(found, exact), plain_error=_error(plain, exact), plain_seconds=seconds)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def edits_to_check(codes: UInt8[np.ndarray, "1 length"], *, positions: int = CHECKED) -> Edits:
    """Return every single-base edit of a few known positions: the first, the last and some between."""
    known = np.flatnonzero(codes[0] != MASKED)
    if not len(known):
        return single_edits(codes)
    chosen = known[np.linspace(0, len(known) - 1, min(positions, len(known))).round().astype(int)]
    within = np.zeros(codes.shape, dtype=bool)
    within[0, chosen] = True
    return single_edits(codes, within=within)


def _error(found: EditEffects, exact: EditEffects) -> float:
    largest = np.abs(exact.delta).max(axis=0, initial=0)
    scale = np.maximum(largest, ROUNDING * np.abs(exact.reference).max(axis=0, initial=0))
    off = np.abs(found.delta.astype(float) - exact.delta).max(axis=0, initial=0)
    shares = np.divide(off, scale, out=np.where(off > 0, np.inf, 0.0), where=scale > 0)
    return float(shares.max(initial=0))
