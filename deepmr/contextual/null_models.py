"""What outcomes look like when the coefficients that are tested do not vary: residuals, and draws of them."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cholesky, solve_triangular
from scipy.special import expit

from deepmr.contexts import ContextData
from deepmr.contextual.context_kernels import orthonormal
from deepmr.contextual.kernel_rows import KernelModel, row_variance
from deepmr.contextual.kernel_search import search
from deepmr.contextual.least_squares import solve
from deepmr.contextual.units import find_units
from deepmr.errors import InputError

Calibration = Literal["exact", "wild", "permutation"]
_MOST = 4000  # rows whose deviations may be told from errors: draws and covariances are of all pairs of rows
_FEWEST = 5  # degrees of freedom that the null model has to leave


@dataclass(frozen=True, slots=True, kw_only=True)
class NullModel:
    """Rows of variance 1 and without correlation, and the residuals of outcomes on what is not tested.

    Attributes
    ----------
    residual : of each outcome.
    basis : orthonormal, of what is not tested.
    root : L, with L L' the covariance of the rows as they came: its diagonal, or the lower triangle.
    directions : F_m with F_m F_m' the derivative of that covariance by each variance that was estimated, less the
        basis; of a diagonal one, that diagonal before the basis was taken from it; none where there is only a scale.
    copies : degrees of freedom within repeated rows, as weights say them.
    scaled : whether the error variance is unknown, so that statistics are relative to the residual sum of squares.
    probability : of an outcome of 1; None of continuous outcomes.
    groups : of rows, 0 on; None where each is its own.
    """

    residual: Float[np.ndarray, "samples outcomes"]
    basis: Float[np.ndarray, "samples rank"]
    root: Float[np.ndarray, "samples"] | Float[np.ndarray, "samples samples"]
    directions: tuple[np.ndarray, ...] = ()
    copies: float = 0.0
    scaled: bool = True
    probability: Float[np.ndarray, "samples"] | None = None
    groups: Int[np.ndarray, "samples"] | None = None

    @property
    def df(self) -> float:
        """Degrees of freedom of the residuals."""
        return float(len(self.basis) - self.basis.shape[1]) + self.copies

    def whiten(self, columns: Float[np.ndarray, "samples columns"]) -> Float[np.ndarray, "samples columns"]:
        """Return columns as they are for rows of variance 1, less the basis."""
        return self.project(_whiten(self.root, columns))

    def project(self, columns: Float[np.ndarray, "samples columns"]) -> Float[np.ndarray, "samples columns"]:
        """Return columns less the basis."""
        return columns - self.basis @ (self.basis.T @ columns)

    def along(
        self, direction: Float[np.ndarray, "samples *_"], columns: Float[np.ndarray, "samples columns"]
    ) -> Float[np.ndarray, "columns"]:
        """Return |F'c|^2 of every column.

        Parameters
        ----------
        direction : F, one of `directions`.
        columns : without the basis, as residuals are.
        """
        if direction.ndim == 1:
            return np.asarray(direction**2 @ columns**2)
        return np.asarray(((direction.T @ columns) ** 2).sum(axis=0))

    def gram(self) -> Float[np.ndarray, "directions directions"]:
        """Return |F_m'F_n|^2 of all pairs of directions."""
        leverage = (self.basis**2).sum(axis=1)

        def inside(direction: np.ndarray) -> np.ndarray:
            return np.asarray(self.basis.T @ (direction[:, None] ** 2 * self.basis))

        def product(m: np.ndarray, n: np.ndarray) -> float:
            if m.ndim == 2 or n.ndim == 2:
                return float((self.along(m, n) if n.ndim == 2 else self.along(n, m)).sum())
            return float((m * n) ** 2 @ (1 - 2 * leverage) + np.sum(inside(m) * inside(n)))

        return np.array([[product(m, n) for n in self.directions] for m in self.directions])

    def outer(self, direction: Float[np.ndarray, "samples *_"]) -> Float[np.ndarray, "samples samples"]:
        """Return F F'.

        Parameters
        ----------
        direction : F, one of `directions`.
        """
        if direction.ndim == 2:
            return np.asarray(direction @ direction.T)
        return self.project(self.project(np.diag(direction**2)).T)

    def draw(
        self, calibration: Calibration, n_draws: int, which: int, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "samples draws"], Float[np.ndarray, "draws"]]:
        """Draw residuals under the null, and sums of squares within repeated rows.

        Parameters
        ----------
        calibration : `exact` from the normal distribution (from probabilities where outcomes are binary); `wild` from
            residuals with random signs, one a group; `permutation` from residuals in random order.
        n_draws : how many.
        which : outcome whose residuals are taken, of the last two.
        rng : of the draws.
        """
        n, none = len(self.residual), np.zeros(n_draws)
        if calibration == "exact" and self.probability is None:
            within = rng.chisquare(self.copies, n_draws) if self.copies > 0 else none
            return self.project(rng.standard_normal((n, n_draws))), within
        if calibration == "exact" and self.probability is not None:
            p = self.probability[:, None]
            counts = self.root**-2 / (p[:, 0] * (1 - p[:, 0]))
            drawn = rng.binomial(np.maximum(counts.round().astype(int), 1)[:, None], p, (n, n_draws)) / counts[:, None]
            return self.project((drawn - p) / (self.root[:, None] * (p * (1 - p)))), none
        residual = self.residual[:, which]
        left = np.sqrt(np.maximum(1 - (self.basis**2).sum(axis=1), 0.01))
        if calibration == "wild":
            labels = np.arange(n) if self.groups is None else self.groups
            signs = rng.choice([-1.0, 1.0], (int(labels.max()) + 1, n_draws))[labels]
            return self.project((residual / left)[:, None] * signs), none
        return self.project(rng.permuted(np.tile((residual / left)[:, None], n_draws), axis=0)), none


