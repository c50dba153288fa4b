"""Correlated instruments, against R; see README.md beside this file."""

import pytest

from deepmr.mr.gls import egger_gls, ivw_gls
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
