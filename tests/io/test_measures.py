"""What is measured: on the command line, in ensemble.toml, and back as modules."""

import numpy as np
import pytest
import torch
from torch import nn

from deepmr.errors import InputError
from deepmr.io.ensemble_toml import read_description
from deepmr.io.measures import Measure, measure_files, measured, parse_measure
from deepmr.io.models import ensemble_sha256, read_ensemble, write_ensemble
from deepmr.ism.mutate import mutate
from deepmr.sequence.ensemble import Ensemble, MemberInfo
from deepmr.sequence.measured import Measured, Reducer
from deepmr.sequence.profiles import FixedProfileScore, ProfileScore
from deepmr.sequence.published import BPNet
from deepmr.sequence.scalars import LogCount
from deepmr.types import Task
from tests.ism.stubs import random_sequences

LENGTH = 120
ARGUMENTS = {"n_filters": 3, "n_layers": 1}
TASKS = (Task(name="count", scale="log"), Task(name="plus"), Task(name="minus"))
MEASURES = (
    Measure(scalar="log_count", output=1),
    Measure(scalar="fixed_profile_score", output=0, options={"strands_per_task": 1}),
)
SCORE = """
import torch

class Sharpness(torch.nn.Module):
    def __init__(self, power=1):
        super().__init__()
        self.power = power

    def forward(self, profile):
        return torch.softmax(profile.flatten(1), 1).amax(1, keepdim=True) ** self.power

def total(profile):
    return profile.sum((1, 2))[:, None]

three = 3
"""


def networks():
    torch.manual_seed(0)
    return [BPNet(**ARGUMENTS, length=LENGTH).eval() for _ in range(2)]


def write(path, modules=None, **changes):
    given = {
        "architecture": "bpnet",
        "arguments": ARGUMENTS,
        "length": LENGTH,
        "tasks": TASKS,
        "members": [MemberInfo(name=f"m{k}", seed=k) for k in range(2)],
        "measures": MEASURES,
    }
    return write_ensemble(path, modules or networks(), **given | changes)


def edit(folder, old, new):
    file = folder / "ensemble.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log_count:1", Measure(scalar="log_count", output=1)),
        ("profile_score", Measure(scalar="profile_score")),
        ("score.py:Sharpness", Measure(scalar="score.py:Sharpness")),
        ("a/score.py:Sharpness:2", Measure(scalar="a/score.py:Sharpness", output=2)),
        (
            '{"scalar": "profile_score", "output": 1, "options": {"strands_per_task": 1}}',
            Measure(scalar="profile_score", output=1, options={"strands_per_task": 1}),
        ),
    ],
)
def test_measures_as_text(text, expected):
    assert parse_measure(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (":1", "a measure must be NAME, NAME:OUTPUT or a JSON object .*; got ':1'"),
        ("", "a measure must be NAME"),
        ('{"scalar": ', "a measure must be NAME.*Expecting value"),
        ('{"output": 1}', "scalar must be a name; got None"),
        ('{"scalar": "tasks", "output": -1}', "output must be a number from 0; got -1"),
        ('{"scalar": "tasks", "output": true}', "output must be a number from 0; got True"),
        ('{"scalar": "tasks", "options": [1]}', r"options must be a table; got \[1\]"),
        ('{"scalar": "tasks", "outputs": 1}', "there is no key 'outputs'; there are scalar, output and options"),
    ],
)
def test_text_that_is_no_measure(text, said):
    with pytest.raises(InputError, match=said) as caught:
        parse_measure(text)
    assert "\n" not in str(caught.value)


