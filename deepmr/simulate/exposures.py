"""Instruments of two exposures with known direct effects: summary statistics under the ways in which they go wrong."""

from typing import Literal, get_args

import numpy as np

from deepmr import checks
from deepmr.simulate.instruments import variant_frame
from deepmr.types import Instruments

Scenario = Literal["valid", "weak", "alike", "balanced", "outliers", "directional", "overlap"]

SCENARIOS: dict[str, str] = {
    "valid": "no effects by other paths, strong instruments (mean F 80)",
    "weak": "no effects by other paths, weak instruments (mean F 4)",
    "alike": "effects on the exposures correlate 0.95: strong alone (mean F 40), weak given each other",
    "balanced": "all instruments have effects of either sign by other paths, as large as their errors (mean F 20)",
    "outliers": "a tenth have effects six errors large by other paths, of either sign (mean F 80)",
    "directional": "a fifth have effects four errors large by other paths, with the sign of the first (mean F 80)",
    "overlap": "the same samples measured all traits: errors correlate 0.3 and, with the outcome, 0.5 (mean F 4)",
}
_MEAN_F = {"weak": 4.0, "alike": 40.0, "overlap": 4.0, "balanced": 20.0}
_STRONG = 80.0
_SE, _CORR, _ALIKE = 0.02, 0.3, 0.95  # standard error; correlations of the true effects on both exposures
_OVERLAP = np.array([[1.0, 0.3, 0.5], [0.3, 1.0, 0.5], [0.5, 0.5, 1.0]])


def simulate_exposures(
    scenario: Scenario = "valid",
    *,
    n_loci: int = 1,
    n_instruments: int = 50,
    effects: tuple[float, float] = (0.4, -0.2),
    seed: int = 0,
) -> Instruments:
    """Simulate instruments of two exposures at many loci, each an independent replicate of one scenario.

    Parameters
    ----------
    scenario : a key of `SCENARIOS`, which describes each.
    n_loci, n_instruments : replicates, and instruments of each; at least 1.
    effects : of each exposure with the other held fixed.
    seed : of the random stream.

    Returns
    -------
    Instruments of the exposures "first" and "second", estimand "population"; `overlap` carries the true `error_corr`.

    Raises
    ------
    InputError : on an unknown scenario or a count below 1.

    Notes
    -----
    True effects on the exposures are normal with a correlation of 0.3 (`alike` 0.95) and a variance of (F - 1) s^2,
    s = 0.02 the standard error of every effect. Conditional F statistics are a tenth lower than F, in `alike` 3.

    Examples
    --------
    >>> given = simulate_exposures("weak", n_loci=2, n_instruments=5)
    >>> given.beta_exposure.shape
    (10, 2)
    """
    checks.one_of("scenario", scenario, get_args(Scenario))
    checks.at_least("n_loci", n_loci, 1)
    checks.at_least("n_instruments", n_instruments, 1)
    rng = np.random.default_rng(seed)
    rows = n_loci * n_instruments
    rho = _ALIKE if scenario == "alike" else _CORR
    root = np.linalg.cholesky(np.array([[1.0, rho], [rho, 1.0]]))
    gamma = rng.normal(size=(rows, 2)) @ root.T * _SE * np.sqrt(_MEAN_F.get(scenario, _STRONG) - 1)
    corr = _OVERLAP if scenario == "overlap" else np.eye(3)
    error = rng.normal(size=(rows, 3)) @ np.linalg.cholesky(corr).T * _SE
    place = np.tile(np.arange(n_instruments) / n_instruments, n_loci)
    sign = rng.choice([-1.0, 1.0], rows)
    other = {
        "balanced": rng.normal(size=rows),
        "outliers": np.where(place < 0.1, 6 * sign, 0.0),
        "directional": np.where(place < 0.2, 4 * np.sign(gamma[:, 0]), 0.0),
    }
    loci = tuple(f"replicate{i}" for i in range(n_loci))
    return Instruments(
        loci=loci,
        offsets=np.arange(n_loci + 1) * n_instruments,
        exposures=("first", "second"),
        outcome="outcome",
        variants=variant_frame(loci, n_instruments),
        beta_exposure=gamma + error[:, :2],
        se_exposure=np.full((rows, 2), _SE),
        beta_outcome=gamma @ np.array(effects) + _SE * other.get(scenario, np.zeros(rows)) + error[:, 2],
        se_outcome=np.full(rows, _SE),
        error_corr=_OVERLAP if scenario == "overlap" else None,
        estimand="population",
    )
