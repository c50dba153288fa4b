"""The sieve, or a control function where instruments cannot tell a curve and its assumption is not rejected."""

from dataclasses import asdict, dataclass, replace

from deepmr import checks
from deepmr.errors import InputError
from deepmr.individual import IVData, two_samples
from deepmr.nonlinear import with_diagnostics
from deepmr.nonlinear.control_function import ControlFunction
from deepmr.nonlinear.dimensions import identified_dimensions
from deepmr.nonlinear.held_out import hold_out
from deepmr.nonlinear.independent import independent_instruments
from deepmr.nonlinear.linear import LinearResponse
from deepmr.nonlinear.residuals import Control
from deepmr.nonlinear.sieve import Modification, Sieve
from deepmr.nonlinear.strength import check_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """The default: the sieve, or the control function where instruments cannot tell a curve and the gate passes.

    Attributes
    ----------
    n_functions, covariate_functions, modification, n_folds : as in `Sieve`.
    control, gate_pvalue : as in `ControlFunction`.
    min_dimensions : directions of the curve that instruments have to tell, beside its level, for the sieve to be the
        answer; one is a slope, two leave the curve's bends to what smoothness assumes.

    Notes
    -----
    The record says which of the two it is (`used_control_function`), its warnings why, where it is not the sieve by
    itself; and it has the gate's P values and the comparison of both curves wherever the control function was looked
    at. Ask for either by its own name to have it whatever the data say. The
    gate is a test: where it passes because data are few, the control function may still be wrong.
    """

    n_functions: int = 20
    covariate_functions: int | None = None
    modification: Modification = "auto"
    control: Control = "rank"
    gate_pvalue: float = 0.05
    min_dimensions: int = 3
    n_folds: int = 5

    def fit(self, data: IVData, *, outcome_data: IVData | None = None, seed: int = 0) -> LinearResponse:
        """Fit the response.

        Parameters
        ----------
        data : of the first stage, and of the second where there is one sample.
        outcome_data : of the second stage, where it is another sample.
        seed : of the folds.
        """
        checks.at_least("min_dimensions", self.min_dimensions, 1)
        first, second = two_samples(data, outcome_data)
        shared = independent_instruments(first, None if second is first else second).data
        check_samples(shared)
        dimensions = identified_dimensions(shared, hold_out(shared, seed=seed)).identified
        numbers = {"identified_dimension": float(dimensions)}
        if dimensions >= self.min_dimensions:
            return self._sieve(data, outcome_data, seed, numbers, None)
        few = f"instruments tell {dimensions} of the {self.min_dimensions} directions of the curve that the sieve needs"
        if dimensions == 0:
            why = f"the sieve is used although {few}: too weak for a control function, too"
            return self._sieve(data, outcome_data, seed, numbers, why)
        if second.exposure is None:
            why = f"the sieve is used although {few}: a control function needs the exposure in the outcome's sample"
            return self._sieve(data, outcome_data, seed, numbers, why)
        controlled = ControlFunction(
            n_functions=self.n_functions,
            covariate_functions=self.covariate_functions,
            modification=self.modification,
            control=self.control,
            gate_pvalue=self.gate_pvalue,
            n_folds=self.n_folds,
        )
        try:
            response = controlled.fit(data, outcome_data=outcome_data, seed=seed)
        except InputError as error:
            why = f"the sieve is used although {few}: no control function, as {error}"
            return self._sieve(data, outcome_data, seed, numbers, why)
        pvalue = response.record.diagnostics["gate_pvalue"]
        if pvalue < self.gate_pvalue:
            checked = {k: v for k, v in response.record.diagnostics.items() if k.startswith(("gate", "sieve"))}
            why = (
                f"the sieve is used although {few}: a control function's assumption is rejected (P = {pvalue:.2g}); "
                "beyond these directions the curve is what smoothness assumes"
            )
            return self._sieve(data, outcome_data, seed, numbers | checked, why)
        why = f"a control function is used: {few}, and its assumption is not rejected (P = {pvalue:.2g})"
        return self._named(response, numbers | {"used_control_function": 1.0}, why)

    def _sieve(
        self, data: IVData, outcome_data: IVData | None, seed: int, numbers: dict[str, float], why: str | None
    ) -> LinearResponse:
        sieve = Sieve(
            n_functions=self.n_functions,
            covariate_functions=self.covariate_functions,
            modification=self.modification,
            n_folds=self.n_folds,
        )
        fitted = sieve.fit(data, outcome_data=outcome_data, seed=seed)
        return self._named(fitted, numbers | {"used_control_function": 0.0}, why)

    def _named(self, response: LinearResponse, numbers: dict[str, float], why: str | None) -> LinearResponse:
        record = replace(response.record, method="auto", options=asdict(self))
        return with_diagnostics(
            replace(response, record=record), numbers, () if why is None else (why[0].upper() + why[1:] + ".",)
        )
