"""Exact radial weights and the adjusted MR-GRIP keep to the contracts of methods."""

from functools import partial

import numpy as np
import pytest

from deepmr.mr.grip import grip
from deepmr.mr.radial import ivw_radial
from deepmr.types import concat_estimates
from tests.mr.builders import locus, reordered, rescaled, simulated

CHOICES = {"exact": partial(ivw_radial, weights="exact"), "adjusted": partial(grip, weak="adjusted")}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("members", [0, 5])
def test_order_coding_units_and_batches_change_nothing(choice, members):
    method, given = CHOICES[choice], simulated(members=members)
    answer = method(given).table
    signs = np.random.default_rng(5).choice([-1.0, 1.0], len(given.variants))
    alone = concat_estimates(method(locus(given, i)) for i in range(len(given.loci))).table
    for other, scale in (
        (method(reordered(given)).table, 1.0),
        (method(rescaled(given, exposure=signs, outcome=signs)).table, 1.0),
        (method(rescaled(given, outcome=1000.0)).table, 1000.0),
        (method(rescaled(given, exposure=0.01)).table, 100.0),
        (alone, 1.0),
    ):
        for name in ("beta", "se", "ci_low", "ci_high"):
            expected = scale * answer[name].to_numpy()
            np.testing.assert_allclose(other[name].to_numpy(), expected, rtol=1e-7, atol=1e-12, err_msg=name)
    if members:
        assert np.hypot(answer["se_sampling"], answer["se_member"]).to_numpy() == pytest.approx(answer["se"].to_numpy())
