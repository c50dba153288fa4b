"""Several vectors of hyper-parameters, and several shapes, each with the weight that the data give it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from deepmr.contextual.kernel_model import Factored, KernelModel, evaluate
from deepmr.contextual.kernel_posterior import Posterior, joint_covariance, posterior, posterior_mean
from deepmr.contextual.kernel_search import default_starts, limits, search
from deepmr.contextual.kernel_shapes import SHAPES, prior_moments
from deepmr.contextual.kernel_sparse import SparseFactored
from deepmr.contextual.units import Units

_STEP = 1e-3  # of the difference that gives the curvature, in logarithms
_SOME, _MORE = 500, 15  # rows that a search among many begins with, and steps that it then takes with all
_GLIMPSE, _FAR_OFF = 25, 300.0  # steps after which the search of a second curved shape ends if it is so far behind
_HOPELESS = 60.0  # difference of log likelihoods that no volume of hyper-parameters makes up for
_FLOOR = 1e-3  # share of a shape below which it is left out
_MINOR = 0.05  # share of a shape below which its maximum stands for it
_KEPT = 0.995  # share of the weight that components are kept for, heaviest first
_OUT = 1.1  # radius of the points around the maximum, against that which gives the variances of a normal distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One shape at one vector of hyper-parameters.

    Attributes
    ----------
    model : rows, and the shape.
    at : the model, factored there.
    weight : its share.
    """

    model: KernelModel
    at: Factored | SparseFactored
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What a fit of one outcome is: components whose weights add up to 1.

    Attributes
    ----------
    components : heaviest shape first.
    evidence : log marginal likelihood of each shape that was tried.
    """

    components: tuple[Component, ...]
    evidence: Mapping[str, float]

    def mean(self, z: Float[np.ndarray, "points contexts"]) -> Float[np.ndarray, "points columns"]:
        """Return coefficients at points without their errors, which are most of the work."""
        found = [one.weight * posterior_mean(one.model, one.at, z) for one in self.components]
        return np.sum(found, axis=0)

    def posterior(self, z: Float[np.ndarray, "points contexts"]) -> Posterior:
        """Return coefficients at points, what components differ by among their errors."""
        found = [posterior(one.model, one.at, z) for one in self.components]
        weights = np.array([one.weight for one in self.components])
        mean = np.einsum("c,cpj->pj", weights, np.stack([one.mean for one in found]))
        covariance = np.zeros((*mean.shape, mean.shape[1]))
        for weight, one in zip(weights, found, strict=True):
            off = one.mean - mean
            covariance += weight * (one.covariance + off[:, :, None] * off[:, None, :])
        unlearned = weights @ np.stack([one.unlearned for one in found])
        return Posterior(mean=mean, covariance=covariance, unlearned=unlearned)

    def draws(
        self, z: Float[np.ndarray, "points contexts"], n_draws: int, rng: np.random.Generator
    ) -> Float[np.ndarray, "draws points columns"]:
        """Draw coefficients jointly over points, from each component as often as its weight says."""
        counts = rng.multinomial(n_draws, [one.weight for one in self.components])
        drawn = []
        for one, count in zip(self.components, counts, strict=True):
            if count:
                mean = posterior(one.model, one.at, z).mean
                values, vectors = np.linalg.eigh(joint_covariance(one.model, one.at, z))
                root = vectors * np.sqrt(np.maximum(values, 0.0))
                drawn.append(mean + (rng.standard_normal((count, len(values))) @ root.T).reshape(count, *mean.shape))
        return rng.permutation(np.concatenate(drawn))

    def measures(self, units: Units) -> dict[str, float]:
        """Return sigma, tau and shares of shapes, in the units of the input."""
        found: dict[str, float] = {}
        for one in self.components:
            *_, tau2, sigma2 = one.model.layout.split(one.at.theta)
            values = {"sigma": sigma2[0]} if one.model.residual else {}
            values |= {f"tau_{j}": tau2[k] for k, j in enumerate(one.model.scatter)}
            for name, value in values.items():
                found[name] = found.get(name, 0.0) + one.weight * float(value)
        sizes = np.concatenate([[1.0], units.size])
        made = {
            name: float(np.sqrt(value) * units.outcome_size / (1.0 if name == "sigma" else sizes[int(name[4:])]))
            for name, value in found.items()
        }
        for shape in self.evidence:
            made[f"share_{shape}"] = float(sum(one.weight for one in self.components if one.model.shape == shape))
        return made

    def relevance(self) -> Float[np.ndarray, "contexts"]:
        """Return by context how much coefficients vary with it: the share of prior variance at a step of its deviation.

        1 / (1 + l_k^2) of each component, averaged; constant ones have 0.
        """
        total = np.zeros(self.components[0].model.z.shape[1])
        for one in self.components:
            lengths = one.model.layout.split(one.at.theta)[0]
            if len(lengths):
                total += one.weight / (1 + lengths**2)
        return total

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and plain values; `from_state` takes them back and factors again."""
        model = self.components[0].model
        arrays = {"z": model.z, "x": model.x, "y": model.y, "noise": model.noise, "counts": model.counts}
        for name in ("groups", "offset", "inducing", "factors", "z_variance"):
            if getattr(model, name) is not None:
                arrays[name] = getattr(model, name)
        arrays |= {f"theta_{k}": one.at.theta for k, one in enumerate(self.components)}
        arrays["weights"] = np.array([one.weight for one in self.components])
        plain = {
            "shapes": [one.model.shape for one in self.components],
            "scatter": list(model.scatter),
            "scatter_prior": list(model.scatter_prior),
            "residual": model.residual,
            "binary": model.binary,
            "weak": model.weak,
            "evidence": dict(self.evidence),
        }
        return arrays, plain

    @classmethod
    def from_state(cls, arrays: Mapping[str, Any], plain: Mapping[str, Any]) -> "Mixture":
        """Make it again from what `state` returned.

        Parameters
        ----------
        arrays, plain : as they were.
        """
        made = KernelModel(
            z=arrays["z"],
            x=arrays["x"],
            y=arrays["y"],
            noise=arrays["noise"],
            counts=arrays["counts"],
            groups=arrays.get("groups"),
            offset=arrays.get("offset"),
            inducing=arrays.get("inducing"),
            factors=arrays.get("factors"),
            z_variance=arrays.get("z_variance"),
            scatter_prior=tuple(plain["scatter_prior"]),
            scatter=tuple(plain["scatter"]),
            residual=bool(plain["residual"]),
            binary=bool(plain["binary"]),
            weak=bool(plain["weak"]),
        )
        components = []
        for k, (shape, weight) in enumerate(zip(plain["shapes"], arrays["weights"], strict=True)):
            model = replace(made, shape=shape)
            at = evaluate(model, arrays[f"theta_{k}"], with_gradient=False)
            components.append(Component(model=model, at=at, weight=float(weight)))
        return cls(components=tuple(components), evidence=dict(plain["evidence"]))


