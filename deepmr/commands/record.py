"""What is recorded beside a table: how it was made."""

import json
from pathlib import Path
from typing import Any


def record_beside(path: Path) -> dict[str, Any]:
    """Return what is recorded beside a table; nothing where there is no such file.

    Parameters
    ----------
    path
        The table.
    """
    try:
        record = json.loads(path.with_name(path.name + ".json").read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def warnings_beside(path: Path) -> list[str]:
    """Return what the command that wrote a table warned of, a sentence each: what is made from it has to say so too.

    Parameters
    ----------
    path
        The table.
    """
    found = record_beside(path).get("warnings", [])
    return [str(one) for one in found] if isinstance(found, list) else []
