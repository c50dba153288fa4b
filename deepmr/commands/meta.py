"""`deepmr meta`: effects of all loci pooled, a row per pair and method."""

from pathlib import Path
from typing import Any, Literal

from deepmr import checks
from deepmr.commands import meta_parts
from deepmr.commands.record import record_beside, recorded_assignment, recorded_warnings, warnings_beside
from deepmr.errors import InputError
from deepmr.io.files import check_writable
from deepmr.io.provenance import provenance
from deepmr.io.tables import read_estimates, write_estimates
from deepmr.meta import Interval, Prediction, Tau2, Weighting, control_discoveries, pool_estimates, pool_robust
from deepmr.meta.kernel import chosen_prediction, chosen_weights

SHOWN = (
    "exposure",
    "outcome",
    "method",
    "estimand",
    "n",
    "beta",
    "ci_low",
    "ci_high",
    "pi_low",
    "pi_high",
    "tau2",
    "i2",
    "fdr",
)


def meta(
    estimates: Path,
    *,
    out: Path,
    model: Literal["normal", "t"] = "normal",
    tau2: Tau2 = "REML",
    ci: Interval = "HK",
    weights: Weighting = "auto",
    prediction: Prediction = "auto",
    by: str | None = None,
    moderators: list[str] | None = None,
    loci_table: Path | None = None,
    asymmetry: bool = False,
    save_leave_one_out: Path | None = None,
    save_figure: Path | None = None,
    adjust: Literal["bh", "by"] = "bh",
    level: float = 0.95,
    overwrite: bool = False,
) -> dict[str, object]:
    """Pool the effects of all loci by random-effects meta-analysis.

    ci_low and ci_high bound the mean over loci; pi_low and pi_high bound the effect at a new locus. Subgroups,
    moderators and tests of asymmetry get tables beside the one of the pooled effects, named after it.

    Parameters
    ----------
    estimates
        Table of deepmr mr, or any table with the columns locus, beta and se; exposure, outcome and method part it into
        sets that are pooled by themselves.
    out
        Table to write (TSV).
    model
        How effects scatter over loci: normal, or a t distribution, in which outlying loci weigh less; its tails are
        estimated, and tau2, ci, weights and prediction do not apply.
    tau2
        Estimator of the variance between loci: restricted maximum likelihood, DerSimonian-Laird, Paule-Mandel, maximum
        likelihood, Hedges, Hunter-Schmidt, Sidik-Jonkman and more; EE: equal effects.
    ci
        Interval of the mean: Hartung-Knapp (HK_adhoc: never shorter than normal) or normal.
    weights
        Equal: the plain mean over loci; inverse variance; auto: equal for effects of an ensemble, where larger effects
        are less certain and inverse variances would favour the small ones, inverse variance for a population.
    prediction
        Prediction interval of the effect at a new locus: ensemble (scatter plus mean local error), t with k - 2 (HTS)
        or k - 1 (V) degrees of freedom, or Hartung-Knapp's; auto: ensemble for effects of one, else HTS.
    by
        Column of the table of loci whose values are subgroups: each is pooled by itself, and their means are compared.
        Writes <out>.subgroups.tsv and <out>.differences.tsv.
    moderators
        Columns of the table of loci, numbers, that effects are regressed on together. Writes <out>.regression.tsv, a
        row a coefficient, and <out>.models.tsv.
    loci_table
        Table with a column locus and those that by and moderators name (TSV).
    asymmetry
        Test whether effects go with their standard errors, by ranks and by regression, and trim and fill. Writes
        <out>.asymmetry.tsv.
    save_leave_one_out
        Table of the same means without one locus each; its locus column names the locus left out (model normal).
    save_figure
        Forest of the loci with their mean and prediction interval (PNG, SVG or PDF by its ending); several pairs or
        methods get a file each, with their names added.
    adjust
        How P values of the pairs that one method has effects of are adjusted for their number, in the column fdr:
        Benjamini and Hochberg, or Benjamini and Yekutieli, for any dependence between pairs.
    level
        Level of every interval.
    overwrite
        Replace results that are there.

    Returns
    -------
    dict
        Per pair, method and estimand the number of loci and the mean effect with its intervals; the weights; what else
        was found, in words; the file, which has tau2, Q, I2 and more.

    Raises
    ------
    InputError
        When a table cannot be used or holds no estimates, or a column is missing, no number where one is needed, or
        says nothing that the other moderators do not.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    checks.level(level)
    _check_choices(model, by, moderators, loci_table, asymmetry, save_leave_one_out)
    if save_leave_one_out == out:
        raise InputError("the pooled effects and those without one locus need two files")
    if save_figure is not None:
        meta_parts.check_figure(save_figure)
    beside = [meta_parts.beside(out, name) for name in meta_parts.tables(by, moderators, asymmetry=asymmetry)]
    for path in (out, save_leave_one_out, *beside):
        if path is not None:
            check_writable(path, overwrite=overwrite)
    loci = read_estimates(estimates, complete=False)
    if not len(loci):
        raise InputError(f"{estimates}: holds no estimates; there is nothing to pool")
    if (loci.table["locus"] == "*").all():
        raise InputError(f"{estimates}: its effects are pooled already; needed the table that deepmr mr wrote")
    figures = {} if save_figure is None else meta_parts.figure_files(save_figure, loci)
    for path in figures.values():
        check_writable(path, overwrite=overwrite)
    inputs = {"estimates": estimates} | ({} if loci_table is None else {"loci_table": loci_table})
    warnings = warnings_beside(estimates)
    record = provenance("meta", options=options, inputs=inputs) | recorded_warnings(warnings)
    record |= recorded_assignment(record_beside(estimates))
    chosen: dict[str, Any] = {"tau2": tau2, "ci": ci, "weights": weights, "prediction": prediction, "level": level}
    parts = []
    if loci_table is not None:
        label, values = meta_parts.read_loci(loci_table, loci, by=by, moderators=moderators or [])
        if by is not None:
            parts.append(meta_parts.subgroups(loci, label, by, out=out, options=chosen))
        if moderators:
            parts.append(meta_parts.regression(loci, values, out=out, tau2=tau2, ci=ci, level=level))
    if asymmetry:
        parts.append(meta_parts.asymmetry(loci, out=out, options=chosen))
    if save_leave_one_out is not None:
        parts.append(meta_parts.without_each(loci, path=save_leave_one_out, options=chosen))
    pooled = pool_robust(loci, level=level) if model == "t" else pool_estimates(loci, **chosen)
    pooled = control_discoveries(pooled, adjust=adjust)
    for part in parts:  # whatever can fail has come before the first file
        part.write(record)
    meta_parts.draw(figures, loci, pooled)
    write_estimates(pooled, out, provenance=record)
    pairs = pooled.table[["exposure", "outcome"]].drop_duplicates()
    shown = [name for name in SHOWN if name in pooled.table and (name != "fdr" or len(pairs) > 1)]
    summary: dict[str, object] = {"pooled": pooled.table[shown].to_dict(orient="records")}
    for part in parts:
        summary |= part.shown
    said = [
        *warnings.values(),
        *meta_parts.say_single(pooled),
        *meta_parts.say_tails(pooled),
        *(sentence for part in parts for sentence in part.said),
    ]
    files = [*beside, *([] if save_leave_one_out is None else [save_leave_one_out]), *figures.values()]
    also = {"also_written": [str(path) for path in files]} if files else {}
    if model == "normal":
        summary["weights"] = chosen_weights(weights, loci, ci=ci, prediction=prediction)
        summary["prediction"] = chosen_prediction(prediction, loci)
    return summary | {"findings": said, "estimates": str(out)} | also


def _check_choices(
    model: str,
    by: str | None,
    moderators: list[str] | None,
    loci_table: Path | None,
    asymmetry: bool,
    leave_out: Path | None,
) -> None:
    """Raise `InputError` for options that do not go together."""
    if model == "t":
        for name, given in (
            ("leaving one locus out goes", leave_out is not None),
            ("subgroups go", by is not None),
            ("moderators go", bool(moderators)),
            ("tests of asymmetry go", asymmetry),
        ):
            if given:
                raise InputError(f"{name} with model normal")
    needed = by is not None or bool(moderators)
    if needed and loci_table is None:
        raise InputError("--by and --moderators name columns of a table of loci: give it as --loci-table")
    if loci_table is not None and not needed:
        raise InputError("a table of loci is for subgroups (--by) or moderators (--moderators): name its columns")
    checks.unique("moderators", moderators or ())
