"""What `deepmr iv fit` says of a fit in words: what its instruments can tell, and what each other number means."""

from collections.abc import Mapping

from deepmr.individual import FitRecord
from deepmr.report import words

_MEANINGS = {  # of numbers that a method adds to those of its instruments
    "effective_dimension": "freedom of the curve beyond a straight line, covariates included",
    "effective_dimension_control": "freedom of the control function: how exposures and confounding go together",
    "residual_sd": "standard deviation of what the fit leaves of the outcome",
    "control_f_statistic": "F of the first stage of the control function",
    "gate_pvalue": "small: genetic effects vary between people, and the control function is wrong",
    "sieve_comparison_pvalue": "small: the sieve draws another curve",
    "kappa": "of LIML; 1 is two-stage least squares",
    "strata_q": "Cochran's Q: do slopes differ between strata?",
    "strata_q_pvalue": "small: slopes differ between strata",
    "strata_trend": "how the slope changes with the exposure",
    "strata_trend_pvalue": "small: the slope changes with the exposure",
    "strata_exposure_q_pvalue": "small: genetic effects vary between strata, and slopes are biased",
    "strata_smallest_f": "F of the instruments in the weakest stratum; weak below 10",
    "explained_first_stage": "share of the exposure's variance that the first stage predicts, leaving one out",
    "bandwidth": "of the kernel, in units of the exposure",
    "n_terms": "functions that the response is a sum of",
    "n_networks": "networks that were trained",
    "best_epoch": "the epoch whose networks were kept",
    "exposure_epochs": "epochs of the first stage, mean of its networks",
    "outcome_epochs": "epochs of the second stage, mean of its networks",
    "exposure_minus_log_density": "loss of the first stage on samples it did not learn from",
}
_OF_INSTRUMENTS = (  # what sentences say, or pages of documentation explain
    "n_independent_instruments",
    "r2",
    "f_",
    "identified_dimension",
    "weak_identification",
    "instrument_values",
    "dimension_limit",
    "singular_value_",
    "direction_f_",
    "linearity",
    "hansen_j",
    "used_control_function",
)
_DETAILS = ("gate_", "sieve_comparison_")  # of which one P value sums up the others
_TOLD = 0.05  # P value below which the warnings of a fit speak of a test


def instruments_say(record: FitRecord) -> list[str]:
    """Say what instruments can tell: their strength, the curve they identify, whether a line would do, if they agree.

    Parameters
    ----------
    record : of a fit, with the numbers of `nonlinear.diagnostics`. What is not there is not spoken of, nor is a test
        that speaks against a line or an instrument: the fit's warnings say that.
    """
    numbers, said = record.diagnostics, []
    if "f_effective" in numbers and "r2" in numbers:
        n = int(numbers.get("n_independent_instruments", len(record.instruments)))
        critical = numbers.get("f_effective_critical")
        said.append(
            f"{words.count(n, 'instrument')} {'explains' if n == 1 else 'explain'} {100 * numbers['r2']:.3g} % of the "
            f"variance of {record.exposure}; effective F {numbers['f_effective']:.4g}"
            + ("" if critical is None else f" (little bias of two-stage least squares from {critical:.3g} on)")
        )
    if "identified_dimension" in numbers:
        said.append(_dimensions(int(numbers["identified_dimension"])))
    line, agreement = numbers.get("linearity_pvalue", 0.0), numbers.get("hansen_j_pvalue", 0.0)
    if line >= _TOLD:
        said.append(f"a straight line is not ruled out (P = {words.pvalue(line)})")
    if agreement >= _TOLD:
        said.append(f"instruments agree on one slope (Hansen's J, P = {words.pvalue(agreement)})")
    return said


def _dimensions(count: int) -> str:
    if count == 0:
        return "nothing of the curve is identified"
    if count == 1:
        return "one dimension of the curve is identified: a slope, and no bend"
    return f"{count} dimensions of the curve are identified: a slope, and {count - 1} more for its bends"


def method_numbers(diagnostics: Mapping[str, float]) -> list[dict[str, object]]:
    """Return a row a number that the method itself reports, with its meaning; details stay in meta.json.

    Parameters
    ----------
    diagnostics : of the record of a fit.
    """
    rows: list[dict[str, object]] = []
    for name, value in diagnostics.items():
        detail = name.startswith(_DETAILS) and name not in _MEANINGS
        if not detail and not name.startswith(_OF_INSTRUMENTS):
            rows.append({"diagnostic": name, "value": value, "meaning": _MEANINGS.get(name, "")})
    return rows


def method_words(record: FitRecord) -> str:
    """Return the name of a method; of auto, also which one it took.

    Parameters
    ----------
    record : of a fit.
    """
    took = record.diagnostics.get("used_control_function")
    return record.method if took is None else f"{record.method}, {'a control function' if took else 'the sieve'}"


def weak_words(record: FitRecord) -> str:
    """Return what a figure's title has to add where instruments are weak; nothing elsewhere.

    Parameters
    ----------
    record : of a fit.
    """
    return " (weak instruments)" if record.diagnostics.get("weak_identification") else ""


def interval_words(record: FitRecord, *, level: float | None) -> str:
    """Say which interval an effect has, or what would give it one.

    Parameters
    ----------
    record : of a fit.
    level : of the interval; None where there is none.
    """
    if level is not None:
        return f"{words.percent(level)} interval"
    if record.options.get("n_boot") == 1:
        return "no interval; --options n_boot=50 makes one of 50 bootstrap fits"
    return "the method has no interval"
