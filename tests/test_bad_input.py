"""Each bad input gets one clear line, its exit code, and leaves nothing half-written."""

import importlib.util
import re
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("bad_input", Path(__file__).with_name("bad_input.py"))
bad_input = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bad_input)

pytestmark = pytest.mark.skipif(bad_input.torch.cuda.is_available(), reason="one case needs a machine without CUDA")


@pytest.mark.parametrize("one", bad_input.CASES, ids=lambda case: case.name)
def test_bad_input(one):
    _, code, message, new = bad_input.spoil_and_run(one)
    assert code == one.code, message
    assert len(message.splitlines()) == 1, message
    assert re.search(one.says, message), message
    assert not new


def test_the_inputs_are_good_before_they_are_spoilt():
    with bad_input.inputs() as folder:
        assert bad_input.run(bad_input.ISM)[0] == 0
        assert (folder / "effects.h5").is_file()
        (folder / "effects.h5").unlink()
        assert bad_input.run(bad_input.PEAKS)[0] == 0
