"""Which engine predicts: decided once for all members, from the job alone, and said."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import nn

from deepmr import checks
from deepmr.errors import InputError
from deepmr.ism.engine import WindowedEngine
from deepmr.ism.gradient import GradientError, gradient_error
from deepmr.ism.graph import CaptureError, Graph
from deepmr.ism.member import EngineName, Member, Strands
from deepmr.ism.naive import default_batch, multiplications, predict_edits
from deepmr.ism.selfcheck import TOLERANCE, Check, check_engine, edits_to_check
from deepmr.types import Predictor, Sequences

log = logging.getLogger(__name__)
Engine = Literal["auto", "windowed", "naive", "gradient"]
Precision = Literal["single", "double"]
SMALL_JOB = 5e10  # multiplications, about a second of one core: below, tracing a network takes longer than it can save
FIRST_ORDER_POSITIONS = 40  # at which effects to first order are compared with exact ones
LEAST_SPEEDUP = 1.2  # in multiplications
LEAST_WITH_FULL_LENGTH = 2.0  # the same where operations run at full length: their values are made whole first


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """Which engine was chosen, and why.

    Attributes
    ----------
    reason : in words.
    at_full_length : operations that no rule confines to a window, named as PyTorch does.
    predicted_speedup : multiplications of plain passes over those of windows; 1 for plain passes.
    check : the worst member's error on a few edits; None where none was made.
    gradient : error of effects to first order on a few edits of every member, worst first; None for exact engines.
    """

    engine: EngineName
    reason: str
    at_full_length: tuple[str, ...] = ()
    predicted_speedup: float = 1.0
    check: Check | None = None
    gradient: GradientError | None = None

    def sentence(self) -> str:
        """Say it in one sentence or two."""
        if self.engine == "gradient":
            assert self.gradient is not None
            return f"engine gradient: {self.gradient.sentence()}"
        if self.engine == "naive" or self.check is None:
            return f"engine {self.engine}: {self.reason}"
        names = ", ".join(dict.fromkeys(self.at_full_length))
        full = f"{len(self.at_full_length)} operations at full length ({names})" if names else "no operation left out"
        return (
            f"engine windowed: {self.predicted_speedup:.1f} times fewer multiplications than plain passes, {full}; "
            f"largest error on the edits checked {self.check.error:.1e} of the largest effect "
            f"(plain passes {self.check.plain_error:.1e})"
        )

    def to_dict(self) -> dict[str, object]:
        """Return what summaries and files say."""
        found: dict[str, object] = {"engine": self.engine, "engine_reason": self.reason}
        if self.engine == "windowed":
            found["operations_at_full_length"] = list(self.at_full_length)
            found["speedup_predicted"] = round(self.predicted_speedup, 2)
        if self.check is not None:
            found["check_error"] = float(f"{self.check.error:.2g}")
            found["check_error_naive"] = float(f"{self.check.plain_error:.2g}")
        if self.gradient is not None:
            found["gradient_error"] = self.gradient.sentence()
        return found


def prepare_members(
    predictor: Predictor,
    sequences: Sequences,
    *,
    n_variants: int,
    n_shifted: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    precision: Precision = "single",
    columns: Int[np.ndarray, "selected"] | None = None,
    names: Sequence[str] | None = None,
    strands: Strands = "forward",
) -> tuple[list[Member], EngineReport]:
    """Make the members of a predictor ready with one engine for all of them.

    Parameters
    ----------
    predictor : networks in evaluation mode.
    sequences : all loci of the job.
    n_variants : their edits.
    n_shifted : deletions and insertions among them.
    engine : auto takes windows where the network can be traced, they save work, and a few edits agree with double
        precision; else plain passes. windowed insists. gradient is to first order only.
    batch_size : most sequences of plain passes at once; by default chosen from the network and the device.
    precision : double computes in float64.
    columns : tasks to keep; all by default.
    names : of the members, for messages.
    strands : both averages with the reverse complement.

    Raises
    ------
    InputError
        When engine is windowed and the network does not allow it, or deletions and insertions meet a choice that has
        no meaning for them.

    Notes
    -----
    The choice depends on the job and the network, never on the clock: a run that is continued chooses the same.
    """
    checks.one_of("engine", engine, ("auto", "windowed", "naive", "gradient"))
    if n_shifted and (strands == "both" or engine == "gradient"):
        what = "averaging over strands" if strands == "both" else "engine gradient"
        raise InputError(f"{what} needs substitutions; there are {n_shifted} deletions and insertions")
    members = [
        Member(
            module=in_precision(module, precision),
            name=name,
            n_tasks=len(predictor.tasks),
            columns=columns,
            device=predictor.device,
            batch_size=batch_size or default_batch(module, sequences.length, device=predictor.device),
            strands=strands,
        )
        for module, name in zip(
            predictor.modules, names or [f"member {k}" for k in range(len(predictor.modules))], strict=True
        )
    ]
    report = _decide(members, sequences, n_variants - n_shifted, n_shifted, engine)
    for member in members:
        member.engine = report.engine
    loud = report.engine == "gradient" or (engine == "windowed" and bool(report.at_full_length))
    log.log(logging.WARNING if loud else logging.INFO, report.sentence())
    return members, report


def in_precision(module: nn.Module, precision: Precision) -> nn.Module:
    """Return the network itself, or a copy of it in float64."""
    return module if precision == "single" else copy.deepcopy(module).double()


def _decide(
    members: list[Member], sequences: Sequences, n_variants: int, n_shifted: int, engine: Engine
) -> EngineReport:
    """Decide for so many substitutions, and so many deletions and insertions, which go by plain passes in any case."""
    if engine == "naive":
        return EngineReport(engine="naive", reason="plain passes, as asked for")
    if engine == "gradient":
        return EngineReport(
            engine="gradient", reason="first order, as asked for", gradient=_first_order(members, sequences)
        )
    if n_shifted and not n_variants:
        return EngineReport(engine="naive", reason="deletions and insertions go by plain passes")
    passes = n_variants * len(members)
    work = passes * multiplications(members[0].module, sequences.length, device=members[0].device)
    if engine == "auto" and work < SMALL_JOB:
        return EngineReport(engine="naive", reason=f"{passes} plain passes take less time than tracing would")
    try:
        report = _try_windows(members, sequences, n_variants, insist=engine == "windowed")
        left = n_variants / report.predicted_speedup + n_shifted
        return replace(report, predicted_speedup=(n_variants + n_shifted) / left) if left else report
    except CaptureError as error:
        if engine == "windowed":
            raise InputError(f"engine windowed cannot be used: {members[0].name}: {error}") from error
        return EngineReport(engine="naive", reason=f"plain passes, because {error}")


def _try_windows(members: list[Member], sequences: Sequences, n_variants: int, *, insist: bool) -> EngineReport:
    """Trace the members, check each and choose a schedule; members of one architecture share the trace."""
    codes = _checked_locus(sequences)
    per_position = n_variants / max(1, len(sequences)) / sequences.length
    graph: Graph | None = None
    checked, speedups, names = [], [], list[str]()
    for member in members:
        windows, check = _checked_engine(member, codes, graph)
        if not check.passed:
            raise CaptureError(
                f"the windows of {member.name} are off by {check.error:.1e} of the largest effect on a few edits; at "
                f"most {TOLERANCE:.0e} is allowed"
            )
        member.windows, member.schedule = windows, windows.schedule(n_loci=len(sequences), per_position=per_position)
        graph, names = graph or windows.graph, names or windows.operations_at_full_length()
        checked.append(check)
        speedups.append(member.schedule.speedup)
    if min(speedups) < (LEAST_WITH_FULL_LENGTH if names else LEAST_SPEEDUP) and not insist:
        raise CaptureError(f"windows would save too little, {min(speedups):.2f} times the multiplications")
    return EngineReport(
        engine="windowed",
        reason="as asked for" if insist else "it saves work and agrees with double precision",
        at_full_length=tuple(names),
        predicted_speedup=min(speedups),
        check=max(checked, key=lambda check: check.error),
    )


def _checked_engine(member: Member, codes: np.ndarray, graph: Graph | None) -> tuple[WindowedEngine, Check]:
    """Make a member's engine with the trace of another, or by a trace of its own where that does not hold for it."""
    reason = CaptureError("")
    for trace in (None,) if graph is None else (graph, None):
        try:
            engine = WindowedEngine(
                member.module,
                length=codes.shape[1],
                n_tasks=member.n_tasks,
                columns=member.columns,
                device=torch.device(member.device),
                graph=trace,
            )
            check = check_engine(engine, member.module, codes, batch_size=member.batch_size)
        except CaptureError as error:
            reason = error
            continue
        except InputError:
            raise
        except Exception as error:  # an operation that no rule foresaw, or too little memory: plain passes may take it
            said = next(iter(str(error).strip().splitlines()), "")[:200]
            reason = CaptureError(f"windows of {member.name} fail ({type(error).__name__}: {said})")
            continue
        if check.passed or trace is None:
            return engine, check
    raise reason


def _checked_locus(sequences: Sequences) -> np.ndarray:
    """Return the codes of a locus with the most known bases: the first such one."""
    row = int(sequences.known.sum(axis=1).argmax())
    return sequences.codes[row : row + 1]


def _first_order(members: list[Member], sequences: Sequences) -> GradientError:
    """Compare effects to first order with exact ones, on a few edits, and return the worst member's error."""
    codes = _checked_locus(sequences)
    edits = edits_to_check(codes, positions=FIRST_ORDER_POSITIONS)
    one = sequences.take(slice(0, 1))
    one = replace(one, codes=codes)
    errors = []
    for member in members:
        member.engine = "gradient"
        exact = predict_edits(
            member.module, codes, edits, n_tasks=member.n_tasks, columns=member.columns,
            batch_size=member.batch_size, device=member.device,
        )  # fmt: skip
        errors.append(gradient_error(member.effects(one, edits), exact))
    return max(errors, key=lambda error: float(error.rms.max(initial=0)))
