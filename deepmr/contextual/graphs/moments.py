"""Means and covariances at points, and what follows from them: correlations, precisions, log densities."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deepmr.contexts import GraphData


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Mean and covariance of the nodes at each point."""

    mean: Float[np.ndarray, "points nodes"]
    covariance: Float[np.ndarray, "points nodes nodes"]


def correlations(covariance: Float[np.ndarray, "*points nodes nodes"]) -> Float[np.ndarray, "*points nodes nodes"]:
    """Return correlations, 1 on the diagonal.

    Parameters
    ----------
    covariance : positive definite.
    """
    size = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    made = covariance / (size[..., :, None] * size[..., None, :])
    own = np.arange(covariance.shape[-1])
    made[..., own, own] = 1.0
    return made


def partial_correlations(
    precision: Float[np.ndarray, "*points nodes nodes"],
) -> Float[np.ndarray, "*points nodes nodes"]:
    """Return correlations of each pair given all other nodes, 1 on the diagonal.

    Parameters
    ----------
    precision : positive definite.
    """
    made = -correlations(precision)
    own = np.arange(precision.shape[-1])
    made[..., own, own] = 1.0
    return made


def log_density(values: Float[np.ndarray, "samples nodes"], moments: Moments) -> Float[np.ndarray, "samples"]:
    """Return the log normal density of each sample at its own moments.

    Parameters
    ----------
    values : of the nodes.
    moments : a point a sample.
    """
    chol = np.linalg.cholesky(moments.covariance)
    off = np.linalg.solve(chol, (values - moments.mean)[:, :, None])[:, :, 0]
    log_determinant = 2 * np.log(np.diagonal(chol, axis1=1, axis2=2)).sum(axis=1)
    return -0.5 * ((off**2).sum(axis=1) + log_determinant + values.shape[1] * np.log(2 * np.pi))


def standardise(
    data: GraphData,
) -> tuple[Float[np.ndarray, "samples nodes"], Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]:
    """Return values with mean 0 and variance 1, and the means and standard deviations they had.

    Parameters
    ----------
    data : samples; a node that does not vary keeps its size.
    """
    share = data.counts / data.counts.sum()
    centre = share @ data.values
    scale = np.sqrt(share @ (data.values - centre) ** 2)
    scale = np.where(scale > 1e-12 * np.maximum(np.abs(centre), 1e-300), scale, 1.0)
    return (data.values - centre) / scale, centre, scale
