"""One network of an ensemble, ready to predict the effects of edits by whatever engine was chosen for it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int

from deepmr.errors import InputError
from deepmr.ism.cost import Schedule
from deepmr.ism.engine import WindowedEngine
from deepmr.ism.gradient import gradient_edits
from deepmr.ism.naive import EditEffects, predict_edits
from deepmr.ism.strands import average_strands, reverse_complement_edits
from deepmr.ism.variants import Edits
from deepmr.types import Sequences, reverse_complement

EngineName = Literal["naive", "windowed", "gradient"]
Strands = Literal["forward", "both"]


@dataclass(slots=True, kw_only=True)
class Member:
    """One network of an ensemble, ready to predict the edits of blocks of loci.

    Attributes
    ----------
    name : what error messages call it.
    n_tasks : tasks that it predicts.
    columns : tasks to keep; all where None.
    batch_size : most sequences at once. Once memory has run out it stays at what worked.
    engine : naive, plain passes; windowed, what an edit can change; gradient, to first order.
    windows, schedule : of the windowed engine. It leaves deletions and insertions, which move whole flanks, to plain
        passes.
    strands : both averages with the reverse complement.
    """

    module: torch.nn.Module
    name: str
    n_tasks: int
    columns: Int[np.ndarray, "selected"] | None
    device: Any
    batch_size: int
    engine: EngineName = "naive"
    windows: WindowedEngine | None = None
    schedule: Schedule | None = None
    strands: Strands = "forward"

    def __post_init__(self) -> None:
        if any(part.training for part in self.module.modules()):
            raise InputError(f"{self.name} is in training mode: its output depends on batch mates; call .eval() first")

    def effects(
        self, sequences: Sequences, edits: Edits, *, progress: Callable[[int], None] | None = None
    ) -> EditEffects:
        """Predict the edits of a block of loci; a value that is not finite is an `InputError` naming the locus.

        `progress` is called with the number of sequences just done, two a variant where both strands are averaged.
        """
        effects = self._predict(sequences, edits, progress)
        if self.strands == "both":
            other = replace(sequences, codes=reverse_complement(sequences.codes))
            turned = reverse_complement_edits(edits, sequences.length)
            effects = average_strands(effects, self._predict(other, turned, progress))
        bad = ~np.isfinite(effects.reference).all(axis=1)
        bad[edits.locus[~np.isfinite(effects.delta).all(axis=1)]] = True
        if bad.any():
            locus = sequences.loci["locus"].iloc[int(np.argmax(bad))]
            raise InputError(
                f"{self.name} returns NaN or infinity for {int(bad.sum())} of {len(bad)} loci, first {locus!r}"
            )
        return effects

    def _predict(self, sequences: Sequences, edits: Edits, progress: Callable[[int], None] | None) -> EditEffects:
        if self.engine != "windowed":
            return self._plain(sequences, edits, progress)
        if edits.substitutions_only:
            return self._by_windows(sequences, edits, progress)
        shifted = edits.shifted
        moved = self._plain(sequences, edits.take(shifted), _without(len(sequences), progress))
        rest = self._by_windows(sequences, edits.take(~shifted), progress)
        delta = np.empty((len(edits), rest.delta.shape[1]), dtype=rest.delta.dtype)
        delta[shifted], delta[~shifted] = moved.delta, rest.delta
        return EditEffects(reference=rest.reference, delta=delta, batch_size=rest.batch_size)

    def _by_windows(self, sequences: Sequences, edits: Edits, progress: Callable[[int], None] | None) -> EditEffects:
        assert self.windows is not None
        assert self.schedule is not None
        effects = self.windows.predict(sequences.codes, edits, schedule=self.schedule, progress=progress)
        self.schedule = replace(self.schedule, n_loci=effects.batch_size)
        return effects

    def _plain(self, sequences: Sequences, edits: Edits, progress: Callable[[int], None] | None) -> EditEffects:
        predict = gradient_edits if self.engine == "gradient" else predict_edits
        effects = predict(
            self.module,
            sequences.codes,
            edits,
            n_tasks=self.n_tasks,
            columns=self.columns,
            batch_size=self.batch_size,
            device=self.device,
            progress=progress,
        )
        self.batch_size = effects.batch_size
        return effects


def _without(n: int, progress: Callable[[int], None] | None) -> Callable[[int], None] | None:
    """Return a count of progress that leaves the first n out: references that are counted elsewhere."""
    if progress is None:
        return None
    left = n

    def count(done: int) -> None:
        nonlocal left
        taken = min(left, done)
        left -= taken
        progress(done - taken)

    return count
