"""Ensemble directories: a round trip, and one line for every way in which one can be broken."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from deepmr.errors import DeepMRError, InputError
from deepmr.io import models
from deepmr.io.ensemble_toml import read_description
from deepmr.io.models import ensemble_sha256, read_ensemble, write_ensemble
from deepmr.sequence.ensemble import Ensemble, MemberInfo
from deepmr.sequence.models import DilatedCNN, PaperCNN
from deepmr.types import Task

LENGTH = 30
ARGUMENTS = {"filters": 4, "width": 5, "hidden": 6}
TASKS = (Task(name="CTCF", scale="logit"), Task(name="reads"))
MEMBERS = (MemberInfo(name="member_0", seed=7, held_out=("chr1", "chr8")), MemberInfo(name="member_1"))
CODES = np.random.default_rng(0).integers(0, 5, (20, LENGTH)).astype(np.uint8)
NETWORK = "deepmr.sequence.models:PaperCNN"


def networks(n_tasks=2, **changes):
    torch.manual_seed(0)
    return [PaperCNN(n_tasks, length=LENGTH, **{**ARGUMENTS, **changes}) for _ in range(2)]


def write(path, modules=None, **changes):
    given = {
        "architecture": NETWORK,
        "arguments": ARGUMENTS,
        "length": LENGTH,
        "tasks": TASKS,
        "members": MEMBERS,
        "counts": ["reads"],
    }
    return write_ensemble(path, modules or networks(), **{**given, **changes})


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "ensemble"
    write(path)
    return path


def edit(folder, old, new):
    file = folder / "ensemble.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def refused(folder, said, **options):
    with pytest.raises(InputError, match=said) as caught:
        read_ensemble(folder, device="cpu", **options)
    assert "\n" not in str(caught.value)


def test_round_trip(tmp_path):
    modules = networks()
    identity = write(
        tmp_path / "e",
        modules,
        extra={"training": {"epochs": 3, "inputs": {"fasta": "a.fa"}}},
        tables={"metrics": pd.DataFrame({"task": ["CTCF"], "auroc": [0.5]})},
    )
    ensemble = read_ensemble(tmp_path / "e", device="cpu")
    expected = Ensemble.of(modules, TASKS, length=LENGTH, device="cpu")
    np.testing.assert_array_equal(ensemble.predict(CODES), expected.predict(CODES))
    assert ensemble.tasks == TASKS
    assert ensemble.length == LENGTH
    assert ensemble.counts == ("reads",)
    assert [(m.name, m.seed, m.held_out) for m in ensemble.members] == [(m.name, m.seed, m.held_out) for m in MEMBERS]
    assert ensemble.sha256 == identity == ensemble_sha256(tmp_path / "e") == ensemble_sha256(ensemble)
    assert read_description(tmp_path / "e").extra == {"training": {"epochs": 3, "inputs": {"fasta": "a.fa"}}}
    assert (tmp_path / "e" / "metrics.tsv").read_text() == "task\tauroc\nCTCF\t0.5\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e"]


def test_reading_leaves_the_random_numbers_alone(folder):
    state = torch.get_rng_state()
    read_ensemble(folder, device="cpu")
    assert torch.equal(torch.get_rng_state(), state)


def test_identity_follows_what_is_predicted(tmp_path):
    first = write(tmp_path / "a")
    assert write(tmp_path / "b", extra={"training": {"note": "the same networks"}}) == first
    torch.manual_seed(1)
    others = [PaperCNN(2, length=LENGTH, **ARGUMENTS) for _ in range(2)]
    changed = {
        "weights": {"modules": others},
        "scale": {"tasks": (TASKS[0], Task(name="reads", scale="log")), "counts": []},
        "names": {"tasks": (Task(name="PU1", scale="logit"), TASKS[1])},
    }
    for name, changes in changed.items():
        assert write(tmp_path / name, **changes) != first


def test_identity_in_memory():
    one, same, other = (
        Ensemble.of(modules, TASKS, length=LENGTH, device="cpu")
        for modules in (networks(), networks(), networks()[::-1])
    )
    assert ensemble_sha256(one) == ensemble_sha256(same)
    assert len({ensemble_sha256(one), ensemble_sha256(other)}) == 2
    narrow, wide = (Ensemble.of([torch.nn.Conv1d(4, 2, 3, dilation=d)], ["a"], length=9, device="cpu") for d in (1, 2))
    narrow.modules[0].load_state_dict(wide.modules[0].state_dict())
    assert ensemble_sha256(narrow) != ensemble_sha256(wide)  # the same weights do other things


def test_overwriting(folder):
    with pytest.raises(InputError, match="exists; choose another name or pass --overwrite"):
        write(folder)
    before = read_description(folder).sha256
    write(folder, tasks=(Task(name="x"), Task(name="y")), counts=[], overwrite=True)
    assert read_description(folder).sha256 != before
    (folder / "ensemble.toml").unlink()
    with pytest.raises(InputError, match=r"exists and has no ensemble\.toml; it is left alone"):
        write(folder, overwrite=True)
    with pytest.raises(InputError, match="does not exist"):
        write(folder / "deep" / "er")


def test_a_failed_write_leaves_what_was_there(folder, monkeypatch):
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models, "_write", full)
    with pytest.raises(DeepMRError, match="No space left on device"):
        write(folder, overwrite=True)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert [p.name for p in folder.parent.iterdir()] == ["ensemble"]


def test_architectures_of_other_depths(tmp_path):
    torch.manual_seed(0)
    modules = [DilatedCNN(2, LENGTH, filters=3, n_dilated=2, width=3) for _ in range(2)]
    write(
        tmp_path / "d",
        modules,
        architecture="dilated",
        arguments={"filters": 3, "n_dilated": 2, "width": 3},
    )
    expected = Ensemble.of(modules, TASKS, device="cpu").predict(CODES)
    np.testing.assert_array_equal(read_ensemble(tmp_path / "d", device="cpu").predict(CODES), expected)


def test_not_an_ensemble_directory(tmp_path):
    refused(tmp_path / "absent", "absent: no such ensemble directory")
    refused(tmp_path, r"is not an ensemble directory: it has no ensemble\.toml$")
    pickle = tmp_path / "model.pt"
    pickle.write_bytes(b"x")
    refused(pickle, "model.pt is a PyTorch file, which may hold code; .* deepmr model import FILE")
    refused(tmp_path, r"no ensemble\.toml; it holds PyTorch files \(model\.pt, \.\.\.\): convert")
    text = tmp_path / "notes.txt"
    text.write_text("x")
    refused(text, "notes.txt is a file; needed a directory")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format =", "format = =", r"ensemble\.toml is not TOML"),
        ('"deepmr-ensemble"', '"other"', "format must be 'deepmr-ensemble'; got 'other'"),
        ('format_version = "1.0"', 'format_version = "2.0"', "format_version '2.0' is not one that this version reads"),
        ('format_version = "1.0"', "", "key 'format_version' is missing"),
        ('"ACGT"', '"ACGU"', "alphabet must be 'ACGT'; got 'ACGU'"),
        ("length = 30", "length = 0", "length must be positive; got 0"),
        ("length = 30", 'length = "30"', "length must be of type int; got '30'"),
        ("length = 30", "length = true", "length must be of type int; got True"),
        ("length = 30", "length = 31", "'dense.1.weight' must have shape"),
        ('scale = "logit"', 'scale = "probability"', "scale of task 'CTCF' must be one of identity, log, logit"),
        ('transform = "anscombe"', 'transform = "sqrt"', "transform must be none or anscombe; got 'sqrt'"),
        ('name = "reads"', 'name = "CTCF"', "task names must be unique"),
        ('name = "member_1"', 'name = "member_0"', "member names must be unique"),
        ('file = "members/member_1.safetensors"', 'file = "../x.safetensors"', "must be a .safetensors file inside"),
        ('file = "members/member_1.safetensors"', 'file = "/x.safetensors"', "must be a .safetensors file inside"),
        ('file = "members/member_1.safetensors"', 'file = "members/m.pt"', "m.pt is a PyTorch file.* deepmr model imp"),
        ("seed = 7", 'seed = "seven"', r"\[\[members\]\] 1: seed must be of type int; got 'seven'"),
        ("models:PaperCNN", "models:PaperCCN", "no architecture .*PaperCCN'; did you mean .*PaperCNN'"),
        ("models:PaperCNN", "models:torch", "no architecture 'deepmr.sequence.models:torch'; did you mean"),
        (NETWORK, "some:net:work", "no architecture 'some:net:work'; built in are paper_cnn, dilated"),
        (NETWORK, "paper-cnn", "no architecture 'paper-cnn'; did you mean 'paper_cnn'"),
        (NETWORK, "os:system", "architecture 'os:system' is code that loading would execute; .* --trust-code"),
        (NETWORK, "../model.py:Net", "the architecture's file must be in the directory itself; got '../model.py:Net'"),
        (NETWORK, "model.py:Net", "model.py: the architecture's code cannot be read: No such file"),
        (
            "filters = 4",
            "filters = 5",
            r"member_0 does not fit PaperCNN: 'convolutions.0.weight' must have shape \(5, ",
        ),
        ("filters = 4", "filtres = 4", "PaperCNN takes the arguments .*; got filtres = 4"),
    ],
)
def test_a_description_that_is_wrong(folder, old, new, said):
    edit(folder, old, new)
    refused(folder, said)


def test_a_description_without_tasks_or_members(folder):
    text = (folder / "ensemble.toml").read_text()
    (folder / "ensemble.toml").write_text(text[: text.index("[[members]]")] + "[members]\n")
    refused(folder, r"members must be of type list; got \{\}")
    (folder / "ensemble.toml").write_text("members = []\n" + text[: text.index("[[members]]")])
    refused(folder, r"needs at least one \[\[tasks\]\] and one \[\[members\]\]")
    (folder / "ensemble.toml").write_text("members = [3]\n" + text[: text.index("[[members]]")])
    refused(folder, r"\[\[members\]\] 1 must be a table; got 3")


def test_unknown_keys_are_tolerated(folder):
    edit(folder, "seed = 7", 'seed = 7\nepochs = 3\nnote = "x"')
    edit(folder, "length = 30", 'length = 30\nauthor = "me"')
    assert read_ensemble(folder, device="cpu").n_members == 2


def test_missing_and_corrupted_members(folder):
    file = folder / "members" / "member_1.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    refused(folder, r"member_1\.safetensors is corrupted or was changed: its SHA-256 is .*\.\.\., ensemble\.toml says")
    file.write_bytes(content[:-10])
    refused(folder, "corrupted or was changed")
    file.unlink()
    refused(folder, r"member_1\.safetensors: member cannot be read: No such file")


def replace_member(folder, content):
    """Put another file in place of member 1, checksum and all."""
    file = folder / "members" / "member_1.safetensors"
    old = read_description(folder).members[1].sha256
    file.write_bytes(content)
    edit(folder, old, models.hashlib.sha256(content).hexdigest())


def test_members_that_do_not_fit(folder):
    state = networks()[1].state_dict()
    replace_member(folder, safetensors.torch.save(networks(n_tasks=3)[1].state_dict()))
    refused(folder, r"member_1 does not fit PaperCNN: 'output.weight' must have shape \(2, 6\); got \(3, 6\)")
    replace_member(folder, safetensors.torch.save({**state, "extra": torch.zeros(1)}))
    refused(folder, "member_1 does not fit PaperCNN: weights 'extra' have no place in it")
    del state["output.bias"]
    replace_member(folder, safetensors.torch.save(state))
    refused(folder, "weights 'output.bias' are missing; it has convolutions.0.bias, .*, ...")
    replace_member(folder, b"not safetensors")
    refused(folder, r"member_1\.safetensors is not a safetensors file")


def test_members_that_predict_no_number(folder):
    state = networks()[1].state_dict()
    state["output.bias"][0] = np.nan
    replace_member(folder, safetensors.torch.save(state))
    refused(folder, "ensemble: member_1 returned NaN or infinity for .* sequences")


MODEL = """
from pathlib import Path
import torch
from torch import nn

