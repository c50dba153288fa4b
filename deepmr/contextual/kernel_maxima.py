"""The most likely hyper-parameters of every shape, and how well they are told: some rows first where there are many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from deepmr.contextual.kernel_model import Factored, KernelModel, evaluate
from deepmr.contextual.kernel_search import default_starts, search
from deepmr.contextual.kernel_shapes import Shape
from deepmr.contextual.kernel_sparse import SparseFactored

_STEP = 1e-3  # of the difference that gives the curvature, in logarithms
_SOME = (300, 1000)  # rows of the searches before that of all
_MANY = 2  # times as many rows as of the search before it make one worth its while
_ONE_SIDE = 600  # rows from which on a difference is to one side: half of the work
_GLIMPSE, _FAR_OFF = 25, 300.0  # steps after which the search of a second curved shape ends if it is so far behind
_FEW, _UNLIKELY = 2, 100.0  # steps of a shape that was unlikely, and what it may gain by more, not knowing better
_BEHIND, _A_NUMBER = 20.0, 5.0  # difference of log likelihoods, and what each hyper-parameter more takes at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Maximum:
    """A shape at its most likely hyper-parameters.

    Attributes
    ----------
    model : rows, and the shape.
    at : the model, factored there.
    curvature : minus the second derivatives of the log posterior; None where it is not known.
    likely : whether it may matter beside the other shapes. If so, the curvature is known.
    """

    model: KernelModel
    at: Factored | SparseFactored
    curvature: Float[np.ndarray, "size size"] | None
    likely: bool

    @property
    def start(self) -> "Start":
        """Where the search of much the same rows may begin."""
        return Start(theta=self.at.theta, curvature=self.curvature, rows=len(self.model.y), likely=self.likely)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a search may begin.

    Attributes
    ----------
    theta : hyper-parameters.
    curvature : there; None where it is not known.
    rows : that it is of.
    likely : whether the shape may matter.
    """

    theta: Float[np.ndarray, "size"]
    curvature: Float[np.ndarray, "size size"] | None
    rows: int
    likely: bool


def find_maxima(model: KernelModel, shapes: Sequence[Shape], starts: Mapping[Shape, Start]) -> list[Maximum]:
    """Search the hyper-parameters of every shape, in the order given.

    Parameters
    ----------
    model : rows; its own shape does not matter.
    shapes : to search.
    starts : where to begin, by shape, where much the same rows have been searched.

    Notes
    -----
    Many rows are searched in stages: some rows drawn by chance first, from whose maximum and curvature, scaled by the
    number of rows, a search among more takes a few steps. With inducing contexts the curvature is that of the stage
    before, scaled.
    """
    known = _known(model, shapes, starts)
    if known is None:
        stages = [_drawn(model, n) for n in _SOME if n * _MANY < len(model.y)]
        first = stages[0] if stages else model
        found = _cold(first, shapes, last=not stages)
        for more in [*stages[1:], *([model] if stages else [])]:
            found = _warm(more, {one.model.shape: one.start for one in found})
    else:
        found = _warm(model, known)
    return found


def _known(model: KernelModel, shapes: Sequence[Shape], starts: Mapping[Shape, Start]) -> dict[Shape, Start] | None:
    """Return the starts of the shapes, or None where not all of them have one of their own size."""
    made = {shape: starts[shape] for shape in shapes if shape in starts}
    fitting = [len(one.theta) == replace(model, shape=shape).layout.size for shape, one in made.items()]
    return made if len(made) == len(shapes) and all(fitting) else None


def _drawn(model: KernelModel, n: int) -> KernelModel:
    """Return some of many rows, all pairs of which are looked at."""
    rows = np.sort(np.random.default_rng(0).permutation(len(model.y))[:n])
    return replace(
        model,
        z=model.z[rows],
        x=model.x[rows],
        y=model.y[rows],
        noise=model.noise[rows],
        counts=model.counts[rows],
        groups=None if model.groups is None else model.groups[rows],
        offset=None if model.offset is None else model.offset[rows],
        factors=None if model.factors is None else model.factors[:, rows],
        z_variance=None if model.z_variance is None else model.z_variance[rows],
        inducing=None,
    )


