"""A relationship matrix or random effects made ready for a model: checked, decomposed, and P written where asked."""

from pathlib import Path

import numpy as np

from deepmr.io.matrix_rows import write_rows
from deepmr.lmm.arrays import Refused, check_same_rows, owned
from deepmr.population.spectrum import Scaling, Spectrum, spectrum_of_effects, spectrum_of_kinship

Parts = tuple[np.ndarray, np.ndarray, Spectrum]


def parts_of_kinship(
    y: np.ndarray, x: np.ndarray, k: np.ndarray, *, scaling: Scaling, p_path: Path | None, overwrite: bool, compat: str
) -> Parts:
    """Return response, fixed effects and the spectrum of a kernel.

    Parameters
    ----------
    y, x, k, scaling, p_path, overwrite, compat : as in `LinearMixedModel.from_kinship`.
    """
    refused = Refused(compat)
    y, x, k = (owned(name, values, ndim, refused) for name, values, ndim in (("y", y, 1), ("x", x, 2), ("k", k, 2)))
    refused.unless(k.shape[0] == k.shape[1], f"from_kinship: 'k' must be a square matrix; its shape is {k.shape}")
    check_same_rows(y, x, len(k), "from_kinship: 'k'", refused)
    with refused.as_own():
        spectrum = spectrum_of_kinship(np.tril(k) + np.tril(k, -1).T, scaling=scaling)
    return _stored(y, x, spectrum, p_path, overwrite=overwrite)


def parts_of_effects(
    y: np.ndarray,
    x: np.ndarray,
    z: np.ndarray,
    *,
    scaling: Scaling,
    least: float,
    p_path: Path | None,
    overwrite: bool,
    compat: str,
) -> Parts:
    """Return response, fixed effects and the spectrum of random effects.

    Parameters
    ----------
    y, x, z, scaling, p_path, overwrite, compat : as in `LinearMixedModel.from_random_effects`.
    least : its `max_condition_number`.
    """
    refused = Refused(compat)
    y, x, z = (owned(name, values, ndim, refused) for name, values, ndim in (("y", y, 1), ("x", x, 2), ("z", z, 2)))
    refused.unless(least >= 1e-16, f"from_random_effects: 'max_condition_number' must be at least 1e-16, found {least}")
    check_same_rows(y, x, len(z), "from_random_effects: 'z'", refused)
    with refused.as_own():
        spectrum = spectrum_of_effects(z, scaling=scaling, least=least)
    return _stored(y, x, spectrum, p_path, overwrite=overwrite)


def _stored(y: np.ndarray, x: np.ndarray, spectrum: Spectrum, p_path: Path | None, *, overwrite: bool) -> Parts:
    if p_path is not None:
        write_rows(p_path, spectrum.vectors, overwrite=overwrite)
    return y, x, spectrum
