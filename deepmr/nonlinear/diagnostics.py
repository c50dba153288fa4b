"""What instruments can tell and whether they agree: to be reported with every response, whatever the method."""

from dataclasses import dataclass

from deepmr.individual import IVData
from deepmr.nonlinear.dimensions import Dimensions, dimension_warnings, identified_dimensions
from deepmr.nonlinear.held_out import hold_out
from deepmr.nonlinear.independent import independent_instruments
from deepmr.nonlinear.moment_tests import MomentTest, hansen_test, linearity_test
from deepmr.nonlinear.strength import WEAK_F, Strength, instrument_strength, strength_warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the instruments of a fit are worth.

    Attributes
    ----------
    strength : F statistics of the first stage.
    dimensions : directions of the curve that are identified.
    linearity : test of a straight line; None where instruments cannot tell, or with two samples.
    overidentification : test that instruments agree on one slope; None where there is one, or with two samples.
    weak : whether no direction is strong, or the effective F is below 10.
    warnings : what a reader has to know, in sentences.
    """

    strength: Strength
    dimensions: Dimensions
    linearity: MomentTest | None
    overidentification: MomentTest | None
    weak: bool
    warnings: tuple[str, ...]

    def numbers(self) -> dict[str, float]:
        """Return all of it as numbers by name, for the record of a fit."""
        one, two = self.strength, self.dimensions
        found = {
            "n_independent_instruments": float(one.n_instruments),
            "f_statistic": one.f,
            "f_effective": one.f_effective,
            "f_effective_critical": one.f_critical,
            "f_pvalue": one.pvalue,
            "r2": one.r2,
            "identified_dimension": float(two.identified),
            "weak_identification": float(self.weak),
        }
        if one.f_robust is not None:
            found["f_robust"] = one.f_robust
        if two.n_values is not None:
            found["instrument_values"] = float(two.n_values)
            found["dimension_limit"] = float(two.n_values - 1)
        for k, (value, f) in enumerate(zip(two.singular_values, two.f, strict=True), start=1):
            if value > 0:
                found |= {f"singular_value_{k}": float(value), f"direction_f_{k}": float(f)}
        for name, test in (("linearity", self.linearity), ("hansen_j", self.overidentification)):
            if test is not None:
                found |= {f"{name}": test.statistic, f"{name}_df": float(test.df), f"{name}_pvalue": test.pvalue}
        return found


def diagnose_instruments(
    data: IVData, *, outcome_data: IVData | None = None, seed: int = 0, level: float = 0.95
) -> Diagnosis:
    """Say what instruments can tell of a response, whichever method fits it.

    Parameters
    ----------
    data : of the first stage, and of the second where there is one sample.
    outcome_data : of the second stage, where it is another sample.
    seed : of the folds.
    level : 1 less it is the P value below which a test is mentioned in words.

    Notes
    -----
    Functions of the exposure are predicted from instruments and covariates, every fold from the others (`held_out`).
    See `strength`, `dimensions` and `moment_tests` for each number.
    """
    chosen = independent_instruments(data, None if outcome_data is data else outcome_data)
    first = chosen.data
    strength = instrument_strength(first)
    staged = hold_out(first, seed=seed)
    dimensions = identified_dimensions(first, staged)
    linearity = overidentification = None
    if chosen.outcome_data is first and first.outcome is not None:
        if strength.pvalue <= 1 - level:
            linearity = linearity_test(first, staged, dimensions)
        overidentification = hansen_test(first)
    warnings = [
        *chosen.warnings,
        *strength_warnings(strength, level=level),
        *dimension_warnings(dimensions, n_instruments=strength.n_instruments),
    ]
    warnings += _test_sentences(linearity, overidentification, 1 - level)
    return Diagnosis(
        strength=strength,
        dimensions=dimensions,
        linearity=linearity,
        overidentification=overidentification,
        weak=dimensions.identified == 0 or strength.f_effective < WEAK_F,
        warnings=tuple(warnings),
    )


def _test_sentences(linearity: MomentTest | None, agreement: MomentTest | None, most: float) -> list[str]:
    found = []
    curved = linearity is not None and linearity.pvalue < most
    if linearity is not None and curved:
        found.append(f"The response is no straight line, or an instrument is not valid (P = {linearity.pvalue:.2g}).")
    if agreement is not None and agreement.pvalue < most:
        reason = "as a curved response makes them" if curved else "as one that is not valid makes them"
        found.append(f"Instruments disagree on one slope (Hansen's J, P = {agreement.pvalue:.2g}), {reason}.")
    return found
