"""Calls and dosages of VCF and BCF files."""

import builtins
import gzip

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.io.genotypes_vcf import read_vcf_genotypes
from tests.io.population_files import HEAD, called_rows, random_dosages, write_vcf

cyvcf2 = pytest.importorskip("cyvcf2")
IDS = ["a", "b", "c"]
MIXED = [
    ("chr1", 100, "rs1", "A", "C", "GT:DS", ["0/1:1.1", "1|1:2", "./.:."]),
    ("chr1", 200, "rs2", "A", "C,G", "GT", ["0/1", "2|1", "./1"]),
    ("chrX", 300, ".", "A", "C", "GT", ["0", "1", "."]),
    ("chrX", 400, ".", "A", "C", "GT:DS", ["0/1:1.25", "1:0.75", "0:0.25"]),
    ("chr1", 500, ".", "A", ".", "GT", ["0/0", "0/0", "./."]),
    ("chr1", 600, ".", "A", "C,G", "DS", ["0.5,0.25", "1,0", "."]),
    ("chr1", 700, ".", "AT", "A", "GT", ["0/1", "0/0", "1/1"]),
]
NAN = np.nan


def test_dosages_and_calls_by_hand(tmp_path):
    found = read_vcf_genotypes(write_vcf(tmp_path / "g.vcf", MIXED, ids=IDS))
    v = found.variants
    assert v["variant_id"].tolist() == [
        "rs1", "1:200:A:C", "1:200:A:G", "X:300:A:C", "X:400:A:C", "1:500:A:.", "1:600:A:C", "1:600:A:G", "1:700:AT:A",
    ]  # fmt: skip
    assert v["effect_allele"].tolist() == ["C", "C", "G", "C", "C", ".", "C", "G", "A"]
    assert v["other_allele"].tolist() == ["A"] * 8 + ["AT"]
    expected = [
        [1.1, 2, NAN], [1, 1, NAN], [0, 1, NAN], [0, 2, NAN], [1.25, 1.5, 0.5], [0, 0, NAN], [0.5, 1, NAN],
        [0.25, 0, NAN], [1, 0, 2],
    ]  # fmt: skip
    np.testing.assert_allclose(found.read(0, 9), expected, rtol=1e-6)


def test_fields_can_be_chosen(tmp_path):
    path = write_vcf(tmp_path / "g.vcf", MIXED, ids=IDS)
    calls = read_vcf_genotypes(path, field="GT")
    assert calls.values.dtype == np.int8
    np.testing.assert_array_equal(calls.read(0, 1), [[1, 2, NAN]])
    np.testing.assert_array_equal(calls.read(6, 7), [[NAN, NAN, NAN]])
    dosages = read_vcf_genotypes(path, field="DS")
    np.testing.assert_array_equal(dosages.read(1, 2), [[NAN, NAN, NAN]])


@pytest.mark.parametrize(("name", "mode"), [("g.bcf", "wb"), ("g.vcf.gz", "wz")])
def test_binary_and_compressed_files_say_the_same(tmp_path, name, mode):
    dosages = random_dosages(samples=3)
    path = write_vcf(tmp_path / "g.vcf", called_rows(dosages), ids=IDS)
    reader = cyvcf2.VCF(str(path))
    writer = cyvcf2.Writer(str(tmp_path / name), reader, mode=mode)
    for record in reader:
        writer.write_record(record)
    writer.close()
    np.testing.assert_array_equal(read_vcf_genotypes(tmp_path / name).read(0, 50), dosages)
    content = (tmp_path / name).read_bytes()
    (tmp_path / f"cut_{name}").write_bytes(content[:-28])
    with pytest.raises(InputError, match="bgzip data are truncated"):
        read_vcf_genotypes(tmp_path / f"cut_{name}")


def with_row(path, cells, keys="GT", pos="900"):
    write_vcf(path, [*MIXED[:2], ("chr1", pos, ".", "A", "C", keys, cells)], ids=IDS)


BAD = {
    "no file": (lambda p: None, "cannot be read: No such file"),
    "no VCF": (lambda p: p.write_text("a\tb\n1\t2\n"), "not a VCF or BCF file"),
    "no samples": (
        lambda p: p.write_text(HEAD + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n1\t1\t.\tA\tC\t.\t.\t.\n"),
        "a VCF file without samples",
    ),
    "no variants": (lambda p: write_vcf(p, [], ids=IDS), "the file has no variants"),
    "no field": (lambda p: write_vcf(p, MIXED, ids=IDS, head="##fileformat=VCFv4.2\n"), "no FORMAT field GT"),
    "sample twice": (lambda p: write_vcf(p, MIXED, ids=["a", "a", "b"]), "not a VCF or BCF file"),
    "a cell lacks": (lambda p: with_row(p, ["0/0", "0/1"]), "damaged or truncated after 1:200|after chr1:200"),
    "no call": (lambda p: with_row(p, ["0/0", "0/1", "0/hello"]), "damaged or truncated after chr1:200"),
    "position": (lambda p: with_row(p, ["0/0"] * 3, pos="x9"), "damaged or truncated after chr1:200"),
    "ploidy": (lambda p: with_row(p, ["0/0/1"] * 3), "chr1:900 has calls of 3 alleles; needed 1 or 2"),
    "dosages": (lambda p: with_row(p, ["1,1"] * 3, keys="DS"), "chr1:900 has 2 DS a sample; needed one an ALT"),
    "cut line": (
        lambda p: p.write_text(write_vcf(p, MIXED, ids=IDS).read_text()[:-30]), "truncated: the last line has no end"
    ),
    "cut gzip": (
        lambda p: p.write_bytes(gzip.compress(write_vcf(p, MIXED, ids=IDS).read_bytes())[:-60]), "truncated|not a V"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_damaged_files_say_what_is_wrong(tmp_path, kind):
    make, message = BAD[kind]
    make(tmp_path / "g.vcf")
    with pytest.raises(InputError, match=f"g.vcf: .*({message})") as error:
        read_vcf_genotypes(tmp_path / "g.vcf")
    assert "\n" not in str(error.value)


def test_memory_is_bounded(tmp_path):
    path = write_vcf(tmp_path / "g.vcf", MIXED, ids=IDS)
    with pytest.raises(InputError, match="more than 2 variants of 3 samples do not fit"):
        read_vcf_genotypes(path, field="GT", max_bytes=6)
    assert len(read_vcf_genotypes(path, field="GT", max_bytes=27).variants) == 9


def test_without_cyvcf2_it_says_what_to_install(tmp_path, monkeypatch):
    path = write_vcf(tmp_path / "g.vcf", MIXED, ids=IDS)
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "cyvcf2":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"VCF and BCF need cyvcf2: pip install 'deepmr\[vcf\]'"):
        read_vcf_genotypes(path)


def test_more_variants_than_there_is_room_for_at_first(tmp_path):
    dosages = random_dosages(variants=4000, samples=3)
    found = read_vcf_genotypes(write_vcf(tmp_path / "g.vcf", called_rows(dosages), ids=IDS))
    np.testing.assert_array_equal(found.read(0, 4000), dosages)
