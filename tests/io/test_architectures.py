"""From a name to the class of a network; plugins are found by their entry points."""

import py_compile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from torch import nn

from deepmr.errors import InputError
from deepmr.io import architectures
from deepmr.io.architectures import GROUP, architecture_file, architecture_name, find_architecture
from deepmr.sequence.models import ARCHITECTURES, DilatedCNN, PaperCNN


@pytest.mark.parametrize(("short", "found"), ARCHITECTURES.items())
def test_built_in_networks_go_by_two_names(short, found):
    assert find_architecture(short) is found
    assert find_architecture(architecture_name(found)) is found


def test_names():
    assert architecture_name(PaperCNN) == "deepmr.sequence.models:PaperCNN"
    assert architecture_file("model.py:Net", Path("folder")) == Path("folder/model.py")
    assert architecture_file("package.module:Net", Path("folder")) is None


def test_plugins_need_no_trust(monkeypatch):
    point = EntryPoint(name="plugin", value="torch.nn:Flatten", group=GROUP)
    monkeypatch.setattr(architectures, "entry_points", lambda group: [point] if group == GROUP else [])
    assert find_architecture("plugin") is nn.Flatten
    assert find_architecture("torch.nn:Flatten") is nn.Flatten
    with pytest.raises(InputError, match="no architecture 'plugim'; did you mean 'plugin'"):
        find_architecture("plugim")
    with pytest.raises(InputError, match="is code that loading would execute"):
        find_architecture("torch.nn:Linear")
    assert find_architecture("torch.nn:Linear", trust_code=True) is nn.Linear


def test_a_plugin_that_is_gone(monkeypatch):
    point = EntryPoint(name="plugin", value="uninstalled_package:Net", group=GROUP)
    monkeypatch.setattr(architectures, "entry_points", lambda group: [point])
    with pytest.raises(InputError, match="'plugin' cannot be imported: No module named 'uninstalled_package'"):
        find_architecture("plugin")


def test_bytecode_beside_a_file_is_not_run(tmp_path):
    own = tmp_path / "own.py"
    own.write_text("from deepmr.sequence.models import PaperCNN as Net\n")
    # Bytecode that Python would run without a look at the file.
    py_compile.compile(str(own), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    own.write_text("from deepmr.sequence.models import DilatedCNN as Net\n")
    assert find_architecture("own.py:Net", folder=tmp_path, trust_code=True) is DilatedCNN


def test_files(tmp_path):
    (tmp_path / "own.py").write_text("from deepmr.sequence.models import DilatedCNN as Net\n")
    assert find_architecture("own.py:Net", folder=tmp_path, trust_code=True) is DilatedCNN
    assert find_architecture(f"{tmp_path}/own.py:Net", trust_code=True) is DilatedCNN
    with pytest.raises(InputError, match=r"other\.py cannot be read: No such file"):
        find_architecture("other.py:Net", folder=tmp_path, trust_code=True)
