import builtins
import pickle

import numpy as np
import pandas as pd
import pytest

from deepmr.cluster import associate_on, take_shard
from deepmr.cohort import ArrayGenotypes
from deepmr.errors import DeepMRError, InputError
from deepmr.io.genotypes import open_genotypes
from deepmr.io.marker_store import write_marker_store
from deepmr.population import associate_variants
from deepmr.population.association import cut_blocks
from tests.instruments.test_clumping import write_plink
from tests.io.test_marker_store import VARIANTS, by_chromosome, low_rank, make_cohort, make_spectrum

CASES = {
    "several": (make_cohort(), make_spectrum()),
    "one": (make_cohort(traits=1), make_spectrum()),
    "loco": (make_cohort(traits=2), by_chromosome),
    "low": (make_cohort(traits=2), low_rank()),
}


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    options = {"processes": False, "dashboard_address": None, "n_workers": 2, "threads_per_worker": 1}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.mark.parametrize("where", ["synchronous", "threads", "dask"])
@pytest.mark.parametrize("case", CASES)
def test_results_are_the_same_however_blocks_are_spread(case, where, request):
    cohort, spectra = CASES[case]
    target = request.getfixturevalue("client") if where == "dask" else where
    wanted = associate_variants(cohort, spectra, block=8, min_mac=20)
    for blocks_per_task in (1, 2, 5, 100):
        seen = []
        found = associate_on(
            target, cohort, spectra, block=8, min_mac=20, blocks_per_task=blocks_per_task, n_workers=3,
            progress=lambda *at, seen=seen: seen.append(at),
        )  # fmt: skip
        pd.testing.assert_frame_equal(found.table, wanted.table, check_exact=True)
        assert list(found.nulls) == list(wanted.nulls)
        assert found.trait_sd == wanted.trait_sd
        assert seen[-1] == (VARIANTS, VARIANTS)


@pytest.mark.parametrize("where", ["synchronous", "dask"])
def test_rotated_markers_are_read_from_their_store(tmp_path, where, request):
    cohort, spectra = CASES["loco"]
    store = write_marker_store(cohort.genotypes, spectra, tmp_path / "m.h5", block=8)
    target = request.getfixturevalue("client") if where == "dask" else where
    found = associate_on(target, cohort, spectra, store=store, blocks_per_task=2)
    pd.testing.assert_frame_equal(found.table, associate_variants(cohort, spectra, block=8).table, check_exact=True)
    with pytest.raises(InputError, match="another spectrum"):
        associate_on(target, cohort, lambda chrom: by_chromosome(int(chrom) + 5), store=store)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_tables_of_shards_one_after_the_other_are_the_whole(case, n):
    cohort, spectra = CASES[case]
    parts = [associate_on("synchronous", cohort, spectra, block=8, shard=f"{i}/{n}").table for i in range(1, n + 1)]
    wanted = associate_variants(cohort, spectra, block=8).table
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), wanted, check_exact=True)


def test_shards_are_checked():
    grid = list(cut_blocks(make_cohort().genotypes.variants, 8, by_chromosome=True))
    assert sum(len(pieces) for _, pieces in grid) == 7  # 20 and 30 variants
    for bad in ("0/2", "3/2", "1", "a/b", "1/2/3", ""):
        with pytest.raises(InputError, match="--shard must be i/n"):
            take_shard(grid, bad)
    with pytest.raises(InputError, match="there are 7 blocks of variants for 8 shards"):
        take_shard(grid, "1/8")


class Failing(ArrayGenotypes):
    """Genotypes whose file cannot be read."""

    def read(self, start, stop):
        raise InputError(f"variants {start} to {stop} cannot be read")


@pytest.mark.parametrize("where", ["synchronous", "threads", "dask"])
def test_an_error_of_a_worker_is_the_one_that_is_raised(where, request):
    cohort, spectrum = CASES["several"]
    genotypes = cohort.genotypes
    bad = Failing(variants=genotypes.variants, samples=genotypes.samples, dosages=genotypes.dosages)
    target = request.getfixturevalue("client") if where == "dask" else where
    with pytest.raises(InputError, match="cannot be read"):
        associate_on(target, _with(cohort, bad), spectrum, block=8, retries=0)


