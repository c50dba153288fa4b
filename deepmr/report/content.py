"""What a page shows of a run, as core types; and the pieces that it is put together from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from markupsafe import Markup
from matplotlib.figure import Figure

from deepmr import checks
from deepmr.ism.calibration import Calibration
from deepmr.report import words
from deepmr.report.svg import inline_svg
from deepmr.types import Estimates, Instruments, Task

PREFERRED = ("calibrated", "population", "model")  # estimands, those first that say more of cells


@dataclass(frozen=True, slots=True, kw_only=True)
class LocusEffects:
    """Effects of every edit of one locus.

    Attributes
    ----------
    chrom, start : where it lies, 0-based; "" and -1 where unknown.
    codes : the reference, 0 to 3 for A C G T, 4 for a position that was not edited.
    effect : the last axis is the other three bases in the order A C G T.
    """

    locus: str
    chrom: str
    start: int
    codes: UInt8[np.ndarray, "length"]
    effect: Float[np.ndarray, "members tasks length 3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectSample:
    """Mean effects and standard errors of some of the edits.

    Attributes
    ----------
    n_edits : edits that the sample was drawn from.
    """

    beta: Float[np.ndarray, "variants tasks"]
    se: Float[np.ndarray, "variants tasks"]
    n_edits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that a page shows. What is None or empty is left out of the page, which says so.

    Attributes
    ----------
    tasks : the marks, in the order of the figures.
    pooled : global effects, one row a pair and method.
    local : effects at single loci, and the loci without one.
    truth : true global effects of a simulation, columns exposure, outcome, beta.
    instruments : one a pair, in the order of `pooled`.
    shown, shown_because : loci that are drawn, and why these.
    loci : their effects.
    predictions : of the unmutated loci.
    counts : how much there was, by name.
    sections : further parts of the page.
    judgements : by exposure, outcome and estimand, what `deepmr diagnose` judged.
    unlike : pairs, exposure and outcome, whose labelled loci are unlike those analysed, with a sentence.
    provenance : how every file was made, by its name.
    local_name, pooled_name : file names of the tables.
    notes : what is missing and why, a sentence each.
    """

    tasks: tuple[Task, ...]
    pooled: Estimates
    local: Estimates
    truth: pd.DataFrame | None = None
    calibration: Calibration | None = None
    instruments: tuple[Instruments, ...] = ()
    shown: tuple[str, ...] = ()
    shown_because: str = "named"
    loci: tuple[LocusEffects, ...] = ()
    sample: EffectSample | None = None
    predictions: Float[np.ndarray, "members loci tasks"] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    sections: "tuple[Section, ...]" = ()
    judgements: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    unlike: Mapping[tuple[str, str], str] = field(default_factory=dict)
    provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    local_name: str = "local estimates"
    pooled_name: str = "pooled estimates"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.truth is not None:
            checks.columns("true effects", self.truth.columns, ("exposure", "outcome", "beta"))

    @property
    def estimand(self) -> str:
        """What the answer is an effect in: calibrated where there are such rows."""
        table = self.pooled.table if len(self.pooled) else self.local.table
        return min(map(str, table["estimand"]), key=PREFERRED.index, default="model")

    @property
    def where(self) -> str:
        """The same in words that end a phrase: "in the model"."""
        return words.WHERE[self.estimand]

    @property
    def leading(self) -> str:
        """The method that headline and matrix show."""
        return leading_method(self.pooled)

    @property
    def leads(self) -> Estimates:
        """The pooled rows of that method, of every estimand."""
        return self.pooled.take((self.pooled.table["method"] == self.leading).to_numpy(bool))

    @property
    def headline(self) -> Estimates:
        """The answers: one of those rows a pair, the calibrated effect where there is one."""
        leads = self.leads
        rank = leads.table["estimand"].map(PREFERRED.index)
        best = rank.groupby([leads.table["exposure"], leads.table["outcome"]]).transform("min")
        return leads.take((rank == best).to_numpy(bool))


def leading_method(estimates: Estimates) -> str:
    """Return the method that a page leads with: the first of `words.LEADING` that there is, or the first of all."""
    methods = list(dict.fromkeys(estimates.table["method"]))
    return next((name for name in words.LEADING if name in methods), methods[0] if methods else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """A figure on the page: its drawing, what it shows, particulars, and how to read it."""

    svg: Markup
    caption: str
    detail: str
    reading: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a table: what is written, and the number it is sorted by."""

    text: str
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table on the page."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure that is not yet on a page, with its words: those of `Plates.plate`."""

    figure: Figure
    alt: str
    caption: str
    reading: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page that is there when its input is: sentences, figures, tables.

    Attributes
    ----------
    anchor : its address on the page; letters and hyphens.
    title : its heading, also in the table of contents.
    sentences : what it says, the answer first.
    part : where it stands: what says how sure the answer is, or what it rests on.
    """

    anchor: str
    title: str
    sentences: tuple[str, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    tables: tuple[Grid, ...] = ()
    part: Literal["sure", "evidence"] = "evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """A section whose figures have their numbers on the page."""

    section: Section
    plates: tuple[Plate, ...]


class Plates:
    """Makes plates whose figures have ids of their own; one object a page."""

    def __init__(self) -> None:
        self._drawn = 0
        self._read: dict[str, int] = {}

    def plate(self, figure: Figure, *, alt: str, caption: str, reading: str, detail: str = "") -> Plate:
        """Put a figure with its words on the page.

        Parameters
        ----------
        figure : what to draw.
        alt : what it shows, for those who do not see it.
        caption : what it shows, for those who do, in a line.
        reading : how to read it, in plain words; the second figure with the same words refers to the first.
        detail : what else there is to say of this one.
        """
        self._drawn += 1
        first = self._read.setdefault(reading, self._drawn)
        svg = Markup(inline_svg(figure, prefix=f"fig{self._drawn}", alt=alt))  # noqa: S704 -- made here, text escaped
        return Plate(
            svg=svg,
            caption=f"Figure {self._drawn}. {caption}",
            detail=detail.strip(),
            reading=reading if first == self._drawn else f"As figure {first}.",
        )

    def lay(self, section: Section) -> Laid:
        """Put the figures of a section on the page."""
        laid = [
            self.plate(one.figure, alt=one.alt, caption=one.caption, reading=one.reading, detail=one.detail)
            for one in section.drawings
        ]
        return Laid(section=section, plates=tuple(laid))


def number_cell(value: float, write: Callable[[float], str] = words.number) -> Cell:
    """Return a number's cell; one without a value sorts last."""
    return Cell(text=write(value), value=float(value) if np.isfinite(value) else None)


def count_cell(n: int) -> Cell:
    """Return a count's cell, its thousands apart."""
    return Cell(text=f"{n:,}", value=float(n))
