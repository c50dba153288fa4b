"""Clusters of instruments as one instrument each, which keeps slopes, heterogeneity and shared errors as they are."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from deepmr.linalg import divide, segment_repeat, segment_sum
from deepmr.mr.errors import own_covariance
from deepmr.mr.lines import exposure_of
from deepmr.types import Instruments


@dataclass(frozen=True, slots=True, kw_only=True)
class Collapsed:
    """Clusters of instruments, each put together to one.

    Attributes
    ----------
    instruments : one a cluster, by locus, then by label; those in no cluster have no part. The variant is the cluster's
        strongest instrument.
    label : of each cluster.
    n : instruments of each.
    df : of the scatter within clusters, a number a locus; 0 where each cluster has one instrument.
    """

    instruments: Instruments
    label: Int[np.ndarray, "clusters"]
    n: Int[np.ndarray, "clusters"]
    df: Float[np.ndarray, "loci"]

    @property
    def home(self) -> Int[np.ndarray, "clusters"]:
        """Number of each cluster's locus."""
        given = self.instruments
        return np.repeat(np.arange(len(given.loci)), given.counts)

    @property
    def x(self) -> Float[np.ndarray, "clusters"]:
        """Root of the sum of squared exposure effects."""
        return self.instruments.beta_exposure[:, 0]

    @property
    def own(self) -> Float[np.ndarray, "clusters"]:
        """Variance of y less the slope times x that members do not share."""
        covariance = own_covariance(self.instruments, floor=0.0)
        slope = divide(self.instruments.beta_outcome, self.x, otherwise=0.0)
        return covariance[:, 1, 1] - 2 * slope * covariance[:, 0, 1] + slope**2 * covariance[:, 0, 0]

    @property
    def moves(self) -> Float[np.ndarray, "factors clusters"]:
        """How shared errors move the slope of each cluster; no factor where there are none."""
        given = self.instruments
        if given.error_factors is None:
            return np.zeros((0, len(self.n)))
        slope = given.beta_outcome / self.x
        return (given.error_factors[:, :, 1] - slope * given.error_factors[:, :, 0]) / self.x


def collapse(instruments: Instruments, label: Int[np.ndarray, "instruments"]) -> Collapsed:
    """Put the instruments of each cluster together to one.

    Parameters
    ----------
    instruments : one exposure. A correlation of instruments (linkage disequilibrium) has no part here.
    label : cluster of each, any numbers, of a locus' own; below 0 for an instrument in no cluster. A cluster whose
        exposure effects are all 0 is left out.

    Notes
    -----
    X = sqrt(sum x^2) and Y = sum(x y) / X over the instruments of a cluster. Then Y / X is the equal-weight slope of
    the cluster; sum(X Y) / sum(X^2) over clusters is that of all their instruments; and sum (Y - b X)^2 is the part
    between clusters of sum (y - b x)^2. Shared errors f of x and g of y move X by sum(x f) / X and Y by
    (sum(x g + y f) - Y dX) / X, to first order, whence they move slopes as they would move those of the instruments.
    What each instrument's error has to itself is carried on in the same way. Where instruments scatter about the line
    of their own cluster by more than both kinds of error explain, the mean square of what is left, pooled over the
    locus, is added to the variance of Y: clusters are not expected to agree better than instruments of one cluster do.
    Every method for instruments can then be run on clusters.
    """
    x, _ = exposure_of(instruments)
    home = np.repeat(np.arange(len(instruments.loci)), instruments.counts)
    total = np.bincount(home[label >= 0], x[label >= 0] ** 2, minlength=len(instruments.loci))
    used = np.flatnonzero((label >= 0) & (total[home] > 0))
    order = used[np.lexsort((label[used], home[used]))]
    given, key = instruments.pick(order), label[order]
    home = home[order]
    first = np.flatnonzero((np.diff(home, prepend=-1) != 0) | (np.diff(key, prepend=-1) != 0))
    bounds = np.append(first, len(order))
    given, bounds, first, key, home = _without_zeros(given, bounds, key, home)
    x, y = given.beta_exposure[:, 0].astype(float), given.beta_outcome.astype(float)
    size = np.sqrt(segment_sum(x**2, bounds))
    effect = segment_sum(x * y, bounds) / size
    residual = y - segment_repeat(effect / size, bounds) * x
    n = np.diff(bounds)
    df = np.bincount(home[first], n - 1, minlength=len(given.loci)).astype(float)
    factors = _carried(given, bounds, size=size, effect=effect)
    own = own_covariance(given, floor=0.0) if len(first) else np.zeros((0, 2, 2))
    excess = residual**2 - _expected(given, bounds, own, factors, size=size, effect=effect)
    within = np.maximum(np.bincount(home, excess, minlength=len(given.loci)).astype(float), 0.0)
    own_x = segment_sum(x**2 * own[:, 0, 0], bounds) / size**2
    own_y = segment_sum(x**2 * own[:, 1, 1] + residual**2 * own[:, 0, 0], bounds) / size**2
    own_y += divide(within, df, otherwise=0.0)[home[first]]
    if factors is not None:
        own_x, own_y = (v + np.sum(factors[:, :, k] ** 2, axis=0) for k, v in enumerate((own_x, own_y)))
    tiny = np.finfo(float).tiny
    strongest = np.lexsort((-np.abs(x), np.repeat(np.arange(len(n)), n)))[first] if len(first) else first
    packed = Instruments(
        loci=given.loci,
        offsets=np.searchsorted(home[first], np.arange(len(given.loci) + 1)),
        exposures=given.exposures,
        outcome=given.outcome,
        variants=given.variants.iloc[strongest].reset_index(drop=True),
        beta_exposure=size[:, None],
        se_exposure=np.sqrt(np.maximum(own_x, tiny))[:, None],
        beta_outcome=effect,
        se_outcome=np.sqrt(np.maximum(own_y, tiny)),
        error_factors=factors,
        error_corr=given.error_corr,
        estimand=given.estimand,
    )
    return Collapsed(instruments=packed, label=key[first], n=n, df=df)


