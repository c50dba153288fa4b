"""Contextual effects: do they foresee loci that nobody has measured, and is their absence said when it is so.

    python simulations/context_mr.py --out results/context_mr [--parts laws size spacing instruments] [--seeds 20]

laws: 300 loci with errors of 0.05 to 0.4, 100 new ones, six contexts of which three matter, and the same where nothing
does. size: how often the verdict finds contextual effects where there are none. spacing: effects that fall with the gap
of two motifs, from sequences. instruments: one stage and two, by strength. A table a part (.tsv), all of them in words
(context_mr.md), and the gap's effect as a figure (spacing.png).
"""

import argparse
import contextlib
import time
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.progress import track
from scipy import stats

from deepmr.contextual.analysis import analyse_contexts
from deepmr.contextual.causal import ContextualMR, fit_contextual_mr
from deepmr.contextual.comparators import COMPARATORS, fit_comparator
from deepmr.contextual.contextual_egger import ContextualEgger, fit_contextual_egger
from deepmr.contextual.loci import LocusEffects, locus_effects_from
from deepmr.contextual.one_stage import fit_one_stage
from deepmr.contextual.verdict import context_pvalue
from deepmr.errors import InputError
from deepmr.io.motifs import paper_motifs
from deepmr.meta import pool_estimates
from deepmr.mr import estimate_effects
from deepmr.simulate.contextual import (
    LAWS,
    SimulatedEffects,
    simulate_context_effects,
    simulate_context_instruments,
    simulate_spacing_effects,
)

N, TAU, ALPHA = 300, 0.08, 0.05
PARTS = ("laws", "size", "spacing", "instruments")


def main() -> None:
    """Run the parts; write tables, words and the figure."""
    arguments = parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    made = {
        "laws": lambda: laws(arguments.seeds),
        "size": lambda: size(arguments.runs),
        "spacing": lambda: spacing(arguments.seeds, arguments.out / "spacing.png"),
        "instruments": lambda: instruments(arguments.seeds),
    }
    for part in arguments.parts:
        made[part]().to_csv(arguments.out / f"{part}.tsv", sep="\t", index=False, float_format="%.4g")
    words = []
    for part in PARTS:
        path = arguments.out / f"{part}.tsv"
        if path.exists():
            words.append(f"## {part}\n\n{markdown(pd.read_csv(path, sep=chr(9)))}")
    (arguments.out / "context_mr.md").write_text("\n".join(words))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=20, help="data sets of each kind")
    parser.add_argument("--runs", type=int, default=500, help="data sets of each kind without contextual effects")
    return parser.parse_args()


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, numbers with three digits."""
    text = table.map(lambda v: f"{v:.3g}" if isinstance(v, float) else str(v))
    lines = ["| " + " | ".join(table.columns) + " |", "|---" * len(table.columns) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in text.to_numpy())]) + "\n"


def effects_of(given: SimulatedEffects) -> LocusEffects:
    """Return effects with their contexts."""
    return locus_effects_from(given.estimates, given.contexts)[0]


def rms(values: np.ndarray) -> float:
    """Return a root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def laws(seeds: int) -> pd.DataFrame:
    """Return errors and coverage by law and model, means over data sets.

    `new`: root mean square error of f at new loci; `own`: of the effects of the measured loci themselves (of random
    effects and the linear model, shrunk to the locus's estimate); `raw`: of the estimates. `new_covered`: how often a
    new locus's own effect is in its 95 % interval, from the law of that effect; `f_covered`, `own_covered`.
    """
    rows = []
    for law in LAWS:
        for seed in track(range(seeds), law):
            given = simulate_context_effects(law, n_loci=N, tau=TAU, seed=1000 + seed)
            rows += one_law(law, given)
    frame = pd.DataFrame(rows)
    order = [(law, name) for law in LAWS for name in COMPARATORS]
    mean = frame.groupby(["law", "method"]).mean().loc[order]
    spread = frame.groupby(["law", "method"])["new_covered"].sem().loc[order]
    return mean.assign(new_covered_se=spread).reset_index()


