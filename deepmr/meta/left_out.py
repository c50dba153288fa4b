"""A group of loci without one of them, for every locus at once: sums of all loci, less the locus's own term."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from deepmr.linalg import divide
from deepmr.meta.curves import Curves, fit_curves
from deepmr.meta.evidence import Packed, Weighted, Weighting, Within
from deepmr.meta.studies import Groups
from deepmr.meta.tau2 import ITERATED, LIKELIHOOD_GRID, Tau2, highest_tau2, polish_peak, solve_falling

_DOMINANT = 0.99  # share of a sum beyond which the rest of it is lost in rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Weighted sums without one locus each, w = 1 / (variance + tau2), residuals r about the mean without it.

    Attributes
    ----------
    w, w2, w3 : sums of w, w^2, w^3.
    centre : weighted mean.
    q, w2r, w2r2, w3r2 : sums of w r^2, w^2 r, w^2 r^2, w^3 r^2.
    sampled : sum of w^2 times sampling variance.
    moved : sum of w times the members' errors.
    """

    w: Groups
    w2: Groups
    w3: Groups
    centre: Groups
    q: Groups
    w2r: Groups
    w2r2: Groups
    w3r2: Groups
    sampled: Groups
    moved: Float[np.ndarray, "factors groups"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """One group a left-out locus.

    Attributes
    ----------
    beta, variance, sampling, factors : of all loci, effects about `middle`.
    out : the locus that each group is without.
    middle : of the effects.
    curves : sums over all loci as functions of tau2.
    """

    beta: Float[np.ndarray, "studies"]
    variance: Float[np.ndarray, "studies"]
    sampling: Float[np.ndarray, "studies"]
    factors: Float[np.ndarray, "factors studies"]
    out: Int[np.ndarray, "groups"]
    middle: float
    curves: Curves

    @property
    def counts(self) -> Groups:
        """Number of loci of each group."""
        return np.full(len(self.out), len(self.beta) - 1.0)

    @property
    def origin(self) -> Groups:
        """Where effects are measured from."""
        return np.full(len(self.out), self.middle)

    def weighted(self, tau2: Groups, weights: Weighting) -> Weighted:
        """Return sums under the weights 1 / (variance + tau2), or equal ones."""
        if weights == "equal":
            n, mean = self.counts, self.beta.mean()
            return Weighted(
                total=n,
                square=1 / n,
                cube=1 / n**2,
                centre=mean - (self.beta[self.out] - mean) / n,
                scatter=self._plain() / n,
                sampled=self._less(self.sampling) / n**2,
                within=self._less(self.variance) / n,
                moved=self._less(self.factors) / n,
            )
        at = self.sums(tau2)
        return Weighted(
            total=at.w,
            square=at.w2 / at.w**2,
            cube=at.w3 / at.w**3,
            centre=at.centre,
            scatter=at.q / at.w,
            sampled=at.sampled / at.w**2,
            within=np.maximum(self.counts / at.w - tau2, 0.0),  # sum w v with w = 1 / (v + tau2)
            moved=at.moved / at.w,
        )

    def sums(self, tau2: Groups) -> Sums:
        """Return the sums at one tau2 a group.

        Notes
        -----
        Without locus j the mean moves by d = -w_j r_j / (sum w - w_j), and Q loses w_j r_j^2 sum w / (sum w - w_j).
        """
        unit, all_ = tau2 + self.curves.least, self.curves.at(tau2)
        u = unit / (self.variance[self.out] + tau2)  # weights in this unit are 0 to 1
        r = self.beta[self.out] - all_[3]
        w, w2, w3 = all_[0] - u, all_[1] - u**2, all_[2] - u**3
        d = -u * r / w
        w2r, w3r = all_[5] - u**2 * r, all_[7] - u**3 * r
        return Sums(
            w=w / unit,
            w2=w2 / unit**2,
            w3=w3 / unit**3,
            centre=all_[3] + d,
            q=np.maximum(all_[4] - u * r**2 * all_[0] / w, 0.0) / unit,
            w2r=(w2r - d * w2) / unit**2,
            w2r2=np.maximum(all_[6] - u**2 * r**2 - 2 * d * w2r + d**2 * w2, 0.0) / unit**2,
            w3r2=np.maximum(all_[8] - u**3 * r**2 - 2 * d * w3r + d**2 * w3, 0.0) / unit**3,
            sampled=(all_[9] - u**2 * self.sampling[self.out]) / unit**2,
            moved=(all_[10:] - u * self.factors[:, self.out]) / unit,
        )

    def between(self, method: Tau2) -> Groups:
        """Estimate tau2."""
        n, df = self.counts, self.counts - 1
        if method == "EE":
            return np.zeros_like(n)
        if method in ("REML", "ML"):
            return self._peak(restricted=method == "REML")
        if method in ITERATED:
            return self.solve(stats.chi2.ppf(0.5, df) if method == "PMM" else df)
        if method == "HE":
            found = (self._plain() - self._less(self.variance) * df / n) / df
        elif method == "GENQ":
            w = 1 / np.sqrt(self.variance)
            total = self._less(w)
            found = (self._weighted_q(w) - self._less(1 / w) + n / total) / (total - self._less(w**2) / total)
        elif method == "SJ":
            first = self._sidik_jonkman_start()
            found = first * self.sums(first).q / df
        else:
            at = self.sums(np.zeros_like(n))
            if method == "DL":
                found = (at.q - df) / (at.w - at.w2 / at.w)
            else:
                found = (at.q - n) / at.w if method == "HS" else (at.q - df) * n / df / at.w
        return np.maximum(found, 0.0)

    def between_se(self, method: Tau2, tau2: Groups) -> Groups:
        """Return the standard error of tau2; see `tau2.between_variance_se`."""
        n, df = self.counts, self.counts - 1
        if method == "EE":
            return np.zeros_like(n)
        if method in ITERATED:
            at = self.sums(tau2)
            if method == "ML":
                return np.sqrt(2 / at.w2)
            if method == "REML":
                trace = at.w2 - 2 * at.w3 / at.w + (at.w2 / at.w) ** 2
                return np.sqrt(divide(np.full_like(n, 2.0), trace, otherwise=np.inf))
            return np.sqrt(2 * n**2 / df) / at.w
        if method in ("HE", "GENQ"):
            w = np.ones_like(self.variance) if method == "HE" else 1 / np.sqrt(self.variance)
            total = self._less(w)
            scale = 1 / df if method == "HE" else 1 / (total - self._less(w**2) / total)
            return np.sqrt(2 * np.maximum(self._trace(w, tau2), 0.0)) * scale
        first = self._sidik_jonkman_start() if method == "SJ" else np.zeros_like(n)
        at, more = self.sums(first), tau2 - first  # the spread is 1 / w + more
        trace = n + 2 * more * at.w + more**2 * at.w2
        trace = trace - 2 * (at.w + 2 * more * at.w2 + more**2 * at.w3) / at.w + (1 + more * at.w2 / at.w) ** 2
        scale = {"SJ": first / df, "DL": 1 / (at.w - at.w2 / at.w), "HS": 1 / at.w, "HSk": n / df / at.w}[method]
        return np.sqrt(2 * np.maximum(trace, 0.0)) * scale

    def solve(self, target: float | Groups) -> Groups:
        """Return the tau2 at which the generalised Q meets a target; 0 where it starts below."""

        def q_at(tau2: Groups) -> tuple[Groups, Groups]:
            at = self.sums(tau2)
            return at.q, at.w2r2

        goal = np.broadcast_to(np.asarray(target, dtype=float), self.counts.shape)
        return solve_falling(q_at, goal, self._plain())

    def _peak(self, *, restricted: bool) -> Groups:
        """Return the tau2 of the highest likelihood; all groups have the effects farthest apart."""
        top = float(highest_tau2(np.array([np.ptp(self.beta)]))[0])
        best, index = np.full(len(self.out), -np.inf), np.full(len(self.out), -1)
        for i, share in enumerate([0.0, *LIKELIHOOD_GRID]):
            w = 1 / (self.variance + share * top)
            total, own = w.sum(), w[self.out]
            residual = self.beta - (w @ self.beta) / total
            q = w @ residual**2 - own * residual[self.out] ** 2 * total / (total - own)
            value = 0.5 * (np.log(w).sum() - np.log(own) - q)
            if restricted:
                value -= 0.5 * np.log(total - own)
            better = value > best
            best, index = np.where(better, value, best), np.where(better, i - 1, index)

        def score(tau2: Groups) -> tuple[Groups, Groups]:
            at = self.sums(tau2)
            trace, square = at.w, at.w2
            if restricted:
                trace, square = trace - at.w2 / at.w, square - 2 * at.w3 / at.w + (at.w2 / at.w) ** 2
            return at.w2r2 - trace, square - 2 * (at.w3r2 - at.w2r**2 / at.w)

        return polish_peak(index, np.full(len(self.out), top), score)

    def _less(self, values: Float[np.ndarray, "*lead studies"]) -> Float[np.ndarray, "*lead groups"]:
        """Sum over all loci but the one left out."""
        return values.sum(axis=-1, keepdims=True) - values[..., self.out]

    def _weighted_q(self, w: Float[np.ndarray, "studies"]) -> Groups:
        """Return the weighted residual sum of squares under weights that do not depend on who is left out."""
        total, own = w.sum(), w[self.out]
        residual = self.beta - (w @ self.beta) / total
        return w @ residual**2 - own * residual[self.out] ** 2 * total / (total - own)

    def _plain(self) -> Groups:
        return np.maximum(self._weighted_q(np.ones_like(self.beta)), 0.0)

    def _sidik_jonkman_start(self) -> Groups:
        first = self._plain() / self.counts
        return np.where(first > 0, first, 1.0)

    def _trace(self, w: Float[np.ndarray, "studies"], tau2: Groups) -> Groups:
        """Return tr PSPS, as in `studies.projection_traces`, for weights that do not depend on who is left out."""

        def moment(power: int, of_spread: int) -> Groups:
            v, lead = self.variance, w**power
            if of_spread == 1:
                return self._less(lead * v) + tau2 * self._less(lead)
            return self._less(lead * v**2) + 2 * tau2 * self._less(lead * v) + tau2**2 * self._less(lead)

        total = self._less(w)
        return moment(2, 2) - 2 * moment(3, 2) / total + (moment(2, 1) / total) ** 2


def left_out(loci: Packed, within: Within, *, level: float) -> tuple[LeftOut, Int[np.ndarray, "apart"]]:
    """Return the groups that lack one locus each, and the loci that must be left out the long way.

    Parameters
    ----------
    loci : one group of more than two.
    within : their variances.
    level : of the intervals of tau2.

    Notes
    -----
    A locus that makes up nearly the whole of a sum, or whose effect lies farthest out, is left out the long way: the
    rest of the sum would be rounding, and the likelihood is searched on another grid. There are few of them.
    """
    beta, v = loci.beta, within.total
    weights = 1 / (v + np.var(beta))
    middle = float(np.clip(weights @ beta / weights.sum(), beta.min(), beta.max()))  # equal effects become exactly zero
    y, k = beta - middle, len(beta)
    plain = float(np.sum((y - y.mean()) ** 2))
    goal = min(stats.chi2.ppf((1 - level) / 2, k - 2), stats.chi2.ppf(0.5, k - 2))
    highest = max(plain / goal, float(highest_tau2(np.array([np.ptp(y)]))[0])) or 1.0
    curves, seen = fit_curves(y, v, within.sampling, loci.factors, highest=highest, dominant=_DOMINANT)
    extremes = [np.argmin(y), np.argmax(y), np.argmin(v), np.argmax(v), np.argmax(np.abs(y - y.mean()))]
    apart = np.array(sorted(seen.union(map(int, extremes))))
    others = np.setdiff1d(np.arange(k), apart)
    groups = LeftOut(
        beta=y, variance=v, sampling=within.sampling, factors=loci.factors, out=others, middle=middle, curves=curves
    )
    return groups, apart
