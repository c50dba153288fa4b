"""How many directions of a curve instruments can tell: singular values of the expectation given instruments."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh

from deepmr.individual import IVData
from deepmr.nonlinear.held_out import N_FUNCTIONS, HeldOut
from deepmr.nonlinear.strength import WEAK_F, score_covariance

_NOTHING = 1e-12  # variance of a direction that is no more than rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimensions:
    """Directions of a curve, from the one that instruments tell best.

    Attributes
    ----------
    singular_values : correlation of the best functions of the exposure with their expectation given instruments.
    f : strength of each as a first stage of its own.
    n_values : values that the instruments take together; None where these are so many that they are no limit.
    identified : how many directions, one after the other from the first, are strong, never more than n_values - 1.
    """

    singular_values: Float[np.ndarray, "directions"]
    f: Float[np.ndarray, "directions"]
    n_values: int | None
    identified: int


def identified_dimensions(data: IVData, staged: HeldOut) -> Dimensions:
    """Count the directions of a curve that instruments identify, a constant not among them.

    Parameters
    ----------
    data : of the first stage.
    staged : its first stage, held out.

    Notes
    -----
    With functions f(x) made orthonormal and free of covariates, the operator f -> E[f(x) | z] has squared singular
    values that are the eigenvalues of cov(E[f | z]). A fold's directions u are eigenvectors of the covariance of
    predictions, which the fold's own exposures had no part in; the strength of u'f regressed on its prediction, pooled
    over folds, is then an F that noise does not raise, however many instruments there are. It allows for unequal
    variances, or for clusters. A direction is strong where F is at least 10. m values of instruments have m - 1
    differences: no more directions are identified, however strong.

    References
    ----------
    Darolles, Fan, Florens & Renault (2011) doi:10.3982/ECTA6539; Staiger & Stock (1997) doi:10.2307/2171753.
    """
    assert data.exposure is not None
    size = staged.functions.size
    weights, folds = data.scaled_weights, staged.folds
    seen = staged.functions(data.exposure)[:, 1:size]
    expected = staged.fitted[:, 1:size]
    given = staged.given
    a, b = np.zeros_like(seen), np.zeros_like(seen)
    for fold in np.unique(folds):
        mine = folds == fold
        few = given[mine] if mine.sum() > 4 * given.shape[1] else given[mine, :1]
        a[mine] = partial_out(expected[mine], few, weights[mine])
        b[mine] = partial_out(seen[mine], few, weights[mine])
    variance = (b * weights[:, None]).T @ b / len(b)
    for fold in np.unique(folds):
        mine = folds == fold
        spread = (a[mine] * weights[mine, None]).T @ a[mine] / mine.sum()
        _, vectors = eigh(spread, variance + _NOTHING * np.trace(variance) * np.eye(len(variance)))
        a[mine], b[mine] = a[mine] @ vectors[:, ::-1], b[mine] @ vectors[:, ::-1]
    values, f = _strengths(a, b, weights, data.clusters)
    n_values = _number_of_values(data)
    most = size - 1 if n_values is None else min(n_values - 1, size - 1)
    order = np.argsort(-values, kind="stable")
    values, f = values[order], f[order]
    weak = np.flatnonzero(f[:most] < WEAK_F)
    return Dimensions(
        singular_values=values,
        f=f,
        n_values=n_values,
        identified=int(weak[0]) if len(weak) else most,
    )


def _strengths(
    predicted: Float[np.ndarray, "samples directions"],
    seen: Float[np.ndarray, "samples directions"],
    weights: Float[np.ndarray, "samples"],
    clusters: Int[np.ndarray, "samples"] | None,
) -> tuple[Float[np.ndarray, "directions"], Float[np.ndarray, "directions"]]:
    """Return the correlation of what is seen with what is predicted, and F; both 0 where it is negative."""
    size = predicted.shape[1]
    values, f = np.zeros(size), np.zeros(size)
    for k, (a, b) in enumerate(zip(predicted.T, seen.T, strict=True)):
        cross, square = float(weights @ (a * b)), float(weights @ a**2)
        if square < _NOTHING * len(a) or cross <= 0:
            continue
        left = b - a * cross / square
        error = float(score_covariance((weights * a * left)[:, None], clusters)[0, 0])
        values[k] = min(cross / np.sqrt(square * float(weights @ b**2)), 1.0)
        f[k] = cross**2 / max(error, _NOTHING * cross**2)
    return values, f


def partial_out(
    columns: Float[np.ndarray, "samples columns"],
    given: Float[np.ndarray, "samples given"],
    weights: Float[np.ndarray, "samples"],
) -> Float[np.ndarray, "samples columns"]:
    """Return what a regression on other columns leaves.

    Parameters
    ----------
    columns : to regress.
    given : on which.
    weights : of the samples.
    """
    weighted = given * weights[:, None]
    return columns - given @ np.linalg.lstsq(weighted.T @ given, weighted.T @ columns, rcond=1e-12)[0]


def _number_of_values(data: IVData) -> int | None:
    """Count the rows of instruments that differ, by a random combination of the columns."""
    combination = np.random.default_rng(0).uniform(1, 2, data.instruments.shape[1])
    scale = np.maximum(data.instruments.std(axis=0), 1e-300)
    count = len(np.unique((data.instruments / scale @ combination).round(9)))
    return count if count <= N_FUNCTIONS else None


_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven")


def dimension_warnings(found: Dimensions, *, n_instruments: int) -> tuple[str, ...]:
    """Say in a sentence how little of a curve instruments identify, where it is little.

    Parameters
    ----------
    found : the directions.
    n_instruments : how many instruments there are.
    """
    if found.n_values is not None:
        most = found.n_values - 1
        what = "The instrument takes" if n_instruments == 1 else "The instruments together take"
        strong = "all strong" if found.identified == most else f"{_WORDS[found.identified]} of them strong"
        if most == 1:
            strong = "a strong one" if found.identified else "a weak one"
        strengths = ", ".join(f"{value:.3g}" for value in found.f[:most])
        return (
            f"{what} {found.n_values} values: {_dimensions(most)}, {strong} (F = {strengths}); "
            "whatever else a curve shows is an assumption of the method.",
        )
    if found.identified < 2:
        strengths = ", ".join(f"{value:.3g}" for value in found.f[:2])
        which = "Instruments are" if n_instruments > 1 else "The instrument is"
        if not found.identified:
            return (
                f"{which} weak: no direction of the curve is strong (F = {strengths}), and all of it rests on "
                "assumptions of the method.",
            )
        return (
            f"{which} weak but for {_dimensions(found.identified)} of the curve (F = {strengths}): its bends rest on "
            "assumptions of the method.",
        )
    return ()


def _dimensions(count: int) -> str:
    return f"{_WORDS[count]} identified dimension{'' if count == 1 else 's'}"
