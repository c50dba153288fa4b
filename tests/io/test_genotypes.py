"""Every format gives back the genotypes that were written, whole or in blocks, of all samples or of some."""

import gzip
import pickle
import time

import numpy as np
import pandas as pd
import pytest

from deepmr.cohort import VARIANT_COLUMNS, ArrayGenotypes, Genotypes
from deepmr.errors import InputError
from deepmr.io.genotypes import open_genotypes
from deepmr.io.genotypes_npz import write_npz_genotypes
from tests.io.population_files import called_rows, random_dosages, write_bimbam, write_plink, write_vcf

DOSAGES = random_dosages()
IDS = [f"s{k}" for k in range(DOSAGES.shape[1])]


def npz(path, dosages=DOSAGES, **columns):
    n = len(dosages)
    arrays = {
        "dosages": dosages, "variant_id": np.array([f"rs{k}" for k in range(n)]), "chrom": np.full(n, "chr1"),
        "pos": np.arange(n) + 1, "effect_allele": np.full(n, "A"), "other_allele": np.full(n, "G"),
        "samples": np.array(IDS),
    } | columns  # fmt: skip
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
    return path


def vcf(path):
    pytest.importorskip("cyvcf2")
    return write_vcf(path, called_rows(DOSAGES), ids=IDS)


def bimbam(path, separator=", "):
    (path.parent / "ids.txt").write_text("\n".join(IDS))
    (path.parent / "anno.txt").write_text("".join(f"rs{k}, {k + 1}, chr1, 0\n" for k in range(len(DOSAGES))))
    return write_bimbam(path, DOSAGES, separator=separator)


FORMATS = {
    "plink": lambda d: open_genotypes(write_plink(d / "g.v1", DOSAGES)),
    "plink threads": lambda d: open_genotypes(write_plink(d / "g", DOSAGES).with_suffix(".bim"), threads=2),
    "vcf": lambda d: open_genotypes(vcf(d / "g.vcf")),
    "npz": lambda d: open_genotypes(npz(d / "g.npz")),
    "npz whole numbers": lambda d: open_genotypes(npz(d / "g.npz", np.nan_to_num(DOSAGES, nan=-1).astype(np.int8))),
    "bimbam": lambda d: open_genotypes(
        bimbam(d / "g.geno.txt"), annotation=d / "anno.txt", samples=d / "ids.txt"
    ),
    "bimbam blanks": lambda d: open_genotypes(
        bimbam(d / "g.bimbam", "\t"), annotation=d / "anno.txt", samples=d / "ids.txt"
    ),
}  # fmt: skip


@pytest.fixture(params=FORMATS)
def genotypes(request, tmp_path):
    return FORMATS[request.param](tmp_path)


def test_what_was_written_is_read(genotypes):
    assert isinstance(genotypes, Genotypes)
    assert genotypes.samples.tolist() == IDS
    variants = genotypes.variants
    assert set(VARIANT_COLUMNS) <= set(variants.columns)
    assert variants["variant_id"].tolist() == [f"rs{k}" for k in range(len(DOSAGES))]
    assert set(variants["chrom"]) <= {"1", "2"}
    assert variants["pos"].tolist() == list(range(1, len(DOSAGES) + 1))
    assert set(variants["effect_allele"]) == {"A"}
    assert set(variants["other_allele"]) == {"G"}
    found = genotypes.read(0, len(DOSAGES))
    np.testing.assert_array_equal(found, DOSAGES)
    assert found.flags.c_contiguous


def test_blocks_in_any_order_and_twice_are_the_whole(genotypes):
    starts = np.random.default_rng(1).permutation(np.arange(0, len(DOSAGES), 7)).tolist()
    for start in [*starts, *starts]:
        stop = min(start + 7, len(DOSAGES))
        np.testing.assert_array_equal(genotypes.read(start, stop), DOSAGES[start:stop])
    assert genotypes.read(3, 3).shape == (0, len(IDS))


def test_some_samples_in_any_order(genotypes):
    rows = np.array([7, 0, 10, 3])
    some = genotypes.take(rows)
    assert some.samples.tolist() == [IDS[k] for k in rows]
    np.testing.assert_array_equal(some.read(5, 20), DOSAGES[5:20, rows])
    again = some.take(np.array([2, 1]))
    assert again.samples.tolist() == [IDS[10], IDS[0]]
    found = again.read(5, 20)
    np.testing.assert_array_equal(found, DOSAGES[5:20, [10, 0]])
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(genotypes.read(0, 5), DOSAGES[:5])  # the whole is as it was


