from dataclasses import replace

import numpy as np
import pytest

from deepmr.simulate.cohort_designs import DESIGNS
from deepmr.simulate.cohorts import simulate_cohort


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_has_what_it_says(name):
    design, says = DESIGNS[name]
    found = simulate_cohort(replace(design, n_samples=48, n_variants=300), seed=1)
    assert found.cohort.traits == ("x", "y", "z")
    assert found.causal.sum(0).tolist() == [10, 10, 10]
    assert (design.slopes[1] == 0) == (name == "null")
    assert design.slopes[2] == 0
    assert (len(set(found.families)) == 48) == (name == "unrelated")
    assert len(np.unique(found.populations)) == (3 if name == "populations" else 1)
    assert says
