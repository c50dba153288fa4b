"""Effects of loci with their known errors and their contexts: what contextual Mendelian randomization starts from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks, schema
from deepmr.contexts import ContextData
from deepmr.contextual.shared_errors import factor_df, split_errors
from deepmr.errors import InputError
from deepmr.types import Estimand, Estimates

_PAIR = ["method", "exposure", "outcome", "estimand"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocusEffects:
    """Causal effects of loci, b_l = truth_l + e_l with Cov(e) = diag(se^2) + F'F known, and contexts of the loci.

    Attributes
    ----------
    loci : names.
    beta : effects.
    se : standard errors of what is each locus's own, positive.
    contexts : a column a context, in any unit.
    chrom : chromosome of each locus, empty where unknown: blocks for held-out predictions.
    df : degrees of freedom of each `se`, infinite where it is known; None where all are.
    f_statistic : strength of the instruments of each locus, positive; None where unknown.
    context_se : known standard errors of the contexts, 0 where one is exact; None where all are exact.
    error_factors : F, a row a factor: errors that loci share, as those of ensemble members; None where there are none.
    error_df : degrees of freedom of F'F, members less one; infinite where it is known.
    """

    loci: tuple[str, ...]
    beta: Float[np.ndarray, "loci"]
    se: Float[np.ndarray, "loci"]
    contexts: Float[np.ndarray, "loci contexts"]
    context_names: tuple[str, ...]
    chrom: tuple[str, ...]
    df: Float[np.ndarray, "loci"] | None = None
    f_statistic: Float[np.ndarray, "loci"] | None = None
    context_se: Float[np.ndarray, "loci contexts"] | None = None
    error_factors: Float[np.ndarray, "factors loci"] | None = None
    error_df: float = np.inf
    method: str = ""
    exposure: str = "exposure"
    outcome: str = "outcome"
    estimand: Estimand = "population"

    def __post_init__(self) -> None:
        n = len(self.loci)
        if n == 0:
            raise InputError("effects of at least one locus are needed; got none")
        checks.unique("loci", self.loci)
        checks.unique("names of contexts", self.context_names)
        checks.shape("contexts", self.contexts, (n, len(self.context_names)))
        if len(self.chrom) != n:
            raise InputError(f"chrom needs one name a locus, {n}; got {len(self.chrom)}")
        for name in ("beta", "se", "df", "f_statistic"):
            values = getattr(self, name)
            if values is not None:
                checks.shape(name, values, (n,))
                if name != "df":
                    checks.finite(name, values)
                if name != "beta":
                    checks.positive(name, values)
        for column, label in zip(self.contexts.T, self.context_names, strict=True):
            checks.finite(f"context {label!r}", column)
        if self.context_se is not None:
            checks.shape("context_se", self.context_se, self.contexts.shape)
            checks.finite("context_se", self.context_se)
            checks.non_negative("context_se", self.context_se)
        if self.error_factors is not None:
            checks.shape("error_factors", self.error_factors, (len(self.error_factors), n))

    def __len__(self) -> int:
        return len(self.loci)

    @property
    def total_se(self) -> Float[np.ndarray, "loci"]:
        """Standard errors with the part that loci share."""
        shared = 0.0 if self.error_factors is None else (self.error_factors**2).sum(axis=0)
        total: np.ndarray = np.sqrt(self.se**2 + shared)
        return total

    def take(self, index: Any) -> "LocusEffects":
        """Return the loci that a boolean mask or an array of positions selects."""
        rows = np.arange(len(self))[index]
        return replace(
            self,
            loci=tuple(self.loci[i] for i in rows),
            beta=self.beta[rows],
            se=self.se[rows],
            contexts=self.contexts[rows],
            chrom=tuple(self.chrom[i] for i in rows),
            df=None if self.df is None else self.df[rows],
            f_statistic=None if self.f_statistic is None else self.f_statistic[rows],
            context_se=None if self.context_se is None else self.context_se[rows],
            error_factors=None if self.error_factors is None else self.error_factors[:, rows],
        )

    def pick_contexts(self, names: Sequence[str]) -> "LocusEffects":
        """Return the same loci with some of their contexts, in this order."""
        for name in names:
            checks.one_of("context", name, self.context_names)
        where = [self.context_names.index(name) for name in names]
        return replace(
            self,
            contexts=self.contexts[:, where],
            context_names=tuple(names),
            context_se=None if self.context_se is None else self.context_se[:, where],
        )

    def as_data(self) -> ContextData:
        """Return effects as outcomes without predictors; of their errors what each locus has for itself."""
        return ContextData(
            contexts=self.contexts,
            predictors=np.zeros((len(self), 0)),
            outcomes=self.beta[:, None],
            context_names=self.context_names,
            predictor_names=(),
            outcome_names=("beta",),
            se_outcome=self.se[:, None],
            context_se=self.context_se,
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row a locus: locus, chrom, beta, se (with what loci share), then the contexts."""
        frame = pd.DataFrame({"locus": self.loci, "chrom": self.chrom, "beta": self.beta, "se": self.total_se})
        return pd.concat([frame, pd.DataFrame(self.contexts, columns=list(self.context_names))], axis=1)


