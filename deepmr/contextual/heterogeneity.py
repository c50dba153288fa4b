"""Do coefficients vary with context? A test of variance components whose size does not rest on large samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import rankdata

from deepmr import checks
from deepmr.contexts import ContextData
from deepmr.contextual.context_kernels import KERNELS, Kernel, Nuisance, context_columns, nuisance_columns, times
from deepmr.contextual.null_models import Calibration, NullModel, null_model
from deepmr.contextual.scaling import scale_contexts
from deepmr.contextual.units import find_units
from deepmr.errors import InputError
from deepmr.quadratic_forms import tail_of_quadratic_form

Deviations = Literal["auto", "none"]
_FEW = 0.005  # share of draws beyond the observed value below which tails are calculated rather than counted
_NEAR = 5  # draws made for each that is kept, where variances were estimated


@dataclass(frozen=True, slots=True, kw_only=True)
class HeterogeneityTest:
    """P values of "coefficients do not vary with context", an outcome at a time.

    Attributes
    ----------
    pvalue : of all kernels together.
    statistic : quadratic form of the residuals in each kernel, relative to their sum of squares.
    kernel_pvalue : of each kernel alone, not adjusted for there being several.
    kernels, outcome_names : of rows and columns of these.
    tested : names of the coefficients that were tested, "mu" for the level.
    calibration, n_draws : where P values come from.
    df : degrees of freedom of the residuals.
    """

    pvalue: Float[np.ndarray, "outcomes"]
    statistic: Float[np.ndarray, "kernels outcomes"]
    kernel_pvalue: Float[np.ndarray, "kernels outcomes"]
    kernels: tuple[str, ...]
    outcome_names: tuple[str, ...]
    tested: tuple[str, ...]
    calibration: Calibration
    n_draws: int
    df: float

    def to_frame(self) -> pd.DataFrame:
        """Return one row an outcome: its P value, the kernel with the smallest of its own, and that of each."""
        table = pd.DataFrame({"outcome": self.outcome_names, "pvalue": self.pvalue})
        table["kernel"] = [self.kernels[k] for k in self.kernel_pvalue.argmin(axis=0)]
        for name, values in zip(self.kernels, self.kernel_pvalue, strict=True):
            table[f"pvalue_{name}"] = values
        return table


def heterogeneity_test(
    data: ContextData,
    *,
    which: str = "slopes",
    kernels: Sequence[Kernel] = KERNELS,
    nuisance: Nuisance = "smooth",
    deviations: Deviations = "auto",
    calibration: Calibration = "exact",
    n_draws: int = 1999,
    seed: int = 0,
) -> HeterogeneityTest:
    """Test whether coefficients vary with any context.

    Parameters
    ----------
    data : samples.
    which : coefficients that are tested: `slopes` (of all predictors), `mu`, `all`, or the name of a predictor. Without
        predictors it is mu in any case.
    kernels : forms of variation that are looked for: `linear`, `quadratic`, `smooth`, `rough`.
    nuisance : how coefficients that are not tested may vary: `smooth`, `linear`, or `constant`.
    deviations : whether coefficients may also differ at random, between groups or samples, with variances that are
        estimated: else an effect that varies for whatever other reason looks like one that varies with context. `auto`:
        slopes that are tested, and the level where errors are known (a random-effects meta-analysis) or there are
        groups. `none`: one error variance, for which the test is exact.
    calibration : `exact`, from the normal distribution; `wild`, from residuals with random signs (by group), where
        variances differ in unknown ways; `permutation`, from residuals in random order, where they are not normal.
    n_draws : from the null; P values below 1 / (n_draws + 1) are calculated, or bounded by it where they cannot be.
    seed : of the draws.

    Raises
    ------
    InputError
        When no context varies, nothing is there to be tested, samples are too few, or, beside deviations or known
        errors, more than 4000.

    Notes
    -----
    With residuals e of the null model in units of their covariance, the statistic of a kernel K is e'K~e / e'e, where
    K~ is K without what estimated variances explain (an efficient score). Given one unknown variance its distribution
    depends on nothing unknown, so that draws from it give a P value (1 + number as large) / (1 + draws) of exactly
    the stated size at any number of samples. Kernels are combined by their smallest P value, which the same draws
    calibrate: exact too, whatever their correlation. Where fewer than one draw in 200 is as large, the P value of a
    kernel is that of Davies' method, and that of all at most their number times the smallest. Where variances of
    deviations are estimated, the fifth of the draws is taken whose scores for these variances are nearest to the
    observed ones, and the size is approximate, as for binary outcomes. `wild` errs on the side of fewer findings in
    small samples.

    References
    ----------
    Davies RB (1980). Appl Stat 29:323. doi:10.2307/2346911
    Lin X (1997). Biometrika 84:309. doi:10.1093/biomet/84.2.309
    Wu MC et al. (2011). Am J Hum Genet 89:82. doi:10.1016/j.ajhg.2011.05.029
    """
    checks.at_least("n_draws", n_draws, 19)
    checks.at_least("seed", seed, 0)
    if not kernels:
        raise InputError(f"kernels must be some of {', '.join(KERNELS)}; got none")
    for kernel in kernels:
        checks.one_of("kernels", kernel, KERNELS)
    scaling = scale_contexts(data)
    z = scaling(data.contexts)
    if not z.shape[1]:
        raise InputError("no context varies: there is nothing to test")
    columns = {kernel: context_columns(z, kernel) for kernel in kernels}
    return score_test(
        data,
        columns={kernel: values for kernel, values in columns.items() if values.shape[1]},
        tested=tested_columns(data, which),
        z=z,
        nuisance=nuisance,
        deviations=deviations,
        calibration=calibration,
        n_draws=n_draws,
        seed=seed,
    )


def _room(data: ContextData) -> int:
    """Return how many coefficients may take up what is not tested: a sixth of the samples, of rare classes a tenth."""
    if data.outcome_type == "continuous":
        return len(data) // 6
    return int(min(data.outcomes.sum(axis=0).min(), (1 - data.outcomes).sum(axis=0).min())) // 10


def tested_columns(data: ContextData, which: str) -> tuple[int, ...]:
    """Return positions in the design, whose first column has mu, of what is tested.

    Parameters
    ----------
    data : samples.
    which : as in `heterogeneity_test`.
    """
    n = len(data.predictor_names)
    if not n:
        return (0,)
    named = {"slopes": tuple(range(1, n + 1)), "mu": (0,), "all": tuple(range(n + 1))}
    one = {name: (k + 1,) for k, name in enumerate(data.predictor_names)}
    checks.one_of("which", which, [*named, *one])
    return {**named, **one}[which]


def score_test(
    data: ContextData,
    *,
    columns: dict[Kernel, Float[np.ndarray, "samples _"]],
    tested: tuple[int, ...],
    z: Float[np.ndarray, "samples contexts"],
    nuisance: Nuisance,
    deviations: Deviations,
    calibration: Calibration,
    n_draws: int,
    seed: int,
    also: Float[np.ndarray, "samples _"] | None = None,
) -> HeterogeneityTest:
    """Test coefficients against functions of context.

    Parameters
    ----------
    data : samples.
    columns : of each kernel, functions of context.
    tested : positions in the design.
    z : contexts that coefficients which are not tested may follow.
    nuisance, deviations, calibration, n_draws, seed : as in `heterogeneity_test`.
    also : functions of context that tested coefficients follow under the null as well.
    """
    if calibration == "permutation" and data.groups is not None:
        raise InputError("residuals of groups cannot be permuted; let calibration be 'wild'")
    unit = find_units(data.pick_outcome(0))
    x = unit.design(data)
    rest = [j for j in range(x.shape[1]) if j not in tested]
    fixed = [x]
    if rest:
        most = max(_room(data) // len(rest), 2)
        fixed.append(times(x[:, rest], nuisance_columns(z, nuisance, most)))
    if also is not None:
        fixed.append(times(x[:, list(tested)], also))
    design = np.column_stack(fixed)
    deviating = _deviating(data, tested, deviations)
    shared = data.outcome_type == "continuous" and data.se_outcome is None and not deviating
    parts = [data] if shared else [data.pick_outcome(k) for k in range(len(data.outcome_names))]
    found = []
    for k, part in enumerate(parts):
        null = null_model(part, design, deviating)
        products = [times(x[:, list(tested)], values) for values in columns.values()]
        found.append(_pvalues(null, products, calibration, n_draws, np.random.default_rng([seed, k])))
    statistic, own, together = (np.concatenate(values, axis=-1) for values in zip(*found, strict=True))
    names = ("mu", *data.predictor_names)
    return HeterogeneityTest(
        pvalue=together,
        statistic=statistic,
        kernel_pvalue=own,
        kernels=tuple(columns),
        outcome_names=data.outcome_names,
        tested=tuple(names[j] for j in tested),
        calibration=calibration,
        n_draws=n_draws,
        df=null.df,
    )


def _deviating(data: ContextData, tested: tuple[int, ...], deviations: Deviations) -> tuple[int, ...]:
    level = (0,) if data.se_outcome is not None or data.groups is not None else ()
    if data.outcome_type == "binary" or (deviations == "none" and data.se_outcome is None):
        return ()
    return level + tuple(j for j in tested if j > 0 and deviations == "auto")


@dataclass(frozen=True, slots=True)
class _Form:
    """A quadratic form of residuals: |A'e|^2 - sum_m share_m |F_m'e|^2, of the directions F_m of a null model."""

    null: NullModel
    factor: np.ndarray
    shares: np.ndarray

    def __call__(self, residual: np.ndarray) -> np.ndarray:
        value = ((self.factor.T @ residual) ** 2).sum(axis=0)
        for share, direction in zip(self.shares, self.null.directions, strict=True):
            value = value - share * self.null.along(direction, residual)
        return value

    def matrix(self) -> np.ndarray:
        parts = zip(self.shares, self.null.directions, strict=True)
        return self.factor @ self.factor.T - sum((share * self.null.outer(f) for share, f in parts), start=0.0)


def _form(null: NullModel, products: np.ndarray) -> _Form:
    a = null.whiten(products)
    a = a / max(float(np.linalg.norm(a)), 1e-300)
    if a.shape[1] > len(a):
        values, vectors = np.linalg.eigh(a @ a.T)
        a = vectors[:, values > 0] * np.sqrt(values[values > 0])
    if not null.directions:
        return _Form(null, a, np.zeros(0))
    gram = null.gram()
    size = np.sqrt(np.diagonal(gram))  # directions may be of any size next to each other
    along = np.array([float(null.along(f, a).sum()) for f in null.directions])
    return _Form(null, a, np.linalg.lstsq(gram / np.outer(size, size), along / size, rcond=1e-10)[0] / size)


def _pvalues(
    null: NullModel,
    products: list[np.ndarray],
    calibration: Calibration,
    n_draws: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return statistics and P values of each kernel, and P values of all."""
    forms = [_form(null, one) for one in products]
    n_outcomes = null.residual.shape[1]
    observed = _statistics(null, forms, null.residual, np.zeros(n_outcomes))
    own, together = np.empty_like(observed), np.empty(n_outcomes)
    drawn = None
    for k in range(n_outcomes):
        if drawn is None or calibration != "exact":
            drawn = _statistics(null, forms, *_draw(null, calibration, n_draws, k, rng))
            order = rankdata(-drawn, "max", axis=1)
        own[:, k] = (1 + (drawn >= observed[:, [k]]).sum(axis=1)) / (n_draws + 1)
        least = ((order + (observed[:, [k]] >= drawn)) / (n_draws + 1)).min(axis=0)
        together[k] = (1 + (least <= own[:, k].min()).sum()) / (n_draws + 1)
        if calibration == "exact" and null.scaled and own[:, k].min() < _FEW:
            for j, form in enumerate(forms):
                if own[j, k] < _FEW:
                    own[j, k] = _tail(null, form, float(observed[j, k]))
            together[k] = min(together[k], len(forms) * own[:, k].min())
    return observed, own, together


