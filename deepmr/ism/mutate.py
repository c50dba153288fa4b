"""Every single-base edit, or a list of edits, of every locus for every member."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.ism.edit_table import resolve_edits
from deepmr.ism.naive import EditEffects, default_batch, predict_edits
from deepmr.ism.plan import block_size_of, split
from deepmr.ism.variants import Anchor, Edits, single_edits, variants_of
from deepmr.types import MemberEffects, Predictor, Sequences

Precision = Literal["single", "double"]
ENGINE = "naive"  # the engine that ran; written into every effects file


def mutate(
    predictor: Predictor,
    sequences: Sequences,
    *,
    edits: pd.DataFrame | None = None,
    within: Bool[np.ndarray, "loci length"] | None = None,
    anchor: Anchor = "center",
    batch_size: int | None = None,
    precision: Precision = "single",
) -> MemberEffects:
    """Predict the effects of edits with every member, in memory.

    Parameters
    ----------
    predictor : networks in evaluation mode, such as an `Ensemble`.
    sequences : loci of the length that the networks read.
    edits : one row an edit, columns variant_id, locus, other_allele, effect_allele, and offset (0-based in the locus)
        or pos (1-based on the chromosome), as `resolve_edits` reads them; rows of substitutions that share a variant_id
        are made together. By default every single-base edit of every known base.
    within : positions to which those single-base edits are restricted; not together with `edits`.
    anchor : what a deletion or insertion leaves in its place: the left flank, the right flank, or the longer of both.
    batch_size : most sequences to predict at once; by default chosen from the network and the device.
    precision : double predicts in float64, about four times slower on a CPU.

    Returns
    -------
    Effects in the order of the loci, float32.

    Raises
    ------
    InputError
        When an edit does not fit the sequences, `within` leaves nothing to edit, or a member returns NaN or the wrong
        shape.

    Notes
    -----
    The effect of an edit in a member is f(edited) - f(reference), both predicted by the same kernels: 3L + 1 passes per
    locus and member for L known bases. `deepmr ism` does the same work, unit by unit, and gives the same numbers.

    Examples
    --------
    >>> effects = mutate(ensemble, sequences)  # doctest: +SKIP
    >>> effects.delta.shape  # members, variants, tasks  # doctest: +SKIP
    (5, 30000, 2)
    """
    packed, names = _packed(sequences, edits, within=within, anchor=anchor)
    blocks = split(len(sequences), block_size_of(len(sequences), len(packed), sequences.length, len(predictor.tasks)))
    delta = [
        np.concatenate([member.effects(sequences.take(b), packed.of_loci(b)).delta for b in blocks])
        for member in members_of(predictor, batch_size=batch_size, precision=precision, length=sequences.length)
    ]
    variants = variants_of(packed, sequences, variant_id=names)
    return MemberEffects(variants=variants, tasks=predictor.tasks, delta=np.stack(delta))


def _packed(
    sequences: Sequences,
    edits: pd.DataFrame | None,
    *,
    within: Bool[np.ndarray, "loci length"] | None,
    anchor: Anchor,
) -> tuple[Edits, list[str] | None]:
    if edits is not None:
        if within is not None:
            raise InputError("a table of edits says itself which positions to edit: leave out within")
        return resolve_edits(edits, sequences, anchor=anchor)
    if within is not None:
        checks.shape("within", within, sequences.codes.shape)
    packed = single_edits(sequences.codes, within=within)
    if within is not None and not len(packed):
        raise InputError("within leaves no known base to edit")
    return packed, None


@dataclass(slots=True, kw_only=True)
class Member:
    """One network of an ensemble, ready to predict the edits of blocks of loci.

    Attributes
    ----------
    name : what error messages call it.
    n_tasks : tasks that it predicts.
    columns : tasks to keep; all where None.
    batch_size : most sequences at once. Once memory has run out it stays at what worked.
    """

    module: torch.nn.Module
    name: str
    n_tasks: int
    columns: Int[np.ndarray, "selected"] | None
    device: Any
    batch_size: int

    def __post_init__(self) -> None:
        if any(part.training for part in self.module.modules()):
            raise InputError(f"{self.name} is in training mode: its output depends on batch mates; call .eval() first")

    def effects(
        self, sequences: Sequences, edits: Edits, *, progress: Callable[[int], None] | None = None
    ) -> EditEffects:
        """Predict the edits of a block of loci; a value that is not finite is an `InputError` naming the locus."""
        effects = predict_edits(
            self.module,
            sequences.codes,
            edits,
            n_tasks=self.n_tasks,
            columns=self.columns,
            batch_size=self.batch_size,
            device=self.device,
            progress=progress,
        )
        bad = ~np.isfinite(effects.reference).all(axis=1)
        bad[edits.locus[~np.isfinite(effects.delta).all(axis=1)]] = True
        if bad.any():
            locus = sequences.loci["locus"].iloc[int(np.argmax(bad))]
            raise InputError(
                f"{self.name} returns NaN or infinity for {int(bad.sum())} of {len(bad)} loci, first {locus!r}"
            )
        self.batch_size = effects.batch_size
        return effects


def members_of(
    predictor: Predictor,
    *,
    length: int,
    batch_size: int | None = None,
    precision: Precision = "single",
    columns: Int[np.ndarray, "selected"] | None = None,
    names: Sequence[str] | None = None,
) -> list[Member]:
    """Make the members of a predictor ready, each with its batch size."""
    modules = [in_precision(module, precision) for module in predictor.modules]
    labels = names or [f"member {k}" for k in range(len(modules))]
    return [
        Member(
            module=module,
            name=name,
            n_tasks=len(predictor.tasks),
            columns=columns,
            device=predictor.device,
            batch_size=batch_size or default_batch(module, length, device=predictor.device),
        )
        for module, name in zip(modules, labels, strict=True)
    ]


def in_precision(module: torch.nn.Module, precision: Precision) -> torch.nn.Module:
    """Return the network itself, or a copy of it in float64."""
    return module if precision == "single" else copy.deepcopy(module).double()
