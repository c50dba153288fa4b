"""`deepmr train` from files to an ensemble directory."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest

from deepmr.cli import build_app, execute
from deepmr.commands.train import choose_kinds, parse_arguments, train, warn_of_unlabelled
from deepmr.errors import InputError
from deepmr.io.ensemble_toml import read_description
from deepmr.io.models import read_ensemble
from deepmr.sequence.alphabet import decode
from deepmr.sequence.losses import TaskSpec

LENGTH, N = 14, 240
SMALL = '{"filters": 4, "width": 3, "hidden": 6, "n_convs": 1}'
QUICK = {"members": 2, "epochs": 2, "arguments": SMALL, "device": "cpu", "workers": 1}


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (N, LENGTH)).astype(np.uint8)
    names = [f"chr{1 + i % 3}:{100 * i}-{100 * i + LENGTH}" for i in range(N)]
    fasta, targets = tmp_path / "loci.fa", tmp_path / "targets.tsv"
    fasta.write_text("".join(f">{name}\n{decode(row)}\n" for name, row in zip(names, codes, strict=True)))
    n_a = (codes == 0).sum(axis=1)
    frame = pd.DataFrame({"locus": names, "reads": rng.poisson(20 * n_a), "level": n_a + 0.5, "bound": n_a > 3})
    frame["bound"] = frame["bound"].astype(float)
    frame.loc[::4, "bound"] = np.nan
    frame.to_csv(targets, sep="\t", index=False)
    return {"fasta": fasta, "targets": targets, "out": tmp_path / "ensemble"}


def test_trains_and_writes_an_ensemble(files):
    summary = train(**files, **QUICK, held_out=["chr2"], seed=4)
    assert summary["training_sequences"] == 160
    assert summary["validation_sequences"] == 80
    assert summary["tasks"] == [
        {"task": "reads", "kind": "counts", "chosen": "from the targets"},
        {"task": "level", "kind": "continuous", "chosen": "from the targets"},
        {"task": "bound", "kind": "binary", "chosen": "from the targets"},
    ]
    assert [(row["task"], row["measure"]) for row in summary["validation"]] == [
        ("reads", "r2"),
        ("reads", "pearson"),
        ("level", "r2"),
        ("level", "pearson"),
        ("bound", "auroc"),
        ("bound", "auprc"),
    ]
    json.dumps(summary)
    ensemble = read_ensemble(files["out"], device="cpu")
    assert [(task.name, task.scale) for task in ensemble.tasks] == [
        ("reads", "identity"),
        ("level", "identity"),
        ("bound", "logit"),
    ]
    assert ensemble.counts == ("reads",)
    assert all(member.held_out == ("chr2",) for member in ensemble.members)
    about = read_description(files["out"])
    assert about.architecture == "deepmr.sequence.models:PaperCNN"
    assert about.arguments == json.loads(SMALL)
    assert about.extra["training"]["options"]["epochs"] == 2
    assert about.extra["training"]["seed"] == 4
    assert set(about.extra["training"]["inputs"]) == {"fasta", "targets"}
    metrics = pd.read_csv(files["out"] / "metrics.tsv", sep="\t")
    assert set(metrics["member"]) == {"member_0", "member_1", "ensemble"}
    history = pd.read_csv(files["out"] / "history.tsv", sep="\t")
    assert len(history) == 4


def test_the_recorded_command_line_is_one(files):
    given = {**files, **QUICK, "held_out": ["chr2"], "counts": ["reads"], "seed": 4}
    train(**given)
    words = shlex.split(read_description(files["out"]).extra["training"]["command_line"])
    _, bound, _ = build_app().parse_args(words[1:], exit_on_error=False, print_error=False)
    assert bound.arguments.items() >= given.items()


def test_options_reach_the_training(files):
    options = {"counts": ["level"], "continuous": ["reads"], "binary": ["bound"], "count_loss": "poisson"}
    more = {"negatives": 1.0, "resample": True, "reverse_complement": True, "architecture": "dilated"}
    changes = {"arguments": '{"filters": 3, "n_dilated": 1, "width": 3}', "learning_rate": 0.02, "weight_decay": 0.0}
    summary = train(**files, **{**QUICK, **options, **more, **changes})
    assert [row["kind"] for row in summary["tasks"]] == ["continuous", "counts (log rates)", "binary"]
    assert {row["chosen"] for row in summary["tasks"]} == {"by option"}
    assert summary["training_sequences"] == 2 * 204
    assert (summary["learning_rate"], summary["weight_decay"]) == (0.02, 0.0)
    ensemble = read_ensemble(files["out"], device="cpu")
    assert [task.scale for task in ensemble.tasks] == ["identity", "log", "logit"]
    assert ensemble.counts == ()


def test_windows_of_a_genome(tmp_path):
    rng = np.random.default_rng(0)
    genome, bed, targets = tmp_path / "genome.fa", tmp_path / "peaks.bed", tmp_path / "targets.tsv"
    genome.write_text(">chr1\n" + decode(rng.integers(0, 4, 2000).astype(np.uint8)) + "\n")
    starts = np.arange(50, 1900, 20)
    bed.write_text("".join(f"chr1\t{s}\t{s + 10}\tp{s}\n" for s in starts))
    levels = pd.DataFrame({"locus": [f"p{s}" for s in starts], "level": rng.normal(size=len(starts))})
    levels.to_csv(targets, sep="\t", index=False)
    given = {"fasta": genome, "targets": targets, "loci": bed, "out": tmp_path / "e"}
    summary = train(**given, length=LENGTH, **QUICK)
    assert summary["training_sequences"] + summary["validation_sequences"] == len(starts)
    assert set(read_description(tmp_path / "e").extra["training"]["inputs"]) == {"fasta", "targets", "loci"}
    with pytest.raises(InputError, match="--loci needs --length"):
        train(**given | {"out": tmp_path / "f"}, **QUICK)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": -1}, "seed must be at least 0; got -1"),
        ({"workers": 0}, "workers must be at least 1; got 0"),
        ({"counts": ["read"]}, "there is no task 'read'; the targets have reads, level, bound"),
        ({"counts": ["reads"], "continuous": ["reads"]}, "task 'reads' is named both anscombe and continuous"),
        ({"counts": ["level"], "binary": ["level"]}, "task 'level' is named both"),
        ({"binary": ["level"]}, "targets of binary task 'level' must be 0 or 1; row 0"),
        ({"architecture": "model.py:Net", "trust_code": True}, "worker processes can import, package.module:Class"),
        ({"architecture": "papercnn"}, "no architecture 'papercnn'; did you mean 'paper_cnn'"),
        ({"arguments": "{"}, "arguments must be a JSON object"),
        ({"arguments": '{"fliters": 3}'}, "PaperCNN takes the arguments .* got fliters = 3"),
        ({"arguments": "{}"}, "3 convolutions of width 7 need more than 18 bases; got 14"),
        ({"held_out": ["chr9"]}, "held-out chromosome 'chr9' has no locus"),
        ({"length": 15}, "15"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not there"),
    ],
)
def test_bad_options_leave_nothing_behind(files, changes, said):
    with pytest.raises(InputError, match=said):
        train(**files, **{**QUICK, **changes})
    assert sorted(p.name for p in files["out"].parent.iterdir()) == ["loci.fa", "targets.tsv"]


def test_an_ensemble_that_is_there_is_kept(files):
    train(**files, **QUICK)
    with pytest.raises(InputError, match="exists; choose another name or pass --overwrite"):
        train(**files, **QUICK)
    before = read_description(files["out"]).sha256
    train(**files, **QUICK, seed=1, overwrite=True)
    assert read_description(files["out"]).sha256 != before


def test_from_the_command_line(files, capsys):
    argv = ["train", *(str(x) for name in ("fasta", "targets", "out") for x in (f"--{name}", files[name]))]
    argv += ["--members", "2", "--epochs", "1", "--arguments", SMALL, "--held-out", "chr1", "chr2", "--device", "cpu"]
    assert execute([*argv, "--workers", "1", "--binary", "bound"]) == 0
    printed = capsys.readouterr().out
    assert "training sequences: 80" in printed
    assert "auroc" in printed


def test_arguments():
    assert parse_arguments('{"filters": 3, "names": ["a"]}') == {"filters": 3, "names": ["a"]}
    with pytest.raises(InputError, match=r"must be a JSON object, such as .*; got \[1\]$"):
        parse_arguments("[1]")


def test_inferred_counts_follow_the_loss():
    values = np.array([[0.0, 1], [7, 0]])
    tasks, inferred = choose_kinds(["a", "b"], values, {"binary": ["b"]}, count_loss="poisson")
    assert [(t.name, t.kind) for t in tasks] == [("a", "poisson"), ("b", "binary")]
    assert inferred == {"a"}


def test_a_mark_that_is_unlabelled_at_the_loci_of_another_is_said(caplog):
    a, b, level = (TaskSpec(name=n, kind=k) for n, k in (("A", "binary"), ("B", "binary"), ("level", "continuous")))
    unknown = np.nan
    values = np.array([[1, unknown, 1], [1, unknown, 1], [1, 0, unknown], [0, 1, 1], [0, 0, unknown]], dtype=float)
    warn_of_unlabelled([a, b, level], values)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("B is labelled at 33.3 % of the 3 loci with A")
    warn_of_unlabelled([a, b], np.nan_to_num(values[:, :2]))
    assert len(caplog.messages) == 1
