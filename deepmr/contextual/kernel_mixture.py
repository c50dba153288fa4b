"""Several vectors of hyper-parameters, and several shapes, each with the weight that the data give it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from deepmr.contextual.kernel_maxima import Start, find_maxima
from deepmr.contextual.kernel_model import Factored, KernelModel, evaluate
from deepmr.contextual.kernel_posterior import Posterior, joint_covariance, posterior, posterior_mean
from deepmr.contextual.kernel_search import limits
from deepmr.contextual.kernel_shapes import SHAPES, Shape, prior_moments
from deepmr.contextual.kernel_sparse import SparseFactored
from deepmr.contextual.units import Units

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
    starts : where searches of much the same rows may begin, by shape; not part of the state.
    """

    components: tuple[Component, ...]
    evidence: Mapping[str, float]
    starts: Mapping[Shape, Start] = field(default_factory=dict)

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


def fit_mixture(model: KernelModel, shapes: Sequence[str], *, integrate: bool, like: Mixture | None = None) -> Mixture:
    """Fit every shape, and weigh shapes by their marginal likelihoods.

    Parameters
    ----------
    model : rows; its own shape does not matter.
    shapes : to try.
    integrate : whether each shape is represented by points around its maximum, or by the maximum alone.
    like : a fit of much the same rows, where the search begins; it ends at the maximum of these rows.

    Notes
    -----
    The marginal likelihood is Laplace's approximation in the logarithms of the hyper-parameters. With inducing
    contexts the maximum stands for each shape: many rows leave little of hyper-parameters open.
    """
    tried = [shape for shape in SHAPES if shape in shapes and (shape == "constant" or model.z.shape[1])]
    found = find_maxima(model, tried or ["constant"], {} if like is None else like.starts)
    fitted: list[tuple] = []
    evidence: dict[str, float] = {}
    for each in found:
        if each.likely and each.curvature is not None:
            values, vectors = np.linalg.eigh(each.curvature)
            values = np.maximum(values, 1e-3)
            volume = 0.5 * float(np.log(2 * np.pi / values).sum())
            evidence[each.model.shape] = each.at.value - _log_normal_constant(each.model) + volume
            fitted.append((each.model, each.at, values, vectors))
    top = max(found, key=lambda each: each.at.value)
    for each in found:  # of what is not likely, as if it lost as much by each hyper-parameter as the best does
        lost = (evidence[top.model.shape] - top.at.value) / max(len(top.at.theta), 1)
        evidence.setdefault(each.model.shape, each.at.value + lost * len(each.at.theta))
    weighed = np.array([evidence[model.shape] for model, *_ in fitted])
    shares = np.exp(weighed - logsumexp(weighed))
    components = []
    for share, (one, at, values, vectors) in sorted(zip(shares, fitted, strict=True), key=lambda pair: -pair[0]):
        if share > _FLOOR:
            wide = integrate and share > _MINOR and model.inducing is None
            points = _points(one, at, values, vectors) if wide else [(1.0, at)]
            components += [Component(model=one, at=node, weight=float(share * w)) for w, node in points]
    starts = {each.model.shape: each.start for each in found}
    return Mixture(components=_heaviest(components), evidence=evidence, starts=starts)


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