def _cold(model: KernelModel, shapes: Sequence[Shape], *, last: bool) -> list[Maximum]:
    """Search without knowing where: a curved shape begins where the one before ended, if that is a better start."""
    models = [replace(model, shape=shape) for shape in shapes]
    found: list[Factored | SparseFactored] = []
    curvatures: list[np.ndarray | None] = []
    for k, one in enumerate(models):
        starts, curvature = None, None
        if k and len(found[-1].theta) == one.layout.size and one.layout.lengths:
            before, defaults = found[-1].theta, default_starts(one.layout)
            values = [evaluate(one, start, with_gradient=False).value for start in (before, *defaults)]
            starts = np.vstack([before, defaults])[[int(np.argmax(values))]]
            if np.argmax(values) == 0:  # two curved shapes are of much the same curvature
                if curvatures[-1] is None:
                    curvatures[-1] = _curvature(models[k - 1], found[-1])
                curvature = curvatures[-1]
        found.append(_to_the_end(one, starts, curvature, max((at.value for at in found), default=-np.inf)))
        curvatures.append(None)
    likely = _likely(found)
    made = []
    for one, at, curvature, near in zip(models, found, curvatures, likely, strict=True):
        if curvature is None and (near or not last):
            curvature = _curvature(one, at)
        made.append(Maximum(model=one, at=at, curvature=curvature, likely=near))
    return made


def _to_the_end(
    model: KernelModel, starts: np.ndarray | None, curvature: np.ndarray | None, best: float
) -> Factored | SparseFactored:
    """Search from a start with a glimpse first, from the default ones without."""
    if starts is None:
        return search(model)
    at = search(model, starts=starts, curvature=curvature, n_steps=_GLIMPSE)
    return search(model, starts=at.theta[None, :], curvature=curvature) if at.value > best - _FAR_OFF else at


def _warm(model: KernelModel, starts: Mapping[Shape, Start]) -> list[Maximum]:
    """Search from where fewer or other rows had their maxima; what was unlikely there has a glimpse first."""
    models = {shape: replace(model, shape=shape) for shape in starts}
    found: dict[Shape, Factored | SparseFactored] = {}
    scaled: dict[Shape, np.ndarray | None] = {}
    best: Factored | SparseFactored | None = None
    for shape, start in sorted(starts.items(), key=lambda pair: not pair[1].likely):
        one, place = models[shape], start.theta[None, :]
        curvature = None if start.curvature is None else start.curvature * (len(one.y) / start.rows)
        at = search(one, starts=place, curvature=curvature, n_steps=200 if start.likely else _FEW)
        if not start.likely and (best is None or at.value + _in_reach(at, curvature, best) > best.value):
            at = search(one, starts=at.theta[None, :], curvature=curvature)
        best = at if best is None or at.value > best.value else best
        found[shape], scaled[shape] = at, curvature
    made = []
    for shape, near in zip(starts, _likely([found[shape] for shape in starts]), strict=True):
        curvature = scaled[shape]
        if near and (model.inducing is None or curvature is None):
            curvature = _curvature(models[shape], found[shape])
        made.append(Maximum(model=models[shape], at=found[shape], curvature=curvature, likely=near))
    return made


def _in_reach(at: Factored | SparseFactored, curvature: np.ndarray | None, best: Factored | SparseFactored) -> float:
    """Return how much a search might gain from here, and hyper-parameters that are fewer make up for."""
    if curvature is None:
        return _UNLIKELY
    values, vectors = np.linalg.eigh(curvature)
    left = vectors.T @ at.gradient
    fewer = max(len(best.theta) - len(at.theta), 0)
    return _BEHIND + _A_NUMBER * fewer + float(left**2 @ (1 / np.maximum(values, 1e-3)))  # twice Newton's step


def _likely(found: Sequence[Factored | SparseFactored]) -> list[bool]:
    """Return which maxima are so high that no volume of hyper-parameters hides them."""
    best = max(found, key=lambda at: at.value)
    size = len(best.theta)
    return [at.value > best.value - _BEHIND - _A_NUMBER * max(size - len(at.theta), 0) for at in found]


def _curvature(model: KernelModel, at: Factored | SparseFactored) -> Float[np.ndarray, "size size"]:
    """Return minus the second derivatives of the log posterior, by differences of its gradient."""
    rows = []
    for k in range(len(at.theta)):
        step = np.zeros_like(at.theta)
        step[k] = _STEP
        after = _gradient(model, at.theta + step)
        before = _gradient(model, at.theta - step) if after is None or len(model.y) < _ONE_SIDE else None
        if before is not None and after is not None:
            rows.append((before - after) / (2 * _STEP))
        elif before is not None:
            rows.append((before - at.gradient) / _STEP)
        elif after is not None:
            rows.append((at.gradient - after) / _STEP)
        else:
            rows.append(np.zeros_like(at.theta))
    made = np.array(rows).reshape(len(at.theta), len(at.theta))
    return (made + made.T) / 2


def _gradient(model: KernelModel, theta: Float[np.ndarray, "size"]) -> Float[np.ndarray, "size"] | None:
    """Return the gradient; None where V is not positive definite, as with next to no noise."""
    try:
        return evaluate(model, theta).gradient
    except np.linalg.LinAlgError:
        return None