def _without_zeros(
    given: Instruments,
    bounds: Int[np.ndarray, "clusters_plus_one"],
    key: Int[np.ndarray, "rows"],
    home: Int[np.ndarray, "rows"],
) -> tuple[Instruments, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Leave out clusters whose exposure effects are all 0; return where clusters begin anew."""
    sizes = segment_sum(given.beta_exposure[:, 0].astype(float) ** 2, bounds)
    keep = segment_repeat(sizes > 0, bounds)
    if not keep.all():
        given, key, home = given.take(keep), key[keep], home[keep]
        bounds = np.append(0, np.cumsum(np.diff(bounds)[sizes > 0]))
    return replace(given, correlation=None, n=None), bounds, bounds[:-1], key, home


def _carried(
    given: Instruments,
    bounds: Int[np.ndarray, "clusters_plus_one"],
    *,
    size: Float[np.ndarray, "clusters"],
    effect: Float[np.ndarray, "clusters"],
) -> Float[np.ndarray, "factors clusters 2"] | None:
    """How shared errors move X and Y of each cluster."""
    if given.error_factors is None:
        return None
    x, y = given.beta_exposure[:, 0].astype(float), given.beta_outcome.astype(float)
    f, g = (np.asarray(given.error_factors[:, :, k], dtype=float) for k in (0, 1))
    by_x = segment_sum(x * f, bounds) / size
    by_y = (segment_sum(x * g + y * f, bounds) - effect * by_x) / size
    return np.stack([by_x, by_y], axis=2)


def _expected(
    given: Instruments,
    bounds: Int[np.ndarray, "clusters_plus_one"],
    own: Float[np.ndarray, "rows 2 2"],
    factors: Float[np.ndarray, "factors clusters 2"] | None,
    *,
    size: Float[np.ndarray, "clusters"],
    effect: Float[np.ndarray, "clusters"],
) -> Float[np.ndarray, "rows"]:
    """What errors explain of the squared residual of each instrument about the line of its cluster, in sum over it."""
    x = given.beta_exposure[:, 0].astype(float)
    slope = segment_repeat(effect / size, bounds)
    alone = own[:, 1, 1] - 2 * slope * own[:, 0, 1] + slope**2 * own[:, 0, 0]
    expected = alone * (1 - (x / segment_repeat(size, bounds)) ** 2)
    if factors is None or given.error_factors is None:
        return expected
    shift = given.error_factors[:, :, 1] - slope * given.error_factors[:, :, 0]
    line = (factors[:, :, 1] - effect / size * factors[:, :, 0]) / size
    return expected + np.sum((shift - segment_repeat(line, bounds) * x) ** 2, axis=0)
