"""Multivariable MR-Lasso: instruments with a direct effect are found by a penalty, and left out."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr import checks
from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.mr.designs import fit_designs, invert
from deepmr.mr.lasso import Laid, by_heterogeneity, valid_rows
from deepmr.mr.lines import Distribution
from deepmr.mr.multivariable.ivw import regression_estimates
from deepmr.mr.multivariable.table import exposures_of, not_collinear, orientation, too_few, turned, weights_of
from deepmr.packed import blocks
from deepmr.types import Estimates, Instruments

_ROUNDS, _RIDGE = 100, 1e-12
_FLAT = 1e-13  # of its terms, below which a gradient is rounding


def mv_lasso(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    penalty: float | None = None,
    orientate: int = 1,
    floor: bool = True,
    distribution: Distribution = "normal",
) -> Estimates:
    """Estimate direct effects by MR-Lasso: weighted regression on the instruments without a direct effect.

    Parameters
    ----------
    instruments : one exposure or several.
    min_instruments : loci with fewer are skipped; never below exposures + 1, which have to be left as valid, too.
    level : of the confidence intervals.
    penalty : on the direct effects, the same at every locus (no unit); default: by the heterogeneity rule.
    orientate : number of the exposure, from 1, whose effects are made positive: penalties depend on it slightly.
    floor, distribution : of the final fit, as for `mv_ivw`.

    Returns
    -------
    Estimates as of `mv_ivw`, of the valid instruments, with `n_valid` and `penalty`; `n` counts all instruments.

    Notes
    -----
    As `deepmr.mr.lasso.lasso`, with x_j' b for b x_j. Given a penalty, b minimises a sum of Huber losses of residuals,
    each with a threshold of its own, by Newton steps with an exact search along each. The final fit does not know that
    instruments were chosen.

    References
    ----------
    Grant AJ, Burgess S. Pleiotropy robust methods for multivariable Mendelian randomization. Stat Med 2021.
    https://doi.org/10.1002/sim.9156
    """
    checks.at_least("penalty", penalty, 0)
    given = turned(instruments, orientation(instruments, orientate))
    k = len(instruments.exposures)
    few = too_few(instruments, min_instruments, parameters=k)
    identified = fit_designs(
        exposures_of(given), given.beta_outcome.astype(float), weights_of(given), given.offsets
    ).identified
    reason = not_collinear(few, identified)
    wanted = np.array([not why for why in reason], dtype=bool)
    valid, chosen = _choose(given, wanted, penalty)
    used = instruments.take(valid)
    left = too_few(used, k + 1, parameters=k, what="instruments without a direct effect")
    estimates = regression_estimates(
        "mv_lasso",
        used,
        level=level,
        model="random",
        floor=floor,
        distribution=distribution,
        reason=[why or then for why, then in zip(reason, left, strict=True)],
        extra={"n_valid": used.counts.astype(float), "penalty": chosen},
    )
    rows = pd.Index(instruments.loci).get_indexer(pd.Index(estimates.table["locus"]))
    return replace(estimates, table=estimates.table.assign(n=instruments.counts[rows]))


def _choose(
    instruments: Instruments, wanted: Bool[np.ndarray, "loci"], penalty: float | None
) -> tuple[Bool[np.ndarray, "rows"], Float[np.ndarray, "loci"]]:
    """Return which rows are valid, and the penalty of each locus."""
    offsets, root = instruments.offsets, np.sqrt(weights_of(instruments))
    u, z = exposures_of(instruments) * root[:, None], instruments.beta_outcome * root
    # Columns of one size, so that no unit decides what is singular.
    size = np.sqrt(segment_sum((u**2).T, offsets))
    u = u / segment_repeat(np.where(size > 0, size, 1.0), offsets).T
    fit = fit_designs(u, z, np.ones_like(z), offsets)
    # Standard deviation over the rows of the column of each direct effect, once u is projected out.
    lever = np.einsum("rp,rpq->rq", u, np.repeat(fit.unscaled, instruments.counts, axis=0))
    n = segment_repeat(instruments.counts.astype(float), offsets)
    mean = (1 - np.einsum("rp,rp->r", lever, segment_repeat(segment_sum(u.T, offsets), offsets).T)) / n
    deviation = np.sqrt(np.maximum((1 - np.einsum("rp,rp->r", lever, u)) / n - mean**2, 0.0))
    chosen = np.full(len(instruments.loci), np.nan if penalty is None else penalty)
    valid = np.ones(len(z), dtype=bool)
    for block in blocks(offsets, loci=wanted, depth=8 * u.shape[1]):
        laid = _Several(
            u=np.moveaxis(block.of(u.T, padding=0.0), 0, -1),
            z=block.of(fit.residual, padding=0.0),
            unit=block.of(deviation * n, padding=0.0),
            known=block.known,
        )
        if penalty is None:
            chosen[block.loci] = by_heterogeneity(laid, parameters=u.shape[1])
        kept = valid_rows(laid, laid.solve(chosen[block.loci]), chosen[block.loci])
        valid[block.rows[block.known]] = kept[block.known]
    return valid, chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Several:
    """Loci with several exposures; see `deepmr.mr.lasso.Penalised`."""

    u: Float[np.ndarray, "block width slopes"]
    z: Float[np.ndarray, "block width"]
    unit: Float[np.ndarray, "block width"]
    known: Bool[np.ndarray, "block width"]

    def take(self, index: np.ndarray) -> "_Several":
        return _Several(u=self.u[index], z=self.z[index], unit=self.unit[index], known=self.known[index])

    def residual(self, slope: Float[np.ndarray, "block slopes"]) -> Float[np.ndarray, "block width"]:
        return self.z - np.einsum("bjk,bk->bj", self.u, slope)

    def solve(self, penalty: Float[np.ndarray, "block"]) -> Float[np.ndarray, "block slopes"]:
        """Return the minimum of the sum of Huber losses: exact once the instruments within their threshold stay."""
        slope = np.zeros((len(self.z), self.u.shape[2]))
        active, left = np.arange(len(slope)), self
        smallest = 1e-15 * np.abs(self.z).max(axis=1)
        for _ in range(_ROUNDS):
            threshold = penalty[active, None] * left.unit
            rest = left.residual(slope[active])
            free = (np.abs(rest) <= threshold) & left.known
            pull = np.clip(rest, -threshold, threshold)[..., None] * left.u
            descent = pull.sum(axis=1)
            step = left.newton(descent, free)
            edge = np.einsum("bjk,bk->bj", left.u, step)
            moving = np.abs(edge).max(axis=1) > smallest[active]
            moving &= np.any(np.abs(descent) > _FLAT * np.abs(pull).sum(axis=1), axis=1)
            active, left = active[moving], left.take(np.flatnonzero(moving))
            if not len(active):
                break
            threshold, rest, free, step, edge = (part[moving] for part in (threshold, rest, free, step, edge))
            line = Laid(u=np.abs(edge), z=rest * np.where(edge < 0, -1.0, 1.0), unit=threshold, known=left.known)
            length = line.solve(np.ones(len(active)))
            whole = np.abs(length - 1) < 1e-9
            slope[active] += np.where(whole, 1.0, length)[:, None] * step
            same = ((np.abs(left.residual(slope[active])) <= threshold) & left.known) == free
            going = ~(same.all(axis=1) & whole)
            going &= np.abs(length[:, None] * edge).max(axis=1) > smallest[active]
            active, left = active[going], left.take(np.flatnonzero(going))
            if not len(active):
                break
        return slope

    def newton(
        self, descent: Float[np.ndarray, "block slopes"], free: Bool[np.ndarray, "block width"]
    ) -> Float[np.ndarray, "block slopes"]:
        inside = self.u * free[..., None]
        # Where few instruments are free, a trace of a ridge leaves the direction along which nothing curves.
        square = inside.swapaxes(1, 2) @ inside + _RIDGE * np.eye(self.u.shape[2])
        return np.linalg.solve(square, descent[..., None])[..., 0]

    def scale(self, kept: Bool[np.ndarray, "block width"]) -> Float[np.ndarray, "block"]:
        inside, z = self.u * kept[..., None], np.where(kept, self.z, 0.0)
        inverse, _ = invert(inside.swapaxes(1, 2) @ inside)
        slope = np.einsum("bpq,bq->bp", inverse, np.einsum("bjk,bj->bk", inside, z))
        squares = np.sum((z - np.einsum("bjk,bk->bj", inside, slope)) ** 2, axis=1)
        return np.sqrt(divide(squares, kept.sum(axis=1) - float(self.u.shape[2])))
