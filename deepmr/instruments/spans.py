"""Stretches of loci or of the genome, such as hits of a motif, and which edits lie in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from deepmr.errors import InputError

PLACE = 1 << 40  # more bases than any chromosome has: keeps places apart on one axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Stretches, 0-based and half-open, each of a locus or of a chromosome; made by `io.spans.read_spans`.

    Attributes
    ----------
    locus : name of the locus, where the span is in one; else empty.
    chrom : name of the chromosome, where the span is on one; else empty.
    start, end : in the coordinate of a variant's `pos`, less 1: of the genome where the locus has a place there, else
        of the locus.
    name : what lies there, such as a motif; may be empty.
    """

    locus: tuple[str, ...]
    chrom: tuple[str, ...]
    start: Int[np.ndarray, "spans"]
    end: Int[np.ndarray, "spans"]
    name: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.locus) == len(self.chrom) == len(self.start) == len(self.end) == len(self.name):
            raise InputError("spans need a locus, chrom, start, end and name each")
        if len(self) and not np.all((self.start >= 0) & (self.start < self.end)):
            row = int(np.argmin((self.start >= 0) & (self.start < self.end)))
            raise InputError(f"span {row + 1}: start must be at least 0 and below end; got {self.start[row]}")

    def __len__(self) -> int:
        return len(self.start)

    def named(self, patterns: Sequence[str]) -> "Spans":
        """Return the spans whose name is one of the patterns, in which * stands for anything.

        Parameters
        ----------
        patterns : such as "GATA*".

        Raises
        ------
        InputError
            When a pattern is no span's name.
        """
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in set(self.name)):
                known = ", ".join(sorted(set(self.name) - {""})[:8]) or "none"
                raise InputError(f"no span is named {pattern!r}; names of spans: {known}")
        rows = [i for i, name in enumerate(self.name) if any(fnmatchcase(name, pattern) for pattern in patterns)]
        return Spans(
            locus=tuple(self.locus[i] for i in rows),
            chrom=tuple(self.chrom[i] for i in rows),
            start=self.start[rows],
            end=self.end[rows],
            name=tuple(self.name[i] for i in rows),
        )


def in_spans(variants: pd.DataFrame, spans: Spans) -> Bool[np.ndarray, "variants"]:
    """Say which variants change a base of a span.

    Parameters
    ----------
    variants : with the columns of `schema.VARIANTS`.
    spans : where they should lie.

    Notes
    -----
    A variant reaches from `pos` over as many bases as its other allele has, at least one: an insertion counts as the
    base that follows it. Of substitutions that are not side by side only the first base is known here.

    Examples
    --------
    >>> sites = pd.DataFrame({"variant_id": ["a", "b"], "locus": "peak", "chrom": "", "pos": [4, 9],
    ...                       "effect_allele": "A", "other_allele": "C"})
    >>> one = Spans(locus=("peak",), chrom=("",), start=np.array([3]), end=np.array([8]), name=("GATA",))
    >>> in_spans(sites, one).tolist()
    [True, False]
    """
    begin = variants["pos"].to_numpy(np.int64) - 1
    end = begin + bases_replaced(variants)
    found = np.zeros(len(variants), dtype=bool)
    for column, places in (("locus", spans.locus), ("chrom", spans.chrom)):
        rows = np.array([i for i, place in enumerate(places) if place], dtype=int)
        if not len(rows):
            continue
        names = pd.Index(sorted({places[i] for i in rows}))
        home = names.get_indexer(pd.Index([places[i] for i in rows])) * PLACE
        at = _codes(variants[column], names)
        found |= (at >= 0) & _meets(
            home + spans.start[rows], home + spans.end[rows], at * PLACE + begin, at * PLACE + end
        )
    return found


def bases_replaced(variants: pd.DataFrame) -> Int[np.ndarray, "variants"]:
    """Return how many bases of the locus each variant replaces, deletes or, for an insertion, follows it: at least 1.

    Parameters
    ----------
    variants : with the column other_allele, in which commas part the alleles of several substitutions.
    """
    alleles = variants["other_allele"]
    texts = alleles.cat.categories if isinstance(alleles.dtype, pd.CategoricalDtype) else pd.unique(alleles)
    width = {text: max(1, len(str(text).replace(",", ""))) for text in texts}
    counts = alleles.astype(object).map(width)
    return counts.fillna(1).to_numpy(np.int64)


def _codes(column: "pd.Series", names: pd.Index) -> Int[np.ndarray, "variants"]:
    """Return the number of each variant's place among the names; -1 where it is none of them."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        numbers = np.append(names.get_indexer(pd.Index(column.cat.categories.astype(str))), -1)
        return numbers[column.cat.codes.to_numpy(int)].astype(np.int64)
    return names.get_indexer(pd.Index(column.astype(str))).astype(np.int64)


def _meets(
    start: Int[np.ndarray, "spans"],
    stop: Int[np.ndarray, "spans"],
    begin: Int[np.ndarray, "variants"],
    end: Int[np.ndarray, "variants"],
) -> Bool[np.ndarray, "variants"]:
    """Say which variants share a base with a span: of the spans that start before they end, one must stop behind."""
    order = np.argsort(start, kind="stable")
    last = np.searchsorted(start[order], end, side="left") - 1
    return (last >= 0) & (np.maximum.accumulate(stop[order])[last] > begin)
