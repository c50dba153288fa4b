"""Markers that make up a relationship matrix: chosen, filled, centred and scaled, a block at a time."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr import checks
from deepmr.cohort import Genotypes
from deepmr.population import markers as prepared
from deepmr.population.markers import prepare_markers

LOW_MAF = "low_maf"

Kind = Literal["centred", "standardised"]
Progress = Callable[[int, int], None]  # variants done, variants in all


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerChoice:
    """Which markers a relationship matrix is made of, and how each is scaled.

    Attributes
    ----------
    kind : `centred` takes copies less their mean; `standardised` also divides by their standard deviation (divisor n)
        among samples, so that rare variants count as much as common ones.
    min_maf : least frequency of the rarer allele.
    max_missing : largest share of missing genotypes.
    counted : positions of the samples in which frequency and missingness are counted; all, unless given. Means and
        standard deviations are always those of all samples.
    block : variants read at a time.
    """

    kind: Kind = "centred"
    min_maf: float = 0.01
    max_missing: float = 0.05
    counted: Int[np.ndarray, "counted"] | None = None
    block: int = 512

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ("centred", "standardised"))
        checks.at_least("block", self.block, 1)
        checks.at_least("min_maf", self.min_maf, 0)
        checks.at_least("max_missing", self.max_missing, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerCounts:
    """Markers taken, and markers left out by the reason; filled while blocks are read.

    Attributes
    ----------
    reasons : how many of each status; `ok` are those taken.
    """

    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def taken(self) -> int:
        """How many markers were taken."""
        return self.reasons[prepared.OK]

    @property
    def dropped(self) -> dict[str, int]:
        """How many were left out, by the reason."""
        return {reason: n for reason, n in self.reasons.items() if reason != prepared.OK and n}


def scaled_blocks(
    genotypes: Genotypes,
    choice: MarkerChoice,
    spans: Sequence[tuple[int, int]],
    counts: MarkerCounts,
    *,
    gaps: bool = False,
    progress: Progress | None = None,
) -> Iterator[tuple[Float[np.ndarray, "chosen samples"], Bool[np.ndarray, "chosen samples"] | None]]:
    """Yield chosen markers of each block, 0 where missing, and which genotypes are there.

    Parameters
    ----------
    genotypes : of all samples.
    choice : of markers.
    spans : first variant and the one after the last, of each stretch to read.
    counts : filled as blocks are read.
    gaps : whether to say which genotypes are there.
    progress : called after every block.
    """
    total, done = sum(stop - start for start, stop in spans), 0
    for first, last in spans:
        for start in range(first, last, choice.block):
            stop = min(start + choice.block, last)
            dosages = genotypes.read(start, stop)
            kept, z = _scaled(dosages, choice, counts)
            yield z, ~np.isnan(dosages)[kept] if gaps else None
            done += stop - start
            if progress is not None:
                progress(done, total)


def chromosome_spans(genotypes: Genotypes) -> dict[str, list[tuple[int, int]]]:
    """Return the stretches of variants of each chromosome, in order of appearance; names without a leading "chr".

    Parameters
    ----------
    genotypes : any; those of a chromosome need not be together.
    """
    names = genotypes.variants["chrom"].astype(str).to_numpy(object)
    cuts = np.flatnonzero(names[1:] != names[:-1]) + 1
    edges = [0, *cuts.tolist(), len(names)] if len(names) else [0]
    found: dict[str, list[tuple[int, int]]] = {}
    for start, stop in pairwise(edges):
        found.setdefault(plain_chromosome(names[start]), []).append((start, stop))
    return found


def plain_chromosome(chrom: str) -> str:
    """Return the name of a chromosome without a leading "chr", in whatever case."""
    return chrom[3:] if chrom.lower().startswith("chr") else chrom


def _scaled(
    dosages: Float[np.ndarray, "variants samples"], choice: MarkerChoice, counts: MarkerCounts
) -> tuple[Bool[np.ndarray, "variants"], Float[np.ndarray, "chosen samples"]]:
    """Return which markers are taken, and those, centred and scaled."""
    ready = prepare_markers(dosages)
    status, eaf, n, samples = ready.status.copy(), ready.eaf, ready.n, dosages.shape[1]
    if choice.counted is not None:
        part = prepare_markers(np.ascontiguousarray(dosages[:, choice.counted]))
        status = np.where(status == prepared.OK, part.status, status)
        eaf, n, samples = part.eaf, part.n, len(choice.counted)
    rare = np.minimum(eaf, 1 - eaf) < choice.min_maf
    status[(status == prepared.OK) & ((samples - n) / samples > choice.max_missing)] = prepared.TOO_MISSING
    status[(status == prepared.OK) & rare] = LOW_MAF
    counts.reasons.update(status.tolist())
    kept = (status == prepared.OK).astype(bool)
    z = ready.centred[kept]
    if choice.kind == "standardised":
        z /= np.sqrt(np.einsum("vs,vs->v", z, z) / dosages.shape[1])[:, None]
    return kept, z
