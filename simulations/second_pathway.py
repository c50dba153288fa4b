"""What ordinary IVW makes of a second pathway, and what seqlets make of it.

    python simulations/second_pathway.py --out results/second_pathway [--rounds 40] [--loci 200] [--members 5]
    python simulations/second_pathway.py --out results/trained --train [--rounds 1]

Loci with the motifs of exposure and outcome; half of them have a second motif, which raises the exposure and, unless
`direct` is 0, the outcome by a route of its own. Without --train the networks are oracles: the true, noise-free effects
of all substitutions, each with a smooth error of its member's, and one more such error that all members share in the
place of the truth that they were learned from. Writes local.tsv (a row a round, setting and method), tests.tsv and a
figure.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepmr.commands.ism import ism
from deepmr.commands.seqlet_parts import SeqletAnalysis, analyse_seqlets
from deepmr.commands.seqlets import most_discordant
from deepmr.commands.train import train
from deepmr.instruments.seqlets import Seqlets, lay_out
from deepmr.instruments.strength import effect_scales
from deepmr.io.effects import open_effects
from deepmr.io.fasta import write_fasta
from deepmr.io.motifs import paper_motifs
from deepmr.io.tables import write_table
from deepmr.ism.members import pool_members
from deepmr.ism.variants import single_edits, variants_of
from deepmr.meta import pool_estimates
from deepmr.mr import METHODS, estimate_effects
from deepmr.mr.seqlets import over_seqlets
from deepmr.report.seqlets import family_view, seqlet_view
from deepmr.report.style import CYCLE, MUTED
from deepmr.simulate.members import add_member_errors
from deepmr.simulate.options import TASKS, SimulationOptions
from deepmr.simulate.pathways import Pathways, draw_pathway_counts, pathway_effects, pathway_motifs, pathway_targets
from deepmr.simulate.sequences import SimulatedLoci, add_variants, simulate_loci
from deepmr.types import Estimates, Instruments, MemberEffects, SummaryStats, Task

IDLE = 0.01  # below this share of the median sum of dx^2, the planted motif does nothing and has no effect to know
ALL_LOCI = ("contamination_mixture", "mode_weighted")


def main() -> None:
    """Run the rounds of every setting; print and draw what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--loci", type=int, default=200, help="with both motifs, a round")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--gamma", type=float, default=10.0)
    parser.add_argument("--direct", type=float, nargs="+", default=[0.0, 1.0, 3.0, 10.0])
    parser.add_argument("--train", action="store_true", help="train ensembles in place of oracles")
    parser.add_argument("--n-train", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    arguments.out.mkdir(parents=True, exist_ok=True)
    options = SimulationOptions(motifs=pathway_motifs(paper_motifs()), scenario="sequence", gamma=arguments.gamma)
    local, tests = [], []
    for direct in arguments.direct:
        pathways = Pathways(options=options, direct=direct)
        for number in range(arguments.rounds):
            seed = arguments.seed + number
            loci = both_motifs(arguments.loci, options=options, seed=seed)
            if arguments.train:
                effects = trained_effects(
                    loci, pathways, n_train=arguments.n_train, members=arguments.members, seed=seed
                )
            else:
                effects = oracle_effects(loci, pathways, members=arguments.members, seed=seed)
            figures = arguments.out if number == 0 and direct == arguments.direct[len(arguments.direct) // 2] else None
            one, other = analyse(effects, pathway_effects(loci, pathways=pathways), loci, figures=figures)
            local.append(one.assign(direct=direct, round=number))
            tests.append({**other, "direct": direct, "round": number})
    rounds, found = pd.concat(local, ignore_index=True), pd.DataFrame(tests)
    write_table(rounds, arguments.out / "local.tsv")
    write_table(found, arguments.out / "tests.tsv")
    table = summary(rounds)
    write_table(table, arguments.out / "summary.tsv")
    print(table.round(3).to_string(index=False))
    print(found.drop(columns="round").groupby("direct").mean().round(3).T.to_string())
    draw(table, found, arguments.out / "second_pathway.png")


def both_motifs(n: int, *, options: SimulationOptions, seed: int) -> SimulatedLoci:
    """Draw test loci until `n` have the motifs of exposure and outcome."""
    loci = simulate_loci(6 * n + 40, options=options, split="test", seed=seed)
    return loci.take(np.isin(np.arange(len(loci)), np.flatnonzero(loci.kind == "both")[:n]))


def oracle_effects(loci: SimulatedLoci, pathways: Pathways, *, members: int, seed: int) -> MemberEffects:
    """Return the true effects of all substitutions, each member with an error of its own and one that all share."""
    edits = single_edits(loci.codes)
    codes = loci.codes[edits.locus]
    codes[np.arange(len(codes)), edits.offset] = edits.base
    exact = pathway_targets(codes, pathways=pathways) - pathway_targets(loci.codes, pathways=pathways)[edits.locus]
    return MemberEffects(
        variants=variants_of(edits, loci.sequences),
        tasks=tuple(Task(name=name) for name in TASKS),
        delta=add_member_errors(exact, locus=edits.locus, offset=edits.offset, n_members=members, seed=seed),
    )


def trained_effects(loci: SimulatedLoci, pathways: Pathways, *, n_train: int, members: int, seed: int) -> MemberEffects:
    """Train an ensemble on simulated counts and return the effects of all substitutions."""
    options = pathways.options
    training = simulate_loci(n_train, options=options, split="train", seed=seed)
    training = add_variants(training, n_variants=n_train // 4, options=options, seed=seed)
    counts = draw_pathway_counts(training, pathways=pathways, seed=seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_fasta(training.sequences, folder / "train.fa")
        write_fasta(loci.sequences, folder / "test.fa")
        frame = pd.DataFrame({"locus": training.names, **dict(zip(TASKS, counts.T, strict=True))})
        write_table(frame, folder / "train.tsv")
        train(
            fasta=folder / "train.fa", targets=folder / "train.tsv", out=folder / "ensemble", members=members, seed=seed
        )
        ism(model=folder / "ensemble", fasta=folder / "test.fa", out=folder / "effects.h5")
        with open_effects(folder / "effects.h5") as file:
            (effects,) = file.blocks(len(loci))
    return effects


def analyse(
    effects: MemberEffects, truth: pd.DataFrame, loci: SimulatedLoci, *, figures: Path | None = None
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Estimate by every method; return bias and coverage of each, and how the tests did."""
    truth = truth[truth["sum_dx2"] > IDLE * truth["sum_dx2"].median()]
    stats = pool_members(effects)
    exposure, outcome = TASKS
    found = analyse_seqlets(
        [stats], exposure=exposure, outcome=outcome, scales=effect_scales([stats]), loci=list(loci.names)
    )
    if figures is not None:
        illustrate(found, stats, figures)
    parts = [
        estimate_effects(found.instruments, methods=["ivw", "median_weighted", "mode_weighted"]),
        found.estimates,
    ]
    rows = [score(part, truth, method) for part in parts for method in part.table["method"].unique()]
    whole = over_seqlets(found.collapsed)
    rows += [one_effect(whole, truth, method) for method in ALL_LOCI]
    return pd.DataFrame(rows), _tests(loci, found)


def score(part: Estimates, truth: pd.DataFrame, method: str) -> dict[str, object]:
    """Compare one method's estimates with the truth of the same loci, and their mean with the mean truth."""
    wanted = (part.table["method"] == method) & part.table["locus"].isin(truth["locus"])
    mine = part.take(wanted.to_numpy())
    joined = mine.table[["locus", "beta", "ci_low", "ci_high"]].merge(
        truth[["locus", "second", "beta"]].rename(columns={"beta": "truth"}), on="locus", validate="one_to_one"
    )
    second, error = joined["second"].to_numpy(bool), (joined["beta"] - joined["truth"]).to_numpy()
    inside = joined["truth"].between(joined["ci_low"], joined["ci_high"]).to_numpy()
    pooled, mean = pool_estimates(mine).table.iloc[0], joined["truth"].mean()
    return {
        "method": method,
        "loci": len(joined),
        "bias_second": error[second].mean(),
        "bias_other": error[~second].mean(),
        "rmse_second": np.sqrt(np.mean(error[second] ** 2)),
        "coverage_second": inside[second].mean(),
        "coverage_other": inside[~second].mean(),
        "global_bias": pooled["beta"] - mean,
        "global_covers": float(pooled["ci_low"] <= mean <= pooled["ci_high"]),
    }


def one_effect(whole: Instruments, truth: pd.DataFrame, method: str) -> dict[str, object]:
    """Estimate one effect from the seqlets of all loci, and compare it with the mean truth."""
    row, mean = METHODS[method](whole).table.iloc[0], truth["beta"].mean()
    covers = float(row["ci_low"] <= mean <= row["ci_high"])
    return {"method": f"{method} of all seqlets", "global_bias": row["beta"] - mean, "global_covers": covers}


def _tests(loci: SimulatedLoci, found: SeqletAnalysis) -> dict[str, float]:
    """Say how often the tests reject, and whether the words name the planted second motif."""
    rows = found.collapsed.label
    second = _over_second(loci, found.seqlets)[rows]
    contradicts = found.table["verdict"].to_numpy(str)[rows] == "contradicts"
    two, pvalue = found.between.n_seqlets == 2, found.between.q_pvalue
    return {
        "loci_with_2_seqlets": float(two.sum()),
        "q_rejects": float(np.mean(pvalue[two] < 0.05)),
        "seqlets": float(len(rows)),
        "second_named": float(np.mean(contradicts[second])) if second.any() else np.nan,
        "other_named": float(np.mean(contradicts[~second])),
        "families": float(len(found.family_table)),
        "families_contradicting": float((found.family_table["verdict"] == "contradicts").sum()),
    }


def illustrate(found: SeqletAnalysis, stats: SummaryStats, folder: Path) -> None:
    """Draw the locus whose seqlets differ most, and all seqlets by family."""
    name, (exposure, outcome) = most_discordant(found), TASKS
    tracks = [lay_out(stats, trait=trait, loci=[name]) for trait in TASKS]
    figure = seqlet_view(tracks, found.table, found.instruments, found.label, locus=name)
    figure.savefig(folder / "locus.png", dpi=120)
    figure = family_view(found.table, found.family_table, exposure=exposure, outcome=outcome)
    figure.savefig(folder / "families.png", dpi=120)


def _over_second(loci: SimulatedLoci, seqlets: Seqlets) -> np.ndarray:
    """Say which seqlets lie over a planted second motif and no exposure motif."""
    table = seqlets.table
    place = pd.Index(loci.names).get_indexer(pd.Index(table["locus"]))
    over = []
    for role in (0, 2):
        start = loci.starts[place, role]
        end = start + int(loci.motifs.widths[role])
        over.append((start >= 0) & (start < table["end"].to_numpy()) & (end > table["start"].to_numpy()))
    return over[1] & ~over[0]


def summary(rounds: pd.DataFrame) -> pd.DataFrame:
    """Average over rounds, with the Monte-Carlo error of the biases."""
    groups = rounds.drop(columns="round").groupby(["direct", "method"], sort=False)
    mean, error = groups.mean(), groups[["bias_second", "global_bias"]].sem().add_suffix("_mc")
    return mean.join(error).reset_index()


def draw(table: pd.DataFrame, tests: pd.DataFrame, out: Path) -> None:
    """Draw bias and coverage at loci with the second motif, and how often the test between seqlets rejects."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    local = table[table["bias_second"].notna()]
    for colour, (method, rows) in zip(CYCLE, local.groupby("method", sort=False), strict=False):
        dash = "o--" if method == "ivw" else "o-"  # the line of seqlet_ivw lies on it
        first.plot(
            rows["direct"],
            rows["bias_second"],
            dash,
            ms=4,
            color=colour,
            label=method,
            zorder=3 if method == "ivw" else 2,
        )
        second.plot(
            rows["direct"],
            rows["coverage_second"],
            dash,
            ms=4,
            color=colour,
            label=method,
            zorder=3 if method == "ivw" else 2,
        )
    second.axhline(0.95, color=MUTED, lw=0.8, ls="--")
    first.axhline(0, color=MUTED, lw=0.8, ls="--")
    rejected = tests.groupby("direct")[["q_rejects", "second_named", "other_named"]].mean()
    names = {
        "q_rejects": "Q between seqlets, P < 0.05",
        "second_named": "second motif: contradicts",
        "other_named": "other seqlet: contradicts",
    }
    for colour, (name, label) in zip(CYCLE, names.items(), strict=False):
        third.plot(rejected.index, rejected[name], "o-", ms=4, color=colour, label=label)
    third.axhline(0.05, color=MUTED, lw=0.8, ls="--")
    for axes, title in (
        (first, "bias, loci with the second motif"),
        (second, "coverage of 95 % intervals, same loci"),
        (third, "how often"),
    ):
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("direct effect of the second motif")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7)
    for axes in (second, third):
        axes.set_ylim(-0.03, 1.03)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main()
