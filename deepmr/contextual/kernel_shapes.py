"""Shapes of functions of context: their kernels, where their hyper-parameters are, and weak priors of these."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Shape = Literal["constant", "linear", "smooth", "rough", "additive"]
SHAPES: tuple[Shape, ...] = ("constant", "linear", "smooth", "rough", "additive")
CURVED = ("smooth", "rough", "additive")  # with a part that is not linear


@dataclass(frozen=True, slots=True)
class Layout:
    """Numbers of hyper-parameters of each kind, in the order of the vector: all are logarithms.

    Attributes
    ----------
    lengths : length scales of contexts.
    linear, smooth : variances of the linear and the curved part, one a coefficient.
    scatter : tau squared.
    residual : sigma squared.
    scatter_prior : median of the weak prior of tau squared, and its standard deviation in logarithms.
    """

    lengths: int
    linear: int
    smooth: int
    scatter: int
    residual: int
    scatter_prior: tuple[float, float] = (0.01, 3.0)

    @property
    def size(self) -> int:
        """Of the vector."""
        return self.lengths + self.linear + self.smooth + self.scatter + self.residual

    def split(self, theta: Float[np.ndarray, "size"]) -> list[Float[np.ndarray, "_"]]:
        """Return length scales, variances of linear parts, of smooth parts, tau squared and sigma squared."""
        ends = np.cumsum([self.lengths, self.linear, self.smooth, self.scatter])
        return [np.exp(part) for part in np.split(theta, ends)]


def squared_differences(
    h: Float[np.ndarray, "*each a b"], one: Float[np.ndarray, "a contexts"], two: Float[np.ndarray, "b contexts"]
) -> Float[np.ndarray, "contexts"]:
    """Return the sum of h times squared differences of contexts, a context at a time.

    Parameters
    ----------
    h : weights of pairs, or of each context's pairs.
    one, two : contexts.
    """
    if h.ndim == 2:
        k = two.shape[1]
        sums = h @ np.column_stack([two, two**2, np.ones(len(two))])
        return sums[:, -1] @ one**2 + sums[:, k : 2 * k].sum(axis=0) - 2 * np.einsum("ak,ak->k", one, sums[:, :k])
    pairs = zip(h, one.T, two.T, strict=True)
    return np.array([g.sum(axis=1) @ u**2 + g.sum(axis=0) @ v**2 - 2 * u @ g @ v for g, u, v in pairs])


def kernels(
    shape: Shape,
    lengths: Float[np.ndarray, "contexts"],
    one: Float[np.ndarray, "a contexts"],
    two: Float[np.ndarray, "b contexts"],
) -> tuple[Float[np.ndarray, "a b"], Float[np.ndarray, "a _"], Float[np.ndarray, "*each a _"]]:
    """Return the linear kernel between contexts, that of the curved part, and the slope of this.

    Parameters
    ----------
    shape : of the curved part; where there is none, it and its slope are empty.
    lengths : length scale of each context.
    one, two : standardised contexts.

    Notes
    -----
    With r^2 = sum_k (z_k - z'_k)^2 / l_k^2: linear sum_k z_k z'_k / l_k^2, smooth exp(-r^2 / 2) and rough, which has
    one derivative, (1 + sqrt(3) r) exp(-sqrt(3) r) (Matern 3/2); additive the mean over contexts of rough functions of
    one. The derivative of the curved part by log l_k is its slope, of additive ones that of context k, times (z_k -
    z'_k)^2 / l_k^2.

    References
    ----------
    Rasmussen CE, Williams CKI (2006). Gaussian Processes for Machine Learning, section 4.2. ISBN 026218253X
    """
    a, b = one / lengths, two / lengths
    linear = a @ b.T
    if shape not in CURVED:
        return linear, linear[:, :0], linear[:, :0]
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)
    squared -= 2 * linear
    np.maximum(squared, 0.0, out=squared)
    if shape == "smooth":
        squared *= -0.5
        curved = np.exp(squared, out=squared)
        return linear, curved, curved
    if shape == "additive":
        curved, each = np.zeros_like(linear), np.empty((len(lengths), *linear.shape))
        for u, v, own in zip(a.T, b.T, each, strict=True):
            root = np.subtract.outer(np.sqrt(3) * u, np.sqrt(3) * v)
            np.abs(root, out=root)
            np.exp(np.negative(root, out=own), out=own)
            root += 1
            root *= own
            curved += root
            own *= 3 / len(lengths)
        curved /= len(lengths)
        return linear, curved, each
    squared *= 3
    root = np.sqrt(squared, out=squared)
    falling = np.exp(-root)
    root += 1
    root *= falling
    falling *= 3
    return linear, root, falling


def prior_moments(layout: Layout) -> tuple[Float[np.ndarray, "size"], Float[np.ndarray, "size"]]:
    """Return mean and standard deviation of each log hyper-parameter.

    Parameters
    ----------
    layout : which there are.

    Notes
    -----
    The median length scale grows with the square root of the number of contexts, as distances do; the noise may be
    anything from nearly nothing on.
    """
    kinds = (
        (layout.lengths, 0.5 * np.log(max(layout.lengths, 1) / 2), 1.0),
        (layout.linear, np.log(0.1), 2.0),
        (layout.smooth, 0.0, 1.0),
        (layout.scatter, np.log(layout.scatter_prior[0]), layout.scatter_prior[1]),
        (layout.residual, np.log(0.01), 5.0),
    )
    centre, scale = (np.concatenate([np.full(k[0], k[which]) for k in kinds]) for which in (1, 2))
    return centre, scale
