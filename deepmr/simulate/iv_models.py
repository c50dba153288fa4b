"""Models of the literature on nonlinear Mendelian randomization, as models that can be changed and drawn from."""

from collections.abc import Callable

import numpy as np

from deepmr import checks
from deepmr.simulate.distributions import Exponential, Normal, Uniform, Variant
from deepmr.simulate.models import Model

Array = np.ndarray

BURGESS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "null": ("no effect", lambda x: 0.0 * x),
    "linear": ("a linear response", lambda x: 0.4 * x),
    "quadratic": ("a response that rises ever faster", lambda x: 0.1 * x**2),
    "u": ("a U-shaped response", lambda x: 0.2 * (x - 2) ** 2),
    "threshold": ("no effect up to 2, a linear one beyond", lambda x: 0.4 * np.maximum(x - 2, 0)),
    "plateau": ("a linear effect up to 2, none beyond", lambda x: 0.4 * np.minimum(x, 2)),
    "logarithm": ("a response that levels off", lambda x: 0.6 * np.log1p(np.maximum(x, 0))),
}
TIAN_EXPOSURES: dict[str, tuple[str, Callable[..., Array]]] = {
    "a": ("a linear first stage", lambda z, u, ex: 0.5 * z + u + ex),
    "b": (
        "a nonlinear first stage",
        lambda z, u, ex: 0.5 * z + np.where(z <= -1, 2 * z**3 + 2, 0.0) + u + ex,
    ),
    "c": (
        "effects of the instrument that vary with the confounder",
        lambda z, u, ex: -10 + (1.5 + 0.4 * u) * z + u + ex,
    ),
    "d": ("an exposure in whole units", lambda z, u, ex: np.round(0.5 * z + u + ex)),
}
TIAN_RESPONSES: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "1": ("no effect", lambda x: 0.0 * x),
    "2": ("a quadratic response", lambda x: 0.1 * x**2),
    "3": ("an effect below 0 alone", lambda x: np.where(x <= 0, -0.1 * x**2, 0.0)),
}


def burgess_model(shape: str) -> Model:
    """Return a model of one weak variant, as in Burgess, Davies & Thompson.

    Parameters
    ----------
    shape : of the response, in `BURGESS`.

    Notes
    -----
    x = 0.25 g + u + Exp(1), y = f(x) + 0.8 u + N(0, 1), with g binomial (2, 0.3) and u uniform on 0 to 1. The J of this
    family is the design burgess_j. The other shapes have sizes of our own, for the same spread of outcomes.

    References
    ----------
    Burgess, Davies & Thompson (2014) doi:10.1097/EDE.0000000000000161.
    """
    checks.one_of("shape", shape, BURGESS)
    says, curve = BURGESS[shape]
    return Model(
        name=f"burgess_{shape}",
        says=f"one variant (R2 2.4 %), {says}",
        variables={
            "v1": Variant(frequency=0.3),
            "u": Uniform(),
            "ex": Exponential(),
            "ey": Normal(),
            "x": lambda v1, u, ex: 0.25 * v1 + u + ex,
            "y": lambda x, u, ey: curve(x) + 0.8 * u + ey,
        },
        exposure="x",
        outcome="y",
        instruments=("v1",),
        response=lambda x: curve(x) + 0.4,
    )


def tian_model(exposure: str, outcome: str) -> Model:
    """Return a cell of the grid of Tian and others: four first stages by three responses.

    Parameters
    ----------
    exposure : a to d, in `TIAN_EXPOSURES`.
    outcome : 1 to 3, in `TIAN_RESPONSES`.

    Notes
    -----
    z normal with standard deviation 0.5; confounder u and both errors standard normal and independent. Exposures:
    a, 0.5 z + u + e; b, the same and 2 z^3 + 2 where z <= -1; c, -10 + (1.5 + 0.4 u) z + u + e; d, that of a rounded,
    and the rounded one acts. Outcomes: u + e, plus 0; 0.1 x^2; -0.1 x^2 where x <= 0, nothing above.

    References
    ----------
    Tian, Mason, Liu & Burgess (2023) doi:10.1371/journal.pgen.1010823.
    """
    checks.one_of("exposure", exposure, TIAN_EXPOSURES)
    checks.one_of("outcome", outcome, TIAN_RESPONSES)
    (first, stage), (second, curve) = TIAN_EXPOSURES[exposure], TIAN_RESPONSES[outcome]
    return Model(
        name=f"tian_{exposure}{outcome}",
        says=f"one continuous instrument, {first}, {second}",
        variables={
            "v1": Normal(sd=0.5),
            "u": Normal(),
            "ex": Normal(),
            "ey": Normal(),
            "x": lambda v1, u, ex: stage(v1, u, ex),
            "y": lambda x, u, ey: curve(x) + u + ey,
        },
        exposure="x",
        outcome="y",
        instruments=("v1",),
        response=curve,
    )


def polygenic_model(*, n_variants: int = 20, explained: float = 0.5, effect: float = 0.3) -> Model:
    """Return a model of many variants whose shares of a heritability are drawn, with a linear response.

    Parameters
    ----------
    n_variants : independent ones, of frequencies between 0.05 and 0.5.
    explained : variance of the exposure that they explain, of about 1; below 0.93.
    effect : of one unit of exposure.
    """
    checks.at_least("n_variants", n_variants, 1)
    checks.at_least("what is left to other causes", 0.9375 - explained, 0.0)

    def effects(shares: Array, frequency: Array, explained: float) -> Array:
        return np.sqrt(explained * shares / (2 * frequency * (1 - frequency)))

    return Model(
        name=f"linear{n_variants}",
        says=f"{n_variants} variants (R2 {100 * explained:.0f} %), a linear response",
        parameters={
            "explained": explained,
            "effect": effect,
            "frequency": Uniform(low=0.05, high=0.5, columns=n_variants),
            "shares": lambda rng: rng.dirichlet(np.ones(n_variants)),
            "effects": effects,
        },
        variables={
            "v": Variant(frequency="frequency", columns=n_variants),
            "u": Normal(),
            "ex": Normal(),
            "ey": Normal(),
            "x": lambda v, u, ex, effects, frequency, explained: (
                (np.reshape(v, (len(u), -1)) - 2 * frequency) @ np.atleast_1d(effects)
                + 0.25 * u
                + np.sqrt(0.9375 - explained) * ex
            ),
            "y": lambda x, u, ey, effect: effect * x - 0.7 * u + ey,
        },
        exposure="x",
        outcome="y",
        instruments=("v",),
        response=lambda x, effect: effect * x,
    )


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        *(burgess_model(shape) for shape in BURGESS),
        *(tian_model(exposure, outcome) for exposure in TIAN_EXPOSURES for outcome in TIAN_RESPONSES),
        polygenic_model(),
    )
}
