"""The core types: where the stages meet. Each checks itself once, so that functions below can trust it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, UInt8

from deepmr import checks, inference, schema
from deepmr.errors import InputError

ALPHABET = "ACGT"
MASKED = 4  # code of a position that is no definite base: N or another IUPAC code
_COMPLEMENT = np.array([3, 2, 1, 0, MASKED], dtype=np.uint8)

Scale = Literal["identity", "log", "logit"]
Estimand = Literal["model", "calibrated", "population"]


def reverse_complement(codes: UInt8[np.ndarray, "*batch length"]) -> UInt8[np.ndarray, "*batch length"]:
    """Read the other strand: complement every base and reverse the last axis; masked stays masked."""
    return np.ascontiguousarray(_COMPLEMENT[codes][..., ::-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A genomic mark that a network predicts, and the scale of that output."""

    name: str
    scale: Scale = "identity"

    def __post_init__(self) -> None:
        checks.one_of(f"scale of task {self.name!r}", self.scale, get_args(Scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """Loci of one length: their names and coordinates, and their bases as codes.

    Attributes
    ----------
    loci : one row a locus, columns of `schema.LOCI`.
    codes : 0 1 2 3 for A C G T, 4 for a masked position.
    """

    loci: pd.DataFrame
    codes: UInt8[np.ndarray, "loci length"]

    def __post_init__(self) -> None:
        checks.columns("loci", self.loci.columns, schema.LOCI)
        checks.shape("codes", self.codes, (len(self.loci), self.codes.shape[1]))
        checks.unique("locus names", self.loci["locus"])
        if self.codes.size and self.codes.max() > MASKED:
            raise InputError(f"codes must be 0 to {MASKED}; the largest is {self.codes.max()}")

    def __len__(self) -> int:
        return len(self.loci)

    @property
    def length(self) -> int:
        """Number of bases of every locus."""
        return int(self.codes.shape[1])

    @property
    def known(self) -> Bool[np.ndarray, "loci length"]:
        """True where the base is known, hence can be mutated."""
        return self.codes != MASKED

    def take(self, index: Any) -> "Sequences":
        """Return the loci that a slice, a boolean mask or an array of positions selects."""
        return Sequences(loci=self.loci.iloc[index].reset_index(drop=True), codes=self.codes[index])

    def to_frame(self) -> pd.DataFrame:
        """Return the loci with their sequences as text, masked positions as N."""
        letters = np.frombuffer(b"ACGTN", dtype="S1")[self.codes]
        return self.loci.assign(sequence=[row.tobytes().decode() for row in letters])


@runtime_checkable
class Predictor(Protocol):
    """What mutagenesis needs of an ensemble; `sequence.Ensemble` is one."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the networks predict, in the order of their output."""

    @property
    def modules(self) -> Sequence[Any]:
        """Networks (batch, 4, length) -> (batch, tasks), one a member, in evaluation mode on `device`."""

    @property
    def device(self) -> Any:
        """The torch device that the networks are on."""

    def predict(self, codes: UInt8[np.ndarray, "loci length"]) -> Float[np.ndarray, "members loci tasks"]:
        """Predict every task of every locus with every member."""


@runtime_checkable
class RelativeNetwork(Protocol):
    """A network some of whose tasks compare a sequence with the unedited one; `sequence.Measured` can be one."""

    @property
    def needs_reference(self) -> bool:
        """Whether its tasks depend on the outputs of the unedited sequence."""

    def outputs(self, x: Any) -> tuple[Any, ...]:
        """Return what the network returns for (batch, 4, length), each (batch, ...)."""

    def __call__(self, x: Any, reference: Sequence[Any] | None = None) -> Any:
        """Predict (batch, tasks), given the outputs of each row's unedited sequence."""


@runtime_checkable
class GenotypePanel(Protocol):
    """Genotypes of a reference sample, from which linkage disequilibrium is measured; `io.plink` reads one."""

    @property
    def variants(self) -> pd.DataFrame:
        """One row a variant: variant_id, chrom, pos, effect_allele, which dosages count, and other_allele."""

    def dosages(self, rows: Int[np.ndarray, "_"]) -> Float[np.ndarray, "samples _"]:
        """Return how many copies of the effect allele each sample has, 0 to 2, NaN where unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEffects:
    """What every ensemble member says of every edit: predict(edited) - predict(reference).

    Attributes
    ----------
    variants : one row a variant, columns of `schema.VARIANTS` and `offset`, the 0-based position in the locus.
        A variant of several substitutions joins their alleles with commas and carries the first position. A deletion
        carries the position of its first base, an insertion that of the base after it; no base is "-".
    delta : differences in the unit of each task's scale, float32.
    """

    variants: pd.DataFrame
    tasks: tuple[Task, ...]
    delta: Float[np.ndarray, "members variants tasks"]

    def __post_init__(self) -> None:
        checks.columns("variants", self.variants.columns, schema.VARIANTS)
        checks.shape("delta", self.delta, (self.delta.shape[0], len(self.variants), len(self.tasks)))
        checks.finite("delta", self.delta)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per member and variant, one column a task."""
        members = np.repeat(np.arange(self.delta.shape[0]), len(self.variants))
        frame = pd.concat([self.variants] * self.delta.shape[0], ignore_index=True).assign(member=members)
        for k, task in enumerate(self.tasks):
            frame[task.name] = self.delta[:, :, k].ravel()
        return frame


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryStats:
    """Effects of variants on traits with their standard errors, whatever made them.

    Attributes
    ----------
    spread : plain standard deviation over members (ddof 1), or None.
    error_factors : F with F'F the covariance of the errors that ensemble members share, over variants and traits;
        None where errors are independent, as in a GWAS.
    n : sample sizes, or None.
    """

    variants: pd.DataFrame
    traits: tuple[str, ...]
    beta: Float[np.ndarray, "variants traits"]
    se: Float[np.ndarray, "variants traits"]
    spread: Float[np.ndarray, "variants traits"] | None = None
    error_factors: Float[np.ndarray, "factors variants traits"] | None = None
    n: Float[np.ndarray, "variants traits"] | None = None
    estimand: Estimand = "model"

    def __post_init__(self) -> None:
        expected = (len(self.variants), len(self.traits))
        checks.unique("traits", self.traits)
        for name in ("beta", "se", "spread", "n"):
            values = getattr(self, name)
            if values is not None:
                checks.shape(name, values, expected)
                (checks.finite if name == "beta" else checks.non_negative)(name, values)
        if self.error_factors is not None:
            checks.shape("error_factors", self.error_factors, (self.error_factors.shape[0], *expected))

    def take(self, rows: Bool[np.ndarray, "variants"]) -> "SummaryStats":
        """Return the variants that a boolean mask selects."""
        factors = None if self.error_factors is None else self.error_factors[:, rows]
        spread, n = (None if values is None else values[rows] for values in (self.spread, self.n))
        return replace(
            self,
            variants=self.variants[rows].reset_index(drop=True),
            beta=self.beta[rows],
            se=self.se[rows],
            spread=spread,
            error_factors=factors,
            n=n,
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row a variant with `<trait>_beta` and `<trait>_se`."""
        frame = self.variants.copy()
        for k, trait in enumerate(self.traits):
            frame[f"{trait}_beta"], frame[f"{trait}_se"] = self.beta[:, k], self.se[:, k]
        return frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """Instruments of many loci packed one after the other: locus i owns rows offsets[i] to offsets[i + 1].

    Attributes
    ----------
    loci : names, also of loci that have no instrument.
    variants : one row an instrument, columns of `schema.VARIANTS`.
    error_factors : as in `SummaryStats`; the last axis is the exposures, then the outcome.
    error_corr : correlation of the errors of these traits at one instrument, exposures first, as overlapping samples
        make them; None for separate samples. Beside `error_factors`, it is of the part that members do not share.
    correlation : correlation of the instruments of each locus (linkage disequilibrium), in the order of the rows and
        for their effect alleles, a matrix a locus; None for independent instruments.
    n : sample sizes, exposures first, or None.
    """

    loci: tuple[str, ...]
    offsets: Int[np.ndarray, "loci_plus_one"]
    exposures: tuple[str, ...]
    outcome: str
    variants: pd.DataFrame
    beta_exposure: Float[np.ndarray, "instruments exposures"]
    se_exposure: Float[np.ndarray, "instruments exposures"]
    beta_outcome: Float[np.ndarray, "instruments"]
    se_outcome: Float[np.ndarray, "instruments"]
    error_factors: Float[np.ndarray, "factors instruments traits"] | None = None
    error_corr: Float[np.ndarray, "traits traits"] | None = None
    correlation: tuple[Float[np.ndarray, "_ _"], ...] | None = None
    n: Float[np.ndarray, "instruments traits"] | None = None
    estimand: Estimand = "model"

    def __post_init__(self) -> None:
        rows = len(self.variants)
        checks.unique("loci", self.loci)
        checks.shape("offsets", self.offsets, (len(self.loci) + 1,))
        if self.offsets[0] != 0 or self.offsets[-1] != rows or np.any(np.diff(self.offsets) < 0):
            raise InputError(f"offsets must rise from 0 to the number of instruments, {rows}")
        for name in ("beta_exposure", "se_exposure"):
            checks.shape(name, getattr(self, name), (rows, len(self.exposures)))
        for name in ("beta_outcome", "se_outcome"):
            checks.shape(name, getattr(self, name), (rows,))
        for name in ("beta_exposure", "beta_outcome"):
            checks.finite(name, getattr(self, name))
        for name in ("se_exposure", "se_outcome"):
            checks.positive(name, getattr(self, name))
        if self.error_factors is not None:
            expected = (self.error_factors.shape[0], rows, len(self.exposures) + 1)
            checks.shape("error_factors", self.error_factors, expected)
        if self.error_corr is not None:
            checks.correlation("error_corr", self.error_corr, len(self.exposures) + 1)
        if self.correlation is not None:
            if len(self.correlation) != len(self.loci):
                raise InputError(f"correlation needs a matrix a locus, {len(self.loci)}; got {len(self.correlation)}")
            for locus, matrix, count in zip(self.loci, self.correlation, np.diff(self.offsets), strict=True):
                checks.correlation(f"correlation of the instruments of {locus}", matrix, int(count))
        if self.n is not None:
            checks.shape("n", self.n, (rows, len(self.exposures) + 1))
            checks.positive("n", self.n)

    @property
    def counts(self) -> Int[np.ndarray, "loci"]:
        """Number of instruments of each locus."""
        return np.diff(self.offsets)

    @property
    def exposure(self) -> str:
        """The exposure, where there is one; several joined with '+'."""
        return "+".join(self.exposures)

    def take(self, rows: Bool[np.ndarray, "instruments"]) -> "Instruments":
        """Return the instruments that a boolean mask selects; every locus stays, also one left without any."""
        return self.pick(np.flatnonzero(rows))

    def pick(self, rows: Int[np.ndarray, "picked"]) -> "Instruments":
        """Return the instruments of these row numbers, in this order, which keeps loci together; every locus stays."""
        home = np.repeat(np.arange(len(self.loci)), self.counts)[rows]
        if np.any(np.diff(home) < 0):
            raise InputError("rows must keep the order of the loci")
        offsets = np.searchsorted(home, np.arange(len(self.loci) + 1))
        matrices = self.correlation
        if matrices is not None:
            own = [rows[a:b] - start for a, b, start in zip(offsets[:-1], offsets[1:], self.offsets[:-1], strict=True)]
            matrices = tuple(matrix[np.ix_(i, i)] for matrix, i in zip(matrices, own, strict=True))
        return replace(
            self,
            offsets=offsets,
            variants=self.variants.iloc[rows].reset_index(drop=True),
            beta_exposure=self.beta_exposure[rows],
            se_exposure=self.se_exposure[rows],
            beta_outcome=self.beta_outcome[rows],
            se_outcome=self.se_outcome[rows],
            error_factors=None if self.error_factors is None else self.error_factors[:, rows],
            correlation=matrices,
            n=None if self.n is None else self.n[rows],
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row an instrument."""
        frame = self.variants.assign(exposure=self.exposure, outcome=self.outcome)
        for k, name in enumerate(self.exposures):
            suffix = "" if len(self.exposures) == 1 else f"_{name}"
            frame[f"beta_exposure{suffix}"], frame[f"se_exposure{suffix}"] = (
                self.beta_exposure[:, k],
                self.se_exposure[:, k],
            )
        frame = frame.assign(
            beta_outcome=self.beta_outcome, se_outcome=self.se_outcome, estimand=self.estimand, **self._optional()
        )
        return frame.copy()  # in one piece, after so many columns

    def _optional(self) -> dict[str, Any]:
        """Return sample sizes, overlap and shared errors as columns, where there are any; no correlation: it is square.

        Columns end in exposure or outcome, or, of several exposures, in the trait's name.
        """
        single = len(self.exposures) == 1
        traits = ("exposure", "outcome") if single else (*self.exposures, self.outcome)
        found: dict[str, Any] = {}
        if self.n is not None:
            found |= {f"n_{trait}": self.n[:, k] for k, trait in enumerate(traits)}
        if self.error_corr is not None and single:
            found["error_corr"] = self.error_corr[0, 1]
        if self.error_factors is not None:
            for k, trait in enumerate(traits):
                found |= {f"factor_{i}_{trait}": row for i, row in enumerate(self.error_factors[:, :, k])}
        return found


def _empty_skipped() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=str) for name in schema.SKIPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """Causal effects, one row per locus and method, and what could not be estimated.

    Attributes
    ----------
    table : columns of `schema.ESTIMATES`, then declared extras (`schema.EXTRA`); an extra is empty where a method
        does not give it.
    skipped : loci without an estimate and the reason, columns of `schema.SKIPPED`.
    error_factors : F with F'F the covariance of the rows that ensemble members share, or None. F stays as the members
        have it, so that what they share adds up over loci; `se`, `df` and `se_member` of the table may hold the part of
        the members moderated over loci, and `se_sampling` the rest of `se` (`deepmr.mr.intervals`).
    """

    table: pd.DataFrame
    skipped: pd.DataFrame = field(default_factory=_empty_skipped)
    error_factors: Float[np.ndarray, "factors rows"] | None = None

    def __post_init__(self) -> None:
        checks.columns("estimates", self.table.columns, schema.ESTIMATES)
        checks.columns("skipped", self.skipped.columns, schema.SKIPPED)
        undeclared = set(self.table.columns) - set(schema.ESTIMATES) - set(schema.EXTRA)
        if undeclared:
            raise InputError(f"estimates have undeclared columns: {', '.join(sorted(undeclared))}")
        for name in ("beta", "ci_low", "ci_high"):
            checks.finite(name, self.table[name].to_numpy(float))
        checks.non_negative("se", self.table["se"].to_numpy(float))
        if self.error_factors is not None:
            checks.shape("error_factors", self.error_factors, (self.error_factors.shape[0], len(self.table)))

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: Bool[np.ndarray, "rows"]) -> "Estimates":
        """Return the rows that a boolean mask selects; `skipped` stays whole."""
        factors = None if self.error_factors is None else self.error_factors[:, rows]
        return replace(self, table=self.table[rows].reset_index(drop=True), error_factors=factors)

    def to_frame(self) -> pd.DataFrame:
        """Return the table, with the shared error as columns `factor_0`, `factor_1`, ... where there is any."""
        if self.error_factors is None:
            return self.table.copy()
        factors = {f"factor_{k}": row for k, row in enumerate(self.error_factors)}
        return self.table.assign(**factors)


def make_estimates(
    method: str,
    instruments: Instruments,
    *,
    beta: Float[np.ndarray, "loci"],
    se: Float[np.ndarray, "loci"],
    reason: Sequence[str],
    df: Float[np.ndarray, "loci"] | float = np.inf,
    level: float = 0.95,
    extra: dict[str, Float[np.ndarray, "loci"]] | None = None,
    error_factors: Float[np.ndarray, "factors loci"] | None = None,
) -> Estimates:
    """Build the rows of one method from one number a locus.

    Parameters
    ----------
    reason : why a locus has no estimate; empty for one that has. A locus without a reason whose beta or se is not
        finite is skipped as "not identified".
    df : degrees of freedom of the t distribution; infinite for a normal.
    """
    why = np.asarray(reason, dtype=object).copy()
    why[(why == "") & ~(np.isfinite(beta) & np.isfinite(se))] = "not identified: the instruments do not determine it"
    keep = why == ""
    dof = np.broadcast_to(np.asarray(df, dtype=float), beta.shape)[keep]
    low, high = inference.interval(beta[keep], se[keep], df=dof, level=level)
    common = {"method": method, "exposure": instruments.exposure, "outcome": instruments.outcome}
    loci = np.asarray(instruments.loci, dtype=object)
    table = pd.DataFrame(
        {
            **common,
            "locus": loci[keep],
            "estimand": instruments.estimand,
            "beta": beta[keep],
            "se": se[keep],
            "ci_low": low,
            "ci_high": high,
            "pvalue": inference.two_sided(beta[keep], se[keep], df=dof),
            "n": instruments.counts[keep],
            "df": dof,
            "level": level,
            **{name: values[keep] for name, values in (extra or {}).items()},
        }
    )
    skipped = pd.DataFrame({**common, "locus": loci[~keep], "reason": why[~keep]}, columns=list(schema.SKIPPED))
    factors = None if error_factors is None else error_factors[:, keep]
    return Estimates(table=table, skipped=skipped, error_factors=factors)


def concat_estimates(parts: Iterable[Estimates]) -> Estimates:
    """Stack estimates of one ensemble, or estimates without shared errors.

    Raises
    ------
    InputError
        When there are none, or parts come from different numbers of members: what they share cannot be told then.
    """
    items = list(parts)
    if not items:
        raise InputError("there are no estimates to put together")
    factors = [p.error_factors for p in items if p.error_factors is not None]
    if factors and (len(factors) < len(items) or len({f.shape[0] for f in factors}) > 1):
        raise InputError("estimates from different numbers of ensemble members cannot be stacked: pool each by itself")
    tables = [p.table for p in items if len(p.table)] or [items[0].table]
    ordered = [c for c in (*schema.ESTIMATES, *schema.EXTRA) if any(c in t.columns for t in tables)]
    skipped = [p.skipped for p in items if len(p.skipped)] or [items[0].skipped]
    return Estimates(
        table=pd.concat(tables, ignore_index=True)[ordered],
        skipped=pd.concat(skipped, ignore_index=True),
        error_factors=np.concatenate(factors, axis=1) if factors else None,
    )
