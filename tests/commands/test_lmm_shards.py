"""`deepmr lmm` in threads, processes, on a cluster and in shards: the same bytes; `deepmr lmm-join`."""

import gzip
import json
import threading

import pytest

from deepmr.cli import execute
from deepmr.cluster import tasks
from deepmr.commands.lmm_join import lmm_join
from deepmr.errors import InputError
from deepmr.population import scan as scans
from tests.commands.test_lmm import scan, written

BLOCK = 16  # 3 blocks a chromosome, 12 in all, for each of two sets of samples


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two traits of different samples, tested block by block, and their eigenvectors on disk."""
    folder = tmp_path_factory.mktemp("shards")
    written(folder)
    scan(folder, **options(folder), figures="svg", page=True)
    return folder


def options(folder, **more):
    return {"trait": ["x", "y"], "loco": True, "block": BLOCK, "spectra": folder / "spectra", **more}


def text(path):
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def record_of(path):
    return json.loads(path.with_name(f"{path.name}.json").read_text())


@pytest.mark.parametrize("place", ["threads", "dask", pytest.param("processes", marks=pytest.mark.slow)])
def test_the_table_is_the_same_to_the_byte_wherever_blocks_are_tested(whole, tmp_path, place):
    out = tmp_path / "t.tsv"
    if place == "threads":
        scan(whole, **options(whole), out=out, threads=3)
    else:
        distributed = pytest.importorskip("distributed")
        settings = {"processes": place == "processes", "dashboard_address": None, "n_workers": 2}
        with distributed.LocalCluster(protocol="tcp", threads_per_worker=1, **settings) as cluster:
            scan(whole, **options(whole), out=out, dask=cluster.scheduler_address)
    assert text(out) == text(whole / "assoc.tsv.gz")
    assert record_of(out)["traits"] == record_of(whole / "assoc.tsv.gz")["traits"]


def test_shards_joined_are_the_whole(whole, tmp_path):
    n = 3
    paths = [tmp_path / f"s.{i}.tsv{'.gz' if i % 2 else ''}" for i in range(1, n + 1)]
    for i, path in reversed(list(enumerate(paths, 1))):
        summary = scan(whole, **options(whole), out=path, shard=f"{i}/{n}", figures="svg", page=True, threads=i % 2 + 1)
        assert "lambda_gc" not in summary["traits"][0]
        assert record_of(path)["traits"][0]["lambda_gc"] is None
        assert ("error_correlation" in record_of(path)) == (i == 1)
    assert sorted(tmp_path.iterdir()) == sorted([*paths, *(path.with_name(f"{path.name}.json") for path in paths)])
    summary = lmm_join(paths[::-1], out=tmp_path / "j.tsv.gz", figures="svg")
    assert text(tmp_path / "j.tsv.gz") == text(whole / "assoc.tsv.gz")
    mine, theirs = record_of(tmp_path / "j.tsv.gz"), record_of(whole / "assoc.tsv.gz")
    for one, other in zip(mine["traits"], theirs["traits"], strict=True):
        assert one["lambda_gc"] == pytest.approx(other["lambda_gc"], rel=1e-6)
        assert {**one, "lambda_gc": 0} == {**other, "lambda_gc": 0}
    for name in ("error_correlation", "loco", "relationship", "samples", "counts", "covariates", "notes", "format"):
        assert mine[name] == theirs[name]
    assert mine["scan"]["inputs"] == theirs["inputs"]
    assert set(mine["inputs"]) == {f"shard_{i}" for i in range(1, n + 1)}
    for name in ("x.manhattan.svg", "y.qq.svg"):
        assert (tmp_path / f"j.{name}").stat().st_size > 1000
    assert "Which variants are associated with x, y?" in (tmp_path / "j.html").read_text()
    assert summary["traits"][0]["loci"] == theirs["traits"][0]["loci"] > 0


def test_shards_of_a_table_a_trait_may_be_empty(whole, tmp_path):
    paths = [tmp_path / f"s{i}.{{trait}}.tsv" for i in (1, 2)]
    for i, path in enumerate(paths, 1):  # the first has all of x, the second all of y
        scan(whole, **options(whole), out=path, shard=f"{i}/2")
    scan(whole, **options(whole), out=tmp_path / "w.{trait}.tsv")
    assert text(tmp_path / "s1.y.tsv") == b""
    for trait in ("x", "y"):
        lmm_join(
            [tmp_path / f"s{i}.{trait}.tsv" for i in (1, 2)],
            out=tmp_path / f"j.{trait}.tsv",
            figures="none",
            page=False,
        )
        assert text(tmp_path / f"j.{trait}.tsv") == text(tmp_path / f"w.{trait}.tsv")
        assert [one["trait"] for one in record_of(tmp_path / f"j.{trait}.tsv")["traits"]] == [trait]


def test_what_is_no_whole_scan_is_refused(whole, tmp_path, capsys):
    one, two = (tmp_path / f"{i}.tsv" for i in (1, 2))
    for i, path in enumerate((one, two), 1):
        scan(whole, **options(whole), out=path, shard=f"{i}/2")
    out = tmp_path / "j.tsv"
    with pytest.raises(InputError, match="needed the tables of all 2 shards; 1 missing: 1"):
        lmm_join([two], out=out)
    with pytest.raises(InputError, match="are both shard 2/2"):
        lmm_join([one, two, two], out=out)
    with pytest.raises(InputError, match="is not that of deepmr lmm with --shard"):
        lmm_join([whole / "assoc.tsv.gz"], out=out)
    with pytest.raises(InputError, match="there is no such file"):
        lmm_join([tmp_path / "3.tsv"], out=out)
    content = two.read_text()
    two.write_text(content[: content[:-1].rindex("\n") + 1])
    with pytest.raises(InputError, match="159 rows of y are there; its record has 160"):
        lmm_join([one, two], out=out)
    two.unlink()
    scan(whole, **options(whole), out=two, shard="2/2", test="lrt", overwrite=True)
    with pytest.raises(InputError, match="are not of one scan: --test is 'f' in the one and 'lrt' in the other"):
        lmm_join([one, two], out=out)
    assert not out.exists()
    assert execute(["lmm-join", str(one), "--out", str(out)]) == 3
    assert "1 missing: 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"shard": "3/2"}, "--shard must be i/n"),
        ({"shard": "1/25"}, "there are 24 blocks of variants for 25 shards"),
        ({"threads": 2, "dask": "tcp://a:1"}, "--threads is for this machine and --dask for others"),
        ({"dask": "moon"}, "got 'moon'"),
        ({"threads": 0}, "--threads"),
    ],
)
def test_places_and_shards_are_checked(whole, tmp_path, more, said):
    with pytest.raises(InputError, match=said):
        scan(whole, **options(whole), out=tmp_path / "t.tsv", **more)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("threads", [1, 3])
def test_few_blocks_are_in_hand_at_a_time_and_none_is_begun_after_an_interruption(
    whole, tmp_path, threads, monkeypatch
):
    real, begun, taken = tasks.scan_block, [], []

    def counted(*args, **kwargs):
        begun.append(threading.get_ident())
        return real(*args, **kwargs)

    def interrupted(*args, **kwargs):
        taken.append(1)
        assert len(begun) <= len(taken) + threads + 1
        if len(taken) == 4:
            raise KeyboardInterrupt
        return scans.block_table(*args, **kwargs)

    monkeypatch.setattr(tasks, "scan_block", counted)
    monkeypatch.setattr("deepmr.commands.lmm_scan.block_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scan(whole, **options(whole, loco=False, block=8), out=tmp_path / "t.tsv", threads=threads)
    assert len(begun) <= 4 + threads + 1
    assert not list(tmp_path.iterdir())
