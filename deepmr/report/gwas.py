"""What a page shows of an analysis of GWAS results, and its answers in words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from deepmr.mr.sensitivity.strength import FOR_WEAK
from deepmr.report import words
from deepmr.report.content import Plate, Plates, Section, leading_method
from deepmr.report.forest import forest
from deepmr.report.joint import joint_sentences
from deepmr.report.one_by_one import Examined, examine_pair, sensitivity_plates
from deepmr.report.plates import for_forest
from deepmr.report.scatter import mr_scatter
from deepmr.report.verdicts import GRADES
from deepmr.types import Estimates, Instruments

MAX_CARDS = 6  # effects in the headline
MAX_DRAWN = 6  # pairs with figures of their own
# How notes begin that say how a column was made from others; all other notes are reasons to doubt what was read.
DERIVED = ("effects are logarithms", "took logarithms", "standard errors follow", "standard errors were")
RATIOS = {"odds_ratio": "odds", "hazard_ratio": "hazard"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trait:
    """A trait as it was read from a file.

    Attributes
    ----------
    role : exposure or outcome.
    file : its name.
    rows, used : rows of the file, and those that can be used.
    columns : the column that each field was read from.
    notes : what was derived or looks odd.
    """

    name: str
    role: str
    file: str = ""
    rows: int = 0
    used: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GwasRun:
    """Everything that a page on GWAS results shows. What is empty is left out.

    Attributes
    ----------
    estimates : a row a pair and method; with several exposures in one model, a row an exposure and method.
    instruments : one a question: of one exposure, or of all that are in one model.
    traits : as they were read.
    counts : of each question, how many variants were left after each step.
    dropped : columns variant_id, exposure, outcome, file, reason, detail.
    min_instruments : fewest instruments of an estimate.
    provenance : how every file was made, by its name.
    estimates_name, dropped_name, instruments_name : of the files.
    sections : further parts of the page.
    notes : what is missing and why, a sentence each.
    """

    estimates: Estimates
    instruments: tuple[Instruments, ...]
    traits: tuple[Trait, ...] = ()
    counts: tuple[Mapping[str, Any], ...] = ()
    dropped: pd.DataFrame | None = None
    min_instruments: int = 3
    provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    estimates_name: str = "estimates"
    dropped_name: str = "dropped variants"
    instruments_name: str = "instruments"
    sections: tuple[Section, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def leading(self) -> str:
        """The method that the headline shows."""
        return leading_method(self.estimates)

    @cached_property
    def headline(self) -> pd.DataFrame:
        """The rows of that method, or of one for weak instruments or shared samples; those furthest from 0 first."""
        table = self.estimates.table
        fit = {_key(one): one.found.lead for one in self.examined if one.found.lead in FOR_WEAK}
        pairs = zip(table["exposure"], table["outcome"], strict=True)
        mine = table[table["method"] == [fit.get(pair, self.leading) for pair in pairs]]
        strength = (mine["beta"] / mine["se"].where(mine["se"] > 0)).abs()
        return mine.loc[strength.sort_values(ascending=False, kind="stable").index]

    @cached_property
    def examined(self) -> tuple[Examined, ...]:
        """What sensitivity analyses find of each pair of one exposure and one outcome."""
        found = [
            examine_pair(pair, self.estimates, locus=pair.loci[0], min_instruments=self.min_instruments)
            for pair in self.instruments
            if pair.loci
        ]
        return tuple(one for one in found if one is not None)

    def doubts(self, *names: str) -> tuple[str, ...]:
        """Return what is odd about traits as they were read, a sentence each.

        Parameters
        ----------
        names : of traits; none for all.
        """
        return tuple(
            f"{trait.name}: {note}."
            for trait in self.traits
            for note in trait.notes
            if (not names or trait.name in names) and not note.startswith(DERIVED)
        )

    def ratio_of(self, outcome: str) -> str:
        """Return "odds" or "hazard" where the outcome was read from such ratios, else ""."""
        fields = {name for trait in self.traits if trait.name == outcome for name in trait.columns}
        return next((what for name, what in RATIOS.items() if name in fields), "")


def question(run: GwasRun) -> str:
    """Return what was asked, for the head of the page."""
    pairs = list(dict.fromkeys((one.exposure, one.outcome) for one in run.instruments))
    if len(pairs) == 1 and len(run.instruments[0].exposures) == 1:
        return f"Does {pairs[0][0]} cause {pairs[0][1]}?"
    if len(pairs) == 1:
        return (
            f"What do {', '.join(run.instruments[0].exposures)} do to {pairs[0][1]}, each with the others held fixed?"
        )
    exposures = list(dict.fromkeys(one.exposure.replace("+", ", ") for one in run.instruments))
    outcomes = list(dict.fromkeys(one.outcome for one in run.instruments))
    return f"What do {'; '.join(exposures)} do to {', '.join(outcomes)}?"


def cards(run: GwasRun) -> list[dict[str, str]]:
    """Return the answers in words, one an effect; of many those furthest from 0 in standard errors."""
    doubted = {_key(one): _doubted(one) for one in run.examined}
    rows = run.headline.head(MAX_CARDS).to_dict("records")
    return [_card(run, row, doubted.get((row["exposure"], row["outcome"]))) for row in rows]


def _doubted(one: Examined) -> bool:
    """Return whether the sensitivity analyses end in a reason for doubt."""
    return any(sentence.startswith("Reason for") for sentence in one.found.sentences)


def _card(run: GwasRun, row: Mapping[Any, Any], doubted: bool | None) -> dict[str, str]:
    level = words.percent(row.get("level", 0.95))
    interval = f"{level} CI {words.span(row['ci_low'], row['ci_high'])}"
    change = f"{'rises' if row['beta'] >= 0 else 'falls'} by {words.number(abs(row['beta']))}"
    what = run.ratio_of(row["outcome"])
    units = "unit" if words.number(abs(row["beta"])) == "1" else "units"
    sentence = (
        f"Where variants raise {row['exposure']} by 1 unit of its file, {row['outcome']} {change} {units} of its file."
    )
    if what:
        low, value, high = (words.number(float(np.exp(row[name]))) for name in ("ci_low", "beta", "ci_high"))
        sentence = (
            f"Where variants raise {row['exposure']} by 1 unit of its file, the {what} of {row['outcome']} "
            f"{'are' if what == 'odds' else 'is'} multiplied by {value} ({low} to {high})."
        )
    clear = row["ci_low"] > 0 or row["ci_high"] < 0
    grade: Literal["effect", "doubtful", "none", ""] = "doubtful" if doubted else "effect" if clear else "none"
    grade = "" if doubted is None else grade
    n_together = row.get("n_exposures", np.nan)
    fixed = " with the other exposures held fixed" if np.isfinite(n_together) and n_together > 1 else ""
    return {
        "exposure": row["exposure"],
        "outcome": row["outcome"],
        "where": f"{words.WHERE[row['estimand']]}{fixed}",
        "value": words.number(row["beta"]),
        "ci": f"{interval}, P = {words.pvalue(row['pvalue'])}".replace("= <", "<"),
        "grade": grade,
        "label": GRADES[grade] if grade else "",
        "notes": f"{words.method_name(row['method'])}, {words.count(int(row['n']), 'instrument')}",
        "sentence": sentence,
    }


def estimate_plates(run: GwasRun, plates: Plates) -> list[Plate]:
    """Return the forest plot of all pairs and methods."""
    if not len(run.estimates):
        return []
    drawn, cut = for_forest(run.estimates, run.leading)
    alt = "; ".join(
        f"{r['exposure']} on {r['outcome']}, {words.method_name(r['method'])}: {words.estimate(r)}"
        for r in drawn.table.head(12).to_dict("records")
    )
    return [
        plates.plate(
            forest(drawn, counted="instrument"),
            alt=f"Forest plot of effects by method. {alt}",
            caption="Effects by pair and method.",
            detail=cut,
            reading=words.READING["methods"],
        )
    ]


def pair_plates(run: GwasRun, plates: Plates) -> list[tuple[str, list[Plate]]]:
    """Return the figures of every pair; of many, of those furthest from 0."""
    order = {key: k for k, key in enumerate(zip(run.headline["exposure"], run.headline["outcome"], strict=True))}
    chosen = sorted(run.examined, key=lambda one: order.get(_key(one), len(order)))[:MAX_DRAWN]
    return [(title_of(one), _figures(one, plates)) for one in chosen]


def verdicts(run: GwasRun) -> list[tuple[str, tuple[str, ...]]]:
    """Return what the sensitivity analyses say: questions and their sentences."""
    single = {_key(one): tuple(map(words.with_names, one.found.sentences)) for one in run.examined}
    found = []
    for pair in run.instruments:
        alone = len(pair.exposures) == 1
        said = single.get((pair.exposure, pair.outcome), ()) if alone else joint_sentences(pair, run.estimates)
        if said:
            unsure = tuple(f"First of all: {doubt}" for doubt in run.doubts(*pair.exposures, pair.outcome))
            found.append((f"{', '.join(pair.exposures)} → {pair.outcome}", (*unsure, *said)))
    return found


def summaries(run: GwasRun) -> list[str]:
    """Return what to make of each answer, in a sentence: the last of what the analyses say of it."""
    return [f"{pair}: {sentences[-1]}" for pair, sentences in verdicts(run)]


def title_of(one: Examined) -> str:
    """Return "exposure → outcome"."""
    return f"{one.instruments.exposure} → {one.instruments.outcome}"


def _key(one: Examined) -> tuple[str, str]:
    return one.instruments.exposure, one.instruments.outcome


def _figures(one: Examined, plates: Plates) -> list[Plate]:
    pair = one.instruments
    what, locus = title_of(one), pair.loci[0]
    lines = ", ".join(words.method_name(name) for name in one.found.estimates.table["method"])
    scatter = plates.plate(
        mr_scatter([pair], one.found.estimates, locus=locus),
        alt=f"Effects of {words.count(len(pair.variants), 'variant')} on {what}, with the lines of {lines}.",
        caption=f"Variants of {what}: effects on exposure and outcome, and the slope of each method.",
        reading=words.READING["scatter_population"],
    )
    return [scatter, *sensitivity_plates(one, plates, locus=locus)]