def test_they_can_be_sent_to_other_processes(genotypes):
    there = pickle.loads(pickle.dumps(genotypes.take(np.array([1, 0]))))
    np.testing.assert_array_equal(there.read(0, 9), DOSAGES[:9, [1, 0]])


def test_arrays_are_written_and_read(tmp_path, genotypes):
    write_npz_genotypes(genotypes, tmp_path / "again.npz")
    again = open_genotypes(tmp_path / "again.npz")
    np.testing.assert_array_equal(again.read(0, len(DOSAGES)), DOSAGES)
    assert again.samples.equals(genotypes.samples)
    names = list(VARIANT_COLUMNS)
    pd.testing.assert_frame_equal(
        again.variants[names].astype(str), genotypes.variants[names].astype(str), check_dtype=False
    )


def test_compressed_means_are_read(tmp_path):
    path = bimbam(tmp_path / "g.geno.txt")
    (tmp_path / "g.geno.txt.gz").write_bytes(gzip.compress(path.read_bytes()))
    found = open_genotypes(tmp_path / "g.geno.txt.gz")
    np.testing.assert_array_equal(found.read(0, len(DOSAGES)), DOSAGES)
    assert found.samples.tolist() == [str(k + 1) for k in range(len(IDS))]
    assert set(found.variants["chrom"]) == {""}
    assert set(found.variants["pos"]) == {0}


def test_means_need_not_be_whole(tmp_path):
    (tmp_path / "g.bimbam").write_text("rs1,A,G,0.25,NA, 2\n\nrs2 T C 1e-1 1 .\n")
    found = open_genotypes(tmp_path / "g.bimbam").read(0, 2)
    np.testing.assert_allclose(found, [[0.25, np.nan, 2], [0.1, 1, np.nan]], rtol=1e-7)


def test_individuals_of_several_families_may_share_an_identifier(tmp_path):
    stem = write_plink(tmp_path / "g", DOSAGES[:, :3], families=["A", "B", "B"], ids=["1", "1", "2"], names=["."] * 50)
    found = open_genotypes(stem)
    assert found.samples.tolist() == ["A:1", "B:1", "B:2"]
    assert found.variants["variant_id"].tolist()[:2] == ["1:1:G:A", "2:2:G:A"]


