"""GWAS tables of many dialects come out the same, and what cannot be used is told."""

import gzip

import numpy as np
import pytest

from deepmr.errors import InputError
from deepmr.io.ld import read_ld_matrix
from deepmr.io.sumstats import read_sumstats
from deepmr.io.sumstats_columns import parse_columns

# The same two associations: rs1 at 1:100 A (other G) 0.1 (0.02), frequency 0.3; rs2 at X:200 C (other T) -0.2 (0.05).
P1, P2 = 5.733031437583869e-07, 6.334248366623973e-05
DIALECTS = {
    "gwas_ssf": "chromosome\tbase_pair_location\teffect_allele\tother_allele\tbeta\tstandard_error\t"
    "effect_allele_frequency\tp_value\trsid\tn\n"
    f"1\t100\tA\tG\t0.1\t0.02\t0.3\t{P1}\trs1\t1000\n23\t200\tC\tT\t-0.2\t0.05\t0.4\t{P2}\trs2\t1000\n",
    "twosamplemr": "SNP,chr.exposure,pos.exposure,effect_allele.exposure,other_allele.exposure,beta.exposure,"
    "se.exposure,eaf.exposure,pval.exposure,samplesize.exposure,id.exposure,beta.outcome\n"
    f"rs1,1,100,A,G,0.1,0.02,0.3,{P1},1000,q,9\nrs2,X,200,C,T,-0.2,0.05,0.4,{P2},1000,q,9\n",
    "plink2": "#CHROM\tPOS\tID\tREF\tALT\tA1\tA1_FREQ\tTEST\tOBS_CT\tBETA\tSE\tP\n"
    f"1\t100\trs1\tG\tA\tA\t0.3\tADD\t1000\t0.1\t0.02\t{P1}\n"
    f"X\t200\trs2\tC\tT\tC\t0.4\tADD\t1000\t-0.2\t0.05\t{P2}\nX\t200\trs2\tC\tT\tC\t0.4\tSEX\t1000\t9\t0.05\t0.5\n",
    "plink1": f" CHR SNP  BP A1 A2 FRQ NMISS  BETA   SE  P\n  1 rs1 100 A G 0.3 1000 0.1 0.02 {P1}\n"
    f" 23 rs2 200 C T 0.4 1000 -0.2 0.05 {P2}\n",
    "regenie": "CHROM GENPOS ID ALLELE0 ALLELE1 A1FREQ N TEST BETA SE CHISQ LOG10P EXTRA\n"
    f"1 100 rs1 G A 0.3 1000 ADD 0.1 0.02 25 {-np.log10(P1)} NA\n"
    f"23 200 rs2 T C 0.4 1000 ADD -0.2 0.05 16 {-np.log10(P2)} NA\n",
    "saige": "CHR\tPOS\tMarkerID\tAllele1\tAllele2\tAC_Allele2\tAF_Allele2\tBETA\tSE\tp.value\tN\n"
    f"1\t100\trs1\tG\tA\t600\t0.3\t0.1\t0.02\t{P1}\t1000\nchrX\t200\trs2\tT\tC\t800\t0.4\t-0.2\t0.05\t{P2}\t1000\n",
    "bolt": "SNP CHR BP GENPOS ALLELE1 ALLELE0 A1FREQ BETA SE P_BOLT_LMM N\n"
    f"rs1 1 100 0.1 A G 0.3 0.1 0.02 {P1} 1000\nrs2 X 200 0.2 C T 0.4 -0.2 0.05 {P2} 1000\n",
    "metal": "MarkerName\tAllele1\tAllele2\tFreq1\tEffect\tStdErr\tP-value\tchr\tpos\tN\n"
    f"rs1\ta\tg\t0.3\t0.1\t0.02\t{P1}\t1\t100\t1000\nrs2\tc\tt\t0.4\t-0.2\t0.05\t{P2}\tX\t200\t1000\n",
    "finngen": "#chrom\tpos\tref\talt\trsids\tpval\tbeta\tsebeta\taf_alt\tn_cases\tn_controls\n"
    f"1\t100\tG\tA\trs1\t{P1}\t0.1\t0.02\t0.3\t400\t600\n23\t200\tT\tC\trs2\t{P2}\t-0.2\t0.05\t0.4\t400\t600\n",
    "odds_ratio": "rsid;chr;pos;ea;nea;OR;SE;eaf;p;n\n"
    f"rs1;1;100;A;G;{np.exp(0.1)};0.02;0.3;{P1};1000\nrs2;X;200;C;T;{np.exp(-0.2)};0.05;0.4;{P2};1000\n",
    "interval": "rsid,chr,pos,ea,nea,OR,L95,U95,eaf,p,n\n"
    + "".join(
        f"{name},{c},{pos},{a},{b},{np.exp(x)},{np.exp(x - 1.959963984540054 * s)},"
        f"{np.exp(x + 1.959963984540054 * s)},{f},{p},1000\n"
        for name, c, pos, a, b, x, s, f, p in [
            ("rs1", 1, 100, "A", "G", 0.1, 0.02, 0.3, P1),
            ("rs2", 23, 200, "C", "T", -0.2, 0.05, 0.4, P2),
        ]
    ),
    "no_se": f"SNP chr pos A1 A2 b freq p N\nrs1 1 100 A G 0.1 0.3 {P1} 1000\nrs2 X 200 C T -0.2 0.4 {P2} 1000\n",
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_say_the_same(tmp_path, dialect, zipped):
    path = tmp_path / "height.txt"
    text = DIALECTS[dialect].encode()
    path.write_bytes(gzip.compress(text) if zipped else text)
    (one,) = read_sumstats(path)
    assert one.trait == "height"
    v, stats = one.stats.variants, one.stats
    assert v["variant_id"].tolist() == ["rs1", "rs2"]
    assert v["chrom"].tolist() == ["1", "X"]
    assert v["pos"].tolist() == [100, 200]
    assert v["effect_allele"].tolist() == ["A", "C"]
    assert v["other_allele"].tolist() == ["G", "T"]
    assert v["eaf"].tolist() == [0.3, 0.4]
    np.testing.assert_allclose(stats.beta[:, 0], [0.1, -0.2], rtol=1e-12)
    np.testing.assert_allclose(stats.se[:, 0], [0.02, 0.05], rtol=1e-6)
    np.testing.assert_allclose(v["height_pvalue"], [P1, P2], rtol=1e-12)
    assert stats.n[:, 0].tolist() == [1000, 1000]
    assert stats.estimand == "population"


HEAD = "SNP\tA1\tA2\tBETA\tSE\tP\tEAF\n"
GOOD = "ok\tA\tG\t0.1\t0.02\t0.1\t0.3\n"
BAD_ROWS = {
    "the standard error is zero": "bad\tA\tG\t0.1\t0\t0.1\t0.3\n",
    "the standard error is negative": "bad\tA\tG\t0.1\t-1\t0.1\t0.3\n",
    "the standard error is missing": "bad\tA\tG\t0.1\tNA\t0.1\t0.3\n",
    "the effect is missing": "bad\tA\tG\t\t0.02\t0.1\t0.3\n",
    "the effect allele is missing": "bad\t\tG\t0.1\t0.02\t0.1\t0.3\n",
    "an allele is not made of A, C, G, T (or D, I, -)": "bad\tA\t<DEL>\t0.1\t0.02\t0.1\t0.3\n",
    "both alleles are the same": "bad\tA\ta\t0.1\t0.02\t0.1\t0.3\n",
    "the P value is not between 0 and 1": "bad\tA\tG\t0.1\t0.02\t1.5\t0.3\n",
    "the allele frequency is not between 0 and 1": "bad\tA\tG\t0.1\t0.02\t0.5\t30\n",
}


@pytest.mark.parametrize("reason", BAD_ROWS)
def test_a_row_that_cannot_be_used_is_listed(tmp_path, reason):
    path = tmp_path / "t.tsv"
    path.write_text(HEAD + GOOD + BAD_ROWS[reason])
    (one,) = read_sumstats(path)
    assert one.stats.variants["variant_id"].tolist() == ["ok"]
    assert one.dropped.to_numpy().tolist() == [["bad", reason]]
    path.write_text(HEAD + BAD_ROWS[reason])
    with pytest.raises(InputError) as error:
        read_sumstats(path)
    assert f"none of 1 rows can be used: {reason} (1)" in str(error.value)


def test_repeated_and_nameless_variants(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text(
        HEAD
        + GOOD
        + "ok\tG\tA\t9\t0.02\t0.1\t0.3\n"
        + "ok\tA\tC\t0.3\t0.02\t0.1\t0.3\n"
        + "\tA\tC\t0.3\t0.02\t0.1\t0.3\n"
    )
    (one,) = read_sumstats(path)
    assert one.stats.beta[:, 0].tolist() == [0.1, 0.3]  # another allele is another variant
    assert one.dropped.to_numpy().tolist() == [
        ["ok", "occurs more than once; the first is kept"],
        ["row 4", "the variant has no name"],
    ]


def test_several_traits_and_the_role_of_suffixes(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("Phenotype SNP beta se effect_allele\nBMI rs1 1 1 A\nLDL rs1 2 1 A\nBMI rs2 3 1 C\n")
    bmi, ldl = read_sumstats(path)
    assert (bmi.trait, len(bmi.stats.variants), ldl.stats.beta.tolist()) == ("BMI", 2, [[2.0]])
    path.write_text(
        "SNP beta.exposure beta.outcome se.exposure se.outcome effect_allele.exposure effect_allele.outcome\n"
        "r 1 2 3 4 A C\n"
    )
    (y,) = read_sumstats(path, role="outcome")
    assert (y.stats.beta[0, 0], y.stats.se[0, 0], y.stats.variants["effect_allele"][0]) == (2, 4, "C")


def test_a_named_column_stands_in_for_guesses_that_say_the_same(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("SNP A1 A2 OR LOGB SE P L\nrs1 A G 2.0 0.7 0.1 0.01 2\n")
    assert read_sumstats(path)[0].stats.beta[0, 0] == pytest.approx(np.log(2))
    (one,) = read_sumstats(path, columns={"beta": "LOGB", "neg_log10_pvalue": "L"})
    assert one.stats.beta[0, 0] == 0.7
    assert {"odds_ratio", "pvalue"}.isdisjoint(one.columns)
    with pytest.raises(InputError, match="columns are named for beta and odds_ratio, which say the same; name one"):
        read_sumstats(path, columns={"beta": "LOGB", "odds_ratio": "OR"})
    with pytest.raises(InputError, match="'A2' is read as effect_allele and as other_allele"):
        read_sumstats(path, columns={"effect_allele": "A2"})
    (one,) = read_sumstats(path, columns={"effect_allele": "A2", "other_allele": "A1"})
    assert one.stats.variants["effect_allele"].tolist() == ["G"]


def test_columns_named_by_the_user(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("name\tinc\tdec\tslope\terr\tbeta\nrs1\tA\tG\t0.5\t0.1\t99\n")
    words = ["variant_id=name,effect_allele=inc,other_allele=dec", "beta=slope", "se=err", "n=5e3"]
    (one,) = read_sumstats(path, columns=parse_columns(words, option="--exposure-columns"))
    assert (one.stats.beta[0, 0], one.stats.n[0, 0]) == (0.5, 5000)
    assert one.columns["effect_allele"] == "inc"
    with pytest.raises(InputError, match="no column 'slop' for beta; did you mean 'slope'"):
        read_sumstats(path, columns={"beta": "slop"})
    with pytest.raises(InputError, match="no field 'bета'"):
        read_sumstats(path, columns={"bета": "slope"})
    with pytest.raises(InputError, match="must be field=COLUMN"):
        parse_columns(["beta"], option="--exposure-columns")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + GOOD + "x\tA\tG\tabc\t0.02\t0.1\t0.3\n", "t.tsv: line 3, column 'BETA': 'abc' is not a number"),
        (HEAD + GOOD + "x\tA\tG\t0.1\n", r"t.tsv: line 3 has 4 cell\(s\); the header has 7"),
        (HEAD + GOOD[:-1] + "\t1\n", r"t.tsv: line 2 has 8 cell\(s\); the header has 7"),
        (HEAD, "has no rows"),
        ("", "the file is empty"),
        ("rs1\tA\tG\t0.1\n", "no column for an effect"),
        ("SNP\tA1\tBETA\nr\tA\t1\n", "no column for a standard error"),
        ("SNP\tSNP\tA1\tBETA\tSE\n", "the column 'SNP' occurs more than once"),
        ("##fileformat=VCFv4.2\n#CHROM\n", "a VCF file without studies"),
    ],
)
def test_a_malformed_file_is_told_in_a_line(tmp_path, text, says):
    path = tmp_path / "t.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as error:
        read_sumstats(path)
    assert len(str(error.value).splitlines()) == 1


def test_p_values_of_other_effects_are_noted(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text(HEAD + "".join(f"r{i}\tA\tG\t{0.1 + i / 100}\t0.02\t0.2\t0.3\n" for i in range(30)))
    (one,) = read_sumstats(path)
    assert "disagree" in one.notes[0]


def test_odds_ratios_among_effects_and_unusable_rows_are_told(tmp_path, caplog):
    path = tmp_path / "t.tsv"
    path.write_text(HEAD + "".join(f"r{i}\tA\tG\t{0.9 + i / 100}\t0.02\tNA\t0.3\n" for i in range(30)))
    (one,) = read_sumstats(path)
    assert "if they are odds ratios, name them" in one.notes[0]
    path.write_text(HEAD + GOOD + BAD_ROWS["the standard error is zero"])
    read_sumstats(path)
    assert "1 of 2 rows cannot be used, first bad: the standard error is zero (1)" in caplog.text


def test_ld_matrices(tmp_path):
    path = tmp_path / "ld.tsv"
    path.write_text("rs1_A_G\trs2_C_T\n1\t0.5\n0.5\t1\n")
    ld = read_ld_matrix(path)
    assert ld.variants.to_numpy().tolist() == [["rs1", "A", "G"], ["rs2", "C", "T"]]
    path.write_text("\trs1\trs2\nrs1\t1\t0.5\nrs2\t0.5\t1\n")
    assert read_ld_matrix(path).variants["variant_id"].tolist() == ["rs1", "rs2"]
    for text, says in [
        ("1\t0.5\n0.5\t1\n", "no names of variants"),
        ("\trs1\trs2\nrs2\t1\t0.5\nrs1\t0.5\t1\n", "needed rows in the order of columns"),
        ("rs1\trs2\n1\t0.5\n0.4\t1\n", "symmetric"),
        ("rs1\trs2\n1\t0.5\n", "has 1 rows and 2 variants"),
    ]:
        path.write_text(text)
        with pytest.raises(InputError, match=says):
            read_ld_matrix(path)
