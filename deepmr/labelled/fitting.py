"""From labelled edits and the slopes of their loci to a calibration."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.inference import moderate_variances
from deepmr.labelled.calibration import Key, LabelledCalibration, PairCalibration
from deepmr.labelled.components import fit_components
from deepmr.labelled.edits import LabelledEdits
from deepmr.labelled.misses import Misses, slope_misses
from deepmr.linalg import segment_sum
from deepmr.types import Estimates

BASE = "ivw"  # the estimator that is, in other words, what labels measure
FEWEST, FEW = 5, 25  # labelled loci: below the first there is no calibration, below the second a warning
SHARE = 0.03  # error that members share, as a share of the effect, which good ensembles had in simulations
FOLLOWS = 3.0  # standard errors by which measured changes of the exposure must follow the predicted ones


def fit_labelled(
    labels: LabelledEdits,
    predicted: Float[np.ndarray, "edits tasks"],
    estimates: Estimates,
    *,
    instrument: Mapping[tuple[str, str], Bool[np.ndarray, "edits"]] | None = None,
    levels: Float[np.ndarray, "edits tasks"] | None = None,
    bootstrap: Estimates | None = None,
) -> LabelledCalibration:
    """Find how far predicted causal effects miss measured ones, and how certain each can be, from labelled edits.

    Parameters
    ----------
    labels : measured edits of the labelled loci.
    predicted : effects that the ensemble predicts of these edits on `labels.tasks`.
    estimates : causal effects at the labelled loci in the model, with the errors that members share, made as those
        will be that the calibration is applied to; with those of `ivw`, see Notes.
    instrument : by exposure and outcome, whether an edit is an instrument; others tell nothing of that effect. None
        takes every edit whose predicted change is not 0.
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
    Per method and pair, at n labelled loci:

    - The miss e_i of `slope_misses`, against the slope that is predicted for the labelled edits themselves, so that it
      does not matter which instruments of a locus were measured; plus what the method's estimate differs from `ivw`,
      where both are there. Without estimates of `ivw`, against the method's estimate.
    - shift = mean(e), unweighted: loci whose labels are noisier may be those that miss more. se^2 = var(e) / n,
      t with n - 1 degrees of freedom.
    - Few labels: the shift is multiplied by k = s^2 / (s^2 + se^2) and has the variance k se^2. s^2 is the variance of
      the shared error expected without labels: that of the mean slope over (bootstrap) members, times 1 + 1/K, plus
      (0.03 b)^2; or shift^2 - se^2, where the labels show more than that.
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
    by_key = dict(_groups(table))
    for key, rows in by_key.items():
        name = f"{key[0]}: {key[1]} on {key[2]}"
        spread = None if bootstrap is None else _spread(bootstrap, key)
        base = None if key[0] == BASE else by_key.get((BASE, *key[1:]))
        data = _Labels(labels=labels, predicted=predicted, instrument=instrument, residual=residual)
        found = _fit_pair(key, rows, base, data, estimates, spread)
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
    names = pd.Series(list(zip(*(table[name].astype(str) for name in columns), strict=True)), dtype=object)
    for method, exposure, outcome in dict.fromkeys(names):
        key = (method, exposure, outcome)
        yield key, np.flatnonzero([name == key for name in names])


