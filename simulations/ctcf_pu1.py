"""Do CTCF and PU.1, which bind unrelated motifs, come out as unrelated? A negative control on real peak sequences.

Ensembles are trained that differ only in what a peak of one factor is called for the other factor where the two do not
overlap: unknown (masked in the loss) for all, 0 for a share of them drawn at random, or 0 for all, the usual way.

    python simulations/ctcf_pu1.py --data ../shared/data/chip --out results/ctcf_pu1
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import bioframe
import logomaker
import numpy as np
import pandas as pd
from ctcf_pu1_sites import describe_families, draw_sites, effects_by_site, name_seqlets, read_seqlets
from matplotlib.figure import Figure

from deepmr.commands.calibrate import calibrate
from deepmr.commands.diagnose import diagnose
from deepmr.commands.ism import ism
from deepmr.commands.meta import meta
from deepmr.commands.mr import mr
from deepmr.commands.report import report
from deepmr.commands.seqlets import seqlets
from deepmr.commands.train import train
from deepmr.io.effects import open_effects
from deepmr.io.fasta import read_fasta, sample_loci, write_fasta
from deepmr.io.tables import read_estimates, write_table
from deepmr.io.targets import read_targets, write_targets
from deepmr.report.style import BASE_COLOURS
from deepmr.sequence.alphabet import dinucleotide_shuffle
from deepmr.types import ALPHABET, Sequences

TASKS = ("CTCF", "PU1")
HELD_OUT = ("chr1", "chr8", "chr9")
N_ANALYSED = 300
POLICIES = {"unknown": 0.0, "few": 0.01, "some": 0.05, "many": 0.2, "zero": 1.0}  # share of them labelled 0
WIDTH, SHIFT, ROUNDS = 21, 6, 5  # of the aligned logos
OWN = {"CTCF": "CTCF site", "PU1": "PU.1 site"}  # what seqlets of a task's own motif are called
WAYS = ("all", "most", "motif")  # instruments: all strong edits, those assigned to the exposure, those in its own sites
COMPLEMENT = [3, 2, 1, 0]


def main() -> None:
    """Run both ensembles through the whole chain and print their pooled effects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with ctcf.fa.gz and pu1.fa.gz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="of the peaks, drawn at random, to train on")
    parser.add_argument("--epochs", type=int, help="default: as for deepmr train")
    parser.add_argument("--workers", type=int, help="processes; default one a core")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments.out.mkdir(parents=True, exist_ok=True)
    sequences, labels, overlapping = read_peaks(arguments.data)
    split = write_inputs(sequences, labels, arguments.out, share=arguments.share, seed=arguments.seed)
    print(f"{len(sequences)} peaks, {overlapping} overlap one of the other factor; {split}")
    for policy in POLICIES:
        learn(arguments.out, policy, epochs=arguments.epochs, workers=arguments.workers, seed=arguments.seed)
        found = analyse(arguments.out, policy)
        (arguments.out / policy / "found.md").write_text(found)
        print(f"\n## label of the other factor: {policy}\n\n{found}", flush=True)
    by_site(arguments.out)
    draw_logos(arguments.out / "unknown" / "effects.h5", arguments.out / "analysed.tsv", arguments.out / "logos.png")


def by_site(folder: Path) -> None:
    """Tabulate and draw the effects by the kind of site that is edited."""
    rows = [effects_by_site(folder / policy, policy, *pair) for policy in POLICIES for pair in (TASKS, TASKS[::-1])]
    table = pd.concat(rows, ignore_index=True)
    table.to_csv(folder / "sites.tsv", sep="\t", index=False)
    draw_sites(table, {name: f"{name} ({dose:.0%})" for name, dose in POLICIES.items()}, folder / "seqlets.png")
    print(table.round(3).to_string())


def read_peaks(data: Path) -> tuple[Sequences, np.ndarray, int]:
    """Return the peaks of both factors and whether each is known to be a peak of CTCF and of PU.1."""
    ctcf, pu1 = (read_fasta(data / name) for name in ("ctcf.fa.gz", "pu1.fa.gz"))
    new = ~pu1.loci["locus"].isin(ctcf.loci["locus"]).to_numpy()
    pu1_only = pu1.take(new)
    loci = pd.concat([ctcf.loci, pu1_only.loci], ignore_index=True)
    sequences = Sequences(loci=loci, codes=np.concatenate([ctcf.codes, pu1_only.codes]))
    labels = np.stack([bioframe.count_overlaps(loci, f.loci)["count"].to_numpy() > 0 for f in (ctcf, pu1)], axis=1)
    return sequences, labels, int(labels.all(axis=1).sum())


