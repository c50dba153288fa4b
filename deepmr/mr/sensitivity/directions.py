"""Both directions of one pair: the exposure's instruments on the outcome, and the outcome's on the exposure."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from deepmr.errors import InputError
from deepmr.mr import estimate_effects
from deepmr.mr.sensitivity.phrases import trait
from deepmr.types import Estimates, Instruments


@dataclass(frozen=True, slots=True, kw_only=True)
class Directions:
    """Estimates of both directions, and what they say together."""

    forward: Estimates
    reverse: Estimates
    sentences: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return both tables, one below the other."""
        return pd.concat([self.forward.table, self.reverse.table], ignore_index=True)


def compare_directions(
    forward: Instruments,
    reverse: Instruments,
    *,
    methods: Sequence[str] = ("ivw_random", "egger"),
    min_instruments: int = 3,
    level: float = 0.95,
) -> Directions:
    """Estimate the effect of A on B with instruments of A, and of B on A with instruments of B.

    Parameters
    ----------
    forward : instruments of the exposure A, for the outcome B.
    reverse : instruments of B, for the outcome A; each chosen for their strength on their own exposure.
    methods : keys of `METHODS`.
    min_instruments : loci with fewer are skipped.
    level : of the confidence intervals.

    Raises
    ------
    InputError : when `reverse` is not the reverse of `forward`.

    Notes
    -----
    If A causes B, every instrument of A moves B too and passes for one of B where it is strong enough: a reverse
    estimate of about 1 / effect that rests on instruments of A. Compare the instruments, and see `steiger_filter`.
    """
    if (forward.exposure, forward.outcome) != (reverse.outcome, reverse.exposure):
        raise InputError(
            f"the reverse of {forward.exposure} on {forward.outcome} is {forward.outcome} on {forward.exposure}; got "
            f"{reverse.exposure} on {reverse.outcome}"
        )
    both = [
        estimate_effects(pair, methods=methods, min_instruments=min_instruments, level=level)
        for pair in (forward, reverse)
    ]
    shared = set(forward.variants["variant_id"]) & set(reverse.variants["variant_id"])
    said = [_compare(method, *both) for method in methods]
    if shared:
        fewer = min(len(forward.variants), len(reverse.variants))
        said.append(f"{len(shared):,} instruments, of {fewer:,} on the side with fewer, serve both directions.")
    return Directions(forward=both[0], reverse=both[1], sentences=tuple(said))


def _compare(method: str, forward: Estimates, reverse: Estimates) -> str:
    tables = [part.table[part.table["method"] == method] for part in (forward, reverse)]
    said = []
    for table, part in zip(tables, (forward, reverse), strict=True):
        if len(table):
            said.append(_direction(table))
        else:
            gone = part.skipped[part.skipped["method"] == method].iloc[0]
            said.append(f"{trait(gone['exposure'])} on {trait(gone['outcome'])} has no estimate ({gone['reason']})")
    if all(len(table) == 1 for table in tables):
        clear = [bool((table["ci_low"].iloc[0] > 0) or (table["ci_high"].iloc[0] < 0)) for table in tables]
        one, other = trait(tables[0]["exposure"].iloc[0]), trait(tables[0]["outcome"].iloc[0])
        verdict = {
            (True, False): f"this supports {one} as a cause of {other}, and not the reverse",
            (False, True): f"this supports {other} as a cause of {one}, and not the reverse",
            (True, True): "both intervals leave 0 out: causes in both directions, or instruments that act on both",
            (False, False): "neither interval leaves 0 out: no effect is shown in either direction",
        }[clear[0], clear[1]]
        return f"{method}: {said[0]}; {said[1]}: {verdict}."
    return f"{method}: {said[0]}; {said[1]}."


def _direction(table: pd.DataFrame) -> str:
    row = table.iloc[0]
    pair = f"{trait(row['exposure'])} on {trait(row['outcome'])}"
    if len(table) == 1:
        return f"{pair} {row['beta']:.3g} ({row['ci_low']:.3g} to {row['ci_high']:.3g})"
    clear = int(((table["ci_low"] > 0) | (table["ci_high"] < 0)).sum())
    return f"{pair}, median {table['beta'].median():.3g}, leaves 0 out at {clear:,} of {len(table):,} loci"
