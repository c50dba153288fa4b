"""What default options give stays what it was: studies that run for hours must mean the same before and after a change.

Not a test of correctness. A digest that changes needs a line in the CHANGELOG, since a number has moved for every user.
"""

import hashlib

import numpy as np
import pytest

from deepmr.simulate.labelled import label_edits
from deepmr.simulate.labels import draw_counts, expected_targets
from deepmr.simulate.options import SimulationOptions
from deepmr.simulate.sequences import add_variants, simulate_loci
from deepmr.simulate.truth import DEFINITIONS, true_effects

DIGESTS = {  # sequences, places of motifs, z, parents, counts and labelled counts of the first seeds
    "unconfounded": "8cd0750ae1ce434a",
    "random": "329babf7bf2caf7c",
    "sequence": "5d0ff3ec30cfe8b6",
    "both": "ca507f130e64ea0c",
}
SUMS = {  # of E[A(count)], and of dx dy in the three definitions; another processor may round them differently
    "unconfounded": [11747.900605, 4252.5621532, 466520.91735, 466520.91735, 45557.549032],
    "random": [13779.614371, 6219.7748778, 390515.31864, 398899.06705, 45557.549032],
    "sequence": [14902.071625, 7269.8567099, 348306.87953, 348306.87953, 67521.271486],
    "both": [16175.0527, 8528.5379265, 309248.23121, 305058.39167, 67521.271486],
}


def digest(*arrays):
    text = hashlib.sha256()
    for array in arrays:
        text.update(np.ascontiguousarray(array).astype("<i8").tobytes())
    return text.hexdigest()[:16]


def simulated(motifs, scenario):
    options = SimulationOptions(motifs=motifs, scenario=scenario)
    train = simulate_loci(300, options=options, split="train", seed=7)
    train = add_variants(train, n_variants=80, options=options, seed=7)
    test = simulate_loci(120, options=options, split="test", seed=7)
    one = add_variants(test, n_variants=40, edits="one", options=options, seed=7)
    labelled = label_edits(test, n_edits=5, options=options, seed=7)
    integers = [draw_counts(train, options=options, seed=7), labelled.counts, labelled.variants["offset"].to_numpy()]
    for loci in (train, one, test):
        integers += [loci.codes, loci.starts, loci.z, loci.parent]
    sums = [expected_targets(train.codes, options=options).sum(), labelled.expected.sum()]
    sums += [true_effects(test, options=options, definition=name)["sum_dxdy"].sum() for name in DEFINITIONS]
    return digest(*integers), sums


@pytest.mark.parametrize("scenario", DIGESTS)
def test_default_options_give_what_they_gave(motifs, scenario):
    integers, sums = simulated(motifs, scenario)
    assert integers == DIGESTS[scenario]
    np.testing.assert_allclose(sums, SUMS[scenario], rtol=1e-9, atol=1e-9)
