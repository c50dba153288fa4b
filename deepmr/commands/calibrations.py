"""Calibrations as commands take them: one of levels, one on labelled edits, or both."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from deepmr.commands.source import Source
from deepmr.errors import InputError
from deepmr.io.labelled_calibration import read_any_calibration
from deepmr.io.provenance import file_sha256
from deepmr.ism.calibration import Calibration, sequence_digests
from deepmr.labelled import LabelledCalibration
from deepmr.types import Estimates

log = logging.getLogger(__name__)
Pair = tuple[str, str]
NO_LABELS = "the calibration has none of them (deepmr calibrate --method)"
SMALL = 0.05  # share of the mean effect that is no difference
UNLIKE = 0.5  # standard deviations between the mean slopes of labelled and analysed loci that are worth a warning


def read_calibrations(
    paths: Path | Sequence[Path] | None,
) -> tuple[Calibration | None, LabelledCalibration | None]:
    """Read at most one calibration of levels and one on labelled edits.

    Parameters
    ----------
    paths : a file or several; what a file is, it says itself.

    Raises
    ------
    InputError
        When two are of one kind, or the one on labelled edits rests on another calibration of levels.
    """
    of_levels: tuple[Calibration, Path] | None = None
    labelled: tuple[LabelledCalibration, Path] | None = None
    for path in [paths] if isinstance(paths, Path) else list(paths or ()):
        found = read_any_calibration(path)
        taken = labelled if isinstance(found, LabelledCalibration) else of_levels
        if taken is not None:
            kind = "on labelled edits" if isinstance(found, LabelledCalibration) else "of levels"
            raise InputError(f"--calibration: {taken[1]} and {path} are both calibrations {kind}; needed one")
        if isinstance(found, LabelledCalibration):
            labelled = found, path
        else:
            of_levels = found, path
    if labelled is not None:
        wanted = labelled[0].level_calibration
        given = "" if of_levels is None else file_sha256(of_levels[1])
        if wanted != given:
            rests = "no calibration of levels" if not wanted else "another calibration of levels"
            hint = (
                "give the same one here"
                if wanted
                else "make it anew with --level-calibration, or leave the calibration of levels out"
            )
            raise InputError(f"{labelled[1]}: the slopes of the labelled loci rest on {rests}: {hint}")
    return (None if of_levels is None else of_levels[0]), (None if labelled is None else labelled[0])


def named(calibration: Path | list[Path] | None) -> dict[str, Path]:
    """Name the files of calibrations for the record; the first as ever.

    Parameters
    ----------
    calibration : a file, several or none.
    """
    files = [calibration] if isinstance(calibration, Path) else list(calibration or ())
    return {"calibration" if k == 0 else f"calibration_{k + 1}": path for k, path in enumerate(files)}


def check_apart(source: Source, calibration: Calibration | LabelledCalibration, *, allow_overlap: bool) -> None:
    """Raise `InputError` when a calibration was made with other members, or on loci that are to be analysed.

    Parameters
    ----------
    source : effects to analyse.
    calibration : of either kind.
    allow_overlap : accept loci that it was fitted to.
    """
    loci, digests, members = calibration.loci, calibration.digests, calibration.members
    file = source.file
    found = set() if file is None else set(file.members["sha256"]) - {""}
    if found and any(members) and set(members) != found:
        raise InputError("the calibration was made with another ensemble: the checksums of the members differ")
    # Bases tell more than names; a table of effects has names only.
    keys, used = (source.loci, loci) if file is None else (sequence_digests(file.sequences), digests)
    known = set(used)
    shared = [locus for locus, key in zip(source.loci, keys, strict=True) if key in known]
    if shared and not allow_overlap:
        raise InputError(
            f"{len(shared)} of {len(source.loci)} loci were used for the calibration, first {shared[0]}; calibrate on "
            "other held-out sequences, or accept it with --allow-overlap"
        )


def warn_of_pairs(estimates: Estimates, labelled: LabelledCalibration) -> dict[Pair, str]:
    """Log which methods and pairs stay in the model, and where labelled loci or units are unlike those analysed.

    Parameters
    ----------
    estimates : effects in the model.
    labelled : what labels say.

    Returns
    -------
    A sentence or two for each pair, exposure and outcome, whose labelled loci are unlike those analysed, or whose
    labels may be in another unit: tables and pages made from these effects repeat it, as their intervals do not hold
    that error.
    """
    unlike: dict[Pair, list[str]] = {}
    numbers: dict[Pair, str] = {}
    left: dict[str, dict[str, list[str]]] = {}  # methods and their pairs, by reason
    calibrated: dict[Pair, None] = {}
    for key, rows in estimates.table.groupby(["method", "exposure", "outcome"], sort=False):
        method, exposure, outcome = (str(name) for name in key)
        pair = labelled.find(method, exposure, outcome)
        if pair is None:
            reason = labelled.skipped.get(f"{method}: {exposure} on {outcome}", NO_LABELS)
            left.setdefault(reason, {}).setdefault(method, []).append(f"{exposure} on {outcome}")
            continue
        calibrated[exposure, outcome] = None
        slopes = rows["beta"].to_numpy(float)
        if _apart(pair.slope, slopes):
            unlike.setdefault((exposure, outcome), []).append(method)
            numbers.setdefault((exposure, outcome), f"{pair.slope.mean():.3g} there and {slopes.mean():.3g} here")
    for reason, by_method in left.items():
        log.warning("%s stay effects in the model: %s", _listed(by_method), reason)
    said: dict[Pair, str] = {}
    for one in calibrated:
        sentences = []
        if one in unlike:
            sentences.append(
                f"{' → '.join(one)} ({', '.join(unlike[one])}): the labelled loci are unlike those analysed: mean "
                f"effect in the model {numbers[one]}. The calibrated effect takes their shift, which may not hold "
                "here, and its interval does not know of that (deepmr calibrate --where picks labelled loci)."
            )
        sentences += [f"{' → '.join(one)}: {labelled.units[task]}." for task in one if task in labelled.units]
        if sentences:
            said[one] = " ".join(sentences)
    for sentence in said.values():
        log.warning("%s", sentence)
    return said


def _listed(by_method: Mapping[str, Sequence[str]]) -> str:
    """Name methods with their pairs, methods of the same pairs together."""
    together: dict[tuple[str, ...], list[str]] = {}
    for method, pairs in by_method.items():
        together.setdefault(tuple(pairs), []).append(method)
    return "; ".join(f"{', '.join(methods)} ({', '.join(pairs)})" for pairs, methods in together.items())


def _apart(labelled: Float[np.ndarray, "labelled"], analysed: Float[np.ndarray, "analysed"]) -> bool:
    """Say whether mean effects in the model differ by more than chance, by much of their scatter, and in size."""
    apart = abs(float(analysed.mean() - labelled.mean()))
    spread = float(np.sqrt((np.var(analysed) + np.var(labelled)) / 2))
    error = float(np.sqrt(np.var(analysed) / len(analysed) + np.var(labelled) / len(labelled)))
    return apart > max(UNLIKE * spread, 3 * error, SMALL * abs(float(analysed.mean())))