def test_decoding_costs_far_less_than_the_rotation(tmp_path):
    """30 CPU seconds for 1,000,000 variants of 2,000 samples are 15 ns a genotype; 2 are usual."""
    n, variants = 2000, 1000
    rng = np.random.default_rng(0)
    write_plink(tmp_path / "g", np.zeros((variants, n)))
    (tmp_path / "g.bed").write_bytes(b"\x6c\x1b\x01" + rng.integers(0, 256, variants * n // 4, np.uint8).tobytes())
    genotypes = open_genotypes(tmp_path / "g").take(rng.permutation(n)[:1900])
    start = time.process_time()
    for first in range(0, variants, 250):
        genotypes.read(first, first + 250)
    assert (time.process_time() - start) / (variants * 1900) < 15e-9


def plink(folder, **changed):
    """Write PLINK files, and put other bytes in place of some."""
    stem = write_plink(folder / "g", DOSAGES)
    for suffix, content in changed.items():
        stem.with_suffix(f".{suffix}").write_bytes(content)
    return stem


def written(name, content):
    """Return what writes a file of that name and content."""

    def write(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return write


def one_array(folder):
    with (folder / "g.npz").open("wb") as handle:
        np.save(handle, DOSAGES)
    return folder / "g.npz"


ZIPPED = gzip.compress(b"rs1,A,G,1,2\n" * 999)
BAD = {
    "nothing there": (lambda d: d / "nothing", "no genotypes: no nothing.bed"),
    "no .bim": (lambda d: d / "g.bed", "g.bim: cannot be read"),
    "truncated .bed": (lambda d: plink(d, bed=b"\x6c\x1b\x01" + bytes(148)), "g.bed: has 151 bytes; .* take 153"),
    "by sample": (lambda d: plink(d, bed=b"\x6c\x1b\x00" + bytes(150)), "genotypes are laid out by sample"),
    "no .bed": (lambda d: plink(d, bed=bytes(153)), "not a PLINK 1 .bed file"),
    "another .fam": (lambda d: plink(d, fam=b"F s 0 0 1 -9\n"), "g.bed: has 153 bytes"),
    "short .fam": (lambda d: plink(d, fam=b"F s 0 0\n"), "line 1 has 4 cell"),
    "sample twice": (lambda d: write_plink(d / "g", DOSAGES, ids=[*IDS[:-1], "s0"]), "'s0' of family 'F' occurs more"),
    "no name": (lambda d: write_plink(d / "g", DOSAGES, ids=[*IDS[:-1], "NA"]), "line 11 has no individual identifier"),
    "no .npz": (written("g.npz", b"PK123"), "not a .npz file of genotypes"),
    "empty .npz": (written("g.npz", b""), "not a .npz file of genotypes"),
    "one array": (one_array, "one array, not several"),
    "no such .npz": (lambda d: d / "g.npz", "No such file"),
    "objects": (lambda d: npz(d / "g.npz", samples=np.array(IDS, dtype=object)), "not a .npz file of genotypes"),
    "an array lacks": (lambda d: npz(d / "g.npz", pos=None), "no array 'pos'; it has dosages"),
    "a column is short": (lambda d: npz(d / "g.npz", pos=np.arange(3)), r"pos must have shape \(50,\).*got \(3,\)"),
    "text for numbers": (lambda d: npz(d / "g.npz", DOSAGES.astype(str)), "dosages must be numbers"),
    "positions are text": (lambda d: npz(d / "g.npz", pos=np.full(50, "x")), "g.npz: invalid literal"),
    "sample twice in .npz": (lambda d: npz(d / "g.npz", samples=np.full(11, "s")), "'s' occurs more than once"),
    "empty means": (written("g.bimbam", b"\n"), "the file is empty"),
    "no such means": (lambda d: d / "g.bimbam", "cannot be read: No such file"),
    "short means": (written("g.bimbam", b"rs1,A,G,1,2\nrs2,A,G,1\n"), "line 2 has 1 genotypes; line 1 has 2"),
    "no means": (written("g.bimbam", b"rs1,A,G\n"), "line 1 has 3 cell"),
    "means are text": (written("g.bimbam", b"rs1,A,G,1,x,2\n"), "line 1: a genotype is not a number"),
    "infinite means": (written("g.bimbam", b"rs1,A,G,1,inf\n"), "a genotype is infinite"),
    "truncated means": (written("g.geno.txt.gz", ZIPPED[:-20]), "gzip data are truncated"),
}


@pytest.mark.parametrize("kind", BAD)
def test_damaged_files_say_what_is_wrong(tmp_path, kind):
    make, message = BAD[kind]
    with pytest.raises(InputError, match=message) as error:
        open_genotypes(make(tmp_path))
    assert "\n" not in str(error.value)


def test_options_of_another_format_are_refused(tmp_path):
    with pytest.raises(InputError, match="annotation is for mean genotypes of BIMBAM"):
        open_genotypes(plink(tmp_path), annotation=tmp_path / "anno.txt")
    with pytest.raises(InputError, match="threads must be at least 1"):
        open_genotypes(plink(tmp_path), threads=0)


@pytest.mark.parametrize(
    ("text", "samples", "message"),
    [
        ("rs0, 1, 1\n", None, "49 of 50 variants are not there, such as 'rs1'"),
        ("rs0, x, 1\n", None, "line 1: needed variant, position and chromosome"),
        ("rs0, 1, 1\nrs0, 2, 1\n", None, "line 2: variant 'rs0' has two positions"),
        (None, "a\nb\n", "has 2 samples; .* has 11"),
        (None, "a\n" * 11, "sample 'a' occurs more than once"),
    ],
)
def test_files_beside_means_must_fit(tmp_path, text, samples, message):
    path = bimbam(tmp_path / "g.bimbam")
    for name, content in {"anno.txt": text, "ids.txt": samples}.items():
        if content is not None:
            (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        open_genotypes(path, annotation=tmp_path / "anno.txt", samples=tmp_path / "ids.txt")


def test_memory_is_bounded(tmp_path):
    path = bimbam(tmp_path / "g.bimbam")
    with pytest.raises(InputError, match=r"more than 10 variants of 11 samples do not fit .* plink2 --make-bed"):
        open_genotypes(path, max_bytes=4 * 11 * 10)


def test_arrays_in_memory_check_their_shape():
    variants = pd.DataFrame({name: ["x"] for name in VARIANT_COLUMNS})
    with pytest.raises(InputError, match="dosages must have shape"):
        ArrayGenotypes(variants=variants, samples=pd.Index(["a"]), dosages=np.zeros((2, 1)))
    with pytest.raises(InputError, match="samples must be unique"):
        ArrayGenotypes(variants=variants, samples=pd.Index(["a", "a"]), dosages=np.zeros((1, 2)))
