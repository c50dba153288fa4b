"""Which edits serve as instruments: strong and certain on the exposure, whatever they do to the outcome."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr import checks, inference
from deepmr.errors import InputError
from deepmr.instruments.spans import Spans, in_spans
from deepmr.types import Instruments, SummaryStats

Rule = Literal["relative", "f", "zscore", "motif"]
THRESHOLDS: dict[str, float] = {"relative": 0.25, "f": 10.0, "zscore": 1.0, "motif": 0.25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """How strong an edit must be on the exposure to be an instrument.

    Attributes
    ----------
    rule : "relative": |beta| is at least `threshold` times the pooled 99th percentile, and significant. "f": the F
        statistic (beta / se)^2 is at least `threshold`. "zscore": |beta - mean| / sd is at least `threshold`, mean and
        sd pooled over all loci, as in the paper. "motif": as "relative", and the edit lies in one of the exposure's
        `spans`; a threshold of 0 drops the floor of size.
    threshold : 0.25, 10, 1 or 0.25 unless given; above 0, for "motif" at least 0.
    significance : two-sided level of the test that "relative" and "motif" add, above 0; 1 turns it off.
    spans : where instruments may lie, by exposure; for "motif" alone.
    """

    rule: Rule = "relative"
    threshold: float | None = None
    significance: float = 0.05
    spans: Mapping[str, Spans] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        checks.one_of("rule", self.rule, THRESHOLDS)
        if not 0 <= self.cut < np.inf or (self.cut == 0 and self.rule != "motif"):
            raise InputError(f"the threshold of rule {self.rule!r} must be above 0; got {self.cut:g}")
        if self.rule == "motif" and not self.spans:
            raise InputError("rule 'motif' needs the spans in which instruments may lie; got none")
        if self.rule != "motif" and self.spans:
            raise InputError(f"spans are for rule 'motif'; the rule is {self.rule!r}")
        if not 0 < self.significance <= 1:
            raise InputError(f"significance must be above 0 and at most 1; got {self.significance:g}")

    @property
    def cut(self) -> float:
        """The threshold, or the rule's own."""
        return THRESHOLDS[self.rule] if self.threshold is None else self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectScale:
    """How large effects on one trait are, over the variants of all loci.

    Attributes
    ----------
    quantile : 99th percentile of the absolute effects; the largest one where more than 99 % are exactly 0, as no
        network sees those edits.
    mean, sd : of the effects, sd with ddof 1.
    largest : largest absolute effect.
    """

    quantile: float
    mean: float
    sd: float
    largest: float

    @property
    def resolution(self) -> float:
        """Smallest standard error that float32 effects of this size can have."""
        return float(np.finfo(np.float32).eps) * (self.largest or 1.0)


def effect_scales(blocks: Iterable[SummaryStats]) -> dict[str, EffectScale]:
    """Return how large effects are on every trait, exactly; keeps 4 bytes a variant and trait.

    Parameters
    ----------
    blocks : all variants that are analysed together, in any order.

    Raises
    ------
    InputError
        When there is no variant.
    """
    traits: list[str] = []

    def betas() -> Iterator[list[np.ndarray]]:
        for block in blocks:
            traits[:] = block.traits
            yield [block.beta]

    return scales_of_parts(betas(), traits=traits)[0]


def scales_of_parts(
    blocks: Iterable[Sequence[Float[np.ndarray, "_ traits"]]], *, traits: Sequence[str]
) -> list[dict[str, EffectScale]]:
    """Return how large effects are by every part of an ensemble, in one pass; keeps 4 bytes a variant, trait and part.

    Parameters
    ----------
    blocks : effects of some variants by each part.
    traits : their last axis.

    Raises
    ------
    InputError
        When there is no variant.
    """
    kept = [[part.astype(np.float32) for part in block] for block in blocks]
    if not sum(len(block[0]) for block in kept):
        raise InputError("there are no variants to select instruments from")
    return [
        {trait: _scale([block[part][:, k] for block in kept]) for k, trait in enumerate(traits)}
        for part in range(len(kept[0]))
    ]


def _scale(parts: Sequence[Float[np.ndarray, "_"]]) -> EffectScale:
    beta = np.concatenate(parts)
    size = np.abs(beta)
    return EffectScale(
        quantile=float(np.quantile(size, 0.99) or size.max()),
        mean=float(beta.mean(dtype=np.float64)),
        sd=float(beta.std(dtype=np.float64, ddof=1)) if len(beta) > 1 else 0.0,
        largest=float(size.max()),
    )


DEFAULT = Selection()


