"""Instruments with a known causal effect: summary statistics under each of the ways in which instruments go wrong."""

from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks, schema
from deepmr.types import Instruments

Scenario = Literal["valid", "weak", "balanced", "directional", "inside_violated", "overlap", "shared_errors", "linked"]

SCENARIOS: dict[str, str] = {
    "valid": "no direct effects, strong instruments (mean F 80)",
    "weak": "no direct effects, weak instruments (mean F 4)",
    "balanced": "30 % of the instruments have direct effects of either sign",
    "directional": "30 % have direct effects that raise the outcome, unrelated to the exposure effects",
    "inside_violated": "30 % act on the outcome through another path, in proportion to their exposure effect",
    "overlap": "the same samples measured both traits: errors correlate 0.6 (mean F 10)",
    "shared_errors": "three common factors make half of every error, errors of both traits correlate 0.6 (mean F 3.2)",
    "linked": "linkage disequilibrium: neighbours correlate 0.7, those k apart 0.7^k (mean F 20)",
}
_MEAN_F = {"weak": 4.0, "overlap": 10.0, "shared_errors": 3.2, "linked": 20.0}
_STRONG = 80.0
_SE, _INVALID = 0.02, 0.3  # middle standard error; share of instruments with direct effects
_N = 1e5  # people
_ERROR_CORR, _SHARED, _N_FACTORS = 0.6, 0.5, 3
_LD = 0.7  # of neighbours


def simulate_instruments(
    scenario: Scenario = "valid", *, n_loci: int = 1, n_instruments: int = 50, slope: float = 0.4, seed: int = 0
) -> Instruments:
    """Simulate the instruments of many loci, each an independent replicate of one scenario.

    Parameters
    ----------
    scenario : a key of `SCENARIOS`, which describes each.
    n_loci, n_instruments : replicates, and instruments of each; at least 1.
    slope : the causal effect.
    seed : of the random stream.

    Returns
    -------
    Instruments, estimand "population", and 100,000 people a trait. `overlap` carries the true `error_corr`;
    `shared_errors` that and the true `error_factors`; `linked` the true `correlation`.

    Raises
    ------
    InputError : on an unknown scenario or a count below 1.

    Notes
    -----
    True exposure effects are s U sqrt(F - 1) times a random sign, with U uniform on 0.5 to 1.5 and scaled to a mean
    square of 1, and s the standard error, uniform within 20 % of 0.02 for each trait. Direct effects, on the side of
    the allele that raises the exposure: N(0, (4 s)^2), N(4 s, (2 s)^2), or 0.5 times the exposure effect plus
    N(0, s^2). With linkage disequilibrium R, z-scores of marginal effects are R times independent ones, and their
    errors are N(0, R).

    Examples
    --------
    >>> given = simulate_instruments("weak", n_loci=2, n_instruments=5)
    >>> given.counts.tolist()
    [5, 5]
    """
    checks.one_of("scenario", scenario, get_args(Scenario))
    checks.at_least("n_loci", n_loci, 1)
    checks.at_least("n_instruments", n_instruments, 1)
    rng = np.random.default_rng(seed)
    rows = n_loci * n_instruments
    se = _SE * rng.uniform(0.8, 1.2, (rows, 2))
    size = rng.uniform(0.5, 1.5, rows) / np.sqrt(1 + 1 / 12)
    strength = np.sqrt(_MEAN_F.get(scenario, _STRONG) - 1)
    sign = rng.choice([-1.0, 1.0], rows)
    scores = sign * size * strength
    linkage = _linkage(n_instruments) if scenario == "linked" else None
    if linkage is not None:
        scores = _at_each_locus(linkage / np.sqrt(np.mean(np.diag(linkage @ linkage))), scores[:, None], n_loci)[:, 0]
    gamma = scores * se[:, 0]
    errors, factors, error_corr = _errors(rng, se, scenario, n_loci)
    if linkage is not None:
        errors = se * _at_each_locus(np.linalg.cholesky(linkage), errors / se, n_loci)
    direct = _direct_effects(rng, scenario, np.abs(gamma), se[:, 1]) * sign
    loci = tuple(f"replicate{i}" for i in range(n_loci))
    return Instruments(
        loci=loci,
        offsets=np.arange(n_loci + 1) * n_instruments,
        exposures=("exposure",),
        outcome="outcome",
        variants=variant_frame(loci, n_instruments),
        beta_exposure=(gamma + errors[:, 0])[:, None],
        se_exposure=se[:, :1],
        beta_outcome=slope * gamma + direct + errors[:, 1],
        se_outcome=se[:, 1],
        error_factors=factors,
        error_corr=error_corr,
        correlation=None if linkage is None else (linkage,) * n_loci,
        n=np.full((rows, 2), _N),
        estimand="population",
    )


