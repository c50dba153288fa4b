"""The command line: parses, configures logging, prints the summary and turns errors into exit codes."""

import difflib
import itertools
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deepmr import __version__
from deepmr.commands import COMMANDS, GROUPS
from deepmr.errors import DeepMRError

USAGE, INTERRUPTED = 2, 130
WIDE = 240  # characters of a table that goes to a file or a pipe
LONGEST_LIST = 60  # characters of a list on one line; a longer one gets a line an item
log = logging.getLogger("deepmr")


def build_app() -> App:
    """Build the parser; a command's module is imported only when that command is used."""
    app = App(
        name="deepmr",
        help="Causal effects between genomic marks, from in-silico mutagenesis of a deep ensemble.",
        help_epilogue="Exit codes: 0 done, 1 failure, 2 usage, 3 bad input, 4 incomplete, 130 interrupted.",
        version=__version__,
        help_format="markdown",
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(negative_iterable=(), consume_multiple=True),
    )
    groups: dict[str, App] = {}
    for name, (target, help_line) in COMMANDS.items():
        group, _, verb = name.rpartition(" ")
        if group and group not in groups:
            groups[group] = App(name=group, help=GROUPS[group])
            app.command(groups[group])
        (groups[group] if group else app).command(target, name=verb, help=help_line)
    return app


def show(summary: dict[str, Any], console: Console) -> None:
    """Print a command's summary: a line an entry, a table for a list of rows, nothing for an empty list."""
    for key, value in summary.items():
        label = key.replace("_", " ")
        if isinstance(value, list) and not value:
            continue
        if isinstance(value, list) and isinstance(value[0], dict):
            for table in _tables(label, value, console.width):
                console.print(table)
        elif isinstance(value, list) and len(_text(value)) > LONGEST_LIST:
            console.print("\n  ".join([f"{label}:", *map(_text, value)]), soft_wrap=True, markup=False, highlight=False)
        else:
            console.print(f"{label}: {_text(value)}", soft_wrap=True, markup=False, highlight=False)


def _tables(label: str, rows: list[dict[str, Any]], room: int) -> Iterator[Table]:
    """Lay rows out as one table, or where numbers would break as several that begin with the same names."""
    needs = {
        name: _longest_word([name.replace("_", " "), *(_cell(name, row[name]) for row in rows)]) for name in rows[0]
    }
    keys = list(itertools.takewhile(lambda name: all(isinstance(row[name], str) for row in rows), needs))
    left = room - sum(needs[name] + 1 for name in keys)
    parts: list[list[str]] = [[]]
    for name in list(needs)[len(keys) :]:
        if parts[-1] and sum(needs[one] + 1 for one in (*parts[-1], name)) > left + 1:
            parts.append([])
        parts[-1].append(name)
    if not keys or left < room / 3:
        parts = [list(needs)[len(keys) :]]
    for k, part in enumerate(parts):
        chosen = [{name: row[name] for name in (*keys, *part)} for row in rows]
        yield _table(label if k == 0 else f"{label}, further columns", chosen, room)


def _table(label: str, rows: list[dict[str, Any]], room: int) -> Table:
    """Lay rows out in columns that break between words before they break within them, and never in numbers."""
    cells = [_plain([_cell(name, row[name]) for row in rows]) for name in rows[0]]
    columns = [[name.replace("_", " "), *texts] for name, texts in zip(rows[0], cells, strict=True)]
    numeric = [all(isinstance(row[name], int | float) for row in rows) for name in rows[0]]
    gap = 2 if sum(map(_longest_word, columns)) + 2 * (len(columns) - 1) <= room else 1
    table = Table(
        box=None, padding=(0, gap, 0, 0), pad_edge=False, title=label, title_justify="left", title_style="bold"
    )
    widths = _widths(columns, numeric, room - gap * (len(columns) - 1))
    for (header, *_), width in zip(columns, widths, strict=True):
        table.add_column(header, overflow="fold", width=width)
    for row in zip(*cells, strict=True):
        table.add_row(*map(Text, row))
    return table


