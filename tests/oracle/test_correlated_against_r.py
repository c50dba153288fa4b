"""Correlated instruments and several exposures, against R; see README.md beside this file."""

from dataclasses import replace

import pytest

from deepmr.mr.gls import egger_gls, ivw_gls
from deepmr.mr.multivariable.debiased import mv_debiased
from deepmr.mr.multivariable.ivw import mv_egger, mv_ivw
from deepmr.mr.multivariable.strength import conditional_f
from deepmr.mr.pca import pc_gmm
from deepmr.mr.weak_sets import anderson_rubin, clr
from tests.mr.builders import pack
from tests.oracle.reference import CLOSED, Values, agree, fits, only, options, values

LINE = {"est": "beta", "se": "se", "Q": "q", "Q_p": "q_pvalue", "rse": "sigma", "F": "f_statistic"}
BOTH = LINE | {"ci_lo": "ci_low", "ci_hi": "ci_high", "p": "pvalue"}
INTERCEPT = {"int": "intercept", "int_se": "intercept_se", "int_p": "intercept_pvalue"}


def values_of(found, *names):
    """Some of the numbers of a fit."""
    some = Values((name, found[name]) for name in names)
    some.row = found.row
    return some


@pytest.fixture
def linked(table, prepared):
    rho = prepared("real_calcium_fastgluc_rho", header=None).to_numpy(float)
    return pack(table.bx, table.by, table.bxse, table.byse, correlation=[rho], n=(100000, 100000))


@fits("MendelianRandomization", "ivw", options="correl=TRUE")
def test_ivw(row, linked):
    chosen = options(row)
    model = "fixed" if chosen["model"] == "fixed" else "random"
    normal = chosen["distribution"] == "normal"
    ours = only(ivw_gls(linked, model=model, distribution="normal" if normal else "t"))
    agree(ours, values(row), BOTH, CLOSED)


@fits("MendelianRandomization", "egger", options="correl=TRUE")
def test_egger(row, linked):
    # With t-dist and correlation the package still gives normal intervals.
    agree(only(egger_gls(linked, distribution="normal")), values(row), BOTH | INTERCEPT, CLOSED)


@fits("MendelianRandomization", "pcgmm")
def test_pc_gmm(row, linked):
    ours = only(pc_gmm(linked, share=float(row["options"].split("thres=")[1].split(";")[0]), components="centred"))
    agree(ours, values(row), BOTH | {"pcs": "n_components"}, 1e-7)


@fits("MendelianRandomization", "pcgmm", options="robust=TRUE")
def test_pc_gmm_with_overdispersion(row, linked):
    # Negative in R, which then takes none.
    share = float(row["options"].split("thres=")[1].split(";")[0])
    ours = only(pc_gmm(linked, share=share, components="centred", overdispersion=True))
    assert values(row)["overdispersion"] < 0
    assert ours["tau2"] == 0
    agree(ours, values(row), {k: v for k, v in BOTH.items() if k != "Q_p"} | {"pcs": "n_components"}, 1e-7)


@fits("MendelianRandomization", "clr")
def test_sets_for_weak_instruments(row, linked):
    # R tries effects from -2 to 2 in steps of 0.01: its lower ends are grid points, its upper ones the end of the grid.
    theirs = values(row)
    for method, name in ((anderson_rubin, "AR"), (clr, "CLR")):
        ours = only(method(linked))
        step = theirs["CIStep"]
        agree(ours, values_of(theirs, f"{name}lower"), {f"{name}lower": "ci_low"}, step / theirs[f"{name}lower"])
        assert theirs[f"{name}upper"] == theirs["CIMax"]
        assert ours["ci_high"] > theirs["CIMax"]


@pytest.fixture
def several(table):
    base = pack(table.bx1, table.by, table.bx1se, table.byse)
    return replace(
        base,
        exposures=("1", "2", "3"),
        beta_exposure=table[["bx1", "bx2", "bx3"]].to_numpy(float),
        se_exposure=table[["bx1se", "bx2se", "bx3se"]].to_numpy(float),
    )


def vectors(estimates, names):
    """Our rows as est[1], est[2], ..., and what a locus has once."""
    table = estimates.table
    names = {q: c for q, c in names.items() if c in table}
    found = {f"{q}[{i + 1}]": table[c][i] for q, c in names.items() for i in range(len(table))}
    return found | {q: table[c][0] for q, c in names.items()}


def check(ours, row, names, rel):
    found, theirs = vectors(ours, names), values(row)
    agree(found, theirs, {q: q for q in found}, rel)


@fits("MendelianRandomization", "mvivw", options="model=")
def test_mv_ivw(row, several):
    chosen = options(row)
    model = "fixed" if chosen["model"] == "fixed" else "random"
    ours = mv_ivw(several, model=model, distribution="normal")
    names = BOTH if chosen["distribution"] == "normal" else LINE
    if chosen["distribution"] != "normal" and model == "random":
        ours, names = mv_ivw(several, distribution="t"), BOTH
    check(ours, row, names, CLOSED)


@fits("MVMR", "ivw_mvmr")
def test_mvmr(row, several):
    names = {"est": "beta", "se": "se", "p": "pvalue"}
    check(mv_ivw(several, floor=False, distribution="t"), row, names, CLOSED)


@fits("MendelianRandomization", "mvegger")
def test_mv_egger(row, several):
    number = int(options(row)["orientate"])
    ours = mv_egger(several, orientate=number, distribution="normal")
    check(ours, row, BOTH | INTERCEPT, CLOSED)


@fits("MVMR", "strength_mvmr")
def test_conditional_f(row, several):
    # MVMR 0.4.6 divides by the number of instruments, not by the degrees of freedom J - K + 1.
    ours = {f"condF[{i + 1}]": f * 26 / 28 for i, f in enumerate(conditional_f(several)[0])}
    agree(ours, values(row), {q: q for q in ours}, CLOSED)


@fits("mr.divw", "mvmr.srivw", without=("gen_cor",))
def test_debiased(row, several):
    check(mv_debiased(several), row, {"est": "beta"}, CLOSED)
