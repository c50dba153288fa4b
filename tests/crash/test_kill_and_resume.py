"""A quick round of kills; `python tests/crash/kill_and_resume.py` does ten."""

import random
import subprocess
import time

import pytest

from deepmr.commands.ism import ism
from tests.crash.kill_and_resume import command, finished_units, kill_after, make_inputs, torture


@pytest.mark.parametrize("engine", [pytest.param("naive", marks=pytest.mark.slow), "windowed"])
def test_killed_twice_and_resumed_gives_the_same_bits(tmp_path, engine):
    make_inputs(tmp_path, n_loci=60)
    whole, out = tmp_path / "whole.h5", tmp_path / "killed.h5"
    fixed = {"device": "cpu", "threads": 1, "block_size": 1, "engine": engine}
    ism(model=tmp_path / "ensemble", fasta=tmp_path / "peaks.fa", out=whole, **fixed)

    def kill_after_units(line, n_units):
        """Kill once so many more units are finished: a moment that is sure to lie within the work."""
        goal = len(finished_units(out)) + n_units
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while len(list(tmp_path.glob("killed.h5.shards/m*/b*.h5"))) < goal and time.monotonic() < until:
            time.sleep(0.01)
        process.kill()
        process.wait()
        return True

    line = command(tmp_path, out, block_size=1, engine=engine)
    wrong, kills = torture(tmp_path, whole=whole, line=line, out=out, moments=[5, 30], kill=kill_after_units)
    assert wrong == []
    (_, first, _), (_, second, complete) = kills
    assert first >= 5
    assert first + 30 <= second < 180
    assert not complete


@pytest.mark.slow
def test_ten_random_moments(tmp_path):
    make_inputs(tmp_path, n_loci=400)
    whole, out = tmp_path / "whole.h5", tmp_path / "killed.h5"
    start = time.perf_counter()
    assert not kill_after(command(tmp_path, whole, block_size=4), 300)
    seconds = time.perf_counter() - start
    rng = random.Random(0)
    moments = [rng.uniform(0.1 * seconds, seconds) for _ in range(10)]
    line = command(tmp_path, out, block_size=4)
    wrong, kills = torture(tmp_path, whole=whole, line=line, out=out, moments=moments)
    assert wrong == []
    assert len(kills) == 10
