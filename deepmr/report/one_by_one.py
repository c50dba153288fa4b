"""What single instruments of a locus say: sensitivity analyses around the estimates of a page, and their figures."""

from dataclasses import dataclass

import numpy as np

from deepmr.mr import METHODS
from deepmr.mr.sensitivity.strength import FOR_WEAK, exposure_errors_count
from deepmr.mr.sensitivity.suite import Sensitivity, examine
from deepmr.report import words
from deepmr.report.content import Plate, Plates, Run
from deepmr.report.funnel import funnel, radial, ratio_density
from deepmr.report.instrument_forests import leave_one_out_forest, single_forest
from deepmr.types import Estimates, Instruments, concat_estimates

LEADS = ("ivw_random", "ivw", "ivw_fixed")
NAMED = 10  # most outliers that a caption names


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """Instruments of one pair at one locus, and what the analyses found of them."""

    instruments: Instruments
    found: Sensitivity


def locus_sensitivity(run: Run, locus: str) -> list[Examined]:
    """Examine the pairs of a run at one locus: those of a population that have instruments and an estimate.

    Parameters
    ----------
    run : what the page shows.
    locus : which one.

    Notes
    -----
    Where the effects come from a model, a locus is one of many: its methods are compared over all of them instead.
    """
    each = [examine_pair(pair, run.local, locus=locus) for pair in run.instruments if pair.estimand == "population"]
    return [one for one in each if one is not None]


def examine_pair(pair: Instruments, local: Estimates, *, locus: str, min_instruments: int = 3) -> Examined | None:
    """Examine one pair of traits at one locus; None where it has several exposures, no instrument or no estimate.

    Parameters
    ----------
    pair : instruments.
    local : estimates that hold those of the pair; skipped methods too.
    locus : which one.
    min_instruments : loci with fewer are skipped.
    """
    if len(pair.exposures) != 1 or locus not in pair.loci:
        return None
    place = np.repeat(np.asarray(pair.loci, dtype=object), pair.counts)
    own, mine = pair.take((place == locus).astype(bool)), _estimates(local, pair, locus)
    methods = list(mine.table["method"])
    first = (*FOR_WEAK, *LEADS) if exposure_errors_count(own) else LEADS
    lead = next((m for m in (*first, *methods) if m in methods and m in METHODS), None)
    if lead is None:
        return None
    level = float(mine.table["level"].iloc[0]) if "level" in mine.table else 0.95
    found = examine(own, _first(mine, lead), lead=lead, min_instruments=min_instruments, level=level)
    return Examined(instruments=own, found=found)


def _estimates(local: Estimates, pair: Instruments, locus: str) -> Estimates:
    table = local.table
    rows = (table["exposure"] == pair.exposure) & (table["outcome"] == pair.outcome) & (table["locus"] == locus)
    return local.take(rows.to_numpy(bool))


def _first(estimates: Estimates, lead: str) -> Estimates:
    """Return the estimates with those of the leading method first, the order in which figures draw them."""
    leads = (estimates.table["method"] == lead).to_numpy(bool)
    return concat_estimates([estimates.take(leads), estimates.take(~leads)])


def sensitivity_plates(examined: Examined, plates: Plates, *, locus: str) -> list[Plate]:
    """Return ratios, funnel, density, leave-one-out and radial plot of the instruments of one locus.

    Parameters
    ----------
    examined : the instruments and what was found.
    plates : numbers the figures of the page.
    locus : which one.
    """
    pair, found = examined.instruments, examined.found
    findings, what = found.findings, f"{pair.exposure} → {pair.outcome}"
    drawn = []
    single, left, far = (findings[name].table for name in ("single", "leave_one_out", "outliers"))
    ratios = single[(single["variant_id"] != "*") & (single["se"] > 0)]
    if len(ratios):
        n = words.count(len(ratios), "instrument")
        drawn.append(
            plates.plate(
                single_forest(findings["single"], locus=locus),
                alt=f"Forest plot of {what}: the ratio of each of {n}, from the smallest to the largest.",
                caption=f"Effect of {pair.exposure} on {pair.outcome} by each of {n} alone.",
                reading=words.READING["single"],
            )
        )
        drawn.append(
            plates.plate(
                funnel(findings["single"], found.estimates, locus=locus),
                alt=f"Funnel plot of {what}: ratios of {n} against precision.",
                caption=f"Funnel of {what}: the ratio of each instrument against its precision.",
                reading=words.READING["funnel"],
            )
        )
        drawn.append(
            plates.plate(
                ratio_density(findings["single"], found.estimates, locus=locus),
                alt=f"Density of the ratios of {n} of {what}, weighted by precision and all alike.",
                caption=f"Where the ratios of {what} gather.",
                reading=words.READING["density"],
            )
        )
    each = left[left["left_out"] != "*"]
    if len(each):
        low, high = words.number(float(each["beta"].min())), words.number(float(each["beta"].max()))
        drawn.append(
            plates.plate(
                leave_one_out_forest(findings["leave_one_out"], locus=locus),
                alt=f"Leave-one-out estimates of {what}: between {low} and {high}.",
                caption=f"Leaving out one instrument of {what}: {words.method_name(found.lead)} stays between {low} "
                f"and {high}.",
                reading=words.READING["leave_one_out"],
            )
        )
    names = far.loc[far["outlier"].astype(bool), "variant_id"].astype(str).drop_duplicates().tolist()
    more = " …" if len(names) > NAMED else ""
    said = f"Outliers: {', '.join(names[:NAMED])}{more}." if names else "No outlier."
    drawn.append(
        plates.plate(
            radial(pair, found.estimates, locus=locus, outliers=findings["outliers"]),
            alt=f"Radial plot of {what}. {said}",
            caption=f"Radial plot of {what}: how far each instrument lies from the line.",
            detail=said,
            reading=words.READING["radial"],
        )
    )
    return drawn
