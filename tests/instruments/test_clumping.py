"""Clumps and linkage disequilibrium from a PLINK panel, against the slow definition."""

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.instruments.clumping import clump_by_distance, clump_by_ld
from deepmr.instruments.ld import LdMatrix, add_correlation, ld_matrix
from deepmr.io.plink import read_plink

SAMPLES, VARIANTS = 61, 40


def write_plink(stem, dosage, *, alleles=("A", "G"), step=100_000):
    """Write copies of A1 (2, 1, 0, NaN) as a PLINK data set."""
    n, m = dosage.shape
    code = np.where(np.isnan(dosage), 1, np.where(dosage == 2, 0, np.where(dosage == 1, 2, 3))).astype(np.uint8)
    code = np.vstack([code, np.zeros((-n % 4, m), np.uint8)]).T.reshape(m, -1, 4)
    packed = (code << np.array([0, 2, 4, 6], dtype=np.uint8)).sum(axis=2).astype(np.uint8)
    stem.with_name(stem.name + ".bed").write_bytes(b"\x6c\x1b\x01" + packed.tobytes())
    rows = [f"{1 + (j >= 30)}\trs{j}\t0\t{(j + 1) * step}\t{alleles[0]}\t{alleles[1]}" for j in range(m)]
    stem.with_name(stem.name + ".bim").write_text("\n".join(rows) + "\n")
    stem.with_name(stem.name + ".fam").write_text("".join(f"f{i} s{i} 0 0 1 -9\n" for i in range(n)))


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(1)
    haplotypes = np.zeros((2, SAMPLES, VARIANTS))
    haplotypes[:, :, 0] = rng.random((2, SAMPLES)) < 0.4
    for j in range(1, VARIANTS):
        copy = rng.random((2, SAMPLES)) < 0.8
        haplotypes[:, :, j] = np.where(copy, haplotypes[:, :, j - 1], rng.random((2, SAMPLES)) < 0.4)
    dosage = haplotypes.sum(axis=0)
    dosage[rng.random(dosage.shape) < 0.05] = np.nan
    write_plink(tmp_path / "panel", dosage)
    variants = pd.DataFrame(
        {
            "variant_id": [f"rs{j}" for j in range(VARIANTS)],
            "locus": "genome",
            "chrom": ["1"] * 30 + ["2"] * 10,
            "pos": (np.arange(VARIANTS) + 1) * 100_000,
            "effect_allele": "A",
            "other_allele": "G",
        }
    )
    return tmp_path, dosage, variants, rng.random(VARIANTS)


def slow(variants, strength, near):
    """Keep the strongest, remove what is near, again."""
    left, kept = list(np.argsort(-strength, kind="stable")), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if variants["chrom"][i] != variants["chrom"][best] or not near(best, i)]
    return sorted(kept)


def pair_r(dosage, i, j):
    both = ~np.isnan(dosage[:, i]) & ~np.isnan(dosage[:, j])
    return np.corrcoef(dosage[both, i], dosage[both, j])[0, 1]


def test_dosages_come_back(data):
    folder, dosage, _, _ = data
    panel = read_plink(folder / "panel.bed")
    rows = np.array([3, 0, 39])
    np.testing.assert_array_equal(panel.dosages(rows), dosage[:, rows])


@pytest.mark.parametrize("kb", [0.0, 250.0, 1_000.0])
def test_distance_is_the_slow_definition(data, kb):
    _, _, variants, strength = data
    found = clump_by_distance(variants, strength, kb=kb)
    expected = slow(variants, strength, lambda a, b: abs(variants["pos"][a] - variants["pos"][b]) <= kb * 1000)
    assert np.flatnonzero(found.kept).tolist() == expected
    assert len(found.dropped) == VARIANTS - len(expected)


@pytest.mark.parametrize(("r2", "kb"), [(0.1, 10_000.0), (0.3, 10_000.0), (0.1, 300.0)])
def test_ld_is_the_slow_definition(data, r2, kb):
    folder, dosage, variants, strength = data

    def near(a, b):
        close = abs(variants["pos"][a] - variants["pos"][b]) <= kb * 1000
        return close and pair_r(dosage, a, b) ** 2 >= r2

    found = clump_by_ld(variants, strength, read_plink(folder / "panel"), r2=r2, kb=kb)
    assert np.flatnonzero(found.kept).tolist() == slow(variants, strength, near)
    order = np.random.default_rng(0).permutation(VARIANTS)
    again = clump_by_ld(
        variants.iloc[order].reset_index(drop=True), strength[order], read_plink(folder / "panel"), r2=r2, kb=kb
    )
    assert np.array_equal(again.kept, found.kept[order])


