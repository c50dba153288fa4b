"""Selection of instruments: by hand, never by the outcome, the same in blocks as in one piece."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from jaxtyping import TypeCheckError

from deepmr import inference
from deepmr.errors import InputError
from deepmr.instruments.spans import Spans
from deepmr.instruments.strength import (
    EffectScale,
    Rule,
    Selection,
    effect_scales,
    is_strong,
    scales_of_parts,
    select_instruments,
    select_pairs,
    select_split,
)
from deepmr.types import SummaryStats


def variants(loci):
    n = len(loci)
    return pd.DataFrame(
        {"variant_id": [f"v{i}" for i in range(n)], "locus": loci, "chrom": "", "pos": np.arange(1, n + 1),
         "effect_allele": "A", "other_allele": "C"}
    )  # fmt: skip


def member_stats(*, n_loci=12, n_variants=60, seed=0, categorical=False):
    """Stats of a 5-member ensemble with three traits; a tenth of the variants strong for each."""
    rng = np.random.default_rng(seed)
    rows = n_loci * n_variants
    size = np.where(rng.random((rows, 3)) < 0.1, 2.0, 0.05)
    members = rng.normal(size=(rows, 3)) * size + 0.1 * rng.normal(size=(5, rows, 3))
    members[:, ::7, 1] = 0  # the second network does not see every edit
    deviation = members - members.mean(axis=0)
    factors = deviation * np.sqrt(1.2 / 4)
    loci = np.repeat([f"l{i}" for i in range(n_loci)], n_variants)
    return SummaryStats(
        variants=variants(pd.Categorical(loci) if categorical else loci), traits=("a", "b", "c"),
        beta=members.mean(axis=0), se=np.sqrt((factors**2).sum(axis=0)), error_factors=factors,
    )  # fmt: skip


def take(stats, rows):
    return SummaryStats(
        variants=stats.variants[rows].reset_index(drop=True), traits=stats.traits, beta=stats.beta[rows],
        se=stats.se[rows], error_factors=None if stats.error_factors is None else stats.error_factors[:, rows],
    )  # fmt: skip


def same(a, b):
    pd.testing.assert_frame_equal(a.variants, b.variants, check_categorical=False)
    assert (a.loci, a.exposures, a.outcome) == (b.loci, b.exposures, b.outcome)
    for name in ("offsets", "beta_exposure", "se_exposure", "beta_outcome", "se_outcome", "error_factors"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


SCALE = EffectScale(quantile=4.0, mean=0.5, sd=0.5, largest=8.0)


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, [3.0, -3.0, 1.0]),  # |beta| >= 1 and |beta| / se > 1.96
        ({"threshold": 0.5}, [3.0, -3.0]),
        ({"significance": 1.0}, [3.0, -3.0, 1.0, 1.5]),
        ({"rule": "f"}, [3.0, -3.0, 0.9]),  # (beta / se)^2 >= 10
        ({"rule": "f", "threshold": 4.0}, [3.0, -3.0, 1.0, 0.9]),
        ({"rule": "zscore"}, [3.0, -3.0, 1.0, 1.5]),  # |beta - 0.5| >= 0.5
        ({"rule": "zscore", "threshold": 3.0}, [3.0, -3.0]),
    ],
)
def test_rules_by_hand(options, chosen):
    # The last two have no standard error: the members agree, or nothing sees the edit.
    beta = np.array([3.0, -3.0, 1.0, 1.5, 0.9, 5.0, 0.0])
    se = np.array([0.5, 0.5, 0.5, 1.0, 0.1, 0.0, 0.0])
    stats = SummaryStats(variants=variants(["x"] * 7), traits=("a",), beta=beta[:, None], se=se[:, None])
    mask = is_strong(stats, exposure="a", scale=SCALE, selection=Selection(**options))
    assert beta[mask].tolist() == chosen


def test_five_members_need_more_than_a_normal_quantile():
    ratio = np.array([1.9, 2.5, 2.77, 2.78, 5.0])  # t with 4 degrees of freedom: 2.776
    se = np.full((5, 1), 1.0)
    stats = SummaryStats(variants=variants(["x"] * 5), traits=("a",), beta=ratio[:, None], se=se)
    scale = EffectScale(quantile=1.0, mean=0.0, sd=1.0, largest=5.0)
    assert is_strong(stats, exposure="a", scale=scale).sum() == 4
    factors = np.full((5, 5, 1), np.sqrt(1 / 5))
    ensemble = SummaryStats(variants=stats.variants, traits=("a",), beta=stats.beta, se=se, error_factors=factors)
    assert is_strong(ensemble, exposure="a", scale=scale).tolist() == [False, False, False, True, True]
    assert float(inference.quantile(0.95, 4.0)) == pytest.approx(2.776, abs=1e-3)


def rules():
    """Every rule there is: a new one must be added here."""
    inside = Spans(
        locus=("l1", "l7"), chrom=("", ""), start=np.array([60, 420]), end=np.array([100, 480]), name=("", "")
    )
    made = [Selection(rule=rule) for rule in get_args(Rule) if rule != "motif"]
    return [*made, *(Selection(rule="motif", threshold=t, spans={"a": inside}) for t in (0.0, 0.25))]


def outcomes(stats):
    """The same exposure with other outcomes: other edits', flipped, none, huge, certain."""
    rng = np.random.default_rng(1)
    mixed = rng.permutation(len(stats.beta))
    for change in ("mixed", "flipped", "none", "huge", "certain"):
        beta, se, factors = stats.beta.copy(), stats.se.copy(), stats.error_factors.copy()
        if change == "mixed":
            beta[:, 1:], se[:, 1:], factors[:, :, 1:] = beta[mixed, 1:], se[mixed, 1:], factors[:, mixed, 1:]
        elif change == "flipped":
            beta[:, 1:] *= -1
        elif change == "none":
            beta[:, 1:], factors[:, :, 1:], se[:, 1:] = 0, 0, 0
        elif change == "huge":
            beta[:, 1:] *= 1e6
        else:
            factors[:, :, 1:], se[:, 1:] = 0, 0
        yield replace(stats, beta=beta, se=se, error_factors=factors)


