"""`deepmr diagnose` and `deepmr report` judge the edits that the estimates were made from, assigned to tasks or not."""

import numpy as np
import pandas as pd
import pytest

from deepmr.commands.diagnose import diagnose
from deepmr.commands.meta import meta
from deepmr.commands.mr import mr
from deepmr.commands.report import report

N_LOCI, LENGTH, SITE_X, SITE_Y, SLOPE = 12, 60, slice(10, 18), slice(40, 48), 0.6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Edits of a first site move X, and Y by `SLOPE` of that; edits of a second site move Y alone."""
    folder = tmp_path_factory.mktemp("assigned")
    rng = np.random.default_rng(0)
    size = -rng.uniform(0.8, 1.2, size=(N_LOCI, LENGTH))
    truth = np.zeros((N_LOCI, LENGTH, 2))
    truth[:, SITE_X] = size[:, SITE_X, None] * np.array([1, SLOPE])
    truth[:, SITE_Y, 1] = size[:, SITE_Y]
    truth = truth.reshape(-1, 2)
    np.savez(
        folder / "effects.npz",
        locus=np.repeat([f"l{i}" for i in range(N_LOCI)], LENGTH),
        variant_id=np.tile([f"e{i}" for i in range(LENGTH)], N_LOCI),
        tasks=np.array(["X", "Y"]),
        effect=truth + rng.normal(0, 0.02, size=(5, *truth.shape)),
    )
    mr(folder / "effects.npz", out=folder / "mr.tsv", method=["ivw"], assign="steiger")
    meta(folder / "mr.tsv", out=folder / "meta.tsv")
    return folder


def test_only_edits_of_the_exposure_are_diagnosed(folder, tmp_path):
    estimated = pd.read_csv(folder / "mr.tsv", sep="\t")
    said = diagnose(folder / "effects.npz", estimates=folder / "mr.tsv", out=tmp_path / "out", n_draws=99)
    strength = pd.read_csv(tmp_path / "out" / "strength.tsv", sep="\t")
    both = estimated.merge(strength, on=["exposure", "outcome", "locus"], suffixes=("", "_diagnosed"))
    assert len(both) == 2 * N_LOCI
    assert (both["n"] == 8).all()
    assert (both["n_diagnosed"] == 8).all()
    permuted = pd.read_csv(tmp_path / "out" / "permutation.tsv", sep="\t").set_index(["exposure", "control"])["beta"]
    assert abs(permuted["X", "loci"] - SLOPE) < 0.02
    assert abs(permuted["Y", "loci"]) < 0.02  # the edits of X are none of Y's instruments
    thresholds = pd.read_csv(tmp_path / "out" / "thresholds.tsv", sep="\t")
    assert thresholds.loc[thresholds["exposure"] == "Y", "beta"].abs().max() < 0.02
    assert any("X and Y: one direction only, X -> Y" in line for line in said["verdict"])


def test_the_page_shows_the_same_instruments(folder, tmp_path):
    page = tmp_path / "page.html"
    report(folder / "effects.npz", estimates=folder / "mr.tsv", meta=folder / "meta.tsv", out=page)
    assert "instruments shown are not as many as the estimates used" not in page.read_text()
