"""Bayesian networks as mixtures of archetypes, weighed by a perceptron of context (NOTMAD), trained on all samples."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from scipy import optimize

from deepmr import checks
from deepmr.contextual.graphs.acyclicity import Acyclicity, measure_cycles
from deepmr.contextual.graphs.bayesian import BayesianNetworkFit
from deepmr.contextual.graphs.continuous import ContinuousFit, finite_cycles
from deepmr.contextual.graphs.functions import Encoder, Functions
from deepmr.contextual.graphs.notears import centre_of, check_penalties, continuous_network, spread_points
from deepmr.contextual.graphs.types import GraphData
from deepmr.contextual.scaling import scale_contexts

_PATH = (1.0, 10.0, 100.0, 1e3, 1e4)  # weight of the loss of cycles, step by step
_ROUND = 1e-4  # below which the size of a weight is a parabola, which makes the penalty smooth
_FALL, _SLOPE = 1e-9, 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchetypeNetworks:
    """W(c) = sum_k z_k(c) A_k with z a perceptron of context; no cycle at any context.

    Attributes
    ----------
    n_archetypes : networks A_k that are mixed.
    hidden : units of the perceptron's hidden layer.
    acyclicity : loss of cycles, averaged over contexts of the samples.
    l1 : penalty on the mean size of weights W(c), against half the mean squared error.
    decay : penalty on squared parameters of the perceptron and of archetypes.
    steps : of L-BFGS at most, at each of five weights of the loss of cycles.
    threshold : size, in the root mean square over samples, below which an edge is dropped.
    """

    n_archetypes: int = 4
    hidden: int = 10
    acyclicity: Acyclicity = "dagma"
    l1: float = 1e-3
    decay: float = 1e-3
    steps: int = 300
    threshold: float = 0.1

    def __post_init__(self) -> None:
        check_penalties(self.acyclicity, self.l1, self.threshold)
        checks.at_least("n_archetypes", self.n_archetypes, 1)
        checks.at_least("hidden", self.hidden, 1)
        checks.at_least("decay", self.decay, 0)
        checks.at_least("steps", self.steps, 1)

    def fit(self, data: GraphData, *, seed: int = 0) -> BayesianNetworkFit:
        """Fit encoder and archetypes together.

        Parameters
        ----------
        data : samples.
        seed : of the parameters at the start.

        Notes
        -----
        Another start may end in another local minimum. Functions of context that are fixed (`varying_dag`) need no
        encoder, and an order that is searched for (`ordered`) no loss of cycles; both are faster and usually better.

        References
        ----------
        Lengerich B, Ellington C, Aragam B, Xing EP, Kellis M (2021), NOTMAD, doi:10.48550/arXiv.2111.01104.
        """
        z = scale_contexts(data.as_context_data(outcomes=[0]))(data.contexts)
        values = data.values - centre_of(data)
        spread = float(np.sqrt(np.mean(values**2))) or 1.0
        rows = np.column_stack([np.full(len(z), spread), values])
        d, share = values.shape[1], data.counts / data.counts.sum()
        k, h = self.n_archetypes, self.hidden
        shapes = ((z.shape[1], h), (h,), (h, k), (k,), (k, d + 1, d))
        flat = _start(shapes, np.random.default_rng(seed))
        points = spread_points(z)
        for weight in _PATH:
            loss = archetype_loss(
                shapes,
                (z, rows, values, share),
                points,
                acyclicity=self.acyclicity,
                weight=weight,
                l1=self.l1,
                decay=self.decay,
            )
            flat = optimize.minimize(
                loss,
                flat,
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": self.steps, "maxfun": 2 * self.steps, "ftol": _FALL, "gtol": _SLOPE, "maxcor": 20},
            ).x
        *layers, archetypes = _split(flat, shapes)
        encoder = Encoder(first=layers[0], first_bias=layers[1], second=layers[2], second_bias=layers[3])
        graphs = np.einsum("pk,kij->pij", encoder(points), _without_loops(archetypes)[:, 1:])
        found = ContinuousFit(
            level=spread * archetypes[:, 0],
            weight=_without_loops(archetypes)[:, 1:],
            cycles=float(measure_cycles(graphs, "polynomial").value.mean()),
        )
        functions = Functions(kind="encoder", basis=encoder)
        return continuous_network(
            data, functions, found, threshold=self.threshold, method="archetypes", options=asdict(self), seed=seed
        )


def archetype_loss(
    shapes: tuple[tuple[int, ...], ...],
    samples: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    points: Float[np.ndarray, "points contexts"],
    *,
    acyclicity: Acyclicity,
    weight: float,
    l1: float,
    decay: float,
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Return the loss of encoder and archetypes, and its gradient, as a function of all parameters in one vector.

    Parameters
    ----------
    shapes : of the encoder's first layer, its bias, its second layer, its bias, and of archetypes with levels.
    samples : standardised contexts; a constant and nodes; nodes; the share that each sample counts for.
    points : contexts where weights are penalised and must have no cycle.
    acyclicity, l1, decay : as in `ArchetypeNetworks`.
    weight : of the loss of cycles.
    """
    z, rows, values, share = samples
    every = np.concatenate([z, points])
    n = len(z)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        first, first_bias, second, second_bias, given = _split(flat, shapes)
        archetypes = _without_loops(given)
        hidden = np.tanh(every @ first + first_bias)
        mixed = hidden @ second + second_bias
        each = np.einsum("ni,kij->nkj", rows, archetypes)
        error = np.einsum("nk,nkj->nj", mixed[:n], each) - values
        graphs = np.einsum("pk,kij->pij", mixed[n:], archetypes[:, 1:])
        at = finite_cycles(graphs, acyclicity)
        size = np.sqrt(graphs**2 + _ROUND**2)
        value = 0.5 * float(share @ (error**2).sum(axis=1)) + 0.5 * decay * float(flat @ flat) / len(flat)
        value += (weight * float(at.value.sum()) + l1 * float(size.sum())) / len(points)
        # Backwards: by weights at points and errors of samples, by archetypes and what mixes them, by the layers
        slope = (weight * at.gradient + l1 * graphs / size) / len(points)
        scaled = share[:, None] * error
        by_sample = np.einsum("nkj,nj->nk", each, scaled)
        by_mixed = np.concatenate([by_sample, np.einsum("pij,kij->pk", slope, archetypes[:, 1:])])
        by_archetype = np.einsum("nk,ni,nj->kij", mixed[:n], rows, scaled, optimize=True)
        by_archetype[:, 1:] += np.einsum("pk,pij->kij", mixed[n:], slope)
        back = (by_mixed @ second.T) * (1 - hidden**2)
        parts = (every.T @ back, back.sum(axis=0), hidden.T @ by_mixed, by_mixed.sum(axis=0))
        gradient = np.concatenate([part.ravel() for part in (*parts, _without_loops(by_archetype))])
        return value, gradient + decay * flat / len(flat)

    return loss


def _start(shapes: tuple[tuple[int, ...], ...], rng: np.random.Generator) -> Float[np.ndarray, "parameters"]:
    """Draw parameters: hidden units of a slope near 1, small archetypes."""
    scales = (1 / np.sqrt(max(shapes[0][0], 1)), 1.0, 1 / np.sqrt(shapes[2][0]), 1.0, 0.01)
    return np.concatenate(
        [scale * rng.standard_normal(int(np.prod(s))) for s, scale in zip(shapes, scales, strict=True)]
    )


def _split(flat: np.ndarray, shapes: tuple[tuple[int, ...], ...]) -> list[np.ndarray]:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends), shapes, strict=True)]


def _without_loops(archetypes: np.ndarray) -> np.ndarray:
    """Return archetypes (first row the level's) with 0 for the weight of a node for itself."""
    made = archetypes.copy()
    own = np.arange(made.shape[2])
    made[:, own + 1, own] = 0.0
    return made
