"""What `deepmr lmm` says of a scan: in the record beside its table, on its page, and on the screen."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from deepmr.commands.lmm_files import Outputs, trait_record
from deepmr.report.association import AssociationRun, ScannedTrait

FORMAT = "deepmr-associations"  # of the record
TESTS = {"f": "F test", "wald": "Wald test", "lrt": "likelihood-ratio test", "score": "score test"}


def recorded_numbers(
    traits: Sequence[ScannedTrait],
    *,
    loco: bool,
    relationship: str,
    samples: int,
    counts: Mapping[str, int],
    covariates: Sequence[str],
    notes: Sequence[str],
    complete: bool = True,
) -> dict[str, Any]:
    """Return what is recorded beside options and checksums.

    Parameters
    ----------
    traits : as scanned.
    loco : whether each chromosome was tested with a matrix made without it.
    relationship : what the matrix was made of.
    samples : with any trait.
    counts : of samples.
    covariates : names.
    notes : what is odd, a sentence each.
    complete : whether these are all variants, not a shard of them.
    """
    return {
        "format": FORMAT,
        "loco": loco,
        "relationship": relationship,
        "samples": samples,
        "counts": dict(counts),
        "covariates": list(covariates),
        "traits": [trait_record(one, complete=complete) for one in traits],
        "notes": list(notes),
    }


def sentences(covariates: Sequence[str], options: Mapping[str, Any], source: str) -> tuple[str, ...]:
    """Say what was fitted.

    Parameters
    ----------
    covariates : names.
    options : of `deepmr lmm`.
    source : what the matrix was made of.
    """
    fixed = f" Covariates: {', '.join(covariates)}." if covariates else ""
    ratio = "of the model without variants" if options["gamma"] == "null" else "estimated anew for every variant"
    loco = " Each chromosome was tested with a matrix made without it." if options["loco"] else ""
    trait = (
        " Traits are in standard deviations." if options["standardise_trait"]
        else " Traits are normal quantiles of their ranks." if options["inverse_normal"] else ""
    )  # fmt: skip
    return (
        f"Linear mixed model, {TESTS[options['test']]}, ratio of variances {ratio}. Relationship matrix: {source}."
        f"{loco}{fixed}{trait}",
    )


def lost_samples(counts: Mapping[str, int]) -> dict[str, int]:
    """Return samples that are in no analysis, by the reason.

    Parameters
    ----------
    counts : of samples, as read.
    """
    return {reason.replace("_", " "): n for reason, n in counts.items() if reason not in ("genotyped", "used")}


def doubts(traits: Sequence[ScannedTrait], options: Mapping[str, Any]) -> list[str]:
    """Return what a reader should know before believing the table.

    Parameters
    ----------
    traits : as scanned.
    options : of `deepmr lmm`.
    """
    said = []
    for trait in traits:
        every = [one for one in (trait.whole, *trait.left_out.values()) if one is not None]
        for side, what in (("lower", "0"), ("upper", "1")):
            at = [chrom for chrom, one in trait.left_out.items() if one is not None and one.boundary == side]
            where = f" without chromosome {', '.join(at)}" if at else ""
            if any(one.boundary == side for one in every):
                how = "ordinary least squares" if side == "lower" and options["on_boundary"] == "ols" else "that bound"
                said.append(
                    f"{trait.name}: heritability is at its bound, {what}{where}; its variants were tested at {how}."
                )
        if not trait.spread.n and trait.statuses:
            said.append(f"{trait.name}: no variant could be tested; the column status says why.")
    return said


def summary_of(run: AssociationRun, outputs: Outputs, *, complete: bool = True) -> dict[str, object]:
    """Return what is shown at the end.

    Parameters
    ----------
    run : what was found.
    outputs : where it is.
    complete : whether these are all variants, not a shard of them.
    """
    rows = []
    for trait in run.traits:
        whole = trait.whole
        rows.append(
            {
                "trait": trait.name,
                "n": trait.n,
                "h2": whole.h_sq if whole else "",
                "se_h2": whole.se if whole and math.isfinite(whole.se) else "",  # none at a bound
                "h2_raw": whole.raw if whole else "",
                **({"lambda_gc": trait.spread.inflation()} if complete else {}),
                "tested": trait.spread.n,
                "hits": trait.n_hits,
                **({"loci": len(trait.leads)} if complete else {}),
            }
        )
    statuses = [
        {"trait": trait.name, "status": status, "variants": n}
        for trait in run.traits
        for status, n in trait.statuses.items()
    ]
    files = {"figures": [str(p) for pair in outputs.drawn.values() for p in pair]} if outputs.drawn else {}
    report = {} if outputs.page is None else {"report": str(outputs.page)}
    return {
        "notes": list(run.notes),
        "traits": rows,
        "variants": statuses,
        "left_out": [{"samples": n, "reason": reason} for reason, n in run.lost.items() if n],
        "associations": [str(path) for path in outputs.tables()],
        **files,
        **report,
    }
