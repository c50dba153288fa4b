import csv
import gzip

import numpy as np
import pandas as pd
import pytest

from deepmr.population.leave_out import leave_one_out
from deepmr.population.null_model import fit_null
from deepmr.population.projection import project
from deepmr.population.relationship import relationship_of, spectrum_of_relationship
from tests.oracle.reference import HERE
from tests.population.panels import panel

KINDS = {"1": "centred", "2": "standardised"}

with (HERE / "gemma_kinship.csv").open(newline="") as file:
    ROWS = list(csv.DictReader(file))
WHOLE = [row for row in ROWS if row["n_markers"]]
WITHOUT = {row["input"].removeprefix("without "): row for row in ROWS if not row["n_markers"]}


def fitted(relationship, phenotype):
    """Fit the null model with an intercept, on the samples with a phenotype."""
    rows = np.flatnonzero(~np.isnan(phenotype))
    spectrum = spectrum_of_relationship(relationship.take(rows))
    y, x = phenotype[rows, None], np.ones((len(rows), 1))
    return fit_null(project(spectrum.vectors @ y, spectrum.vectors @ x, spectrum.eigenvalues))


def genotypes_and_phenotype():
    """Return what GEMMA read: chromosomes 1 to 3 have 34, 34 and 32 variants."""
    table = pd.read_csv(HERE / "gemma_genotypes.csv").to_numpy(float)
    return panel(table[1:], [str(1 + k // 34) for k in range(100)]), table[0]


@pytest.mark.parametrize("row", WHOLE, ids=lambda row: f"{row['input']}-gk{row['gk']}")
def test_relationship_matrix_and_heritability(row):
    genotypes, phenotype = genotypes_and_phenotype()
    found = relationship_of(genotypes, kind=KINDS[row["gk"]], counted=np.flatnonzero(~np.isnan(phenotype)))
    assert found.n_markers == int(row["n_markers"])
    gemma = np.array(row["lower_triangle"].split(), dtype=float)
    np.testing.assert_allclose(found.matrix[np.tril_indices(found.n)], gemma, rtol=1e-9, atol=1e-12)
    model = fitted(found, phenotype)
    assert model.h_sq[0] == pytest.approx(float(row["pve"]), abs=1e-6)
    assert model.h_sq_se[0] == pytest.approx(float(row["se"]), abs=1e-6)


@pytest.mark.parametrize("chrom", ["1", "2", "3"])
def test_relationship_matrix_without_a_chromosome(chrom):
    genotypes, phenotype = genotypes_and_phenotype()
    found = leave_one_out(genotypes, counted=np.flatnonzero(~np.isnan(phenotype))).relationship(chrom)
    gemma = np.array(WITHOUT[chrom]["lower_triangle"].split(), dtype=float)
    np.testing.assert_allclose(found.matrix[np.tril_indices(found.n)], gemma, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_heritability_of_mouse_traits(shared_data):
    """GEMMA's six digits; its K is that of `-n 1`, filtered in the mice with the first phenotype, for both traits."""
    folder = shared_data / "lmm" / "mouse_hs1940"
    with gzip.open(folder / "mouse_hs1940.geno.txt.gz") as text:
        dosages = pd.read_csv(text, header=None, skipinitialspace=True).iloc[:, 3:].to_numpy(float)
    traits = pd.read_csv(folder / "mouse_hs1940.pheno.txt.gz", header=None, sep=r"\s+").to_numpy(float)
    relationship = relationship_of(panel(dosages), counted=np.flatnonzero(~np.isnan(traits[:, 0])))
    assert relationship.n_markers == 10768
    for column, pve, se in ((0, 0.608801, 0.032774), (5, 0.636128, 0.0314253)):
        model = fitted(relationship, traits[:, column])
        assert model.h_sq[0] == pytest.approx(pve, abs=6e-7)
        assert model.h_sq_se[0] == pytest.approx(se, abs=6e-7)
