"""Ready designs for nonlinear instrumental variables: individual-level data whose true response is known."""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import IVData
from deepmr.simulate.iv_models import MODELS
from deepmr.simulate.sampling import draw_sample

N_VARIANTS = 20
Array = np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedIV:
    """Data of a design, and what is true of it.

    Attributes
    ----------
    design : name in `DESIGNS`.
    data : what an analyst sees.
    truth : E[outcome | do(exposure = x)] at every x, averaged over the population.
    truth_given : the same given covariates, a row a point; None where the design has none.
    """

    design: str
    data: IVData
    truth: Callable[[Array], Array]
    truth_given: Callable[[Array, Array], Array] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Points at which a design is judged by its authors, with the true response there."""

    x: Float[np.ndarray, "points"]
    covars: Float[np.ndarray, "points covariates"]
    truth: Float[np.ndarray, "points"]


def simulate_iv(design: str, *, n: int = 10_000, seed: int = 0) -> SimulatedIV:
    """Draw the data of a ready design.

    Parameters
    ----------
    design : name in `DESIGNS`.
    n : number of samples.
    seed : same design, seed and n, same data.

    Examples
    --------
    >>> drawn = simulate_iv("poly20", n=500)
    >>> drawn.data.instruments.shape
    (500, 20)
    >>> float(drawn.truth(np.array([1.0]))[0])
    1.0
    """
    checks.one_of("design", design, DESIGNS)
    checks.at_least("n", n, 2)
    checks.at_least("seed", seed, 0)
    if design in MODELS:
        sample = draw_sample(MODELS[design], n, seed=seed)
        return SimulatedIV(
            design=design,
            data=sample.data,
            truth=sample.truth,
            truth_given=sample.truth_given if sample.data.covariate_names else None,
        )
    return _DRAWN[design][0](n, seed)


def effect_of_modifier(c: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points"]:
    """Return the effect of one unit of exposure at values of the modifier in the design effect_mod.

    Parameters
    ----------
    c : values of the modifier.
    """
    return 0.6 / (1.0 + np.exp(-3.0 * c))


def simulate_demand(n: int, *, rho: float = 0.5, seed: int = 0) -> SimulatedIV:
    """Draw the airline-demand design: sales by price, time of year and customer type; fuel cost shifts the price.

    Parameters
    ----------
    n : number of samples.
    rho : correlation of price and sales by what is not observed.
    seed : of the data.

    Notes
    -----
    price = 25 + (cost + 3) psi(time) + v, sales = 100 + (10 + price) type psi(time) - 2 price + e, corr(v, e) = rho,
    psi(t) = 2 ((t - 5)^4 / 600 + exp(-4 (t - 5)^2) + t / 10 - 2); time uniform on 0 to 10, type uniform on 1 to 7.

    References
    ----------
    Hartford, Lewis, Leyton-Brown & Taddy (2017), Deep IV, proceedings.mlr.press/v70/hartford17a.html.
    """
    if not -1 <= rho <= 1:
        raise InputError(f"rho must be between -1 and 1; got {rho:g}")
    rng = _stream("demand", n, seed)
    kind = rng.integers(1, 8, n).astype(float)
    time = rng.uniform(0, 10, n)
    cost, v = rng.standard_normal(n), rng.standard_normal(n)
    e = rho * v + np.sqrt(1 - rho**2) * rng.standard_normal(n)
    price = 25 + (cost + 3) * _season(time) + v
    data = IVData(
        instruments=cost[:, None],
        exposure=price,
        outcome=_sales(price, time, kind) + e,
        covariates=np.column_stack([time, kind]),
        instrument_names=("cost",),
        covariate_names=("time", "type"),
        exposure_name="price",
        outcome_name="sales",
    )
    season = 2 * (125 / 600 + math.sqrt(math.pi / 4) * math.erf(10) / 10 + 0.5 - 2)  # mean of psi over the year
    return SimulatedIV(
        design="demand",
        data=data,
        truth=lambda x: 100 + (10 + x) * 4 * season - 2 * x,
        truth_given=lambda x, c: _sales(x, c[:, 0], c[:, 1]),
    )


def demand_grid() -> Grid:
    """Return the 2,800 points at which published tables judge the demand design."""
    prices, times = np.linspace(10, 25, 20), np.linspace(0, 10, 20)
    x, time, kind = (part.ravel() for part in np.meshgrid(prices, times, np.arange(1.0, 8.0), indexing="ij"))
    return Grid(x=x, covars=np.column_stack([time, kind]), truth=_sales(x, time, kind))


def _season(t: Array) -> Array:
    return 2 * ((t - 5) ** 4 / 600 + np.exp(-4 * (t - 5) ** 2) + t / 10 - 2)


def _sales(price: Array, time: Array, kind: Array) -> Array:
    return 100 + (10 + price) * kind * _season(time) - 2 * price


def _stream(design: str, n: int, seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([zlib.crc32(design.encode()), seed, n]))


def _burgess_j(n: int, seed: int) -> SimulatedIV:
    rng = _stream("burgess_j", n, seed)
    g = rng.binomial(2, 0.3, n).astype(float)
    u = rng.random(n)
    x = 0.25 * g + u + rng.exponential(1.0, n)
    y = 0.2 * (x - 1) ** 2 + 0.8 * u + rng.standard_normal(n)
    return _simulated("burgess_j", g[:, None], x, y, lambda t: 0.2 * (t - 1) ** 2 + 0.4)


@dataclass(frozen=True, slots=True)
class _Score:
    """Twenty variants, what they add up to, and a confounder."""

    variants: Array
    score: Array
    u: Array
    rng: np.random.Generator


def _score(design: str, n: int, seed: int, *, explained: float) -> _Score:
    rng = _stream(design, n, seed)
    p = rng.uniform(0.2, 0.4, N_VARIANTS)
    g = rng.binomial(2, p, (n, N_VARIANTS)).astype(float)
    effects = np.sqrt(rng.dirichlet(np.ones(N_VARIANTS)) * explained)
    score = ((g - 2 * p) / np.sqrt(2 * p * (1 - p))) @ effects
    return _Score(g, score, rng.standard_normal(n), rng)


def _poly20(n: int, seed: int) -> SimulatedIV:
    drawn = _score("poly20", n, seed, explained=0.5)
    x = drawn.score + 0.25 * drawn.u + np.sqrt(1 - 0.5 - 0.25**2) * drawn.rng.standard_normal(n)
    y = 0.3 * (x + 2) * (x - 1) + 1 - 0.7 * drawn.u + drawn.rng.standard_normal(n)
    return _simulated("poly20", drawn.variants, x, y, lambda t: 0.3 * (t + 2) * (t - 1) + 1)


def _het20(n: int, seed: int) -> SimulatedIV:
    drawn = _score("het20", n, seed, explained=0.3)
    x = (1 + 0.6 * drawn.u) * drawn.score + 0.5 * drawn.u + 0.6 * drawn.rng.standard_normal(n)
    y = 0.3 * x - 0.7 * drawn.u + drawn.rng.standard_normal(n)
    return _simulated("het20", drawn.variants, x, y, lambda t: 0.3 * t)


def _effect_mod(n: int, seed: int) -> SimulatedIV:
    drawn = _score("effect_mod", n, seed, explained=0.3)
    c = drawn.rng.standard_normal(n)
    x = drawn.score + 0.3 * c + 0.5 * drawn.u + 0.6 * drawn.rng.standard_normal(n)
    y = effect_of_modifier(c) * x + 0.2 * c - 0.7 * drawn.u + drawn.rng.standard_normal(n)
    # the effect is symmetric about 0.3, and so is the modifier about 0
    return _simulated("effect_mod", drawn.variants, x, y, lambda t: 0.3 * t, c=c)


def _sine(n: int, seed: int) -> SimulatedIV:
    rng = _stream("sine", n, seed)
    z, u = rng.standard_normal(n), rng.standard_normal(n)
    x = 0.9 * z + 0.1 * u + 0.1 * rng.standard_normal(n)
    y = _wave(x) - u + 0.5 * rng.standard_normal(n)
    return _simulated("sine", z[:, None], x, y, _wave)


def _wave(t: Array) -> Array:
    return 0.8 * t + 0.6 * np.sin(5 * t) + 0.05 * t**3


def _simulated(
    design: str, z: Array, x: Array, y: Array, truth: Callable[[Array], Array], *, c: Array | None = None
) -> SimulatedIV:
    data = IVData(
        instruments=z,
        exposure=x,
        outcome=y,
        covariates=np.empty((len(x), 0)) if c is None else c[:, None],
        instrument_names=tuple(f"v{k + 1}" for k in range(z.shape[1])),
        covariate_names=() if c is None else ("c1",),
        exposure_name="x",
        outcome_name="y",
    )
    given = None if c is None else lambda t, c: effect_of_modifier(c[:, 0]) * t + 0.2 * c[:, 0]
    return SimulatedIV(design=design, data=data, truth=truth, truth_given=given)


_DRAWN: dict[str, tuple[Callable[[int, int], SimulatedIV], str]] = {
    "poly20": (_poly20, "20 variants (R2 50 %), a quadratic response"),
    "effect_mod": (_effect_mod, "20 variants (R2 30 %), an effect that rises with a covariate"),
    "burgess_j": (_burgess_j, "one variant (R2 2.4 %), a J-shaped response"),
    "sine": (_sine, "one continuous instrument (R2 98 %), a wave"),
    "het20": (_het20, "20 variants whose effects vary with the confounder, a linear response"),
    "demand": (lambda n, seed: simulate_demand(n, seed=seed), "airline demand: one cost, two covariates"),
}
DESIGNS: dict[str, str] = {name: said for name, (_, said) in _DRAWN.items()} | {
    name: model.says for name, model in MODELS.items()
}
