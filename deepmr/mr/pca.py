"""Estimates from the leading principal components of correlated instruments."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from deepmr.linalg import divide
from deepmr.mr.correlated import NEGATIVE, singular, stacks
from deepmr.mr.gls import Model
from deepmr.mr.lines import Distribution, cochran, error_extras, exposure_of, standard_error, too_few
from deepmr.mr.members import member_factors
from deepmr.types import Estimates, Instruments, make_estimates

Components = Literal["eigen", "centred"]

_ZERO = "not identified: every exposure effect is zero"
_WEAK = "not identified: the criterion has no minimum, the components carry too little of the exposure"
_SIZES = "the sample sizes do not allow such effects: the instruments would explain more than all of a trait"


def ivw_pca(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    share: float = 0.99,
    model: Model = "random",
    distribution: Distribution = "normal",
) -> Estimates:
    """Estimate the causal effect by IVW on the principal components of correlated instruments.

    Parameters
    ----------
    instruments : one exposure; `correlation` is used, also a singular one, and independence assumed without it.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    share : of the variation that the components have to reach.
    model, distribution : as for `ivw_gls`, with components in place of instruments.

    Returns
    -------
    Estimates, with extras as for `ivw_random` and `n_components`; Q, its degrees of freedom and F are of the
    components.

    Notes
    -----
    Components W are the leading eigenvectors of |x_i| |x_j| R_ij / (se_i se_j); then b = (x~' S~^-1 x~)^-1 x~' S~^-1 y~
    with x~ = W'x, y~ = W'y and S~ = W' S W. Shared errors as for `ivw_gls`, with the components held fixed.

    References
    ----------
    Burgess S, Zuber V, Valdes-Marquez E, Sun BB, Hopewell JC. Mendelian randomization with fine-mapped genetic data.
    Genet Epidemiol 2017. https://doi.org/10.1002/gepi.22077
    """
    x, se_x = exposure_of(instruments)
    y, t, shared = instruments.beta_outcome, instruments.se_outcome, instruments.error_factors
    beta, unscaled, q, strength, kept = (np.full(len(instruments.loci), np.nan) for _ in range(5))
    factors = None if shared is None else np.zeros((len(shared), len(beta)))
    reason = too_few(instruments, max(min_instruments, 1))
    for loci, rows, correlation, basis in _components(instruments, share, "eigen", reason):
        cov, cov_x = (_project(basis, correlation, se[rows]) for se in (t, se_x))
        xs, ys = (np.einsum("bjk,bj->bk", basis, v[rows]) for v in (x, y))
        solved = np.linalg.solve(cov, xs[..., None])[..., 0]
        information = np.sum(solved * xs, axis=-1)
        beta[loci] = np.sum(solved * ys, axis=-1) / information
        rest = ys - beta[loci][:, None] * xs
        unscaled[loci] = 1 / information
        weighted = np.linalg.solve(cov, rest[..., None])[..., 0]
        q[loci], kept[loci] = np.sum(rest * weighted, axis=-1), basis.shape[-1]
        strength[loci] = np.sum(xs * np.linalg.solve(cov_x, xs[..., None])[..., 0], axis=-1) / basis.shape[-1]
        if factors is not None and shared is not None:
            dx, dy = (np.einsum("bjk,fbj->fbk", basis, shared[:, rows, i]) for i in (0, 1))
            move = np.einsum("bk,fbk->fb", solved, dy - beta[loci][:, None] * dx)
            factors[:, loci] = (move + np.einsum("bk,fbk->fb", weighted, dx)) / information
    df = np.maximum(np.nan_to_num(kept) - 1, 0.0)
    dispersion = divide(q, df, otherwise=1.0)
    if factors is not None:
        scale = np.where(df > 0, dispersion, 0.0) * (model == "random")
    else:
        scale = np.maximum(dispersion, 1.0) if model == "random" else np.ones_like(q)
    error = standard_error(scale * unscaled, df, factors, distribution=distribution)
    return make_estimates(
        "ivw_pca",
        instruments,
        beta=beta,
        se=error.se,
        df=error.df,
        reason=reason,
        level=level,
        extra={
            "sigma": np.sqrt(dispersion),
            **cochran(q, df, shared=factors is not None),
            "f_statistic": strength,
            "n_components": kept,
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


def pc_gmm(
    instruments: Instruments,
    *,
    min_instruments: int = 3,
    level: float = 0.95,
    share: float = 0.99,
    components: Components = "eigen",
    model: Model = "fixed",
    overdispersion: bool = False,
) -> Estimates:
    """Estimate the causal effect by the generalised method of moments on principal components of the instruments.

    Parameters
    ----------
    instruments : one exposure; `correlation` is used, also a singular one; so are sample sizes `n` where given.
    min_instruments : loci with fewer are skipped.
    level : of the confidence interval.
    share : of the variation that the components have to reach.
    components : `eigen`, eigenvectors as for `ivw_pca`; `centred`, those of R's `prcomp`, which takes the mean out of
        the columns first, as MendelianRandomization does: they depend on which allele is counted.
    model : `fixed`, or `random`, which multiplies the variance by max(1, Q / (K - 1)).
    overdispersion : estimate a variance tau2 of direct effects of the instruments that are balanced about zero, which
        weighs components by it; the robust version of the paper. Instead of `model="random"`.

    Returns
    -------
    Estimates, with extras `q` and its kin (over-identification, without tau2), `f_statistic`, `n_components`, and with
    overdispersion `tau2`.

    Notes
    -----
    Component effects g = (W'AW)^-1 W'B with A_ij = R_ij sqrt(a_i a_j), B = a x, a = 1 / (n se^2 + x^2), and variance
    V = (W'AW)^-1 (1 - B'W (W'AW)^-1 W'B) / (n - K + 1); b minimises e' Omega^-1 e, e = g_y - b g_x,
    Omega = V_y + b^2 V_x, which weak instruments do not bias; variance 1 / (g_x' Omega^-1 g_x). Without `n` the limit
    of large samples is taken. With overdispersion, outcome effects have direct effects N(0, tau2 I) beside their
    errors, so that Omega gains tau2 M M' with g_y = M y, and tau2 solves min_b Q = K - 1 where that is above 0. With
    shared errors the sampling part is Q / (K - 1) times that variance (Q with tau2), and the members' part comes from
    differences.

    References
    ----------
    Patel A, Gill D, Shungin D, et al. Robust use of phenotypic heterogeneity at drug target genes for mechanistic
    insights. Genet Epidemiol 2024. https://doi.org/10.1002/gepi.22551
    """
    reason = too_few(instruments, max(min_instruments, 1))
    fit = _gmm(instruments, share, components, overdispersion, reason)
    factors = member_factors(
        instruments, lambda moved: _gmm(moved, share, components, overdispersion, list(reason)).beta
    )
    df = np.maximum(np.nan_to_num(fit.kept) - 1, 0.0)
    dispersion = divide(fit.q_rest, df, otherwise=1.0)
    if factors is not None:
        scale = np.where(df > 0, dispersion, 0.0)
    else:
        scale = np.maximum(dispersion, 1.0) if model == "random" and not overdispersion else np.ones_like(fit.q)
    error = standard_error(scale * fit.unscaled, df, factors, distribution="normal")
    return make_estimates(
        "pc_gmm",
        instruments,
        beta=fit.beta,
        se=error.se,
        df=error.df,
        reason=reason,
        level=level,
        extra={
            **cochran(fit.q, df, shared=factors is not None),
            **({"tau2": fit.tau2} if overdispersion else {}),
            "f_statistic": fit.strength,
            "n_components": fit.kept,
            **error_extras(error, factors),
        },
        error_factors=factors,
    )


def _components(
    instruments: Instruments, share: float, components: Components, reason: list[str]
) -> Iterator[tuple[Int[np.ndarray, "b"], Int[np.ndarray, "b j"], np.ndarray, np.ndarray]]:
    """Yield loci with equally many instruments and components; reasons of the others are filled in."""
    x, _ = exposure_of(instruments)
    size = np.abs(x) / instruments.se_outcome
    for stack in stacks(instruments):
        smallest = np.linalg.eigvalsh(stack.correlation)[:, 0]
        zero = ~np.any(size[stack.rows] > 0, axis=1)
        for i, number in enumerate(stack.loci):
            if not reason[number] and smallest[i] < NEGATIVE:
                reason[number] = singular(float(smallest[i])).replace(", use ivw_pca,", "")
            elif not reason[number] and zero[i]:
                reason[number] = _ZERO
        good = np.array([not reason[i] for i in stack.loci], dtype=bool)
        loci, rows, correlation = stack.loci[good], stack.rows[good], stack.correlation[good]
        if not len(loci):
            continue
        phi = size[rows][:, :, None] * size[rows][:, None, :] * correlation
        if components == "centred":
            phi = phi - phi.mean(axis=1, keepdims=True)
            _, values, right = np.linalg.svd(phi)
            values, vectors = values**2, right.swapaxes(1, 2)
        else:
            values, vectors = np.linalg.eigh(phi)
            values, vectors = values[:, ::-1].clip(min=0), vectors[:, :, ::-1]
        reached = np.cumsum(values, axis=1) / values.sum(axis=1, keepdims=True)
        needed = np.argmax(reached > min(share, 1 - 1e-12), axis=1) + 1
        for k in np.unique(needed):
            same = needed == k
            yield loci[same], rows[same], correlation[same], vectors[same][:, :, :k]


def _project(basis: np.ndarray, correlation: np.ndarray, scale: np.ndarray) -> Float[np.ndarray, "b k k"]:
    scaled = basis * scale[:, :, None]
    return scaled.swapaxes(1, 2) @ correlation @ scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gmm:
    """What GMM finds at every locus: `q` without overdispersion, `q_rest` with it."""

    beta: Float[np.ndarray, "loci"]
    unscaled: Float[np.ndarray, "loci"]
    q: Float[np.ndarray, "loci"]
    q_rest: Float[np.ndarray, "loci"]
    tau2: Float[np.ndarray, "loci"]
    strength: Float[np.ndarray, "loci"]
    kept: Float[np.ndarray, "loci"]


def _gmm(
    instruments: Instruments, share: float, components: Components, overdispersion: bool, reason: list[str]
) -> _Gmm:
    """Fit every locus without a reason; reasons of those that cannot be fitted are filled in."""
    x, se_x = exposure_of(instruments)
    y, t, n = instruments.beta_outcome, instruments.se_outcome, instruments.n
    beta, unscaled, q, q_rest, tau2, strength, kept = (np.full(len(instruments.loci), np.nan) for _ in range(7))
    for loci, rows, correlation, basis in _components(instruments, share, components, reason):
        sizes = [None, None] if n is None else [n[rows, 0], n[rows, -1]]
        gx, vx, _, x_fits = _component_effects(basis, correlation, x[rows], se_x[rows], sizes[0])
        gy, vy, direct, y_fits = _component_effects(basis, correlation, y[rows], t[rows], sizes[1])
        fits, k = x_fits & y_fits, basis.shape[-1]
        b = np.where(fits, _minimise(gx, gy, vx, vy), np.nan)
        q[loci] = _size(b, gx, gy, vx, vy)
        tau2[loci] = 0.0
        if overdispersion and k > 1:
            b, tau2[loci] = _overdispersed(b, gx, gy, vx, vy, direct)
            vy = vy + tau2[loci][:, None, None] * direct
        beta[loci], q_rest[loci], kept[loci] = b, _size(b, gx, gy, vx, vy), k
        usable = np.isfinite(b)
        omega = np.where(usable[:, None, None], vy + b[:, None, None] ** 2 * vx, np.eye(k))
        unscaled[loci] = 1 / np.sum(gx * np.linalg.solve(omega, gx[..., None])[..., 0], axis=-1)
        strength[loci] = np.sum(gx * np.linalg.solve(vx, gx[..., None])[..., 0], axis=-1) / k
        for i in np.flatnonzero(~usable):
            reason[loci[i]] = _WEAK if fits[i] else _SIZES
    return _Gmm(beta=beta, unscaled=unscaled, q=q, q_rest=q_rest, tau2=tau2, strength=strength, kept=kept)


def _size(b: np.ndarray, gx: np.ndarray, gy: np.ndarray, vx: np.ndarray, vy: np.ndarray) -> Float[np.ndarray, "b"]:
    """Return Q(b); NaN where b is."""
    known = np.isfinite(b)
    return np.where(known, _criterion(np.where(known, b, 0.0), gx, gy, vx, vy)[0], np.nan)


def _overdispersed(
    b: np.ndarray, gx: np.ndarray, gy: np.ndarray, vx: np.ndarray, vy: np.ndarray, direct: np.ndarray
) -> tuple[Float[np.ndarray, "b"], Float[np.ndarray, "b"]]:
    """Return b and tau2 where the smallest criterion is K - 1: Newton's steps from tau2 = 0, from which it falls."""
    tau2, free, beta = np.zeros_like(b), gx.shape[1] - 1.0, b.copy()
    for _ in range(50):
        omega = vy + tau2[:, None, None] * direct
        excess = _size(beta, gx, gy, vx, omega) - free
        # Less scatter than the errors explain, or there already.
        going = np.isfinite(beta) & (excess > 1e-10 * free)
        if not going.any():
            break
        at = omega[going] + beta[going][:, None, None] ** 2 * vx[going]
        u = np.linalg.solve(at, (gy - beta[:, None] * gx)[going][..., None])
        tau2[going] += excess[going] / (u.swapaxes(1, 2) @ direct[going] @ u)[:, 0, 0]
        omega = vy[going] + tau2[going][:, None, None] * direct[going]
        beta[going] = _minimise(gx[going], gy[going], vx[going], omega)
    return beta, tau2


def _component_effects(
    basis: np.ndarray, correlation: np.ndarray, effect: np.ndarray, se: np.ndarray, n: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return effects M v of the components, their covariance, M M', and whether the sample sizes allow such effects.

    Where they do not, the covariance is that of a large sample, so that arithmetic goes on.
    """
    k = basis.shape[-1]
    a = 1 / se**2 if n is None else 1 / (n * se**2 + effect**2)
    inverse = np.linalg.inv(_project(basis, correlation, np.sqrt(a)))
    right = np.einsum("bjk,bj->bk", basis, a * effect)
    gamma = np.einsum("bkl,bl->bk", inverse, right)
    mapped = inverse @ (basis * a[..., None]).swapaxes(1, 2)
    direct = mapped @ mapped.swapaxes(1, 2)
    if n is None:
        return gamma, inverse, direct, np.ones(len(gamma), dtype=bool)
    rest = (1 - np.sum(right * gamma, axis=-1)) / (n.min(axis=-1) - k + 1)
    fits = rest > 0
    return gamma, inverse * np.where(fits, rest, 1.0)[:, None, None], direct, fits


def _minimise(gx: np.ndarray, gy: np.ndarray, vx: np.ndarray, vy: np.ndarray) -> Float[np.ndarray, "b"]:
    """Return the b with the smallest criterion: a grid of angles, then Newton steps on the derivative."""
    unit = np.sqrt(np.trace(vy, axis1=1, axis2=2) / np.trace(vx, axis1=1, axis2=2))
    angles = np.linspace(-np.pi / 2, np.pi / 2, 402)[1:-1]
    grid = unit * np.tan(angles)[:, None]
    height = np.stack([_criterion(b, gx, gy, vx, vy)[0] for b in grid])
    at = np.argmin(height, axis=0)
    inside = (at > 0) & (at < len(grid) - 1)
    start = np.take_along_axis(grid, at[None], axis=0)[0]
    low, high = (np.take_along_axis(grid, np.clip(at + d, 0, len(grid) - 1)[None], axis=0)[0] for d in (-1, 1))
    b = start.copy()
    for _ in range(60):
        _, psi, curvature = _criterion(b, gx, gy, vx, vy)
        # psi falls through 0 at a minimum: keep the bracket, and halve it where Newton leaves it
        low, high = np.where(psi > 0, b, low), np.where(psi <= 0, b, high)
        step = b - psi / np.where(curvature == 0, 1.0, curvature)
        new = np.where((step > low) & (step < high), step, np.where(psi == 0, b, (low + high) / 2))
        close = np.abs(psi) <= 1e-14 * np.abs(curvature) * np.maximum(np.abs(b), 1e-300)
        new = np.where(close, b, new)
        if np.all(new == b):
            break
        b = new
    return np.where(inside, b, np.nan)


def _criterion(
    b: np.ndarray, gx: np.ndarray, gy: np.ndarray, vx: np.ndarray, vy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Q(b), psi = -Q'/2, and the derivative of psi."""
    omega, rest = vy + b[:, None, None] ** 2 * vx, gy - b[:, None] * gx
    u, v = np.moveaxis(np.linalg.solve(omega, np.stack([rest, gx], axis=-1)), -1, 0)
    pulled = np.einsum("bkl,bl->bk", vx, u)
    spread = np.sum(u * pulled, axis=-1)
    turned = -v - 2 * b[:, None] * np.linalg.solve(omega, pulled[..., None])[..., 0]
    psi = np.sum(gx * u, axis=-1) + b * spread
    curvature = np.sum(gx * turned, axis=-1) + spread + 2 * b * np.sum(turned * pulled, axis=-1)
    return np.sum(rest * u, axis=-1), psi, curvature
