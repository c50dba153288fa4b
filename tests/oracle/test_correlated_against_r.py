"""Correlated instruments, against R; see README.md beside this file."""

import pytest

from deepmr.mr.gls import egger_gls, ivw_gls
from deepmr.mr.pca import pc_gmm
from tests.mr.builders import pack
from tests.oracle.reference import CLOSED, agree, fits, only, options, values

LINE = {"est": "beta", "se": "se", "Q": "q", "Q_p": "q_pvalue", "rse": "sigma", "F": "f_statistic"}
BOTH = LINE | {"ci_lo": "ci_low", "ci_hi": "ci_high", "p": "pvalue"}
INTERCEPT = {"int": "intercept", "int_se": "intercept_se", "int_p": "intercept_pvalue"}


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
