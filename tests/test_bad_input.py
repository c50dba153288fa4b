"""Each bad input gets one clear line, its exit code, and leaves nothing half-written."""

import re

import pytest

from tests import bad_input

pytestmark = pytest.mark.skipif(bad_input.torch.cuda.is_available(), reason="one case needs a machine without CUDA")


@pytest.mark.parametrize("one", bad_input.CASES, ids=lambda case: case.name)
def test_bad_input(one):
    _, code, message, new = bad_input.spoil_and_run(one)
    assert code == one.code, message
    assert len(message.splitlines()) == bool(one.says), message
    assert re.search(one.says, message), message
    assert new <= one.leaves


def test_the_inputs_are_good_before_they_are_spoilt():
    with bad_input.inputs() as folder:
        assert bad_input.run(bad_input.ISM)[0] == 0
        assert (folder / "effects.h5").is_file()
        (folder / "effects.h5").unlink()
        assert bad_input.run(bad_input.PEAKS)[0] == 0