@pytest.mark.parametrize("selection", rules(), ids=lambda s: f"{s.rule}-{s.cut:g}")
def test_the_outcome_has_no_part_in_the_selection(selection):
    stats = member_stats()
    a = select_instruments(stats, exposure="a", outcome="b", selection=selection)
    c = select_instruments(stats, exposure="a", outcome="c", selection=selection)
    assert 0 < len(a.variants) < len(stats.variants)
    others = [select_instruments(s, exposure="a", outcome="b", selection=selection) for s in outcomes(stats)]
    for b in (c, *others):
        assert list(a.variants["variant_id"]) == list(b.variants["variant_id"])
        np.testing.assert_array_equal(a.offsets, b.offsets)


@pytest.mark.parametrize("selection", rules(), ids=lambda s: f"{s.rule}-{s.cut:g}")
def test_the_outcome_has_no_part_where_halves_select_for_each_other(selection):
    stats, other = member_stats(), member_stats(seed=5)
    loci = [f"l{i}" for i in range(12)]

    def names(pair):
        scales = [effect_scales([half]) for half in pair]
        (both,) = select_split([pair], pairs=[("a", "b")], scales=scales, loci=loci, selection=selection)
        return [list(packed.variants["variant_id"]) for packed in both]

    first = names([stats, other])
    assert first[0] != first[1]
    for one, two in zip(outcomes(stats), outcomes(other), strict=True):
        assert names([one, two]) == first


def test_a_half_selects_and_the_other_gives_the_effects():
    stats, other = member_stats(), member_stats(seed=5)
    loci = [f"l{i}" for i in range(12)]
    scales = [effect_scales([stats]), effect_scales([other])]
    (both,) = select_split([[stats, other]], pairs=[("a", "b")], scales=scales, loci=loci)
    for packed, by, source in ((both[0], stats, other), (both[1], other, stats)):
        alone = select_instruments(by, exposure="a", outcome="b", scales=effect_scales([by]))
        assert list(packed.variants["variant_id"]) == list(alone.variants["variant_id"])
        rows = packed.variants["variant_id"].str[1:].astype(int).to_numpy()
        np.testing.assert_array_equal(packed.beta_exposure[:, 0], source.beta[rows, 0])
        np.testing.assert_array_equal(packed.error_factors, source.error_factors[:, rows][:, :, [0, 1]])


def test_spans_with_and_without_the_floor():
    stats = member_stats()
    inside = Spans(locus=("l1",), chrom=("",), start=np.array([60]), end=np.array([100]), name=("",))
    within = (stats.variants["locus"] == "l1") & stats.variants["pos"].between(61, 100)
    relative = is_strong(stats, exposure="a", scale=effect_scales([stats])["a"])
    floor, free = (
        is_strong(
            stats, exposure="a", scale=effect_scales([stats])["a"],
            selection=Selection(rule="motif", threshold=t, spans={"a": inside}),
        )
        for t in (None, 0.0)
    )  # fmt: skip
    np.testing.assert_array_equal(floor, relative & within)
    assert floor.sum() < free.sum() <= within.sum()


@pytest.mark.parametrize("categorical", [False, True])
def test_blocks_give_what_the_whole_gives(categorical):
    stats = member_stats(categorical=categorical)
    blocks = [take(stats, slice(start, start + 180)) for start in range(0, len(stats.beta), 180)]
    scales = effect_scales(blocks)
    assert scales == effect_scales([stats])
    pairs = [(e, o) for e in "abc" for o in "abc" if e != o]
    loci = [f"l{i}" for i in range(12)]
    in_blocks = list(select_pairs(blocks, pairs=pairs, scales=scales, loci=loci))
    assert [(i.exposure, i.outcome) for i in in_blocks] == pairs
    for (exposure, outcome), packed in zip(pairs, in_blocks, strict=True):
        same(packed, select_instruments(stats, exposure=exposure, outcome=outcome))


