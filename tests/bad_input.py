"""The bad inputs that every command must survive: what is wrong, the command, and what it must say.

`python -m tests.bad_input` runs them all and prints the table of docs/bad_input.md; `test_bad_input.py` runs them as
tests.
"""

import contextlib
import errno
import gzip
import io
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import torch

from deepmr import cli
from deepmr.io.models import write_ensemble
from deepmr.sequence.ensemble import MemberInfo
from deepmr.sequence.models import PaperCNN
from deepmr.types import Task
from tests.bad_context import CONTEXTS
from tests.bad_gwas import GWAS, write_good_studies
from tests.bad_iv import IV
from tests.bad_lmm import LMMS

LENGTH = 40
ARGUMENTS = {"filters": 4, "hidden": 6}
Change = Callable[[Path], list[str] | None]


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes
    ----------
    change : spoils a folder of good inputs; may return the command, else it is `ism`.
    says : pattern that the message must match; empty where there must be none.
    leaves : files that it may leave behind: results, where there are any, and the tables that say why there are none.
    """

    name: str
    change: Change
    says: str
    code: int = 3
    leaves: frozenset[str] = frozenset()


CASES: list[Case] = []
ISM = ["ism", "--model", "ensemble", "--fasta", "peaks.fa", "--out", "effects.h5", "--device", "cpu"]
TRAIN = ["train", "--fasta", "peaks.fa", "--targets", "targets.tsv", "--out", "new", "--epochs", "1"]
PEAKS = [*ISM[:4], "genome.fa", "--loci", "peaks.bed", *ISM[5:]]


def case(name: str, says: str, *, code: int = 3) -> Callable[[Change], Change]:
    """Register a function as a case."""

    def register(change: Change) -> Change:
        CASES.append(Case(name=name, change=change, says=says, code=code))
        return change

    return register


def write_good_inputs(folder: Path) -> None:
    """Write an ensemble, sequences, targets, a genome and peaks that all fit each other."""
    write_networks(folder / "ensemble", 3)
    rng = np.random.default_rng(0)
    names = [f"chr1:{100 * k}-{100 * k + LENGTH}" for k in range(6)]
    records = ["".join(rng.choice(list("ACGT"), LENGTH)) for _ in names]
    (folder / "peaks.fa").write_text("".join(f">{n}\n{r}\n" for n, r in zip(names, records, strict=True)))
    rows = [f"{name}\t{k}\t{10 - k}" for k, name in enumerate(names)]
    (folder / "targets.tsv").write_text("\n".join(["locus\tCTCF\tPU1", *rows]) + "\n")
    (folder / "genome.fa").write_text(">chr1\n" + "".join(rng.choice(list("ACGT"), 1000)) + "\n")
    (folder / "peaks.bed").write_text("chr1\t100\t140\n")
    write_good_studies(folder)


def write_networks(path: Path, n: int, *, tasks: tuple[str, ...] = ("CTCF", "PU1")) -> None:
    """Write an ensemble of untrained networks."""
    torch.manual_seed(0)
    write_ensemble(
        path,
        [PaperCNN(n_tasks=len(tasks), length=LENGTH, **ARGUMENTS) for _ in range(n)],
        architecture="deepmr.sequence.models:PaperCNN",
        arguments=ARGUMENTS,
        length=LENGTH,
        tasks=[Task(name=t) for t in tasks],
        members=[MemberInfo(name=f"member_{k}", seed=k) for k in range(n)],
    )


def write_code(folder: Path, forward: str) -> list[str]:
    """Write an ensemble whose network is `forward`, and return the command that trusts it."""
    code = folder / "model.py"
    code.write_text(
        "import torch\n\nclass Net(torch.nn.Module):\n    def __init__(self, n_tasks, length):\n"
        "        super().__init__()\n        self.line = torch.nn.Linear(4 * length, n_tasks)\n\n"
        f"    def forward(self, x):\n        y = self.line(x.flatten(1))\n        return {forward}\n"
    )
    space: dict = {}
    exec(code.read_text(), space)  # the test's own code
    write_ensemble(
        folder / "own",
        [space["Net"](2, LENGTH) for _ in range(2)],
        architecture="model.py:Net",
        arguments={},
        length=LENGTH,
        tasks=[Task(name="CTCF"), Task(name="PU1")],
        members=[MemberInfo(name=f"member_{k}", seed=k) for k in range(2)],
        code=code,
    )
    return [*ISM[:2], "own", *ISM[3:], "--trust-code"]


def edit(path: Path, old: str, new: str) -> None:
    """Replace text in a file."""
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path.name}"
    path.write_text(text.replace(old, new))


@case("missing FASTA", "peaks.fa: cannot be read: No such file")
def _(folder):
    (folder / "peaks.fa").unlink()


@case("empty FASTA", "peaks.fa: the file is empty")
def _(folder):
    (folder / "peaks.fa").write_text("")


@case("truncated FASTA (gzip)", "peaks.fa: .*truncated")
def _(folder):
    path = folder / "peaks.fa"
    path.write_bytes(gzip.compress(path.read_bytes(), mtime=0)[:-20])


@case("truncated FASTA (record without sequence)", "record 'last' has no sequence")
def _(folder):
    with (folder / "peaks.fa").open("a") as file:
        file.write(">last\n")


@case("protein FASTA", "record 'P04637' has .* no nucleotide code")
def _(folder):
    (folder / "peaks.fa").write_text(">P04637\nMEEPQSDPSVEPPLSQETFSDLWKLLPENNVLSPLPSQAM\n")


@case("duplicate names", "'chr1:0-40' occurs more than once")
def _(folder):
    path = folder / "peaks.fa"
    path.write_text(path.read_text() * 2)


@case("locus shorter than the model's input", "has 39 bases; .*40")
def _(folder):
    path = folder / "peaks.fa"
    path.write_text("\n".join(line if line[0] == ">" else line[:-1] for line in path.read_text().split()) + "\n")


@case("locus longer than the model's input", "has 41 bases; .*40")
def _(folder):
    path = folder / "peaks.fa"
    path.write_text("\n".join(line if line[0] == ">" else line + "A" for line in path.read_text().split()) + "\n")


@case("BED outside the contig", "peaks.bed: line 1: .*chr1.*1000")
def _(folder):
    (folder / "peaks.bed").write_text("chr1\t980\t1020\n")
    return PEAKS


@case("BED naming an unknown contig", "peaks.bed: line 1: .*'1'.*chr1")
def _(folder):
    (folder / "peaks.bed").write_text("1\t100\t140\n")
    return PEAKS


@case("targets with a missing record", "targets.tsv: 1 of 6 sequences have no targets, first 'chr1:500-540'")
def _(folder):
    path = folder / "targets.tsv"
    path.write_text("\n".join(path.read_text().split("\n")[:-2]) + "\n")
    return TRAIN


@case("targets with NaN", "targets.tsv: line 2, column 'CTCF': 'NaN'")
def _(folder):
    edit(folder / "targets.tsv", "chr1:0-40\t0\t", "chr1:0-40\tNaN\t")
    return TRAIN


@case("targets with text", "targets.tsv: line 2, column 'CTCF': 'high'")
def _(folder):
    edit(folder / "targets.tsv", "chr1:0-40\t0\t", "chr1:0-40\thigh\t")
    return TRAIN


@case("ensemble directory that is not there", "ensembl.* does not exist|no such|not an ensemble")
def _(folder):
    return [*ISM[:2], "ensembl", *ISM[3:]]


@case("ensemble with a missing member", "member_1")
def _(folder):
    next((folder / "ensemble" / "members").glob("*1*")).unlink()


@case("ensemble with a corrupted member", "member_1.*(checksum|SHA-256|sha256)")
def _(folder):
    path = next((folder / "ensemble" / "members").glob("*1*"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@case("members that disagree in tasks", "member_1|m1|01")
def _(folder):
    write_networks(folder / "other", 3, tasks=("CTCF", "PU1", "GATA"))
    (theirs,) = (folder / "other" / "members").glob("*1*")
    (ours,) = (folder / "ensemble" / "members").glob("*1*")
    ours.write_bytes(theirs.read_bytes())
    sums = [
        re.findall(r'sha256 = "(\w+)"', (folder / name / "ensemble.toml").read_text())[1]
        for name in ("ensemble", "other")
    ]
    edit(folder / "ensemble" / "ensemble.toml", *sums)


@case("wrong architecture name", "PaperCN")
def _(folder):
    edit(folder / "ensemble" / "ensemble.toml", "models:PaperCNN", "models:PaperCN")


@case("a pickle with code in it as the model", "pickle|model import")
def _(folder):
    class Trap:
        def __reduce__(self):
            return (Path(folder / "trapped").touch, ())

    (folder / "trap.pt").write_bytes(pickle.dumps(Trap()))
    return [*ISM[:2], "trap.pt", *ISM[3:]]


@case("a pickle with code in it, imported", "trap.pt")
def _(folder):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(folder / "trapped"),))

    torch.save(Trap(), folder / "trap.pt")
    return [
        "model",
        "import",
        "trap.pt",
        "--architecture",
        "paper_cnn",
        "--task",
        "A",
        "--length",
        "40",
        "--out",
        "new",
    ]


@case("a model's own code without --trust-code", "trust-code")
def _(folder):
    return write_code(folder, "y")[:-1]


@case("a model that returns NaN", "NaN")
def _(folder):
    return write_code(folder, "y * float('nan')")


@case("a model that returns the wrong shape", r"\(batch, tasks\)")
def _(folder):
    return write_code(folder, "y[:, :1]")


@case(
    "a model of several outputs, of which nothing is measured", "member_0 must return one tensor .* returned tuple: say"
)
def _(folder):
    return write_code(folder, "(y, y)")


@case("a model whose output depends on batch mates", "batch")
def _(folder):
    return write_code(folder, "y - y.mean(dim=0)")


@case("unknown task (ism)", "'GATA'.*CTCF")
def _(folder):
    return [*ISM, "--task", "GATA"]


@case("unknown task (mr)", "'GATA'.*CTCF")
def _(folder):
    run(ISM)
    return ["mr", "effects.h5", "--exposure", "GATA", "--out", "mr.tsv"]


def write_edits(folder: Path, *row: str) -> list[str]:
    """Write a table of one edit, and return the command that makes it."""
    columns = ("variant_id", "locus", "offset", "other_allele", "effect_allele")
    (folder / "edits.tsv").write_text("\t".join(columns) + "\n" + "\t".join(row) + "\n")
    return [*ISM, "--edits", "edits.tsv"]


@case("edit whose allele is not the sequence's", "other_allele of 'v1' must be .*, which is .*; got 'AAAA'")
def _(folder):
    return write_edits(folder, "v1", "chr1:0-40", "3", "AAAA", "-")


@case("edit with an allele that is no bases", "effect_allele of 'v1' must be bases .*<DEL>")
def _(folder):
    base = (folder / "peaks.fa").read_text().split()[1][3]
    return write_edits(folder, "v1", "chr1:0-40", "3", base, "<DEL>")


@case("deletion that leaves its locus", "offset of 'v1' must be inside its locus of 40 bases")
def _(folder):
    return write_edits(folder, "v1", "chr1:0-40", "38", "ACGT", "-")


@case("insertion that leaves its locus", "nothing of the insertion stays in it")
def _(folder):
    return write_edits(folder, "v1", "chr1:0-40", "40", "-", "ACGT")


@case("deletion among the rows of a variant", "variant_id of 'v1' must be one row")
def _(folder):
    bases = (folder / "peaks.fa").read_text().split()[1]
    new = "ACGT"["ACGT".index(bases[9]) - 1]
    argv = write_edits(folder, "v1", "chr1:0-40", "3", bases[3], "-")
    with (folder / "edits.tsv").open("a") as file:
        file.write(f"v1\tchr1:0-40\t9\t{bases[9]}\t{new}\n")
    return argv


@case("range outside the loci", "--within must be START:END, .*<= 40; got '30:50'")
def _(folder):
    return [*ISM, "--within", "30:50"]


@case("subregions that touch no locus", "parts.bed: none of its 1 intervals lies in a locus")
def _(folder):
    (folder / "parts.bed").write_text("chr2\t0\t40\n")
    return [*ISM, "--subregions", "parts.bed"]


@case("scan that is none", "--scan must be delete:W, .*got 'remove:5'")
def _(folder):
    return [*ISM, "--scan", "remove:5"]


@case("scan with windows longer than the loci", "windows of 41 bases; the loci have 40")
def _(folder):
    return [*ISM, "--scan", "delete:41"]


@case("edits from a table and from a scan", "--edits says itself what to edit: leave out --scan")
def _(folder):
    base = (folder / "peaks.fa").read_text().split()[1][3]
    return [*write_edits(folder, "v1", "chr1:0-40", "3", base, "-"), "--scan", "delete:5"]


@case("output folder that does not exist", "nowhere")
def _(folder):
    return [*ISM[:6], "nowhere/effects.h5", *ISM[7:]]


@case("disk full", "no space left", code=1)
def _(folder):
    return ["--full", *ISM]


@case("effects file of another run", "effects.h5.*(overwrite|another)")
def _(folder):
    run(ISM)
    edit(folder / "peaks.fa", ">chr1:0-40", ">chr2:0-40")


@case("effects file of another version", "version")
def _(folder):
    run(ISM)
    with h5py.File(folder / "effects.h5", "r+") as file:
        file.attrs["format_version"] = "9.0"
    return ["mr", "effects.h5", "--out", "mr.tsv"]


@case("effects file that is truncated", "effects.h5")
def _(folder):
    run(ISM)
    path = folder / "effects.h5"
    path.write_bytes(path.read_bytes()[:5000])
    return ["mr", "effects.h5", "--out", "mr.tsv"]


@case("a single member", "1 ensemble member.*at least 2")
def _(folder):
    write_networks(folder / "alone", 1)
    run([*ISM[:2], "alone", *ISM[3:]])
    return ["mr", "effects.h5", "--out", "mr.tsv"]


@case("CUDA asked for and absent", "cuda")
def _(folder):
    return [*ISM[:-1], "cuda"]


CASES += [Case(name=n, says=s, code=c, leaves=k, change=f) for n, s, c, k, f in [*GWAS, *IV, *LMMS, *CONTEXTS]]


def run(argv: list[str]) -> tuple[int, str]:
    """Run a command line and return its exit code and what it printed to stderr."""
    stderr = io.StringIO()
    full = mock.patch("os.fsync", side_effect=OSError(errno.ENOSPC, "No space left on device"))
    disk = full if argv[0] == "--full" else contextlib.nullcontext()
    with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()), disk:
        code = cli.execute([*argv[argv[0] == "--full" :], "--quiet"])
    return code, stderr.getvalue()


@contextlib.contextmanager
def inputs() -> Iterator[Path]:
    """Yield a new folder of good inputs as the working directory."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        write_good_inputs(Path(name))
        yield Path(name)


def spoil_and_run(one: Case) -> tuple[str, int, str, set[str]]:
    """Return the command, its exit code, its message without the time, and what it left behind that is new."""
    with inputs() as folder:
        argv = one.change(folder) or ISM
        before = {path.name for path in folder.iterdir()}
        code, message = run(argv)
        new = {path.name for path in folder.iterdir()} - before
        told = re.sub(r"^\d\d:\d\d:\d\d \w+ ", "", message.strip(), flags=re.M)
        return "deepmr " + " ".join(a for a in argv if a != "--full"), code, told.replace(f"{folder}/", ""), new


def main() -> None:
    """Print the table."""
    sys.stdout.write("| what is wrong | exit code | what is printed |\n|---|--:|---|\n")
    for one in CASES:
        _, code, message, _ = spoil_and_run(one)
        sys.stdout.write(f"| {one.name} | {code} | `{message.replace('|', chr(92) + '|')}` |\n")


if __name__ == "__main__":
    main()
