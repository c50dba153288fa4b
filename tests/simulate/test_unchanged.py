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
SUMS = {  # of E[A(count)], and of the true effects, which another processor may round differently
    "unconfounded": [11747.900605, 4252.5621532, 466520.91735, 266254.78536, 3.2035989963, 466520.91735, 266254.78536, 3.2035989963, 45557.549032, 19863.895499, 3.1823022909, 13295.332016, 941046.41644, -3.3094460826e-13, 13295.332016, 941046.41644, -3.3094460826e-13, 17949.890898, 143271.29748, -7.3815613573e-09],
    "random": [13779.614371, 6219.7748778, 390515.31864, 199478.22085, 3.5126881365, 398899.06705, 209118.62916, 3.2071223882, 45557.549032, 19863.895499, 3.1823022909, 10665.295148, 890024.48274, -3.2051573682e-13, 9804.0256534, 893363.61301, -3.3094460826e-13, 17949.890898, 143271.29748, -7.3815613573e-09],
    "sequence": [14902.071625, 7269.8567099, 348306.87953, 162769.27137, 3.511873922, 348306.87953, 162769.27137, 3.511873922, 67521.271486, 33905.840635, 3.1815034876, 5767.4526949, 1085557.2984, -8.499175511e-10, 5767.4526949, 1085557.2984, -8.499175511e-10, 18421.488581, 230189.07346, -2.436310969e-12],
    "both": [16175.0527, 8528.5379265, 309248.23121, 134872.46037, 3.820978576, 305058.39167, 133603.60492, 3.661094325, 67521.271486, 33905.840635, 3.1815034876, 5012.1622342, 1037012.3849, -8.2755753056e-10, 5328.4984655, 1029550.7883, -8.0431486278e-10, 18421.488581, 230189.07346, -2.436310969e-12],
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
    for exposure in ("exposure", "outcome"):
        for definition in DEFINITIONS:
            truth = true_effects(test, options=options, exposure=exposure, definition=definition)
            sums += [truth["sum_dxdy"].sum(), truth["sum_dx2"].sum(), float(truth["beta"].median())]
    return digest(*integers), sums


@pytest.mark.parametrize("scenario", DIGESTS)
def test_default_options_give_what_they_gave(motifs, scenario):
    integers, sums = simulated(motifs, scenario)
    assert integers == DIGESTS[scenario]
    np.testing.assert_allclose(sums, SUMS[scenario], rtol=1e-9, atol=1e-9)
