"""Whether the parts of a page were made from the page's own tables: what is recorded beside each says so."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MADE_OF = {  # of each part: the input whose checksum is compared, what of the page it may be, and what to say
    "meta": (
        "estimates",
        ("estimates",),
        "The global effects were pooled from another table than those at single loci: run deepmr meta again.",
    ),
    "diagnostics": (
        "estimates",
        ("estimates",),
        "The diagnostics ({name}) are of another table of estimates than this page: run deepmr diagnose again.",
    ),
    "network": (
        "estimates",
        ("estimates", "meta"),
        "The network ({name}) was made from another table of estimates than this page: run deepmr network again.",
    ),
    "seqlets": (
        "effects",
        ("effects",),
        "The sites ({name}) were estimated from other effects than this page: run deepmr seqlets again.",
    ),
    "thresholds": (
        "effects",
        ("effects",),
        "The thresholds ({name}) were tried on other effects than this page: run deepmr thresholds again.",
    ),
}


def other_origins(
    records: Mapping[str, Mapping[str, Any]], *, files: Mapping[str, Path | None], page: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a sentence for every part that is recorded to come from other tables than the page's.

    Parameters
    ----------
    records : how each part was made, by its option; nothing is said of a part without a record.
    files : of the parts, by option.
    page : the inputs that are recorded for the page: path and checksum, by option.
    """
    for name, (source, mine, said) in MADE_OF.items():
        path = files.get(name)
        used = _checksum(records.get(name, {}).get("inputs", {}), source)
        if path is not None and used and used not in {_checksum(page, one) for one in mine}:
            yield said.format(name=path.name)


def made_of_page(record: Mapping[str, Any], *, page: Mapping[str, Any]) -> bool:
    """Return whether a network is recorded to come from the page's estimates or from the effects pooled of them.

    Parameters
    ----------
    record : beside the network.
    page : as for `other_origins`.
    """
    used = _checksum(record.get("inputs", {}), "estimates")
    return bool(used) and used in {_checksum(page, one) for one in MADE_OF["network"][1]}


def _checksum(inputs: Mapping[str, Any], name: str) -> str | None:
    found = inputs.get(name)
    return found.get("sha256") if isinstance(found, Mapping) else None