def _whiten(root: np.ndarray, columns: np.ndarray) -> np.ndarray:
    if root.ndim == 1:
        return columns / root[:, None]
    return solve_triangular(root, columns, lower=True, check_finite=False)


def null_model(
    data: ContextData, design: Float[np.ndarray, "samples columns"], deviating: tuple[int, ...]
) -> NullModel:
    """Fit what is not tested.

    Parameters
    ----------
    data : samples; of several outcomes only where all of them have one covariance up to a scale.
    design : standardised columns of what is not tested, those whose coefficients may deviate at random first.
    deviating : positions of these columns of which deviations have a variance to be estimated.

    Raises
    ------
    InputError
        When it leaves fewer than five degrees of freedom, or rows are too many for deviations.
    """
    groups = None if data.groups is None else np.unique(data.groups, return_inverse=True)[1]
    if data.outcome_type == "binary":
        return _binary(data, design, groups)
    each = [find_units(data.pick_outcome(k)) for k in range(len(data.outcome_names))]
    y = np.column_stack([unit.outcome(data.pick_outcome(k)) for k, unit in enumerate(each)])
    counts = data.counts
    directions: list[np.ndarray] = []
    root: np.ndarray = 1 / np.sqrt(counts)
    if len(data) - orthonormal(design).shape[1] < _FEWEST:
        _check_df(NullModel(residual=y, basis=orthonormal(design), root=root))
    if deviating or data.se_outcome is not None:
        _check_pairs(data)
        covariance, directions = _covariance(data, design, y[:, 0], each[0].variance(data), groups, deviating)
        root = np.sqrt(covariance) if covariance.ndim == 1 else cholesky(covariance, lower=True)
    basis = orthonormal(_whiten(root, design))
    made = NullModel(
        residual=np.zeros_like(y), basis=basis, root=root, copies=float(counts.sum() - len(counts)), groups=groups
    )
    _check_df(made)
    whitened = tuple(one / root if one.ndim == 1 else made.whiten(one) for one in directions if one.size)
    return replace(made, residual=made.whiten(y), directions=whitened)


def _check_pairs(data: ContextData) -> None:
    if len(data) > _MOST:
        way = "take some of them"
        if data.se_outcome is None:
            way += ", or let deviations be 'none' and calibration 'wild'"
        raise InputError(
            f"a test beside random deviations or known errors needs all pairs of samples, so at most {_MOST}; got "
            f"{len(data)}: {way}"
        )


def _check_df(model: NullModel) -> None:
    n, columns = model.basis.shape
    if n - columns < _FEWEST:
        raise InputError(
            f"a test of context needs {_FEWEST} samples more than its null model has coefficients; got {n} samples "
            f"for {columns}: leave contexts or predictors out, or let nuisance be 'linear' or 'constant'"
        )


def _binary(
    data: ContextData, design: Float[np.ndarray, "samples columns"], groups: Int[np.ndarray, "samples"] | None
) -> NullModel:
    basis = orthonormal(design - design.mean(axis=0))
    names = tuple(f"column {k}" for k in range(basis.shape[1]))
    fitted = solve(replace(data, predictors=basis * np.sqrt(len(data)), predictor_names=names))
    columns = np.column_stack([np.ones(len(data)), basis * np.sqrt(len(data))])
    p = expit(columns @ fitted.coefficient + (0.0 if data.offset is None else data.offset[:, 0]))
    root = 1 / np.sqrt(data.counts * p * (1 - p))
    working = (data.outcomes - p[:, None]) / (p * (1 - p))[:, None]
    made = NullModel(
        residual=working,
        basis=orthonormal(columns / root[:, None]),
        root=root,
        scaled=False,
        probability=p,
        groups=groups,
    )
    _check_df(made)
    return replace(made, residual=made.whiten(working))


def _covariance(
    data: ContextData,
    design: Float[np.ndarray, "samples columns"],
    y: Float[np.ndarray, "samples"],
    known: Float[np.ndarray, "samples"],
    groups: Int[np.ndarray, "samples"] | None,
    deviating: tuple[int, ...],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the covariance of rows by restricted likelihood, and factors of its derivatives."""
    first = design[:, : 1 + data.predictors.shape[1]]
    own_basis = orthonormal(first)
    rest = design[:, first.shape[1] :]
    model = KernelModel(
        z=np.zeros((len(y), 0)),
        x=np.column_stack([first, orthonormal(rest - own_basis @ (own_basis.T @ rest))]) if rest.size else first,
        y=y,
        noise=known,
        counts=data.counts,
        groups=groups,
        scatter=deviating,
        residual=data.se_outcome is None,
        shape="constant",
        weak=False,
    )
    at = search(model)
    *_, tau2, _ = model.layout.split(at.theta)
    own = row_variance(model, at.theta) / data.counts
    scale = np.sqrt(data.counts)
    if groups is None:
        return own, ([1 / scale] if model.residual else []) + [design[:, j] / scale for j in deviating]
    directions = [np.diag(1 / scale)] if model.residual else []
    covariance = np.diag(own)
    for j, variance in zip(deviating, tau2, strict=True):
        factor = np.zeros((len(y), int(groups.max()) + 1))
        factor[np.arange(len(y)), groups] = design[:, j]
        covariance += variance * factor @ factor.T
        directions.append(factor)
    return covariance, directions
