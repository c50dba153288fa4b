"""Fits of varying coefficients as folders: what was written predicts the same, to the last digit; damage is said."""

import json

import numpy as np
import pytest

from deepmr.contexts import ContextData
from deepmr.contextual import fit_context
from deepmr.contextual.pairs import fit_pairs
from deepmr.errors import InputError
from deepmr.io.contextual_fits import ARRAYS, META, read_fit, read_fit_meta, write_fit


def samples(n=30, seed=0):
    rng = np.random.default_rng(seed)
    c, x = rng.uniform(-1, 1, (n, 2)), rng.standard_normal((n, 2))
    y = (c[:, [0]] + 1) * x[:, [0]] + 0.1 * rng.standard_normal((n, 1))
    return ContextData(contexts=c, predictors=x, outcomes=y, context_names=("a", "b"), predictor_names=("u", "v"))


@pytest.fixture(scope="module")
def fit():
    return fit_context(samples(), method="ridge", options={"degree": 1})


@pytest.mark.parametrize("method", ["population", "clusters", "ridge", "gp", "stacked", "pairs"])
def test_a_fit_comes_back_as_it_was(fit, method, tmp_path):
    data = samples()
    if method == "stacked":
        made = fit_context(data, method="population", base=fit)
    elif method == "pairs":
        made = fit_pairs(data, method="ridge")
    else:
        made = fit_context(data, method=method)
    write_fit(made, tmp_path / "fit", {"command": "context", "seed": 0}, data={"n": np.int64(30)})
    again = read_fit(tmp_path / "fit")
    at = samples(9, seed=4).contexts
    one, two = made.coefficients(at), again.coefficients(at)
    for name in ("beta", "mu", "se_beta", "se_mu", "outside"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    np.testing.assert_array_equal(made.draws(at, n_draws=4, seed=2), again.draws(at, n_draws=4, seed=2))
    assert again.record == made.record
    assert type(again) is type(made)
    meta = read_fit_meta(tmp_path / "fit")
    assert meta["data"] == {"n": 30}
    assert meta["provenance"]["command"] == "context"


def edited(folder, **changes):
    meta = json.loads((folder / META).read_text()) | changes
    (folder / META).write_text(json.dumps({k: v for k, v in meta.items() if v is not ...}))


def changed_record(folder, **changes):
    meta = json.loads((folder / META).read_text())
    edited(folder, record={k: v for k, v in (meta["record"] | changes).items() if v is not ...})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / META).unlink(), "not a fit of deepmr context: it has no meta.json"),
        (lambda f: (f / META).write_text("{"), "damaged: not JSON"),
        (
            lambda f: (f / META).write_text('{"format": "deepmr-iv-response"}'),
            "not a fit of deepmr context: its format",
        ),
        (lambda f: edited(f, format_version=9), "format version 9; this DeepMR reads version 1"),
        (lambda f: (f / ARRAYS).unlink(), "cannot be read"),
        (lambda f: (f / ARRAYS).write_bytes((f / ARRAYS).read_bytes()[:-1]), "damaged or changed: its checksum"),
        (lambda f: edited(f, kind="os:system"), "kind of fit must be one of .*; got 'os:system'"),
        (lambda f: edited(f, kind="clusters"), "what it holds is not a fit of kind 'clusters': 'centres' is missing"),
        (lambda f: edited(f, arrays=...), "damaged: 'arrays' is missing"),
        (lambda f: edited(f, record=...), "damaged: 'record' is missing"),
        (lambda f: edited(f, record=[1]), "damaged: "),
        (lambda f: changed_record(f, n=...), "damaged: 'n' is missing"),
        (lambda f: changed_record(f, measures=3), "damaged: "),
    ],
)
def test_damage_is_said_in_one_line(fit, tmp_path, damage, message):
    folder = tmp_path / "fit"
    write_fit(fit, folder, {})
    damage(folder)
    with pytest.raises(InputError, match=message) as error:
        read_fit(folder)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match=r"it has no meta\.json"):
        read_fit(tmp_path / "nothing")
