"""Each outcome's degree and penalty, and its coefficients at them: continuous ones by exact leave-one-out."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from deepmr.contexts import ContextData
from deepmr.contextual.bases import Basis
from deepmr.contextual.basis_fit import OutcomeFit
from deepmr.contextual.least_squares import solve
from deepmr.contextual.ridge_logistic import choose_logistic
from deepmr.contextual.ridge_solve import Decomposition, coefficients, covariance, decompose, leave_out, penalties
from deepmr.contextual.scaling import Scaling
from deepmr.contextual.units import Units, find_units
from deepmr.errors import InputError

_BETTER = 1e-9  # relative fall of the criterion that a higher degree must bring


def _design(
    basis: Basis, z: Float[np.ndarray, "samples used"], x: Float[np.ndarray, "samples columns"]
) -> Float[np.ndarray, "samples functions"]:
    """Return functions of context times each column, column by column."""
    return (x[:, :, None] * basis(z)[:, None, :]).reshape(len(x), -1)


def fit_continuous(
    data: ContextData, bases: Mapping[int, Basis], scaling: Scaling, penalty: float | None
) -> list[OutcomeFit]:
    """Fit every outcome; those without known errors share a decomposition of each degree.

    Parameters
    ----------
    data : samples.
    bases : functions of context by degree.
    scaling : of contexts.
    penalty : the only one to use; None to choose.

    Raises
    ------
    InputError
        When a penalty of 0 is asked for and has no single solution.
    """
    z = scaling(data.contexts)
    singles = [data.pick_outcome(k) for k in range(len(data.outcome_names))]
    units = [find_units(one) for one in singles]
    x = units[0].design(data)
    weights = [
        data.counts / (1.0 if one.se_outcome is None else unit.variance(one))
        for one, unit in zip(singles, units, strict=True)
    ]
    best = [(np.inf, min(bases), 0.0 if penalty is None else float(penalty)) for _ in singles]
    cache: dict[tuple[int, bytes], Decomposition] = {}

    def decomposed(degree: int, k: int) -> Decomposition:
        key = (degree, weights[k].tobytes())
        if key not in cache:
            cache[key] = decompose(x, _design(bases[degree], z, x), weights=weights[k], counts=data.counts)
        return cache[key]

    for degree in bases:
        for k, (one, unit) in enumerate(zip(singles, units, strict=True)):
            of = decomposed(degree, k)
            tried = penalties(of) if penalty is None else np.array([float(penalty)])
            if penalty == 0 and len(of.s) < of.vt.shape[1]:
                raise InputError(f"a penalty of 0 needs independent functions; {of.vt.shape[1]} have rank {len(of.s)}")
            score = _criterion(of, unit.outcome(one), weights[k], tried, data.groups)
            at = int(np.argmin(score))
            if score[at] < best[k][0] * (1 - _BETTER):
                best[k] = (float(score[at]), degree, float(tried[at]))
    return [
        _finish(one, unit, bases[chosen[1]], decomposed(chosen[1], k), *chosen[1:])
        for k, (one, unit, chosen) in enumerate(zip(singles, units, best, strict=True))
    ]


def _criterion(
    of: Decomposition,
    y: Float[np.ndarray, "samples"],
    weights: Float[np.ndarray, "samples"],
    tried: Float[np.ndarray, "penalties"],
    groups: Int[np.ndarray, "samples"] | None,
) -> Float[np.ndarray, "penalties"]:
    """Return the weighted mean of squared errors of left-out rows, infinite where a row explains itself."""
    left = leave_out(of, y, tried, groups)
    if not left.scored.any():
        return np.full(len(tried), np.inf)
    share = weights[left.scored] / weights[left.scored].sum()
    return np.where(left.sound, share @ left.error[left.scored] ** 2, np.inf)


def _finish(
    data: ContextData, units: Units, basis: Basis, of: Decomposition, degree: int, penalty: float
) -> OutcomeFit:
    """Return coefficients at the degree and penalty chosen."""
    y = units.outcome(data)
    found = coefficients(of, y, penalty)
    edf = of.edf(penalty)
    measures = {"degree": float(degree), "penalty": penalty, "edf": edf}
    weighted = y * of.root
    residual = weighted - of.q @ (of.q.T @ weighted) - of.u @ (of.kept(penalty) * (of.u.T @ weighted))
    variance = float(residual @ residual) / max(float(data.counts.sum()) - edf, 1.0)
    if data.se_outcome is None:
        measures["sigma"] = float(np.sqrt(variance)) * units.outcome_size
    else:
        measures["dispersion"], variance = variance, 1.0
    left = leave_out(of, y, np.array([penalty]), data.groups)
    if left.scored.any() and left.sound[0]:
        share = data.counts[left.scored] / data.counts[left.scored].sum()
        measures["loo_mse"] = float(share @ left.error[left.scored, 0] ** 2) * units.outcome_size**2
    return OutcomeFit(
        basis=basis,
        units=units,
        coefficient=found,
        covariance=variance * covariance(of, penalty),
        prior=variance / penalty if penalty > 0 and basis.size else 0.0,
        measures=measures,
    )


def fit_binary(
    data: ContextData, bases: Mapping[int, Basis], scaling: Scaling, penalty: float | None
) -> list[OutcomeFit]:
    """Fit every outcome by penalised logistic regression.

    Parameters
    ----------
    data, bases, scaling, penalty : as in `fit_continuous`.

    Raises
    ------
    InputError
        When predictors alone separate 0 from 1, or no penalty has finite coefficients.
    """
    z, made = scaling(data.contexts), []
    for k in range(len(data.outcome_names)):
        one = data.pick_outcome(k)
        solve(one)  # says so where 0 and 1 are separated by predictors alone, which no penalty is on
        units = replace(find_units(one), outcome_centre=0.0, outcome_size=1.0)
        x = units.design(one)
        designs = {degree: _design(basis, z, x) for degree, basis in bases.items()}
        chosen = choose_logistic(one, x, designs, penalty)
        made.append(
            OutcomeFit(
                basis=bases[chosen.degree],
                units=units,
                coefficient=chosen.coefficient,
                covariance=chosen.covariance,
                prior=1 / chosen.penalty if chosen.penalty > 0 and bases[chosen.degree].size else 0.0,
                measures=chosen.measures,
            )
        )
    return made
