"""Exact tests against GEMMA 0.98.5, at the digits that it prints (`gemma_exact_values.py` made the tables)."""

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.population import project, spectrum_of_kinship
from deepmr.population.null_model import fit_null
from deepmr.population.scan import prepare_scan, scan_block
from tests.oracle.reference import HERE
from tests.population.cohorts import make_variants

TESTS = {"f": "p_wald", "lrt": "p_lrt", "score": "p_score"}
PRINTED = 1e-6  # relative: half a unit of the seventh digit, and rounding
# GEMMA ends Newton's method when lambda moves by less than 1e-5 of itself, where P may still be off by more than that.
STOPPED = 1e-5


def cohort_of(dosages, trait, covariates):
    """Return a cohort without names."""
    variants, samples = dosages.shape
    return Cohort(
        genotypes=ArrayGenotypes(
            variants=make_variants(variants),
            samples=pd.Index([f"s{k}" for k in range(samples)]),
            dosages=np.ascontiguousarray(dosages),
        ),
        phenotypes=trait[:, None],
        traits=("y",),
        covariates=covariates,
        covariate_names=tuple(f"c{k}" for k in range(covariates.shape[1])),
    )


def centred(kinship):
    """Return K as GEMMA decomposes it."""
    return kinship - kinship.mean(0) - kinship.mean(0)[:, None] + kinship.mean()


def relationship(dosages):
    """Return GEMMA's -gk 1, of markers without missing values."""
    rows = dosages - dosages.mean(1, keepdims=True)
    return rows.T @ rows / len(rows)


def exact(cohort, spectrum, test, **options):
    """Return columns of one trait, and the scan."""
    scan = prepare_scan(cohort, spectrum, test=test, gamma="exact", **options)
    dosages = cohort.genotypes.dosages
    parts = [scan_block(scan, dosages[start : start + 1024]) for start in range(0, len(dosages), 1024)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: column[:, 0] if column.ndim == 2 else column for name, column in columns.items()}, scan


@pytest.fixture(scope="module")
def drawn():
    with np.load(HERE / "gemma_exact_drawn.npz") as file:
        given = dict(file)
    dosages = given["dosages"]
    cohort = cohort_of(dosages, given["trait"], given["covariates"][:, 1:])
    filled = np.where(np.isnan(dosages), np.nanmean(dosages, 1, keepdims=True), dosages)
    kinship = relationship(filled[np.ptp(filled, axis=1) > 0])
    return given, cohort, spectrum_of_kinship(centred(kinship))


@pytest.mark.parametrize("test", TESTS)
def test_drawn_markers(drawn, test):
    given, cohort, spectrum = drawn
    found, scan = exact(cohort, spectrum, test)
    np.testing.assert_array_equal(np.flatnonzero(found["status"] == "ok"), given["marker"])
    found = {name: column[given["marker"]] for name, column in found.items()}
    np.testing.assert_allclose(found["pvalue"], given[TESTS[test]], rtol=STOPPED)
    if test == "f":
        share, error = scan.null.scaled_h_sq(spectrum.mean_diagonal)
        np.testing.assert_allclose([share[0], error[0]], [given["pve"], given["pve_se"]], atol=6e-7)
        np.testing.assert_allclose(found["beta"], given["beta"], rtol=STOPPED)
        np.testing.assert_allclose(found["se"], given["se"], rtol=PRINTED)
    if test != "score":
        expected = given["l_remle" if test == "f" else "l_mle"]
        np.testing.assert_allclose(np.exp(found["log_gamma"]), expected, rtol=STOPPED)


def test_a_score_test_needs_no_gamma_of_each_marker(drawn):
    given, cohort, spectrum = drawn
    found = scan_block(prepare_scan(cohort, spectrum, test="score"), cohort.genotypes.dosages)
    np.testing.assert_allclose(found["pvalue"][given["marker"], 0], given["p_score"], rtol=PRINTED)