def one_law(law: str, given: SimulatedEffects) -> list[dict[str, object]]:
    """Return the rows of one data set."""
    effects, truth = effects_of(given), given.truth
    f, own = truth["context_beta"].to_numpy(), truth["own_beta"].to_numpy()
    new = LocusEffects(  # of which contexts alone are looked at
        loci=tuple(truth["locus"][N:]),
        beta=np.zeros(len(f) - N),
        se=effects.se[: len(f) - N],
        contexts=given.true_contexts[N:],
        context_names=effects.context_names,
        chrom=("",) * (len(f) - N),
    )
    rows: list[dict[str, object]] = []
    for name in COMPARATORS[:-1]:
        start = time.process_time()
        fit = fit_comparator(name, effects)
        x, old = fit.design(new), fit.design(effects)
        mean, centre = x @ fit.fit.coefficients, old @ fit.fit.coefficients
        se = fit.fit.error(x).se
        half = stats.t.ppf(0.975, fit.fit.df) * np.sqrt(se**2 + fit.fit.tau2)
        shrunk = centre + fit.fit.tau2 / (fit.fit.tau2 + effects.se**2) * (effects.beta - centre)
        rows.append(
            {
                "law": law,
                "method": name,
                "new": rms(mean - f[N:]),
                "own": rms(shrunk - own[:N]),
                "raw": rms(effects.beta - own[:N]),
                "new_covered": covered(mean - half, mean + half, f[N:]),
                "f_covered": float(np.mean(np.abs(mean - f[N:]) < 1.96 * se)),
                "tau": fit.fit.tau2**0.5,
                "seconds": time.process_time() - start,
            }
        )
    start = time.process_time()
    contextual = fit_contextual_mr(effects)
    found, loci = contextual.predict(new.contexts), contextual.locus_effects()
    pooled = pool_estimates(given.estimates).table.iloc[0]
    constant = fit_contextual_mr(effects, method="constant")
    rows.append(
        {
            "law": law,
            "method": "contextual",
            "new": rms(found["beta"] - f[N:]),
            "own": rms(loci["own_beta"] - own[:N]),
            "raw": rms(effects.beta - own[:N]),
            "new_covered": covered(found["pi_low"], found["pi_high"], f[N:]),
            "f_covered": inside(f[N:], found["ci_low"], found["ci_high"]),
            "own_covered": inside(own[:N], loci["own_low"], loci["own_high"]),
            "tau": contextual.tau,
            "share_constant": contextual.shares["constant"],
            "from_reml": abs(constant.mean_effect()[0] - pooled["beta"]) + abs(constant.tau**2 - pooled["tau2"]),
            "seconds": time.process_time() - start,
        }
    )
    return rows


def covered(low: np.ndarray, high: np.ndarray, f: np.ndarray) -> float:
    """Return how likely the own effect of a new locus, N(f, tau^2), is in an interval."""
    return float(np.mean(stats.norm.cdf((high - f) / TAU) - stats.norm.cdf((low - f) / TAU)))


