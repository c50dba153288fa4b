"""From effects in the model to calibrated effects, by what labelled edits say."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import inference, schema
from deepmr.inference import moderate_variances, total_error
from deepmr.labelled.calibration import LabelledCalibration, PairCalibration
from deepmr.types import Estimates

LOCAL_DF = 12.0  # degrees of freedom of the local variance a^2 B + h^2
MOST_FACTORS = 60  # factors that the error of the shift is written as; more are folded, which costs some df


def apply_labelled(estimates: Estimates, calibration: LabelledCalibration, *, level: float = 0.95) -> Estimates:
    """Shift effects in the model to what labelled edits say, with intervals for the data-generating process.

    Parameters
    ----------
    estimates : effects in the model, with the errors that members share, at loci that are not labelled.
    calibration : from labels on other loci.
    level : of the intervals.

    Returns
    -------
    Estimates
        Estimand "calibrated": the rows whose method and pair are calibrated. `beta_raw` and `se_raw` are the effect in
        the model and its standard error, `se_sampling` the local part of se, `se_member` the part that the labels
        leave, which all loci share, `shrink` the share of the shift that was applied. `error_factors` has a row a
        labelled locus (folded to 60); fewer in some pairs than in others are filled up with zeros.

    Notes
    -----
    beta = b + k delta, se^2 = a^2 B + h^2 + k se_delta^2, with B the members' variance moderated over loci. Factor i is
    sqrt(k) (e_i - mean e) / sqrt(n (n - 1)) at every locus alike: their squares add up to k se_delta^2, and pooling
    over loci averages only the local part out. Degrees of freedom are Welch and Satterthwaite's, of 12 for the local
    part (fewer where fewer loci are labelled) and n - 1 for the shift.
    """
    parts = [_of_pair(estimates, pair, level) for pair in calibration.pairs]
    parts = [part for part in parts if len(part.table)]
    if not parts:
        return Estimates(table=estimates.table.iloc[:0], skipped=estimates.skipped, error_factors=np.zeros((0, 0)))
    tables = [part.table for part in parts]
    ordered = [c for c in (*schema.ESTIMATES, *schema.EXTRA) if any(c in table.columns for table in tables)]
    return Estimates(
        table=pd.concat(tables, ignore_index=True)[ordered],
        skipped=estimates.skipped,
        error_factors=stack_factors([part.factors for part in parts]),
    )


def with_calibrated(estimates: Estimates, calibrated: Estimates) -> Estimates:
    """Return effects in the model and calibrated effects as one table, told apart by the estimand.

    Parameters
    ----------
    estimates : effects in the model.
    calibrated : what `apply_labelled` made of them; loci skipped are taken from `estimates`.
    """
    if not len(calibrated):
        return estimates
    names = (*schema.ESTIMATES, *schema.EXTRA)
    both = [estimates.table, calibrated.table]
    ordered = [c for c in names if any(c in table.columns for table in both)]
    factors = [
        np.zeros((0, len(part))) if part.error_factors is None else part.error_factors
        for part in (estimates, calibrated)
    ]
    return replace(
        estimates,
        table=pd.concat(both, ignore_index=True)[ordered],
        error_factors=stack_factors(factors),
    )


def stack_factors(parts: list[Float[np.ndarray, "_ _"]]) -> Float[np.ndarray, "factors rows"]:
    """Put shared errors of different sources side by side, filled up with zeros: a zero is no factor of its row."""
    most = max(len(part) for part in parts)
    return np.concatenate([np.pad(part, ((0, most - len(part)), (0, 0))) for part in parts], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Rows of one method and pair."""

    table: pd.DataFrame
    factors: Float[np.ndarray, "factors rows"]


def label_factors(pair: PairCalibration) -> Float[np.ndarray, "factors"]:
    """Return how each labelled locus moves the applied shift; squares add up to its variance.

    Parameters
    ----------
    pair : what labels say.
    """
    n = len(pair.loci)
    factors = np.sqrt(pair.shrink / (n * (n - 1))) * (pair.miss - pair.miss.mean())
    if n > MOST_FACTORS:  # one table column a factor: keep their number in bounds, and the sum of squares
        folded = np.bincount(np.arange(n) % MOST_FACTORS, weights=factors**2)
        factors = np.sqrt(folded)
    return factors


def _of_pair(estimates: Estimates, pair: PairCalibration, level: float) -> _Part:
    table = estimates.table
    chosen = np.ones(len(table), dtype=bool)
    for name, value in zip(("method", "exposure", "outcome"), pair.key, strict=True):
        chosen &= (table[name] == value).to_numpy(bool)
    chosen &= (table["estimand"] == "model").to_numpy(bool)
    mine = table[chosen].reset_index(drop=True)
    n = len(mine)
    factors = np.repeat(label_factors(pair)[:, None], n, axis=1)
    if not n or estimates.error_factors is None:
        return _Part(table=mine.iloc[:0], factors=np.zeros((0, 0)))
    moved = estimates.error_factors[:, chosen]
    member = moderate_variances(np.sum(moved**2, axis=0), len(moved) - 1.0)
    local = pair.scale**2 * member + pair.floor**2
    error = total_error(local, min(LOCAL_DF, pair.df), factors)
    beta = mine["beta"].to_numpy(float) + pair.applied
    low, high = inference.interval(beta, error.se, df=error.df, level=level)
    kept = [name for name in mine.columns if name in schema.ESTIMATES or name in _KEPT]
    return _Part(
        table=mine[kept].assign(
            estimand="calibrated",
            beta=beta,
            se=error.se,
            ci_low=low,
            ci_high=high,
            pvalue=inference.two_sided(beta, error.se, df=error.df),
            df=error.df,
            level=level,
            se_sampling=error.sampling,
            se_member=error.member,
            beta_raw=mine["beta"].to_numpy(float),
            se_raw=mine["se"].to_numpy(float),
            shrink=pair.shrink,
        ),
        factors=factors,
    )


_KEPT = ("f_statistic",)  # what is said of the instruments, not of the effect
