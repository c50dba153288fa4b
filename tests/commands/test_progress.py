"""Progress of long work."""

import logging
import sys

import pytest

from deepmr.commands import progress


def test_items_pass_through(caplog):
    caplog.set_level(logging.DEBUG, logger="deepmr")
    assert list(progress.track([3, 1, 2], description="work", total=3, unit="loci")) == [3, 1, 2]
    assert "work: 3 loci" in caplog.text
    assert {record.levelname for record in caplog.records} == {"DEBUG"}  # too short to be worth a line


def test_a_line_appears_when_the_minute_is_over(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="deepmr")
    clock = iter([0.0, 30.0, 61.0, 61.5])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.meter(description="work", total=10, unit="loci") as advance:
        advance(1)
        advance(4)
    lines = [r.message for r in caplog.records]
    assert lines[0] == "work: 5 of 10 loci, 0.082/s, 61 s left"
    assert len(lines) == 2


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.meter(description="work", total=2, unit="loci") as advance:
        advance(2)
    assert "work" in capsys.readouterr().err


def test_an_exception_leaves_through(caplog):
    def failing():
        yield 1
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        list(progress.track(failing(), description="work", total=2, unit="loci"))