Path(__file__).with_name("ran").touch()

class Mixed(nn.Module):
    def __init__(self, share):
        super().__init__()
        self.share = share
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        y = self.last(x.sum(dim=2))
        return y + self.share * y.mean(dim=0)

not_a_network = 3
"""


def write_own(path: Path, share=0.0, name="Mixed"):
    code = path.parent / "model.py"
    code.write_text(MODEL)
    torch.manual_seed(0)
    layers = torch.nn.ModuleDict({"last": torch.nn.Linear(4, 2)})
    write(path, [layers, layers], architecture=f"model.py:{name}", arguments={"share": share}, code=code)


def test_own_code_runs_only_when_trusted(tmp_path):
    folder = tmp_path / "own"
    write_own(folder)
    refused(folder, "is code that loading would execute")
    assert not (folder / "ran").exists()
    ensemble = read_ensemble(folder, device="cpu", trust_code=True)
    assert (folder / "ran").exists()
    assert ensemble.predict(CODES).shape == (2, 20, 2)
    before = ensemble_sha256(folder)
    (folder / "model.py").write_text(MODEL + "\n# changed\n")
    assert ensemble_sha256(folder) != before


def test_own_code_that_is_wrong(tmp_path):
    write_own(tmp_path / "mates", share=1.0)
    refused(tmp_path / "mates", "member_0: its prediction of .* when others join the batch", trust_code=True)
    write_own(tmp_path / "value", name="not_a_network")
    refused(tmp_path / "value", "must be a class derived from torch.nn.Module; it is 3", trust_code=True)
    write_own(tmp_path / "absent", name="Nothing")
    refused(tmp_path / "absent", "fails: AttributeError: module .* has no attribute 'Nothing'", trust_code=True)
    (tmp_path / "absent" / "model.py").write_text("1 / 0")
    refused(tmp_path / "absent", "fails: ZeroDivisionError: division by zero", trust_code=True)
    (tmp_path / "absent" / "model.py").unlink()
    refused(tmp_path / "absent", "model.py: the architecture's code cannot be read", trust_code=True)


def test_trusted_packages(folder):
    edit(folder, NETWORK, "torch.nn:Flattn")
    refused(folder, "architecture 'torch.nn:Flattn' cannot be imported: .*Flattn", trust_code=True)
    edit(folder, "torch.nn:Flattn", "no_such_package:Net")
    refused(folder, "cannot be imported: No module named 'no_such_package'", trust_code=True)


def test_a_copied_directory_is_the_same_ensemble(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert ensemble_sha256(tmp_path / "copy") == ensemble_sha256(folder)
