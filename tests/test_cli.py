"""Exit codes, messages and output of the command line."""

import io
import json
import logging
import sys
import types

import pytest
from rich.console import Console

from deepmr import __version__, cli, errors


@pytest.fixture
def command(monkeypatch):
    """Register a command `toy` that does what the test says."""

    def register(behaviour):
        def toy(*, size: int = 1, name: str = "a") -> dict[str, object]:
            """Do what the test says.

            Parameters
            ----------
            size
                How much.
            name
                Of what.
            """
            return behaviour(size)

        module = types.ModuleType("toy_module")
        module.toy = toy
        monkeypatch.setitem(sys.modules, "toy_module", module)
        monkeypatch.setattr(cli, "COMMANDS", {"toy": ("toy_module:toy", "Do what the test says.")})

    return register


def raiser(error):
    def behaviour(size):
        raise error

    return behaviour


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DeepMRError("it failed"), 1),
        (errors.TooFewInstruments("none"), 1),
        (errors.InputError("bad file"), 3),
        (errors.IncompleteError("2 units left"), 4),
        (OSError("no space left"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(command, capsys, error, code):
    command(raiser(error))
    assert cli.execute(["toy"]) == code
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1
    assert str(error) in err


def test_verbose_adds_the_traceback(command, capsys):
    command(raiser(errors.InputError("bad file")))
    assert cli.execute(["toy", "--verbose"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(command):
    command(raiser(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        cli.execute(["toy"])


@pytest.mark.parametrize("argv", [["toy", "--sizes", "2"], ["toy", "--size", "two"], ["tyo"], ["toy", "stray"]])
def test_usage_errors_return_2(command, capsys, argv):
    command(lambda size: {})
    assert cli.execute(argv) == 2
    output = capsys.readouterr()
    assert output.out + output.err


def test_an_unknown_command_is_told_the_near_one(capsys):
    assert cli.execute(["sim"]) == 2
    assert "ism" in capsys.readouterr().err


def test_the_summary_goes_to_stdout(command, capsys):
    command(
        lambda size: {"n_loci": size, "share": 0.123456, "pairs": [{"exposure": "A", "beta": 1.0}], "names": ["a", "b"]}
    )
    assert cli.execute(["toy", "--size", "3"]) == 0
    out = capsys.readouterr().out
    assert "n loci: 3" in out
    assert "0.1235" in out
    assert "names: a, b" in out
    assert "exposure" in out
    assert "A" in out


def test_an_empty_list_is_left_out_and_a_long_one_gets_a_line_an_item(command, capsys):
    notes = ["The first note is a sentence, as long as they are.", "The second one is another."]
    command(lambda size: {"skipped": [], "notes": notes, "size": size})
    assert cli.execute(["toy"]) == 0
    assert capsys.readouterr().out == f"notes:\n  {notes[0]}\n  {notes[1]}\nsize: 1\n"


def test_json_prints_the_summary_whole(command, capsys):
    command(lambda size: {"n_loci": size, "share": 0.123456})
    assert cli.execute(["--json", "toy"]) == 0
    assert json.loads(capsys.readouterr().out) == {"n_loci": 1, "share": 0.123456}


def test_version_and_help(capsys):
    assert cli.execute(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__
    assert cli.execute(["--help"]) == 0
    out = capsys.readouterr().out
    assert "ism" in out
    assert "Exit codes" in out


def test_main_exits_with_the_code(command):
    command(raiser(errors.InputError("bad")))
    with pytest.raises(SystemExit) as stop:
        cli.main(["toy"])
    assert stop.value.code == 3


def test_a_warning_that_many_methods_have_is_written_once(command, capsys):
    def warns(size):
        for number in (1, 2, 2, 2):
            logging.getLogger("deepmr.mr").warning("left out %d", number)
        logging.getLogger("deepmr.mr").info("step")
        logging.getLogger("deepmr.mr").info("step")
        return {}

    command(warns)
    assert cli.execute(["toy"]) == 0
    err = capsys.readouterr().err
    assert (err.count("left out 1"), err.count("left out 2"), err.count("step")) == (1, 1, 2)


def printed(rows, width):
    console = Console(file=io.StringIO(), width=width)
    cli.show({"rows": rows}, console)
    return console.file.getvalue()


def test_headers_and_numbers_are_never_broken_and_names_break_at_blanks():
    row = {
        "exposure": "HDL cholesterol || id:ieu-a-299", "outcome": "Coronary heart disease || id:ieu-a-7",
        "method": "mv_debiased", "n": 143, "beta": -0.089451, "se": 0.062691, "pvalue": 2.829e-14,
        "conditional_f": 47.77,
    }  # fmt: skip
    text = printed([row, row | {"exposure": "Triglycerides || id:ieu-a-302"}], 80)
    words = set(text.split())
    assert {"HDL", "cholesterol", "Coronary", "Triglycerides", "mv_debiased"} <= words
    assert {"-0.08945", "0.06269", "2.829e-14", "47.77", "conditional", "exposure"} <= words
    assert "id:ieu" not in text
    assert max(map(len, text.splitlines())) <= 80
    many = ["exposure", "outcome", "read", "significant", "in_outcome", "swapped", "other_strand", "instruments"]
    text = printed([dict.fromkeys(many, 79) | {"exposure": "BMI", "outcome": "CHD", "mean_f": 65.57}], 80)
    assert {"significant", "instruments", "strand"} <= set(text.split())
    folded = printed([dict.fromkeys(many, 79)], 30)  # narrower than its headers
    assert folded.count("79") == len(many)


def test_identifiers_that_tell_names_apart_stay():
    text = printed([{"trait": f"BMI || id:ieu-a-{k}"} for k in (2, 835)], 80)
    assert "id:ieu-a-2" in text
    assert "id:ieu-a-835" in text


def test_a_pvalue_is_never_0():
    text = printed([{"beta": 0.0, "pvalue": 0.0, "q_pvalue": 0.5}], 80)
    assert text.split()[-4:] == ["0", "<", "1e-300", "0.5"]


def test_tables_that_go_to_a_pipe_are_wide(command, monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    row = {"exposure": "GATA", "outcome": "TAL1"} | {f"value_{k}": -0.123456 - k for k in range(15)}
    command(lambda *_: {"rows": [row]})
    assert cli.execute(["toy"]) == 0
    assert "further columns" not in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.execute(["toy"]) == 0
    assert "further columns" in capsys.readouterr().out


def test_numbers_that_do_not_fit_go_to_a_second_table_with_the_same_names():
    names = {"exposure": "GATA", "outcome": "TAL1", "method": "ivw", "estimand": "calibrated"}
    row = names | {f"value_{k}": -0.123456 - k for k in range(9)}
    text = printed([row], 80)
    assert max(map(len, text.splitlines())) <= 80
    assert {f"{row[f'value_{k}']:.4g}" for k in range(9)} <= set(text.split())
    assert text.count("calibrated") == 2
    assert "rows, further columns" in text
    assert "further" not in printed([row], 200)
    assert "counts: a 1, b 0.25" in shown({"counts": {"a": 1, "b": 0.25}})


def shown(summary):
    console = Console(file=io.StringIO(), width=80)
    cli.show(summary, console)
    return console.file.getvalue()
