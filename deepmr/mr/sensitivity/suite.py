"""One call that runs the sensible set of analyses and says in words what they agree on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks
from deepmr.errors import InputError
from deepmr.mr import METHODS, USES_ERROR_CORR, estimate_effects
from deepmr.mr.sensitivity.findings import Findings, ordered, stack
from deepmr.mr.sensitivity.heterogeneity import heterogeneity
from deepmr.mr.sensitivity.leave_one_out import leave_one_out, single_instruments
from deepmr.mr.sensitivity.outliers import OUTLIER_TESTS, USUAL_TESTS
from deepmr.mr.sensitivity.signs import sign_concordance
from deepmr.mr.sensitivity.steiger import steiger, steiger_variants
from deepmr.mr.sensitivity.strength import FOR_WEAK, exposure_errors_count, strength
from deepmr.mr.sensitivity.verdict import describe
from deepmr.types import Estimates, Instruments

# What is run unless told otherwise, as far as it is there: methods that are wrong for different reasons.
USUAL = ("ivw_random", "egger", "median_weighted", "mode_weighted")
MANY = 100  # loci above which only these are run
QUICK = ("ivw_random", "egger", "median_weighted")
OVERLAP = "Samples overlap: weakness then pulls towards the confounded association instead of 0."
OVERLAP_HEEDED = (
    "Samples overlap: {lead} allows for errors that correlate, but not for the choice of instruments by P values of "
    "the same samples, which pulls towards the confounded association where these lie near the threshold."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Everything that the sensible set of analyses finds for one pair of traits.

    Attributes
    ----------
    lead : the method that the others are compared with.
    findings : by name of the analysis; `schema.SENSITIVITY` says what their columns mean.
    sentences : what they say, in words.
    """

    lead: str
    estimates: Estimates
    findings: dict[str, Findings]
    sentences: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return the estimates."""
        return self.estimates.to_frame()


def usual_methods(instruments: Instruments) -> tuple[str, ...]:
    """Return the methods that are run unless told otherwise; the first one leads.

    Effects that one ensemble predicts have errors of like size, so there equal weights lead; elsewhere inverse
    variances do, and methods that allow for errors of the exposure effects where instruments are weak (mean F below
    10) or their errors are known to correlate with those of the outcome. Of more than a hundred loci, only quick
    methods are run.
    """
    usual: tuple[str, ...] = QUICK
    if len(instruments.loci) <= MANY:
        careful = instruments.error_factors is None and exposure_errors_count(instruments)
        usual = (*FOR_WEAK, *USUAL) if careful else USUAL
    return usual if instruments.error_factors is None else ("ivw", *usual)


def check_sensitivity(
    instruments: Instruments,
    *,
    methods: Sequence[str] | None = None,
    min_instruments: int = 3,
    level: float = 0.95,
    outlier_tests: Sequence[str] = USUAL_TESTS,
    r_exposure: Float[np.ndarray, "rows"] | None = None,
    r_outcome: Float[np.ndarray, "rows"] | None = None,
) -> Sensitivity:
    """Run the sensible set of sensitivity analyses at every locus, and say in words what they agree on.

    Parameters
    ----------
    instruments : of one pair of traits.
    methods : estimators, the leading one first; default `usual_methods`.
    min_instruments : loci with fewer are skipped.
    level : of the confidence intervals.
    outlier_tests : keys of `OUTLIER_TESTS`.
    r_exposure, r_outcome : correlation of each instrument with the traits, for a binary one; see `steiger_variants`.

    Returns
    -------
    Sensitivity, with the findings heterogeneity, strength, leave_one_out (of the leading method), single, signs,
    outliers, steiger, steiger_variants and agreement.

    Raises
    ------
    InputError : on an unknown method or test, or several exposures.
    """
    chosen = tuple(usual_methods(instruments) if methods is None else methods)
    if not chosen:
        raise InputError("needs at least one method; got none")
    estimates = estimate_effects(instruments, methods=chosen, min_instruments=min_instruments, level=level)
    lead = chosen[0]
    if methods is None:
        known = set(estimates.table["method"])
        lead = next((name for name in chosen if name in known), lead)
    return examine(
        instruments,
        estimates,
        lead=lead,
        min_instruments=min_instruments,
        level=level,
        outlier_tests=outlier_tests,
        r_exposure=r_exposure,
        r_outcome=r_outcome,
    )


def examine(
    instruments: Instruments,
    estimates: Estimates,
    *,
    lead: str,
    min_instruments: int = 3,
    level: float = 0.95,
    outlier_tests: Sequence[str] = USUAL_TESTS,
    r_exposure: Float[np.ndarray, "rows"] | None = None,
    r_outcome: Float[np.ndarray, "rows"] | None = None,
) -> Sensitivity:
    """Run the analyses of `check_sensitivity` around estimates that are there already.

    Parameters
    ----------
    instruments : of one pair of traits.
    estimates : made from them, of any methods.
    lead : the method that the others are compared with.
    min_instruments : loci with fewer are skipped.
    level : of the confidence intervals.
    outlier_tests : keys of `OUTLIER_TESTS`.
    r_exposure, r_outcome : as for `check_sensitivity`.
    """
    checks.one_of("lead", lead, METHODS)
    for name in outlier_tests:
        checks.one_of("outlier test", name, OUTLIER_TESTS)
    run = set(estimates.table["method"]) | set(estimates.skipped["method"])
    found = [
        heterogeneity(instruments, min_instruments=min_instruments),
        strength(instruments),
        leave_one_out(instruments, method=lead, min_instruments=max(min_instruments, 2), level=level),
        single_instruments(
            instruments,
            methods=tuple(name for name in dict.fromkeys((lead, "egger")) if name in run),
            min_instruments=min_instruments,
            level=level,
        ),
        sign_concordance(instruments, min_instruments=max(min_instruments, 6)),
        steiger(instruments, r_exposure=r_exposure, r_outcome=r_outcome),
        steiger_variants(instruments, r_exposure=r_exposure, r_outcome=r_outcome),
        compare_methods(estimates, reference=lead),
    ]
    findings = {part.analysis: part for part in found}
    tests = [OUTLIER_TESTS[name](instruments) for name in outlier_tests]
    if tests:
        findings["outliers"] = stack(tests)
    said = describe(estimates, findings, lead=lead, shared=instruments.error_factors is not None)
    limits = []
    if instruments.correlation is not None:
        limits.append("The tests take instruments as independent, although their correlation is given.")
    if instruments.error_corr is not None and instruments.error_corr[0, -1] != 0:
        limits.append(OVERLAP_HEEDED.format(lead=lead) if lead in USES_ERROR_CORR else OVERLAP)
    # What to read stays the last sentence: summaries of many pairs show it.
    said = (*said[:-1], *limits, said[-1])
    return Sensitivity(lead=lead, estimates=estimates, findings=findings, sentences=said)


def compare_methods(estimates: Estimates, *, reference: str) -> Findings:
    """Say for every locus which methods agree with one of them.

    Parameters
    ----------
    estimates : of one pair of traits, several methods.
    reference : the method that the others are compared with.

    Returns
    -------
    Findings "agreement", a row a locus and other method, for loci where both have an estimate.

    Notes
    -----
    Methods share their data, so intervals that merely overlap say little. A method `agrees` when each estimate lies in
    the other's interval; it is `imprecise` when its interval holds the reference but its estimate lies outside the
    reference's interval; and it `differs` when its interval leaves the reference out.
    """
    table = estimates.table
    ours = table[table["method"] == reference].set_index("locus")[["beta", "ci_low", "ci_high"]]
    others = table[(table["method"] != reference) & table["locus"].isin(ours.index)]
    base = ours.loc[others["locus"]].reset_index(drop=True)
    others = others.reset_index(drop=True)
    holds = (others["ci_low"] <= base["beta"]) & (base["beta"] <= others["ci_high"])
    within = (base["ci_low"] <= others["beta"]) & (others["beta"] <= base["ci_high"])
    frame = others[["exposure", "outcome", "locus", "method", "beta"]].assign(
        reference=reference,
        beta_reference=base["beta"],
        same_sign=np.sign(others["beta"]) == np.sign(base["beta"]),
        verdict=np.where(holds & within, "agrees", np.where(holds, "imprecise", "differs")),
    )
    return Findings(analysis="agreement", table=ordered("agreement", frame))
