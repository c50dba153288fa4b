"""Multivariable generalised method of moments: direct effects that weak instruments do not bias."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.mr.correlated import SINGULAR, singular
from deepmr.mr.designs import invert
from deepmr.mr.errors import marginal_covariance
from deepmr.mr.lines import cochran
from deepmr.mr.losses import loss_of
from deepmr.mr.multivariable.solutions import solve_loci
from deepmr.mr.multivariable.strength import conditional_f
from deepmr.mr.multivariable.table import direct_estimates, errors, too_few
from deepmr.types import Estimates, Instruments

_SIZES = "the sample sizes do not allow such effects: the instruments would explain more than all of a trait"


def mv_gmm(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    overdispersion: bool = True,
    error: Literal["weak", "classical"] = "weak",
) -> Estimates:
    """Estimate direct effects by the generalised method of moments, continuously updated.

    Parameters
    ----------
    instruments : one exposure or several; `error_corr` is heeded, and so are `correlation` (linkage disequilibrium)
        and sample sizes `n` where given.
    min_instruments : loci with fewer are skipped; never below exposures + 1.
    level : of the confidence intervals.
    overdispersion : allow for balanced direct effects on the outcome, with variance `tau2`.
    error : standard errors that count the error of the exposure effects (`weak`), or (X' Omega^-1 X)^-1 (`classical`)
        as MendelianRandomization, which is too small where instruments are weak.

    Returns
    -------
    Estimates, a row an exposure and locus, with extras `tau2`, `q` and its kin (over-identification), `n_roots`,
    `conditional_f`, `n_exposures`.

    Notes
    -----
    b minimises Q = e' Omega^-1 e, e = y - X b, Omega = Cov(e) + tau2 I, Var(e_j) = se_y^2 + b' S_j b - 2 b' c_j, and
    tau2 makes Q = J - K where it would be larger. It is `mv_raps` with the l2 loss but for linkage disequilibrium,
    which makes Omega dense, and for sample sizes: with `n`, S_kl = (rho_kl - sum_j g_kj g_lj) / (n - J + 1) / sqrt(a_k
    a_l), a = 1 / (n se^2 + x^2), g = sqrt(a) x, as in MendelianRandomization; without, it is the limit of large
    samples. With shared errors, `n` has no part, the sampling part is the scatter of the instruments' contributions,
    and the members' part is how far they move the solution.

    References
    ----------
    Patel A, Gill D, Shungin D, et al. Robust use of phenotypic heterogeneity at drug target genes for mechanistic
    insights. Genet Epidemiol 2024. https://doi.org/10.1002/gepi.22551
    """
    checks.one_of("error", error, ("weak", "classical"))
    k = len(instruments.exposures)
    covariance, possible = moment_covariance(instruments)
    few = too_few(instruments, min_instruments, parameters=k)
    found = solve_loci(
        instruments,
        covariance,
        loss_of("l2"),
        overdispersion=overdispersion,
        spent=k,
        reason=_singular(
            instruments, [why or ("" if fine else _SIZES) for why, fine in zip(few, possible, strict=True)]
        ),
        variance=error,
        linked=True,
    )
    df = np.maximum(instruments.counts - float(k), 0.0)
    return direct_estimates(
        "mv_gmm",
        instruments,
        beta=found.beta,
        error=errors(found.variance, df, found.members, distribution="normal"),
        reason=found.reason,
        level=level,
        extra={
            **({"tau2": found.tau2} if overdispersion else {}),
            **cochran(np.nan_to_num(found.q), df, shared=instruments.error_factors is not None),
            "n_roots": found.n_roots,
            "conditional_f": conditional_f(instruments, covariance=covariance),
        },
        factors=found.members,
    )


def moment_covariance(
    instruments: Instruments,
) -> tuple[Float[np.ndarray, "rows traits traits"], Bool[np.ndarray, "loci"]]:
    """Return the error covariance of all effects at every instrument, and whether the sample sizes of a locus allow it.

    Without sample sizes it is that of standard errors and `error_corr`; the covariance of exposures and outcome never
    counts the share that is explained.
    """
    if instruments.n is None or instruments.error_factors is not None:
        return marginal_covariance(instruments), np.ones(len(instruments.loci), dtype=bool)
    offsets, n = instruments.offsets, instruments.n.astype(float)
    effect = np.column_stack([instruments.beta_exposure, instruments.beta_outcome]).astype(float)
    se = np.column_stack([instruments.se_exposure, instruments.se_outcome]).astype(float)
    traits = effect.shape[1]
    root = np.sqrt(1 / (n * se**2 + effect**2))
    share = root * effect
    explained = segment_sum(np.moveaxis(share[:, :, None] * share[:, None, :], 0, -1), offsets)
    corr = np.eye(traits) if instruments.error_corr is None else instruments.error_corr
    rest = np.moveaxis(corr[:, :, None] - explained, -1, 0)
    variances = np.diagonal(rest, axis1=1, axis2=2)
    rest[:, -1, :-1] = rest[:, :-1, -1] = corr[-1, :-1] * np.sqrt(np.maximum(variances[:, -1:] * variances[:, :-1], 0))
    counts = segment_repeat(instruments.counts.astype(float), offsets)
    spare = np.minimum(n[:, :, None], n[:, None, :]) - counts[:, None, None] + 1
    # The exposures' part has to be a covariance, and the samples larger than the number of instruments.
    _, possible = invert(rest)
    possible &= segment_sum(np.any(spare <= 0, axis=(1, 2)).astype(float), offsets) == 0
    rows = np.repeat(possible, instruments.counts)
    scaled = np.repeat(rest, instruments.counts, axis=0) / (root[:, :, None] * root[:, None, :])
    found = divide(scaled, np.where(rows[:, None, None], spare, 0.0), otherwise=0.0)
    return np.where(rows[:, None, None], found, marginal_covariance(instruments)), possible


def _singular(instruments: Instruments, reason: list[str]) -> list[str]:
    """Add which loci have a correlation that cannot be inverted."""
    if instruments.correlation is None:
        return reason
    smallest = [np.linalg.eigvalsh(r)[0] if len(r) else 1.0 for r in instruments.correlation]
    return [
        why or (singular(float(least)).split("; ")[0] + "; prune the instruments" if least <= SINGULAR else "")
        for why, least in zip(reason, smallest, strict=True)
    ]
