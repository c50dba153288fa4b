"""Figures of the parts of a page, from tables as other commands write them."""

import numpy as np
import pandas as pd

from deepmr.report.drawn import diagnostics_drawings, threshold_drawings


def test_choices_of_instruments_are_drawn_a_figure_a_pair():
    rows = [
        {"rule": rule, "threshold": t, "exposure": e, "outcome": o, "method": "ivw", "beta": 1.0, "ci_low": 0.9,
         "ci_high": 1.1, "n_loci": 20.0, "n_instruments": 200.0, "estimand": "model"}
        for e, o in (("X", "Y"), ("Y", "X"))
        for rule, ts in (("relative", (0.1, 0.25)), ("f", (5.0, 10.0)))
        for t in ts
    ]  # fmt: skip
    drawn = threshold_drawings(pd.DataFrame(rows))
    assert [one.caption for one in drawn] == [
        "Effect of X on Y by the choice of instruments, in the model.",
        "Effect of Y on X by the choice of instruments, in the model.",
    ]


def test_permuted_outcomes_are_drawn_where_there_are_any():
    pair = {"exposure": "X", "outcome": "Y", "control": "loci"}
    null = pd.DataFrame([pair | {"beta": value} for value in np.linspace(-1, 1, 99)])
    permutation = pd.DataFrame([pair | {"beta": 3.0}])
    (one,) = diagnostics_drawings({"null": null, "permutation": permutation})
    assert "Slope of X on Y in the model" in one.caption
    assert diagnostics_drawings({}) == ()
