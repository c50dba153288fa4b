"""Instruments of one or more exposures for an outcome, from what was read of files of GWAS results."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pandas as pd

from deepmr.commands.shared_samples import recorded_error_corr, same_genotypes
from deepmr.errors import InputError
from deepmr.instruments.alleles import Alignment, align_alleles, pair_variants
from deepmr.instruments.clumping import Clumps, clump_by_distance, clump_by_ld, has_position
from deepmr.instruments.gwas import (
    check_evidence,
    estimate_error_corr,
    evidence,
    gwas_instruments,
    is_significant,
)
from deepmr.instruments.ld import add_correlation, ld_matrix
from deepmr.instruments.matching import Match
from deepmr.instruments.strands import Palindromes, is_palindromic
from deepmr.io.ld import read_ld_matrix
from deepmr.io.sumstats import Gwas
from deepmr.types import GenotypePanel, Instruments, SummaryStats

log = logging.getLogger(__name__)

Clumping = Literal["auto", "none", "distance", "ld"]
ErrorCorr = float | Literal["record", "estimate", "none"] | None  # None: recorded, where it is
REACH = {"distance": 1_000.0, "ld": 10_000.0}  # kb
FEW_FOUND = 0.1  # share of candidates at the other file's positions below which genome builds are in doubt
SAMPLED = 1_000_000  # variants from which the correlation of errors is estimated


@dataclass(frozen=True, slots=True, kw_only=True)
class GwasOptions:
    """How instruments are made from GWAS results; the options of `deepmr mr` without an effects file."""

    p_threshold: float = 5e-8
    min_f: float = 0.0
    clump: Clumping = "auto"
    kb: float | None = None
    r2: float = 0.001
    panel: Path | None = None
    correlation: Literal["panel"] | Path | None = None  # in the order of `mr`: typing keeps one of equal unions
    palindromes: Palindromes = "infer"
    tolerance: float = 0.08
    match: Match = "auto"
    error_corr: ErrorCorr = None
    multivariable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Instruments of one question, what was dropped on the way, and how many were left after each step."""

    instruments: Instruments
    dropped: pd.DataFrame
    counts: dict[str, object]


def prepare_all(
    questions: Sequence[tuple[list[Gwas], Gwas]], gwas: GwasOptions, panel: GenotypePanel | None
) -> tuple[list[Prepared], pd.DataFrame]:
    """Make the instruments of every question; list those that have none with the reason, unless none has any.

    Parameters
    ----------
    questions : exposures, several for a multivariable method, and an outcome.
    gwas, panel : see `prepare`.

    Returns
    -------
    tuple
        Those that could be made, and exposure, outcome and reason of the others.

    Raises
    ------
    InputError
        Of the first question, when none has instruments.
    """
    made: list[Prepared] = []
    failed: list[tuple[str, str, str]] = []
    errors: list[InputError] = []
    for group, effect in questions:
        try:
            made.append(prepare(group, effect, gwas=gwas, panel=panel))
        except InputError as error:
            errors.append(error)
            failed += [(one.trait, effect.trait, str(error)) for one in group]
    if errors and not made:
        raise errors[0]
    for exposure, outcome, reason in failed:
        log.warning("%s and %s are left out: %s", exposure, outcome, reason)
    return made, pd.DataFrame(failed, columns=["exposure", "outcome", "reason"])


