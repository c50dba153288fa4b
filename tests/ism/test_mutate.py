import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepmr.errors import InputError
from deepmr.ism.mutate import mutate
from deepmr.ism.plan import block_size_of, split
from tests.ism.stubs import Stub, linear, make_sequences, random_sequences, small_cnn


def edit_table(*rows):
    return pd.DataFrame(rows, columns=["variant_id", "locus", "offset", "other_allele", "effect_allele"])


def test_every_edit_of_every_locus_for_every_member():
    sequences = make_sequences("AC", "GT", chrom="chr2", start=10)
    modules = [linear(2, seed=k) for k in range(3)]
    effects = mutate(Stub(modules), sequences)
    assert effects.delta.shape == (3, 12, 1)
    assert effects.variants["variant_id"].tolist()[:6] == [
        *("chr2:11:A:C", "chr2:11:A:G", "chr2:11:A:T", "chr2:12:C:A", "chr2:12:C:G", "chr2:12:C:T")
    ]
    assert effects.variants["pos"].tolist()[6:8] == [1011, 1011]
    assert effects.variants["offset"].tolist() == [0, 0, 0, 1, 1, 1] * 2
    assert effects.variants["locus"].tolist() == ["l0"] * 6 + ["l1"] * 6
    for k, module in enumerate(modules):
        for i, row in enumerate(effects.variants.itertuples()):
            new, old = ("ACGT".index(a) for a in (row.effect_allele, row.other_allele))
            weight = module.weight[:, row.offset, 0]
            assert effects.delta[k, i, 0] == pytest.approx(float(weight[new] - weight[old]), abs=1e-6)


def test_loci_without_coordinates_count_from_their_start():
    variants = mutate(Stub([linear(3)]), make_sequences("ANT")).variants
    assert variants["pos"].tolist() == [1, 1, 1, 3, 3, 3]
    assert variants["variant_id"].iloc[0] == "l0:1:A:C"
    assert (variants["chrom"] == "").all()


def test_predictions_of_edited_text_give_the_same_effects():
    sequences = random_sequences(3, 30)
    stub = Stub([small_cnn(30, seed=k) for k in range(2)], n_tasks=2)
    effects = mutate(stub, sequences)
    reference = stub.predict(sequences.codes)
    for i in np.random.default_rng(0).integers(0, len(effects.variants), 20):
        row = effects.variants.iloc[i]
        locus = int(row["locus"][1:])
        edited = sequences.codes[[locus]].copy()
        edited[0, row["offset"]] = "ACGT".index(row["effect_allele"])
        np.testing.assert_allclose(effects.delta[:, i], (stub.predict(edited) - reference[:, [locus]])[:, 0], atol=1e-6)


def test_a_batch_norm_network_does_not_look_at_batch_mates():
    sequences = random_sequences(4, 30)
    stub = Stub([small_cnn(30)], n_tasks=2)
    together = mutate(stub, sequences).delta
    alone = np.concatenate([mutate(stub, sequences.take([i])).delta for i in range(4)], axis=1)
    np.testing.assert_allclose(together, alone, atol=1e-6 * np.abs(together).max() * 100)


def test_network_in_training_mode_is_refused():
    with pytest.raises(InputError, match="member 1 is in training mode"):
        mutate(Stub([small_cnn(30), small_cnn(30).train()], n_tasks=2), random_sequences(1, 30))


def test_edits_are_made_together_where_they_share_a_variant_id():
    sequences = make_sequences("ACGT", "TTTT")
    module = linear(4)
    w = module.weight[:, :, 0]
    table = edit_table(
        ("late", "l1", 3, "T", "A"),
        ("pair", "l0", 2, "G", "T"),
        ("one", "l0", 1, "c", "g"),
        ("pair", "l0", 0, "A", "C"),
    )
    effects = mutate(Stub([module]), sequences, edits=table)
    assert effects.variants["variant_id"].tolist() == ["pair", "one", "late"]
    assert effects.variants["effect_allele"].tolist() == ["C,T", "G", "A"]
    assert effects.variants["other_allele"].tolist() == ["A,G", "C", "T"]
    assert effects.variants["offset"].tolist() == [0, 1, 3]
    expected = [w[1, 0] - w[0, 0] + w[3, 2] - w[2, 2], w[2, 1] - w[1, 1], w[0, 3] - w[3, 3]]
    np.testing.assert_allclose(effects.delta[0, :, 0], torch.stack(expected).numpy(), atol=1e-6)


