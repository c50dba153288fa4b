"""Python that the pages show runs as it stands."""

import re
from pathlib import Path

from deepmr.io.tables import write_table
from tests.mr.builders import simulated

DOCS = Path(__file__).parents[1] / "docs"


def snippets(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)


def test_gwas_from_python_gives_the_numbers_of_the_command_line(capsys, monkeypatch):
    monkeypatch.chdir(DOCS.parent)
    whole, by_hand = snippets("gwas.md")
    exec(compile(whole, "gwas.md", "exec"), {})
    out = capsys.readouterr().out
    assert "ivw_random  55  0.380" in out
    assert "ivw_random estimates the effect of LDL on CHD as 0.38" in out
    exec(compile(by_hand, "gwas.md", "exec"), {})
    assert "debiased_ivw" in capsys.readouterr().out


def test_sensitivity_of_a_table_of_instruments(tmp_path, monkeypatch, capsys):
    given = simulated(counts=(20,))
    write_table(given.to_frame(), tmp_path / "instruments.tsv")
    monkeypatch.chdir(tmp_path)
    for code in snippets("sensitivity.md"):
        exec(compile(code, "sensitivity.md", "exec"), {})
    assert "estimates the effect" in capsys.readouterr().out
