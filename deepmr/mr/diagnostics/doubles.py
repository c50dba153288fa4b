"""Double edits: pairs of instruments made together, and whether their effects keep to the line of the single ones."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr import checks, schema
from deepmr.errors import InputError
from deepmr.linalg import divide, segment_sum
from deepmr.mr.diagnostics.declared import declared
from deepmr.mr.diagnostics.slopes import locus_slopes, mean_over_loci, member_pvalue
from deepmr.mr.lines import exposure_of
from deepmr.mr.sensitivity.findings import home
from deepmr.types import Instruments, SummaryStats

_TRIES = 4  # candidates drawn for every pair wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubleEdits:
    """Pairs of instruments that are to be made together.

    Attributes
    ----------
    edits : two rows a double edit, as `deepmr ism --edits` reads them: variant_id, locus, offset (or pos),
        other_allele, effect_allele.
    pairs : one row a double edit: variant_id, locus, and `first` and `second`, the variant_id of its parts.
    """

    edits: pd.DataFrame
    pairs: pd.DataFrame


def propose_doubles(
    instruments: Instruments, *, n_pairs: int = 20, n_loci: int | None = None, seed: int = 0
) -> DoubleEdits:
    """Draw pairs of instruments of a locus, at two positions each.

    Parameters
    ----------
    instruments : single substitutions; others are left out.
    n_pairs : most pairs of a locus.
    n_loci : draw so many loci; None takes all that have a pair.
    seed : of both draws.
    """
    checks.at_least("n_pairs", n_pairs, 1)
    variants, place = instruments.variants, home(instruments)
    single = np.ones(len(variants), dtype=bool)
    for name in ("effect_allele", "other_allele"):
        single &= variants[name].astype(str).str.fullmatch("[ACGT]").to_numpy(bool)
    rng = np.random.default_rng(seed)
    first, second = _drawn(place, variants["pos"].to_numpy(), single, n_pairs=n_pairs, rng=rng)
    if n_loci is not None:
        full = np.unique(place[first])
        kept = rng.permutation(full)[:n_loci]
        chosen = np.isin(place[first], kept)
        first, second = first[chosen], second[chosen]
    ids = variants["variant_id"].astype(str).to_numpy(object)
    names = np.array([f"{a}+{b}" for a, b in zip(ids[first], ids[second], strict=True)], dtype=object)
    where = "offset" if "offset" in variants else "pos"
    rows = np.stack([first, second], axis=1).ravel()
    columns = ["locus", where, "other_allele", "effect_allele"]
    edits = variants[columns].iloc[rows].reset_index(drop=True)
    edits = edits.assign(**{name: edits[name].astype(str) for name in columns if name != where})
    edits.insert(0, "variant_id", np.repeat(names, 2))
    loci = np.asarray(instruments.loci, dtype=object)[place[first]]
    pairs = pd.DataFrame({"variant_id": names, "locus": loci, "first": ids[first], "second": ids[second]})
    return DoubleEdits(edits=edits, pairs=pairs)


def _drawn(
    place: Int[np.ndarray, "rows"],
    pos: np.ndarray,
    single: np.ndarray,
    *,
    n_pairs: int,
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"]]:
    """Return two rows a pair, at two positions of one locus, without one that is there twice."""
    rows = np.flatnonzero(single)
    counts = np.bincount(place[rows], minlength=int(place.max(initial=-1)) + 1)
    start = np.cumsum(counts) - counts
    loci = np.repeat(np.flatnonzero(counts > 1), _TRIES * n_pairs)
    draw = np.sort(rng.integers(0, np.maximum(counts[loci], 1)[:, None], (len(loci), 2)), axis=1)
    both = rows[start[loci][:, None] + draw] if len(loci) else np.zeros((0, 2), dtype=int)
    both = both[pos[both[:, 0]] != pos[both[:, 1]]]
    _, kept = np.unique(both, axis=0, return_index=True)
    both = both[np.sort(kept)]
    order = np.argsort(place[both[:, 0]], kind="stable")
    owner = place[both[order, 0]]
    rank = np.arange(len(order)) - np.searchsorted(owner, owner)
    chosen = both[order[rank < n_pairs]]
    return chosen[:, 0], chosen[:, 1]


def double_edits(instruments: Instruments, doubles: SummaryStats, pairs: pd.DataFrame) -> pd.DataFrame:
    """Compare the line through double edits with that through the single edits that they are made of.

    Parameters
    ----------
    instruments : of one exposure: the single edits.
    doubles : effects of the double edits on both traits, from the same ensemble.
    pairs : columns variant_id, locus, first, second: the double edit and its parts; those whose parts are not
        instruments, or that have no effects, are left out.

    Returns
    -------
    Table "doubles" of `schema.DIAGNOSTICS`: a row a locus with double edits, then the mean over loci (`*`), with the
    additivity over the doubles of all loci.

    Raises
    ------
    InputError : when no double edit is left, or they come from another number of members.

    Notes
    -----
    Two edits of one site rarely add up: the first already unbinds it. That is no bend as long as the outcome follows
    the exposure, so the slopes are compared, not the sums. If the response is a line, sum(x y) / sum(x^2) is the same
    for single and double edits; a difference is curvature beyond the reach of single edits, where instruments alone
    cannot see it.
    """
    singles, twos = _matched(instruments, doubles, pairs)
    one, two = locus_slopes(singles), locus_slopes(twos)
    known = one.known & two.known
    difference, moves = two.beta - one.beta, two.factors - one.factors
    se = np.sqrt(np.sum(moves**2, axis=0))
    effects = {
        "additivity_exposure": (exposure_of(singles)[0], exposure_of(twos)[0]),
        "additivity_outcome": (singles.beta_outcome, twos.beta_outcome),
    }
    added = {name: _additivity(*both, twos.offsets) for name, both in effects.items()}
    columns = {"slope_single": one.beta, "slope_double": two.beta, "difference": difference, "difference_se": se}
    columns["difference_pvalue"] = member_pvalue(difference, moves)
    columns |= added
    mean = mean_over_loci(difference, moves, known)
    row: dict[str, object] = {name: float(values[known].mean()) for name, values in columns.items()}
    # Of all doubles in one fit: where parts cancel each other, a locus by itself has any additivity.
    row |= {name: float(_additivity(*both, twos.offsets[[0, -1]])[0]) for name, both in effects.items()}
    row |= {"difference": mean.value, "difference_se": mean.se, "difference_pvalue": mean.pvalue, "locus": "*"}
    frame = pd.DataFrame({"locus": np.asarray(twos.loci, dtype=object), "n": twos.counts, **columns})[known]
    frame = pd.concat([frame, pd.DataFrame([row | {"n": int(twos.counts.sum())}])], ignore_index=True)
    return declared("doubles", frame.assign(exposure=twos.exposure, outcome=twos.outcome, reason=""))


def double_effects(instruments: Instruments, doubles: SummaryStats, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the effects of the double edits that `double_edits` compares, for a figure.

    Parameters
    ----------
    instruments, doubles, pairs : as for `double_edits`.

    Returns
    -------
    Table "double_effects" of `schema.DIAGNOSTICS`, a row a double edit.
    """
    _, twos = _matched(instruments, doubles, pairs)
    frame = pd.DataFrame(
        {
            "exposure": twos.exposure,
            "outcome": twos.outcome,
            "locus": np.asarray(twos.loci, dtype=object)[home(twos)],
            "variant_id": twos.variants["variant_id"].to_numpy(object),
            "beta_exposure": twos.beta_exposure[:, 0],
            "beta_outcome": twos.beta_outcome,
        }
    )
    return declared("double_effects", frame)


