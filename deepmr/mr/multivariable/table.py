"""What multivariable methods share: weights, reasons, and rows, one a locus and exposure."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from deepmr.errors import InputError
from deepmr.inference import TotalError, total_error
from deepmr.linalg import segment_repeat
from deepmr.mr.lines import Distribution
from deepmr.types import Estimates, Instruments, concat_estimates, make_estimates

COLLINEAR = "not identified: the effects on the exposures are collinear, or there is no effect on one of them"


def too_few(instruments: Instruments, min_instruments: int, *, parameters: int, what: str = "instruments") -> list[str]:
    """Say for every locus why it has too few instruments; empty where it has one more than parameters at least."""
    needed = max(min_instruments, parameters + 1)
    among = f" for {len(instruments.exposures)} exposures" if len(instruments.exposures) > 1 else ""
    return [
        "" if count >= needed else f"needs at least {needed} {what}{among}; has {count}" for count in instruments.counts
    ]


def not_collinear(reason: list[str], identified: Bool[np.ndarray, "loci"]) -> list[str]:
    """Add that the exposures of a locus are collinear to the reasons."""
    return [why or ("" if good else COLLINEAR) for why, good in zip(reason, identified, strict=True)]


def weights_of(instruments: Instruments) -> Float[np.ndarray, "rows"]:
    """Return 1 / se_outcome^2."""
    return 1 / np.square(instruments.se_outcome, dtype=float)


def exposures_of(instruments: Instruments) -> Float[np.ndarray, "rows exposures"]:
    """Return the effects on the exposures as float64."""
    return instruments.beta_exposure.astype(float)


def orientation(instruments: Instruments, number: int) -> Float[np.ndarray, "rows"]:
    """Return the signs that make the effects on an exposure positive, given its number, from 1.

    Raises
    ------
    InputError : where there is no such exposure.
    """
    k = len(instruments.exposures)
    if not 1 <= number <= k:
        raise InputError(f"orientate must be the number of an exposure, 1 to {k}; got {number}")
    return np.where(instruments.beta_exposure[:, number - 1] < 0, -1.0, 1.0)


def turned(instruments: Instruments, sign: Float[np.ndarray, "rows"]) -> Instruments:
    """Return the instruments with alleles swapped where the sign is -1; without their correlation."""
    factors = instruments.error_factors
    return replace(
        instruments,
        beta_exposure=instruments.beta_exposure * sign[:, None],
        beta_outcome=instruments.beta_outcome * sign,
        error_factors=None if factors is None else factors * sign[:, None],
        correlation=None,
    )


def canonical(instruments: Instruments) -> Instruments:
    """Return the instruments coded for a positive effect on the first exposure, and sorted; without their correlation.

    What is drawn at random is handed out in this order, so that neither order nor coding nor units of what is given
    change a result.
    """
    x = instruments.beta_exposure
    # The first exposure with an effect decides; an instrument without any is coded by its outcome.
    every = np.column_stack([x, instruments.beta_outcome])
    first = np.take_along_axis(every, np.argmax(every != 0, axis=1)[:, None], axis=1)[:, 0]
    coded = turned(instruments, np.where(first < 0, -1.0, 1.0))
    home = np.repeat(np.arange(len(instruments.loci)), instruments.counts)
    columns = [coded.se_outcome, *coded.se_exposure.T, coded.beta_outcome, *coded.beta_exposure.T[::-1]]
    return coded.pick(np.lexsort((*columns, home)))


def fitted(
    design: Float[np.ndarray, "rows columns"], coef: Float[np.ndarray, "loci columns"], offsets: np.ndarray
) -> Float[np.ndarray, "rows"]:
    """Return X b, a number a row."""
    return np.einsum("rp,rp->r", design, segment_repeat(np.nan_to_num(coef).T, offsets).T)


def errors(
    variances: Float[np.ndarray, "loci exposures"],
    df: Float[np.ndarray, "loci"],
    factors: Float[np.ndarray, "factors loci exposures"] | None,
    *,
    distribution: Distribution,
) -> TotalError:
    """Return standard errors of every exposure's effect; see `deepmr.mr.lines.standard_error`."""
    known = np.broadcast_to(np.where(df > 0, df, np.inf)[:, None], variances.shape)
    variances = np.maximum(np.nan_to_num(variances), 0.0)
    if factors is not None:
        return total_error(variances, known, factors)
    se = np.sqrt(variances)
    dof = known if distribution == "t" else np.full_like(variances, np.inf)
    return TotalError(se=se, df=dof, sampling=se, member=np.zeros_like(se))


def shared_moves(
    instruments: Instruments, point: Callable[[Instruments], Float[np.ndarray, "loci exposures"]]
) -> Float[np.ndarray, "factors loci exposures"] | None:
    """Return how far the error of every member moves the effects of all exposures: `member_factors` for several."""
    if instruments.error_factors is None:
        return None

    def moved(factor: np.ndarray) -> np.ndarray:
        beta, y = instruments.beta_exposure + factor[:, :-1], instruments.beta_outcome + factor[:, -1]
        return point(replace(instruments, beta_exposure=beta, beta_outcome=y))

    halves = np.stack([(moved(factor) - moved(-factor)) / 2 for factor in instruments.error_factors])
    return np.where(np.isfinite(halves), halves, 0.0)


def direct_estimates(
    method: str,
    instruments: Instruments,
    *,
    beta: Float[np.ndarray, "loci exposures"],
    error: TotalError,
    reason: list[str],
    level: float,
    extra: dict[str, np.ndarray],
    factors: Float[np.ndarray, "factors loci exposures"] | None,
) -> Estimates:
    """Build the rows: exposure by exposure, and within it locus by locus.

    Parameters
    ----------
    extra : a number a locus, or a number a locus and exposure.
    """
    k = len(instruments.exposures)
    if not k:
        raise InputError("multivariable methods need at least one exposure")
    parts = []
    for i, name in enumerate(instruments.exposures):
        own = {key: value if value.ndim == 1 else value[:, i] for key, value in extra.items()}
        own["n_exposures"] = np.full(len(instruments.loci), float(k))
        if factors is not None:
            own |= {"se_sampling": error.sampling[:, i], "se_member": error.member[:, i]}
        parts.append(
            make_estimates(
                method,
                replace(
                    instruments,
                    exposures=(name,),
                    beta_exposure=instruments.beta_exposure[:, [i]],
                    se_exposure=instruments.se_exposure[:, [i]],
                    error_factors=None,
                    error_corr=None,
                    n=None,
                ),
                beta=beta[:, i],
                se=error.se[:, i],
                df=error.df[:, i],
                reason=reason,
                level=level,
                extra=own,
                error_factors=None if factors is None else factors[:, :, i],
            )
        )
    return concat_estimates(parts)