def test_scale_against_numpy():
    stats = member_stats()
    scale = effect_scales([stats])["c"]
    beta = stats.beta[:, 2]
    assert scale.quantile == pytest.approx(np.quantile(np.abs(beta), 0.99), rel=1e-6)
    assert scale.mean == pytest.approx(beta.mean(), rel=1e-5)
    assert scale.sd == pytest.approx(beta.std(ddof=1), rel=1e-6)
    assert scale.largest == pytest.approx(np.abs(beta).max(), rel=1e-6)


def test_scale_of_mostly_unseen_edits_is_their_largest_effect():
    beta = np.zeros((500, 1))
    beta[7] = 2.0
    stats = SummaryStats(variants=variants(["x"] * 500), traits=("a",), beta=beta, se=np.full((500, 1), 0.1))
    assert effect_scales([stats])["a"].quantile == 2


def test_loci_without_instruments_stay():
    stats = take(member_stats(), slice(0, 120))
    beta = stats.beta.copy()
    beta[:60] *= 1e-3
    weak = SummaryStats(variants=stats.variants, traits=stats.traits, beta=beta, se=stats.se)
    packed = select_instruments(weak, exposure="a", outcome="b", loci=["l0", "masked", "l1", "last"])
    assert packed.loci == ("l0", "masked", "l1", "last")
    assert packed.counts[0] == packed.counts[1] == packed.counts[3] == 0
    assert packed.counts[2] == len(packed.variants) > 0
    assert set(packed.variants["locus"]) == {"l1"}


def test_rows_carry_their_own_numbers():
    stats = member_stats()
    packed = select_instruments(stats, exposure="c", outcome="a")
    rows = packed.variants["variant_id"].str[1:].astype(int).to_numpy()
    np.testing.assert_array_equal(packed.beta_exposure[:, 0], stats.beta[rows, 2])
    np.testing.assert_array_equal(packed.se_exposure[:, 0], stats.se[rows, 2])
    np.testing.assert_array_equal(packed.beta_outcome, stats.beta[rows, 0])
    np.testing.assert_array_equal(packed.se_outcome, stats.se[rows, 0])
    np.testing.assert_array_equal(packed.error_factors, stats.error_factors[:, rows][:, :, [2, 0]])
    assert packed.estimand == "model"


def test_an_outcome_that_does_not_see_the_edit_has_the_resolution_as_error():
    stats = member_stats()
    packed = select_instruments(stats, exposure="a", outcome="b")
    unseen = packed.beta_outcome == 0
    assert 0 < unseen.sum() < len(unseen)
    resolution = np.finfo(np.float32).eps * effect_scales([stats])["b"].largest
    np.testing.assert_allclose(packed.se_outcome[unseen], resolution)
    assert packed.se_outcome[~unseen].min() > 1e3 * resolution
    nothing = EffectScale(quantile=0.0, mean=0.0, sd=0.0, largest=0.0)
    assert nothing.resolution > 0


def test_nothing_stands_out_of_equal_effects():
    stats = SummaryStats(variants=variants(["x"] * 9), traits=("a", "b"), beta=np.ones((9, 2)), se=np.ones((9, 2)))
    assert select_instruments(stats, exposure="a", outcome="b", selection=Selection(rule="zscore")).counts.tolist() == [
        0
    ]


def test_bad_input():
    stats = member_stats(n_loci=2)
    with pytest.raises(InputError, match="trait must be one of a, b, c; got 'd'"):
        select_instruments(stats, exposure="d", outcome="a", scales=dict.fromkeys("abcd", SCALE))
    with pytest.raises(InputError, match="must be two traits"):
        select_instruments(stats, exposure="a", outcome="a")
    with pytest.raises(InputError, match="above 0; got -1"):
        Selection(threshold=-1.0)
    with pytest.raises(InputError, match="significance must be above 0"):
        Selection(significance=0.0)
    shuffled = np.random.default_rng(0).permutation(len(stats.beta))
    mixed = SummaryStats(
        variants=stats.variants.iloc[shuffled].reset_index(drop=True), traits=stats.traits, beta=stats.beta, se=stats.se
    )
    with pytest.raises(InputError, match="lie together by locus"):
        select_instruments(mixed, exposure="a", outcome="b")
    with pytest.raises((InputError, TypeCheckError), match="rule"):
        Selection(rule="best")
    with pytest.raises(InputError, match="no variants"):
        effect_scales([])
    with pytest.raises(InputError, match="'motif' needs the spans"):
        Selection(rule="motif")
    inside = Spans(locus=("l1",), chrom=("",), start=np.array([60]), end=np.array([100]), name=("",))
    with pytest.raises(InputError, match="spans are for rule 'motif'; the rule is 'f'"):
        Selection(rule="f", spans={"a": inside})
    with pytest.raises(InputError, match="needs spans of the exposure 'a'; got b"):
        select_instruments(stats, exposure="a", outcome="b", selection=Selection(rule="motif", spans={"b": inside}))
    with pytest.raises(InputError, match="must be above 0; got 0"):
        Selection(threshold=0.0)


def test_sizes_by_part_are_those_of_each_part():
    one, two = member_stats(), member_stats(seed=5)
    both = scales_of_parts([[one.beta, two.beta]], traits=("a", "b", "c"))
    assert both == [effect_scales([one]), effect_scales([two])]