class Mouse:
    """Genotypes and phenotypes, and the relationship matrix of the markers that pass GEMMA's filters with CD8."""

    def __init__(self, folder):
        table = pd.read_csv(folder / "mouse_hs1940.geno.txt.gz", header=None, sep=",", skipinitialspace=True)
        self.names, self.dosages = table[0].to_numpy(), table.iloc[:, 3:].to_numpy(float)
        self.traits = pd.read_csv(folder / "mouse_hs1940.pheno.txt.gz", header=None, sep=r"\s+").to_numpy(float)
        self.kinship = relationship(self.dosages[self.kept(0)])

    def kept(self, column):
        """Return which markers have a minor allele frequency of at least 0.01 where the trait is known."""
        share = self.dosages[:, ~np.isnan(self.traits[:, column])].mean(1) / 2
        return np.minimum(share, 1 - share) >= 0.01

    def model(self, column):
        """Return the cohort of a trait, its spectrum, and names of its markers."""
        there, kept = ~np.isnan(self.traits[:, column]), self.kept(column)
        cohort = cohort_of(self.dosages[kept][:, there], self.traits[there, column], np.empty((there.sum(), 0)))
        return cohort, spectrum_of_kinship(centred(self.kinship[np.ix_(there, there)])), self.names[kept]


@pytest.fixture(scope="module")
def mouse(shared_data):
    return Mouse(shared_data / "lmm" / "mouse_hs1940")


def at_gemma_s_gamma(cohort, spectrum, row, log_gamma):
    """Return beta^2 / se^2 of a marker at a gamma."""
    x = np.column_stack([cohort.design, cohort.genotypes.dosages[row]])
    p, y = spectrum.vectors, cohort.phenotypes
    fixed = np.array([log_gamma])
    full = fit_null(project(p @ y, p @ x, spectrum.eigenvalues), log_gamma=fixed)
    null = fit_null(project(p @ y, p @ cohort.design, spectrum.eigenvalues), log_gamma=fixed)
    dof = len(y) - x.shape[1]
    return (null.tau_sq[0] * (dof + 1) / full.tau_sq[0]) - dof


def compare(cohort, spectrum, names, table, expected_share):
    """Compare all columns of a table of GEMMA with ours."""
    rows = pd.Index(names).get_indexer(table["rs"])
    for test, p in TESTS.items():
        found, scan = exact(cohort, spectrum, test)
        found = {name: column[rows] for name, column in found.items()}
        assert (found["status"] == "ok").all()
        off = np.abs(found["pvalue"] / table[p].to_numpy() - 1)
        assert np.median(off) < 1e-7
        assert off.max() < 1e-4
        # Where P is off by more than 1e-5, it is GEMMA's gamma that is: at its gamma, its P comes out.
        assert test != "score" or off.max() < PRINTED
        assert (off > STOPPED).mean() < 0.01
        if test == "score":
            continue
        np.testing.assert_allclose(
            np.exp(found["log_gamma"]), table["l_remle" if test == "f" else "l_mle"], rtol=STOPPED
        )
        if test == "lrt":
            continue
        share, error = scan.null.scaled_h_sq(spectrum.mean_diagonal)
        np.testing.assert_allclose([share[0], error[0]], expected_share, atol=6e-7)
        np.testing.assert_allclose(found["se"], table["se"], rtol=3e-6)
        np.testing.assert_allclose(found["beta"], table["beta"], atol=3e-6 * table["se"].min(), rtol=3e-6)
        for k in np.flatnonzero(off > STOPPED):
            row = table.iloc[k]
            statistic = at_gemma_s_gamma(cohort, spectrum, rows[k], np.log(row["l_remle"]))
            assert statistic == pytest.approx((row["beta"] / row["se"]) ** 2, rel=3e-6)


SHARES = {"cd8": (0, [0.608801, 0.032774]), "mch": (5, [0.636128, 0.031425])}


@pytest.mark.slow
@pytest.mark.parametrize("trait", SHARES)
def test_some_markers_of_mice(mouse, trait):
    column, share = SHARES[trait]
    table = pd.read_csv(HERE / "gemma_exact_mouse.csv").query("trait == @trait")
    compare(*mouse.model(column), table, share)


@pytest.mark.slow
@pytest.mark.parametrize("trait", SHARES)
def test_all_markers_of_mice(mouse, trait, shared_data, tmp_path):
    if shutil.which("gemma") is None:
        pytest.skip("gemma is not installed")
    column, share = SHARES[trait]
    folder = shared_data / "lmm" / "mouse_hs1940"
    np.savetxt(tmp_path / "k.txt", mouse.kinship, fmt="%.10g")
    command = [
        *("gemma", "-g", folder / "mouse_hs1940.geno.txt.gz", "-p", folder / "mouse_hs1940.pheno.txt.gz"),
        *("-n", column + 1, "-k", "k.txt", "-lmm", 4, "-o", "out"),
    ]
    subprocess.run(list(map(str, command)), cwd=tmp_path, check=True, capture_output=True)
    compare(*mouse.model(column), pd.read_csv(tmp_path / "output" / "out.assoc.txt", sep="\t"), share)
