"""Instruments of two exposures with known direct effects, for multivariable Mendelian randomization."""

from typing import Literal, get_args

import numpy as np

from deepmr import checks
from deepmr.simulate.instruments import simulated_variants
from deepmr.types import Instruments

Scenario = Literal["valid", "weak", "alike", "balanced", "directional", "overlap"]

SCENARIOS: dict[str, str] = {
    "valid": "effects on the two exposures correlate 0.5, strong instruments (mean F 80)",
    "weak": "the same, weak instruments (mean F 6)",
    "alike": "effects on the two exposures correlate 0.95: strong alone (mean F 40), weak given each other",
    "balanced": "30 % of the instruments have direct effects of either sign",
    "directional": "30 % have direct effects that raise the outcome, unrelated to the exposure effects",
    "overlap": "the same samples measured all traits: every two errors correlate 0.5 (mean F 10)",
}
_MEAN_F = {"weak": 6.0, "alike": 40.0, "overlap": 10.0}
_STRONG, _SE, _INVALID, _N = 80.0, 0.02, 0.3, 1e5
_CORRELATION, _ALIKE, _ERROR_CORR = 0.5, 0.95, 0.5


def simulate_exposures(
    scenario: Scenario = "valid",
    *,
    n_loci: int = 1,
    n_instruments: int = 50,
    slopes: tuple[float, float] = (0.4, 0.2),
    seed: int = 0,
) -> Instruments:
    """Simulate instruments of two exposures at many loci, each an independent replicate of one scenario.

    Parameters
    ----------
    scenario : a key of `SCENARIOS`, which describes each.
    n_loci, n_instruments : replicates, and instruments of each; at least 1.
    slopes : direct effects of the exposures "first" and "second".
    seed : of the random stream.

    Returns
    -------
    Instruments, estimand "population", and 100,000 people a trait; `overlap` carries the true `error_corr`.

    Raises
    ------
    InputError : on an unknown scenario or a count below 1.

    Notes
    -----
    Effects on the exposures are normal, with standard deviation s sqrt(F - 1); s, the standard error, is uniform
    within 20 % of 0.02 for each trait. Variants are coded so that the first effect is positive. Direct effects are
    N(0, (4 s)^2) or N(4 s, (2 s)^2).

    Examples
    --------
    >>> simulate_exposures("alike", n_loci=2, n_instruments=5).beta_exposure.shape
    (10, 2)
    """
    checks.one_of("scenario", scenario, get_args(Scenario))
    checks.at_least("n_loci", n_loci, 1)
    checks.at_least("n_instruments", n_instruments, 1)
    rng = np.random.default_rng(seed)
    rows = n_loci * n_instruments
    se = _SE * rng.uniform(0.8, 1.2, (rows, 3))
    rho = _ALIKE if scenario == "alike" else _CORRELATION
    scores = rng.normal(size=(rows, 2)) @ np.linalg.cholesky(np.array([[1.0, rho], [rho, 1.0]])).T
    gamma = np.sqrt(_MEAN_F.get(scenario, _STRONG) - 1) * se[:, :2] * scores
    gamma *= np.sign(gamma[:, :1])
    error_corr = np.full((3, 3), _ERROR_CORR) + (1 - _ERROR_CORR) * np.eye(3) if scenario == "overlap" else None
    errors = rng.normal(size=(rows, 3)) @ np.linalg.cholesky(np.eye(3) if error_corr is None else error_corr).T * se
    lean, spread = {"balanced": (0.0, 4.0), "directional": (4.0, 2.0)}.get(scenario, (0.0, 0.0))
    invalid = rng.random(rows) < _INVALID
    direct = np.where(invalid, se[:, 2] * (lean + spread * rng.normal(size=rows)), 0.0)
    loci = tuple(f"replicate{i}" for i in range(n_loci))
    return Instruments(
        loci=loci,
        offsets=np.arange(n_loci + 1) * n_instruments,
        exposures=("first", "second"),
        outcome="outcome",
        variants=simulated_variants(loci, n_instruments),
        beta_exposure=gamma + errors[:, :2],
        se_exposure=se[:, :2],
        beta_outcome=gamma @ np.array(slopes) + direct + errors[:, 2],
        se_outcome=se[:, 2],
        error_corr=error_corr,
        n=np.full((rows, 3), _N),
        estimand="population",
    )
