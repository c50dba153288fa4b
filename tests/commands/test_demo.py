"""The demo compares with the truth, and fails loudly when it is far off."""

import pandas as pd
import pytest

from deepmr import schema
from deepmr.commands import demo as module
from deepmr.errors import DeepMRError, InputError


def estimates(beta, loci):
    rows = [
        {"method": "ivw", "exposure": e, "outcome": o, "locus": locus, "estimand": "model", "beta": b}
        for (e, o), b in beta.items()
        for locus in loci
    ]
    values = {"se": 0.1, "ci_low": 0.0, "ci_high": 9.0, "pvalue": 0.5, "n": 2}
    return pd.DataFrame(rows).assign(**values)[list(schema.ESTIMATES)]


@pytest.fixture
def fake_run(monkeypatch):
    """Stand in for the steps: write estimates around a truth of 3 forward and 0 in reverse."""

    def install(forward, loci=("one", "two", "three")):
        def run(flow, *, overwrite):
            folder = flow.parent
            beta = {("A", "B"): forward, ("B", "A"): 0.2}
            estimates(beta, ["one", "two"]).to_csv(folder / "mr.tsv", sep="\t", index=False)
            estimates(beta, ["*"]).to_csv(folder / "meta.tsv", sep="\t", index=False)
            (folder / "simulation").mkdir(exist_ok=True)
            truth = {
                "locus": [*loci] * 2,
                "exposure": ["A"] * 3 + ["B"] * 3,
                "beta": [2, 4, 99, 0, 0, 0],
            }
            pd.DataFrame(truth).to_csv(folder / "simulation" / "truth.tsv", sep="\t", index=False)
            return {"steps": [{"step": "simulate", "seconds": 0.1}]}

        monkeypatch.setattr(module, "run", run)

    return install


def test_the_truth_is_that_of_the_loci_with_an_estimate(fake_run, tmp_path):
    fake_run(3.2)
    summary = module.demo(out=tmp_path / "demo")
    forward, reverse = summary["effects"]
    assert (forward["effect"], forward["beta"], forward["true_beta"], forward["n_loci"]) == ("A on B", 3.2, 3.0, 2)
    assert (reverse["beta"], reverse["true_beta"]) == (0.2, 0.0)
    assert (tmp_path / "demo" / "flow.toml").read_text().count("[") == 7


def test_a_truth_that_is_not_known_is_an_error(fake_run, tmp_path):
    fake_run(3.0, loci=("four", "five", "six"))
    with pytest.raises(DeepMRError, match="the demo failed"):
        module.demo(out=tmp_path / "demo")


@pytest.mark.parametrize("forward", [2.3, 3.7])
def test_an_estimate_far_off_is_an_error(fake_run, tmp_path, forward):
    fake_run(forward)
    with pytest.raises(DeepMRError, match=r"the demo failed: the ivw estimate .* 23% off the true effect 3\.000"):
        module.demo(out=tmp_path / "demo")


def test_results_that_are_there_stay(tmp_path):
    (tmp_path / "demo").mkdir()
    with pytest.raises(InputError, match="exists"):
        module.demo(out=tmp_path / "demo")
