"""How strong instruments are for one exposure given the others, and what they leave unexplained."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.inference import chi2_tail
from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.mr.designs import cross_products, fit_designs
from deepmr.mr.errors import error_covariances
from deepmr.mr.lines import WEAK
from deepmr.mr.multivariable.table import exposures_of
from deepmr.types import Instruments


def conditional_f(
    instruments: Instruments, *, covariance: Float[np.ndarray, "rows traits traits"] | None = None
) -> Float[np.ndarray, "loci exposures"]:
    """Return the conditional F statistic of every exposure at every locus; NaN where it has none.

    Parameters
    ----------
    covariance : of the errors of all effects at an instrument; default: from standard errors and `error_corr`.

    Notes
    -----
    The effects on exposure k are regressed on those of the others by least squares, d = x_k - X_-k g; then
    F = sum d^2 / var(d) / (J - K + 1) with var(d) from the standard errors and `error_corr`. With one exposure it is
    the mean F statistic. MVMR 0.4.6 divides by J. Below 10 an effect given the other exposures is biased,
    whatever the marginal F.

    References
    ----------
    Sanderson E, Spiller W, Bowden J. Testing and correcting for weak and pleiotropic instruments in two-sample
    multivariable Mendelian randomization. Stat Med 2021. https://doi.org/10.1002/sim.9133
    """
    x, offsets = exposures_of(instruments), instruments.offsets
    k = x.shape[1]
    covariance = (error_covariances(instruments) if covariance is None else covariance)[:, :k, :k]
    strength = np.full((len(instruments.loci), k), np.nan)
    for i in range(k):
        contrast = np.zeros((len(x), k))
        contrast[:, i] = 1.0
        identified = np.ones(len(strength), dtype=bool)
        if k > 1:
            others = np.delete(x, i, axis=1)
            fit = fit_designs(others, x[:, i], np.ones(len(x)), offsets)
            contrast[:, [j for j in range(k) if j != i]] = -segment_repeat(np.nan_to_num(fit.coef).T, offsets).T
            identified = fit.identified
        rest = np.sum(contrast * x, axis=1)
        variance = np.einsum("rp,rpq,rq->r", contrast, covariance, contrast)
        total = segment_sum(rest**2 / np.maximum(variance, 1e-300), offsets)
        df = np.maximum(instruments.counts - k + 1.0, 0.0)
        strength[:, i] = np.where(identified, divide(total, df), np.nan)
    return strength


def signal(instruments: Instruments) -> Float[np.ndarray, "loci"]:
    """Return how strongly the instruments tell the exposures apart: above 10, debiased estimates are reliable.

    Notes
    -----
    The smallest eigenvalue of sum_j z_j z_j' - J over the square root of J, with z_j the effects on the exposures whose
    errors are scaled to the identity: of the mixture of exposures that has the weakest instruments.

    References
    ----------
    Wu Y, Kang H, Ye T. A more credible approach to multivariable Mendelian randomization. 2024.
    https://doi.org/10.48550/arXiv.2402.00307
    """
    z, counts = exposures_of(instruments) / instruments.se_exposure, instruments.counts.astype(float)
    corr = np.eye(z.shape[1]) if instruments.error_corr is None else instruments.error_corr[:-1, :-1]
    values, vectors = np.linalg.eigh(corr)
    white = z @ (vectors / np.sqrt(np.maximum(values, 1e-12)))
    smallest = np.linalg.eigvalsh(cross_products(white, white, instruments.offsets))[:, 0]
    return divide(smallest - counts, np.sqrt(counts), otherwise=0.0)


def direct_q(
    instruments: Instruments, beta: Float[np.ndarray, "loci exposures"]
) -> dict[str, Float[np.ndarray, "loci"]]:
    """Return Q about given direct effects, counting the error of the exposures too, with J - K - 1 degrees of freedom.

    References
    ----------
    Sanderson E, Davey Smith G, Windmeijer F, Bowden J. An examination of multivariable Mendelian randomization in the
    single-sample and two-sample summary data settings. Int J Epidemiol 2019. https://doi.org/10.1093/ije/dyy262
    """
    x, offsets = exposures_of(instruments), instruments.offsets
    b = segment_repeat(np.nan_to_num(beta).T, offsets).T
    contrast = np.column_stack([-b, np.ones(len(b))])
    variance = np.einsum("rp,rpq,rq->r", contrast, error_covariances(instruments), contrast)
    rest = instruments.beta_outcome - np.sum(b * x, axis=1)
    q = segment_sum(rest**2 / np.maximum(variance, 1e-300), offsets)
    df = np.maximum(instruments.counts - x.shape[1] - 1.0, 0.0)
    return {"q": q, "q_df": df, "q_pvalue": chi2_tail(q, df)}


def weak_instruments(instruments: Instruments) -> tuple[pd.DataFrame, str]:
    """Report how strong the instruments are for every exposure given the others: a table, and a sentence.

    Returns
    -------
    Rows of locus, exposure, n, f_statistic and conditional_f; and what they mean in words.
    """
    x, se = exposures_of(instruments), instruments.se_exposure
    marginal = segment_sum(((x / se) ** 2).T, instruments.offsets) / np.maximum(instruments.counts, 1)
    given = conditional_f(instruments)
    table = pd.DataFrame(
        {
            "locus": np.tile(np.asarray(instruments.loci, dtype=object), len(instruments.exposures)),
            "exposure": np.repeat(np.asarray(instruments.exposures, dtype=object), len(instruments.loci)),
            "n": np.tile(instruments.counts, len(instruments.exposures)),
            "f_statistic": marginal.ravel(),
            "conditional_f": given.T.ravel(),
        }
    )
    known = table[table["conditional_f"].notna()]
    weak = known[known["conditional_f"] < WEAK]
    if not len(known):
        return table, "No locus has enough instruments to tell the exposures apart."
    if not len(weak):
        return table, f"Instruments are strong for every exposure given the others: conditional F is {WEAK:g} or more."
    worst = weak.sort_values("conditional_f", kind="stable").iloc[0]
    return table, (
        f"Instruments are weak (conditional F below {WEAK:g}) in {len(weak)} of {len(known)} cases of a locus and an "
        f"exposure, weakest for {worst['exposure']} at {worst['locus']} (F {worst['conditional_f']:.1f}): direct "
        "effects of such exposures are biased; prefer mv_debiased or mv_raps, or fewer exposures."
    )
