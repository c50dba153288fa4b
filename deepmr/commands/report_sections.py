"""The parts of a page that have files of their own: what `deepmr report` shows where they are given."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.tables import numbers, read_table
from deepmr.report.content import Section
from deepmr.report.sections import table_section
from deepmr.report.spacing import spacing_effects, spacing_section
from deepmr.types import Estimates

MAX_DISTANCES = 6  # buckets of distance


def extra_sections(files: Mapping[str, Path | None], *, local: Estimates, leading: str) -> tuple[Section, ...]:
    """Read the files that were given and return their parts of the page, in the order in which a reader asks.

    Parameters
    ----------
    files : by option; None for one that was not given.
    local : effects at single loci.
    leading : the method that the page leads with.
    """
    found = []
    for name, build in _BUILDERS.items():
        path = files.get(name)
        if path is not None:
            found.append(build(path, local, leading))
    return tuple(found)


def _spacing(path: Path, local: Estimates, leading: str) -> Section:
    frame = _columns(path, "distances", ("locus", "distance"))
    frame = frame.assign(distance=numbers(path, frame, "distance", missing="unknown")).dropna(subset="distance")
    try:
        return spacing_section(spacing_effects(local, frame, method=leading, n_buckets=MAX_DISTANCES), name=path.name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _thresholds(path: Path, local: Estimates, leading: str) -> Section:
    needed = ("rule", "threshold", "exposure", "outcome", "method", "beta", "ci_low", "ci_high", "n_loci", "estimand")
    return table_section(
        _columns(path, "thresholds", needed),
        anchor="thresholds",
        title="Other rules for the instruments",
        caption=f"Effects by the rule that chooses instruments and its threshold ({path.name}).",
    )


def _seqlets(path: Path, local: Estimates, leading: str) -> Section:
    return table_section(
        _columns(path, "seqlets", ("exposure", "outcome", "locus", "start", "end", "beta", "verdict", "estimand")),
        anchor="seqlets",
        title="Which sites carry the effect",
        caption=f"Effects of single sites, seqlets ({path.name}).",
    )


def _network(path: Path, local: Estimates, leading: str) -> Section:
    return table_section(
        _columns(path, "network", ("exposure", "outcome", "estimand")),
        anchor="network",
        title="Direct and total effects",
        caption=f"Direct effects of each mark on each other ({path.name}).",
    )


def _columns(path: Path, what: str, needed: tuple[str, ...]) -> pd.DataFrame:
    frame = read_table(path)
    try:
        checks.columns(what, frame.columns, needed)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return frame


Builder = Callable[[Path, Estimates, str], Section]
_BUILDERS: dict[str, Builder] = {
    "network": _network,
    "seqlets": _seqlets,
    "spacing": _spacing,
    "thresholds": _thresholds,
}
