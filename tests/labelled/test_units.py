"""Ratios of measured to predicted changes."""

import numpy as np
import pandas as pd
import pytest

from deepmr.labelled import LabelledEdits
from deepmr.labelled.units import DOUBTED, REFUSED, unit_ratios


def ratio(difference, predicted, *, per_locus=1):
    n = len(difference)
    labels = LabelledEdits(
        variants=pd.DataFrame({"locus": [f"l{k // per_locus}" for k in range(n)], "effect_allele": "A"}),
        tasks=("X",),
        difference=np.asarray(difference, dtype=float)[:, None],
        variance=np.ones((n, 1)),
        shared_variance=np.zeros((n, 1)),
    )
    return unit_ratios(labels, np.asarray(predicted, dtype=float)[:, None], np.ones((n, 1), dtype=bool))


def test_a_ratio_by_hand():
    (found,) = ratio([1, 2, 3, 4, 5], [2, 4, 6, 8, 10])
    assert (found.ratio, found.se, found.loci) == (pytest.approx(0.5), pytest.approx(0.0, abs=1e-12), 5)
    assert not found.beyond(REFUSED)


def test_few_loci_tell_nothing():
    assert ratio([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], per_locus=2) == ()


@pytest.mark.parametrize(
    ("factor", "noise", "doubted", "refused"),
    [(1, 0.1, False, False), (0.3, 0.1, True, False), (3, 0.1, True, False), (0.03, 0.01, True, True),
     (30, 1, True, True), (-1, 0.1, True, True), (0.03, 30, False, False)],
)  # fmt: skip
def test_only_what_is_certain_is_beyond(factor, noise, doubted, refused):
    rng = np.random.default_rng(0)
    predicted = rng.uniform(3, 9, size=100)
    (found,) = ratio(factor * predicted + noise * rng.normal(size=100), predicted, per_locus=5)
    assert (found.beyond(DOUBTED), found.beyond(REFUSED)) == (doubted, refused)
    assert "X are" in found.sentence