def prepare(
    exposures: Sequence[Gwas], outcome: Gwas, *, gwas: GwasOptions, panel: GenotypePanel | None = None
) -> Prepared:
    """Make the instruments of one or more exposures for an outcome, with a reason for each candidate that is lost.

    Parameters
    ----------
    exposures : several for a multivariable method.
    outcome : what they may cause.
    gwas : how.
    panel : genotypes, for linkage disequilibrium.

    Notes
    -----
    Candidates are the variants significant for the exposure (for one of several, among those that all have). They are
    aligned with the outcome before they are clumped, so that a locus whose strongest variant the outcome lacks is kept
    by its next one. Where all effects come from the same genotypes there is no strand to infer, and palindromes stay.
    """
    names = [one.trait for one in exposures]
    if gwas.palindromes == "infer" and same_genotypes((*exposures, outcome)):
        gwas = replace(gwas, palindromes="keep")
    lost: list[pd.DataFrame] = []
    stats = exposures[0].stats
    counts: dict[str, object] = {"exposure": "+".join(names), "outcome": outcome.trait, "read": len(stats.variants)}
    doubts: list[str] = []
    if len(exposures) == 1:
        stats = _significant(stats, exposures, gwas, counts)
    for other in exposures[1:]:
        aligned = _aligned(stats, other, gwas)
        lost.extend(_lost_candidates(exposures, stats, other, aligned, gwas))
        doubts.append(aligned.doubt)
        stats = aligned.stats
    if len(exposures) > 1:
        stats = _significant(stats, exposures, gwas, counts)
    aligned = _aligned(stats, outcome, gwas)
    lost.append(_told_why(aligned.dropped.assign(file=outcome.trait), [outcome]))
    if aligned.matched_by == "position" and len(aligned.stats.variants) < FEW_FOUND * len(stats.variants):
        log.warning(
            "%s and %s share no names, and only %d of %d variants are at the same positions: of one genome build?",
            "+".join(names), outcome.trait, len(aligned.stats.variants), len(stats.variants),
        )  # fmt: skip
    stats = aligned.stats
    counts["doubts"] = doubts = [doubt for doubt in (*doubts, aligned.doubt) if doubt]
    for doubt in doubts:
        log.warning("%s", doubt)
    counts |= {"in_outcome": aligned.counts["kept"], "matched_by": aligned.matched_by}
    counts |= {"swapped": aligned.counts["swapped"], "other_strand": aligned.counts["other_strand"]}
    counts["palindromic"] = int(is_palindromic(stats.variants).sum())
    how = _clumping(stats, gwas, panel)
    clumps = _clump(stats, names, how, gwas, panel)
    counts["clumped_by"] = how
    if clumps is not None:
        lost.append(clumps.dropped.assign(file="+".join(names)))
        stats = stats.take(clumps.kept)
    error_corr, source = _error_corr(exposures, outcome, gwas)
    counts |= {"error_corr": None if error_corr is None else error_corr.tolist(), "error_corr_from": source}
    instruments = gwas_instruments(stats, exposures=names, outcome=outcome.trait, error_corr=error_corr)
    if gwas.correlation == "panel" and panel is not None:
        ld, absent = ld_matrix(panel, instruments.variants, match=gwas.match, palindromes=gwas.palindromes)
        known = np.isin(instruments.variants["variant_id"].to_numpy(object), ld.variants["variant_id"].to_numpy(object))
        lost.append(absent.assign(file="LD panel"))
        instruments = add_correlation(instruments.take(known), ld)
    elif gwas.correlation is not None:
        instruments = add_correlation(instruments, read_ld_matrix(Path(gwas.correlation)))
    f = (instruments.beta_exposure / instruments.se_exposure) ** 2
    counts |= {"instruments": len(instruments.variants), "mean_f": float(f.mean()) if f.size else 0.0}
    dropped = pd.concat(lost, ignore_index=True).assign(exposure="+".join(names), outcome=outcome.trait)
    return Prepared(instruments=instruments, dropped=dropped, counts=counts)


def _significant(
    stats: SummaryStats, files: Sequence[Gwas], gwas: GwasOptions, counts: dict[str, object]
) -> SummaryStats:
    exposures = [one.trait for one in files]
    rows = is_significant(stats, exposures=exposures, p_threshold=gwas.p_threshold, min_f=gwas.min_f)
    counts["significant"] = int(rows.sum())
    if not rows.any():
        names = ("pvalue", "neg_log10_pvalue")
        columns = dict.fromkeys(repr(one.columns[name]) for one in files for name in names if name in one.columns)
        raise InputError(
            f"no variant is significant for {'+'.join(exposures)}: none of {len(rows)} has {significance(gwas)}"
            + (f"; P values were read from {' and '.join(columns)}" if columns else "")
        )
    stats = stats.take(rows)
    for trait in exposures:
        check_evidence(stats, trait, p_threshold=gwas.p_threshold)
    return stats


def significance(gwas: GwasOptions) -> str:
    """Return in words what an instrument must have."""
    return f"P below {gwas.p_threshold:g}" + (f" and F of at least {gwas.min_f:g}" if gwas.min_f else "")


def _aligned(stats: SummaryStats, other: Gwas, gwas: GwasOptions) -> Alignment:
    return align_alleles(
        stats, other.stats, palindromes=gwas.palindromes, tolerance=gwas.tolerance, match=gwas.match, other=other.trait
    )


def _told_why(lost: pd.DataFrame, files: Sequence[Gwas]) -> pd.DataFrame:
    """Give variants that are in a file, but could not be used when it was read, that reason for their absence."""
    unread = pd.concat([one.dropped for one in files])
    why = dict(zip(unread["variant_id"], unread["reason"], strict=True))
    reasons = [
        f"in the file, but {why[name]}" if reason.startswith("not in ") and name in why else reason
        for name, reason in zip(lost["variant_id"], lost["reason"], strict=True)
    ]
    return lost.assign(reason=pd.Series(reasons, index=lost.index, dtype=object))


