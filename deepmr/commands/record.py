"""What is recorded beside a table: how it was made."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EVERY = ("*", "*")  # in place of a pair: what is warned of holds for the whole table
UNASSIGNED = (
    "The estimates were made with --assign none: wherever sites of one mark move another mark too, effects come out in "
    "both directions, with small P values, also where there is none; run deepmr mr --assign most before you believe a "
    "direction."
)


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


def recorded_warnings(warnings: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Return what a record says of warnings; nothing where there is none.

    Parameters
    ----------
    warnings
        A sentence a pair, by exposure and outcome.
    """
    rows = [{"exposure": pair[0], "outcome": pair[1], "sentence": said} for pair, said in warnings.items()]
    return {"warnings": rows} if rows else {}


def warnings_beside(path: Path) -> dict[tuple[str, str], str]:
    """Return what the command that wrote a table warned of: what is made from the table has to say so too.

    Parameters
    ----------
    path
        The table.

    Returns
    -------
    dict
        A sentence a pair, by exposure and outcome.
    """
    found = record_beside(path).get("warnings", [])
    return {(str(one["exposure"]), str(one["outcome"])): str(one["sentence"]) for one in found}


def recorded_assignment(record: Mapping[str, Any]) -> dict[str, str]:
    """Return how edits were assigned to tasks, ready for the record of what is made from a table; nothing if unknown.

    Parameters
    ----------
    record : beside the table of deepmr mr, or of what was made from it. GWAS results have no such choice.
    """
    if "assign" in record:
        return {"assign": str(record["assign"])}
    if "effects" not in record.get("inputs", {}):
        return {}
    return {"assign": str(record.get("options", {}).get("assign", "none"))}


def unassigned(record: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the warning that effects in both directions need, where edits were not assigned to tasks.

    Parameters
    ----------
    record : as for `recorded_assignment`.
    """
    return {EVERY: UNASSIGNED} if recorded_assignment(record).get("assign") == "none" else {}
