"""`deepmr model import` and `deepmr model info`."""

import os
import shlex

import numpy as np
import pytest
import torch

from deepmr.cli import build_app, execute
from deepmr.commands.model import import_, info
from deepmr.errors import InputError
from deepmr.io.effects import open_effects
from deepmr.io.ensemble_toml import read_description
from deepmr.io.models import read_ensemble
from deepmr.ism.mutate import mutate
from deepmr.sequence.ensemble import Ensemble
from deepmr.sequence.measured import Measured
from deepmr.sequence.models import PaperCNN
from deepmr.sequence.profiles import ProfileScore
from deepmr.sequence.published import BPNet
from deepmr.sequence.scalars import LogCount

LENGTH = 30
ARGUMENTS = '{"filters": 4, "width": 5, "hidden": 6}'
CODES = np.random.default_rng(0).integers(0, 5, (20, LENGTH)).astype(np.uint8)


@pytest.fixture
def networks(tmp_path):
    torch.manual_seed(0)
    made = [PaperCNN(2, length=LENGTH, filters=4, width=5, hidden=6) for _ in range(2)]
    (tmp_path / "old").mkdir()
    for k, network in enumerate(made):
        torch.save(network.state_dict(), tmp_path / "old" / f"run{k}.pt")
    return made


def options(tmp_path, **changes):
    given = {"architecture": "paper_cnn", "task": ["CTCF:logit", "reads"], "length": LENGTH, "out": tmp_path / "new"}
    return {**given, "arguments": ARGUMENTS, **changes}


def test_imported_networks_predict_the_same(tmp_path, networks):
    summary = import_([tmp_path / "old"], **options(tmp_path, counts=["reads"]))
    ensemble = read_ensemble(tmp_path / "new", device="cpu")
    expected = Ensemble.of(networks, ["CTCF", "reads"], device="cpu").predict(CODES)
    np.testing.assert_array_equal(ensemble.predict(CODES), expected)
    assert [(t.name, t.scale) for t in ensemble.tasks] == [("CTCF", "logit"), ("reads", "identity")]
    assert ensemble.counts == ("reads",)
    assert summary == info(tmp_path / "new")
    assert [row["member"] for row in summary["members"]] == ["member_0", "member_1"]
    assert summary["tasks"][1] == {"task": "reads", "scale": "identity", "predicts": "2 sqrt(y + 3/8)"}
    assert summary["arguments"] == "filters = 4, width = 5, hidden = 6"
    buffers = 3 * (4 + 4 + 1)  # running mean, running variance and the count of batches
    assert summary["members"][0]["weights"] == sum(p.numel() for p in networks[0].parameters()) + buffers


def test_own_code_comes_along(tmp_path, networks):
    (tmp_path / "model.py").write_text("from deepmr.sequence.models import PaperCNN as Mine\n")
    own = options(tmp_path, architecture=f"{tmp_path}/model.py:PaperCNN")
    with pytest.raises(InputError, match="is code that loading would execute"):
        import_([tmp_path / "old"], **own)
    (tmp_path / "model.py").write_text("from deepmr.sequence.models import PaperCNN\n")
    summary = import_([tmp_path / "old"], **own, trust_code=True)
    assert summary["architecture"] == "model.py:PaperCNN"
    assert (tmp_path / "new" / "model.py").read_text() == (tmp_path / "model.py").read_text()
    assert read_ensemble(tmp_path / "new", device="cpu", trust_code=True).n_members == 2


