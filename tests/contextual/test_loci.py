"""Effects of loci matched with contexts, and their errors split into what is shared and what is not."""

import numpy as np
import pandas as pd
import pytest

from deepmr.contextual.loci import LocusEffects, locus_effects_from
from deepmr.errors import InputError
from deepmr.simulate.contextual import simulate_context_effects


def made(n=12):
    given = simulate_context_effects(n_loci=n, n_new=2, n_contexts=3)
    return given.estimates, given.contexts


def test_loci_are_matched_by_name_and_reasons_said():
    estimates, contexts = made()
    contexts = contexts.sample(frac=1, random_state=1).reset_index(drop=True)
    contexts.loc[contexts["locus"] == "locus3", "context2"] = np.nan
    contexts = contexts[contexts["locus"] != "locus5"]
    effects, skipped = locus_effects_from(estimates, contexts)
    assert effects.loci == tuple(f"locus{i}" for i in range(12) if i not in (3, 5))
    by_name = contexts.set_index("locus").loc[list(effects.loci)]
    np.testing.assert_array_equal(effects.contexts[:, 1], by_name["context2"])
    assert effects.chrom == tuple(by_name["chrom"])
    assert dict(zip(skipped["locus"], skipped["reason"], strict=True)) == {
        "locus3": "context 'context2' has no number",
        "locus5": "no row in the table of contexts",
    }


def test_standard_errors_of_contexts_and_named_columns():
    estimates, contexts = made()
    effects, _ = locus_effects_from(
        estimates, contexts.assign(context1_se=0.2, word="x"), names=("context3", "context1")
    )
    assert effects.context_names == ("context3", "context1")
    np.testing.assert_array_equal(effects.context_se, np.tile([0.0, 0.2], (12, 1)))
    assert locus_effects_from(estimates, contexts)[0].context_se is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e, c: (e, pd.concat([c, c.iloc[:1]])), "contexts must have one row a locus; 'locus0'"),
        (lambda e, c: (e, c.assign(context1="high")), "no column"),
        (lambda e, c: (e, c[["locus"]]), "at least one column of numbers"),
        (lambda e, c: (e, c.iloc[12:]), "at least 3 loci with contexts are needed; got 0"),
        (lambda e, c: (e, c.drop(columns="locus")), "locus"),
    ],
)
def test_bad_tables_are_refused(change, said):
    estimates, contexts = change(*made())
    if said == "no column":
        with pytest.raises(InputError, match="'context1' must be numbers; got 'high' at locus locus0"):
            locus_effects_from(estimates, contexts, names=("context1",))
        return
    with pytest.raises(InputError, match=said):
        locus_effects_from(estimates, contexts)


def test_several_methods_are_refused():
    estimates, contexts = made()
    table = estimates.table.copy()
    table.loc[0, "method"] = "egger"
    with pytest.raises(InputError, match="one method and one pair of traits; got 2"):
        locus_effects_from(type(estimates)(table=table), contexts)


def test_members_errors_are_split():
    """What members do everywhere, and along a context, is shared; what they do at single loci is the locus's own."""
    estimates, contexts = made(40)
    rng = np.random.default_rng(0)
    z = contexts["context1"].to_numpy()[:40]
    everywhere = rng.normal(size=(4, 1)) + rng.normal(size=(4, 1)) * z
    single = 0.3 * rng.normal(size=(4, 40))
    sampling = estimates.table["se"].to_numpy()

    def effects(factors):
        se = np.sqrt(sampling**2 + (factors**2).sum(axis=0))
        table = estimates.table.assign(se=se, se_sampling=sampling)
        return locus_effects_from(type(estimates)(table=table, error_factors=factors), contexts)[0]

    only = effects(everywhere)
    alike = [(one.mean(axis=1) ** 2).sum() for one in (only.error_factors, everywhere)]
    assert alike[0] == pytest.approx(alike[1])
    assert (only.error_factors**2).sum() == pytest.approx((everywhere**2).sum())
    assert only.error_df == 3
    np.testing.assert_allclose(only.se, sampling, rtol=1e-6)
    both = effects(everywhere + single)
    assert np.mean(both.se**2 - sampling**2) == pytest.approx(4 * 0.09, rel=0.2)
    np.testing.assert_allclose(both.total_se**2, both.se**2 + (both.error_factors**2).sum(axis=0))


def test_bad_effects_are_refused():
    good = {
        "loci": ("a", "b", "c"),
        "beta": np.ones(3),
        "se": np.ones(3),
        "contexts": np.zeros((3, 1)),
        "context_names": ("gc",),
        "chrom": ("", "", ""),
    }
    assert LocusEffects(**good).take(np.array([True, False, True])).loci == ("a", "c")
    for name, value, said in (
        ("se", np.array([1.0, 0.0, 1.0]), "se must be positive"),
        ("loci", ("a", "a", "b"), "loci"),
        ("contexts", np.array([[0.0], [np.nan], [1.0]]), "context 'gc' must be finite"),
        ("chrom", ("1",), "chrom needs one name a locus"),
    ):
        with pytest.raises(InputError, match=said):
            LocusEffects(**{**good, name: value})
