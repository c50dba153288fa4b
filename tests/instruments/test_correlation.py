"""Correlation matrices put in order, and those that cannot be used."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.instruments.correlation import align_correlation
from deepmr.mr.gls import ivw_gls
from deepmr.mr.pca import ivw_pca
from tests.mr.builders import pack

R = np.array([[1.0, 0.2, -0.1], [0.2, 1.0, 0.4], [-0.1, 0.4, 1.0]])
V = pd.DataFrame({"variant_id": ["rs3", "rs1"], "effect_allele": ["A", "C"], "other_allele": ["G", "T"]})


def test_order_and_coding():
    assert align_correlation(V, R, ["rs1", "rs2", "rs3"]).tolist() == [[1.0, -0.1], [-0.1, 1.0]]
    assert align_correlation(V, R, ["rs1_T_C", "rs2_A_G", "rs3_A_G"]).tolist() == [[1.0, 0.1], [0.1, 1.0]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["rs1", "rs2", "rs4"], "lacks 1 of 2 variants: rs3"),
        (["rs1", "rs1", "rs3"], "'rs1' occurs more than once"),
        (["rs1_C_T", "rs2_A_G", "rs3_A_C"], "rs3 with alleles A/C; the instrument has A/G"),
    ],
)
def test_what_does_not_fit_is_refused(names, message):
    with pytest.raises(InputError, match=message):
        align_correlation(V, R, names)


def test_a_singular_matrix_has_a_reason_and_components_cope():
    singular = np.array([[1.0, 1.0, 0.1], [1.0, 1.0, 0.1], [0.1, 0.1, 1.0]])
    negative = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    given = pack([1.0, 1.0, 2.0] * 2, [0.5, 0.5, 1.1] * 2, counts=[3, 3], correlation=[singular, negative])
    reasons = ivw_gls(given).skipped["reason"]
    assert "is singular: smallest eigenvalue" in reasons[0]
    assert "is not positive semi-definite: smallest eigenvalue -0.8" in reasons[1]
    assert len(ivw_gls(given, ridge=0.5)) == 2
    assert ivw_pca(given).table["locus"].tolist() == ["locus0"]
