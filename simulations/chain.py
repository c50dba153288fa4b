"""Three factors in a chain: what acts directly, what through another mark, and what not at all.

    python simulations/chain.py --out results/chain [--rounds 40] [--loci 40] [--structure chain fork independent]

No network is trained: the members of the ensemble are simulations with parameters of their own (motifs, binding,
counts), drawn around the same centre as the one that is the truth, so that the truth is to the members as one more
network would be. A round mutates every base of new loci with all three motifs, and estimates total effects with three
choices of instruments (all that are strong on the exposure, Steiger's, and those of each task alone), direct effects by
multivariable regression, and direct effects by network deconvolution. Writes tables and a figure.
"""

from dataclasses import replace

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
from deepmr.mr.network import find_direct_effects
from deepmr.mr.network_totals import locus_correlation
from deepmr.simulate.chain import CHAIN_TASKS, ChainOptions, chain_effects, chain_truth, simulate_chain
from deepmr.types import Estimates, MemberEffects, concat_estimates

ASSIGNMENTS: tuple[Assignment, ...] = ("none", "steiger", "most")
MEMBERS = 5
SPREAD = {"motif": 0.3, "shift": 0.3, "count": 0.05, "noise": 0.02}  # of members about their centre; noise: of an edit
LEVEL = 0.95


def perturbed(options: ChainOptions, rng: np.random.Generator) -> ChainOptions:
    """Return a simulation with parameters of its own."""
    matrices = []
    for matrix in options.motifs.matrices:
        moved = matrix * np.exp(SPREAD["motif"] * rng.normal(size=matrix.shape))
        matrices.append(moved / moved.sum(axis=1, keepdims=True))
    alpha, first, second = np.exp(SPREAD["count"] * rng.normal(size=3))
    shift = np.asarray(options.binding_shift) + SPREAD["shift"] * rng.normal(size=3)
    return replace(
        options,
        motifs=replace(options.motifs, matrices=tuple(matrices)),
        alpha=float(options.alpha * alpha),
        gains=(float(options.gains[0] * first), float(options.gains[1] * second)),
        binding_shift=(float(shift[0]), float(shift[1]), float(shift[2])),
    )


def one_round(structure: str, *, n_loci: int, seed: int) -> pd.DataFrame:
    """Run a round; returns a row a way of estimating and pair, with the truth of the loci that have an estimate."""
    rng = np.random.default_rng([seed, len(structure)])
    centre = ChainOptions(motifs=paper_motifs(), structure=structure)  # type: ignore[arg-type]
    loci = simulate_chain(n_loci, options=centre, split="test", planted="all", seed=int(rng.integers(2**31)))
    *members, true = (perturbed(centre, rng) for _ in range(MEMBERS + 1))
    exact = chain_effects(loci, members=members)
    size = np.abs(exact.delta).max(axis=(0, 1))
    noisy = exact.delta + SPREAD["noise"] * size * rng.normal(size=exact.delta.shape)
    stats = pool_members(MemberEffects(variants=exact.variants, tasks=exact.tasks, delta=noisy.astype(np.float32)))
    truth = chain_truth(loci, options=true)
    names = [str(locus) for locus in loci.names]
    scales, sizes = effect_scales([stats]), locus_sizes([stats], loci=names)
    rows = []
    for assign in ASSIGNMENTS:
        pairs = [((x,), y) for x in CHAIN_TASKS for y in CHAIN_TASKS if x != y]
        given = {"scales": scales, "sizes": sizes, "loci": names, "assign": assign}
        chosen = [one.instruments for one in select_several([stats], models=pairs, **given)]
        local = estimate_effects(chosen, methods=["ivw"])
        pooled = pool_estimates(local)
        rows.append(compared(pooled, local, truth, way=f"total, {assign}", effect="total"))
        models = [(tuple(x for x in CHAIN_TASKS if x != y), y) for y in CHAIN_TASKS]
        several = [one.instruments for one in select_several([stats], models=models, **given)]
        direct = concat_estimates(estimate_direct_effects(one, methods=["mv_equal"]) for one in several)
        rows.append(compared(pool_estimates(direct), direct, truth, way=f"multivariable, {assign}", effect="direct"))
        corr = locus_correlation(local, pooled)
        for way, options in (
            ("", {"correlation": corr}),
            (" (independent loci)", {}),
            (" (sparse)", {"correlation": corr, "estimator": "sparse", "n_draws": 100}),
        ):
            if len(pooled) < 6 or way:
                continue
            network = find_direct_effects(pooled, **options)
            frame = network.table.rename(columns={"direct": "beta"})
            frame = frame.rename(columns={f"direct_{x}": x for x in ("se", "ci_low", "ci_high", "pvalue", "fdr")})
            rows.append(
                joined(
                    frame.assign(found=frame["edge"] == "direct"),
                    local,
                    truth,
                    way=f"network, {assign}{way}",
                    effect="direct",
                )
            )
    return pd.concat(rows, ignore_index=True).assign(structure=structure, seed=seed)


def compared(pooled: Estimates, local: Estimates, truth: pd.DataFrame, *, way: str, effect: str) -> pd.DataFrame:
    """Return estimates beside the truth, with what is found after control of false discoveries."""
    frame = pooled.table.assign(fdr=false_discovery(pooled.table["pvalue"].to_numpy(float)))
    return joined(frame.assign(found=frame["fdr"] <= 0.05), local, truth, way=way, effect=effect)


def joined(pooled: pd.DataFrame, local: Estimates, truth: pd.DataFrame, *, way: str, effect: str) -> pd.DataFrame:
    """Set pooled effects beside the mean truth of the loci behind them."""
    key = ["exposure", "outcome"]
    used = local.table[[*key, "locus", "beta"]].merge(truth, on=[*key, "locus"], validate="one_to_one")
    mean = used.groupby(key, sort=False).agg(truth=(effect, "mean"), loci=("locus", "size")).reset_index()
    frame = pooled[[*key, "beta", "se", "ci_low", "ci_high", "pvalue", "found"]].merge(mean, on=key, how="left")
    frame["covers"] = frame["truth"].between(frame["ci_low"], frame["ci_high"])
    frame["excludes_zero"] = (frame["ci_low"] > 0) | (frame["ci_high"] < 0)
    return frame.assign(way=way)
