"""Every fit of several exposures that R made, against ours; see README.md beside this file.

Where an R routine stops before its own optimum, our value of its criterion has to be as good, and what it reports at
its own estimate has to follow from that estimate.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from deepmr.inference import two_sided
from deepmr.mr.errors import error_covariances
from deepmr.mr.multivariable.debiased import mv_debiased
from deepmr.mr.multivariable.gmm import moment_covariance, mv_gmm
from deepmr.mr.multivariable.ivw import mv_egger, mv_ivw
from deepmr.mr.multivariable.lasso import mv_lasso
from deepmr.mr.multivariable.median import mv_median
from deepmr.mr.multivariable.raps import mv_raps
from deepmr.mr.multivariable.robust import mv_ivw_robust
from deepmr.mr.multivariable.strength import conditional_f, direct_q
from tests.mr.builders import pack
from tests.oracle.reference import CLOSED, ROBUST, ROWS, agree, fits, options, values

LINE = {"est": "beta", "se": "se", "Q": "q", "Q_p": "q_pvalue", "rse": "sigma"}
BOTH = LINE | {"ci_lo": "ci_low", "ci_hi": "ci_high", "p": "pvalue"}
INTERCEPT = {"int": "intercept", "int_se": "intercept_se", "int_p": "intercept_pvalue"}
EARLY = 4e-3  # of estimates of routines that stop early, as GRAPPLE's does with one exposure


@pytest.fixture
def several(table):
    base = pack(table.bx1, table.by, table.bx1se, table.byse)
    return replace(
        base,
        exposures=("1", "2", "3"),
        beta_exposure=table[["bx1", "bx2", "bx3"]].to_numpy(float),
        se_exposure=table[["bx1se", "bx2se", "bx3se"]].to_numpy(float),
    )


def correlated(rho, *, outcome=False):
    """Correlation of errors, rho between the exposures, and where asked also with the outcome."""
    corr = np.full((4, 4), float(rho))
    if not outcome:
        corr[3] = corr[:, 3] = 0.0
    np.fill_diagonal(corr, 1.0)
    return corr


def vectors(estimates, names):
    """Our rows as est[1], est[2], ..., and what a locus has once."""
    table = estimates.table
    names = {q: c for q, c in names.items() if c in table}
    found = {f"{q}[{i + 1}]": table[c][i] for q, c in names.items() for i in range(len(table))}
    return found | {q: table[c][0] for q, c in names.items()}


def check(ours, row, names, rel):
    found, theirs = vectors(ours, names), values(row)
    agree(found, theirs, {q: q for q in found}, rel)


def theirs_of(row, name="est"):
    found = values(row)
    return np.array([found[f"{name}[{i}]"] for i in (1, 2, 3)])


@fits("MendelianRandomization", "mvivw", options="model=")
def test_ivw(row, several):
    chosen = options(row)
    model = "fixed" if chosen["model"] == "fixed" else "random"
    ours = mv_ivw(several, model=model, distribution="normal")
    names = BOTH if chosen["distribution"] == "normal" else LINE
    if chosen["distribution"] != "normal" and model == "random":
        ours, names = mv_ivw(several, distribution="t"), BOTH
    # Fixed effects with t: their interval takes t for errors that are known; the estimates and errors are compared.
    check(ours, row, names, CLOSED)


@fits("MendelianRandomization", "mvivw", options="robust=TRUE")
def test_robust_ivw(row, several):
    # Their Q is (J - K) sigma^2 of the robust scale; ours is that of all instruments about the robust fit.
    names = {q: c for q, c in BOTH.items() if q not in ("Q", "Q_p")}
    check(mv_ivw_robust(several), row, names, lambda q: 3e-4 if q[0] in "pc" else ROBUST)
    assert values(row)["Q"] == pytest.approx(25 * mv_ivw_robust(several).table["sigma"][0] ** 2, rel=ROBUST)


@fits("MendelianRandomization", "mvivw", options="correl.x")
def test_conditional_f_from_sample_sizes(row, several):
    rho = 0.3 if "0.3" in options(row)["correl.x"] else 0.0
    given = replace(several, error_corr=correlated(rho), n=np.tile([188577.0] * 3 + [1e5], (28, 1)))
    ours = conditional_f(given, covariance=moment_covariance(given)[0])[0]
    # Of the second exposure theirs is another number, below that of the least squares fit: left out, as is the same
    # number beside mr_mvgmm.
    agree(
        {f"condF[{i}]": ours[i - 1] for i in (1, 3)},
        values(row),
        {"condF[1]": "condF[1]", "condF[3]": "condF[3]"},
        1e-6,
    )


@fits("MendelianRandomization", "mvegger")
def test_egger(row, several):
    number = int(options(row)["orientate"])
    ours = mv_egger(several, orientate=number, distribution="normal")
    check(ours, row, BOTH | INTERCEPT, CLOSED)


@fits("MendelianRandomization", "mvmedian")
def test_median(row, several):
    ours = mv_median(several)
    check(ours, row, {"est": "beta"}, CLOSED)
    # Two bootstraps, theirs of 200 draws; P values follow from the errors.
    check(ours, row, {"se": "se"}, 4 / np.sqrt(2 * 200))
    expected = two_sided(theirs_of(row), theirs_of(row, "se"))
    np.testing.assert_allclose(theirs_of(row, "p"), expected, rtol=1e-9)


@fits("MendelianRandomization", "mvlasso")
def test_lasso(row, several):
    names = {"est": "beta", "se": "se", "n_valid": "n_valid", "lambda": "penalty"}
    check(mv_lasso(several), row, names, lambda q: 1e-6 if q == "lambda" else CLOSED)


@fits("MendelianRandomization", "mvivwme")
def test_measurement_error(row, several):
    # Maximum of the l2 profile, which their iteration has not quite reached.
    given = replace(several, error_corr=correlated(0.3))
    ours = mv_raps(given, loss="l2", overdispersion=False)
    check(ours, row, {"est": "beta"}, EARLY)
    theirs, covariance = theirs_of(row), error_covariances(given)
    assert direct_q(given, ours.table["beta"].to_numpy()[None])["q"] <= direct_q(given, theirs[None])["q"]
    # Their errors: the sandwich with the whole second derivative, times the residual scale of plain IVW's weights.
    x, y, t = given.beta_exposure, given.beta_outcome, given.se_outcome

    def score(b):
        pull = -np.einsum("rpq,q->rp", covariance[:, :3, :3], b)
        v, e = t**2 - pull @ b, y - x @ b
        return (x - pull * (e / v)[:, None]) / np.sqrt(v)[:, None], e / np.sqrt(v)

    def total(b):
        g, z = score(b)
        return g.T @ z

    slope = -np.stack([(total(theirs + h) - total(theirs - h)) / 2e-6 for h in 1e-6 * np.eye(3)])
    g, _ = score(theirs)
    q = np.sum(((y - x @ theirs) / t) ** 2)
    variance = np.linalg.inv(slope) @ g.T @ g @ np.linalg.inv(slope) * q / 25
    found = {f"se[{i + 1}]": np.sqrt(variance[i, i]) for i in range(3)} | {"Q": q}
    agree(found, values(row), {name: name for name in found}, 1e-6)


@fits("MendelianRandomization", "mvgmm")
def test_gmm(row, several):
    # Their optimiser stops before the minimum: the criterion at their estimate is the Q that they report, and ours is
    # smaller. The conditional F are compared above.
    given = replace(several, error_corr=correlated(0.3), n=np.tile([188577.0] * 3 + [1e5], (28, 1)))
    robust, theirs = options(row)["robust"] == "TRUE", values(row)
    ours, (covariance, _) = mv_gmm(given, overdispersion=robust, error="classical"), moment_covariance(given)
    tau2 = theirs["overdispersion"] / 1e5 if robust else 0.0
    b = theirs_of(row)

    def omega(b):
        contrast = np.append(-b, 1.0)
        return np.einsum("p,rpq,q->r", contrast, covariance, contrast) + tau2

    def criterion(b):
        return np.sum((given.beta_outcome - given.beta_exposure @ b) ** 2 / omega(b))

    information = (given.beta_exposure / omega(b)[:, None]).T @ given.beta_exposure
    found = {f"se[{i + 1}]": e for i, e in enumerate(np.sqrt(np.diag(np.linalg.inv(information))))}
    found |= {"Q": criterion(b)} | {f"p[{i + 1}]": p for i, p in enumerate(two_sided(b, theirs_of(row, "se")))}
    agree(found, theirs, {name: name for name in found}, 1e-9)
    lowest = optimize.minimize(criterion, b, method="BFGS", options={"gtol": 1e-10})
    assert lowest.fun < theirs["Q"] * (1 - 5e-5)
    if not robust:
        np.testing.assert_allclose(ours.table["beta"], lowest.x, rtol=1e-5)
        return
    # At the solution Q is J - K; theirs is 24.89 of 25.
    assert ours.table["q"][0] == pytest.approx(25, rel=1e-9)
    assert ours.table["tau2"][0] == pytest.approx(tau2, rel=0.02)
    np.testing.assert_allclose(ours.table["beta"], b, rtol=0.04)
    np.testing.assert_allclose(ours.table["se"], theirs_of(row, "se"), rtol=5e-3)


@fits("GRAPPLE", "grapple", options="off-diagonal")
def test_raps(row, several):
    rho = float(options(row)["cor"].split()[0])
    given, theirs = replace(several, error_corr=correlated(rho, outcome=True)), values(row)
    # Theirs takes one degree of freedom off, whatever the number of exposures, and stops early.
    ours = mv_raps(given, spent="one")
    check(ours, row, {"est": "beta", "se": "se", "tau2": "tau2"}, lambda q: 1e-3 if q == "tau2" else EARLY)
    loss = mv_raps_loss(given, theirs["tau2"])
    assert loss(ours.table["beta"].to_numpy()) <= loss(theirs_of(row)) + 1e-9
    assert mv_raps(given).table["tau2"][0] > theirs["tau2"]


def mv_raps_loss(given, tau2, k=4.685):
    covariance = error_covariances(given)

    def loss(b):
        contrast = np.append(-b, 1.0)
        v = np.einsum("p,rpq,q->r", contrast, covariance, contrast) + tau2
        square = (given.beta_outcome - given.beta_exposure @ b) ** 2 / v
        return np.sum(k**2 / 6 * (1 - np.maximum(1 - square / k**2, 0) ** 3))

    return loss


@fits("MVMR", "ivw_mvmr")
def test_mvmr(row, several):
    # Their t statistics are estimates over errors, which are compared.
    names = {"est": "beta", "se": "se", "p": "pvalue"}
    check(mv_ivw(several, floor=False, distribution="t"), row, names, CLOSED)


@fits("MVMR", "strength_mvmr")
def test_conditional_f(row, several):
    # MVMR 0.4.6 divides by the number of instruments, not by the degrees of freedom J - K + 1.
    ours = {f"condF[{i + 1}]": f * 26 / 28 for i, f in enumerate(conditional_f(several)[0])}
    agree(ours, values(row), {q: q for q in ours}, CLOSED)


@fits("MVMR", "pleiotropy_mvmr")
def test_q(row, several):
    beta = mv_ivw(several).table["beta"].to_numpy()[None]
    ours = {name: value[0] for name, value in direct_q(several, beta).items()}
    agree(ours, values(row), {"Q": "q", "p": "q_pvalue"}, CLOSED)


@fits("mr.divw", "mvmr.ivw")
def test_ivw_with_errors_of_both(row, several):
    ours = mv_ivw(several)
    check(ours, row, {"est": "beta"}, CLOSED)
    check(mv_debiased(several), row, {"strength": "strength"}, CLOSED)
    # Their errors are those of mv_debiased(error="fixed"), about an estimate that is not debiased.
    x, w, b = several.beta_exposure, several.se_outcome**-2.0, ours.table["beta"].to_numpy()
    pull = w[:, None] * several.se_exposure**2 * b
    meat = (x * (w + w * (pull @ b))[:, None]).T @ x + pull.T @ pull
    bread = np.linalg.inv((x * w[:, None]).T @ x)
    found = {f"se[{i + 1}]": e for i, e in enumerate(np.sqrt(np.diag(bread @ meat @ bread)))}
    agree(found, values(row), {name: name for name in found}, CLOSED)


@fits("mr.divw", "mvmr.srivw")
def test_debiased(row, several):
    # Their ridge phi is 0, given or chosen.
    chosen = options(row)
    assert values(row).get("phi", 0.0) == 0.0
    overlap = "gen_cor" in chosen
    given = replace(several, error_corr=correlated(0.2, outcome=True)) if overlap else several
    random = chosen["over.dispersion"] == "TRUE"
    ours = mv_debiased(given, error="random" if random else "fixed")
    # With overlap their variance is another one: the same to a part in a thousand here.
    names = {"est": "beta", "se": "se"} | ({} if overlap else {"strength": "strength", "tau2": "tau2"})
    check(
        ours,
        row,
        {q: c for q, c in names.items() if random or q != "tau2"},
        lambda q: 1e-3 if overlap and q[:2] == "se" else CLOSED,
    )


def test_every_reference_of_several_exposures_is_compared():
    compared = {
        ("GRAPPLE", "grapple"), ("MVMR", "ivw_mvmr"), ("MVMR", "pleiotropy_mvmr"), ("MVMR", "strength_mvmr"),
        ("MendelianRandomization", "mvegger"), ("MendelianRandomization", "mvgmm"),
        ("MendelianRandomization", "mvivw"), ("MendelianRandomization", "mvivwme"),
        ("MendelianRandomization", "mvlasso"), ("MendelianRandomization", "mvmedian"),
        ("mr.divw", "mvmr.ivw"), ("mr.divw", "mvmr.srivw"),
    }  # fmt: skip
    assert {(row["package"], row["method"]) for row in ROWS if row["dataset"] == "real_mv_lipids_chd"} == compared
