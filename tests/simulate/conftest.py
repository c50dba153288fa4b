"""The paper's motifs, read once."""

import pytest

from deepmr.io.motifs import paper_motifs
from deepmr.simulate.motifs import MotifSet


@pytest.fixture(scope="session")
def motifs() -> MotifSet:
    return paper_motifs()
