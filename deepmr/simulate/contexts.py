"""Ready designs of coefficients that vary with context: samples to train and to test on, and their true slopes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.contexts import ContextData

SAMPLING = ("discs", "random", "grid")
Truth = Callable[[np.ndarray], np.ndarray]

_CENTRES = np.array([[0, 0], [0.5, 0.5], [0.5, -0.5], [-0.5, 0.5], [-0.5, -0.5]])  # of the discs
_RADIUS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedContexts:
    """Samples of a design, and what is true of them.

    Attributes
    ----------
    design : name in `DESIGNS`.
    train, test : samples; the test outcomes have noise of the same size.
    beta_train, beta_test : true slopes of their contexts; mu is 0 everywhere.
    truth : slopes at any values of the two contexts that matter, a row a point.
    """

    design: str
    train: ContextData
    test: ContextData
    beta_train: Float[np.ndarray, "train predictors"]
    beta_test: Float[np.ndarray, "test predictors"]
    truth: Truth


def _quadratic(c: np.ndarray) -> np.ndarray:
    return np.column_stack([c[:, 0] + c[:, 1] ** 2, c[:, 0] ** 2 + c[:, 1]])


def _sine(c: np.ndarray) -> np.ndarray:
    a, b = np.pi * c[:, 0], np.pi * c[:, 1]
    return np.column_stack([np.sin(a) + np.cos(b), np.cos(a) + np.sin(b)]) / np.sqrt(2)


def _step(c: np.ndarray) -> np.ndarray:
    a, b = (c[:, 0] > 0.1).astype(float), (c[:, 1] > -0.2).astype(float)
    return np.column_stack([a + b, a - b])


def _product(c: np.ndarray) -> np.ndarray:
    return np.column_stack([2 * c[:, 0] * c[:, 1], 1.7 * c[:, 0] * np.sin(np.pi * c[:, 1])])


def _linear(c: np.ndarray) -> np.ndarray:
    return np.column_stack([0.5 + c[:, 0], c[:, 1] - c[:, 0]])


def _constant(c: np.ndarray) -> np.ndarray:
    return np.tile([0.5, -1.0], (len(c), 1))


DESIGNS: dict[str, Truth] = {
    "quadratic": _quadratic,
    "sine": _sine,
    "step": _step,
    "product": _product,
    "linear": _linear,
    "constant": _constant,
}


def simulate_contexts(
    design: str,
    *,
    n: int = 221,
    noise_sd: float = 0.1,
    n_noise_contexts: int = 2,
    sampling: str = "random",
    n_test: int = 1000,
    test_range: float = 1.0,
    seed: int = 0,
) -> SimulatedContexts:
    """Draw samples y = beta_1(c) x_1 + beta_2(c) x_2 + noise, with x uniform on -1 to 1.

    Parameters
    ----------
    design : name in `DESIGNS`. Quadratic: beta_1 = c_1 + c_2^2, beta_2 = c_1^2 + c_2. Sine: (sin pi c_1 + cos pi c_2)
        / sqrt 2 and (cos pi c_1 + sin pi c_2) / sqrt 2. Step: [c_1 > .1] + [c_2 > -.2] and [c_1 > .1] - [c_2 > -.2].
        Product, the only one that is not a sum over contexts: 2 c_1 c_2 and 1.7 c_1 sin pi c_2. Linear: .5 + c_1 and
        c_2 - c_1. Constant: .5 and -1.
    n : training samples; as near as a grid allows where contexts lie on one.
    noise_sd : standard deviation of the noise of y.
    n_noise_contexts : standard normal contexts that nothing depends on, beside the two that matter.
    sampling : of the training contexts: on a grid in five discs of radius .1, with the rest of that grid as test
        samples (n = 221 gives a grid of 75 x 75), uniform on the square from -1 to 1, or a grid over it.
    n_test : test samples, where contexts are not in discs.
    test_range : largest size of the test contexts, where these are not in discs; beyond 1 they lie outside.
    seed : same arguments, same data.

    Examples
    --------
    >>> drawn = simulate_contexts("quadratic", sampling="discs", seed=0)
    >>> len(drawn.train), len(drawn.test), drawn.train.context_names
    (221, 5404, ('c1', 'c2', 'noise1', 'noise2'))
    """
    checks.one_of("design", design, DESIGNS)
    checks.one_of("sampling", sampling, SAMPLING)
    for name, value, least in (("n", n, 4), ("n_test", n_test, 1), ("n_noise_contexts", n_noise_contexts, 0)):
        checks.at_least(name, value, least)
    checks.at_least("seed", seed, 0)
    rng = np.random.default_rng(seed)
    train, test = _places(sampling, n, n_test, test_range, rng)
    truth = DESIGNS[design]
    c = np.vstack([train, test])
    beta = truth(c)
    x = rng.uniform(-1, 1, beta.shape)
    y = (x * beta).sum(axis=1) + noise_sd * rng.standard_normal(len(c))
    every = ContextData(
        contexts=np.column_stack([c, rng.standard_normal((len(c), n_noise_contexts))]),
        predictors=x,
        outcomes=y[:, None],
        context_names=("c1", "c2", *(f"noise{k + 1}" for k in range(n_noise_contexts))),
        predictor_names=("x1", "x2"),
        outcome_names=("y",),
    )
    first, second = slice(len(train)), slice(len(train), None)
    return SimulatedContexts(
        design=design,
        train=every.take(first),
        test=every.take(second),
        beta_train=beta[first],
        beta_test=beta[second],
        truth=truth,
    )


def _places(
    sampling: str, n: int, n_test: int, test_range: float, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "train 2"], Float[np.ndarray, "test 2"]]:
    """Return the two contexts that matter, of training and test samples."""
    if sampling == "discs":
        places = _grid(round(2 * np.sqrt(n / (len(_CENTRES) * np.pi * _RADIUS**2))))
        near = ((places[:, None] - _CENTRES) ** 2).sum(axis=2).min(axis=1) < _RADIUS**2
        return places[near], places[~near]
    train = _grid(round(np.sqrt(n))) if sampling == "grid" else rng.uniform(-1, 1, (n, 2))
    return train, rng.uniform(-test_range, test_range, (n_test, 2))


def _grid(side: int) -> Float[np.ndarray, "points 2"]:
    """Return a grid over the square from -1 to 1."""
    axis = np.linspace(-1, 1, side)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
