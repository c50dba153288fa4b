"""One unit of the study of nonlinear instrumental variables: a method on one drawing of a design, and its scores."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepmr.individual import Curve, DoseResponse
from deepmr.io.files import atomic_path
from deepmr.nonlinear import METHODS, make_method
from deepmr.simulate.iv_designs import SimulatedIV, demand_grid, effect_of_modifier, simulate_iv

DESIGNS = ("poly20", "effect_mod", "burgess_j", "sine", "het20")
CLOSED = (
    *("sieve", "control_function", "auto", "kernel_iv", "kernel_mmr"),
    *("tsls", "liml", "doubly_ranked", "residual_strata"),
)
POINTS = 200
LEVEL = 0.90
MODIFIERS = (-1.5, -0.5, 0.5, 1.5)  # at which the effect given the covariate is judged
DRAWN = 10  # seeds whose curves are kept for the figures


@dataclass(frozen=True)
class Unit:
    """A method on a design."""

    design: str
    method: str
    n: int = 10_000
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of its file, without the suffix."""
        return f"{self.design}-{self.n}-{self.method}-{self.seed:03d}"


def units_of(arm: str, methods: list[str], n_seeds: int | None) -> list[Unit]:
    """Return the units of an arm, every design's first seed before any second one.

    Parameters
    ----------
    arm : in `ARMS`.
    methods : that take part; the arm `coverage` has those in closed form alone.
    n_seeds : other than what the arm has.
    """
    designs, sizes, seeds = ARMS[arm]
    chosen = [method for method in methods if arm in ("accuracy", "demand") or method in CLOSED]
    return [
        Unit(design=design, method=method, n=n, seed=seed)
        for seed in range(seeds if n_seeds is None else n_seeds)
        for n in sizes
        for design in designs
        for method in chosen
    ]


# Designs, sizes and seeds of each arm. Arms share units: the first ten seeds of `coverage` are those of `accuracy`.
ARMS: dict[str, tuple[tuple[str, ...], tuple[int, ...], int]] = {
    "accuracy": (DESIGNS, (10_000,), 10),
    "demand": (("demand",), (1_000, 5_000), 10),
    "coverage": (DESIGNS, (10_000,), 100),
    "literature": (
        tuple(f"burgess_{shape}" for shape in ("linear", "u", "threshold", "plateau"))
        + tuple(f"tian_{exposure}{outcome}" for exposure in "abcd" for outcome in "123"),
        (10_000,),
        10,
    ),
}


def run_unit(unit: Unit, out: Path) -> str:
    """Fit, judge and keep one unit; an error of the method is kept in the place of scores.

    Parameters
    ----------
    unit : of work.
    out : folder for its file.
    """
    drawn = simulate_iv(unit.design, n=unit.n, seed=unit.seed)
    method = make_method(unit.method)
    start = time.process_time()
    try:
        fit = method.fit(drawn.data, seed=unit.seed)
        scores = judge(fit, drawn, start=start, keep=unit.seed < DRAWN)
    except Exception as error:  # one failure is a result; the study goes on
        scores = {"error": f"{type(error).__name__}: {error}"}
    with atomic_path(out / f"{unit.name}.json") as temporary:
        temporary.write_text(json.dumps({**asdict(unit), **scores}, allow_nan=False) + "\n")
    return unit.name


def judge(fit: DoseResponse, drawn: SimulatedIV, *, start: float, keep: bool) -> dict[str, Any]:
    """Compare a fit with the truth of its design.

    Parameters
    ----------
    fit : any fitted response.
    drawn : data and truth.
    start : CPU time when the fit began; fitting, the curve and both bands count.
    keep : whether to keep the curve.
    """
    assert drawn.data.exposure is not None
    low, before, after, high = np.quantile(drawn.data.exposure, [0.025, 0.25, 0.75, 0.975])
    x = np.linspace(low, high, POINTS)
    curve = fit.avg_iv_reg_function(x, level=LEVEL)
    band = fit.uniform_band(x, level=LEVEL) if hasattr(fit, "uniform_band") else None
    scores: dict[str, Any] = {"cpu_s": time.process_time() - start}
    truth = drawn.truth(x)
    error = curve.estimate - truth
    ends = drawn.truth(np.array([before, after]))
    step = fit.ate(np.array([before]), np.array([after]), level=LEVEL)
    scores |= {
        "mse": float(np.mean(error**2)),
        "mse_centred": float(np.var(error)),
        "ate_error": float(step.estimate[0] - (ends[1] - ends[0])),
    }
    if curve.low is not None and curve.high is not None:
        scores |= {"covered": "".join("01"[int(one)] for one in inside(curve, truth)), "width": width(curve)}
    if step.low is not None:
        scores["ate_covered"] = bool(inside(step, ends[1:] - ends[:1])[0])
    if band is not None:
        scores |= {"uniform": bool(inside(band, truth).all()), "uniform_width": width(band)}
    scores |= _given(fit, drawn, before, after)
    if keep:
        at = np.arange(0, POINTS, 3)
        scores["curve"] = {"x": x[at].round(5).tolist(), "estimate": curve.estimate[at].round(5).tolist()}
        if band is not None and band.low is not None and band.high is not None:
            scores["curve"] |= {"low": band.low[at].round(5).tolist(), "high": band.high[at].round(5).tolist()}
    record = fit.record
    finite = {name: float(value) for name, value in record.diagnostics.items() if np.isfinite(value)}
    return {**scores, "diagnostics": finite, "warnings": list(record.warnings)}


def inside(curve: Curve, truth: np.ndarray) -> np.ndarray:
    """Say at which points an interval holds the truth.

    Parameters
    ----------
    curve : with bounds.
    truth : at its points.
    """
    assert curve.low is not None
    assert curve.high is not None
    return (curve.low <= truth) & (truth <= curve.high)


def width(curve: Curve) -> float:
    """Return the mean width of intervals.

    Parameters
    ----------
    curve : with bounds.
    """
    assert curve.low is not None
    assert curve.high is not None
    return float(np.mean(curve.high - curve.low))


def _given(fit: DoseResponse, drawn: SimulatedIV, before: float, after: float) -> dict[str, Any]:
    """Judge the response given covariates: the slope between the quartiles, or the grid of the demand design."""
    if drawn.design == "effect_mod":
        at, n = np.array(MODIFIERS), len(MODIFIERS)
        found = fit.cate(np.full(n, before), np.full(n, after), at[:, None], level=LEVEL)
        truth = effect_of_modifier(at) * (after - before)
        scores: dict[str, Any] = {"cate_mse": float(np.mean(((found.estimate - truth) / (after - before)) ** 2))}
        return scores | ({} if found.low is None else {"cate_covered": float(inside(found, truth).mean())})
    if drawn.design == "demand":
        grid = demand_grid()
        found = fit.iv_reg_function(grid.x, grid.covars, level=LEVEL)
        scores = {"grid_mse": float(np.mean((found.estimate - grid.truth) ** 2))}
        return scores | ({} if found.low is None else {"grid_covered": float(inside(found, grid.truth).mean())})
    return {}


def read_units(out: Path) -> pd.DataFrame:
    """Return a row a unit that is there.

    Parameters
    ----------
    out : folder with the units.
    """
    rows = [json.loads(path.read_text()) for path in sorted(out.glob("*-*-*-*.json"))]
    order = {method: place for place, method in enumerate(dict.fromkeys([*CLOSED, *METHODS]))}
    frame = pd.DataFrame(rows)
    if len(frame) and "error" not in frame:
        frame["error"] = None
    return frame.sort_values("method", key=lambda names: names.map(order), kind="stable", ignore_index=True)