def _lost_candidates(
    exposures: Sequence[Gwas], stats: SummaryStats, other: Gwas, aligned: Alignment, gwas: GwasOptions
) -> list[pd.DataFrame]:
    """List the variants significant for one of two groups of exposures that the other group lacks or has otherwise."""
    limits = {"p_threshold": gwas.p_threshold, "min_f": gwas.min_f}
    strong = is_significant(stats, exposures=stats.traits, **limits)
    mine = aligned.dropped["variant_id"].isin(stats.variants["variant_id"][strong])
    found = [_told_why(aligned.dropped[mine].assign(file=other.trait), [other])]
    theirs = other.stats.variants[is_significant(other.stats, exposures=other.stats.traits, **limits)]
    whole = "+".join(stats.traits)
    if len(theirs):
        here, by = theirs.reset_index(drop=True), cast(Match, aligned.matched_by)
        try:
            lost = pair_variants(
                here, stats.variants, palindromes=gwas.palindromes, tolerance=gwas.tolerance, match=by,
                names=(other.trait, whole),
            ).dropped  # fmt: skip
        except InputError:  # not one of them is there
            lost = pd.DataFrame({"variant_id": here["variant_id"], "reason": f"not in {whole}", "detail": ""})
        before = [one for one in exposures if one.trait in stats.traits]
        found.append(_told_why(lost.assign(file=whole), before))
    return found


def _clumping(stats: SummaryStats, gwas: GwasOptions, panel: GenotypePanel | None) -> Clumping:
    """Return how clumps are made: what was asked for, or what can be done."""
    if gwas.clump != "auto":
        return gwas.clump
    if panel is not None:
        return "ld"
    if has_position(stats.variants).any():
        return "distance"
    if len(stats.variants):
        log.warning("not clumped: there is no panel and positions are unknown; instruments must be independent")
    return "none"


def _clump(
    stats: SummaryStats, exposures: Sequence[str], how: Clumping, gwas: GwasOptions, panel: GenotypePanel | None
) -> Clumps | None:
    if how == "none" or not len(stats.variants):
        return None
    strength = np.max([evidence(stats, trait) for trait in exposures], axis=0)
    reach = REACH[how] if gwas.kb is None else gwas.kb
    if how == "distance":
        return clump_by_distance(stats.variants, strength, kb=reach)
    assert panel is not None
    return clump_by_ld(stats.variants, strength, panel, r2=gwas.r2, kb=reach, match=gwas.match)


def _error_corr(exposures: Sequence[Gwas], outcome: Gwas, gwas: GwasOptions) -> tuple[np.ndarray | None, str]:
    """Return the correlation of errors, exposures first: given, recorded, estimated from null variants, or none."""
    if gwas.error_corr is None or gwas.error_corr == "record":
        recorded = recorded_error_corr((*exposures, outcome))
        if recorded is None and gwas.error_corr == "record":
            names = ", ".join(str(one.path) for one in (*exposures, outcome))
            raise InputError(
                f"--error-corr record needs tables of one run of deepmr lmm with their records; got {names}"
            )
        if recorded is not None or not same_genotypes((*exposures, outcome)):
            return recorded, "none" if recorded is None else "record"
        # Traits of the same genotypes have samples in common, even where the record could not say what follows of it.
        try:
            found = _estimated(exposures, outcome, gwas)
        except InputError as error:
            log.warning("samples in common are not allowed for: %s", error)
            return None, "none"
        log.warning(
            "the records of %s and %s have no correlation of errors, as samples in common make it; it was estimated "
            "from variants without effect: %s",
            "+".join(one.trait for one in exposures), outcome.trait, np.round(found[0, 1:], 3).tolist(),
        )  # fmt: skip
        return found, "estimate"
    if gwas.error_corr == "none":
        return None, "none"
    if gwas.error_corr != "estimate":
        if len(exposures) > 1:
            raise InputError("--error-corr RHO is for one exposure; with several, use --error-corr estimate or record")
        if not -1 < gwas.error_corr < 1:
            raise InputError(f"error_corr must be between -1 and 1; got {gwas.error_corr:g}")
        return np.array([[1.0, gwas.error_corr], [gwas.error_corr, 1.0]]), "given"
    return _estimated(exposures, outcome, gwas), "estimate"


def _estimated(exposures: Sequence[Gwas], outcome: Gwas, gwas: GwasOptions) -> np.ndarray:
    """Return the correlation of errors as variants without effect have it, of a sample of all variants."""
    stats = exposures[0].stats
    rows = np.zeros(len(stats.variants), dtype=bool)
    rows[np.unique(np.linspace(0, len(rows) - 1, min(SAMPLED, len(rows))).astype(int))] = True
    stats = stats.take(rows)
    for other in (*exposures[1:], outcome):
        stats = _aligned(stats, other, gwas).stats
    found = estimate_error_corr(stats)
    log.info("correlation of errors from %d variants: %s", found.n_variants, np.round(found.matrix, 3).tolist())
    return found.matrix
