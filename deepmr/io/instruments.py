"""Tables of instruments, as `deepmr mr --save-instruments` writes them: read back into the core type."""

import re
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from deepmr import schema
from deepmr.errors import InputError
from deepmr.io.tables import numbers, read_table
from deepmr.types import Estimand, Instruments

EFFECTS = ("beta_exposure", "se_exposure", "beta_outcome", "se_outcome")
OPTIONAL = ("n_exposure", "n_outcome", "error_corr", "eaf")  # empty where a pair does not have them
_FACTOR = re.compile(r"factor_(\d+)_(exposure|outcome)")


def read_instruments(path: str | Path, *, several: bool = False) -> list[Instruments]:
    """Read a table of instruments: one object a pair of traits, in the order of the table.

    Parameters
    ----------
    path
        Table (TSV or Parquet) with the columns exposure, outcome, locus, variant_id, beta_exposure, se_exposure,
        beta_outcome and se_outcome. Others that are known are read where they are there: alleles and positions, eaf,
        n_exposure and n_outcome, estimand (default population), error_corr, and factor_0_exposure, factor_0_outcome,
        ..., the errors that ensemble members share; a column may be empty for a pair that lacks it. Others are ignored.
    several
        Accept a table of several exposures at once, with beta_exposure_<trait> and se_exposure_<trait> of each.

    Raises
    ------
    InputError
        When a column is missing or holds something that is not a number, or a variant occurs twice in a locus.

    Notes
    -----
    Loci without an instrument are not in such a table, nor is a correlation of the instruments.
    """
    path = Path(path)
    frame = read_table(path)
    traits = [name.removeprefix("beta_exposure_") for name in frame.columns if name.startswith("beta_exposure_")]
    traits = [] if "beta_exposure" in frame else traits
    effects = (
        (*(f"{what}_exposure_{t}" for t in traits for what in ("beta", "se")), *EFFECTS[2:]) if traits else EFFECTS
    )
    needed = ("exposure", "outcome", "locus", "variant_id", *(effects if several else EFFECTS))
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        hint = "; tables of several exposures at once cannot be used here" if traits and not several else ""
        raise InputError(f"{path}: not a table of instruments: the column(s) {', '.join(missing)} are missing{hint}")
    if frame.empty:
        raise InputError(f"{path}: holds no instruments")
    factors = sorted((m for m in map(_FACTOR.fullmatch, frame.columns) if m), key=lambda m: (int(m[1]), m[2]))
    _check_names(path, frame)
    optional = [name for name in (*OPTIONAL, *(m[0] for m in factors)) if name in frame]
    for name in (*effects, *optional):
        frame[name] = numbers(path, frame, name, missing="not given" if name in optional else None)
    for name in (*(n for n in effects if n.startswith("se_")), "n_exposure", "n_outcome"):
        if name in frame and (bad := (frame[name] <= 0).to_numpy()).any():
            row = int(np.argmax(bad))
            raise InputError(f"{path}: line {row + 2}, column {name!r}: {frame[name].iloc[row]:g} is not above 0")
    for name in (n for n in optional if n != "eaf"):
        _check_whole(path, frame, name)
    return [_pair(path, part, tuple(traits)) for _, part in frame.groupby(["exposure", "outcome"], sort=False)]


def _check_names(path: Path, frame: pd.DataFrame) -> None:
    for name in ("exposure", "outcome", "locus", "variant_id"):
        empty = (frame[name].astype(str).str.strip() == "").to_numpy()
        if empty.any():
            raise InputError(f"{path}: line {int(np.argmax(empty)) + 2}, column {name!r}: is empty")
    twice = frame.duplicated(["exposure", "outcome", "locus", "variant_id"]).to_numpy()
    if twice.any():
        row = int(np.argmax(twice))
        raise InputError(f"{path}: line {row + 2}: the variant {frame['variant_id'].iloc[row]!r} is there twice")


def _check_whole(path: Path, frame: pd.DataFrame, name: str) -> None:
    """Raise `InputError` when a column is given for some instruments of a pair and empty for others."""
    empty = frame[name].isna()
    whole = empty.groupby([frame["exposure"], frame["outcome"]]).transform("all")
    if (bad := (empty & ~whole).to_numpy()).any():
        raise InputError(
            f"{path}: line {int(np.argmax(bad)) + 2}, column {name!r}: is empty, but not for other instruments of the "
            "pair"
        )


def _pair(path: Path, frame: pd.DataFrame, traits: tuple[str, ...]) -> Instruments:
    loci = list(dict.fromkeys(frame["locus"]))
    place = frame["locus"].map({locus: i for i, locus in enumerate(loci)}).to_numpy(int)
    order = np.argsort(place, kind="stable")  # rows of a locus need not lie together
    frame, place = frame.iloc[order].reset_index(drop=True), place[order]
    unknown = [n for n in frame if (n in OPTIONAL[:3] or _FACTOR.fullmatch(str(n))) and frame[n].isna().all()]
    frame = frame.drop(columns=unknown)  # known for other pairs of the table

    def columns(what: str) -> list[str]:
        return [f"{what}_exposure_{trait}" for trait in traits] or [f"{what}_exposure"]

    exposure, outcome = str(frame["exposure"].iloc[0]), str(frame["outcome"].iloc[0])
    variants = frame.reindex(columns=[*schema.VARIANTS, *(n for n in ("eaf",) if n in frame)], fill_value="")
    if "pos" in frame:
        variants["pos"] = pd.to_numeric(frame["pos"], errors="coerce").fillna(-1).astype(np.int64)
    last = 1 + max((int(m[1]) for m in map(_FACTOR.fullmatch, frame.columns) if m), default=-1)
    shared = None
    if last:
        names = [[f"factor_{i}_{trait}" for trait in ("exposure", "outcome")] for i in range(last)]
        gone = [name for pair in names for name in pair if name not in frame]
        if gone:
            raise InputError(f"{path}: the errors that members share are incomplete: the column {gone[0]} is missing")
        shared = np.stack([frame[pair].to_numpy(float) for pair in names])
    estimands = frame["estimand"].unique().tolist() if "estimand" in frame else ["population"]
    if len(estimands) > 1 or estimands[0] not in ("model", "calibrated", "population"):
        raise InputError(
            f"{path}: estimand must be one of model, calibrated, population, the same for a pair; got "
            f"{', '.join(map(repr, estimands))}"
        )
    overlap = float(frame["error_corr"].iloc[0]) if "error_corr" in frame else None
    sizes = all(name in frame for name in ("n_exposure", "n_outcome"))
    return Instruments(
        loci=tuple(map(str, loci)),
        offsets=np.searchsorted(place, np.arange(len(loci) + 1)),
        exposures=traits or (exposure,),
        outcome=outcome,
        variants=variants,
        beta_exposure=frame[columns("beta")].to_numpy(float),
        se_exposure=frame[columns("se")].to_numpy(float),
        beta_outcome=frame["beta_outcome"].to_numpy(float),
        se_outcome=frame["se_outcome"].to_numpy(float),
        error_factors=shared,
        error_corr=None if overlap is None else np.array([[1.0, overlap], [overlap, 1.0]]),
        n=frame[["n_exposure", "n_outcome"]].to_numpy(float) if sizes else None,
        estimand=cast(Estimand, estimands[0]),
    )