def _draw(
    null: NullModel, calibration: Calibration, n_draws: int, which: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw from the null; given about the scores for estimated variances that the data have, where there are any."""
    if not null.directions or calibration != "exact":
        return null.draw(calibration, n_draws, which, rng)
    residual, within = null.draw(calibration, _NEAR * n_draws, which, rng)

    def scores(e: np.ndarray) -> np.ndarray:
        return np.stack([null.along(f, e) for f in null.directions]) / (e**2).sum(axis=0)

    drawn = scores(residual)
    spread = np.maximum(drawn.std(axis=1, keepdims=True), 1e-12)
    far = (((drawn - scores(null.residual[:, [which]])) / spread) ** 2).sum(axis=0)
    near = np.argpartition(far, n_draws)[:n_draws]
    return residual[:, near], within[near]


def _statistics(null: NullModel, forms: list[_Form], residual: np.ndarray, within: np.ndarray) -> np.ndarray:
    values = np.stack([form(residual) for form in forms])
    return values * null.df / ((residual**2).sum(axis=0) + within) if null.scaled else values


def _tail(null: NullModel, form: _Form, value: float) -> float:
    """Return the probability that a statistic exceeds a value, given the covariance of the null model."""
    n, rank = null.basis.shape
    value = value / null.df
    if null.directions:
        weights = np.linalg.eigvalsh(form.matrix())
        weights = np.delete(weights, np.argsort(np.abs(weights))[:rank])
    else:
        weights = np.linalg.svd(form.factor, compute_uv=False)[: n - rank] ** 2
    left = n - rank - len(weights) + null.copies
    df = np.ones(len(weights))
    if left > 0:
        weights, df = np.append(weights, 0.0), np.append(df, left)
    return tail_of_quadratic_form(0.0, weights - value, df=df)
