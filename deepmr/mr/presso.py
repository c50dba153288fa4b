"""MR-PRESSO: instruments that lie too far from what the others predict are found, and left out."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr.inference import chi2_tail
from deepmr.linalg import divide, segment_sum
from deepmr.mr.draws import CACHE, canonical, effect_draws, uniforms
from deepmr.mr.errors import error_correlation
from deepmr.mr.lines import (
    Distribution,
    canonical_order,
    exposure_of,
    inverse_variances,
    oriented,
    origin_estimates,
    too_few,
)
from deepmr.packed import Block, blocks
from deepmr.types import Estimates, Instruments


def presso(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    threshold: float = 0.05,
    floor: bool = True,
    distribution: Distribution = "t",
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimates:
    """Estimate the causal effect by inverse-variance weights without the outliers that MR-PRESSO finds.

    Parameters
    ----------
    instruments : one exposure.
    min_instruments : loci with fewer are skipped; never below 3. Two have to be left when outliers are out.
    level : of the confidence interval.
    threshold : P values at or below it count as significant, of the global test and, times the number of instruments,
        of the outlier test.
    floor, distribution : of the final fit, as for `ivw_random`. MR-PRESSO 1.0 has no floor, which makes intervals too
        short where outliers were taken from the scatter.
    n_boot : draws under no direct effects.
    seed : of the draws; they are the same at every locus.

    Returns
    -------
    Estimates, with extras `n_outliers`, `n_valid`, `beta_raw` and `se_raw` (with outliers), `global_rss`,
    `global_pvalue`, where there are outliers `distortion`, (beta_raw - beta) / |beta|, with `distortion_pvalue`, and
    `sigma`, `q` and `f_statistic` of the instruments left.

    Notes
    -----
    With b_-j the inverse-variance slope without instrument j, `global_rss` = sum_j (y_j - b_-j x_j)^2 / se_y^2. Under
    no direct effects x* ~ N(x_j, se_x^2) and y* ~ N(b_-j x_j, se_y^2), correlated as `error_corr` says; the P value is
    (1 + the number of draws as large) / (1 + n_boot), never 0. No regression is refitted: b_-j is the slope of all less
    the instrument's own terms. Where the global test is significant, an instrument is an outlier by `presso_outliers`.

    The distortion test resamples J instruments from those that are no outliers and asks how often the slope moves by
    as much as the outliers moved it. (MR-PRESSO 1.0 keeps the outliers themselves in every resample, and compares with
    the slopes that contain them.)

    References
    ----------
    Verbanck M, Chen CY, Neale B, Do R. Detection of widespread horizontal pleiotropy in causal relationships inferred
    from Mendelian randomization between complex traits and diseases. Nat Genet 2018.
    https://doi.org/10.1038/s41588-018-0099-7
    """
    tests = _tests(instruments, n_boot=n_boot, seed=seed)
    outlier = tests.outliers(instruments, threshold)
    used = instruments.take(~outlier)
    n_outliers = (instruments.counts - used.counts).astype(float)
    few = too_few(instruments, max(min_instruments, 3))
    left = too_few(used, 2, what="instruments that are no outliers")
    reason = [why or lone or then for why, lone, then in zip(few, tests.reason, left, strict=True)]
    weights, offsets = inverse_variances(instruments), instruments.offsets
    scatter: Literal["floored", "random"] = "floored" if floor else "random"
    raw = origin_estimates(
        "presso", instruments, weights, scatter=scatter, distribution=distribution, reason=list(reason), level=level
    ).table
    distortion, distortion_pvalue = _distortion(instruments, outlier, n_boot=n_boot, seed=seed)
    estimates = origin_estimates(
        "presso",
        used,
        inverse_variances(used),
        scatter=scatter,
        distribution=distribution,
        reason=reason,
        level=level,
        extra={
            "n_outliers": n_outliers,
            "n_valid": used.counts.astype(float),
            "global_rss": tests.global_rss,
            "global_pvalue": tests.global_pvalue,
            "distortion": distortion,
            "distortion_pvalue": distortion_pvalue,
        },
    )
    kept = raw["locus"].isin(estimates.table["locus"]).to_numpy()
    rows = pd.Index(instruments.loci).get_indexer(pd.Index(estimates.table["locus"]))
    table = estimates.table.assign(
        n=np.diff(offsets)[rows], beta_raw=raw["beta"].to_numpy()[kept], se_raw=raw["se"].to_numpy()[kept]
    )
    return replace(estimates, table=table)


def presso_outliers(
    instruments: Instruments, *, threshold: float = 0.05, n_boot: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return MR-PRESSO's outlier test, a row an instrument.

    Parameters
    ----------
    instruments : one exposure; loci with fewer than 3 have empty values.
    threshold : of the global test and of the corrected P values.
    n_boot, seed : as for `presso`; of the global test.

    Returns
    -------
    Columns locus, variant_id, rss ((y_j - b_-j x_j)^2, in the outcome's unit squared), pvalue (times the number of the
    locus's instruments, at most 1) and outlier (where the global test is significant too).

    Notes
    -----
    MR-PRESSO 1.0 counts the draws in which |y* - b_-j x*| is larger, so that with J instruments no corrected P value
    lies between 0 and J / n_boot. That distance is normal with variance se_y^2 + b_-j^2 se_x^2 (less
    2 rho b_-j se_x se_y in overlapping samples), and the P value here is its exact tail.
    """
    tests = _tests(instruments, n_boot=n_boot, seed=seed)
    return pd.DataFrame(
        {
            "locus": np.repeat(np.asarray(instruments.loci, dtype=object), instruments.counts),
            "variant_id": instruments.variants["variant_id"].to_numpy(),
            "rss": tests.rss,
            "pvalue": tests.pvalue,
            "outlier": tests.outliers(instruments, threshold),
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tests:
    """Global test a locus and outlier test a row; NaN where a locus has too few instruments."""

    global_rss: Float[np.ndarray, "loci"]
    global_pvalue: Float[np.ndarray, "loci"]
    rss: Float[np.ndarray, "rows"]
    pvalue: Float[np.ndarray, "rows"]
    reason: list[str]

    def outliers(self, instruments: Instruments, threshold: float) -> Bool[np.ndarray, "rows"]:
        """Tell which rows are outliers."""
        significant = np.repeat(self.global_pvalue <= threshold, instruments.counts)
        return significant & (self.pvalue <= threshold)


def _tests(instruments: Instruments, *, n_boot: int, seed: int) -> _Tests:
    given, order = canonical(instruments), canonical_order(instruments)
    x, se_x = exposure_of(given)
    y, root = given.beta_outcome.astype(float), 1 / given.se_outcome
    rss, pvalue, expected = np.full(len(x), np.nan), np.full(len(x), np.nan), np.zeros(len(x))
    observed = np.full(len(given.loci), np.nan)
    told = segment_sum((x != 0).astype(float), given.offsets)
    none, one = (
        "not identified: every exposure effect is zero",
        "not identified: all but one exposure effect are zero",
    )
    alone = [none if t == 0 else one if t == 1 else "" for t in told]
    corr, loci = error_correlation(given), (given.counts >= 3) & (told > 1)
    for block in blocks(given.offsets, loci=loci):
        # In units of se_y; padding is 0 in everything.
        u, z, s, rho = (block.of(v, padding=0.0) for v in (x * root, y * root, se_x * root, corr))
        without = _slopes_without(u, z)
        distance = (z - without * u) ** 2
        observed[block.loci] = np.sum(distance, axis=1)
        tail = chi2_tail(distance / (1 + (without * s) ** 2 - 2 * rho * without * s), 1.0)
        corrected = np.minimum(tail * block.known.sum(axis=1)[:, None], 1.0)
        rows = block.rows[block.known]
        rss[order[rows]] = distance[block.known] / root[rows] ** 2
        pvalue[order[rows]] = corrected[block.known]
        expected[rows] = (without * u)[block.known] / root[rows]

    def statistic(block: Block, x: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "block draws"]:
        scale = block.of(root, padding=0.0)[:, None]
        return _global(np.multiply(x, scale, out=x), np.multiply(y, scale, out=y))

    drawn = effect_draws(replace(given, beta_outcome=expected), statistic, n_boot=n_boot, seed=seed, loci=loci)
    beyond = (1.0 + np.sum(drawn >= observed[:, None], axis=1)) / (n_boot + 1)
    return _Tests(
        global_rss=observed, global_pvalue=np.where(loci, beyond, np.nan), rss=rss, pvalue=pvalue, reason=alone
    )


def _slopes_without(
    u: Float[np.ndarray, "*lead width"], z: Float[np.ndarray, "*lead width"]
) -> Float[np.ndarray, "*lead width"]:
    """Return the slope through the origin without each row in turn, from the sums over all rows."""
    own = u * u
    squares = own.sum(axis=-1, keepdims=True) - own
    own = u * z
    products = own.sum(axis=-1, keepdims=True) - own
    return np.divide(products, squares, out=products, where=squares > 0)


def _global(
    u: Float[np.ndarray, "block draws width"], z: Float[np.ndarray, "block draws width"]
) -> Float[np.ndarray, "block draws"]:
    """Return the sum of squared distances from the slopes without each row."""
    distance = _slopes_without(u, z)
    distance *= u
    distance -= z
    return np.einsum("bdj,bdj->bd", distance, distance)


def _distortion(
    instruments: Instruments, outlier: Bool[np.ndarray, "rows"], *, n_boot: int, seed: int
) -> tuple[Float[np.ndarray, "loci"], Float[np.ndarray, "loci"]]:
    """Return how far outliers moved the slope, as a share of what it is without them, and the P value of that."""
    given, order = oriented(instruments), canonical_order(instruments)
    x, _ = exposure_of(given)
    root = 1 / given.se_outcome
    u, z = x * root, given.beta_outcome * root
    distortion, beyond = np.full(len(given.loci), np.nan), np.full(len(given.loci), np.nan)
    home = np.repeat(np.arange(len(given.loci)), given.counts)
    n_outliers = np.bincount(home, weights=outlier, minlength=len(given.loci))
    loci = (n_outliers > 0) & (given.counts - n_outliers >= 2)
    beyond[loci] = 0.0
    widest = int(given.counts[loci].max(initial=0))
    for _, chance in uniforms(n_boot, widest, seed=seed):
        for block in blocks(given.offsets, loci=loci, depth=CACHE * len(chance)):
            rows, known = order[block.rows], block.known
            kept = known & ~outlier[rows]
            clean = _slope(u[rows], z[rows], kept)
            moved = _slope(u[rows], z[rows], known) - clean
            distortion[block.loci] = divide(moved, np.abs(clean), otherwise=0.0)
            left = np.argsort(~kept, axis=1, kind="stable")  # those that are kept first
            picked = (chance[:, : rows.shape[1]] * kept.sum(axis=1)[:, None, None]).astype(int)
            drawn = np.take_along_axis(np.take_along_axis(rows, left, axis=1)[:, None], picked, axis=2)
            products, squares = (u * z)[drawn] * known[:, None], (u * u)[drawn] * known[:, None]
            resampled = divide(products.sum(axis=2), squares.sum(axis=2), otherwise=0.0)
            beyond[block.loci] += np.sum(np.abs(resampled - clean[:, None]) >= np.abs(moved)[:, None], axis=1)
    return distortion, (1 + beyond) / (1 + n_boot)


def _slope(
    u: Float[np.ndarray, "block width"], z: Float[np.ndarray, "block width"], kept: Bool[np.ndarray, "block width"]
) -> Float[np.ndarray, "block"]:
    return divide(np.sum(u * z * kept, axis=1), np.sum(u * u * kept, axis=1), otherwise=0.0)