class Planted:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_not_run(tmp_path, networks):
    torch.save({"weight": Planted(tmp_path / "made")}, tmp_path / "old" / "run2.pt")
    with pytest.raises(InputError, match=r"run2\.pt holds Python objects \(posix\.mkdir\), not only weights"):
        import_([tmp_path / "old"], **options(tmp_path))
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": ["CTCF"]}, r"run0\.pt does not fit PaperCNN: 'output\.weight' must have shape \(1, 6\)"),
        ({"task": ["CTCF:probability", "b"]}, "scale of task 'CTCF' must be one of identity, log, logit"),
        ({"task": [":log", "b"]}, "a task must be NAME or NAME:SCALE; got ':log'"),
        ({"task": ["a", "a"]}, "task names must be unique"),
        ({"counts": ["c"]}, "task of counts must be one of CTCF, reads; got 'c'"),
        ({"length": 31}, r"run0\.pt does not fit PaperCNN: 'dense\.1\.weight' must have shape"),
        ({"arguments": "filters=4"}, "arguments must be a JSON object"),
        ({"architecture": "torch.nn:Flatten"}, "pass --trust-code"),
    ],
)
def test_bad_imports_leave_nothing_behind(tmp_path, networks, changes, said):
    with pytest.raises(InputError, match=said):
        import_([tmp_path / "old"], **options(tmp_path, **changes))
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_networks_that_give_no_number_are_not_imported(tmp_path, networks):
    state = networks[0].state_dict()
    state["output.bias"] = torch.full((2,), float("nan"))
    torch.save(state, tmp_path / "old" / "run1.pt")
    with pytest.raises(InputError, match="member_1 returned NaN"):
        import_([tmp_path / "old"], **options(tmp_path))


def test_the_recorded_command_line_is_one(tmp_path, networks):
    given = options(tmp_path)
    import_([tmp_path / "old"], **given)
    words = shlex.split(read_description(tmp_path / "new").extra["imported"]["command_line"])
    _, bound, _ = build_app().parse_args(words[1:], exit_on_error=False, print_error=False)
    assert bound.arguments.items() >= (given | {"files": [tmp_path / "old"]}).items()