class Once(ArrayGenotypes):
    """Genotypes whose first read fails, as it does on a worker whose disk is away for a moment."""

    def read(self, start, stop):
        if start == 0 and not TRIED:
            TRIED.append(start)
            raise OSError("stale file handle")
        return ArrayGenotypes.read(self, start, stop)


TRIED = []


def test_dask_tries_again(client):
    cohort, spectrum = CASES["several"]
    genotypes = cohort.genotypes
    shaky = Once(variants=genotypes.variants, samples=genotypes.samples, dosages=genotypes.dosages)
    found = associate_on(client, _with(cohort, shaky), spectrum, block=8, retries=1)
    assert TRIED == [0]
    pd.testing.assert_frame_equal(found.table, associate_variants(cohort, spectrum, block=8).table, check_exact=True)


def test_what_is_no_place_to_work_is_refused(monkeypatch):
    cohort, spectrum = CASES["several"]
    with pytest.raises(InputError, match=r"Dask client.*got 'moon'"):
        associate_on("moon", cohort, spectrum)
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "distributed":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"deepmr\[cluster\]"):
        associate_on("tcp://nowhere:1", cohort, spectrum)


@pytest.mark.slow
def test_processes_give_the_same():
    distributed = pytest.importorskip("distributed")
    for case in ("one", "loco"):
        cohort, spectra = CASES[case]
        wanted = associate_variants(cohort, spectra, block=8).table
        found = associate_on("processes", cohort, spectra, block=8, blocks_per_task=2, n_workers=2).table
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)
        with (
            distributed.LocalCluster(processes=True, n_workers=2, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            found = associate_on(client, cohort, spectra, block=8, blocks_per_task=2).table
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)


def _with(cohort, genotypes):
    return type(cohort)(
        genotypes=genotypes, phenotypes=cohort.phenotypes, traits=cohort.traits, covariates=cohort.covariates,
        covariate_names=cohort.covariate_names,
    )  # fmt: skip


def test_genotypes_in_files_are_opened_by_the_worker(tmp_path, client):
    cohort = make_cohort(traits=2)
    write_plink(tmp_path / "g", cohort.genotypes.dosages.T)
    genotypes = open_genotypes(tmp_path / "g")
    again = pickle.loads(pickle.dumps(genotypes))
    np.testing.assert_array_equal(again.read(3, 9), genotypes.read(3, 9))
    loaded = _with(cohort, genotypes)
    found = associate_on(client, loaded, make_spectrum(), block=8, blocks_per_task=2).table
    pd.testing.assert_frame_equal(found, associate_variants(loaded, make_spectrum(), block=8).table, check_exact=True)


class KilledWorker(Exception):
    """What a future of Dask says when the workers of its task died."""


class Future:
    """A future whose task is done when its result is asked for, unless its worker is lost."""

    def __init__(self, work, *, lost):
        self._work, self._lost, self.status = work, lost, "error" if lost else "finished"

    def result(self):
        if self._lost:
            raise KilledWorker("died")
        return self._work()


class Shaky:
    """A client of a cluster whose workers die with the first few tasks."""

    def __init__(self, losses):
        self.losses, self.scattered, self.held, self.most, self.cancelled = losses, 0, 0, 0, []

    def wait_for_workers(self, _):
        pass

    def ncores(self):
        return {"a": 1, "b": 1}

    def scatter(self, content, **_):
        self.scattered += 1
        return content

    def submit(self, work, *given, **_):
        self.losses -= 1
        self.held += 1
        self.most = max(self.most, self.held)

        def done():
            self.held -= 1
            return work(*given)

        return Future(done, lost=self.losses >= 0)

    def cancel(self, futures):
        self.cancelled += futures


def test_what_a_lost_worker_had_is_sent_again():
    cohort, spectrum = CASES["several"]
    client = Shaky(losses=1)
    found = associate_on(client, cohort, spectrum, block=4, blocks_per_task=1, retries=1)
    pd.testing.assert_frame_equal(found.table, associate_variants(cohort, spectrum, block=4).table, check_exact=True)
    assert client.most <= 5  # two a core, and the one that was sent again
    assert not client.cancelled
    with pytest.raises(DeepMRError, match="a task was lost with its worker, 2 times over"):
        associate_on(Shaky(losses=99), cohort, spectrum, block=4, blocks_per_task=1, retries=1)
