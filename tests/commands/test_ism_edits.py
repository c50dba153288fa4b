"""Ranges, subregions, scans and indels through the command: what is edited, resumed, read back and used."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from deepmr.commands.info import info
from deepmr.commands.ism import ism
from deepmr.commands.ism_edits import choose_edits, parse_scan
from deepmr.commands.meta import meta
from deepmr.commands.mr import mr
from deepmr.commands.report import report
from deepmr.errors import InputError
from deepmr.io.edits import read_edits
from deepmr.io.effects import open_effects
from deepmr.io.models import read_ensemble, write_ensemble
from deepmr.ism.member import Member
from deepmr.ism.mutate import mutate
from deepmr.sequence.ensemble import MemberInfo
from deepmr.sequence.models import PaperCNN
from deepmr.types import Task
from tests.ism.editing import edited
from tests.ism.stubs import make_sequences

LENGTH, N_LOCI = 30, 6


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    modules = []
    for seed in range(3):
        torch.manual_seed(seed)
        modules.append(PaperCNN(2, LENGTH, filters=6, hidden=8).eval())
    write_ensemble(
        folder / "ensemble",
        modules,
        architecture="paper_cnn",
        arguments={"filters": 6, "hidden": 8},
        length=LENGTH,
        tasks=[Task(name="A"), Task(name="B")],
        members=[MemberInfo(name=f"m{k}") for k in range(3)],
    )
    rng = np.random.default_rng(1)
    rows = ["".join(rng.choice(list("ACGT"), LENGTH)) for _ in range(N_LOCI)]
    rows[1] = rows[1][:12] + "N" + rows[1][13:]
    names = [f"chr1:{100 * k}-{100 * k + LENGTH}" for k in range(N_LOCI - 1)] + ["bare"]
    (folder / "peaks.fa").write_text("".join(f">{n}\n{r}\n" for n, r in zip(names, rows, strict=True)))
    return folder


@pytest.fixture
def options(inputs, tmp_path):
    names = {"model": inputs / "ensemble", "fasta": inputs / "peaks.fa", "out": tmp_path / "effects.h5"}
    return names | {"device": "cpu", "block_size": 2}


def read(path):
    with open_effects(path) as file:
        blocks = list(file.blocks(2))
        variants = pd.concat([block.variants.astype(str) for block in blocks], ignore_index=True)
        return variants, np.concatenate([block.delta for block in blocks], axis=1), file.sequences


def check_against_text(path, ensemble, anchor="center"):
    """Predict the text that every variant stands for, one sequence at a time."""
    variants, delta, sequences = read(path)
    texts = dict(zip(sequences.loci["locus"], sequences.to_frame()["sequence"], strict=True))
    for i, row in enumerate(variants.itertuples()):
        text, offset = texts[row.locus], int(row.offset)
        if "," in row.other_allele:  # the first and last of them are known to be there
            continue
        made = edited(text, offset, row.other_allele, row.effect_allele, anchor)
        codes = make_sequences(made, text).codes
        predicted = ensemble.predict(codes)
        np.testing.assert_allclose(delta[:, i], predicted[:, 0] - predicted[:, 1], atol=1e-5)
    return variants


def test_ranges_are_what_the_whole_says_there(options, tmp_path):
    summary = ism(**options, within=["3:5", "10:14"])
    assert summary["edited_positions"] == N_LOCI * 6 - 1
    assert summary["variants"] == 3 * (N_LOCI * 6 - 1)
    assert summary["passes"] == 3 * (summary["variants"] + N_LOCI)
    every = tmp_path / "every.h5"
    ism(**options | {"out": every})
    variants, delta, _ = read(options["out"])
    assert sorted(variants["offset"].astype(int).unique()) == [3, 4, 10, 11, 12, 13]
    whole, whole_delta, _ = read(every)
    same = whole["variant_id"].isin(variants["variant_id"]).to_numpy()
    assert whole["variant_id"][same].tolist() == variants["variant_id"].tolist()
    np.testing.assert_allclose(delta, whole_delta[:, same], atol=1e-6)
    with h5py.File(options["out"]) as file:
        mask = file["mask"][:].astype(bool)
        assert mask.sum() == N_LOCI * 6 - 1
        assert (np.moveaxis(file["effect"][:], 3, 1)[~mask] == 0).all()
    assert info(options["out"])["edited_positions"] == N_LOCI * 6 - 1
    assert "edited_positions" not in info(every)
    with pytest.raises(InputError, match=r"another run \(within differ\)"):
        ism(**options, within=["3:5", "10:15"])
    assert "already complete" in str(ism(**options, within=["10:14", "3:5"])["status"])


def test_a_range_of_everything_is_no_restriction(options):
    ism(**options)
    assert "already complete" in str(ism(**options, within=[f"0:{LENGTH}"])["status"])


def test_subregions_keep_the_loci_that_they_touch(options, tmp_path, caplog):
    bed = tmp_path / "parts.bed"
    bed.write_text("chr1\t95\t102\nchr1\t129\t140\nbare\t28\t30\nchr1\t50\t60\n")
    summary = ism(**options, subregions=bed)
    assert (summary["loci"], summary["loci_without_edits"], summary["variants"]) == (2, 4, 3 * 5)
    assert "1 of 4 intervals lie in no locus" in caplog.text
    variants, _, _ = read(options["out"])
    assert variants["locus"].unique().tolist() == ["chr1:100-130", "bare"]
    assert variants["pos"].astype(int).unique().tolist() == [101, 102, 130, 29, 30]
    with open_effects(options["out"]) as file:
        assert json.loads(file.attrs["inputs"])["subregions"]["path"] == str(bed)


@pytest.mark.parametrize("scan", ["delete:4", "insert:TGACTCA", "insert:3", "substitute:1:random"])
@pytest.mark.parametrize("anchor", ["center", "left", "right"])
def test_scans_are_what_editing_the_text_gives(options, inputs, scan, anchor):
    summary = ism(**options, scan=scan, step=3, anchor=anchor, seed=4)
    variants = check_against_text(options["out"], read_ensemble(inputs / "ensemble", device="cpu"), anchor)
    assert len(variants) == summary["variants"]
    if scan == "delete:4":
        assert summary["deletions_and_insertions"] == summary["variants"]
        assert summary["windows_masked"] == 2  # of those that begin at 0, 3, 6, ...: 9 and 12
        assert variants["variant_id"].iloc[:2].tolist() == ["chr1:1:del4", "chr1:4:del4"]
        assert variants["variant_id"].iloc[-1] == "bare:25:del4"
    with open_effects(options["out"]) as file:
        assert file.layout == "edits"
        assert file.attrs["format_version"] == "1.1"


def test_scan_of_motifs_and_shuffles(options, inputs):
    summary = ism(**options, scan="substitute:tgactca", within=["0:15"])
    variants, delta, sequences = read(options["out"])
    assert summary["windows_masked"] == 3  # 12 is masked; windows begin at 0 to 8
    assert variants["variant_id"].iloc[0] == "chr1:1:subTGACTCA"
    ensemble = read_ensemble(inputs / "ensemble", device="cpu")
    texts = dict(zip(sequences.loci["locus"], sequences.to_frame()["sequence"], strict=True))
    for i in (0, 5, len(variants) - 1):
        text = texts[variants["locus"].iloc[i]]
        at = int(variants["variant_id"].iloc[i].split(":")[1]) - 1
        at -= 0 if variants["locus"].iloc[i] == "bare" else int(variants["locus"].iloc[i].split(":")[1].split("-")[0])
        predicted = ensemble.predict(make_sequences(text[:at] + "TGACTCA" + text[at + 7 :], text).codes)
        np.testing.assert_allclose(delta[:, i], predicted[:, 0] - predicted[:, 1], atol=1e-5)
    shuffled = ism(**options | {"overwrite": True}, scan="substitute:8", seed=1)
    assert shuffled["windows_unchanged"] > 0
    n_windows = N_LOCI * (LENGTH - 7) - 8
    assert shuffled["variants"] + shuffled["windows_unchanged"] == n_windows
    assert read(options["out"])[0]["variant_id"].iloc[0].endswith(":shuffle8")
    with pytest.raises(InputError, match=r"another run \(edits differ\)"):
        ism(**options, scan="substitute:8", seed=2)
    with open_effects(options["out"]) as file:
        assert json.loads(file.attrs["options"])["scan"] == "substitute:8"
        assert file.attrs["seed"] == 1


TABLE = """variant_id\tlocus\toffset\tother_allele\teffect_allele
snv\tbare\t3\t{0[3]}\t{1}
del\tbare\t4\t{0[4]}{0[5]}\t-
ins\tbare\t9\t\tACGT
vcf\tchr1:0-30\t20\t{2[20]}\t{2[20]}GG
last\tchr1:0-30\t29\t{2[29]}\t
"""


@pytest.fixture
def table(inputs, tmp_path):
    lines = (inputs / "peaks.fa").read_text().split()
    first, bare = lines[1], lines[-1]
    path = tmp_path / "edits.tsv"
    path.write_text(TABLE.format(bare, "ACGT"["ACGT".index(bare[3]) - 1], first))
    return path


@pytest.mark.parametrize("virtual", [False, True])
def test_table_with_indels_survives_a_break(options, inputs, table, monkeypatch, virtual):
    done = []
    original = Member.effects

    def effects(self, *args, **kwargs):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(self.name)
        return original(self, *args, **kwargs)

    options = options | {"edits": table, "block_size": 1, "keep_shards": virtual}
    with monkeypatch.context() as patch:
        patch.setattr(Member, "effects", effects)
        with pytest.raises(KeyboardInterrupt):
            ism(**options)
    assert not options["out"].exists()
    assert ism(**options)["variants"] == 5
    variants = check_against_text(options["out"], read_ensemble(inputs / "ensemble", device="cpu"))
    assert variants["variant_id"].tolist() == ["vcf", "last", "snv", "del", "ins"]
    assert variants["effect_allele"].tolist()[:2] == ["GG", "-"]
    assert variants["other_allele"].tolist()[4] == "-"
    assert variants["pos"].astype(int).tolist() == [22, 30, 4, 5, 10]
    sequences = read(options["out"])[2]
    expected = mutate(read_ensemble(inputs / "ensemble", device="cpu"), sequences, edits=read_edits(table))
    np.testing.assert_allclose(read(options["out"])[1], expected.delta, atol=1e-6)
    with pytest.raises(InputError, match=r"another run \(edits differ\)"):
        ism(**options, anchor="left")


def test_file_of_the_version_before_is_read(options, table, tmp_path):
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:2]) + "\n")
    ism(**options, edits=table)
    before = read(options["out"])
    with h5py.File(options["out"], "a") as file:
        assert "deleted" not in file["variants"]  # substitutions alone look as they did
        file.attrs["format_version"] = "1.0"
    after = read(options["out"])
    pd.testing.assert_frame_equal(after[0], before[0])
    np.testing.assert_array_equal(after[1], before[1])


def test_deletions_serve_as_instruments(options, tmp_path):
    ism(**options, scan="delete:2")
    summary = mr(options["out"], out=tmp_path / "mr.tsv", rule="f", threshold=0.1)
    assert {row["exposure"] for row in summary["pairs"]} == {"A", "B"}
    assert sum(row["used"] for row in summary["pairs"]) > 0


def test_page_greys_what_was_not_edited(options, tmp_path):
    ism(**options, within=["5:25"])
    mr(options["out"], out=tmp_path / "mr.tsv", rule="f", threshold=0.1)
    meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv")
    report(
        options["out"], estimates=tmp_path / "mr.tsv", meta=tmp_path / "meta.tsv", out=tmp_path / "page.html", n_loci=1
    )
    page = (tmp_path / "page.html").read_text()
    assert "Grey columns are the 10 positions not edited." in page
    assert "edited positions" in page


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"scan": "delete"}, "--scan must be delete:W"),
        ({"scan": "delete:ACG"}, "--scan must be delete:W"),
        ({"scan": "insert:4:shuffle"}, "--scan must be delete:W"),
        ({"scan": "substitute:ACGX"}, "--scan must be delete:W"),
        ({"scan": "delete:0"}, "the width of --scan must be at least 1; got 0"),
        ({"scan": "substitute:3"}, "would change nothing: .* try substitute:3:random"),
        ({"scan": "delete:9"}, "--scan has windows of 9 bases; the loci have 8"),
        ({"scan": "insert:ACGTACGTA"}, "--scan has windows of 9 bases; the loci have 8"),
        ({"scan": "delete:3", "step": 0}, "step must be at least 1"),
        ({"scan": "delete:3", "within": ["0:2"]}, "no window of 3 known bases lies within the chosen positions"),
        ({"scan": "substitute:AAAA", "within": ["4:8"]}, "all 1 windows already are what --scan would make of them"),
        ({"step": 2}, "--step is the distance between the windows"),
        ({"anchor": "left"}, "--anchor is for deletions and insertions"),
        ({"within": ["0:9"]}, "START < END <= 8; got '0:9'"),
        ({"within": ["4:4"]}, "got '4:4'"),
        ({"within": ["0-4"]}, "got '0-4'"),
        ({"within": ["3:4"]}, "no known base lies within the chosen positions"),
    ],
)
def test_choices_of_no_sense_are_refused(chosen, said):
    with pytest.raises(InputError, match=said) as caught:
        choose_edits(make_sequences("ACGNAAAA"), **chosen)
    assert "\n" not in str(caught.value)


def test_choices_that_exclude_each_other(tmp_path):
    sequences, path = make_sequences("ACGT"), tmp_path / "x"
    for chosen, said in (
        ({"edits": path, "scan": "delete:1"}, "leave out --scan"),
        ({"edits": path, "within": ["0:1"], "subregions": path}, "leave out --within and --subregions"),
        ({"within": ["0:1"], "subregions": path}, "give one of them"),
    ):
        with pytest.raises(InputError, match=said):
            choose_edits(sequences, **chosen)


def test_names_of_scans():
    names = {
        "delete:5": "del5",
        "insert:8": "ins8",
        "insert:tga": "insTGA",
        "substitute:8": "shuffle8",
        "substitute:8:shuffle": "shuffle8",
        "substitute:2:random": "random2",
        "substitute:TGA": "subTGA",
    }
    assert {text: parse_scan(text).name for text in names} == names