def _cell(name: str, value: Any) -> str:
    """Return a value as text; a P value is never 0."""
    return "< 1e-300" if name.endswith("pvalue") and isinstance(value, float) and value < 1e-300 else _text(value)


def _plain(names: list[str]) -> list[str]:
    """Return names without the identifiers of OpenGWAS, "BMI || id:ieu-a-2", unless these tell them apart."""
    short = [name.partition(" || id:")[0] for name in names]
    return short if len(set(short)) == len(set(names)) else names


def _longest_word(texts: list[str]) -> int:
    return max(cell_len(word) for text in texts for word in text.split() or [""])


def _widths(columns: list[list[str]], numeric: list[bool], room: int) -> list[int | None]:
    """Share a width out: whole words of the headers first, numbers, then words, then whole cells, narrow ones first."""
    widths = [_longest_word(column[:1]) for column in columns]
    if sum(widths) > room:
        return [None] * len(columns)
    for goal in (list(map(_longest_word, columns)), [max(map(cell_len, column)) for column in columns]):
        for k in sorted(range(len(columns)), key=lambda k: (not numeric[k], goal[k] - widths[k])):
            widths[k] += max(0, min(goal[k] - widths[k], room - sum(widths)))
    return list(widths)


def _room() -> int | None:
    """Return the width of tables: that of the terminal, and where there is none a wide one, for no reader folds it."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
    return str(value)


def _unknown_command(argv: list[str]) -> str | None:
    """Say what was probably meant; Cyclopts would import every command to find out."""
    verbs = list(dict.fromkeys(name.split()[0] for name in COMMANDS))
    word = next((token for token in argv if not token.startswith("-")), None)
    if word is None or word in verbs:
        return None
    near = difflib.get_close_matches(word, verbs, n=1)
    return f"deepmr has no command {word!r}; " + (f"did you mean {near[0]!r}?" if near else "see deepmr --help")


def _once() -> Callable[[logging.LogRecord], bool]:
    """Return a filter that lets every warning through once: many methods have the same to say of one table."""
    said: set[str] = set()

    def new(record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        text = record.getMessage()
        fresh = text not in said
        said.add(text)
        return fresh

    return new


def configure_logging(*, quiet: bool, verbose: bool) -> None:
    """Send the library's log to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
    handler.addFilter(_once())
    log.handlers[:] = [handler]
    log.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    log.propagate = False


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(execute(sys.argv[1:] if argv is None else argv))


def execute(argv: list[str]) -> int:
    """Run the command line and return the exit code."""
    unknown = _unknown_command(argv)
    if unknown:
        Console(stderr=True).print(unknown, markup=False, highlight=False)
        return USAGE
    app = build_app()

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        json_: Annotated[bool, Parameter(name="--json", negative=(), help="Print the summary as JSON.")] = False,
        quiet: Annotated[bool, Parameter(negative=(), help="Log warnings only.")] = False,
        verbose: Annotated[bool, Parameter(negative=(), help="Log details; show a traceback on failure.")] = False,
    ) -> int:
        configure_logging(quiet=quiet, verbose=verbose)
        try:
            summary = app(tokens, exit_on_error=False, result_action="return_value")
        except DeepMRError as error:
            if verbose:
                traceback.print_exc()
            log.error("%s", error)
            return error.exit_code
        except KeyboardInterrupt:
            log.error("interrupted; run the same command again, which goes on where it can")
            return INTERRUPTED
        except (OSError, MemoryError) as error:
            if verbose:
                traceback.print_exc()
            log.error("%s: %s", type(error).__name__, error)
            return 1
        if isinstance(summary, dict) and summary:
            if json_:
                Console(soft_wrap=True).print_json(json.dumps(summary, default=str), indent=2)
            else:
                show(summary, Console(width=_room()))
        return 0

    try:
        result = app.meta(argv, exit_on_error=False, result_action="return_value")
    except CycloptsError:
        return USAGE  # Cyclopts has printed what is wrong and what was meant
    return result if isinstance(result, int) else 0