def test_from_the_command_line(tmp_path, networks, capsys):
    files = [str(tmp_path / "old" / f"run{k}.pt") for k in range(2)]
    argv = ["model", "import", *files, "--architecture", "paper_cnn", "--task", "CTCF:logit", "reads"]
    argv += ["--length", str(LENGTH), "--out", str(tmp_path / "new"), "--arguments", ARGUMENTS]
    assert execute(argv) == 0
    capsys.readouterr()
    assert execute(["model", "info", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    assert "deepmr.sequence.models:PaperCNN" in printed
    assert "member_1" in printed
    (tmp_path / "new" / "members" / "member_1.safetensors").unlink()
    assert execute(["model", "info", str(tmp_path / "new")]) == 3


BPNET = '{"n_filters": 3, "n_layers": 1}'


@pytest.fixture
def profiles(tmp_path):
    torch.manual_seed(0)
    made = [BPNet(n_filters=3, n_layers=1).eval() for _ in range(2)]
    (tmp_path / "bp").mkdir()
    for k, network in enumerate(made):
        torch.save(network.state_dict(), tmp_path / "bp" / f"fold{k}.pt")
    return made


def measured_options(tmp_path, **changes):
    given = {"architecture": "bpnet", "length": 120, "arguments": BPNET, "out": tmp_path / "new"}
    given |= {"task": ["count", "shape"], "measure": ["log_count:1", "profile_score:0"]}
    return given | changes


def test_published_networks_are_imported_with_what_is_measured(tmp_path, profiles):
    summary = import_([tmp_path / "bp"], **measured_options(tmp_path))
    ensemble = read_ensemble(tmp_path / "new", device="cpu")
    assert [(task.name, task.scale) for task in ensemble.tasks] == [("count", "log"), ("shape", "identity")]
    codes = np.random.default_rng(0).integers(0, 5, (3, 120)).astype(np.uint8)
    expected = Ensemble.of([Measured(n, [LogCount(1), ProfileScore(0)]) for n in profiles], ["a", "b"], device="cpu")
    np.testing.assert_array_equal(ensemble.predict(codes), expected.predict(codes))
    assert summary["architecture"] == "deepmr.sequence.published:BPNet"
    assert summary["measures"] == [
        {"scalar": "log_count", "output": 1, "options": ""},
        {"scalar": "profile_score", "output": 0, "options": ""},
    ]
    assert "control_shape" not in summary


def test_scales_that_are_given_win(tmp_path, profiles):
    changes = {"task": ["count:identity", "plus", "minus:identity"], "control_shape": [2, 120]}
    changes |= {"measure": ["log_count:1", '{"scalar": "profile_score", "options": {"strands_per_task": 1}}']}
    summary = import_([tmp_path / "bp"], **measured_options(tmp_path, **changes))
    assert [row["scale"] for row in summary["tasks"]] == ["identity"] * 3
    assert summary["control_shape"] == [2, 120]
    assert summary["measures"][1]["options"] == '{"strands_per_task": 1}'


def test_a_function_of_ones_own_comes_along(tmp_path, profiles):
    (tmp_path / "score.py").write_text("def largest(profile):\n    return profile.amax((1, 2))[:, None]\n")
    own = measured_options(tmp_path, task=["top"], measure=[f"{tmp_path}/score.py:largest:0"])
    with pytest.raises(InputError, match=r"scalar '.*score\.py:largest' is code that loading would execute"):
        import_([tmp_path / "bp"], **own)
    summary = import_([tmp_path / "bp"], **own, trust_code=True)
    assert summary["measures"][0]["scalar"] == "score.py:largest"
    assert (tmp_path / "new" / "score.py").read_text() == (tmp_path / "score.py").read_text()
    (tmp_path / "score.py").unlink()
    assert read_ensemble(tmp_path / "new", device="cpu", trust_code=True).n_members == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"measure": None}, "it returned tuple: say what is measured of several outputs"),
        ({"task": ["count"]}, "--task names 1 tasks, but log_count:1 gives 1, profile_score:0 gives 1"),
        ({"measure": ["log_count:2", "tasks:1"]}, "LogCount reads output 2; the network returns 2"),
        ({"measure": ["log_count", "tasks:1"]}, r"LogCount reads an output \(batch, n\); got shape \(1, 2, 22\)"),
        ({"measure": ["profile_score:1", "tasks:1"]}, r"reads an output \(batch, strands, positions\); got \(1, 1\)"),
        ({"measure": ["logcount:1"]}, "no scalar 'logcount'; did you mean 'log_count'"),
        ({"control_shape": [2, 0]}, "control_shape must be at least 1; got 0"),
        ({"control_shape": [3, 120]}, r"the network cannot read \(batch, 4, 120\): "),
        ({"length": 98}, "BPNet: trimming of 49 at each end leaves no profile of 98 bases"),
        (
            {"arguments": '{"n_layers": 1}'},
            r"does not fit BPNet: 'iconv\.weight' must have shape \(64, 4, 21\); got \(3, 4, 21\)",
        ),
    ],
)
def test_bad_measures_leave_nothing_behind(tmp_path, profiles, changes, said):
    with pytest.raises(InputError, match=said) as caught:
        import_([tmp_path / "bp"], **measured_options(tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["bp"]


def test_measures_from_the_command_line(tmp_path, profiles, capsys):
    argv = ["model", "import", str(tmp_path / "bp"), "--architecture", "bpnet", "--arguments", BPNET, "--length", "120"]
    argv += ["--measure", "log_count:1", "--measure", "fixed_profile_score:0", "--task", "count", "--task", "shape"]
    assert execute([*argv, "--control-shape", "2", "120", "--out", str(tmp_path / "new")]) == 0
    assert "profile_score" in capsys.readouterr().out
    (tmp_path / "peaks.fa").write_text("".join(f">p{k}\n{'ACGTTGCAGA' * 12}\n" for k in range(2)))
    ism = ["ism", "--model", str(tmp_path / "new"), "--fasta", str(tmp_path / "peaks.fa"), "--device", "cpu"]
    assert execute([*ism, "--out", str(tmp_path / "effects.h5")]) == 0
    with open_effects(tmp_path / "effects.h5") as file:
        expected = mutate(read_ensemble(tmp_path / "new", device="cpu"), file.sequences)
        assert file.tasks == expected.tasks
        np.testing.assert_array_equal(next(file.blocks(2)).delta, expected.delta)