def test_round_trip(tmp_path):
    modules = networks()
    identity = write(tmp_path / "e", modules)
    ensemble = read_ensemble(tmp_path / "e", device="cpu")
    scalars = [LogCount(1), FixedProfileScore(0, strands_per_task=1)]
    expected = Ensemble.of([Measured(m, scalars) for m in modules], TASKS, length=LENGTH, device="cpu")
    sequences = random_sequences(2, LENGTH)
    np.testing.assert_array_equal(ensemble.predict(sequences.codes), expected.predict(sequences.codes))
    edits = sequences.to_frame()[["locus"]].assign(
        variant_id=["a", "b"], other_allele=[s[60] for s in sequences.to_frame()["sequence"]], offset=60
    )
    edits["effect_allele"] = ["A" if base != "A" else "C" for base in edits["other_allele"]]
    np.testing.assert_array_equal(
        mutate(ensemble, sequences, edits=edits).delta, mutate(expected, sequences, edits=edits).delta
    )
    about = read_description(tmp_path / "e")
    assert about.measures == MEASURES
    assert about.sha256 == identity == ensemble.sha256
    assert 'format_version = "1.1"' in (tmp_path / "e" / "ensemble.toml").read_text()
    assert "measure" not in about.extra
    # A Measured is written as its network.
    assert write(tmp_path / "again", list(expected.modules)) == identity


def test_what_is_measured_is_part_of_the_identity(tmp_path):
    tasks = TASKS[:1]
    identities = [
        write(tmp_path / "a", tasks=tasks, measures=[Measure(scalar="log_count", output=1)]),
        write(tmp_path / "b", tasks=tasks, measures=[Measure(scalar="tasks", output=1)]),
        write(tmp_path / "c", tasks=tasks, measures=[Measure(scalar="profile_score")]),
        write(tmp_path / "d", tasks=tasks, measures=[Measure(scalar="profile_score", options={"strands_per_task": 2})]),
        write(tmp_path / "e", tasks=tasks, measures=[Measure(scalar="profile_score")], control_shape=[2, LENGTH]),
        write(tmp_path / "f", tasks=tasks, measures=[]),
    ]
    assert len(set(identities)) == len(identities)


def test_directories_without_measures_are_what_they_were(tmp_path):
    torch.manual_seed(0)
    write(tmp_path / "old", architecture="dilated", arguments={"filters": 2}, measures=[], modules=[nn.Identity()] * 2)
    text = (tmp_path / "old" / "ensemble.toml").read_text()
    assert 'format_version = "1.0"' in text
    assert "measure" not in text
    # Computed with the release before there were measures, from the same directory.
    assert ensemble_sha256(tmp_path / "old") == ("b822fcf94f2c477334b7bd7e278a5b6bda14dc8db011cbd458562958d7c74656")


def test_controls_are_kept(tmp_path):
    modules = networks()
    write(tmp_path / "e", modules, control_shape=[2, LENGTH])
    about = read_description(tmp_path / "e")
    assert about.control_shape == (2, LENGTH)
    ensemble = read_ensemble(tmp_path / "e", device="cpu")
    assert ensemble.modules[0].control_shape == (2, LENGTH)
    plain = Ensemble.of(
        [Measured(m, [LogCount(1), ProfileScore(0, 1)]) for m in modules], TASKS, length=LENGTH, device="cpu"
    )
    codes = random_sequences(3, LENGTH).codes
    np.testing.assert_allclose(ensemble.predict(codes), plain.predict(codes), rtol=1e-5, atol=1e-6)


