"""Constrained maximum likelihood (cML): any number of invalid instruments, averaged or chosen by BIC."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from deepmr.errors import InputError
from deepmr.linalg import divide, segment_sum
from deepmr.mr.lines import (
    canonical_order,
    error_extras,
    exposure_of,
    mean_f,
    oriented,
    standard_error,
    too_few,
)
from deepmr.mr.members import member_factors
from deepmr.packed import blocks
from deepmr.types import Estimates, Instruments, make_estimates

_STARTS = 64  # ratios from which the search starts
_NEGLIGIBLE = 80.0  # BIC above the smallest from which a weight, exp(-40), is nothing
_CLOSE, _MAX_ITERATIONS = 1e-9, 100
_CELLS = 1_000_000  # numbers of one array

_NO_SIZE = "needs sample sizes: of the instruments, or `n_samples`"
_ZERO = "not identified: every exposure effect is zero"


def cml(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    choice: Literal["averaged", "selected"] = "averaged",
    n_samples: float | None = None,
    n_perturb: int = 0,
    seed: int = 0,
) -> Estimates:
    """Estimate the causal effect by constrained maximum likelihood with model averaging (cML-MA).

    Parameters
    ----------
    instruments : one exposure, with sample sizes `n` unless `n_samples` is given.
    min_instruments : loci with fewer are skipped; never below 3.
    level : of the confidence interval.
    choice : `averaged` over numbers of invalid instruments with BIC weights, as MRcML, or the one `selected` by BIC.
    n_samples : sample size in BIC; default the smallest of a locus's instruments and of both traits.
    n_perturb : draws of data perturbation; 0 for none. With it, effect and standard error are mean and standard
        deviation of the estimates from x and y with their error added once more, which allows for the choice of
        instruments.
    seed : of the draws; they are the same at every locus.

    Returns
    -------
    Estimates, with extras `n_valid`, `beta_selected` and `se_selected` (of the smallest BIC) and `f_statistic`.

    Notes
    -----
    For K invalid instruments the profile likelihood is minus half the sum of the J - K smallest
    (y_j - b x_j)^2 / (se_y^2 + b^2 se_x^2), K = 0 .. J - 2; BIC adds K log(n). One sort at an effect gives this sum for
    every K: a search over the ratios, then over each other's optima, starts Newton steps in which instruments are
    chosen anew and no step makes the likelihood worse. (MRcML starts once, from 0, and may stay in a worse local
    maximum.) Numbers K whose BIC cannot come within 80 of the smallest have no weight worth mention and are left out.

    The standard error of one K is that of the observed information at known errors; averaged,
    sum_K w_K sqrt(se_K^2 + (b_K - b)^2). With shared errors, the sampling part has se_K times the residual scale of the
    valid instruments.

    References
    ----------
    Xue H, Shen X, Pan W. Constrained maximum likelihood-based Mendelian randomization robust to both correlated and
    uncorrelated pleiotropic effects. Am J Hum Genet 2021. https://doi.org/10.1016/j.ajhg.2021.05.014

    Raises
    ------
    InputError : on data perturbation of instruments with shared errors, which their standard errors contain already.
    """
    exposure_of(instruments)
    shared = instruments.error_factors is not None
    if n_perturb and shared:
        raise InputError("data perturbation needs independent errors; these instruments carry error_factors")
    sizes = _sample_sizes(instruments, n_samples)
    fit = _fit(instruments, sizes, scatter=shared)
    if n_perturb:
        fit = replace(fit, **_perturbed(instruments, sizes, choice, n_perturb, seed))
    factors = member_factors(instruments, lambda given: _fit(given, sizes, scatter=False).of(choice)[0])
    beta, se = fit.of(choice)
    error = standard_error(se**2, np.full(len(se), np.inf), factors, distribution="normal")
    few = too_few(instruments, max(min_instruments, 3))
    blank = segment_sum(instruments.beta_exposure[:, 0].astype(float) ** 2, instruments.offsets) == 0
    reason = [
        why or (_NO_SIZE if np.isnan(size) else _ZERO if none else "")
        for why, size, none in zip(few, sizes, blank, strict=True)
    ]
    return make_estimates(
        "cml",
        instruments,
        beta=beta,
        se=error.se,
        df=error.df,
        reason=reason,
        level=level,
        extra={
            "n_valid": fit.n_valid,
            "beta_selected": fit.beta_selected,
            "se_selected": fit.se_selected,
            "f_statistic": mean_f(instruments),
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """Averaged and selected effect of every locus; NaN where there is none."""

    beta: Float[np.ndarray, "loci"]
    se: Float[np.ndarray, "loci"]
    beta_selected: Float[np.ndarray, "loci"]
    se_selected: Float[np.ndarray, "loci"]
    n_valid: Float[np.ndarray, "loci"]

    def of(self, choice: str) -> tuple[Float[np.ndarray, "loci"], Float[np.ndarray, "loci"]]:
        """Return effect and standard error of a choice."""
        return (self.beta, self.se) if choice == "averaged" else (self.beta_selected, self.se_selected)


def _sample_sizes(instruments: Instruments, n_samples: float | None) -> Float[np.ndarray, "loci"]:
    sizes = np.full(len(instruments.loci), np.nan if n_samples is None else n_samples)
    filled = instruments.counts > 0
    if n_samples is None and instruments.n is not None and filled.any():
        sizes[filled] = np.minimum.reduceat(instruments.n.min(axis=1), instruments.offsets[:-1][filled])
    return sizes


def _perturbed(
    instruments: Instruments, sizes: Float[np.ndarray, "loci"], choice: str, n_perturb: int, seed: int
) -> dict[str, Float[np.ndarray, "loci"]]:
    """Return mean and standard deviation of the effect over data with their error added once more."""
    given, order = oriented(instruments), canonical_order(instruments)
    within = np.concatenate([np.arange(count) for count in given.counts]) if len(order) else order
    draws = np.random.default_rng(seed).standard_normal((int(given.counts.max(initial=0)), 2, n_perturb))
    noise = np.empty((len(order), 2, n_perturb))
    noise[order] = draws[within]
    found = np.empty((n_perturb, len(given.loci)))
    for k in range(n_perturb):
        moved = replace(
            given,
            beta_exposure=given.beta_exposure + given.se_exposure * noise[:, :1, k],
            beta_outcome=given.beta_outcome + given.se_outcome * noise[:, 1, k],
        )
        found[k] = _fit(moved, sizes, scatter=False).of(choice)[0]
    names = ("beta", "se") if choice == "averaged" else ("beta_selected", "se_selected")
    return dict(zip(names, (found.mean(axis=0), found.std(axis=0, ddof=1)), strict=True))


def _fit(instruments: Instruments, sizes: Float[np.ndarray, "loci"], *, scatter: bool) -> _Fit:
    """Fit every locus that has at least 3 instruments and a sample size."""
    x, se_x = exposure_of(instruments)
    t = instruments.se_outcome.astype(float)
    u, z, q = x / t, instruments.beta_outcome / t, (se_x / t) ** 2
    out = {name: np.full(len(sizes), np.nan) for name in ("beta", "se", "beta_selected", "se_selected", "n_valid")}
    told = segment_sum((u != 0).astype(float), instruments.offsets) > 0
    wanted = (instruments.counts >= 3) & np.isfinite(sizes) & told
    for block in blocks(instruments.offsets, loci=wanted, depth=4):
        laid = _Laid(u=block.of(u, padding=0.0), z=block.of(z, padding=0.0), q=block.of(q), known=block.known)
        for name, values in _estimate(laid, np.log(sizes[block.loci]), scatter=scatter).items():
            out[name][block.loci] = values
    return _Fit(**out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Laid:
    """Some loci, or pairs of a locus and a number of invalid instruments, in units of se_outcome."""

    u: Float[np.ndarray, "block width"]
    z: Float[np.ndarray, "block width"]
    q: Float[np.ndarray, "block width"]
    known: Bool[np.ndarray, "block width"]

    def take(self, rows: Int[np.ndarray, "taken"]) -> "_Laid":
        return _Laid(u=self.u[rows], z=self.z[rows], q=self.q[rows], known=self.known[rows])

    def cost(self, theta: Float[np.ndarray, "block"]) -> Float[np.ndarray, "block width"]:
        """Return minus twice the profile log-likelihood of every instrument; infinite for padding."""
        at = theta[:, None]
        return np.where(self.known, (self.z - at * self.u) ** 2 / (1 + at**2 * self.q), np.inf)

    def keep(
        self, theta: Float[np.ndarray, "block"], n_valid: Int[np.ndarray, "block"]
    ) -> tuple[Bool[np.ndarray, "block width"], Float[np.ndarray, "block"]]:
        """Return the n_valid instruments that fit best, and the sum of their costs."""
        cost = self.cost(theta)
        order = np.argsort(cost, axis=1, kind="stable")
        kept = np.zeros(cost.shape, dtype=bool)
        np.put_along_axis(kept, order, np.arange(cost.shape[1]) < n_valid[:, None], axis=1)
        return kept, np.sum(np.where(kept, cost, 0.0), axis=1)


def _estimate(laid: _Laid, log_n: Float[np.ndarray, "block"], *, scatter: bool) -> dict[str, np.ndarray]:
    """Return the fields of `_Fit` for a block."""
    counts = laid.known.sum(axis=1)
    height, theta = _search(laid, counts, _starts(laid))
    invalid = np.arange(height.shape[1])
    bic = height + invalid * log_n[:, None]
    # The likelihood can at most take the whole height away.
    able = np.isfinite(height) & (invalid * log_n[:, None] <= bic.min(axis=1)[:, None] + _NEGLIGIBLE)
    locus, number = np.nonzero(able)
    found = _refined(laid, locus, counts[locus] - number, theta[able])
    # The optima of other numbers of invalid instruments are starts too.
    others = np.where(able, 0.0, np.nan)
    others[able] = found.theta
    height, theta = _search(laid, counts, others)
    better = height[able] < found.height * (1 - 1e-9) - 1e-300
    if better.any():
        again = _refined(laid, locus[better], (counts[locus] - number)[better], theta[able][better])
        for name in ("theta", "height", "information"):
            getattr(found, name)[better] = getattr(again, name)
    return _averaged(able, found, number, counts, log_n, scatter=scatter)


def _starts(laid: _Laid) -> Float[np.ndarray, "block starts"]:
    """Return ratios spread over their ranks; NaN where there are fewer."""
    ratio = np.where(laid.known & (laid.u != 0), _quotient(laid.z, laid.u), np.inf)
    ratio = np.sort(ratio, axis=1)
    n = np.isfinite(ratio).sum(axis=1)
    steps = np.linspace(0, 1, min(_STARTS, ratio.shape[1]))
    chosen = np.take_along_axis(ratio, np.rint(steps * (n[:, None] - 1)).astype(int), axis=1)
    return np.where(np.isfinite(chosen), chosen, np.nan)


def _quotient(a: Float[np.ndarray, "*shape"], b: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Divide where `b` is not zero, and give 0 elsewhere."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


def _search(
    laid: _Laid, counts: Int[np.ndarray, "block"], starts: Float[np.ndarray, "block starts"]
) -> tuple[Float[np.ndarray, "block numbers"], Float[np.ndarray, "block numbers"]]:
    """Return, for 0, 1, ... J - 2 invalid instruments, the least sum of costs at any start, and the start."""
    numbers = np.arange(max(laid.u.shape[1] - 1, 1))
    last = counts[:, None] - numbers - 1  # rank of the worst instrument that counts
    possible = last >= 1
    height, theta = np.full(last.shape, np.inf), np.zeros(last.shape)
    for start in starts.T:
        there = np.isfinite(start)
        total = np.cumsum(np.sort(laid.cost(np.where(there, start, 0.0)), axis=1), axis=1)
        total = np.take_along_axis(total, np.maximum(last, 0), axis=1)
        better = possible & there[:, None] & (total < height)
        height, theta = np.where(better, total, height), np.where(better, start[:, None], theta)
    return height, theta


@dataclass(frozen=True, slots=True, kw_only=True)
class _Optimum:
    """Effect, sum of costs and observed information of pairs of a locus and a number of invalid instruments."""

    theta: Float[np.ndarray, "pairs"]
    height: Float[np.ndarray, "pairs"]
    information: Float[np.ndarray, "pairs"]


def _refined(
    laid: _Laid, locus: Int[np.ndarray, "pairs"], n_valid: Int[np.ndarray, "pairs"], theta: Float[np.ndarray, "pairs"]
) -> _Optimum:
    """Follow pairs of a locus and a number of valid instruments to a maximum of the likelihood."""
    size = max(_CELLS // laid.u.shape[1], 1)
    parts = [
        _followed(laid.take(locus[i : i + size]), n_valid[i : i + size], theta[i : i + size])
        for i in range(0, len(locus), size)
    ]
    return _Optimum(
        theta=np.concatenate([p.theta for p in parts]),
        height=np.concatenate([p.height for p in parts]),
        information=np.concatenate([p.information for p in parts]),
    )


def _followed(laid: _Laid, n_valid: Int[np.ndarray, "pairs"], theta: Float[np.ndarray, "pairs"]) -> _Optimum:
    """Take Newton steps until a pair moves no more; where one makes it worse, a step of block coordinate descent."""
    theta = theta.copy()
    information, height = np.zeros(len(theta)), np.full(len(theta), np.inf)
    going = np.arange(len(theta))
    for _ in range(_MAX_ITERATIONS):
        here, m = laid.take(going), n_valid[going]
        kept, height[going] = here.keep(theta[going], m)
        newton, careful, information[going] = _steps(here, kept, theta[going])
        _, after = here.keep(newton, m)
        step = np.where((information[going] > 0) & (after <= height[going]), newton, careful)
        moved = np.abs(step - theta[going])
        near = moved * np.sqrt(np.maximum(information[going], 0.0)) <= _CLOSE
        near |= moved <= 1e-15 * np.abs(step)
        theta[going] = np.where(near & (after > height[going]), theta[going], step)
        going = going[~near]
        if not len(going):
            break
    return _Optimum(theta=theta, height=height, information=information)


def _steps(
    laid: _Laid, kept: Bool[np.ndarray, "pairs width"], theta: Float[np.ndarray, "pairs"]
) -> tuple[Float[np.ndarray, "pairs"], Float[np.ndarray, "pairs"], Float[np.ndarray, "pairs"]]:
    """Return the effects after a Newton step and after one of block coordinate descent, and the information."""
    at = theta[:, None]
    variance = 1 + at**2 * laid.q
    exposure = (laid.u + at * laid.q * laid.z) / variance  # most likely true effect on the exposure
    slope = np.sum(np.where(kept, (laid.z - at * laid.u) * exposure / variance, 0.0), axis=1)
    squares = np.sum(np.where(kept, exposure**2, 0.0), axis=1)
    bend = np.sum(np.where(kept, (2 * exposure * at - laid.z) ** 2 * laid.q / variance, 0.0), axis=1)
    information = squares - bend
    newton = theta + slope * divide(np.ones_like(theta), information, otherwise=0.0)
    return newton, theta + slope * divide(np.ones_like(theta), squares, otherwise=0.0), information


def _averaged(
    able: Bool[np.ndarray, "block numbers"],
    found: _Optimum,
    number: Int[np.ndarray, "pairs"],
    counts: Int[np.ndarray, "block"],
    log_n: Float[np.ndarray, "block"],
    *,
    scatter: bool,
) -> dict[str, np.ndarray]:
    """Put the numbers of invalid instruments of every locus together by BIC."""
    sharp = found.information > 0
    se = np.sqrt(divide(np.ones_like(found.information), found.information))
    if scatter:
        left = (counts[:, None] - np.arange(able.shape[1]) - 1.0)[able]
        se = se * np.sqrt(found.height / left)
    grid = {}
    bic = found.height + number * np.broadcast_to(log_n[:, None], able.shape)[able]
    for name, values, blank in (
        ("bic", np.where(sharp, bic, np.inf), np.inf),
        ("theta", found.theta, 0.0),
        ("se", se, 0.0),
    ):
        grid[name] = np.full(able.shape, blank)
        grid[name][able] = np.where(sharp, values, blank)
    best = np.argmin(grid["bic"], axis=1)[:, None]
    least = np.take_along_axis(grid["bic"], best, axis=1)
    known = np.isfinite(least)
    weight = np.exp(-np.where(np.isfinite(grid["bic"]), grid["bic"] - np.where(known, least, 0.0), np.inf) / 2)
    weight /= np.where(known, weight.sum(axis=1, keepdims=True), 1.0)
    beta = np.sum(weight * grid["theta"], axis=1)
    spread = np.sqrt(grid["se"] ** 2 + (grid["theta"] - beta[:, None]) ** 2)
    nothing = np.where(known[:, 0], 0.0, np.nan)
    return {
        "beta": beta + nothing,
        "se": np.sum(weight * spread, axis=1) + nothing,
        "beta_selected": np.take_along_axis(grid["theta"], best, axis=1)[:, 0] + nothing,
        "se_selected": np.take_along_axis(grid["se"], best, axis=1)[:, 0] + nothing,
        "n_valid": counts - best[:, 0] + nothing,
    }
