"""Steiger's test: whether instruments explain more of the exposure than of the outcome, as they should."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks, schema
from deepmr.inference import two_sided
from deepmr.linalg import divide, segment_sum
from deepmr.mr.lines import exposure_of
from deepmr.mr.sensitivity.explained import r_from_beta
from deepmr.mr.sensitivity.findings import Findings, by_locus, home, ordered
from deepmr.mr.sensitivity.phrases import probability
from deepmr.types import Instruments

_R_MAX = 1 - 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtered:
    """Instruments that passed a filter, and those that did not.

    Attributes
    ----------
    kept : every locus is there, also one left without instruments.
    dropped : columns of `schema.DROPPED`.
    """

    kept: Instruments
    dropped: pd.DataFrame


def steiger_variants(
    instruments: Instruments,
    *,
    r_exposure: Float[np.ndarray, "rows"] | None = None,
    r_outcome: Float[np.ndarray, "rows"] | None = None,
) -> Findings:
    """Compare, for every instrument, the shares of both traits' variance that it explains.

    Parameters
    ----------
    instruments : one exposure, with sample sizes `n`.
    r_exposure, r_outcome : correlation of each instrument with the trait; default from effect, standard error and
        sample size, which is right for a continuous trait. For a binary one see
        `deepmr.mr.sensitivity.explained.r_from_log_odds`.

    Returns
    -------
    Findings "steiger_variants", a row an instrument; nothing but reasons where there are no sample sizes.

    Notes
    -----
    z = (atanh r_x - atanh r_y) / sqrt(1 / (n_x - 3) + 1 / (n_y - 3)), normal: two separate samples. Shares say nothing
    of direction where one trait is measured with much more error than the other, or where both share causes.

    References
    ----------
    Hemani G, Tilling K, Davey Smith G. Orienting the causal relationship between imprecisely measured traits using GWAS
    summary data. PLoS Genet 2017. https://doi.org/10.1371/journal.pgen.1007081
    """
    if instruments.n is None:
        return by_locus("steiger_variants", instruments, {}, reason=_no_samples(instruments))
    rx, ry = _correlations(instruments, r_exposure, r_outcome)
    z = fisher_difference(rx, ry, instruments.n[:, 0].astype(float), instruments.n[:, 1].astype(float))
    table = pd.DataFrame(
        {
            "exposure": instruments.exposure,
            "outcome": instruments.outcome,
            "locus": np.asarray(instruments.loci, dtype=object)[home(instruments)],
            "variant_id": instruments.variants["variant_id"].to_numpy(object),
            **{"r2_exposure": rx**2, "r2_outcome": ry**2, "z": z},
            "pvalue": two_sided(z, np.ones_like(z)),
            "forward": rx > ry,
        }
    )
    return Findings(analysis="steiger_variants", table=ordered("steiger_variants", table))


def steiger(
    instruments: Instruments,
    *,
    r_exposure: Float[np.ndarray, "rows"] | None = None,
    r_outcome: Float[np.ndarray, "rows"] | None = None,
) -> Findings:
    """Test, for every locus, whether its instruments together explain more of the exposure than of the outcome.

    Parameters
    ----------
    instruments : one exposure, with sample sizes `n`, whose mean over instruments counts.
    r_exposure, r_outcome : as for `steiger_variants`.

    Returns
    -------
    Findings "steiger", a row a locus.

    Notes
    -----
    Shares of independent instruments add up: r^2 = sum r_j^2. The test is that of `steiger_variants`. Measurement error
    shrinks a share by the reliability of the measurement, so the direction turns where the outcome's reliability is
    less than `tipping_reliability` times the exposure's.
    """
    n, offsets = instruments.n, instruments.offsets
    if n is None:
        return by_locus("steiger", instruments, {}, reason=_no_samples(instruments))
    rx, ry = _correlations(instruments, r_exposure, r_outcome)
    counts = instruments.counts.astype(float)
    r2_x, r2_y = segment_sum(rx**2, offsets), segment_sum(ry**2, offsets)
    n_x, n_y = (divide(segment_sum(n[:, k].astype(float), offsets), counts, otherwise=4.0) for k in (0, 1))
    too_much = (r2_x >= 1) | (r2_y >= 1)
    r_x, r_y = (np.sqrt(np.minimum(r2, _R_MAX)) for r2 in (r2_x, r2_y))
    z = fisher_difference(r_x, r_y, n_x, n_y)
    columns = {
        "n": instruments.counts,
        **{"r2_exposure": r2_x, "r2_outcome": r2_y, "z": z},
        "pvalue": two_sided(z, np.ones_like(z)),
        "forward": r2_x > r2_y,
        "tipping_reliability": divide(r2_y, r2_x),
        "n_reversed": segment_sum((rx <= ry).astype(float), offsets).astype(int),
    }
    reason = np.where(counts == 0, "needs at least 1 instrument; has 0", "").astype(object)
    reason[too_much] = (
        "shares of variance add up to more than 1; either instruments are not independent, or effects are not those of "
        "one more allele (odds ratios, a standard error of something else)"
    )
    return by_locus("steiger", instruments, columns, reason=reason)


def steiger_filter(
    instruments: Instruments,
    *,
    significance: float = 1.0,
    r_exposure: Float[np.ndarray, "rows"] | None = None,
    r_outcome: Float[np.ndarray, "rows"] | None = None,
) -> Filtered:
    """Drop the instruments that explain more of the outcome than of the exposure.

    Parameters
    ----------
    instruments : one exposure, with sample sizes `n`; without them every instrument stays.
    significance : drop only where the difference is significant at this level; 1 drops every reversed one, as
        TwoSampleMR's users do.
    r_exposure, r_outcome : as for `steiger_variants`.
    """
    if instruments.n is None:
        return Filtered(kept=instruments, dropped=pd.DataFrame(columns=list(schema.DROPPED), dtype=str))
    table = steiger_variants(instruments, r_exposure=r_exposure, r_outcome=r_outcome).table
    reversed_ = (~table["forward"] & (table["pvalue"] <= significance)).to_numpy(bool)
    gone = table[reversed_]
    reasons = [
        f"explains more of {y} (r2 = {r2_y:.3g}) than of {x} (r2 = {r2_x:.3g}), {probability(p)}"
        for x, y, r2_x, r2_y, p in zip(
            gone["exposure"], gone["outcome"], gone["r2_exposure"], gone["r2_outcome"], gone["pvalue"], strict=True
        )
    ]
    dropped = gone[["variant_id", "locus"]].assign(reason=reasons).reset_index(drop=True)
    return Filtered(kept=instruments.take(~reversed_), dropped=dropped)


def fisher_difference(
    r_exposure: Float[np.ndarray, "rows"],
    r_outcome: Float[np.ndarray, "rows"],
    n_exposure: Float[np.ndarray, "rows"],
    n_outcome: Float[np.ndarray, "rows"],
) -> Float[np.ndarray, "rows"]:
    """Return the standardised difference of two correlations from separate samples (Fisher's z)."""
    variance = 1 / np.maximum(n_exposure - 3, 1.0) + 1 / np.maximum(n_outcome - 3, 1.0)
    return (np.arctanh(r_exposure) - np.arctanh(r_outcome)) / np.sqrt(variance)


def _no_samples(instruments: Instruments) -> list[str]:
    """Say for every locus why there is no test."""
    why = "they have no columns n_exposure and n_outcome"
    if instruments.estimand != "population":
        why = "edits in a model do not vary in a sample, so they explain no share of a variance"
    return [f"needs sample sizes: {why}"] * len(instruments.loci)


def _correlations(
    instruments: Instruments,
    r_exposure: Float[np.ndarray, "rows"] | None,
    r_outcome: Float[np.ndarray, "rows"] | None,
) -> tuple[Float[np.ndarray, "rows"], Float[np.ndarray, "rows"]]:
    """Return the sizes of the correlations with both traits."""
    x, se_x = exposure_of(instruments)
    n = np.asarray(instruments.n, dtype=float)
    rx = r_from_beta(x, se_x, n[:, 0]) if r_exposure is None else r_exposure
    ry = r_from_beta(instruments.beta_outcome, instruments.se_outcome, n[:, 1]) if r_outcome is None else r_outcome
    for name, r in (("r_exposure", rx), ("r_outcome", ry)):
        checks.shape(name, r, x.shape)
        checks.finite(name, r)
    return np.minimum(np.abs(rx), _R_MAX), np.minimum(np.abs(ry), _R_MAX)
