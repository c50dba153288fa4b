"""Fitted responses as folders: what was written predicts the same, to the last digit; damage is said."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from deepmr import nonlinear
from deepmr.errors import InputError
from deepmr.individual import FitRecord, IVData, State
from deepmr.io.responses import ARRAYS, META, TRAINING, read_meta, read_response, write_response
from deepmr.nonlinear import fit_response, with_diagnostics


@pytest.fixture(scope="module")
def response():
    rng = np.random.default_rng(1)
    n = 1000
    z, c, u = rng.normal(size=(n, 4)), rng.normal(size=(n, 1)), rng.normal(size=n)
    x = z @ [0.5, 0.4, -0.5, 0.3] + 0.3 * c[:, 0] + u
    data = IVData(
        instruments=z,
        exposure=x,
        outcome=np.sin(x) + c[:, 0] - u + rng.normal(size=n),
        covariates=c,
        instrument_names=("a", "b", "d", "e"),
        covariate_names=("c",),
    )
    fitted = fit_response(data, options={"n_functions": 8}, seed=3)
    return with_diagnostics(fitted, {"f": float("inf"), "p": 0.25}, ("a warning",))


def same(one, two):
    x = np.linspace(-2, 3, 50)
    c = np.linspace(-1, 1, 50)[:, None]
    for get in (
        lambda r: r.avg_iv_reg_function(x),
        lambda r: r.iv_reg_function(x, c),
        lambda r: r.ate(x, x + 1),
        lambda r: r.cate(x, x + 1, c),
        lambda r: r.uniform_band(x),
    ):
        a, b = get(one), get(two)
        for name in ("estimate", "se", "low", "high"):
            assert np.array_equal(getattr(a, name), getattr(b, name))


def test_a_response_comes_back_as_it_was(response, tmp_path):
    folder = tmp_path / "fit"
    log = pd.DataFrame({"epoch": [0, 1], "loss": [1.5, 1.0]})
    write_response(response, folder, {"command": "iv fit", "seed": 3}, log, data={"n": np.int64(3)})
    again = read_response(folder)
    same(response, again)
    assert again.record == response.record
    assert type(again) is type(response)
    meta = read_meta(folder)
    assert meta["method"] == "auto"
    assert meta["options"]["n_functions"] == 8
    assert meta["central"] == list(response.record.central)
    assert meta["diagnostics"] == {**meta["diagnostics"], "f": "inf", "p": 0.25}
    assert meta["provenance"]["command"] == "iv fit"
    assert meta["data"] == {"n": 3}
    assert pd.read_csv(folder / TRAINING).equals(log)
    write_response(again, folder, {})
    same(response, read_response(folder))
    assert not (folder / TRAINING).exists()


@dataclass(frozen=True)
class Toy:
    """Keeps what it is given."""

    arrays: dict
    settings: dict
    record: FitRecord

    def ate(self):
        raise NotImplementedError

    iv_reg_function = avg_iv_reg_function = cate = ate

    def state(self):
        return State(kind="toy", arrays=self.arrays, settings=self.settings, record=self.record)

    @classmethod
    def from_state(cls, arrays, settings, record):
        return cls(arrays, settings, record)


def test_arrays_of_every_kind_come_back_in_their_order(response, tmp_path, monkeypatch):
    monkeypatch.setitem(nonlinear.RESPONSES, "toy", f"{__name__}:Toy")
    monkeypatch.setattr(nonlinear.methods, "load", lambda _: Toy)
    square = np.arange(6.0).reshape(2, 3)
    arrays = {
        "number": np.array(2.5),
        "none": np.empty((0, 2), dtype=int),
        "rows": square,
        "columns": np.asfortranarray(square),
        "strided": np.arange(20.0).reshape(4, 5)[::2, ::2],
        "0/cube": np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4)),
        "flags": np.array([True, False]),
        "small": np.array([1, 2], dtype=np.int32),
    }
    settings = {"name": "a", "hidden": (3, 2), "rate": 0.1, "none": None}
    write_response(Toy(arrays, settings, response.record), tmp_path / "toy", {})
    again = read_response(tmp_path / "toy")
    for name, values in arrays.items():
        found = again.arrays[name]
        assert found.dtype == values.dtype
        assert found.shape == values.shape
        assert np.array_equal(found, values)
        if name != "strided":
            assert found.flags.c_contiguous == values.flags.c_contiguous
            assert found.flags.f_contiguous == values.flags.f_contiguous
        assert found.flags.writeable
    assert again.settings == settings | {"hidden": [3, 2]}


def test_written_whole_or_not_at_all(response, tmp_path, monkeypatch):
    folder = tmp_path / "fit"
    write_response(response, folder, {"command": "first"})

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(Exception, match="No space left"):
        write_response(response, folder, {"command": "second"})
    monkeypatch.undo()
    assert read_meta(folder)["provenance"]["command"] == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["fit"]


def edited(folder, **changes):
    meta = json.loads((folder / META).read_text()) | changes
    (folder / META).write_text(json.dumps({k: v for k, v in meta.items() if v is not ...}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / META).unlink(), "not a fit of deepmr iv: it has no meta.json"),
        (lambda f: (f / META).write_text("{"), "damaged: not JSON"),
        (lambda f: (f / META).write_text("[1]"), "not a fit of deepmr iv: its format"),
        (lambda f: (f / META).write_text('{"model": "quantile_iv"}'), "not a fit of deepmr iv: its format"),
        (lambda f: edited(f, format_version=9), "format version 9; this DeepMR reads version 1"),
        (lambda f: (f / ARRAYS).unlink(), "cannot be read"),
        (lambda f: (f / ARRAYS).write_bytes((f / ARRAYS).read_bytes()[:-1]), "damaged or changed: its checksum"),
        (lambda f: edited(f, kind="os:system"), "kind of response must be one of .*; got 'os:system'"),
        (lambda f: edited(f, domain=...), "damaged: 'domain' is missing"),
        (lambda f: edited(f, n=...), "damaged: 'n' is missing"),
    ],
)
def test_damage_is_said_in_one_line(response, tmp_path, damage, message):
    folder = tmp_path / "fit"
    write_response(response, folder, {})
    damage(folder)
    with pytest.raises(InputError, match=message) as error:
        read_response(folder)
    assert "\n" not in str(error.value)
