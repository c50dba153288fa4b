"""`deepmr sensitivity`: from a table of instruments to tables, figures and sentences on what an effect rests on."""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepmr import checks
from deepmr.errors import InputError, TooFewInstruments
from deepmr.io.directories import atomic_directory, check_directory
from deepmr.io.instruments import read_instruments
from deepmr.io.provenance import provenance
from deepmr.io.tables import write_estimates, write_table
from deepmr.meta import pool_estimates
from deepmr.mr import METHODS
from deepmr.mr.sensitivity import Sensitivity, check_sensitivity, compare_directions
from deepmr.mr.sensitivity.explained import r_from_log_odds
from deepmr.mr.sensitivity.findings import Findings, stack
from deepmr.report.funnel import funnel, radial, ratio_density
from deepmr.report.instrument_forests import leave_one_out_forest, single_forest
from deepmr.report.locus_forest import locus_forest
from deepmr.report.scatter import mr_scatter
from deepmr.report.style import DPI
from deepmr.types import Estimates, Instruments, concat_estimates

log = logging.getLogger(__name__)

MARKER = "sensitivity.json"


def sensitivity(
    instruments: Path,
    *,
    out: Path,
    method: list[str] | None = None,
    min_instruments: int = 3,
    level: float = 0.95,
    cases: float | None = None,
    controls: float | None = None,
    prevalence: float | None = None,
    locus: list[str] | None = None,
    n_loci: int = 1,
    figures: Literal["png", "svg", "pdf", "none"] = "png",
    overwrite: bool = False,
) -> dict[str, object]:
    """Check what an effect rests on, and say in words what methods agree on.

    Runs several estimators, heterogeneity and intercept tests, leave-one-out, single instruments, outliers, the
    direction by Steiger's test where sample sizes are known, and both directions where the table has them. Writes a
    folder: a table of each, figures, and verdict.txt.

    Parameters
    ----------
    instruments
        Table of instruments, as deepmr mr --save-instruments writes it.
    out
        Folder to make.
    method
        Estimators, the leading one first; default a sensible set.
    min_instruments
        Fewest instruments that a locus needs.
    level
        Level of the confidence intervals.
    cases
        Cases in the outcome's sample, for a binary outcome in log odds; needs controls, prevalence and a column eaf.
    controls
        Controls in that sample.
    prevalence
        Share of the population that has the outcome.
    locus
        Loci to draw; default those with the most instruments.
    n_loci
        How many to draw when none is named.
    figures
        Format of the figures, or none.
    overwrite
        Replace a folder that this command made.

    Returns
    -------
    dict
        What the analyses say, sentence by sentence, and the folder.

    Raises
    ------
    InputError
        For a table, method or option that cannot be used.
    TooFewInstruments
        When no locus has an estimate; the folder is written all the same.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    for name in method or ():
        checks.one_of("method", name, METHODS)
    checks.unique("method", method or ())
    checks.at_least("min_instruments", min_instruments, 1)
    checks.at_least("n_loci", n_loci, 0)
    checks.level(level)
    binary = (cases, controls, prevalence)
    if any(value is not None for value in binary) and not all(value is not None for value in binary):
        raise InputError("a binary outcome needs all of --cases, --controls and --prevalence")
    check_directory(out, marker=MARKER, overwrite=overwrite)
    pairs = read_instruments(instruments)
    for name in locus or ():
        if not any(name in pair.loci for pair in pairs):
            raise InputError(f"{instruments}: there is no locus {name!r}")
    results = [
        check_sensitivity(
            pair,
            methods=method,
            min_instruments=min_instruments,
            level=level,
            r_outcome=_liability(pair, cases, controls, prevalence),
        )
        for pair in pairs
    ]
    said = list(_said(pairs, results, method, min_instruments, level))
    record = provenance("sensitivity", options=options, inputs={"instruments": instruments})
    with atomic_directory(out) as folder:
        estimates = _write_tables(results, folder, record)
        (folder / "verdict.txt").write_text("\n".join(said) + "\n", encoding="utf-8")
        n_figures = 0
        if figures != "none":
            n_figures = _write_figures(pairs, results, folder, chosen=locus, n_loci=n_loci, suffix=figures)
    if not len(estimates):
        raise TooFewInstruments(f"no locus of {instruments} has an estimate; {out}/estimates.skipped.tsv says why")
    return {"verdict": said, "figures": n_figures, "folder": str(out)}


def _liability(
    pair: Instruments, cases: float | None, controls: float | None, prevalence: float | None
) -> np.ndarray | None:
    """Return the instruments' correlation with the liability to a binary outcome, where it is one."""
    if cases is None or controls is None or prevalence is None:
        return None
    if "eaf" not in pair.variants or pair.variants["eaf"].isna().any():
        raise InputError("a binary outcome needs the frequency of every effect allele: a column eaf without gaps")
    n = len(pair.variants)
    return r_from_log_odds(
        pair.beta_outcome.astype(float),
        pair.variants["eaf"].to_numpy(float),
        n_cases=np.full(n, float(cases)),
        n_controls=np.full(n, float(controls)),
        prevalence=prevalence,
    )