def _additivity(
    parts: Float[np.ndarray, "parts"], whole: Float[np.ndarray, "doubles"], offsets: Int[np.ndarray, "loci_plus_one"]
) -> Float[np.ndarray, "loci"]:
    """Regress the effects of double edits on the sums of those of their parts, which lie two by two."""
    total = parts[0::2] + parts[1::2]
    return divide(segment_sum(total * whole, offsets), segment_sum(total**2, offsets), otherwise=0.0)


def _matched(instruments: Instruments, doubles: SummaryStats, pairs: pd.DataFrame) -> tuple[Instruments, Instruments]:
    """Return the parts, two rows a double edit, and the double edits, as instruments of the loci that have any."""
    checks.columns("pairs", pairs.columns, ("variant_id", "locus", "first", "second"))
    ours = len(instruments.error_factors) if instruments.error_factors is not None else 0
    theirs = len(doubles.error_factors) if doubles.error_factors is not None else 0
    if ours != theirs:
        raise InputError(f"single edits have errors of {ours} members, double edits of {theirs}: need one ensemble")
    known = pd.MultiIndex.from_arrays([instruments.variants[c].astype(str) for c in ("locus", "variant_id")])
    locus = pairs["locus"].astype(str)
    first, second = (known.get_indexer(pd.MultiIndex.from_arrays([locus, pairs[c].astype(str)])) for c in
                     ("first", "second"))  # fmt: skip
    made = pd.MultiIndex.from_arrays([doubles.variants[c].astype(str) for c in ("locus", "variant_id")])
    row = made.get_indexer(pd.MultiIndex.from_arrays([locus, pairs["variant_id"].astype(str)]))
    kept = np.flatnonzero((first >= 0) & (second >= 0) & (row >= 0))
    if not len(kept):
        raise InputError("no double edit has effects and two instruments as its parts")
    kept = kept[np.argsort(home(instruments)[first[kept]], kind="stable")]
    place = home(instruments)[first[kept]]
    owners = np.unique(place)
    counts = np.bincount(np.searchsorted(owners, place), minlength=len(owners))
    loci = tuple(instruments.loci[i] for i in owners)
    parts = np.stack([first[kept], second[kept]], axis=1).ravel()
    singles = _with_rows(instruments, parts, loci=loci, offsets=np.append(0, np.cumsum(2 * counts)))
    columns = [doubles.traits.index(name) for name in (instruments.exposure, instruments.outcome)]
    chosen = row[kept]
    factors = doubles.error_factors
    twos = replace(
        singles,
        offsets=np.append(0, np.cumsum(counts)),
        variants=doubles.variants.iloc[chosen].reset_index(drop=True)[list(schema.VARIANTS)],
        beta_exposure=doubles.beta[chosen][:, columns[:1]],
        se_exposure=np.maximum(doubles.se[chosen][:, columns[:1]], np.finfo(float).tiny),
        beta_outcome=doubles.beta[chosen, columns[1]],
        se_outcome=np.maximum(doubles.se[chosen, columns[1]], np.finfo(float).tiny),
        error_factors=None if factors is None else factors[:, chosen][:, :, columns],
    )
    return singles, twos


def _with_rows(
    instruments: Instruments, rows: Int[np.ndarray, "rows"], *, loci: tuple[str, ...], offsets: np.ndarray
) -> Instruments:
    """Return rows, also repeated ones, as instruments of some loci."""
    return replace(
        instruments,
        loci=loci,
        offsets=offsets,
        variants=instruments.variants.iloc[rows].reset_index(drop=True),
        beta_exposure=instruments.beta_exposure[rows],
        se_exposure=instruments.se_exposure[rows],
        beta_outcome=instruments.beta_outcome[rows],
        se_outcome=instruments.se_outcome[rows],
        error_factors=None if instruments.error_factors is None else instruments.error_factors[:, rows],
        correlation=None,
        n=None,
    )
