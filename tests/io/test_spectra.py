import os
import subprocess
import sys
from dataclasses import fields, replace

import h5py
import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.io.spectra import cached_spectra, read_spectrum, write_spectrum
from deepmr.population.spectrum import spectrum_of_effects, spectrum_of_kinship

SAMPLES = [f"s{k}" for k in range(12)]


def make_spectrum(seed=0, effects=12):
    z = np.random.default_rng(seed).normal(size=(12, effects))
    return spectrum_of_effects(z, scaling="mean_diagonal", source="twelve")


def equal(a, b):
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def refusal(path):
    """Return why a file is refused, or nothing."""
    try:
        read_spectrum(path)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("effects", [4, 12])
def test_a_spectrum_comes_back_bit_for_bit(tmp_path, effects):
    spectrum = replace(make_spectrum(effects=effects), kept=0.75)
    write_spectrum(spectrum, tmp_path / "s.h5", samples=SAMPLES)
    assert equal(read_spectrum(tmp_path / "s.h5"), spectrum)
    assert equal(read_spectrum(tmp_path / "s.h5", samples=pd.Index(SAMPLES)), spectrum)
    with h5py.File(tmp_path / "s.h5") as file:
        assert file.attrs["format"] == "deepmr-spectrum"
        assert file["vectors"].dims[1].label == "sample"


def test_samples_in_another_order_are_put_into_theirs(tmp_path):
    k = np.cov(np.random.default_rng(1).normal(size=(12, 40)))
    write_spectrum(spectrum_of_kinship(k), tmp_path / "s.h5", samples=SAMPLES)
    order = np.random.default_rng(2).permutation(12)
    found = read_spectrum(tmp_path / "s.h5", samples=[SAMPLES[i] for i in order])
    rebuilt = found.vectors.T * found.eigenvalues @ found.vectors
    np.testing.assert_allclose(rebuilt, k[np.ix_(order, order)], atol=1e-12)


def test_other_samples_are_refused_in_one_line(tmp_path):
    write_spectrum(make_spectrum(), tmp_path / "s.h5", samples=SAMPLES)
    for samples, said in (
        ([*SAMPLES[:11], "new"], "is of other samples: 1 of 12 are not in it, first 'new'"),
        (SAMPLES[:5], "is of other samples: of 12, where 5 are needed"),
        ([*SAMPLES[:11], "s0"], "is of other samples: of 12, where 12 are needed"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            read_spectrum(tmp_path / "s.h5", samples=samples)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="the spectrum is of 12 samples; got 11 different identifiers of 12"):
        write_spectrum(make_spectrum(), tmp_path / "t.h5", samples=[*SAMPLES[:11], "s0"])
    assert not (tmp_path / "t.h5").exists()


def test_what_it_was_made_from_is_compared(tmp_path):
    about = {"genotypes": "ab12", "min_maf": 0.01}
    write_spectrum(make_spectrum(), tmp_path / "s.h5", samples=SAMPLES, made_from=about)
    read_spectrum(tmp_path / "s.h5", made_from={"min_maf": 0.01, "genotypes": "ab12"})
    with pytest.raises(InputError, match=r"made from something else: min_maf is 0\.01 in it, and 0\.05 is needed"):
        read_spectrum(tmp_path / "s.h5", made_from={**about, "min_maf": 0.05})


def test_a_damaged_file_is_refused_wherever_the_damage_is(tmp_path):
    path = tmp_path / "s.h5"
    write_spectrum(make_spectrum(), path, samples=SAMPLES)
    content = path.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(content), 150):
        damaged = bytearray(content)
        damaged[at] ^= 0x11
        path.write_bytes(damaged)
        said = refusal(path)
        assert "\n" not in said
        assert str(path) in said or equal(read_spectrum(path), make_spectrum())  # padding is not content
    for length in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"s\.h5"):
            read_spectrum(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a spectrum: no such file"):
        read_spectrum(tmp_path / "none.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "else"
    with pytest.raises(InputError, match="is not a spectrum: its format is 'else'"):
        read_spectrum(tmp_path / "other.h5")
    write_spectrum(make_spectrum(), tmp_path / "s.h5", samples=SAMPLES)
    with h5py.File(tmp_path / "s.h5", "a") as file:
        file.attrs["format_version"] = "2.0"
    with pytest.raises(InputError, match=r"has format version 2\.0; this deepmr reads 1\.0"):
        read_spectrum(tmp_path / "s.h5")


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "s.h5"
    write_spectrum(make_spectrum(), path, samples=SAMPLES)
    monkeypatch.setattr("deepmr.io.spectra._checksum", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_spectrum(make_spectrum(1), path, samples=SAMPLES)
    monkeypatch.undo()
    assert equal(read_spectrum(path), make_spectrum())
    assert [file.name for file in tmp_path.iterdir()] == ["s.h5"]


def test_spectra_are_made_once(tmp_path, caplog):
    made = []

    def make(chrom):
        made.append(chrom)
        return make_spectrum(len(chrom))

    def spectra(**about):
        return cached_spectra(make, tmp_path, samples=SAMPLES, made_from=about)

    first = [spectra(kind="centred")(chrom) for chrom in ("", "1", "../2", "1")]
    assert made == ["", "1", "../2"]
    assert equal(first[1], first[3])
    assert len(list(tmp_path.glob("*.h5"))) == 3
    spectra(kind="standardised")("1")
    assert made[3:] == ["1"]
    assert "kind is 'centred' in it, and 'standardised' is needed; made anew" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="the other process locks as POSIX does")
def test_what_another_process_makes_is_waited_for(tmp_path, caplog):
    caplog.set_level("INFO")
    spectrum = make_spectrum()
    write_spectrum(spectrum, tmp_path / "made.h5", samples=SAMPLES, made_from={"k": 1, "without": ""})
    other = """
import fcntl, os, sys, time, zlib
folder = sys.argv[1]
handle = os.open(folder + "/spectra.lock", os.O_RDWR | os.O_CREAT)
fcntl.lockf(handle, fcntl.LOCK_EX, 1, zlib.crc32(b"spectrum.h5") >> 1)
print("locked", flush=True)
time.sleep(0.3)
os.rename(folder + "/made.h5", folder + "/spectrum.h5")
"""
    with subprocess.Popen([sys.executable, "-c", other, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"

        def made(chrom):
            raise AssertionError("made twice")

        found = cached_spectra(made, tmp_path, samples=SAMPLES, made_from={"k": 1})("")
    assert equal(found, spectrum)
    assert "waiting for another process, which makes it" in caplog.text
