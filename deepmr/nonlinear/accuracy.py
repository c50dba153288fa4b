"""How far a curve is from the truth, and how often its intervals hold it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deepmr.individual import Curve, DoseResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveAccuracy:
    """Numbers about one curve; None where there is no truth, or no interval.

    Attributes
    ----------
    mse : mean squared error over the points.
    mse_centred : the same after the mean error is taken away, which leaves the shape.
    mean_width : of the intervals of single points.
    coverage : share of points whose interval holds the truth.
    uniform_width : mean width of the band of the whole curve.
    uniform_coverage : 1 where that band holds the truth at every point, else 0.
    """

    mse: float | None
    mse_centred: float | None
    mean_width: float | None
    coverage: float | None
    uniform_width: float | None
    uniform_coverage: float | None


def curve_accuracy(
    curve: Curve, truth: Float[np.ndarray, "points"] | None = None, *, uniform: Curve | None = None
) -> CurveAccuracy:
    """Compare a curve with the truth, point by point.

    Parameters
    ----------
    curve : with intervals of single points, where the method has them.
    truth : at the same points, where it is known.
    uniform : the same curve with a band that holds all of it at once.
    """
    error = None if truth is None else curve.estimate - truth
    inside, all_inside = _inside(curve, truth), None if uniform is None else _inside(uniform, truth)
    return CurveAccuracy(
        mse=None if error is None else float(np.mean(error**2)),
        mse_centred=None if error is None else float(np.var(error)),
        mean_width=_width(curve),
        coverage=None if inside is None else float(inside.mean()),
        uniform_width=None if uniform is None else _width(uniform),
        uniform_coverage=None if all_inside is None else float(all_inside.all()),
    )


def uniform_band(
    response: DoseResponse, x: Float[np.ndarray, "points"], *, level: float, seed: int = 0
) -> Curve | None:
    """Return the average curve with a band that holds all of it at once; None where the method has no such band.

    Parameters
    ----------
    response : any fitted one.
    x : exposures that the band spans.
    level : with which the whole curve is inside.
    seed : of what is random in the band.
    """
    made = getattr(response, "uniform_band", None)
    return None if made is None else made(x, level=level, seed=seed)


def _width(curve: Curve) -> float | None:
    return None if curve.low is None or curve.high is None else float(np.mean(curve.high - curve.low))


def _inside(curve: Curve, truth: Float[np.ndarray, "points"] | None) -> np.ndarray | None:
    if truth is None or curve.low is None or curve.high is None:
        return None
    return (curve.low <= truth) & (truth <= curve.high)
