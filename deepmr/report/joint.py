"""What several exposures in one model say, in words."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from deepmr.mr.lines import WEAK
from deepmr.report import words
from deepmr.types import Estimates, Instruments

SIGNIFICANT = 0.05


def joint_sentences(pair: Instruments, estimates: Estimates) -> tuple[str, ...]:
    """Say what methods find for each exposure with the others held fixed, and how far that can be trusted.

    Parameters
    ----------
    pair : instruments of several exposures at one locus.
    estimates : a row an exposure and method; the first method leads. Others' rows are passed over.
    """
    table = estimates.table
    mine = table[table["exposure"].isin(pair.exposures) & (table["outcome"] == pair.outcome)]
    if mine.empty:
        return ()
    return (*_effects(mine), *_strength(mine), *_scatter(mine))


def _effects(table: pd.DataFrame) -> Iterator[str]:
    for exposure, part in table.groupby("exposure", sort=False):
        first, *others = part.to_dict("records")
        said = f"{exposure}, the others held fixed: {_by(first)}"
        against = [row for row in others if not row["ci_low"] <= first["beta"] <= row["ci_high"]]
        others = [row for row in others if row not in against]
        said += f"; in keeping with it {', '.join(map(_by, others))}" if others else ""
        said += f"; against it {', '.join(map(_by, against))}" if against else ""
        yield f"{said}."


def _by(row: dict[Any, Any]) -> str:
    return f"{words.estimate(row)} by {words.with_names(row['method'])}"


def _strength(table: pd.DataFrame) -> Iterator[str]:
    if "conditional_f" not in table or table["conditional_f"].isna().all():
        return
    f = table.dropna(subset="conditional_f").groupby("exposure", sort=False)["conditional_f"].first()
    listed = ", ".join(f"{name} {words.number(float(value))}" for name, value in f.items())
    weak = [str(name) for name, value in f.items() if value < WEAK]
    yield (
        f"Instruments are weak for {', '.join(weak)} given the others (conditional F {listed}; {WEAK:g} is usual): "
        "direct effects are biased; read the debiased methods, or take fewer exposures."
        if weak
        else f"Instruments are strong for every exposure given the others (conditional F {listed})."
    )


def _scatter(table: pd.DataFrame) -> Iterator[str]:
    row = table.iloc[0]
    q, p, df = (float(row.get(name, np.nan)) for name in ("q", "q_pvalue", "q_df"))
    if np.isfinite([q, p, df]).all():
        more = "more than" if p < SIGNIFICANT else "no more than"
        paths = ": some variants act by other paths" if p < SIGNIFICANT else ""
        chance = f"P = {words.pvalue(p)}".replace("= <", "<")
        yield (
            f"What the exposures leave unexplained is {more} the errors allow (Q = {words.number(q)} on {df:.0f} "
            f"degrees of freedom, {chance}){paths}."
        )
