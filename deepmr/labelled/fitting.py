"""From labelled edits and the slopes of their loci to a calibration."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.inference import moderate_variances
from deepmr.labelled.calibration import Key, LabelledCalibration, PairCalibration
from deepmr.labelled.components import fit_components
from deepmr.labelled.edits import LabelledEdits
from deepmr.labelled.misses import Misses, slope_misses
from deepmr.types import Estimates

FEWEST, FEW = 5, 25  # labelled loci: below the first there is no calibration, below the second a warning
SHARE = 0.03  # error that members share, as a share of the effect, which good ensembles had in simulations
FOLLOWS = 3.0  # standard errors by which measured changes of the exposure must follow the predicted ones


def fit_labelled(
    labels: LabelledEdits,
    predicted: Float[np.ndarray, "edits tasks"],
    estimates: Estimates,
    *,
    levels: Float[np.ndarray, "edits tasks"] | None = None,
    bootstrap: Estimates | None = None,
) -> LabelledCalibration:
    """Find how far predicted causal effects miss measured ones, and how certain each can be, from labelled edits.

    Parameters
    ----------
    labels : measured edits of the labelled loci.
    predicted : effects that the ensemble predicts of these edits on `labels.tasks`.
    estimates : causal effects at the labelled loci in the model, with the errors that members share, made as those
        will be that the calibration is applied to.
    levels : what the ensemble predicts for the reference of every edit; None where that, or the measured level, is not
        known.
    bootstrap : estimates from an ensemble whose members saw resampled data, at the same loci; None without.

    Returns
    -------
    LabelledCalibration
        An entry for every method and pair of `estimates`, or the reason why it has none.

    Raises
    ------
    InputError
        When estimates lack shared errors or are not of the model, shapes disagree, or nothing can be calibrated.

    Notes
    -----
    Per method and pair, with the misses e_i of `slope_misses` at n labelled loci:

    - shift = mean(e), unweighted: loci whose labels are noisier may be those that miss more. se^2 = var(e) / n,
      t with n - 1 degrees of freedom.
    - Few labels: the shift is multiplied by k = s^2 / (s^2 + se^2) and has the variance k se^2. s^2 is the variance of
      the shared error expected without labels: that of the mean slope over (bootstrap) members, times 1 + 1/K, plus
      (0.03 b)^2.
    - Locally e_i ~ N(delta, v_i + a^2 B_i + h^2), see `fit_components`.

    Labelled loci must be like those that are analysed, and labelled edits like their instruments.

    References
    ----------
    Angelopoulos AN, Bates S, Fannjiang C, Jordan MI, Zrnic T. Prediction-powered inference. Science 2023.
    https://doi.org/10.1126/science.adi6000
    """
    checks.shape("predicted", predicted, (len(labels), len(labels.tasks)))
    checks.finite("predicted", predicted)
    residual = None if levels is None or labels.reference is None else labels.reference - levels
    table = estimates.table
    if estimates.error_factors is None or len(estimates.error_factors) < 2:
        raise InputError("labelled edits calibrate effects of ensemble members: the estimates carry no shared errors")
    if set(table["estimand"]) - {"model"}:
        raise InputError("labelled edits calibrate effects in the model; the estimates are of another estimand")
    pairs: list[PairCalibration] = []
    skipped: dict[str, str] = {}
    warnings: list[str] = []
    for key, rows in _groups(table):
        name = f"{key[0]}: {key[1]} on {key[2]}"
        spread = None if bootstrap is None else _spread(bootstrap, key)
        found = _fit_pair(key, rows, labels, predicted, estimates, residual, spread)
        if isinstance(found, str):
            skipped[name] = found
            continue
        pairs.append(found)
        if len(found.loci) < FEW:
            warnings.append(f"{name}: {len(found.loci)} labelled loci; below {FEW} a calibration is rough")
    if not pairs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise InputError(f"no pair of tasks can be calibrated: {reasons or 'the labelled loci have no estimate'}")
    return LabelledCalibration(pairs=tuple(pairs), skipped=skipped, warnings=tuple(warnings))


def _groups(table: pd.DataFrame) -> Iterator[tuple[Key, Int[np.ndarray, "_"]]]:
    """Yield the rows of every method and pair."""
    columns = ["method", "exposure", "outcome"]
    for key, rows in table.groupby(columns, sort=False).indices.items():
        method, exposure, outcome = key
        yield (str(method), str(exposure), str(outcome)), np.asarray(rows)


def _spread(bootstrap: Estimates, key: Key) -> float | None:
    """Return the variance of the mean slope over members that saw resampled data; None where it is unknown."""
    if bootstrap.error_factors is None:
        return None
    rows = next((rows for found, rows in _groups(bootstrap.table) if found == key), None)
    return None if rows is None else float(np.sum(bootstrap.error_factors[:, rows].mean(axis=1) ** 2))


def _fit_pair(
    key: Key,
    rows: Int[np.ndarray, "rows"],
    labels: LabelledEdits,
    predicted: Float[np.ndarray, "edits tasks"],
    estimates: Estimates,
    residual: Float[np.ndarray, "edits tasks"] | None,
    spread: float | None,
) -> PairCalibration | str:
    """Calibrate one method and pair, or say why not."""
    _, exposure, outcome = key
    missing = [task for task in (exposure, outcome) if task not in labels.tasks]
    if missing:
        return f"no labels for {' and '.join(missing)}"
    columns = [labels.tasks.index(exposure), labels.tasks.index(outcome)]
    loci = pd.Index(estimates.table["locus"].to_numpy()[rows])
    home = loci.get_indexer(pd.Index(labels.variants["locus"]))
    usable = (home >= 0) & np.isfinite(labels.difference[:, columns]).all(axis=1) & (predicted[:, columns[0]] != 0)
    order = np.flatnonzero(usable)
    order = order[np.argsort(home[order], kind="stable")]
    used, counts = np.unique(home[order], return_counts=True)
    if len(used) < FEWEST:
        return f"{len(used)} loci have labels for both tasks and an estimate; at least {FEWEST} needed"
    offsets = np.concatenate([[0], np.cumsum(counts)])
    taken, u = rows[used], predicted[order, columns[0]]
    slope = estimates.table["beta"].to_numpy(float)[taken]
    misses = slope_misses(
        u,
        labels.difference[np.ix_(order, columns)],
        labels.variance[np.ix_(order, columns)],
        labels.shared_variance[np.ix_(order, columns)],
        slope,
        offsets,
        level_residual=_composite(residual, order[offsets[:-1]], columns, slope),
    )
    if not misses.scale > FOLLOWS * misses.scale_se:
        return (
            f"measured changes of {exposure} do not follow the predicted ones: slope {misses.scale:.3g}, "
            f"standard error {misses.scale_se:.2g}"
        )
    assert estimates.error_factors is not None
    factors = estimates.error_factors[:, taken]
    return _assemble(key, misses, slope, factors, loci[used], counts.astype(float), spread)


def _composite(
    residual: Float[np.ndarray, "edits tasks"] | None,
    first: Int[np.ndarray, "loci"],
    columns: list[int],
    slope: Float[np.ndarray, "loci"],
) -> Float[np.ndarray, "loci"] | None:
    """Return the residual of outcome less slope times exposure of the references, where levels are known."""
    if residual is None:
        return None
    of_pair = residual[np.ix_(first, columns)]
    return of_pair[:, 1] - slope * of_pair[:, 0]


def _assemble(
    key: Key,
    misses: Misses,
    slope: Float[np.ndarray, "loci"],
    factors: Float[np.ndarray, "factors loci"],
    loci: pd.Index,
    edits: Float[np.ndarray, "loci"],
    spread: float | None,
) -> PairCalibration:
    """Turn the misses of one method and pair into its calibration."""
    n = len(slope)
    member = moderate_variances(np.sum(factors**2, axis=0), len(factors) - 1.0)
    components = fit_components(misses.miss, misses.variance, member)
    se2 = float(np.var(misses.miss, ddof=1) / n)
    shared = float(np.sum(factors.mean(axis=1) ** 2)) if spread is None else spread
    prior2 = shared + (SHARE * float(slope.mean())) ** 2
    method, exposure, outcome = key
    return PairCalibration(
        method=method,
        exposure=exposure,
        outcome=outcome,
        shift=float(misses.miss.mean()),
        se=float(np.sqrt(se2)),
        df=float(n - 1),
        shrink=prior2 / (prior2 + se2) if prior2 + se2 > 0 else 1.0,
        prior=float(np.sqrt(prior2)),
        scale=components.scale,
        floor=components.floor,
        dose=misses.scale,
        dose_se=misses.scale_se,
        noise=misses.noise,
        reference_noise=misses.reference_noise,
        n_edits=int(edits.sum()),
        loci=tuple(str(name) for name in loci),
        slope=slope,
        miss=misses.miss,
        miss_variance=misses.variance,
        member_variance=member,
        own=misses.own,
        shared=misses.shared,
        edits=edits,
    )
