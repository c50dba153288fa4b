"""Genotypes written as PLINK files, read again by our reader and byte for byte as another writer has them."""

import numpy as np
import pandas as pd
import pytest

from deepmr.cohort import ArrayGenotypes
from deepmr.errors import InputError
from deepmr.io.genotypes_plink import open_plink, write_plink
from tests.io.population_files import random_dosages
from tests.io.population_files import write_plink as by_hand


def genotypes(dosages, **columns):
    rows, samples = dosages.shape
    variants = pd.DataFrame({
        "variant_id": [f"rs{k}" for k in range(rows)], "chrom": [str(1 + k % 2) for k in range(rows)],
        "pos": np.arange(rows) + 1, "effect_allele": "A", "other_allele": "G",
    }).assign(**columns)  # fmt: skip
    return ArrayGenotypes(variants=variants, samples=pd.Index([f"s{k}" for k in range(samples)]), dosages=dosages)


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_what_is_written_is_read_again(tmp_path, block):
    given = genotypes(random_dosages())
    files = write_plink(given, tmp_path / "geno", families=["F"] * 11, block=block)
    assert [path.name for path in files] == ["geno.bed", "geno.bim", "geno.fam"]
    found = open_plink(tmp_path / "geno")
    np.testing.assert_array_equal(found.read(0, 50), given.dosages)
    pd.testing.assert_frame_equal(found.variants[list(given.variants)].astype(str), given.variants.astype(str))
    assert found.samples.tolist() == given.samples.tolist()
    assert set(found.panel.samples["family"]) == {"F"}
    other = by_hand(tmp_path / "other", given.dosages)
    assert files[0].read_bytes() == other.with_name("other.bed").read_bytes()


def test_samples_are_their_own_families_unless_told(tmp_path):
    write_plink(genotypes(random_dosages(variants=2)), tmp_path / "geno")
    samples = open_plink(tmp_path / "geno").panel.samples
    assert samples["family"].tolist() == samples["sample"].tolist()


@pytest.mark.parametrize(
    ("dosages", "columns", "options", "said"),
    [
        ([[0.0, 1.5]], {}, {}, "0, 1 or 2 copies; variant rs0"),
        ([[0.0, 1.0]], {"variant_id": "a b"}, {}, "one with blanks; got 'a b'"),
        ([[0.0, 1.0]], {"other_allele": ""}, {}, "the empty name"),
        ([[0.0, 1.0]], {}, {"families": ["F"]}, "families"),
        ([[0.0, 1.0]], {}, {"block": 0}, "block"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_and_nothing_is_left(tmp_path, dosages, columns, options, said):
    with pytest.raises(InputError, match=said):
        write_plink(genotypes(np.array(dosages), **columns), tmp_path / "geno", **options)
    assert list(tmp_path.iterdir()) == []