def locus_effects_from(
    estimates: Estimates, contexts: pd.DataFrame, *, names: Sequence[str] | None = None
) -> tuple[LocusEffects, pd.DataFrame]:
    """Match effects of loci with their contexts.

    Parameters
    ----------
    estimates : one row a locus, of one method and one pair of traits.
    contexts : a row a locus: `locus`, numbers, a column a context, and where there are `chrom` and `<context>_se`, the
        known standard error of a predicted context.
    names : which columns are contexts; every column of numbers but those where none are named.

    Returns
    -------
    The effects, and what is left out, with columns of `schema.SKIPPED`: loci without an estimate, a row of contexts, or
    a number in one of them.

    Raises
    ------
    InputError
        For several methods or pairs, a locus that is there twice, a column that is not there or holds no numbers, and
        fewer than three loci that match.

    Notes
    -----
    Of the errors that ensemble members share, F (a row a member), the part that all loci have alike, and the part
    linear in contexts, would pass for an effect of context: both are kept as `error_factors`, a row a direction (ones,
    and the principal directions of contexts), with the size that the members give it. The rest is a locus's own; its
    variance, that few members tell poorly, is moderated over loci (`deepmr.inference.moderate_variances`) and added to
    `se`, which counts as known. Taken as F'F, that rest would leave most of itself to tau, as a few members span a few
    directions.
    """
    about = _one_group(estimates)
    twice = estimates.table["locus"].astype(str).duplicated()
    if twice.any():
        raise InputError(
            f"effects must have one row a locus; {estimates.table['locus'][twice].iloc[0]!r} is there twice"
        )
    pair = estimates.table[_PAIR[:3]].iloc[0]
    skipped = estimates.skipped[(estimates.skipped[_PAIR[:3]] == pair).all(axis=1)]
    values, names, reason = contexts_of(tuple(estimates.table["locus"].astype(str)), contexts, names)
    keep = reason == ""
    left = estimates.table.loc[~keep, [*_PAIR[:3], "locus"]].assign(reason=reason[~keep])
    said = pd.concat([skipped, left], ignore_index=True)[list(schema.SKIPPED)]
    if keep.sum() < 3:
        why = said["reason"].value_counts().index[0] if len(said) else "there are no more"
        there = contexts["locus"].astype(str)
        names = ""
        if len(there) and not estimates.table["locus"].astype(str).isin(there).any():
            names = f"; effects are of loci such as {estimates.table['locus'].iloc[0]!r}, contexts of {there.iloc[0]!r}"
        raise InputError(f"effects of at least 3 loci with contexts are needed; got {int(keep.sum())} ({why}){names}")
    factors = None if estimates.error_factors is None else estimates.error_factors[:, keep]
    table, values = estimates.table[keep].reset_index(drop=True), values[keep]
    beside = _beside(table["locus"], contexts)
    errors = _context_errors(beside, names)
    se, shared = split_errors(table, factors, values)
    made = LocusEffects(
        loci=tuple(table["locus"].astype(str)),
        beta=table["beta"].to_numpy(float),
        se=se,
        contexts=values,
        context_names=names,
        chrom=_chromosomes(beside),
        df=_optional(table, "df") if shared is None else None,
        f_statistic=_optional(table, "f_statistic"),
        context_se=errors if errors.any() else None,
        error_factors=shared,
        error_df=np.inf if factors is None else factor_df(factors),
        **about,
    )
    return made, said


