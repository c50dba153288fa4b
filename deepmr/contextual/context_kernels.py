"""Functions of context that coefficients may follow, as columns: of what is tested, and of what is not."""

from typing import Literal

import numpy as np
from jaxtyping import Float

from deepmr.contextual.kernel_model import kernels

Kernel = Literal["linear", "quadratic", "smooth", "rough"]
KERNELS: tuple[Kernel, ...] = ("linear", "quadratic", "smooth", "rough")
Nuisance = Literal["constant", "linear", "smooth"]
_LENGTHS = {"smooth": 1.0, "rough": 0.4}  # length scales, times the square root of the number of contexts
_LANDMARKS = 150  # contexts that a squared-exponential kernel is spanned by
_KEPT, _SMALL = 0.999, 1e-8  # of the trace of a kernel that its columns keep; singular values that are none


def context_columns(z: Float[np.ndarray, "samples contexts"], kernel: Kernel) -> Float[np.ndarray, "samples functions"]:
    """Return columns B with B B' a kernel between contexts.

    Parameters
    ----------
    z : standardised contexts.
    kernel : linear; quadratic (the square of each context, less what is linear in it); smooth or rough
        (squared-exponential, with a length scale of 1 or 0.4 standard deviations times the root of the number of
        contexts).

    Notes
    -----
    Squared-exponential kernels are those of at most 150 contexts evenly among the sorted ones (Nystroem), and of as
    many of their leading functions as hold 99.9 % of the trace.
    """
    if kernel == "linear":
        return z
    if kernel == "quadratic":
        columns = [_beyond_linear(column) for column in z.T]
        return np.column_stack([one for one in columns if one is not None] or [np.zeros((len(z), 0))])
    lengths = np.full(z.shape[1], _LENGTHS[kernel] * np.sqrt(max(z.shape[1], 1)))
    places = np.unique(z, axis=0)
    if len(places) > _LANDMARKS:
        places = places[np.linspace(0, len(places) - 1, _LANDMARKS).round().astype(int)]
    values, vectors = np.linalg.eigh(kernels(lengths, places, places)[1])
    use = values > 1e-8 * values[-1]
    raw = kernels(lengths, z, places)[1] @ (vectors[:, use] / np.sqrt(values[use]))
    return leading(raw - raw.mean(axis=0), _KEPT)


def _beyond_linear(column: Float[np.ndarray, "samples"]) -> Float[np.ndarray, "samples"] | None:
    """Return the standardised square of a context less its line; None where there is nothing left, as of 0 and 1."""
    line = np.column_stack([np.ones(len(column)), column])
    square = column**2
    left = square - line @ np.linalg.lstsq(line, square, rcond=None)[0]
    size = float(np.sqrt(np.mean(left**2)))
    return left / size if size > 1e-6 * max(float(np.mean(square)), 1e-300) else None


def leading(columns: Float[np.ndarray, "samples functions"], share: float) -> Float[np.ndarray, "samples kept"]:
    """Return the principal components of columns that hold a share of their sum of squares, each in its size.

    Parameters
    ----------
    columns : any.
    share : 0 to 1.
    """
    if not columns.size:
        return columns
    u, size, _ = np.linalg.svd(columns, full_matrices=False)
    if size[0] == 0:
        return columns[:, :0]
    held = np.cumsum(size**2) / (size**2).sum()
    kept = min(int(np.searchsorted(held, share)) + 1, int((size > _SMALL * size[0]).sum()))
    return u[:, :kept] * size[:kept]


def nuisance_columns(
    z: Float[np.ndarray, "samples contexts"], nuisance: Nuisance, most: int
) -> Float[np.ndarray, "samples functions"]:
    """Return functions of context that coefficients which are not tested may follow.

    Parameters
    ----------
    z : standardised contexts.
    nuisance : constant (none), linear, or smooth: linear, quadratic, and leading smooth ones.
    most : how many there may be; of a block that is too large, its leading principal components.
    """
    blocks: list[np.ndarray] = []
    wanted: dict[str, tuple[Kernel, ...]] = {
        "constant": (),
        "linear": ("linear",),
        "smooth": ("linear", "quadratic", "smooth"),
    }
    for kernel in wanted[nuisance]:
        left = most - sum(block.shape[1] for block in blocks)
        block = context_columns(z, kernel)
        if block.shape[1] > left or kernel == "smooth":
            block = leading(block, _KEPT)[:, : max(left, 0)]
        blocks.append(block)
    return np.column_stack(blocks) if blocks else np.zeros((len(z), 0))


def times(
    x: Float[np.ndarray, "samples columns"], functions: Float[np.ndarray, "samples functions"]
) -> Float[np.ndarray, "samples products"]:
    """Return every column times every function, functions of the first column first.

    Parameters
    ----------
    x : columns whose coefficients vary.
    functions : of context.
    """
    return (x[:, :, None] * functions[:, None, :]).reshape(len(x), x.shape[1] * functions.shape[1])


def orthonormal(columns: Float[np.ndarray, "samples columns"]) -> Float[np.ndarray, "samples rank"]:
    """Return an orthonormal basis of what columns span, those that repeat others left out.

    Parameters
    ----------
    columns : any.
    """
    size = np.linalg.norm(columns, axis=0)
    used = columns[:, size > 0] / size[size > 0]
    u, values, _ = np.linalg.svd(used, full_matrices=False)
    return u[:, values > _SMALL * max(float(values.max(initial=0.0)), 1e-300)]
