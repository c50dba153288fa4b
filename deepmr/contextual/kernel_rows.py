"""Rows of one outcome whose coefficients are Gaussian processes of context, and the covariances these imply."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg.lapack import dpotri

from deepmr.contextual.kernel_errors import expected_kernels, expected_smooth, length_slopes
from deepmr.contextual.kernel_shapes import CURVED, Layout, Shape, kernels, prior_moments, squared_differences


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelModel:
    """Rows of one outcome, and which variances are to be found.

    Attributes
    ----------
    z : standardised contexts.
    x : columns whose coefficients may vary; the first is usually ones.
    y : outcome; 0 and 1 where it is binary.
    noise : known error variance of each row, 0 where there is none.
    counts : how many rows each stands for.
    groups : number of each row's group, 0 on; rows of a group share deviations of coefficients. None: each row its own.
    scatter : columns of `x` whose coefficients deviate between groups beyond what context explains (tau).
    residual : whether there is an error variance to be found (sigma), beside the known ones.
    shape : of functions of context: none, linear, or linear and a curved part, smooth or rough.
    binary : whether y is 0 or 1, with a logistic link; there are no errors then, known or to be found.
    offset : what is added to the linear predictor of binary outcomes; from others it has been subtracted.
    inducing : contexts through which rows know of each other, where rows are too many for all pairs.
    weak : whether variances and length scales have weak priors (log-normal), which keep them finite where the
        likelihood is flat. Off, the likelihood is the plain restricted one.
    factors : F, with F'F a known covariance of the rows' errors beside `noise`; None where there is none.
    z_variance : known variances of the contexts about `z`, their expected values; None where they are exact. The shape
        is constant, linear or smooth then, and there are no inducing contexts.
    scatter_prior : as in `Layout`.
    """

    z: Float[np.ndarray, "rows contexts"]
    x: Float[np.ndarray, "rows columns"]
    y: Float[np.ndarray, "rows"]
    noise: Float[np.ndarray, "rows"]
    counts: Float[np.ndarray, "rows"]
    groups: Int[np.ndarray, "rows"] | None = None
    scatter: tuple[int, ...] = ()
    residual: bool = True
    shape: Shape = "smooth"
    binary: bool = False
    offset: Float[np.ndarray, "rows"] | None = None
    inducing: Float[np.ndarray, "inducing contexts"] | None = None
    weak: bool = True
    factors: Float[np.ndarray, "factors rows"] | None = None
    z_variance: Float[np.ndarray, "rows contexts"] | None = None
    scatter_prior: tuple[float, float] = (0.01, 3.0)

    @property
    def layout(self) -> Layout:
        """Where each hyper-parameter is."""
        varying = 0 if self.shape == "constant" or not self.z.shape[1] else self.x.shape[1]
        lengths = self.z.shape[1] if varying else 0
        smooth = varying if self.shape in CURVED else 0
        return Layout(lengths, varying, smooth, len(self.scatter), int(self.residual), self.scatter_prior)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factored:
    """A model at one vector of hyper-parameters, ready for predictions.

    Attributes
    ----------
    theta : the vector.
    value : log likelihood, restricted, and log prior where there is one.
    gradient : of `value`; empty where it was not wanted.
    chol : Cholesky factor of V, as `scipy.linalg.cho_factor` has it.
    solved_x : V^-1 x.
    covariance : of the constants: (x' V^-1 x)^-1.
    constant : the constants.
    weights : V^-1 (y - x constant).
    """

    theta: Float[np.ndarray, "size"]
    value: float
    gradient: Float[np.ndarray, "_"]
    chol: tuple[Float[np.ndarray, "rows rows"], bool]
    solved_x: Float[np.ndarray, "rows columns"]
    covariance: Float[np.ndarray, "columns columns"]
    constant: Float[np.ndarray, "columns"]
    weights: Float[np.ndarray, "rows"]


def row_variance(model: KernelModel, theta: Float[np.ndarray, "size"]) -> Float[np.ndarray, "rows"]:
    """Return the variance of each row's own error: known, found, and deviations where each row is its own group.

    Parameters
    ----------
    model : rows.
    theta : hyper-parameters.
    """
    *_, tau2, sigma2 = model.layout.split(theta)
    own = model.noise + (sigma2[0] if model.residual else 0.0)
    if model.groups is None and model.scatter:
        own = own + model.x[:, list(model.scatter)] ** 2 @ tau2
    return own


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the covariance of the rows is made of, which its derivatives need again.

    Attributes
    ----------
    linear, curved, slope : kernels between contexts, as of `kernel_shapes.kernels`; None where nothing varies.
    amount, bent : what linear and curved are multiplied by, pair by pair; None where they are not part of it.
    same : whether two rows are of one group; None where each is its own.
    """

    linear: np.ndarray | None = None
    curved: np.ndarray | None = None
    slope: np.ndarray | None = None
    amount: np.ndarray | None = None
    bent: np.ndarray | None = None
    same: Bool[np.ndarray, "rows rows"] | None = None


def row_covariance(
    model: KernelModel, theta: Float[np.ndarray, "size"]
) -> tuple[Float[np.ndarray, "rows rows"], Parts]:
    """Return what coefficients that vary give rows in common, without the rows' own variances, and its parts.

    Parameters
    ----------
    model : rows.
    theta : hyper-parameters.

    Notes
    -----
    sum_j x_j x_j' (a_j L + b_j S + tau_j^2 [same group]) + F'F. L and S are expected ones where contexts have errors
    (`kernel_errors`).
    """
    layout = model.layout
    lengths, linear, smooth, tau2, _ = layout.split(theta)
    x, z = model.x, model.z
    made = np.zeros((len(x), len(x)))
    lin = curved = slope = amount = bent = same = None
    if model.factors is not None:
        made += model.factors.T @ model.factors
    if layout.linear:
        if model.z_variance is None:
            lin, curved, slope = kernels(model.shape, lengths, z, z)
        else:
            lin, curved = expected_kernels(lengths, z, model.z_variance)
        amount = (x * linear) @ x.T
        made += amount * lin
        if layout.smooth:
            bent = (x * smooth) @ x.T
            made += bent * curved
    if model.groups is not None and model.scatter:
        same = model.groups[:, None] == model.groups
        columns = x[:, list(model.scatter)]
        made += ((columns * tau2) @ columns.T) * same
    return made, Parts(linear=lin, curved=curved, slope=slope, amount=amount, bent=bent, same=same)


def kernels_to_rows(
    model: KernelModel, lengths: Float[np.ndarray, "contexts"], z: Float[np.ndarray, "points contexts"]
) -> tuple[Float[np.ndarray, "points rows"], Float[np.ndarray, "points _"]]:
    """Return the linear kernel of points with the rows, and that of the curved part, empty where there is none.

    Parameters
    ----------
    model : rows.
    lengths : length scale of each context.
    z : standardised contexts of the points, exact ones.
    """
    lin, curved, _ = kernels(model.shape, lengths, z, model.z)
    if model.z_variance is not None and model.shape in CURVED:
        curved = expected_smooth(lengths, z, model.z, np.zeros_like(z), model.z_variance)
    return lin, curved


def slopes(
    model: KernelModel,
    theta: Float[np.ndarray, "size"],
    m: Float[np.ndarray, "rows rows"],
    parts: Parts,
    by_own: Float[np.ndarray, "rows"],
) -> Float[np.ndarray, "size"]:
    """Return sum(m * dV) and what the rows' own variances add, by each hyper-parameter.

    Parameters
    ----------
    model : rows.
    theta : hyper-parameters.
    m : symmetric weights of the derivatives of V.
    parts : of V at theta.
    by_own : weights of the derivatives of the rows' own variances.
    """
    lengths, linear, smooth, tau2, sigma2 = model.layout.split(theta)
    x, z = model.x, model.z
    found: list[np.ndarray] = []
    if parts.amount is not None:
        straight = m * parts.amount
        by_length = -2 * np.einsum("ik,ik->k", z, straight @ z)
        if model.z_variance is not None:
            by_length -= 2 * np.diag(straight) @ model.z_variance
        of_smooth = np.zeros(0)
        if parts.bent is not None:
            if model.z_variance is None:
                by_length += squared_differences(m * parts.bent * parts.slope, z, z)
            else:
                turned = m * parts.bent * parts.curved
                by_length += lengths**2 * length_slopes(lengths, z, model.z_variance, turned)
            of_smooth = smooth * np.einsum("ij,ij->j", x, (m * parts.curved) @ x)
        found += [by_length / lengths**2, linear * np.einsum("ij,ij->j", x, (m * parts.linear) @ x), of_smooth]
    if model.scatter:
        columns = x[:, list(model.scatter)]
        by_tau = (
            by_own @ columns**2 if parts.same is None else np.einsum("ij,ij->j", columns, (m * parts.same) @ columns)
        )
        found.append(tau2 * by_tau)
    if model.residual:
        found.append(sigma2 * by_own.sum())
    return np.concatenate(found) if found else np.zeros(0)


def inverse(chol: Float[np.ndarray, "rows rows"]) -> Float[np.ndarray, "rows rows"]:
    """Return the inverse of what this is the lower Cholesky factor of, at a third of the cost of solving for it.

    Parameters
    ----------
    chol : lower Cholesky factor.
    """
    made, _ = dpotri(chol, lower=1)
    lower = np.tril(made)
    return lower + np.tril(lower, -1).T


def prior(model: KernelModel, theta: Float[np.ndarray, "size"]) -> tuple[float, Float[np.ndarray, "size"]]:
    """Return the log prior of the hyper-parameters, up to a constant, and its gradient; 0 where priors are off.

    Parameters
    ----------
    model : rows, their outcome and columns with variances near 1.
    theta : hyper-parameters.
    """
    if not model.weak:
        return 0.0, np.zeros_like(theta)
    centre, scale = prior_moments(model.layout)
    off = (theta - centre) / scale
    return -0.5 * float(off @ off), -off / scale
