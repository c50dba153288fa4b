"""`LinearMixedModel`: the class that Hail had until version 0.2.93, on the kernels of `deepmr.population`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.lmm.alternatives import Alternatives, alternatives_of_blocks, column_blocks, row_blocks
from deepmr.lmm.arrays import (
    Compat,
    Refused,
    check_choice,
    check_dof,
    check_shapes,
    check_stored,
    owned,
    same_arrays,
)
from deepmr.lmm.building import Parts, parts_of_effects, parts_of_kinship
from deepmr.lmm.errors import FitError, ModelInputError
from deepmr.lmm.fitting import (
    Fit,
    SeMethod,
    at_boundary,
    estimate_at,
    h_sq_error,
    normalized_likelihood,
    search,
    settle,
)
from deepmr.population.marker_moments import Weighted, weigh
from deepmr.population.marker_statistics import MarkerTest
from deepmr.population.null_model import OnBoundary, fit_null, scaled_h_sq
from deepmr.population.projection import project
from deepmr.population.spectrum import LEAST, Scaling

NEAR = {"0.2.93": 0.001, "2018": 0.01}  # of a bound of log gamma: the optimum is taken to lie beyond it
KEPT = ("py", "px", "s", "y", "x")
NOT_FIT = "null model is not fit. Run 'fit' first."


class LinearMixedModel:
    """y ~ N(X beta, sigma_sq K + tau_sq I), fitted by restricted maximum likelihood; alternatives by one more effect.

    Names, defaults, results and exceptions are those of `hail.stats.LinearMixedModel` in Hail 0.2.93. Rows of P are
    eigenvectors of K, s its eigenvalues. Of low rank, with y and x, where P has fewer rows than samples.

    Parameters
    ----------
    py, px
        P y and P X.
    s
        Eigenvalues of K, in any order; below -1e-8 of the largest refused, others below 0 counted as 0.
    y, x
        The same before rotation: both in a model of low rank, neither in one of full rank.
    p_path
        File of P (`deepmr.io.matrix_rows`).
    compat
        `2018` takes an optimum within 0.01 of a bound for one at the bound, and raises AssertionError for shapes.
    on_boundary
        Where the optimum lies at a bound: `raise` as Hail does, stay there (`clamp`), or, at the lower one, go on by
        ordinary least squares with gamma = 0 (`ols`).
    se_method
        Of h2: the second derivative, or Hail's second difference, which carries rounding noise of 1e-6.
    names
        Of the columns of x, for messages.
    mean_diagonal
        Of the centred K, which `scaled_h_sq` needs.

    Attributes
    ----------
    low_rank, n, f, r : kind of model, samples, fixed effects, eigenvalues.
    py, px, s, y, x, p_path : as given, in arrays of its own that cannot be written to.
    beta, sigma_sq, tau_sq, gamma, log_gamma, h_sq, h_sq_standard_error, optimize_result : None until `fit`. The
        standard error is None where gamma was given, and NaN at a bound.
    boundary : `lower` or `upper` where the optimum lies at a bound; otherwise empty.

    Notes
    -----
    What differs from Hail, because Hail has it wrong:

    1. `fit_alternatives` reads gamma at each call; Hail kept the one of its first call.
    2. `from_kinship` refuses a kernel with an eigenvalue below -1e-8 of the largest; Hail's limit was 1e12 times it.
    3. An optimum at a bound need not end the work: `on_boundary`.
    4. A grid precedes the search, so that it is not caught in a lesser minimum.
    5. A marker with a value that is not a number, or that covariates explain, gets a `status` in place of ending the
       scan or of a random effect.
    6. Least squares are taken out of y first, so that its units and origin do not matter. A y that is constant, or a
       sum of covariates, is refused by name, and so is a collinear covariate.
    7. The likelihood-ratio test with n and chi-square is anti-conservative in small samples; it stays the default
       here, and `test="f"` and others are offered.
    8. Objects have no scratch space: threads may share one. A failed fit leaves the model unfitted.
    9. No maximum likelihood of gamma is offered, which can be unbounded where K is centred; REML is not.
    10. h2 depends on the scale of K: `from_kinship(..., scaling="mean_diagonal")`, and `scaled_h_sq` after the fit.
    11. The standard error of h2 is from the second derivative; Hail's is `se_method="hail"`.
    12. Hail's example of four samples prints h2 = 0.2525, which is no optimum; this class finds 0.0206.

    Of 2018: a `log_gamma` of 0 is no longer taken for none, the margin of the upper bound is the one its message names,
    and a given `log_gamma` needs not be the optimum.
    """

    def __init__(
        self,
        py: np.ndarray,
        px: np.ndarray,
        s: np.ndarray,
        y: np.ndarray | None = None,
        x: np.ndarray | None = None,
        p_path: str | Path | None = None,
        *,
        compat: Compat = "0.2.93",
        on_boundary: OnBoundary = "raise",
        se_method: SeMethod = "analytic",
        names: Sequence[str] = (),
        mean_diagonal: float | None = None,
    ) -> None:
        check_choice("compat", compat, NEAR)
        check_choice("on_boundary", on_boundary, get_args(OnBoundary))
        check_choice("se_method", se_method, get_args(SeMethod))
        refused = Refused(compat)
        refused.unless((y is None) == (x is None), "for low-rank, set both y and x; for full-rank, do not set y or x.")
        self.py = owned("py", py, 1, refused)
        self.px = owned("px", px, 2, refused)
        self.s = owned("s", s, 1, refused)
        self.y = None if y is None else owned("y", y, 1, refused)
        self.x = None if x is None else owned("x", x, 2, refused)
        self.low_rank = y is not None
        self.r, self.f = self.s.size, self.px.shape[1]
        self.n = self.r if self.y is None else self.y.size
        self.p_path = p_path
        self.compat, self.on_boundary, self.se_method = compat, on_boundary, se_method
        self.mean_diagonal = mean_diagonal
        whole = None if self.y is None or self.x is None else (self.y, self.x)
        check_shapes(self.py, self.px, self.s, whole, refused)
        if p_path is not None:
            check_stored(Path(p_path), (self.r, self.n), refused)
        check_dof(self.n, self.f, refused)
        before: dict[str, Any] = {} if whole is None else {"y": whole[0][:, None], "x": whole[1]}
        with refused.as_own():
            self._projected = project(self.py[:, None], self.px, np.maximum(self.s, 0.0), names=tuple(names), **before)
        self._fit = Fit()

    def __setattr__(self, name: str, value: Any) -> None:
        # What was made of them would not follow.
        if name in KEPT and name in vars(self):
            raise AttributeError(f"{name} of a model cannot be changed; make another model")
        object.__setattr__(self, name, value)

    @property
    def _fitted(self) -> bool:
        """Whether there is a fit, as Hail's own functions ask."""
        return self._fit.estimate is not None

    @property
    def beta(self) -> Float[np.ndarray, "fixed"] | None:
        """Coefficients of the fixed effects."""
        return None if self._fit.estimate is None else self._fit.estimate.beta

    @property
    def sigma_sq(self) -> float | None:
        """Variance of K."""
        return None if self._fit.estimate is None else self._fit.estimate.sigma_sq

    @property
    def tau_sq(self) -> float | None:
        """Variance of the residuals."""
        return None if self._fit.estimate is None else self._fit.estimate.tau_sq

    @property
    def log_gamma(self) -> float | None:
        """Logarithm of sigma_sq / tau_sq."""
        return None if self._fit.estimate is None else self._fit.estimate.log_gamma

    @property
    def gamma(self) -> float | None:
        """sigma_sq / tau_sq."""
        return None if self._fit.estimate is None else float(np.exp(self._fit.estimate.log_gamma))

    @property
    def h_sq(self) -> float | None:
        """sigma_sq / (sigma_sq + tau_sq)."""
        return None if self._fit.estimate is None else float(1 / (1 + np.exp(-self._fit.estimate.log_gamma)))

    @property
    def h_sq_standard_error(self) -> float | None:
        """Of `h_sq`; None where gamma was given, NaN at a bound."""
        return self._fit.se

    @property
    def boundary(self) -> str:
        """`lower` or `upper` where the optimum lies at a bound; otherwise empty."""
        return self._fit.boundary

    @property
    def optimize_result(self) -> Any:
        """Scipy's result of the search for log gamma; None where it was given."""
        return self._fit.search

    def compute_neg_log_reml(self, log_gamma: int | float, return_parameters: bool = False) -> Any:
        """Return minus the restricted log likelihood at a gamma, without the constant that depends on X alone.

        Parameters
        ----------
        log_gamma
            Logarithm of sigma_sq / tau_sq.
        return_parameters
            Return beta, sigma_sq and tau_sq behind it.
        """
        found = estimate_at(self._projected, float(log_gamma))
        if return_parameters:
            return found.neg_log_reml, found.beta, found.sigma_sq, found.tau_sq
        return found.neg_log_reml

    def fit(
        self,
        log_gamma: int | float | None = None,
        bounds: tuple[int | float, int | float] = (-8.0, 8.0),
        tol: float = 1e-8,
        maxiter: int = 500,
    ) -> None:
        """Estimate beta, sigma_sq and tau_sq; with `log_gamma`, at this gamma.

        Parameters
        ----------
        log_gamma
            Logarithm of sigma_sq / tau_sq, held; -inf is ordinary least squares. None estimates it.
        bounds
            Of log gamma.
        tol
            Absolute error of log gamma.
        maxiter
            Most iterations.

        Raises
        ------
        FitError
            When the optimum lies at a bound and `on_boundary` is `raise`, or the search fails. The model is unfitted
            then, whatever it was before; `optimize_result` has the search.
        """
        self._fit = Fit()
        if log_gamma is not None:
            if np.isnan(log_gamma) or log_gamma == np.inf:
                raise ModelInputError(f"log_gamma must be a number, or -inf for no random effects; got {log_gamma}")
            self._fit = self._fitted_at(float(log_gamma))
            return
        if len(bounds) != 2 or not -np.inf < bounds[0] < bounds[1] < np.inf:
            raise ModelInputError(f"bounds must be two finite numbers, the lower one first; got {bounds}")
        low, high = float(bounds[0]), float(bounds[1])
        found = search(self._projected, (low, high), tol, maxiter)
        self._fit = Fit(search=found)
        if not found.success:
            raise FitError(f"failed to fit log_gamma after {found.nfev} evaluations: {found.message}")
        near = NEAR[self.compat]
        boundary = at_boundary(float(found.x), (low, high), near)
        at = settle(float(found.x), (low, high), boundary, self.on_boundary, near)
        se = np.nan if boundary else h_sq_error(self._projected, at, self.se_method)
        self._fit = self._fitted_at(at, se=se, boundary=boundary, found=found)

    def h_sq_normalized_lkhd(self) -> Float[np.ndarray, "percentiles"]:
        """Return the likelihood of h2 at 0, .01, ..., 1 under the best of all else; NaN at both ends, of sum 1."""
        return normalized_likelihood(self._projected)

    def fit_alternatives(
        self,
        pa_t_path: str | Path,
        a_t_path: str | Path | None = None,
        partition_size: int | None = None,
        *,
        test: MarkerTest = "lrt",
    ) -> Alternatives:
        """Test each row of a file as one more fixed effect, at the gamma of the last fit.

        Parameters
        ----------
        pa_t_path
            (P A)', a row a marker, as .npy or HDF5 (`deepmr.io.matrix_rows`).
        a_t_path
            A', in a model of low rank. Both may be one store of rotated markers (`deepmr.io.marker_store`).
        partition_size
            Rows read at a time. Changes nothing but memory and time.
        test
            As in `deepmr.population.marker_statistics`; Hail's is the likelihood-ratio test.

        Raises
        ------
        FitError
            When the model is not fitted.
        """
        refused = Refused(self.compat)
        check_dof(self.n, self.f + 1, refused)
        refused.unless(not self.low_rank or a_t_path is not None, "model is low-rank so a_t is required.")
        refused.unless(self.low_rank or a_t_path is None, "model is full-rank so a_t must not be set.")
        if partition_size is not None:
            refused.unless(partition_size > 0, f"partition_size must be positive, found {partition_size}")
        weighted, gamma = self.null()
        a_t = None if a_t_path is None else Path(a_t_path)
        with row_blocks(Path(pa_t_path), a_t, (self.r, self.n), partition_size, refused) as blocks:
            return alternatives_of_blocks(weighted, gamma, blocks, test=test)

    def fit_alternatives_numpy(
        self,
        pa: np.ndarray,
        a: np.ndarray | None = None,
        return_pandas: bool = False,
        *,
        test: MarkerTest = "lrt",
    ) -> Alternatives | pd.DataFrame:
        """Test each column of an array as one more fixed effect, at the gamma of the last fit.

        Parameters
        ----------
        pa
            P A, a column a marker.
        a
            A, in a model of low rank.
        return_pandas
            Return the table itself.
        test
            As in `fit_alternatives`.

        Raises
        ------
        FitError
            When the model is not fitted.
        """
        refused = Refused(self.compat)
        check_dof(self.n, self.f + 1, refused)
        weighted, gamma = self.null()
        rows = pa.shape[0] if pa.ndim == 2 else -1
        refused.unless(rows == self.r, f"pa must have {self.r} rows, one an eigenvalue; its shape is {pa.shape}")
        if self.low_rank:
            needed = self.n, pa.shape[1]
            refused.unless(
                a is not None and a.shape == needed,
                f"model is low-rank so a of shape {needed} is required; got {None if a is None else a.shape}",
            )
        blocks = column_blocks(pa, a if self.low_rank else None)
        found = alternatives_of_blocks(weighted, gamma, blocks, test=test)
        return found.table if return_pandas else found

    def scaled_h_sq(self) -> tuple[float, float]:
        """Return h2 and its standard error, NaN where there is none, were K divided by `mean_diagonal`."""
        if self.mean_diagonal is None:
            raise ModelInputError("mean_diagonal of K is needed; from_kinship and from_random_effects give it")
        if self.log_gamma is None:
            raise FitError(NOT_FIT)
        known = np.nan if self.h_sq_standard_error is None else self.h_sq_standard_error
        h_sq, se = scaled_h_sq(np.array([self.log_gamma]), np.array([known]), self.mean_diagonal)
        return float(h_sq[0]), float(se[0])

    @classmethod
    def from_kinship(
        cls,
        y: np.ndarray,
        x: np.ndarray,
        k: np.ndarray,
        p_path: str | Path | None = None,
        overwrite: bool = False,
        *,
        scaling: Scaling = "none",
        compat: Compat = "0.2.93",
        on_boundary: OnBoundary = "raise",
        se_method: SeMethod = "analytic",
        names: Sequence[str] = (),
    ) -> "tuple[LinearMixedModel, np.ndarray]":
        """Return a model of full rank, and P.

        Parameters
        ----------
        y, x, k
            Response, fixed effects and kernel, of which the lower triangle is read.
        p_path
            File to write P to: HDF5 where it ends in .h5 or .hdf5, otherwise .npy.
        overwrite
            Whether it may be replaced.
        scaling
            `mean_diagonal` divides k by the mean diagonal of the centred k.
        compat, on_boundary, se_method, names
            Of the class.
        """
        path = None if p_path is None else Path(p_path)
        parts = parts_of_kinship(y, x, k, scaling=scaling, p_path=path, overwrite=overwrite, compat=compat)
        return cls._of_parts(
            parts, p_path, compat=compat, on_boundary=on_boundary, se_method=se_method, names=names
        ), parts[2].vectors

    @classmethod
    def from_random_effects(
        cls,
        y: np.ndarray,
        x: np.ndarray,
        z: np.ndarray,
        p_path: str | Path | None = None,
        overwrite: bool = False,
        max_condition_number: float = LEAST,
        complexity_bound: int = 8192,
        *,
        scaling: Scaling = "none",
        compat: Compat = "0.2.93",
        on_boundary: OnBoundary = "raise",
        se_method: SeMethod = "analytic",
        names: Sequence[str] = (),
    ) -> "tuple[LinearMixedModel, np.ndarray]":
        """Return a model with K = Z Z', and P; of low rank where Z has fewer columns than rows.

        Parameters
        ----------
        y, x, z
            Response, fixed effects and random effects.
        p_path, overwrite, scaling
            As in `from_kinship`.
        max_condition_number
            Of the largest eigenvalue: those up to this are left out of a model of low rank.
        complexity_bound
            Taken for Hail's sake; the decomposition is by singular values whatever the size.
        compat, on_boundary, se_method, names
            Of the class.
        """
        parts = parts_of_effects(
            y,
            x,
            z,
            scaling=scaling,
            least=max_condition_number,
            p_path=None if p_path is None else Path(p_path),
            overwrite=overwrite,
            compat=compat,
        )
        return cls._of_parts(
            parts, p_path, compat=compat, on_boundary=on_boundary, se_method=se_method, names=names
        ), parts[2].vectors

    @classmethod
    def _of_parts(
        cls,
        parts: Parts,
        p_path: str | Path | None,
        *,
        compat: Compat,
        on_boundary: OnBoundary,
        se_method: SeMethod,
        names: Sequence[str],
    ) -> "LinearMixedModel":
        y, x, spectrum = parts
        return cls(
            spectrum.vectors @ y,
            spectrum.vectors @ x,
            spectrum.eigenvalues,
            y if spectrum.low_rank else None,
            x if spectrum.low_rank else None,
            p_path,
            compat=compat,
            on_boundary=on_boundary,
            se_method=se_method,
            names=names,
            mean_diagonal=spectrum.mean_diagonal / spectrum.scale,
        )

    def _same(self, other: "LinearMixedModel", tol: float = 1e-6, up_to_sign: bool = True) -> bool:
        """Return whether two models have the same arrays, up to the sign of each eigenvector."""
        mine, theirs = ((m.py, m.px, m.s, m.y, m.x) for m in (self, other))
        return same_arrays(mine, theirs, tol, up_to_sign) and str(self.p_path) == str(other.p_path)

    def _fitted_at(self, log_gamma: float, *, se: float | None = None, boundary: str = "", found: Any = None) -> Fit:
        null = fit_null(self._projected, log_gamma=np.array([log_gamma]))
        return Fit(
            estimate=estimate_at(self._projected, log_gamma),
            weighted=weigh(null, y=None if self.y is None else self.y[:, None], x=self.x),
            se=se,
            boundary=boundary,
            search=found,
        )

    def null(self) -> tuple[Weighted, float]:
        """Return the null model of the last fit, ready for markers, and its gamma."""
        fit = self._fit  # read once: another thread may replace it
        if fit.weighted is None or fit.estimate is None:
            raise FitError(NOT_FIT)
        return fit.weighted, float(np.exp(fit.estimate.log_gamma))
