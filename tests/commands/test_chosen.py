"""Rules of `deepmr mr` by command: spans, halves of the members, members and instruments that repeat each other."""

import logging
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

from deepmr.commands.ism import ism
from deepmr.commands.mr import mr
from deepmr.commands.report import report
from deepmr.commands.source import open_source
from deepmr.errors import InputError
from deepmr.io.tables import read_estimates
from tests.commands.linear import SITES, SLOPE, write_fasta, write_linear

N = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An ensemble of six and its effects at loci with places on a genome, by base and by windows."""
    folder = tmp_path_factory.mktemp("chosen")
    write_fasta(folder / "peaks.fa", N, seed=0, chroms=("chr1",))
    write_linear(folder / "ensemble", n_members=6)
    common = {"model": folder / "ensemble", "fasta": folder / "peaks.fa", "trust_code": True, "device": "cpu"}
    ism(out=folder / "effects.h5", **common)
    ism(out=folder / "scan.h5", scan="delete:4", **common)
    return folder


def run(folder, tmp_path, *, effects="effects.h5", **options):
    chosen = {"method": ["ivw"], "exposure": ["X"], "outcome": ["Y"], **options}
    mr(folder / effects, out=tmp_path / "mr.tsv", overwrite=True, **chosen)
    return read_estimates(tmp_path / "mr.tsv")


def instruments(folder, tmp_path, **options):
    run(folder, tmp_path, save_instruments=tmp_path / "instruments.tsv", **options)
    return pd.read_csv(tmp_path / "instruments.tsv", sep="\t")


def relabel(folder, tmp_path, *, names=None, sums=None, masks=False, twin=False):
    """A copy of the effects whose members have other names, checksums, masks, or effects of another member."""
    shutil.copy(folder / "effects.h5", tmp_path / "copy.h5")
    with h5py.File(tmp_path / "copy.h5", "r+") as file:
        members = file["members"]
        for column, values in (("name", names), ("sha256", sums)):
            if values is not None:
                members[column][:] = values
        if masks:
            members["mask_seed"] = np.arange(6)
            members.attrs["columns"] += ",mask_seed"
        if twin:
            file["effect"][:, 4] = file["effect"][:, 1]
    return tmp_path


def test_spans_in_coordinates_of_loci_and_of_the_genome_agree(folder, tmp_path):
    with open_source(folder / "effects.h5") as source:
        loci = source.file.loci
    width = SITES.start, SITES.start + 3
    (tmp_path / "loci.tsv").write_text(
        "locus\tstart\tend\tmotif\n" + "".join(f"{name}\t{width[0]}\t{width[1]}\tM\n" for name in loci["locus"])
    )
    (tmp_path / "genome.bed").write_text(
        "".join(f"chr1\t{start + width[0]}\t{start + width[1]}\tM\n" for start in loci["start"])
    )
    whole = instruments(folder, tmp_path)
    found = [instruments(folder, tmp_path, rule="motif", spans=tmp_path / n) for n in ("loci.tsv", "genome.bed")]
    pd.testing.assert_frame_equal(found[0], found[1])
    start = whole["locus"].map(loci.set_index("locus")["start"])
    offset = whole["pos"] - 1 - start
    inside = whole[(offset >= width[0]) & (offset < width[1])].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[0], inside)
    assert 0 < len(inside) < len(whole)
    free = instruments(folder, tmp_path, rule="motif", spans=tmp_path / "loci.tsv", threshold=0.0, significance=1.0)
    assert len(free) == N * 3 * 3
    assert read_estimates(tmp_path / "mr.tsv").table["beta"].median() == pytest.approx(SLOPE, rel=0.05)


def test_names_of_spans_for_every_exposure_or_one(folder, tmp_path):
    spans = tmp_path / "hits.bed"
    spans.write_text("chr1\t0\t12\tX_1\nchr1\t12\t900\tY_1\n")
    options = {"rule": "motif", "spans": spans, "outcome": None, "exposure": None}
    table = instruments(folder, tmp_path, motif=["X=X_*", "Y=Y_*"], **options)
    # the first locus starts at 0: its sites 8 to 11 are X's, all others Y's
    assert table.loc[table["exposure"] == "X", "pos"].max() == 12
    assert table.loc[table["exposure"] == "Y", "pos"].min() == 13
    with pytest.raises(InputError, match="--motif names no spans for the exposure Y: add Y=NAME"):
        run(folder, tmp_path, motif=["X=X_*"], **options)
    with pytest.raises(InputError, match="there is no task 'Q'"):
        run(folder, tmp_path, motif=["Q=X_*"], **options)
    with pytest.raises(InputError, match=r"no span is named 'Z\*'"):
        run(folder, tmp_path, motif=["Z*"], **options)


def test_options_that_do_not_go_together(folder, tmp_path):
    for options, message in (
        ({"rule": "motif"}, "rule motif needs --spans"),
        ({"spans": tmp_path / "hits.bed"}, "--spans is for --rule motif"),
        ({"motif": ["GATA"]}, "--motif names spans"),
        ({"split_members": True, "save_instruments": tmp_path / "i.tsv"}, "each half has instruments of its own"),
    ):
        with pytest.raises(InputError, match=message):
            run(folder, tmp_path, **options)


def test_halves_of_the_members(folder, tmp_path):
    whole, halves = run(folder, tmp_path), run(folder, tmp_path, split_members=True)
    assert halves.table["locus"].tolist() == whole.table["locus"].tolist()
    np.testing.assert_allclose(halves.table["beta"], whole.table["beta"], rtol=0.02)
    assert halves.error_factors.shape == (5, N)  # 6 members less 2 means, and one
    assert (halves.table["df"] <= 4 + 1e-9).all() or (halves.table["se_sampling"] > 0).any()
    means = tmp_path / "means.tsv"
    means.write_text("locus\tvariant_id\ttask\tbeta\tse\na\tv\tX\t1\t0.1\na\tv\tY\t1\t0.1\n")
    with pytest.raises(InputError, match="needs effects of single members"):
        mr(means, out=tmp_path / "m.tsv", split_members=True)
    rows = [("a", "v", task, k, 1.0 + k) for task in "XY" for k in range(3)]
    pd.DataFrame(rows, columns=["locus", "variant_id", "task", "member", "beta"]).to_csv(means, sep="\t", index=False)
    with pytest.raises(InputError, match="needs at least 4, two for each half; the effects come from 3"):
        mr(means, out=tmp_path / "m.tsv", split_members=True)


def test_the_page_says_that_halves_chose(folder, tmp_path):
    from deepmr.commands.meta import meta

    run(folder, tmp_path, split_members=True)
    meta(tmp_path / "mr.tsv", out=tmp_path / "meta.tsv")
    summary = report(
        folder / "effects.h5",
        estimates=tmp_path / "mr.tsv",
        meta=tmp_path / "meta.tsv",
        out=tmp_path / "r.html",
        n_loci=0,
    )
    assert any("Halves of the members chose instruments for each other" in note for note in summary["notes"])


def test_windows_that_overlap_bring_a_warning(folder, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run(folder, tmp_path, effects="scan.h5")
    assert "instruments of X overlap one before them in their locus" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        run(folder, tmp_path)
    assert "overlap" not in caplog.text


def test_a_network_given_twice_counts_once(folder, tmp_path, caplog):
    whole = run(folder, tmp_path).table
    sums = [f"{k:064x}" for k in (1, 2, 3, 4, 2, 5)]
    for how in ({"sums": sums}, {"twin": True}):
        relabel(folder, tmp_path, **how)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = run(tmp_path, tmp_path, effects="copy.h5")
        assert "members m1 and m4 are the same network; its 6 members count as 5" in caplog.text
        assert found.error_factors.shape == (5, N)
    assert (found.table["df"] < 4.5).all() or (whole["df"] > 4).all()


def test_copies_of_one_network_have_no_spread(folder, tmp_path):
    relabel(folder, tmp_path, sums=["a" * 64] * 6)
    with pytest.raises(InputError, match="its 6 members are one network, m0; copies have no spread"):
        run(tmp_path, tmp_path, effects="copy.h5")


def test_masks_of_a_network_are_averaged(folder, tmp_path, caplog):
    names = [f"net{k // 2}_mask{k % 2}" for k in range(6)]
    relabel(folder, tmp_path, names=names, sums=[f"{k:064x}" for k in range(6)], masks=True)
    with caplog.at_level(logging.WARNING):
        found = run(tmp_path, tmp_path, effects="copy.h5")
    assert "its 6 members are dropout masks of 3 networks" in caplog.text
    assert found.error_factors.shape == (3, N)
    whole = run(folder, tmp_path)
    np.testing.assert_allclose(found.table["beta"], whole.table["beta"], rtol=0.01)
    names = [f"net_mask{k}" for k in range(6)]
    relabel(folder, tmp_path, names=names, sums=[f"{k:064x}" for k in range(6)], masks=True)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        alone = run(tmp_path, tmp_path, effects="copy.h5")
    assert "dropout masks of one network" in caplog.text
    assert alone.error_factors.shape == (6, N)