def fit_mixture(model: KernelModel, shapes: Sequence[str], *, integrate: bool) -> Mixture:
    """Fit every shape, and weigh shapes by their marginal likelihoods.

    Parameters
    ----------
    model : rows; its own shape does not matter.
    shapes : to try.
    integrate : whether each shape is represented by points around its maximum, or by the maximum alone.

    Notes
    -----
    The marginal likelihood is Laplace's approximation in the logarithms of the hyper-parameters. With inducing
    contexts, the search begins with some rows, from whose curvature that of all is scaled, and the maximum stands for
    each shape: many rows leave little of hyper-parameters open.
    """
    tried = [shape for shape in SHAPES if shape in shapes and (shape == "constant" or model.z.shape[1])]
    few = _subset(model)
    found: list[_Found] = []
    for shape in tried or ["constant"]:
        one = replace(few, shape=shape)
        starts = _starts(one, [before.few for before in found])
        best = max((before.few.value for before in found), default=-np.inf)
        at = search(one, starts=starts, n_steps=_GLIMPSE) if starts is not None else search(one)
        if starts is not None and at.value > best - _FAR_OFF:
            at = search(one, starts=at.theta[None, :])
        many = replace(model, shape=shape)
        found.append(_Found(many, one, at, at if few is model else _refined(many, at)))
    best = max(one.at.value for one in found)
    fitted: list[tuple] = []
    evidence: dict[str, float] = {}
    for each in found:
        evidence[each.model.shape] = each.at.value  # where far below the best, that says enough
        if each.at.value > best - _HOPELESS:
            values, vectors = np.linalg.eigh(_curvature(each.part, each.few) * (len(model.y) / len(few.y)))
            values = np.maximum(values, 1e-3)
            volume = 0.5 * float(np.log(2 * np.pi / values).sum())
            evidence[each.model.shape] = each.at.value - _log_normal_constant(each.model) + volume
            fitted.append((each.model, each.at, values, vectors))
    weighed = np.array([evidence[model.shape] for model, *_ in fitted])
    shares = np.exp(weighed - logsumexp(weighed))
    components = []
    for share, (one, at, values, vectors) in sorted(zip(shares, fitted, strict=True), key=lambda pair: -pair[0]):
        if share > _FLOOR:
            wide = integrate and share > _MINOR and model.inducing is None
            points = _points(one, at, values, vectors) if wide else [(1.0, at)]
            components += [Component(model=one, at=node, weight=float(share * w)) for w, node in points]
    return Mixture(components=_heaviest(components), evidence=evidence)


