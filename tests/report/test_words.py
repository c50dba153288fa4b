"""Numbers in words."""

import numpy as np
import pytest

from deepmr.mr import METHODS
from deepmr.mr.multivariable import METHODS as MULTIVARIABLE
from deepmr.mr.sensitivity.phrases import effect
from deepmr.mr.seqlets.plurality import ALL, PLURALITY
from deepmr.report import words


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ((1.02, 0.945, 1.095), "1.02 (0.945 to 1.09)"),
        ((-0.5, -1.2, 0.2), "−0.5 (−1.2 to 0.2)"),
        ((0.00123, 0.00113, 0.00133), "0.00123 (0.00113 to 0.00133)"),
        ((1234.0, 900.0, 1568.0), "1,234 (900 to 1,568)"),
        ((-0.001, -0.2, 0.2), "−0.001 (−0.2 to 0.2)"),
        ((0.135, 0.0037, 0.27), "0.135 (0.0037 to 0.27)"),
    ],
)
def test_an_estimate_has_three_digits_that_count_and_an_end_near_zero_is_not_zero(row, text):
    assert words.estimate(dict(zip(("beta", "ci_low", "ci_high"), row, strict=True))) == text


def test_numbers_without_a_value_and_tiny_p_values():
    assert words.number(np.nan) == "–"
    assert words.number(np.inf) == "∞"
    assert words.pvalue(0.0) == "< 1e−300"
    assert words.pvalue(3.21e-12) == "3.2e−12"
    assert words.pvalue(np.nan) == "–"
    assert words.share(np.nan) == "–"
    assert words.share(0.666) == "67 %"
    assert words.decimals_for(0.0) == 3


def test_counts_and_long_names():
    assert [words.count(n, "locus") for n in (1, 2, 1200)] == ["1 locus", "2 loci", "1,200 loci"]
    assert words.shorten("short", 20) == "short"
    long = words.shorten("H3K27ac of a long-named cell type", 20)
    assert len(long) == 20
    assert long.startswith("H3K27ac")
    assert long.endswith("cell type")


def test_every_method_has_a_name_and_a_meaning():
    assert set(words.METHOD_NAMES) == set(words.METHOD_MEANINGS) == {*METHODS, *MULTIVARIABLE, ALL, PLURALITY}
    assert words.method_name("my_own") == "my_own"


def test_methods_in_a_sentence_get_their_names():
    said = "Read ivw_random only beside egger; Cochran's Q, MR-Egger and my_ivw stay (wald)."
    assert words.with_names(said) == (
        "Read IVW (random) only beside MR-Egger; Cochran's Q, MR-Egger and my_ivw stay (Wald (mean))."
    )
    assert words.with_names("rs1-2 is -0.5 (-1 to 2), P = 1e-20") == "rs1-2 is −0.5 (−1 to 2), P = 1e−20"


def test_a_method_has_one_name_and_an_effect_one_form_in_figures_tables_and_sentences():
    assert words.method_name("ivw_random") == words.with_names("ivw_random") == "IVW (random)"
    row = {"beta": -0.4461, "ci_low": -1234.5, "ci_high": 0.0037}
    assert words.with_names(" " + effect(row)).strip() == words.estimate(row) == "−0.446 (−1,234 to 0.0037)"