def _spread(bootstrap: Estimates, key: Key) -> float | None:
    """Return the variance of the mean slope over members that saw resampled data; None where it is unknown."""
    if bootstrap.error_factors is None:
        return None
    rows = next((rows for found, rows in _groups(bootstrap.table) if found == key), None)
    return None if rows is None else float(np.sum(bootstrap.error_factors[:, rows].mean(axis=1) ** 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labels:
    """Labelled edits with all that is predicted of them; see `fit_labelled`."""

    labels: LabelledEdits
    predicted: Float[np.ndarray, "edits tasks"]
    instrument: Mapping[tuple[str, str], Bool[np.ndarray, "edits"]] | None
    residual: Float[np.ndarray, "edits tasks"] | None

    def usable(self, exposure: str, outcome: str) -> Bool[np.ndarray, "edits"]:
        """Return which edits tell of the effect of the one task on the other."""
        columns = [self.labels.tasks.index(exposure), self.labels.tasks.index(outcome)]
        measured: np.ndarray = np.isfinite(self.labels.difference[:, columns]).all(axis=1)
        measured &= self.predicted[:, columns[0]] != 0
        return measured if self.instrument is None else measured & self.instrument[exposure, outcome]


def _fit_pair(
    key: Key,
    rows: Int[np.ndarray, "rows"],
    base: Int[np.ndarray, "_"] | None,
    data: _Labels,
    estimates: Estimates,
    spread: float | None,
) -> PairCalibration | str:
    """Calibrate one method and pair, or say why not; `base` are the rows of the same pair by inverse-variance."""
    labels, (method, exposure, outcome) = data.labels, key
    missing = [task for task in (exposure, outcome) if task not in labels.tasks]
    if missing:
        return f"no labels for {' and '.join(missing)}"
    columns = [labels.tasks.index(exposure), labels.tasks.index(outcome)]
    if base is not None:  # a locus needs both estimates
        rows = rows[np.isin(_loci(estimates, rows), _loci(estimates, base))]
    loci = pd.Index(_loci(estimates, rows))
    home = loci.get_indexer(pd.Index(labels.variants["locus"]))
    order = np.flatnonzero((home >= 0) & data.usable(exposure, outcome))
    order = order[np.argsort(home[order], kind="stable")]
    used, counts = np.unique(home[order], return_counts=True)
    if len(used) < FEWEST:
        return (
            f"{len(used)} labelled loci have an estimate and edits measured for both tasks that are instruments for "
            f"{exposure}; at least {FEWEST} needed"
        )
    offsets = np.concatenate([[0], np.cumsum(counts)])
    taken, predicted = rows[used], data.predicted[order][:, columns]
    slope = estimates.table["beta"].to_numpy(float)[taken]
    expected, gap = slope, np.zeros(len(slope))
    if method == BASE or base is not None:
        u, v = predicted.T
        expected = segment_sum(u * v, offsets) / segment_sum(u**2, offsets)
    if base is not None:
        at = pd.Index(_loci(estimates, base)).get_indexer(loci[used])
        gap = estimates.table["beta"].to_numpy(float)[base[at]] - slope
    misses = slope_misses(
        predicted[:, 0],
        labels.difference[order][:, columns],
        labels.variance[order][:, columns],
        labels.shared_variance[order][:, columns],
        expected,
        offsets,
        level_residual=_composite(data.residual, order[offsets[:-1]], columns, expected),
    )
    if not misses.scale > FOLLOWS * misses.scale_se:
        return (
            f"measured changes of {exposure} do not follow the predicted ones: slope {misses.scale:.3g}, "
            f"standard error {misses.scale_se:.2g}"
        )
    misses = replace(misses, miss=misses.miss + gap)
    factors = np.zeros((0, 0)) if estimates.error_factors is None else estimates.error_factors[:, taken]
    return _assemble(key, misses, slope, factors, loci[used], counts.astype(float), spread)


def _loci(estimates: Estimates, rows: Int[np.ndarray, "_"]) -> np.ndarray:
    """Return the loci of some rows."""
    names: np.ndarray = estimates.table["locus"].to_numpy(object)[rows]
    return names


def _composite(
    residual: Float[np.ndarray, "edits tasks"] | None,
    first: Int[np.ndarray, "loci"],
    columns: list[int],
    slope: Float[np.ndarray, "loci"],
) -> Float[np.ndarray, "loci"] | None:
    """Return the residual of outcome less slope times exposure of the references, where levels are known."""
    if residual is None:
        return None
    of_pair = residual[first][:, columns]
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
    shift = float(misses.miss.mean())
    prior2 = max(shared + (SHARE * float(slope.mean())) ** 2, shift**2 - se2)
    method, exposure, outcome = key
    return PairCalibration(
        method=method,
        exposure=exposure,
        outcome=outcome,
        shift=shift,
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
