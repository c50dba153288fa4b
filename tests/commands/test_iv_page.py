"""The example of docs/iv_cli.md runs as it is pasted and finds what the page says."""

import io
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from deepmr.cli import execute

PAGE = (Path(__file__).parents[2] / "docs" / "iv_cli.md").read_text()


def test_the_example_of_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    simulate, python = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(simulate, {})
    (tmp_path / "fits").mkdir()
    commands = re.findall(r"^deepmr (iv .*)$", PAGE, flags=re.MULTILINE)
    assert len(commands) == 4
    said = []
    for command in commands:
        assert execute(shlex.split(command)) == 0
        said.append(capsys.readouterr().out)
    assert "81 samples lack a value" in said[0]
    both = pd.read_csv(io.StringIO(said[2])).set_index("file")
    assert both["ate"].to_dict() == pytest.approx({"fits/same_curve": 0.95, "fits/default": 0.96}, abs=0.01)
    assert both["modification"].to_dict() == {"fits/same_curve": "none", "fits/default": "auto"}
    given = pd.read_csv(io.StringIO(said[3]))["ate"].tolist()
    assert given == pytest.approx([0.96, 0.73, 1.19], abs=0.01)
    assert (tmp_path / "by_sex.png").is_file()
    names: dict = {}
    exec(python, names)
    assert names["effect"].estimate == names["same"].estimate
    assert names["effect"].low == names["same"].low