def inside(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Return the share of values in their intervals."""
    return float(np.mean((low <= values) & (values <= high)))


def size(runs: int) -> pd.DataFrame:
    """Return how often the test of the verdict finds contextual effects where there are none, at 5 and 1 %."""
    kinds = {"contexts permuted": ("interaction", TAU), "one effect": ("constant", 0.0), "scatter": ("constant", TAU)}
    rows = []
    for kind, (law, tau) in kinds.items():
        p = []
        for seed in track(range(runs), kind):
            given = simulate_context_effects(law, n_loci=N, n_new=0, tau=tau, seed=50_000 + seed)
            effects = effects_of(given)
            if kind == "contexts permuted":
                order = np.random.default_rng([seed, 7]).permutation(N)
                effects = locus_effects_from(
                    given.estimates, given.contexts.assign(locus=given.contexts["locus"].to_numpy()[order])
                )[0]
            p.append(context_pvalue(effects, seed=seed)[0])
        found = np.array(p)
        low, high = stats.binom.interval(0.99, runs, ALPHA)
        rows.append(
            {
                "truth": kind,
                "runs": runs,
                "found at 5 %": float(np.mean(found < ALPHA)),
                "99 % limits": f"{low / runs:.3f} to {high / runs:.3f}",
                "found at 1 %": float(np.mean(found < 0.01)),
                "from uniform (KS P)": float(stats.kstest(found, "uniform").pvalue),
            }
        )
    return pd.DataFrame(rows)


def spacing(seeds: int, figure: Path) -> pd.DataFrame:
    """Return what is found of effects that fall with the gap of two motifs, and of the same loci shuffled."""
    rows = []
    for seed in track(range(max(seeds // 4, 1)), "spacing"):
        for shuffled in (False, True):
            given = simulate_spacing_effects(paper_motifs(), n_loci=200, shuffled=shuffled, seed=seed)
            effects = effects_of(given)
            told = analyse_contexts(effects, n_folds=5)
            scores = told.comparison.set_index("method")
            loci, truth = told.fit.locus_effects(), given.truth["own_beta"].to_numpy()
            rows.append(
                {
                    "contexts": "shuffled" if shuffled else "as they are",
                    "found": float(told.verdict.found),
                    "p": told.verdict.pvalue,
                    "relevance_gap": told.fit.relevance["gap"],
                    "f_error (median)": float(np.median(np.abs(loci["context_beta"] - truth))),
                    "own_covered": inside(truth, loci["own_low"], loci["own_high"]),
                    **{f"log_score_{name}": scores.loc[name, "log_score"] for name in scores.index},
                }
            )
            if seed == 0 and not shuffled:
                draw(told.fit, given, figure)
    return pd.DataFrame(rows).groupby("contexts", sort=False).mean().reset_index()


def draw(fit: ContextualMR, given: SimulatedEffects, path: Path) -> None:
    """Draw the effect by gap: estimates, the truth, f with its band and the interval of new loci."""
    middle = np.median(given.true_contexts, axis=0)
    at = np.tile(middle, (60, 1))
    at[:, 0] = np.linspace(given.true_contexts[:, 0].min(), given.true_contexts[:, 0].max(), 60)
    f = fit.predict(at)
    panel = Figure(figsize=(6, 3.8), layout="constrained")
    axes = panel.add_subplot()
    beta, se = fit.effects.beta, fit.effects.se
    gap = given.true_contexts[:, 0]
    axes.errorbar(gap, beta, se, fmt="o", ms=2.5, lw=0.5, color="0.75", label="estimates of loci, with standard errors")
    axes.plot(gap, given.truth["own_beta"], "x", ms=4, color="#b2452f", label="true effects")
    axes.fill_between(at[:, 0], f["pi_low"], f["pi_high"], color="#4a7fb0", alpha=0.15, label="95 % of new loci")
    axes.fill_between(at[:, 0], f["ci_low"], f["ci_high"], color="#4a7fb0", alpha=0.4, label="95 % band of f")
    axes.plot(at[:, 0], f["beta"], color="#2b5c8a", label="f, other contexts at their medians")
    axes.set(xlabel="gap between the motifs, bases", ylabel="effect", ylim=(0.0, float(beta.max()) + 0.2))
    axes.legend(fontsize=7, frameon=False)
    panel.savefig(path, dpi=130)


def instruments(seeds: int) -> pd.DataFrame:
    """Return errors of f by one stage, two stages and Egger: instruments strong or weak, and direct effects."""
    kinds = {
        "mean F 60": {"mean_f": 60.0},
        "mean F 8": {"mean_f": 8.0},
        "F 60, balanced direct effects": {"mean_f": 60.0, "pleiotropy": 2.0},
        "F 60, direct effects that go with context": {"mean_f": 60.0, "direct": 1.0},
    }
    rows = []
    for kind, options in kinds.items():
        for seed in track(range(max(seeds // 4, 1)), kind):
            given, contexts, truth = simulate_context_instruments(n_loci=150, seed=seed, **options)
            at, f = contexts.iloc[:, 2:].to_numpy(), truth["context_beta"].to_numpy()
            two = locus_effects_from(estimate_effects(given, methods=["ivw_random"]), contexts)[0]
            fits: dict[str, ContextualMR | ContextualEgger] = {
                "two stages": fit_contextual_mr(two),
                "one stage": fit_one_stage(given, contexts)[0],
            }
            with contextlib.suppress(InputError):  # within a locus, weak exposure effects differ by their errors alone
                fits["Egger"] = fit_contextual_egger(given, contexts)[0]
            for name, fit in fits.items():
                found = fit.predict(at)
                slope = np.polyfit(f, found["beta"], 1)[0]
                rows.append(
                    {
                        "instruments": kind,
                        "fit": name,
                        "f_error": rms(found["beta"] - f),
                        "f_covered": inside(f, found["ci_low"], found["ci_high"]),
                        "bias": float(np.mean(found["beta"] - f)),
                        "slope_on_truth": float(slope),
                    }
                )
    return pd.DataFrame(rows).groupby(["instruments", "fit"], sort=False).mean().reset_index()


if __name__ == "__main__":
    main()