def _one_group(estimates: Estimates) -> dict[str, Any]:
    groups = estimates.table[_PAIR].drop_duplicates()
    if len(groups) != 1:
        listed = "; ".join(f"{row.method}: {row.exposure} -> {row.outcome}" for row in groups.head(4).itertuples())
        raise InputError(f"effects must be of one method and one pair of traits; got {len(groups)} ({listed})")
    return dict(groups.iloc[0])


def contexts_of(
    loci: Sequence[str], contexts: pd.DataFrame, names: Sequence[str] | None = None
) -> tuple[Float[np.ndarray, "loci contexts"], tuple[str, ...], np.ndarray]:
    """Return contexts of loci by name, which columns they are, and why a locus has none; empty where it has.

    Parameters
    ----------
    loci : names.
    contexts, names : as for `locus_effects_from`.

    Raises
    ------
    InputError
        For a locus that is there twice, and a column that is not there or holds no numbers.
    """
    checks.columns("contexts", contexts.columns, ["locus"])
    twice = contexts["locus"].astype(str).duplicated()
    if twice.any():
        raise InputError(f"contexts must have one row a locus; {contexts['locus'][twice].iloc[0]!r} is there twice")
    columns = _numbers(contexts) if names is None else tuple(names)
    checks.columns("contexts", contexts.columns, columns)
    if not columns:
        raise InputError("contexts need at least one column of numbers beside locus; there is none")
    beside = _beside(loci, contexts)
    values, errors = _numeric(beside, columns), _context_errors(beside, columns)
    known = np.isin(np.array(loci, dtype=str), contexts["locus"].astype(str).to_numpy(str))
    reason = np.where(known, "", "no row in the table of contexts").astype(object)
    for name, column, error in zip(columns, values.T, errors.T, strict=True):
        reason[(reason == "") & ~np.isfinite(column)] = f"context {name!r} has no number"
        reason[(reason == "") & ~np.isfinite(error)] = f"context {name!r} has no standard error"
    return values, columns, reason


def _beside(loci: Any, contexts: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of contexts in the order of loci, empty ones where there is none."""
    table = contexts.assign(locus=contexts["locus"].astype(str)).set_index("locus")
    names = [str(locus) for locus in loci]
    return table.reindex(names).copy().reset_index(names="locus")  # in one piece: contexts may be hundreds


def _numbers(contexts: pd.DataFrame) -> tuple[str, ...]:
    places = {"locus", "chrom", "start", "end", "pos"}
    found = [str(c) for c in contexts.columns if c not in places and pd.api.types.is_numeric_dtype(contexts[c])]
    return tuple(name for name in found if not (name.endswith("_se") and name.removesuffix("_se") in found))


def _numeric(table: pd.DataFrame, names: Sequence[str]) -> Float[np.ndarray, "loci contexts"]:
    columns = []
    for name in names:
        column = table[name]
        made = pd.to_numeric(column, errors="coerce")
        bad = column[made.isna() & column.notna()]
        if len(bad):
            raise InputError(
                f"context {name!r} must be numbers; got {bad.iloc[0]!r} at locus {table['locus'][bad.index[0]]}"
            )
        columns.append(made.to_numpy(float))
    return np.column_stack(columns)


def _context_errors(table: pd.DataFrame, names: Sequence[str]) -> Float[np.ndarray, "loci contexts"]:
    errors = np.zeros((len(table), len(names)))
    for k, name in enumerate(names):
        if f"{name}_se" in table.columns:
            errors[:, k] = _numeric(table, [f"{name}_se"])[:, 0]
    return errors


def _chromosomes(table: pd.DataFrame) -> tuple[str, ...]:
    if "chrom" not in table.columns:
        return ("",) * len(table)
    return tuple(table["chrom"].fillna("").astype(str))


def _optional(table: pd.DataFrame, name: str) -> Float[np.ndarray, "loci"] | None:
    """Return a column of the estimates that may not be there, or be empty in part."""
    if name not in table.columns:
        return None
    values = table[name].to_numpy(float)
    if name == "df":
        values = np.where(np.isnan(values) | (values <= 0), np.inf, values)
        return values if np.isfinite(values).any() else None
    return values if (np.isfinite(values) & (values > 0)).all() else None