def is_strong(
    stats: SummaryStats, *, exposure: str, scale: EffectScale, selection: Selection = DEFAULT
) -> Bool[np.ndarray, "variants"]:
    """Return which variants are instruments for the exposure, by its own effects alone.

    Parameters
    ----------
    stats : effects and standard errors.
    exposure : the trait.
    scale : how large its effects are over all loci.
    selection : how strong they must be.

    Notes
    -----
    The test compares beta / se with Student's t, K - 1 degrees of freedom where the error comes from K members, and the
    normal otherwise. A variant on whose effect the members agree exactly, most often an edit that no network sees
    (effect 0), has no standard error and is never an instrument.

    F alone lets many tiny effects in that good members agree on, which biases the estimate: keep an effect-size floor.
    The floors look at all loci together, so a locus can have other instruments in another set of loci.
    """
    k = _index(stats, exposure)
    beta, se = stats.beta[:, k], stats.se[:, k]
    strong: np.ndarray
    if selection.rule == "f":
        strong = beta**2 >= selection.cut * se**2
    elif selection.rule == "zscore":
        strong = (np.abs(beta - scale.mean) >= selection.cut * scale.sd) & (scale.sd > 0)
    else:
        df = np.inf if stats.error_factors is None else float(stats.error_factors.shape[0] - 1)
        certain = np.abs(beta) > inference.quantile(1 - selection.significance, df) * se
        strong = certain & (np.abs(beta) >= selection.cut * scale.quantile)
    if selection.rule == "motif":
        if exposure not in selection.spans:
            raise InputError(f"rule 'motif' needs spans of the exposure {exposure!r}; got {', '.join(selection.spans)}")
        strong &= in_spans(stats.variants, selection.spans[exposure])
    strong &= (se > 0) & (beta != 0)
    return strong


def select_instruments(
    stats: SummaryStats,
    *,
    exposure: str,
    outcome: str,
    scales: Mapping[str, EffectScale] | None = None,
    selection: Selection = DEFAULT,
    loci: Sequence[str] | None = None,
) -> Instruments:
    """Select the instruments of one exposure at every locus and take along their effects on the outcome.

    Parameters
    ----------
    stats : effects of all variants, those of a locus next to each other.
    exposure, outcome : two of the traits; the outcome has no part in the selection.
    scales : sizes of effects over all loci, where `stats` is a part of them; None measures them on `stats`.
    selection : how strong an instrument must be.
    loci : all loci, also those without variants; None takes them from the variants, in their order.

    Returns
    -------
    Instruments
        All loci, also those left without an instrument.

    Raises
    ------
    InputError
        For an unknown trait, or variants of a locus that do not lie together.

    Notes
    -----
    An outcome effect whose standard error is below what float32 effects can resolve (all members agree: the outcome
    does not see the edit) gets that resolution, float32 epsilon times the largest effect on the outcome.

    Examples
    --------
    >>> sites = pd.DataFrame({"variant_id": ["a", "b"], "locus": "x", "chrom": "", "pos": [1, 2],
    ...                       "effect_allele": "A", "other_allele": "C"})
    >>> stats = SummaryStats(variants=sites, traits=("CTCF", "PU1"), beta=np.array([[1.0, 0.5], [0.1, 3.0]]),
    ...                      se=np.full((2, 2), 0.2))
    >>> select_instruments(stats, exposure="CTCF", outcome="PU1").variants["variant_id"].tolist()
    ['a']
    """
    (packed,) = select_pairs(
        [stats],
        pairs=[(exposure, outcome)],
        scales=effect_scales([stats]) if scales is None else scales,
        selection=selection,
        loci=_loci(stats) if loci is None else loci,
    )
    return packed


def select_pairs(
    blocks: Iterable[SummaryStats],
    *,
    pairs: Sequence[tuple[str, str]],
    scales: Mapping[str, EffectScale],
    loci: Sequence[str],
    selection: Selection = DEFAULT,
) -> Iterator[Instruments]:
    """Select the instruments of many pairs in one pass over blocks of loci; yields one `Instruments` a pair.

    Parameters
    ----------
    blocks : effects, every locus whole in one block.
    pairs : exposure and outcome of each; `scales` must know both.
    scales : sizes of effects over all loci.
    loci : all loci, in the order of the blocks.
    selection : how strong an instrument must be.
    """
    paired = ([block, block] for block in blocks)
    for (packed,) in _select(paired, [(0, 1)], pairs=pairs, scales=[scales], loci=loci, selection=selection):
        yield packed


