"""The control function: a smooth response beside a smooth function of the first stage's residual."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from deepmr.individual import IVData, record_of, two_samples
from deepmr.nonlinear.averaging import average_precisions
from deepmr.nonlinear.controlled import Controlled, ControlledDesign, Setting, sandwich, set_up, with_errors
from deepmr.nonlinear.first_stage import blocks
from deepmr.nonlinear.gate import check_gate
from deepmr.nonlinear.linear import LinearResponse
from deepmr.nonlinear.moments import summed_squares
from deepmr.nonlinear.residuals import Control, residual_strength
from deepmr.nonlinear.sieve import Modification
from deepmr.nonlinear.sieve_comparison import compare_curves
from deepmr.nonlinear.smoothing import Group, left_over, smooth
from deepmr.nonlinear.strength import WEAK_F


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFunction:
    """Spline control function: far more precise than the sieve where instruments move everyone's exposure alike.

    Attributes
    ----------
    n_functions : functions of the exposure, and of the residual; how many of them the data can use is learned.
    covariate_functions : the same of every covariate; by default 30 for each of up to three, and 12 for each of more.
    modification : as in `Sieve`.
    control : what confounding is a function of: normal scores of the ranks of the residual ("rank"), or itself.
    gate_pvalue : P value of the gate below which a warning says that the assumption fails.
    n_folds : of the first stage.

    Notes
    -----
    E[outcome | exposure x, instruments, covariates c] = h(x, c) + g(v), with v the exposure minus its prediction from
    instruments and covariates, every sample's prediction from the others. h has the columns and penalties of the
    sieve, g is a penalised spline with mean 0 over the sample, so that h is E[outcome | do(x), c]; fits are averaged
    over how smooth both are by their marginal likelihood (`averaging`). The covariance is a sandwich of both stages'
    moments, by cluster where there are clusters, with what smoothing leaves open. Valid where v is independent of
    instruments and confounding is a function of v alone: not where genetic effects vary between people. The gate
    (`gate`) tests this, and the curve is compared with the sieve's (`sieve_comparison`); both are in the record. In two
    samples, the outcome's needs the exposure, too, and there is no comparison. A binary outcome is a probability on its
    own scale.

    References
    ----------
    Newey, Powell & Vella (1999) doi:10.1111/1468-0262.00037; Sulc, Sjaarda & Kutalik (2022)
    doi:10.1016/j.xhgg.2022.100124; Wood & Fasiolo (2017) doi:10.1111/biom.12666.
    """

    n_functions: int = 20
    covariate_functions: int | None = None
    modification: Modification = "auto"
    control: Control = "rank"
    gate_pvalue: float = 0.05
    n_folds: int = 5

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> LinearResponse:
        """Fit the response.

        Parameters
        ----------
        data : of the first stage, and of the second where there is one sample.
        outcome_data : of the second stage, where it is another sample.
        seed : of the folds, and of the draws that compare the curve with the sieve's.
        """
        first, second = two_samples(data, outcome_data)
        setting = set_up(
            first,
            second,
            n_functions=self.n_functions,
            covariate_functions=self.covariate_functions,
            modification=self.modification,
            control=self.control,
            n_folds=self.n_folds,
            seed=seed,
        )
        found = fit_controlled(first, setting.design, setting.groups)
        return self._response(first, setting, found, seed)

    def _response(self, first: IVData, setting: Setting, found: Controlled, seed: int) -> LinearResponse:
        design, size = setting.design, setting.design.n_response
        data, weights = design.data, design.data.scaled_weights
        mean = np.zeros(design.terms.covariates.size)
        for rows in blocks(len(data)):
            mean += weights[rows] @ design.terms.covariates(data.covariates[rows])
        spread = summed_squares(
            lambda rows: (weights[rows] * design.confounding(found.smoothed.coefficients, rows))[:, None],
            len(data),
            clusters=data.clusters,
        )
        covariance = found.covariance[:size, :size].copy()
        covariance[0, 0] += spread[0, 0] / len(data) ** 2  # the sample's mean of g is 0, the population's is near
        diagnostics, warnings = self._checks(first, setting, found, seed)
        counts = found.smoothed.effective
        shared = len(setting.response_groups)
        diagnostics |= {
            "effective_dimension": float(counts[:shared].sum()),
            "effective_dimension_control": float(counts[shared:].sum()),
            "residual_sd": float(np.sqrt(found.smoothed.variance)),
        }
        return LinearResponse(
            terms=design.terms,
            coefficients=found.smoothed.coefficients[:size],
            covariance=covariance,
            mean_functions=mean / len(data),
            record=record_of(
                first,
                data,
                method="control_function",
                options=asdict(self),
                seed=seed,
                diagnostics=diagnostics,
                warnings=warnings,
            ),
        )

    def _checks(
        self, first: IVData, setting: Setting, found: Controlled, seed: int
    ) -> tuple[dict[str, float], list[str]]:
        """Return what gate and comparison say: numbers, and a sentence where the assumption fails."""
        numbers, warnings = check_first_stage(first, found, gate_pvalue=self.gate_pvalue)
        if setting.design.data is first:
            compared = compare_curves(first, found, stage=setting.stage, seed=seed)
            numbers |= {
                "sieve_comparison_pvalue": compared.pvalue,
                "sieve_comparison_difference": compared.difference,
                "sieve_comparison_se": compared.se,
                "sieve_comparison_at": compared.at,
                "sieve_comparison_effect": compared.effect,
                "sieve_comparison_effect_se": compared.effect_se,
            }
            if compared.pvalue < self.gate_pvalue:
                warnings.append(
                    f"the sieve draws another curve (P = {compared.pvalue:.2g}): at {first.exposure_name} "
                    f"{compared.at:.3g} the control function differs by {compared.difference:.3g} "
                    f"(SE {compared.se:.2g})"
                )
        return numbers, warnings


def check_first_stage(first: IVData, found: Controlled, *, gate_pvalue: float) -> tuple[dict[str, float], list[str]]:
    """Return what a record says of the first stage of a control function: its strength and the gate.

    Parameters
    ----------
    first : samples of the first stage.
    found : the fit.
    gate_pvalue : P value below which the gate fails.
    """
    gate = check_gate(first, found, threshold=gate_pvalue)
    design = found.design
    strength = residual_strength(design.data, design.residuals, design.terms.covariates)
    numbers = {"control_f_statistic": strength, "gate_pvalue": gate.pvalue}
    numbers |= {f"gate_{name}_pvalue": pvalue for name, pvalue in gate.pvalues.items()}
    warnings = [] if gate.passed else [gate.verdict]
    if strength < WEAK_F:
        warnings.append(
            f"instruments hardly predict {first.exposure_name} (F = {strength:.2g}): the control function leans "
            "towards an ordinary regression, and its intervals are too short"
        )
    return numbers, warnings


def fit_controlled(first: IVData, design: ControlledDesign, groups: Sequence[Group]) -> Controlled:
    """Regress the outcome on the columns of a design, as smooth as the data ask for.

    Parameters
    ----------
    first : samples of the first stage.
    design : of those of the second.
    groups : coefficients that shrink together.
    """
    data, n = design.data, len(design.data)
    assert data.outcome is not None
    outcome, weights = data.outcome, data.scaled_weights
    center = float(np.average(outcome, weights=weights))
    width = design(slice(0, 1)).shape[1]
    gram, moment, total = np.zeros((width, width)), np.zeros(width), 0.0
    for rows in blocks(n):
        columns, centred = design(rows), outcome[rows] - center
        weighted = columns * weights[rows, None]
        gram += weighted.T @ columns
        moment += weighted.T @ centred
        total += float((weights[rows] * centred) @ centred)

    residual = left_over(total, moment, gram, n)

    found = smooth(gram, moment, groups, residual=residual, variance=total / n)
    fitted = with_errors(
        first,
        design,
        found,
        errors=lambda rows: outcome[rows] - center - design(rows) @ found.coefficients,
        sensitivity=lambda rows: np.ones(len(outcome[rows])),
    )
    averaged = average_precisions(
        gram,
        moment,
        groups,
        found,
        together=_together(design, groups),
        spread=float(np.sqrt(total / n)),
        covariance=lambda inverse, penalty: sandwich(inverse, penalty, found.variance, fitted.meat),
    )
    coefficients = averaged.coefficients.copy()
    coefficients[0] += center
    return replace(
        fitted,
        smoothed=replace(found, coefficients=coefficients),
        covariance=averaged.covariance,
        errors=lambda rows: outcome[rows] - design(rows) @ coefficients,
    )


def _together(design: ControlledDesign, groups: Sequence[Group]) -> list[list[int]]:
    """Return groups whose smoothness is averaged over together: those of the curve, and each of the others alone."""
    pairs = design.terms.pairs
    curve = [k for k, g in enumerate(groups) if g.columns.max() < len(pairs) and (pairs[g.columns, 1] == 0).all()]
    return [some for some in (curve, *([k] for k in range(len(groups)) if k not in curve)) if some]
