"""`deepmr network`: from total effects between all tasks to direct ones, as a table and a graph."""

import json
from pathlib import Path
from typing import Literal

import numpy as np

from deepmr import checks
from deepmr.commands.meta_parts import check_figure
from deepmr.commands.record import record_beside, recorded_assignment, recorded_warnings, unassigned
from deepmr.errors import InputError
from deepmr.io.files import atomic_path, check_writable
from deepmr.io.provenance import provenance
from deepmr.io.tables import read_estimates, skipped_path, write_table
from deepmr.meta import pool_estimates
from deepmr.mr.network import Adjustment, Estimator, Network, Uncertainty, find_direct_effects
from deepmr.mr.network_totals import common_loci, locus_correlation
from deepmr.report import words
from deepmr.report.network import network_figure, say_edges, say_two
from deepmr.report.style import DPI
from deepmr.types import Estimand, Estimates

SHOWN = ("exposure", "outcome", "edge", "total", "direct", "direct_ci_low", "direct_ci_high", "direct_fdr", "n")
FEWEST = 3  # loci that a mean over common loci needs
UNEVEN = 1.25  # times the loci of one pair that another may have before a warning


def network(
    estimates: Path,
    *,
    out: Path,
    method: str | None = None,
    estimand: Estimand | None = None,
    estimator: Estimator = "exact",
    uncertainty: Uncertainty = "delta",
    loci: Literal["common", "own"] = "common",
    weights: Literal["equal", "inverse_variance"] = "equal",
    fdr: float = 0.05,
    adjust: Adjustment = "bh",
    n_draws: int = 500,
    save_figure: Path | None = None,
    level: float = 0.95,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, object]:
    """Tell direct effects between tasks from those that pass through other tasks.

    Writes a row a pair with its total, direct and mediated effect, tasks and pairs without a place and why
    (`.skipped.tsv`), and a graph. Total effects should be made with deepmr mr --assign most: where one edit moves two
    tasks, it is an instrument of the one that it belongs to, or both directions look like effects.

    Parameters
    ----------
    estimates
        Effects of all ordered pairs: of loci (deepmr mr), which are pooled here and whose joint scatter counts, or
        pooled ones (deepmr meta).
    out
        Table to write (TSV).
    method
        Method whose effects are used; default ivw, or the table's first.
    estimand
        Estimand whose effects are used, where the table has several; default model.
    estimator
        Invert the matrix of total effects (exact), or find few direct effects that explain it (sparse, for many tasks).
    uncertainty
        Of the exact network: delta method, or draws from the joint distribution of the total effects.
    loci
        Pool the loci at which every pair has an estimate, or of each pair its own: means over different loci differ for
        other reasons than paths.
    weights
        Of the loci in each mean; inverse variances differ between pairs, equal weights do not.
    fdr
        False discovery rate up to which an effect is an edge.
    adjust
        Benjamini and Hochberg, or Benjamini and Yekutieli, for any dependence between pairs.
    n_draws
        Number of draws.
    save_figure
        Graph (PNG, SVG or PDF by its ending).
    level
        Level of the intervals.
    seed
        Of the draws.
    overwrite
        Replace results that are there.

    Returns
    -------
    dict
        A warning where edits were not assigned to tasks; every pair with its effects; what the network says, in words;
        files.

    Raises
    ------
    InputError
        When the table has no such effects, or they make no network.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    checks.level(level)
    if not 0 < fdr < 1:
        raise InputError(f"fdr must be between 0 and 1; got {fdr:g}")
    if save_figure is not None:
        check_figure(save_figure)
    for path in (out, save_figure):
        if path is not None:
            check_writable(path, overwrite=overwrite)
    given = _of_one(read_estimates(estimates), estimates, method, estimand)
    pooled, correlation, said = _pooled(given, loci=loci, weights=weights, level=level, path=estimates)
    found = find_direct_effects(
        pooled,
        estimator=estimator,
        uncertainty=uncertainty,
        correlation=correlation,
        fdr=fdr,
        adjust=adjust,
        n_draws=n_draws,
        level=level,
        seed=seed,
    )
    figure = None if save_figure is None else network_figure(found.table, tasks=found.tasks)
    made = record_beside(estimates)
    warnings = unassigned(made)
    record = recorded_warnings(warnings) | provenance("network", options=options, inputs={"estimates": estimates})
    record |= recorded_assignment(made)
    with atomic_path(out.with_name(out.name + ".json")) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
        write_table(found.skipped, skipped_path(out))
        write_table(found.table, out)
    if figure is not None and save_figure is not None:
        with atomic_path(save_figure) as temporary:
            figure.savefig(temporary, format=save_figure.suffix[1:].lower(), dpi=DPI)
    written = {} if save_figure is None else {"figure": str(save_figure)}
    first = {"warnings": list(warnings.values())} if warnings else {}
    return {
        **first,
        "effects": found.table[list(SHOWN)].to_dict(orient="records"),
        "skipped": found.skipped.to_dict(orient="records"),
        "findings": [*said, *say_network(found, fdr=fdr, assigned=not warnings)],
        "estimand": str(found.table["estimand"].iloc[0]),
        "method": str(found.table["method"].iloc[0]),
        "network": str(out),
        **written,
    }


def say_network(found: Network, *, fdr: float, assigned: bool = True) -> list[str]:
    """Say what a network shows, in sentences.

    Parameters
    ----------
    found
        The network.
    fdr
        False discovery rate of its edges.
    assigned
        Whether each edit served one task only, as far as is known: without this, effects in both directions are no
        sign of feedback.
    """
    said = say_edges(found.table)
    if not said:
        said.append(f"No pair has an effect at a false discovery rate of {words.percent(fdr)}.")
    said.extend(say_two(found.table))
    for loop in found.loops:
        if assigned:
            said.append(f"Feedback: {', '.join(loop)} act on each other.")
        else:
            said.append(
                f"Between {', '.join(loop[:-1])} and {loop[-1]} both directions come out, as they do wherever sites of "
                "one mark move the other too; this is no sign of feedback: run deepmr mr --assign most."
            )
    if not found.settles:
        said.append(
            f"The direct effects do not settle: their spectral radius is {words.number(found.spectral_radius)}, and "
            "effects that run in circles grow. Total effects in both directions are then most often those of the same "
            "edits: use deepmr mr --assign most."
        )
    return said


def _of_one(given: Estimates, path: Path, method: str | None, estimand: Estimand | None) -> Estimates:
    """Return the rows of one method and estimand."""
    if not len(given):
        raise InputError(f"{path}: holds no estimates")
    table = given.table
    methods = list(dict.fromkeys(table["method"]))
    chosen = method or next((name for name in words.LEADING if name in methods), methods[0])
    if chosen.startswith("mv_"):
        raise InputError(f"{path}: {chosen} gives direct effects; a network is made from total ones")
    checks.one_of("method", chosen, methods)
    of_method = table["method"] == chosen
    estimands = list(dict.fromkeys(table.loc[of_method, "estimand"]))
    which = estimand or ("model" if "model" in estimands else estimands[0])
    checks.one_of("estimand", which, estimands)
    return given.take((of_method & (table["estimand"] == which)).to_numpy())


def _pooled(
    given: Estimates,
    *,
    loci: Literal["common", "own"],
    weights: Literal["equal", "inverse_variance"],
    level: float,
    path: Path,
) -> tuple[Estimates, np.ndarray | None, list[str]]:
    """Return one row a pair, the correlation that loci in common make, and what there is to say of the loci."""
    table = given.table
    pairs = table[["exposure", "outcome"]].drop_duplicates()
    if len(table) == len(pairs):  # pooled, or of one locus
        counts = table["n"].to_numpy(float)
        said = []
        if (table["locus"] == "*").all() and counts.max() > UNEVEN * counts.min():
            said.append(
                f"Pairs rest on {words.number(counts.min())} to {words.number(counts.max())} loci: means over "
                "different loci differ for other reasons than paths. The table of deepmr mr has the common loci."
            )
        return given, None, said
    if (table["locus"] == "*").any():
        raise InputError(f"{path}: has pooled effects and those of loci; needed one or the other")
    kept = common_loci(given) if loci == "common" else given
    n = kept.table["locus"].nunique() if len(kept) else 0
    if n < FEWEST:
        raise InputError(
            f"{path}: {n} of {table['locus'].nunique()} loci have an effect of every pair; needed {FEWEST}. Pool those "
            "of each pair with --loci own, or leave tasks out"
        )
    pooled = pool_estimates(kept, weights=weights, level=level)
    total = table["locus"].nunique()
    said = [f"{words.count(n, 'locus')} of {total} with an effect of every pair."] if loci == "common" else []
    return pooled, locus_correlation(kept, pooled), said
