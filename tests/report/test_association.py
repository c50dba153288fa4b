"""Figures and page of a scan: what is drawn where, the same however the scan is cut, and words for what was found."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from deepmr.errors import InputError
from deepmr.population.inflation import Spread
from deepmr.report.association import AssociationRun, Heritability, ScannedTrait, answers, qq_of
from deepmr.report.genome import chromosome_order, genome_axis
from deepmr.report.manhattan import Thinned, manhattan
from deepmr.report.page import render_association_page
from deepmr.report.qq import drawn_ranks, qq

M = 4_000


def simulated():
    rng = np.random.default_rng(5)
    chrom = np.repeat(["10", "2", "X", "1"], M // 4)
    variants = pd.DataFrame(
        {"variant_id": [f"rs{k}" for k in range(M)], "chrom": chrom, "pos": np.tile(np.arange(1, M // 4 + 1) * 1000, 4)}
    )
    log10p = rng.exponential(1 / np.log(10), M)
    log10p[[100, 3000]] = 12.0, 25.0
    log10p[7] = np.nan
    return variants, log10p


def gathered(place, log10p, block):
    thinned, spread = Thinned(), Spread()
    for start in range(0, M, block):
        part = np.arange(start, min(start + block, M))
        thinned.add(part, place[part], log10p[part])
        spread.add(log10p[part])
    return thinned, spread


def trait_of(variants, log10p):
    axis, codes, place = genome_axis(variants)
    thinned, spread = gathered(place, log10p, 500)
    index, heights = thinned.points()
    top = [3000, 100]
    leads = variants.iloc[top].assign(place=place[top], log10p=log10p[top], effect_allele="A", other_allele="<b>")
    leads = leads.assign(beta=0.1, se=0.01, eaf=0.3)
    one = Heritability(h_sq=0.4, se=0.05, raw=0.2, raw_se=0.03)
    trait = ScannedTrait(
        name="<i>weight</i>", n=900, whole=one, left_out={"1": one}, spread=spread, codes=codes[index],
        place=place[index], log10p=heights, statuses={"ok": M - 1, "low_mac": 1}, n_hits=2, leads=leads,
    )  # fmt: skip
    return axis, trait


def test_chromosomes_stand_in_their_order_end_to_end():
    variants, _ = simulated()
    axis, codes, place = genome_axis(variants)
    assert axis.chroms == ("1", "2", "10", "X")
    assert axis.starts[0] == pytest.approx(0)
    assert axis.ends[-1] == pytest.approx(1)
    assert (axis.starts[1:] > axis.ends[:-1]).all()
    assert codes[0] == 2
    assert place[0] == pytest.approx(axis.starts[2])
    assert place[M // 4 - 1] == pytest.approx(axis.ends[2])
    assert sorted(["chrX", "MT", "chr10", "2", "scaffold", "Y"], key=chromosome_order) == [
        "2", "chr10", "chrX", "Y", "MT", "scaffold",
    ]  # fmt: skip


def test_unknown_positions():
    variants = pd.DataFrame({"chrom": ["1", "1", "1", "2", "2"], "pos": [100, 300, -9, 0, 0]})
    _, _, place = genome_axis(variants)
    assert np.isnan(place).tolist() == [False, False, True, False, False]
    assert place[3] < place[4]


@pytest.mark.parametrize("block", [1, 333, M])
def test_points_kept_do_not_depend_on_blocks(block):
    variants, log10p = simulated()
    place = genome_axis(variants)[2]
    kept = set(gathered(place, log10p, 500)[0].points()[0])
    assert set(gathered(place, log10p, block)[0].points()[0]) == kept
    assert set(np.flatnonzero(log10p >= 2)) <= kept
    assert 7 not in kept


def test_what_lies_on_another_point_is_not_kept():
    thinned = Thinned()
    thinned.add(np.arange(4), np.array([0.5, 0.5, 0.5, 0.1]), np.array([0.301, 0.302, 3.0, 0.301]))
    thinned.add(np.arange(4, 6), np.array([0.5, 0.5]), np.array([0.301, 3.0]))
    assert thinned.points()[0].tolist() == [0, 2, 3, 5]


def test_manhattan_names_the_strongest():
    axis, trait = trait_of(*simulated())
    axes = manhattan(axis, trait.codes, trait.place, trait.log10p, title="t", leads=trait.leads).axes[0]
    assert {text.get_text() for text in axes.texts} == {"rs3000", "rs100"}
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "10", "X"]
    drawn = sum(len(points.get_offsets()) for points in axes.collections)
    assert drawn == len(trait.log10p)
    assert sorted(
        line.get_ydata()[0] for line in axes.lines if str(line.get_gid()).startswith("level")
    ) == pytest.approx([5.0, -np.log10(5e-8)])
    near = pd.concat([trait.leads, trait.leads.assign(variant_id="near", log10p=11.0)])
    axes = manhattan(axis, trait.codes, trait.place, trait.log10p, leads=near).axes[0]
    assert len(axes.texts) == 2


def test_manhattan_of_one_chromosome_has_positions():
    variants, log10p = simulated()
    one = variants["chrom"] == "2"
    axis, codes, place = genome_axis(variants[one])
    axes = manhattan(axis, codes, place, np.nan_to_num(log10p[one])).axes[0]
    assert axes.get_xlabel() == "position on chromosome 2 (Mb)"


def test_qq_is_on_the_line_without_association():
    spread = Spread()
    spread.add(-np.log10((np.arange(1, 5001) - 0.5) / 5000))
    axes = qq(spread).axes[0]
    x, y = np.asarray(axes.collections[-1].get_offsets()).T
    assert x == pytest.approx(y, abs=1e-9)
    assert "λ GC 1.000" in axes.texts[0].get_text()
    band = axes.collections[0].get_paths()[0].vertices
    largest = band[np.isclose(band[:, 0], x.max())][:, 1]
    wanted = -np.log10(stats.beta.ppf([0.975, 0.025], 1, 5000))
    assert (largest.min(), largest.max()) == pytest.approx(tuple(wanted))
    with pytest.raises(InputError, match="no variant was tested"):
        qq(Spread())


def test_drawn_ranks_hold_the_smallest_and_the_last():
    assert drawn_ranks(5).tolist() == [1, 2, 3, 4, 5]
    many = drawn_ranks(1_000_000)
    assert len(many) < 1300
    assert many[:400].tolist() == list(range(1, 401))
    assert many[-1] == 1_000_000


def test_page():
    axis, trait = trait_of(*simulated())
    nothing = replace(
        trait, name="nothing", spread=Spread(), codes=trait.codes[:0], place=trait.place[:0], log10p=trait.log10p[:0],
        n_hits=0, leads=trait.leads[:0], whole=replace(trait.whole, boundary="lower", h_sq=0.0),
    )  # fmt: skip
    run = AssociationRun(
        traits=(trait, nothing), axis=axis, lost={"without covariate": 3, "none": 0}, notes=("look here",)
    )
    page = render_association_page(run)
    assert "<i>" not in page
    assert page.count("<svg") == 3
    assert "Samples left out: 3 without covariate." in page
    assert "look here" in page
    said = answers(run)
    assert said[0].startswith("<i>weight</i>, 900 samples: 2 variants below P = 5e−8 at 2 loci, the strongest rs3000")
    assert "40.0 % (standard error 5.0 %)" in said[0]
    assert "explains none of its variance" in said[1]
    assert qq_of(trait).axes
