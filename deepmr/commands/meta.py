"""`deepmr meta`: effects of all loci pooled, a row per pair and method."""

from pathlib import Path
from typing import Literal

from deepmr.errors import InputError
from deepmr.io.files import check_writable
from deepmr.io.provenance import provenance
from deepmr.io.tables import read_estimates, write_estimates
from deepmr.meta import Interval, Prediction, Tau2, Weighting, leave_one_out, pool_estimates, pool_robust

SHOWN = ("exposure", "outcome", "method", "n", "beta", "ci_low", "ci_high", "pi_low", "pi_high")


def meta(
    estimates: Path,
    *,
    out: Path,
    model: Literal["normal", "t"] = "normal",
    tau2: Tau2 = "REML",
    ci: Interval = "HK",
    weights: Weighting = "inverse_variance",
    prediction: Prediction = "HTS",
    save_leave_one_out: Path | None = None,
    level: float = 0.95,
    overwrite: bool = False,
) -> dict[str, object]:
    """Pool the effects of all loci by random-effects meta-analysis.

    ci_low and ci_high bound the mean over loci; pi_low and pi_high bound the effect at a new locus.

    Parameters
    ----------
    estimates
        Table of deepmr mr.
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
        Inverse variance, or equal: the plain mean over loci.
    prediction
        Prediction interval: t with k - 2 (HTS) or k - 1 (V) degrees of freedom, or Hartung-Knapp's.
    save_leave_one_out
        Table of the same means without one locus each; its locus column names the locus left out (model normal).
    level
        Level of every interval.
    overwrite
        Replace results that are there.

    Returns
    -------
    dict
        Per pair and method the number of loci and the mean effect with its intervals; the file, which has tau2, Q, I2
        and more.

    Raises
    ------
    InputError
        When the table cannot be used or holds no estimates.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1; got {level:g}")
    if model == "t" and save_leave_one_out is not None:
        raise InputError("leaving one locus out goes with model normal")
    if save_leave_one_out == out:
        raise InputError("the pooled effects and those without one locus need two files")
    for path in (out, save_leave_one_out):
        if path is not None:
            check_writable(path, overwrite=overwrite)
    loci = read_estimates(estimates)
    if not len(loci):
        raise InputError(f"{estimates}: holds no estimates; there is nothing to pool")
    if (loci.table["locus"] == "*").all():
        raise InputError(f"{estimates}: its effects are pooled already; needed the table that deepmr mr wrote")
    record = provenance("meta", options=options, inputs={"estimates": estimates})
    if model == "t":
        pooled = pool_robust(loci, level=level)
    else:
        pooled = pool_estimates(loci, tau2=tau2, ci=ci, weights=weights, prediction=prediction, level=level)
    if save_leave_one_out is not None:
        without = leave_one_out(loci, tau2=tau2, ci=ci, weights=weights, prediction=prediction, level=level)
        write_estimates(without, save_leave_one_out, provenance=record)
    write_estimates(pooled, out, provenance=record)
    shown = [name for name in SHOWN if name in pooled.table]
    return {"pooled": pooled.table[shown].to_dict(orient="records"), "estimates": str(out)}