@dataclass(frozen=True, slots=True)
class _Found:
    """A shape's maximum, of all rows and of some of them."""

    model: KernelModel
    part: KernelModel
    few: Factored | SparseFactored
    at: Factored | SparseFactored


def _subset(model: KernelModel) -> KernelModel:
    """Return some of many rows, all pairs of which are cheap, to find where the search among all begins."""
    if model.inducing is None:
        return model
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(len(model.y))[:_SOME])
    return replace(
        model,
        z=model.z[rows],
        x=model.x[rows],
        y=model.y[rows],
        noise=model.noise[rows],
        counts=model.counts[rows],
        inducing=None,
    )


def _refined(model: KernelModel, at: Factored | SparseFactored) -> Factored | SparseFactored:
    return search(model, starts=at.theta[None, :], n_steps=_MORE)


def _starts(model: KernelModel, before: list[Factored | SparseFactored]) -> Float[np.ndarray, "starts size"] | None:
    """Return where to start a shape: where the one before ended, if they have the same hyper-parameters."""
    if before and len(before[-1].theta) == model.layout.size and model.layout.lengths:
        given = np.vstack([before[-1].theta, default_starts(model.layout)])
        return given[[int(np.argmax([evaluate(model, one, with_gradient=False).value for one in given]))]]
    return None


def _heaviest(components: list[Component]) -> tuple[Component, ...]:
    """Return the fewest components that have nearly all of the weight, in the order they came."""
    weights = np.array([one.weight for one in components])
    order = np.argsort(-weights, kind="stable")
    enough = int(np.searchsorted(np.cumsum(weights[order]), _KEPT * weights.sum())) + 1
    kept = np.sort(order[:enough])
    total = float(weights[kept].sum())
    return tuple(replace(components[k], weight=components[k].weight / total) for k in kept)


def _log_normal_constant(model: KernelModel) -> float:
    """Return minus the log of the constant of the prior, which `prior` leaves out."""
    if not model.weak:
        return 0.0
    _, scale = prior_moments(model.layout)
    return float(np.log(scale).sum() + 0.5 * len(scale) * np.log(2 * np.pi))


def _curvature(model: KernelModel, at: Factored | SparseFactored) -> Float[np.ndarray, "size size"]:
    """Return minus the second derivatives of the log posterior, by differences of its gradient."""
    rows = []
    for k in range(len(at.theta)):
        step = np.zeros_like(at.theta)
        step[k] = _STEP
        before, after = _gradient(model, at.theta - step), _gradient(model, at.theta + step)
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


def _points(
    model: KernelModel,
    at: Factored | SparseFactored,
    values: Float[np.ndarray, "size"],
    vectors: Float[np.ndarray, "size size"],
) -> list[tuple[float, Factored | SparseFactored]]:
    """Return the maximum and two points along each principal axis of the posterior, with weights that add up to 1.

    For a normal posterior of d dimensions, points at radius f sqrt(d) with weights 1 / (2 d f^2), and the rest in the
    middle, have its mean and its variances (Rue, Martino, Chopin 2009, section 6.5). Weights are then multiplied by how
    far the posterior at the point is from normal.
    """
    d = len(at.theta)
    if d == 0:
        return [(1.0, at)]
    radius = _OUT * np.sqrt(d)
    low, high = np.array(limits(model.layout)).T
    made = [(float(np.log(1 - 1 / _OUT**2)), at)]
    for value, vector in zip(values, vectors.T, strict=True):
        for sign in (-1, 1):
            theta = np.clip(at.theta + sign * radius * vector / np.sqrt(value), low, high)
            try:
                node = evaluate(model, theta, with_gradient=False)
            except np.linalg.LinAlgError:
                continue
            ratio = node.value - at.value + 0.5 * radius**2
            made.append((float(-np.log(2 * d * _OUT**2) + min(ratio, 2.0)), node))
    weights = np.exp(np.array([one[0] for one in made]) - logsumexp([one[0] for one in made]))
    return [(float(weight), node) for weight, (_, node) in zip(weights, made, strict=True)]