def _linkage(n_instruments: int) -> Float[np.ndarray, "instruments instruments"]:
    place = np.arange(n_instruments)
    return _LD ** np.abs(place[:, None] - place[None]).astype(float)


def _at_each_locus(
    matrix: Float[np.ndarray, "instruments instruments"], columns: Float[np.ndarray, "rows traits"], n_loci: int
) -> Float[np.ndarray, "rows traits"]:
    """Multiply the rows of every locus by the same matrix."""
    return (matrix @ columns.reshape(n_loci, len(matrix), -1)).reshape(columns.shape)


def _direct_effects(
    rng: np.random.Generator, scenario: str, gamma: Float[np.ndarray, "rows"], se: Float[np.ndarray, "rows"]
) -> Float[np.ndarray, "rows"]:
    """Effects on the outcome that do not pass through the exposure, for the allele that raises the exposure."""
    invalid = rng.random(len(gamma)) < _INVALID
    normal = rng.normal(size=len(gamma))
    by_scenario = {
        "balanced": 4 * se * normal,
        "directional": 4 * se + 2 * se * normal,
        "inside_violated": 0.5 * gamma + se * normal,
    }
    return np.where(invalid, by_scenario.get(scenario, np.zeros(len(gamma))), 0.0)


def _errors(
    rng: np.random.Generator, se: Float[np.ndarray, "rows traits"], scenario: str, n_loci: int
) -> tuple[
    Float[np.ndarray, "rows traits"],
    Float[np.ndarray, "factors rows traits"] | None,
    Float[np.ndarray, "traits traits"] | None,
]:
    """Errors of both traits, and what is known of them: shared factors and the correlation of the rest."""
    own = rng.normal(size=se.shape)
    if scenario not in ("overlap", "shared_errors"):
        return own * se, None, None
    error_corr = np.array([[1.0, _ERROR_CORR], [_ERROR_CORR, 1.0]])
    own = own @ np.linalg.cholesky(error_corr).T
    if scenario == "overlap":
        return own * se, None, error_corr
    # Loadings of x and y on the factors have the length that the shared part needs, and the angle of the correlation.
    first, second = rng.normal(size=(2, len(se), _N_FACTORS))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second -= np.sum(first * second, axis=1, keepdims=True) * first
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    second = _ERROR_CORR * first + np.sqrt(1 - _ERROR_CORR**2) * second
    loadings = np.sqrt(_SHARED) * np.stack([first, second], axis=-1).transpose(1, 0, 2) * se
    scores = np.repeat(rng.normal(size=(_N_FACTORS, n_loci)), len(se) // n_loci, axis=1)
    shared = np.einsum("kr,krt->rt", scores, loadings)
    return np.sqrt(1 - _SHARED) * own * se + shared, loadings, error_corr


def variant_frame(loci: tuple[str, ...], n_instruments: int) -> pd.DataFrame:
    """Return the variants of instruments that have no place in a genome, the same number at each locus."""
    rows = len(loci) * n_instruments
    number = np.arange(rows).astype(str)
    frame = pd.DataFrame({"variant_id": np.char.add("rs", number), "locus": np.repeat(loci, n_instruments)})
    return frame.assign(chrom="", pos=np.arange(1, rows + 1), effect_allele="A", other_allele="C")[
        list(schema.VARIANTS)
    ]
