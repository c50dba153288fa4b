"""The walk of docs/walk.md: the page shows the script's commands, and the script runs as it is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "simulations" / "walk.sh"


def commands(text):
    """Return the command lines of a text, those over several lines put together."""
    lines = re.sub(r" *\\\n *", " ", text).splitlines()
    return [line for line in lines if line.startswith("deepmr ")]


def test_the_page_shows_every_command_of_the_script():
    script = SCRIPT.read_text()
    defaults = dict(re.findall(r"(\w+)=\$\{\w+:-(\d+)\}", script))
    for name, value in defaults.items():
        script = script.replace(f'"${name}"', value)
    fenced = re.findall(
        r"^```(\w*)\n(.*?)^```$", (ROOT / "docs" / "walk.md").read_text(), flags=re.DOTALL | re.MULTILINE
    )
    blocks = [text for language, text in fenced if not language]
    assert commands("\n".join(blocks)) == commands(script)


@pytest.mark.slow
def test_the_script_runs_on_little_data(tmp_path):
    program = tmp_path / "bin" / "deepmr"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m deepmr --quiet "$@"\n')
    program.chmod(0o755)
    small = {"N_TRAIN": "3000", "EPOCHS": "10", "N_TEST": "120", "SPLIT": "160", "SAMPLE": "20"}
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    shell = shutil.which("sh") or "/bin/sh"
    subprocess.run([shell, str(SCRIPT), str(tmp_path / "walk")], env=os.environ | small | {"PATH": path}, check=True)
    page = (tmp_path / "walk" / "report.html").read_text(encoding="utf-8")
    assert '<section id="labelled"' in page
    assert "true effect: " in page
