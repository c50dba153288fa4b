import numpy as np

from deepmr.mr.pca import pc_gmm
from tests.mr.builders import pack


def test_sample_sizes_that_do_not_allow_the_effects_are_a_reason():
    x = np.linspace(0.5, 2, 8)
    for n, estimates in ((1e6, 1), (100.0, 0)):
        found = pc_gmm(pack(x, 0.5 * x, n=(n, n)))
        assert len(found) == estimates
    assert found.skipped["reason"][0].startswith("the sample sizes do not allow such effects")
