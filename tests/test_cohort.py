"""The core types of association: what a cohort refuses, and how it is taken apart."""

import numpy as np
import pandas as pd
import pytest

from deepmr.cohort import ArrayGenotypes, Cohort
from deepmr.errors import InputError

VARIANTS = pd.DataFrame(
    {"variant_id": ["rs1"], "chrom": ["1"], "pos": [1], "effect_allele": ["A"], "other_allele": ["G"]}
)
GENOTYPES = ArrayGenotypes(
    variants=VARIANTS, samples=pd.Index(list("abcde")), dosages=np.array([[0.0, 1, 2, 1, np.nan]])
)
NAN = np.nan
PHENOTYPES = np.array([[1, 10, NAN, 5], [2, 20, 3, 6], [3, 30, 4, 7], [NAN, NAN, 5, 8], [5, 50, NAN, 9.0]])


def cohort(**changed):
    given = {
        "genotypes": GENOTYPES, "phenotypes": PHENOTYPES, "traits": tuple("wxyz"),
        "covariates": np.arange(10.0).reshape(5, 2), "covariate_names": ("age", "sex"),
    }  # fmt: skip
    return Cohort(**given | changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"genotypes": GENOTYPES.take(np.arange(4))}, r"phenotypes must have shape \(4, 4\); got \(5, 4\)"),
        ({"traits": ("w", "x", "y")}, "phenotypes must have shape"),
        ({"covariates": np.zeros((5, 1))}, "covariates must have shape"),
        ({"covariates": np.full((5, 2), NAN)}, "covariates must be finite; 10 of 10"),
        ({"phenotypes": np.full((5, 4), np.inf)}, "some are infinite"),
        ({"phenotypes": np.zeros((5, 0)), "traits": ()}, "at least one trait"),
        ({"traits": ("w", "x", "x", "z")}, "must be unique; 'x' occurs"),
        ({"covariate_names": ("age", "w")}, "must be unique; 'w' occurs"),
    ],
)
def test_a_cohort_checks_its_parts(changed, message):
    with pytest.raises(InputError, match=message):
        cohort(**changed)


def test_traits_are_grouped_by_who_has_them():
    parts = cohort().complete()
    assert [part.traits for part in parts] == [("w", "x"), ("y",), ("z",)]
    assert [part.samples.tolist() for part in parts] == [list("abce"), list("bcd"), list("abcde")]
    for part in parts:
        assert np.isfinite(part.phenotypes).all()
        at = [list("abcde").index(one) for one in part.samples]
        np.testing.assert_array_equal(part.genotypes.read(0, 1), GENOTYPES.dosages[:, at])
        np.testing.assert_array_equal(part.covariates, cohort().covariates[at])
    assert parts[2].genotypes is GENOTYPES  # nobody is left out: nothing is copied


def test_a_trait_that_nobody_has_is_named():
    phenotypes = PHENOTYPES.copy()
    phenotypes[:, 2] = NAN
    with pytest.raises(InputError, match="no sample with genotypes and covariates has y"):
        cohort(phenotypes=phenotypes).complete()


@pytest.mark.parametrize("rows", [slice(1, 4, 2), np.array([1, 3]), np.array([False, True, False, True, False])])
def test_samples_are_taken_by_any_index(rows):
    some = cohort().take(rows)
    assert some.samples.tolist() == ["b", "d"]
    np.testing.assert_array_equal(some.genotypes.read(0, 1), [[1, 1]])
    np.testing.assert_array_equal(some.design, [[1, 2, 3], [1, 6, 7]])
    assert some.design_names == ("intercept", "age", "sex")


def test_traits_are_selected_by_name():
    np.testing.assert_array_equal(cohort().select(["z", "w"]).phenotypes, PHENOTYPES[:, [3, 0]])
    with pytest.raises(InputError, match="trait must be one of w, x, y, z"):
        cohort().select(["v"])
