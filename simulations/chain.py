"""Study of three factors in a chain: what acts directly, what through another mark, and what not at all.

    python simulations/chain.py --out results/chain [--rounds 60] [--loci 40] [--structure chain fork independent]

No network is trained: the members of the ensemble are simulations with parameters of their own (motifs, binding,
counts), drawn around the same centre as the one that is the truth, so that the truth is to the members as one more
network would be. A round mutates every base of new loci with all three motifs, and estimates total effects with three
choices of instruments (all that are strong on the exposure, Steiger's, and those of each task alone), direct effects by
multivariable regression, and direct effects by network deconvolution. Writes every estimate, a table and a figure.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from deepmr.inference import false_discovery
from deepmr.instruments.direction import Assignment, locus_sizes
from deepmr.instruments.several import select_several
from deepmr.instruments.strength import effect_scales
from deepmr.io.motifs import paper_motifs
from deepmr.ism.members import pool_members
from deepmr.meta import pool_estimates
from deepmr.mr import estimate_effects
from deepmr.mr.multivariable import estimate_direct_effects
from deepmr.mr.network import Network, find_direct_effects
from deepmr.mr.network_totals import common_loci, locus_correlation
from deepmr.report.network import network_figure
from deepmr.simulate.chain import (
    CHAIN_TASKS,
    EDGES,
    ChainOptions,
    Structure,
    chain_effects,
    chain_truth,
    simulate_chain,
)
from deepmr.types import Estimates, MemberEffects, concat_estimates

ASSIGNMENTS: tuple[Assignment, ...] = ("none", "steiger", "most")
MEMBERS = 5
MOTIF, SHIFT, COUNT = 0.3, 0.3, 0.05  # sd over members of the log of motif entries, of binding in nats, of log counts
NOISE = 0.02  # sd of a member's error of one edit, as a share of the largest effect
FDR = 0.05
KEY = ["exposure", "outcome"]
PAIRS = [((x,), y) for x in CHAIN_TASKS for y in CHAIN_TASKS if x != y]
MODELS = [(tuple(x for x in CHAIN_TASKS if x != y), y) for y in CHAIN_TASKS]


def main() -> None:
    """Run the rounds and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--loci", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--structure", nargs="+", default=list(get_args(Structure)), choices=get_args(Structure))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for structure in arguments.structure:
        rounds = [one_round(structure, n_loci=arguments.loci, seed=arguments.seed + k) for k in range(arguments.rounds)]
        table = pd.concat([rows for rows, _ in rounds], ignore_index=True)
        table.to_csv(arguments.out / f"{structure}.rounds.tsv", sep="\t", index=False)
        summary = summarised(table)
        summary.to_csv(arguments.out / f"{structure}.tsv", sep="\t", index=False)
        network_figure(rounds[0][1].table).savefig(arguments.out / f"{structure}.png", dpi=150)
        print(structure)
        print(summary.round(3).to_string(index=False))


def perturbed(options: ChainOptions, rng: np.random.Generator) -> ChainOptions:
    """Return a simulation with parameters of its own."""
    first, second, third = (
        moved / moved.sum(axis=1, keepdims=True)
        for moved in (matrix * np.exp(MOTIF * rng.normal(size=matrix.shape)) for matrix in options.motifs.matrices)
    )
    counts = np.exp(COUNT * rng.normal(size=3))
    shift = np.asarray(options.binding_shift) + SHIFT * rng.normal(size=3)
    return replace(
        options,
        motifs=replace(options.motifs, matrices=(first, second, third)),
        alpha=float(options.alpha * counts[0]),
        gains=(float(options.gains[0] * counts[1]), float(options.gains[1] * counts[2])),
        binding_shift=(float(shift[0]), float(shift[1]), float(shift[2])),
    )