def test_edits_may_give_pos():
    sequences = make_sequences("ACGT", chrom="chr1", start=100)
    table = edit_table(("v", "l0", 103, "G", "A")).rename(columns={"offset": "pos"})
    variants = mutate(Stub([linear(4)]), sequences, edits=table).variants
    assert variants[["offset", "pos"]].to_numpy().tolist() == [[2, 103]]
    assert variants["effect_allele"].tolist() == ["A"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("v", "zz", 0, "A", "C")], "locus of 'v' must be a locus among the 1 sequences; got 'zz' in row 1"),
        ([("u", "l0", 0, "A", "C"), ("v", "l0", 1, "G", "C")], "other_allele of 'v' .*, which is C; got 'G' in row 2"),
        ([("v", "l0", 4, "A", "C")], "which is masked; got 'A'"),
        ([("v", "l0", 5, "A", "C")], "offset of 'v' must be inside its locus of 5 bases; got"),
        ([("v", "l0", -1, "A", "C")], "must be inside its locus"),
        ([("v", "l0", 0.5, "A", "C")], "must be a whole number"),
        ([("v", "l0", "x", "A", "C")], "must be a whole number"),
        ([("v", "l0", 0, "A", "A")], "effect_allele of 'v' must be another than other_allele"),
        ([("v", "l0", 0, "-", "")], "effect_allele of 'v' must be another than other_allele"),
        ([("v", "l0", 0, "A", "X")], "effect_allele of 'v' must be bases A C G T, or - for none; got 'X'"),
        ([("v", "l0", 0, "<DEL>", "A")], "other_allele of 'v' must be bases A C G T"),
        ([("v", "l0", 1, "CT", "A")], "other_allele of 'v' must be the sequence there, which is CG; got 'CT'"),
        ([("v", "l0", 3, "TA", "A")], "which is TN; got 'TA'"),
        ([("v", "l0", 3, "TAA", "A")], "must be inside its locus"),
        ([("v", "l0", 0, "A", "C"), ("v", "l0", 1, "C", "-")], "must be one row: it deletes or inserts bases"),
        ([("v", "l0", 0, "-", "C")], "further inside the locus: nothing of the insertion stays in it"),
        ([("v", "l0", 5, "-", "C")], "further inside the locus"),
        ([("v", "l0", 0, "AC", "CA"), ("v", "l0", 1, "C", "T")], "must be one edit a position"),
        ([("v", "l0", 0, "A", "C"), ("v", "l0", 0, "A", "G")], "must be one edit a position"),
    ],
)
def test_edits_that_do_not_fit_are_refused(rows, said):
    with pytest.raises(InputError, match=said):
        mutate(Stub([linear(5)]), make_sequences("ACGTN"), edits=edit_table(*rows))


def test_a_variant_stays_on_one_locus():
    table = edit_table(("v", "l0", 0, "A", "C"), ("v", "l1", 1, "C", "G"))
    with pytest.raises(InputError, match="variant_id of 'v' must be on one locus"):
        mutate(Stub([linear(2)]), make_sequences("AC", "AC"), edits=table)


def test_table_without_rows_or_columns_is_refused():
    sequences, stub = make_sequences("AC"), Stub([linear(2)])
    with pytest.raises(InputError, match="has no row"):
        mutate(stub, sequences, edits=edit_table())
    with pytest.raises(InputError, match="needs the column"):
        mutate(stub, sequences, edits=pd.DataFrame({"locus": ["l0"]}))


class Broken(nn.Module):
    """Returns NaN for sequences that start with G."""

    def forward(self, x):
        return torch.where(x[:, 2, 0] > 0, torch.nan, x.sum((1, 2)))[:, None]


def test_nan_names_member_and_locus():
    with pytest.raises(InputError, match="member 1 returns NaN or infinity for 1 of 2 loci, first 'l1'"):
        mutate(Stub([linear(3), Broken().eval()]), make_sequences("NAA", "GAA"))
    with pytest.raises(InputError, match="for 2 of 2 loci, first 'l0'"):  # in an edit only
        mutate(Stub([linear(3), Broken().eval()]), make_sequences("AAA", "GAA"))


def test_double_precision_costs_no_change_of_the_network():
    sequences, module = random_sequences(2, 30), small_cnn(30)
    stub = Stub([module], n_tasks=2)
    single, double = mutate(stub, sequences), mutate(stub, sequences, precision="double")
    assert next(module.parameters()).dtype == torch.float32
    assert double.delta.dtype == np.float32
    error = np.abs(single.delta - double.delta).max() / np.abs(double.delta).max()
    assert 0 < error < 1e-4


def test_blocks_hold_a_fair_number_of_passes():
    assert block_size_of(2000, 2000 * 300, 100, 2) == 216
    assert block_size_of(10, 10 * 6342, 2114, 1) == 8
    assert block_size_of(10, 10 * 3 * 524_288, 524_288, 1) == 1
    assert block_size_of(2000, 2000 * 3000, 1000, 919) == 16  # the memory of many tasks, not the passes
    assert block_size_of(100_000, 100_000, 100, 2) == 32768
    assert [(b.start, b.stop) for b in split(5, 2)] == [(0, 2), (2, 4), (4, 5)]
    assert split(0, 3) == []