def test_own_code_runs_only_when_trusted(tmp_path):
    (tmp_path / "score.py").write_text(SCORE)
    measures = [
        Measure(scalar="log_count", output=1),
        Measure(scalar="score.py:Sharpness", options={"power": 2}),
        Measure(scalar="score.py:total"),
    ]
    files = measure_files(measures, tmp_path)
    assert files == [tmp_path / "score.py"]
    folder = tmp_path / "e"
    identity = write(folder, measures=measures, measure_code=files)
    with pytest.raises(InputError, match=r"scalar 'score\.py:Sharpness' is code that loading would execute; .*--trust"):
        read_ensemble(folder, device="cpu")
    ensemble = read_ensemble(folder, device="cpu", trust_code=True)
    codes = random_sequences(3, LENGTH).codes
    predicted = ensemble.predict(codes)
    x = (torch.tensor(codes)[:, None] == torch.arange(4)[:, None]).float()
    with torch.inference_mode():
        profile = networks()[0](x)[0]
    np.testing.assert_allclose(predicted[0, :, 1], profile.flatten(1).softmax(1).amax(1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(predicted[0, :, 2], profile.sum((1, 2)), rtol=1e-4)
    assert [isinstance(s, Reducer) for s in ensemble.modules[0].scalars] == [False, True, True]
    (folder / "score.py").write_text(SCORE + "# changed\n")
    assert ensemble_sha256(folder) != identity
    (folder / "score.py").unlink()
    with pytest.raises(InputError, match=r"score\.py: the scalar's code cannot be read: No such file"):
        read_ensemble(folder, device="cpu", trust_code=True)


def test_files_of_one_name(tmp_path):
    measures = [Measure(scalar="a/score.py:A"), Measure(scalar="b/score.py:B")]
    with pytest.raises(InputError, match=r"files of code must have different names; got .*a/score\.py, .*b/score\.py"):
        measure_files(measures, tmp_path)
    with pytest.raises(InputError, match="different names"):
        measure_files(measures[:1], tmp_path, code=tmp_path / "score.py")
    assert measure_files(measures[:1], tmp_path, code=tmp_path / "a" / "score.py") == [tmp_path / "a" / "score.py"]


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (Measure(scalar="log_counts"), "no scalar 'log_counts'; did you mean 'log_count'"),
        (Measure(scalar="sum"), "no scalar 'sum'; built in are tasks, log_count"),
        (Measure(scalar="tasks", options={"column": 1}), "'tasks' does not take its options, column = 1, output = 0: "),
        (Measure(scalar="profile_score", options={"strands_per_task": 0}), "scalar 'profile_score': strands_per_task"),
        (Measure(scalar="score.py:three"), "scalar 'score.py:three' must be a function, or a class of such; it is 3"),
        (
            Measure(scalar="score.py:total", options={"a": 1}),
            "'score.py:total' is no class, hence takes no options; got a",
        ),
        (Measure(scalar="score.py:Sharpness", options={"a": 1}), "does not take its options, a = 1: .*'a'"),
        (Measure(scalar="score.py:absent"), "has no attribute 'absent'"),
        (Measure(scalar="torch.nn:Linear", options={"in_features": 1, "out_features": 1}), "must have no weights"),
    ],
)
def test_scalars_that_are_wrong(tmp_path, measure, said):
    (tmp_path / "score.py").write_text(SCORE)
    with pytest.raises(InputError, match=said) as caught:
        measured(nn.Identity(), [measure], folder=tmp_path, trust_code=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('scalar = "log_count"', "scalar = 3", r"\[\[measure\]\] 1: scalar must be a name; got 3"),
        ("output = 1", 'output = "1"', r"\[\[measure\]\] 1: output must be a number from 0; got '1'"),
        ("output = 1", "output = 2", "LogCount reads output 2; the network returns 2, counted from 0"),
        (
            "strands_per_task = 1",
            "strands_per_task = 2",
            r"m0 must return \(batch, tasks\) = \(12, 3\); it returned \(12, 2\)",
        ),
        (
            "length = 120",
            "length = 120\ncontrol_shape = [0]",
            r"control_shape must be a list of positive numbers; got \[0\]",
        ),
        ("length = 120", "length = 120\ncontrol_shape = [3, 120]", "m0 cannot read input of shape"),
    ],
)
def test_a_description_that_is_wrong(tmp_path, old, new, said):
    write(tmp_path / "e")
    edit(tmp_path / "e", old, new)
    with pytest.raises(InputError, match=said) as caught:
        read_ensemble(tmp_path / "e", device="cpu")
    assert "\n" not in str(caught.value)
