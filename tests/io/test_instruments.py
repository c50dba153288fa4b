"""Tables of instruments, written and read back."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from deepmr.errors import InputError
from deepmr.io.instruments import read_instruments
from deepmr.io.tables import write_table
from tests.mr.builders import pack, simulated


def positions(instruments):
    """The builders write text where a position belongs."""
    n = len(instruments.variants)
    return replace(instruments, variants=instruments.variants.assign(pos=np.arange(n)))


def test_what_is_written_is_read_back(tmp_path):
    one = positions(simulated(counts=(5, 3), members=4))
    other = positions(pack([1.0, 2, 3], [1.0, 2, 2], overlap=0.3, n=(1000, 2000)))
    other = replace(
        other, exposures=("third",), estimand="population", variants=other.variants.assign(eaf=[0.1, 0.2, 0.3])
    )
    for given in (one, other):
        write_table(given.to_frame(), tmp_path / "i.tsv")
        (back,) = read_instruments(tmp_path / "i.tsv")
        for name in (field.name for field in fields(given)):
            ours, theirs = getattr(back, name), getattr(given, name)
            if isinstance(theirs, pd.DataFrame):
                pd.testing.assert_frame_equal(ours, theirs, check_dtype=False)
            elif isinstance(theirs, np.ndarray):
                assert np.array_equal(ours, theirs), name
            else:
                assert ours == theirs, name


def test_pairs_come_one_by_one_and_loci_together(tmp_path):
    one = simulated(counts=(2, 3))
    other = replace(one, exposures=("third",))
    frame = pd.concat([one.to_frame(), other.to_frame()]).sample(frac=1, random_state=0)
    write_table(frame, tmp_path / "i.tsv")
    pairs = read_instruments(tmp_path / "i.tsv")
    assert {pair.exposure for pair in pairs} == {"exposure", "third"}
    assert all(dict(zip(pair.loci, pair.counts, strict=True)) == {"locus0": 2, "locus1": 3} for pair in pairs)
    assert all(pair.estimand == "model" for pair in pairs)


def test_what_only_some_pairs_have_is_theirs_alone(tmp_path):
    full = replace(positions(pack([1.0, 2, 3], [1.0, 2, 2], overlap=0.3, n=(1000, 2000))), estimand="population")
    full = replace(full, variants=full.variants.assign(eaf=[0.1, np.nan, 0.3]))
    bare = replace(full, exposures=("third",), n=None, error_corr=None, variants=full.variants.drop(columns="eaf"))
    frame = pd.concat([bare.to_frame(), full.to_frame()], ignore_index=True)
    write_table(frame, tmp_path / "i.tsv")
    first, second = read_instruments(tmp_path / "i.tsv")
    assert first.n is None and first.error_corr is None
    assert np.array_equal(second.n, full.n) and np.array_equal(second.error_corr, full.error_corr)
    assert np.array_equal(second.variants["eaf"], [0.1, np.nan, 0.3], equal_nan=True)
    frame.loc[3, "n_exposure"] = np.nan
    write_table(frame, tmp_path / "i.tsv")
    with pytest.raises(InputError, match=r"line 5, column 'n_exposure': is empty, but not for other instruments"):
        read_instruments(tmp_path / "i.tsv")


def test_tables_of_several_exposures_come_back(tmp_path):
    one = simulated(counts=(4,))
    rng = np.random.default_rng(0)
    both = replace(
        one, exposures=("a", "b"), beta_exposure=rng.normal(size=(4, 2)), se_exposure=rng.uniform(1, 2, size=(4, 2)),
        error_factors=None, error_corr=None, n=None,
    )  # fmt: skip
    write_table(both.to_frame(), tmp_path / "i.tsv")
    (back,) = read_instruments(tmp_path / "i.tsv", several=True)
    assert (back.exposures, back.outcome) == (("a", "b"), one.outcome)
    for name in ("beta_exposure", "se_exposure", "beta_outcome", "se_outcome"):
        assert np.array_equal(getattr(back, name), getattr(both, name))
    write_table(one.to_frame(), tmp_path / "i.tsv")
    assert read_instruments(tmp_path / "i.tsv", several=True)[0].exposures == one.exposures


MINIMAL = ["exposure", "outcome", "locus", "variant_id", "beta_exposure", "se_exposure", "beta_outcome", "se_outcome"]
ROW = ["X", "Y", "l", "v", "1", "0.1", "2", "0.2"]


def table(tmp_path, *rows, columns=MINIMAL):
    path = tmp_path / "i.tsv"
    path.write_text("\n".join("\t".join(row) for row in (columns, *rows)) + "\n")
    return path


def test_the_fewest_columns_are_of_a_population(tmp_path):
    (pair,) = read_instruments(table(tmp_path, ROW))
    assert pair.estimand == "population"
    assert (pair.n, pair.error_factors, pair.error_corr) == (None, None, None)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([ROW[:-1]], MINIMAL[:-1], r"the column\(s\) se_outcome are missing"),
        ([["1"]], ["beta_exposure_X"], "tables of several exposures at once cannot be used here"),
        ([], MINIMAL, "holds no instruments"),
        ([[*ROW[:7], "0"]], MINIMAL, "line 2, column 'se_outcome': 0 is not above 0"),
        ([[*ROW[:7], "x"]], MINIMAL, "line 2, column 'se_outcome': 'x' is not a finite number"),
        ([ROW, ROW], MINIMAL, "line 3: the variant 'v' is there twice"),
        ([["", *ROW[1:]]], MINIMAL, "line 2, column 'exposure': is empty"),
        ([[*ROW, "truth"]], [*MINIMAL, "estimand"], "estimand must be one of model, calibrated, population"),
        ([[*ROW, "1"]], [*MINIMAL, "factor_0_exposure"], "the column factor_0_outcome is missing"),
        ([[*ROW, "2"]], [*MINIMAL, "error_corr"], "error_corr must lie between -1 and 1"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_line(tmp_path, rows, columns, message):
    with pytest.raises(InputError, match=message) as told:
        read_instruments(table(tmp_path, *rows, columns=columns))
    assert "\n" not in str(told.value)
