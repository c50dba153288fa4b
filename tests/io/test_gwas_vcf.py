"""GWAS-VCF files say the same as tables; fields may change their order from row to row, or be left out."""

import gzip

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.io.sumstats import read_sumstats

HEAD = "##fileformat=VCFv4.2\n##SAMPLE=<ID=ieu-a-2,TotalCases=400,TotalControls=600,StudyType=CaseControl>\n"
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tieu-a-2\n"
ROWS = (
    "1\t100\trs1\tG\tA\t.\tPASS\tAF=0.9\tES:SE:LP:AF:SS:ID\t0.1:0.02:6.2:0.3:1000:rs1\n"
    "chrX\t200\t.\tT\tC\t.\tPASS\t.\tLP:ES:SE\t4.2:-0.2:0.05\n"
    "2\t300\trs3\tT\tC\t.\tPASS\t.\tES:SE:LP:AF:SS:ID\t.\n"
    "2\t400\trs4\tT\tC,G\t.\tPASS\t.\tES:SE:LP:AF:SS:ID\t0.1:0.02:6.2:0.3:1000:rs4\n"
    "2\t500\trs5\tT\tTAG\t.\tPASS\t.\tES:SE:LP:AF:SS:ID\t0.3:0.02:999\n"
)


def read(tmp_path, text, zipped=False, **options):
    path = tmp_path / "bmi.vcf"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return read_sumstats(path, **options)


@pytest.mark.parametrize("zipped", [False, True])
def test_fields_by_hand(tmp_path, zipped):
    (one,) = read(tmp_path, HEAD + COLUMNS + ROWS, zipped)
    v, stats = one.stats.variants, one.stats
    assert one.trait == "ieu-a-2"
    assert v["variant_id"].tolist() == ["rs1", "X:200:T:C", "rs5"]
    assert v["effect_allele"].tolist() == ["A", "C", "TAG"]
    assert v["other_allele"].tolist() == ["G", "T", "T"]
    assert v["pos"].tolist() == [100, 200, 500]
    assert stats.beta[:, 0].tolist() == [0.1, -0.2, 0.3]
    assert stats.se[:, 0].tolist() == [0.02, 0.05, 0.02]
    np.testing.assert_allclose(v["ieu-a-2_pvalue"], [10**-6.2, 10**-4.2, 0])
    np.testing.assert_array_equal(v["eaf"], [0.3, np.nan, np.nan])
    assert one.stats.n[:, 0].tolist() == [1000, 1000, 1000]  # missing ones are set to the median, and it is said
    assert dict(one.dropped.to_numpy().tolist()) == {
        "rs3": "the effect is missing",
        "rs4": "an allele is not made of A, C, G, T (or D, I, -)",
    }
    assert one.columns["beta"] == "ES"


def test_frequency_in_info_and_size_in_the_header(tmp_path):
    row = "1\t100\trs1\tG\tA\t.\tPASS\tDP=3;AF=0.25\tES:SE\t0.1:0.02\n"
    (one,) = read(tmp_path, HEAD + COLUMNS + row)
    assert (one.stats.variants["eaf"][0], one.stats.n[0, 0]) == (0.25, 1000)
    assert (one.columns["eaf"], one.columns["n"]) == ("INFO AF", "SAMPLE, 1000")
    (one,) = read(tmp_path, HEAD + COLUMNS + row, columns={"n": "5e3"})
    assert one.stats.n[0, 0] == 5000


def test_several_studies(tmp_path):
    columns = COLUMNS.replace("\n", "\tieu-a-7\n")
    row = "1\t100\trs1\tG\tA\t.\tPASS\t.\tES:SE\t0.1:0.02\t0.5:0.04\n"
    one, other = read(tmp_path, HEAD + columns + row)
    assert (one.trait, other.trait, other.stats.beta[0, 0]) == ("ieu-a-2", "ieu-a-7", 0.5)


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (HEAD + COLUMNS.replace("\tFORMAT\tieu-a-2", ""), {}, "a VCF file without studies"),
        (HEAD, {}, "a VCF file without studies"),
        (HEAD + COLUMNS, {}, "the file has no rows"),
        (HEAD + COLUMNS + "1\t1\trs1\tG\tA\t.\t.\t.\tGT\t0/1\n", {}, "ieu-a-2 has no ES in FORMAT"),
        (HEAD + COLUMNS + "1\t1\trs1\tG\tA\t.\t.\t.\tES:SE\tx:1\n", {}, "values that are no numbers"),
        (HEAD + COLUMNS + "1\tx\trs1\tG\tA\t.\t.\t.\tES:SE\t1:1\n", {}, "not a VCF file"),
        (HEAD + COLUMNS + ROWS, {"columns": {"beta": "ES"}}, "only n can be given, not beta"),
        (HEAD + COLUMNS + ROWS, {"columns": {"n": "SS"}}, "n must be a number"),
    ],
)
def test_what_is_no_gwas_vcf_is_told_in_a_line(tmp_path, text, options, says):
    with pytest.raises(InputError, match=says) as error:
        read(tmp_path, text, **options)
    assert len(str(error.value).splitlines()) == 1