def select_split(
    blocks: Iterable[Sequence[SummaryStats]],
    *,
    pairs: Sequence[tuple[str, str]],
    scales: Sequence[Mapping[str, EffectScale]],
    loci: Sequence[str],
    selection: Selection = DEFAULT,
) -> Iterator[list[Instruments]]:
    """Select instruments by one half of an ensemble and take their effects from the other, both ways round.

    Parameters
    ----------
    blocks : effects by the first and by the second half of the members, every locus whole in one block.
    pairs : exposure and outcome of each.
    scales : sizes of effects over all loci, by either half.
    loci : all loci, in the order of the blocks.
    selection : how strong an instrument must be.

    Returns
    -------
    For each pair two `Instruments`: selected by the first half with the effects of the second, and the reverse. Their
    error factors are those of the half that the effects are from. `mr.splitting.average_halves` puts their estimates
    together.
    """
    ways = [(0, 1), (1, 0)]
    yield from _select(blocks, ways, pairs=pairs, scales=scales, loci=loci, selection=selection)


def _select(
    blocks: Iterable[Sequence[SummaryStats]],
    ways: Sequence[tuple[int, int]],
    *,
    pairs: Sequence[tuple[str, str]],
    scales: Sequence[Mapping[str, EffectScale]],
    loci: Sequence[str],
    selection: Selection,
) -> Iterator[list[Instruments]]:
    """Select by one of a block's parts, take effects from another: `ways` has both their numbers."""
    exposures = list(dict.fromkeys(exposure for exposure, _ in pairs))
    strong: dict[str, list[list[SummaryStats]]] = {exposure: [[] for _ in ways] for exposure in exposures}
    for block in blocks:
        for exposure in exposures:
            for (by, source), kept in zip(ways, strong[exposure], strict=True):
                mask = is_strong(block[by], exposure=exposure, scale=scales[by][exposure], selection=selection)
                kept.append(block[source].take(mask))
    for exposure in exposures:
        whole = [concat_stats(kept) for kept in strong.pop(exposure)]
        for outcome in (o for e, o in pairs if e == exposure):
            yield [
                _as_instruments(stats, exposure=exposure, outcome=outcome, scales=scales[by], loci=loci)
                for (by, _), stats in zip(ways, whole, strict=True)
            ]


def _as_instruments(
    stats: SummaryStats, *, exposure: str, outcome: str, scales: Mapping[str, EffectScale], loci: Sequence[str]
) -> Instruments:
    if exposure == outcome:
        raise InputError(f"exposure and outcome must be two traits; got {exposure!r} for both")
    number = pd.Index(loci).get_indexer(pd.Index(stats.variants["locus"].astype(str)))
    if np.any(number < 0) or np.any(np.diff(number) < 0):
        raise InputError("variants must lie together by locus, in the order of the loci")
    x, y = _index(stats, exposure), _index(stats, outcome)
    se_exposure = stats.se[:, [x]]  # 0 where a half agrees exactly on what the other half selected
    return Instruments(
        loci=tuple(loci),
        offsets=np.searchsorted(number, np.arange(len(loci) + 1)),
        exposures=(exposure,),
        outcome=outcome,
        variants=stats.variants,
        beta_exposure=stats.beta[:, [x]],
        se_exposure=np.where(se_exposure > 0, se_exposure, scales[exposure].resolution),
        beta_outcome=stats.beta[:, y],
        se_outcome=np.maximum(stats.se[:, y], scales[outcome].resolution),
        error_factors=None if stats.error_factors is None else stats.error_factors[:, :, [x, y]],
        estimand=stats.estimand,
    )


def concat_stats(parts: Sequence[SummaryStats]) -> SummaryStats:
    """Put blocks of one ensemble's effects together, without what instruments do not need.

    Parameters
    ----------
    parts : with the same traits, at least one.
    """
    filled = [part for part in parts if len(part.variants)] or parts[:1]
    factors = [part.error_factors for part in filled if part.error_factors is not None]
    return replace(
        filled[0],
        variants=pd.concat([part.variants for part in filled], ignore_index=True),
        beta=np.concatenate([part.beta for part in filled]),
        se=np.concatenate([part.se for part in filled]),
        spread=None,  # instruments do not need them
        n=None,
        error_factors=np.concatenate(factors, axis=1) if factors else None,
    )


def _loci(stats: SummaryStats) -> list[str]:
    return [str(locus) for locus in stats.variants["locus"].unique()]


def _index(stats: SummaryStats, trait: str) -> int:
    checks.one_of("trait", trait, stats.traits)
    return stats.traits.index(trait)