def write_inputs(sequences: Sequences, labels: np.ndarray, out: Path, *, share: float, seed: int) -> str:
    """Write the loci to analyse, those to train on and those to calibrate on; they are disjoint."""
    held_out = sequences.loci["chrom"].isin(HELD_OUT).to_numpy()
    analysed = sample_loci(sequences.take(held_out), N_ANALYSED, seed=seed)
    used = sequences.loci["locus"].isin(analysed.loci["locus"]).to_numpy()
    write_fasta(analysed, out / "analysed.fa")
    write_targets(out / "analysed.tsv", analysed.loci["locus"].tolist(), TASKS, np.where(labels[used], 1.0, np.nan))
    rng = np.random.default_rng(seed)
    kept = ~used & (rng.random(len(used)) < share)
    train_on, train_labels = sequences.take(kept), labels[kept]
    write_fasta(train_on, out / "train.fa")
    drawn = rng.random(train_labels.shape)  # once, so that each policy has all labels of those with fewer
    for policy, dose in POLICIES.items():
        targets = np.where(train_labels, 1.0, np.where(drawn < dose, 0.0, np.nan))
        write_targets(out / f"train.{policy}.tsv", train_on.loci["locus"].tolist(), TASKS, targets)
    rest = held_out & kept
    peaks, known = sequences.take(rest), labels[rest]
    shuffled = Sequences(
        loci=peaks.loci.assign(locus="shuffled::" + peaks.loci["locus"]),
        codes=dinucleotide_shuffle(peaks.codes, seed=seed + 1),
    )
    both = Sequences(
        loci=pd.concat([peaks.loci, shuffled.loci], ignore_index=True),
        codes=np.concatenate([peaks.codes, shuffled.codes]),
    )
    targets = np.concatenate([np.where(known, 1.0, np.nan), np.zeros((len(peaks), 2))])
    write_fasta(both, out / "calibration.fa")
    write_targets(out / "calibration.tsv", both.loci["locus"].tolist(), TASKS, targets)
    return f"{len(train_on) - int(rest.sum())} train, {int(rest.sum())} validate, {len(analysed)} are analysed"


def learn(folder: Path, policy: str, *, epochs: int | None, workers: int | None, seed: int) -> None:
    """Train the ensemble of a policy, unless it is there."""
    out = folder / policy
    out.mkdir(exist_ok=True)
    if (out / "ensemble").is_dir():
        return
    trained = train(
        fasta=folder / "train.fa",
        targets=folder / f"train.{policy}.tsv",
        out=out / "ensemble",
        binary=list(TASKS),
        held_out=list(HELD_OUT),
        negatives=1.0,
        reverse_complement=True,
        epochs=epochs,
        workers=workers,
        seed=seed,
    )
    print(trained, flush=True)


def analyse(folder: Path, policy: str) -> str:
    """Mutate, calibrate, estimate, pool, diagnose, find seqlets and report; returns what was found as Markdown."""
    out = folder / policy
    effects, calibration = out / "effects.h5", out / "calibration.json"
    ism(model=out / "ensemble", fasta=folder / "analysed.fa", out=effects, device="cpu", overwrite=True)
    calibrate(
        model=out / "ensemble",
        fasta=folder / "calibration.fa",
        targets=folder / "calibration.tsv",
        out=calibration,
        device="cpu",
        overwrite=True,
    )
    lines = [called(effects, folder / "analysed.tsv")]
    with open_effects(effects) as file:
        codes = dict(zip(file.loci["locus"], file.sequences.codes, strict=True))
    sites = []
    for exposure, outcome in (TASKS, TASKS[::-1]):
        table = out / f"seqlets.{exposure}.tsv"
        seqlets(
            effects,
            out=table,
            exposure=exposure,
            outcome=outcome,
            family_figure=out / f"families.{exposure}.png",
            overwrite=True,
        )
        found = read_seqlets(table)
        kind = name_seqlets(found, codes)
        sites.append(found.assign(name=kind)[kind == OWN[exposure]][["locus", "start", "end", "name"]])
        lines += [f"{exposure} -> {outcome}", "", *describe_families(found, kind), ""]
    write_table(pd.concat(sites), out / "sites.tsv")
    for way in WAYS:
        estimates, pooled = out / f"mr.{way}.tsv", out / f"meta.{way}.tsv"
        how: dict[str, Any] = {}
        if way == "most":
            how = {"assign": "most"}  # of two tasks, "steiger" is the same
        elif way == "motif":
            named = [f"{task}={name}" for task, name in OWN.items()]
            how = {"rule": "motif", "spans": out / "sites.tsv", "motif": named}
        mr(effects, out=estimates, calibration=[calibration], overwrite=True, **how)
        meta(estimates, out=pooled, overwrite=True)
        said = diagnose(
            effects,
            estimates=estimates,
            meta=pooled,
            model=out / "ensemble" if way == "all" else None,
            out=out / f"diagnostics.{way}",
            figures="png" if way == "all" else "none",
            device="cpu",
            overwrite=True,
        )
        lines += [f"instruments: {way}", "", pooled_rows(pooled), "", *map(str, said["verdict"]), ""]  # type: ignore[call-overload]
    report(
        effects,
        estimates=out / "mr.all.tsv",
        meta=out / "meta.all.tsv",
        calibration=calibration,
        diagnostics=out / "diagnostics.all",
        seqlets=out / f"seqlets.{TASKS[0]}.tsv",
        out=out / "report.html",
        overwrite=True,
    )
    return "\n".join(lines)