def one_round(structure: Structure, *, n_loci: int, seed: int) -> tuple[pd.DataFrame, Network]:
    """Run a round: a row a way of estimating and pair, beside the truth of its loci; and the network by default."""
    rng = np.random.default_rng([seed, get_args(Structure).index(structure)])
    centre = ChainOptions(motifs=paper_motifs(), structure=structure)
    loci = simulate_chain(n_loci, options=centre, split="test", planted="all", seed=int(rng.integers(2**31)))
    *members, true = (perturbed(centre, rng) for _ in range(MEMBERS + 1))
    exact = chain_effects(loci, members=members)
    error = NOISE * np.abs(exact.delta).max(axis=(0, 1)) * rng.normal(size=exact.delta.shape)
    noisy = MemberEffects(variants=exact.variants, tasks=exact.tasks, delta=(exact.delta + error).astype(np.float32))
    stats, names = pool_members(noisy), [str(locus) for locus in loci.names]
    known = {"scales": effect_scales([stats]), "sizes": locus_sizes([stats], loci=names), "loci": names}
    truth = chain_truth(loci, options=true)
    rows = []
    for assign in ASSIGNMENTS:
        pairs = [one.instruments for one in select_several([stats], models=PAIRS, assign=assign, **known)]
        models = [one.instruments for one in select_several([stats], models=MODELS, assign=assign, **known)]
        local = estimate_effects(pairs, methods=["ivw"])
        direct = concat_estimates(estimate_direct_effects(one, methods=["mv_equal"]) for one in models)
        rows.append(beside(with_fdr(pool_estimates(local)), local, truth, way=f"total, {assign}", of="total"))
        rows.append(beside(with_fdr(pool_estimates(direct)), direct, truth, way=f"regression, {assign}", of="direct"))
        for way, own, network in networks(local, assign):
            rows.append(beside(of_network(network), own, truth, way=way, of="direct"))
    return pd.concat(rows, ignore_index=True).assign(structure=structure, seed=seed), network_by_default(local)


def network_by_default(local: Estimates) -> Network:
    """Return the network as `deepmr network` makes it from effects of loci."""
    common = common_loci(local)
    pooled = pool_estimates(common, weights="equal")
    return find_direct_effects(pooled, correlation=locus_correlation(common, pooled), fdr=FDR)


def networks(local: Estimates, assign: Assignment) -> Iterator[tuple[str, Estimates, Network]]:
    """Yield networks made in several ways, with the effects of loci behind them."""
    common = common_loci(local)
    yield f"network, {assign}", common, network_by_default(local)
    if assign == "most":
        pooled = pool_estimates(common, weights="equal")
        yield "network, most; loci as if independent between pairs", common, find_direct_effects(pooled, fdr=FDR)
        corr = locus_correlation(common, pooled)
        sparse = find_direct_effects(pooled, estimator="sparse", correlation=corr, fdr=FDR, n_draws=200)
        yield "sparse network, most", common, sparse
        own = pool_estimates(local)
        corr = locus_correlation(local, own)
        yield "network, most; each pair's own loci", local, find_direct_effects(own, correlation=corr, fdr=FDR)


def with_fdr(pooled: Estimates) -> pd.DataFrame:
    """Return pooled effects and whether each is found at the false discovery rate."""
    return pooled.table.assign(found=false_discovery(pooled.table["pvalue"].to_numpy(float)) <= FDR)


def of_network(network: Network) -> pd.DataFrame:
    """Return the direct effects of a network under the names of estimates."""
    names = {"direct": "beta"} | {f"direct_{name}": name for name in ("se", "ci_low", "ci_high")}
    table = network.table.drop(columns="n").rename(columns=names)
    return table.assign(found=table["edge"] == "direct")


def beside(pooled: pd.DataFrame, local: Estimates, truth: pd.DataFrame, *, way: str, of: str) -> pd.DataFrame:
    """Set pooled effects beside the mean truth of the loci behind them."""
    used = local.table[[*KEY, "locus"]].merge(truth, on=[*KEY, "locus"], validate="one_to_one")
    mean = used.groupby(KEY, sort=False).agg(truth=(of, "mean"), loci=("locus", "size")).reset_index()
    frame = pooled[[*KEY, "beta", "se", "ci_low", "ci_high", "found"]].merge(mean, on=KEY)
    frame["covers"] = frame["truth"].between(frame["ci_low"], frame["ci_high"])
    frame["excludes_0"] = (frame["ci_low"] > 0) | (frame["ci_high"] < 0)
    return frame.assign(way=way, of=of)


def summarised(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a way and pair: means over rounds, coverage, how often 0 is left out and the effect found."""
    summary = table.groupby(["way", *KEY], sort=False).agg(
        truth=("truth", "mean"),
        beta=("beta", "mean"),
        sd=("beta", "std"),
        se=("se", "mean"),
        coverage=("covers", "mean"),
        excludes_0=("excludes_0", "mean"),
        found=("found", "mean"),
        loci=("loci", "mean"),
        rounds=("beta", "size"),
    )
    edges = EDGES[table["structure"].iloc[0]]
    index = {name: k for k, name in enumerate(CHAIN_TASKS)}
    summary = summary.reset_index()
    is_edge = [(index[x], index[y]) in edges for x, y in zip(summary["exposure"], summary["outcome"], strict=True)]
    return summary.assign(edge=is_edge)


if __name__ == "__main__":
    main()
