"""Robust, penalised, additive, radial and debiased lines, and MR-GRIP, against R; see README.md beside this file."""

from dataclasses import replace

import numpy as np
import pytest

from deepmr.mr.debiased import debiased_ivw, penalised_debiased_ivw
from deepmr.mr.egger import egger_penalised
from deepmr.mr.grip import grip
from deepmr.mr.ivw import ivw_random
from deepmr.mr.ivw_additive import ivw_additive
from deepmr.mr.ivw_robust import ivw_penalised, ivw_robust
from deepmr.mr.radial import egger_radial, ivw_radial
from deepmr.mr.sensitivity import q_outliers
from tests.oracle.reference import CLOSED, ROBUST, agree, fits, only, options, values
from tests.oracle.test_lines_against_r import MAGNIFIED, MR, TWO_SAMPLE, with_their_rule

WEIGHTS = {"1": "first", "2": "second", "3": "modified"}


def loose(row):
    closest = 3e-5 if row["dataset"] == "real_calcium_fastgluc" else ROBUST
    return lambda quantity: 3e-4 if quantity in MAGNIFIED else closest


@fits("MendelianRandomization", "ivw", options="robust=TRUE;penalized=FALSE", without=("correl",))
def test_robust_ivw(row, instruments):
    names = {q: c for q, c in MR.items() if q not in ("Q", "Q_p")}  # theirs is (J - 1) sigma^2 of the robust scale
    agree(only(ivw_robust(instruments, weights=options(row)["weights"])), values(row), names, loose(row))


@fits("MendelianRandomization", "ivw", options="penalized=TRUE", without=("correl",))
def test_penalised_ivw(row, instruments):
    robust = options(row)["robust"] == "TRUE"
    ours = only(ivw_penalised(instruments, weights=options(row)["weights"], robust=robust))
    names = {q: c for q, c in MR.items() if q not in ("Q", "Q_p")}  # they give none
    agree(ours, values(row), names, loose(row) if robust else CLOSED)


@fits("MendelianRandomization", "egger", options="penalized=TRUE")
def test_penalised_egger(row, instruments):
    chosen = options(row)
    robust, distribution = chosen["robust"] == "TRUE", "t" if chosen["distribution"] == "t-dist" else "normal"
    ours = only(egger_penalised(instruments, distribution=distribution, robust=robust))
    if distribution == "t" and ours["sigma"] < 1:
        ours = with_their_rule(ours)
    # No Q in R; its P value is 2 (1 - pnorm(z)), which has lost its digits where it is small.
    names = {q: c for q, c in MR.items() if q not in ("Q", "Q_p") and (q != "p" or values(row)["p"] > 1e-6)}
    agree(ours, values(row), names, loose(row) if robust else CLOSED)


@fits("MendelianRandomization", "ivw", options="model=default;weights", without=("correl",))
def test_default_model_is_random_for_four_instruments_or_more(row, instruments):
    chosen = options(row)
    psi = float(chosen.get("psi", 0))
    shared = replace(instruments, error_corr=np.array([[1.0, psi], [psi, 1.0]]))
    distribution = "t" if chosen.get("distribution") == "t-dist" else "normal"
    agree(only(ivw_random(shared, weights=chosen["weights"], distribution=distribution)), values(row), MR, CLOSED)


@fits("TwoSampleMR", "mr_meta_random")
def test_additive(row, instruments):
    ours = only(ivw_additive(instruments, tau2="reml"))
    # Their REML stops at a step of 1e-5 in tau2: 1e-5 in what follows from it. Q is closed.
    agree(ours, values(row), TWO_SAMPLE, lambda q: CLOSED if q.startswith("Q") else 2e-5)


@fits("TwoSampleMR", "mr_grip")
def test_grip(row, instruments):
    agree(only(grip(instruments)), values(row), TWO_SAMPLE, CLOSED)


@fits("MendelianRandomization", "divw")
def test_debiased(row, instruments):
    ours = only(debiased_ivw(instruments, overdispersion="TRUE" in row["options"]))
    agree(ours, values(row), MR | {"condition": "condition"}, CLOSED)


@fits("MendelianRandomization", "pivw")
def test_penalised_debiased(row, instruments):
    ours = only(penalised_debiased_ivw(instruments, overdispersion="over.dispersion=TRUE" in row["options"]))
    agree(ours, values(row), MR | {"condition": "condition", "tau2": "tau2"}, CLOSED)


@fits("mr.divw", "divw")
def test_debiased_with_overlap(row, instruments):
    chosen, theirs = options(row), values(row)
    if "gen_cor" not in chosen:
        ours = only(debiased_ivw(instruments, overdispersion="over.dispersion=TRUE" in row["options"]))
        if theirs["tau2"] < 0 or ours["tau2"] == 0:
            theirs.pop("tau2")
        agree(ours, theirs, {"est": "beta", "se": "se", "tau2": "tau2", "condition": "condition"}, CLOSED)
        return
    rho = float(chosen["gen_cor"])
    shared = replace(instruments, error_corr=np.array([[1.0, rho], [rho, 1.0]]))
    agree(only(debiased_ivw(shared, overdispersion=False)), theirs, {"est": "beta"}, CLOSED)  # their se mixes units


@fits("RadialMR", "ivw_radial", without=("Exact",))  # their search for the exact slope stops at its border, 2
def test_radial_ivw(row, instruments):
    theirs = values(row)
    weights = "iterative" if "Iterative" in row["options"] else WEIGHTS[row["options"].split(";")[0][-1]]
    ours = only(ivw_radial(instruments, weights=weights))
    names = {"est": "beta", "se": "se", "p": "pvalue", "Q": "q", "df": "q_df", "meanF": "f_statistic"}
    agree(ours, theirs, names, 1e-4 if weights == "iterative" else CLOSED)  # they stop at a step of 1e-4
    if "n_outliers" in theirs:
        frame = q_outliers(instruments, weights=weights, correction="none").table
        assert frame["outlier"].sum() == theirs["n_outliers"]
        for j in range(5):
            assert frame["q"][j] == pytest.approx(theirs[f"Qj[{j + 1}]"], rel=CLOSED)


@fits("RadialMR", "egger_radial")
def test_radial_egger(row, instruments):
    weights, theirs = WEIGHTS[options(row)["weights"]], values(row)
    names = {"est": "beta", "se": "se", "p": "pvalue", "int": "intercept", "int_se": "intercept_se", "Q": "q"}
    agree(only(egger_radial(instruments, weights=weights)), theirs, names, CLOSED)
    frame = q_outliers(instruments, weights=weights, correction="none", intercept=True).table
    assert frame["outlier"].sum() == theirs["n_outliers"]