def test_a_variant_outside_the_panel_is_told(data):
    folder, _, variants, strength = data
    variants = variants.assign(variant_id=["new", *variants["variant_id"][1:]], pos=[7, *variants["pos"][1:]])
    found = clump_by_ld(variants, strength, read_plink(folder / "panel"))
    assert not found.kept[0]
    assert found.dropped.set_index("variant_id").loc["new", "reason"] == "not in the LD panel"


@pytest.mark.parametrize("by", ["distance", "ld"])
def test_a_variant_of_unknown_position_is_told_and_the_others_are_clumped_as_without_it(data, by):
    folder, _, variants, strength = data
    lost, rest = [3, 17, 30], np.delete(np.arange(VARIANTS), [3, 17, 30])
    bim = pd.read_csv(folder / "panel.bim", sep=r"\s+", header=None)
    bim.loc[lost, 3] = [0, -5, 0]
    bim.to_csv(folder / "panel.bim", sep="\t", header=False, index=False)
    panel = read_plink(folder / "panel")
    holes = variants.assign(pos=variants["pos"].where(~variants.index.isin(lost), 0))
    holes.loc[30, ["chrom", "pos"]] = ["", 5]

    def clump(table, strength):
        return clump_by_distance(table, strength) if by == "distance" else clump_by_ld(table, strength, panel)

    found = clump(holes, strength)
    alone = clump(variants.iloc[rest].reset_index(drop=True), strength[rest])
    assert np.flatnonzero(found.kept).tolist() == rest[alone.kept].tolist()
    where = "" if by == "distance" else " in the LD panel"
    why = found.dropped.set_index("variant_id")
    assert why.loc[["rs3", "rs17", "rs30"], "reason"].tolist() == [f"of unknown position{where}"] * 3
    assert len(why) == VARIANTS - found.kept.sum()
    with pytest.raises(InputError, match=f"clumping needs positions; all 3 are unknown{where}, first of rs3"):
        clump(holes.iloc[lost].reset_index(drop=True), strength[lost])


def test_matrix_is_in_the_coding_of_the_effects(data):
    folder, dosage, variants, _ = data
    some = variants.iloc[[5, 2, 7]].reset_index(drop=True)
    some.loc[1, ["effect_allele", "other_allele"]] = ["G", "A"]  # swapped
    some.loc[2, ["effect_allele", "other_allele"]] = ["T", "C"]  # the other strand
    ld, lost = ld_matrix(read_plink(folder / "panel"), some)
    assert lost.empty
    assert ld.correlation[0, 1] == pytest.approx(-pair_r(dosage, 5, 2))
    assert ld.correlation[0, 2] == pytest.approx(pair_r(dosage, 5, 7))


def test_matrix_in_another_order_and_coding_gives_the_same(data):
    folder, _, variants, _ = data
    ld, _ = ld_matrix(read_plink(folder / "panel"), variants.iloc[:4])
    instruments = genome(variants.iloc[:4])
    order = np.array([2, 0, 3, 1])
    sign = np.array([1.0, -1, 1, 1])
    named = ld.variants.iloc[order].reset_index(drop=True)
    named.loc[1, ["effect_allele", "other_allele"]] = ["G", "A"]
    shuffled = LdMatrix(variants=named, correlation=ld.correlation[np.ix_(order, order)] * sign[:, None] * sign)
    np.testing.assert_array_equal(
        add_correlation(instruments, shuffled).correlation[0], add_correlation(instruments, ld).correlation[0]
    )
    with pytest.raises(InputError, match="the LD matrix lacks 1 of 5 instruments, first rs4"):
        add_correlation(genome(variants.iloc[:5]), ld)


def genome(variants):
    from deepmr.instruments.gwas import gwas_instruments
    from deepmr.types import SummaryStats

    size = (len(variants), 2)
    stats = SummaryStats(
        variants=variants.reset_index(drop=True), traits=("X", "Y"), beta=np.ones(size), se=np.ones(size),
        estimand="population",
    )  # fmt: skip
    return gwas_instruments(stats, exposures=["X"], outcome="Y")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "panel.bed").unlink(), "panel.bed: cannot be read"),
        (lambda f: (f / "panel.bed").write_bytes(b"\x6c\x1b\x01\x00"), "has 4 bytes; 40 variants"),
        (lambda f: (f / "panel.bed").write_bytes(b"hello"), "not a PLINK 1 .bed file"),
        (lambda f: (f / "panel.bim").write_text("1 rs1 0\n"), "line 1 has 3 cell"),
        (lambda f: (f / "panel.fam").write_text(""), "the file is empty"),
    ],
)
def test_a_damaged_panel_is_told(data, spoil, says):
    spoil(data[0])
    with pytest.raises(InputError, match=says):
        read_plink(data[0] / "panel")