def pooled_rows(path: Path) -> str:
    """Return pooled estimates as a Markdown table."""
    rows = [
        "| exposure | outcome | method | effect | 95 % CI | prediction interval | loci |",
        "|---|---|---|--:|---|---|--:|",
    ]
    for row in read_estimates(path).table.to_dict("records"):
        rows.append(
            "| {exposure} | {outcome} | {method} | {beta:.3f} | {ci_low:.3f} to {ci_high:.3f} | "
            "{pi_low:.3f} to {pi_high:.3f} | {n} |".format(**row)
        )
    return "\n".join(rows)


def called(effects: Path, labels: Path) -> str:
    """Say how far the ensemble calls a peak of one factor alone bound by the other, and tells the two apart."""
    with open_effects(effects) as file:
        logits = file.reference.mean(axis=0)
        _, peaks = read_targets(labels, file.sequences)
    own = peaks == 1
    lines = []
    for k, task in enumerate(TASKS):
        mine, theirs = (logits[own[:, j] & ~own[:, 1 - j], k] for j in (k, 1 - k))
        auroc = np.mean(mine[:, None] > theirs[None])
        lines.append(
            f"{task}: logit {theirs.mean():.2f} at {len(theirs)} peaks of the other factor alone, "
            f"{np.mean(theirs > 0):.0%} of them called bound, {mine.mean():.2f} at its own {len(mine)}; "
            f"AUROC between the two {auroc:.3f}"
        )
    return "\n".join([*lines, ""])


def draw_logos(effects: Path, labels: Path, out: Path) -> None:
    """Draw per task the mean contribution of bases around the strongest site of each of its peaks, sites aligned."""
    figure = Figure(figsize=(6, 2 * len(TASKS)), layout="constrained")
    with open_effects(effects) as file:
        codes = file.sequences.codes
        _, peaks = read_targets(labels, file.sequences)
        mean = np.stack([file.locus(i).mean(axis=0) for i in range(len(codes))])  # loci, tasks, length, 3
    for k, task in enumerate(TASKS):
        axes = figure.add_subplot(len(TASKS), 1, k + 1)
        own = peaks[:, k] == 1
        profile, n_sites = align_sites(-mean[own, k].mean(axis=-1), codes[own])
        frame = pd.DataFrame(profile, columns=list(ALPHABET))
        logomaker.Logo(frame, ax=axes, color_scheme=BASE_COLOURS, font_name="DejaVu Sans")
        axes.set_title(f"{task}: strongest site of {n_sites} of its peaks, aligned", loc="left", fontsize=9)
        axes.set_ylabel("contribution\nto the logit", fontsize=8)
    figure.savefig(out, dpi=150)
    print(f"\nwrote {out}")


def align_sites(contribution: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, int]:
    """Align the strongest windows of all loci, either strand; returns the mean contribution (window, 4)."""
    onehot = np.eye(5)[codes][:, :, :4] * contribution[:, :, None]
    total = np.stack([np.convolve(c, np.ones(WIDTH), mode="valid") for c in contribution])
    strong = total.max(axis=1) >= np.quantile(total.max(axis=1), 0.5)
    best = total[strong].argmax(axis=1)
    onehot = np.pad(onehot[strong], ((0, 0), (SHIFT, SHIFT), (0, 0)))
    windows = np.stack([x[b : b + WIDTH + 2 * SHIFT] for x, b in zip(onehot, best, strict=True)])
    either = np.stack([windows, windows[:, ::-1][:, :, COMPLEMENT]])  # strand, site, position, base
    candidates = np.stack([either[:, :, s : s + WIDTH] for s in range(2 * SHIFT + 1)])  # shift, strand, site, ...
    template = candidates[SHIFT, 0, total[strong].max(axis=1).argmax()]
    for _ in range(ROUNDS):
        score = np.einsum("astwb,wb->tas", candidates, template).reshape(len(windows), -1)
        shift, strand = np.unravel_index(score.argmax(axis=1), candidates.shape[:2])
        template = candidates[shift, strand, np.arange(len(windows))].mean(axis=0)
    return template, len(windows)


if __name__ == "__main__":
    main()
