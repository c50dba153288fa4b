"""Samples that have a value in every column that is used, as `IVData`, and counts of the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr.errors import InputError
from deepmr.individual import IVData, OutcomeType
from deepmr.io.iv_genotypes import Joined

Roles = Mapping[str, Sequence[str]]  # columns by role: exposure, outcome, instrument, covariate, weight, cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCounts:
    """What became of the rows of a table.

    Attributes
    ----------
    n_read : rows of the table.
    n_kept : complete cases.
    missing : rows without a value, by column; a row may lack several.
    imputed : missing values of instruments that were set to the mean, by instrument.
    n_without_genotypes : rows whose sample the genotypes do not have.
    n_unused_genotypes : samples of the genotypes that the table does not have.
    """

    n_read: int
    n_kept: int
    missing: dict[str, int] = field(default_factory=dict)
    imputed: dict[str, int] = field(default_factory=dict)
    n_without_genotypes: int = 0
    n_unused_genotypes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadIVData:
    """Individual-level data and what was left out of them."""

    data: IVData
    counts: SampleCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Genotypes:
    """Dosages of some rows of a table, NaN where a genotype is missing.

    Attributes
    ----------
    joined : which rows.
    names : of the variants.
    dosages : copies of the effect allele.
    """

    joined: Joined
    names: tuple[str, ...]
    dosages: Float[np.ndarray, "joined variants"]


def complete_cases(
    frame: pd.DataFrame,
    roles: Roles,
    *,
    where: str,
    outcome_type: OutcomeType,
    genotypes: Genotypes | None,
    impute: bool,
) -> ReadIVData:
    """Keep the rows that lack nothing, and count the others.

    Parameters
    ----------
    frame : the columns that have a role.
    roles : columns by role; instruments beside those of `genotypes`.
    where : the table, for messages.
    outcome_type : as in `IVData`.
    genotypes : further instruments.
    impute : whether a missing instrument is set to its mean over the rows kept, rather than the row left out.
    """
    n_read = len(frame)
    if genotypes is not None:
        frame = frame.iloc[genotypes.joined.rows]
    names = (*(() if genotypes is None else genotypes.names), *roles["instrument"])
    n_before = len(names) - len(roles["instrument"])

    def instrument(k: int) -> Float[np.ndarray, "_"]:
        return genotypes.dosages[:, k] if genotypes is not None and k < n_before else frame[names[k]].to_numpy()

    plain = [name for role, of in roles.items() if role not in ("instrument", "sample_id") for name in of]
    missing = {name: frame[name].isna().to_numpy() for name in plain}
    if not impute:
        missing |= {name: np.isnan(instrument(k)) for k, name in enumerate(names)}
    kept = np.ones(len(frame), dtype=bool)
    for rows in missing.values():
        kept &= ~rows
    counts = {name: int(rows.sum()) for name, rows in missing.items() if rows.any()}
    if not kept.any():
        worst = max(counts, key=lambda name: counts[name])
        raise InputError(f"{where}: no row is complete; {counts[worst]} of {len(frame)} have no {worst}")
    values = np.empty((int(kept.sum()), len(names)))
    for k in range(len(names)):
        values[:, k] = instrument(k)[kept]
    imputed = _impute(values, names, where=where) if impute else {}
    _check_variation(values, names, where=where)
    return ReadIVData(
        data=_made(frame.loc[kept, plain], roles, names, values, outcome_type=outcome_type, where=where),
        counts=SampleCounts(
            n_read=n_read,
            n_kept=len(values),
            missing=counts,
            imputed=imputed,
            n_without_genotypes=n_read - len(frame),
            n_unused_genotypes=0 if genotypes is None else genotypes.joined.n_unused,
        ),
    )


def _check_variation(values: Float[np.ndarray, "samples instruments"], names: Sequence[str], *, where: str) -> None:
    flat = [k for k, column in enumerate(values.T) if column.min() == column.max()]
    if flat:
        level, others = values[0, flat[0]], f", as do {len(flat) - 1} more instruments" if len(flat) > 1 else ""
        raise InputError(
            f"{where}: instrument {names[flat[0]]!r} must vary; all {len(values)} samples have {level:g}{others}"
        )


def _impute(values: Float[np.ndarray, "samples instruments"], names: Sequence[str], *, where: str) -> dict[str, int]:
    """Set missing values to the mean of their column, in place; return how many by name."""
    imputed = {}
    for name, column in zip(names, values.T, strict=True):
        absent = np.isnan(column)
        if absent.all():
            raise InputError(f"{where}: instrument {name!r} has no value in any of the {len(column)} samples")
        if absent.any():
            column[absent] = column[~absent].mean()
            imputed[name] = int(absent.sum())
    return imputed


def _made(
    frame: pd.DataFrame,
    roles: Roles,
    names: tuple[str, ...],
    instruments: Float[np.ndarray, "samples instruments"],
    *,
    outcome_type: OutcomeType,
    where: str,
) -> IVData:
    def column(role: str) -> Float[np.ndarray, "samples"] | None:
        return frame[roles[role][0]].to_numpy(dtype=float) if role in roles else None

    clusters = None
    if "cluster" in roles:
        clusters = pd.factorize(frame[roles["cluster"][0]].astype(str))[0].astype(np.int64)
        if clusters.max() == 0:
            name, value = roles["cluster"][0], frame[roles["cluster"][0]].iloc[0]
            raise InputError(f"{where}: cluster {name!r} must have two values or more; all samples have {value}")
    try:
        return IVData(
            instruments=instruments,
            exposure=column("exposure"),
            outcome=column("outcome"),
            covariates=np.ascontiguousarray(frame[list(roles["covariate"])].to_numpy(dtype=float)),
            instrument_names=names,
            covariate_names=tuple(roles["covariate"]),
            exposure_name=roles.get("exposure", ("exposure",))[0],
            outcome_name=roles.get("outcome", ("outcome",))[0],
            outcome_type=outcome_type,
            weights=column("weight"),
            clusters=clusters,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