def _said(
    pairs: Sequence[Instruments],
    results: Sequence[Sensitivity],
    methods: Sequence[str] | None,
    least: int,
    level: float,
) -> Iterator[str]:
    """Yield the sentences of every pair, with its name where there are several, then of both directions."""
    for pair, result in zip(pairs, results, strict=True):
        head = f"{pair.exposure} → {pair.outcome}: " if len(pairs) > 1 else ""
        yield from (head + sentence for sentence in result.sentences)
    for (one, result), (other, _) in combinations(list(zip(pairs, results, strict=True)), 2):
        if (one.exposure, one.outcome) == (other.outcome, other.exposure):
            run = list(methods or dict.fromkeys([result.lead, "egger"]))
            both = compare_directions(one, other, methods=run, min_instruments=least, level=level)
            yield from (f"{one.exposure} ⇄ {one.outcome}: {sentence}" for sentence in both.sentences)


def _write_tables(results: Sequence[Sensitivity], folder: Path, record: dict[str, object]) -> Estimates:
    estimates = concat_estimates([result.estimates for result in results])
    write_estimates(estimates, folder / "estimates.tsv", provenance=record)
    gone = []
    for name in results[0].findings:
        found: Findings = stack([result.findings[name] for result in results])
        write_table(found.table, folder / f"{name}.tsv")
        gone.append(found.skipped)
    write_table(pd.concat(gone, ignore_index=True), folder / "skipped.tsv")
    (folder / MARKER).write_text(json.dumps(record, indent=2) + "\n")
    return estimates


def _write_figures(
    pairs: Sequence[Instruments],
    results: Sequence[Sensitivity],
    folder: Path,
    *,
    chosen: Sequence[str] | None,
    n_loci: int,
    suffix: str,
) -> int:
    place = folder / "figures"
    place.mkdir()
    written = 0
    for number, (pair, result) in enumerate(zip(pairs, results, strict=True), 1):
        for name, figure in _figures(pair, result, chosen, n_loci):
            head = f"{number}_" if len(pairs) > 1 else ""
            figure.savefig(place / f"{head}{_file_name(name)}.{suffix}", format=suffix, dpi=DPI)
            written += 1
    return written


def _figures(
    pair: Instruments, result: Sensitivity, chosen: Sequence[str] | None, n_loci: int
) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a pair with their names; those that have nothing to show are left out."""
    table, findings, lead = result.estimates.table, result.findings, result.lead
    mine = result.estimates.take((table["method"] == lead).to_numpy(bool))
    if len(mine) > 1:
        pooled = pool_estimates(mine)
        yield (
            f"loci_{pair.exposure}_{pair.outcome}",
            locus_forest(mine, pooled, exposure=pair.exposure, outcome=pair.outcome, method=lead),
        )
    ratios, left = findings["single"].table, findings["leave_one_out"].table
    alone = set(ratios.loc[(ratios["variant_id"] != "*") & (ratios["se"] > 0), "locus"])
    without = set(left.loc[left["left_out"] != "*", "locus"])
    for locus in _drawn(pair, chosen, n_loci):
        name = f"{pair.exposure}_{pair.outcome}" + (f"_{locus}" if len(pair.loci) > 1 else "")
        yield f"scatter_{name}", mr_scatter([pair], result.estimates, locus=locus)
        yield f"radial_{name}", radial(pair, result.estimates, locus=locus, outliers=findings.get("outliers"))
        if locus in alone:
            yield f"single_{name}", single_forest(findings["single"], locus=locus)
            yield f"funnel_{name}", funnel(findings["single"], result.estimates, locus=locus)
            yield f"density_{name}", ratio_density(findings["single"], result.estimates, locus=locus)
        if locus in without:
            yield f"leave_one_out_{name}", leave_one_out_forest(findings["leave_one_out"], locus=locus)


def _drawn(pair: Instruments, chosen: Sequence[str] | None, n_loci: int) -> list[str]:
    """Return the loci to draw: those named, or those with the most instruments."""
    if chosen:
        return [name for name in dict.fromkeys(chosen) if name in pair.loci]
    order = np.argsort(-pair.counts, kind="stable")[:n_loci]
    return [pair.loci[i] for i in order if pair.counts[i] > 0]


def _file_name(name: str) -> str:
    """Return a name without what a file name may not hold."""
    return re.sub(r"[^\w.+-]+", "-", name)[:120]
