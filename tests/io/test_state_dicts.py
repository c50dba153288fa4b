"""Weights that others saved: read as weights, whatever the file would like to do."""

import os
import pickle

import pytest
import safetensors.torch
import torch

from deepmr.errors import InputError
from deepmr.io.state_dicts import find_state_dicts, read_state_dict
from deepmr.sequence.models import PaperCNN

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(3)}


def same(found):
    return list(found) == list(STATE) and all(torch.equal(found[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model_state_dict": s}]
)
@pytest.mark.parametrize("zipped", [True, False])
def test_reads_state_dicts(tmp_path, wrap, zipped):
    path = tmp_path / "a.pt"
    torch.save(wrap(STATE), path, _use_new_zipfile_serialization=zipped)
    assert same(read_state_dict(path))


def test_reads_safetensors(tmp_path):
    safetensors.torch.save_file(STATE, tmp_path / "a.safetensors")
    found = read_state_dict(tmp_path / "a.safetensors")
    assert torch.equal(found["weight"], STATE["weight"])


class Planted:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", ["torch", "legacy", "pickle"])
def test_a_planted_pickle_is_refused_and_does_nothing(tmp_path, how):
    made = tmp_path / "made"
    path = tmp_path / "model.pt"
    content = {"weight": Planted(made)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(InputError, match=r"model\.pt holds Python objects.*, not only weights, and was not loaded"):
        read_state_dict(path)
    assert not made.exists()
    if how != "pickle":
        torch.load(path, weights_only=False)
        assert made.exists()  # it would have worked


def test_a_whole_module_is_refused_by_the_names_it_wants(tmp_path):
    torch.save(PaperCNN(1, length=30), tmp_path / "whole.pt")
    with pytest.raises(InputError, match=r"Python objects \(.*deepmr.sequence.models.PaperCNN") as caught:
        read_state_dict(tmp_path / "whole.pt")
    assert "save module.state_dict()" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds list; needed a state dict"),
        ({}, "holds dict; needed a state dict"),
        ({"epoch": 3}, "'epoch' is int; a state dict holds tensors only"),
    ],
)
def test_other_content(tmp_path, content, said):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=said):
        read_state_dict(tmp_path / "a.pt")


def test_files_that_are_no_weights(tmp_path):
    for name, content in (("a.safetensors", b"12345678x"), ("b.pt", b""), ("c.pt", b"PK\x03\x04 broken")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name} is not a file of weights"):
            read_state_dict(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_state_dict(tmp_path)


def test_finds_files(tmp_path):
    for name in ("b.pt", "a.pth", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in find_state_dicts([tmp_path])] == ["a.pth", "b.pt"]
    assert find_state_dicts([tmp_path / "b.pt", tmp_path / "a.pth"]) == [tmp_path / "b.pt", tmp_path / "a.pth"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no PyTorch file; looked for"):
        find_state_dicts([tmp_path / "empty"])
    with pytest.raises(InputError, match=r"nothing\.pt: no such file"):
        find_state_dicts([tmp_path / "nothing.pt"])
